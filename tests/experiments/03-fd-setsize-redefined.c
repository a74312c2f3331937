/* Where the 1024 comes from, and what does not change it.
 *
 * It is the size of the C library's fd_set. The kernel takes any length: select()'s first argument
 * says how many bits there are. So recompiling the kernel changes nothing. Neither does defining
 * FD_SETSIZE with glibc, which ignores it (Windows, macOS and the BSDs do not). What works is
 * a bitmap of your own; better still is poll().
 *
 * Needs: linux
 * Build:
 * Build: -DFD_SETSIZE=4096
 *
 * Expect:
 *   built as usual
 *   FD_SETSIZE is 1024, an fd_set has 128 bytes, a long <n> bits
 *   a bitmap of our own: select() says that descriptor <n> is ready
 *   built with -DFD_SETSIZE=4096
 *   FD_SETSIZE is 1024, an fd_set has 128 bytes, a long <n> bits
 *   a bitmap of our own: select() says that descriptor <n> is ready
 */
#ifdef FD_SETSIZE
enum { ASKED_FOR = FD_SETSIZE }; /* before a header says otherwise */
#else
enum { ASKED_FOR = 0 };
#endif

#include "experiment.h"

#include <sys/select.h>

enum { HIGH = 5000, LONG_BITS = 8 * sizeof(long) };

/* Is this descriptor readable? With a bitmap that is long enough for it. */
static bool readable(int fd)
{
    unsigned long *bits = calloc((size_t)fd / LONG_BITS + 1, sizeof *bits);
    if (!bits)
        err(1, "calloc");
    bits[fd / LONG_BITS] = 1ul << fd % LONG_BITS;
    int ready = select(fd + 1, (fd_set *)(void *)bits, NULL, NULL, &(struct timeval){0});
    bool answer = ready == 1 && (bits[fd / LONG_BITS] >> fd % LONG_BITS & 1);
    free(bits);
    return answer;
}

int main(void)
{
    int ends[2], limit = descriptors(), high = limit > HIGH ? HIGH : limit - 1;

    printf("FD_SETSIZE is %d, an fd_set has %d bytes, a long %d bits\n", (int)FD_SETSIZE,
           (int)sizeof(fd_set), (int)LONG_BITS);
    if (high <= 1024)
        skip("no descriptor above 1024 may be had here");
    if (pipe(ends) < 0 || dup2(ends[0], high) < 0 || write(ends[1], "x", 1) != 1)
        err(1, "pipe");
    bool works = readable(high);
    printf("a bitmap of our own: select() says that descriptor %d is %sready\n", high,
           works ? "" : "not ");
    expect(FD_SETSIZE == 1024 && sizeof(fd_set) == 128, "glibc's set has 1024 bits");
    expect(works, "the kernel has no such limit");
    claim("FD_SETSIZE is 32 times the word size", "false", FD_SETSIZE == 32 * LONG_BITS, 1,
          "words of %d bits, FD_SETSIZE %d", (int)LONG_BITS, (int)FD_SETSIZE);
    claim("Recompiling the kernel raises the 1024", "false", !works, 1,
          "this kernel selects descriptor %d, with a longer bitmap", high);
    if (ASKED_FOR != 0)
        claim("Changing the macro raises it", "false", sizeof(fd_set) * 8 >= ASKED_FOR, 1,
              "defined as %d, an fd_set has %d bits", (int)ASKED_FOR, (int)sizeof(fd_set) * 8);
    return experiment_failed;
}
