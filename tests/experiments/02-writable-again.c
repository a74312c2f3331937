/* How much must be read before a full pipe, or a full socket, is writable again.
 *
 * One byte is not enough. A pipe waits for a whole page, and a TCP socket until a third of its send
 * buffer is free, so that a woken writer finds room for something worth writing.
 *
 * Needs: linux
 *
 * Expect:
 *   a pipe, full with <n> bytes: writable again when <n> have been read
 *   a TCP connection, full with <n> bytes: writable again when <n> have been read
 */
#include "experiment.h"

#include <poll.h>

static bool writable(int fd)
{
    struct pollfd entry = {.fd = fd, .events = POLLOUT};
    return poll(&entry, 1, 0) == 1;
}

/* Fills it, then reads step bytes at a time until there is room again. */
static size_t until_writable(const char *what, int reader, int writer, size_t step)
{
    static char bytes[4096];
    size_t filled = 0, taken = 0;
    nonblocking(reader);
    nonblocking(writer);
    for (int quiet = 0; quiet < 3; quiet++, pause_ms(20)) /* TCP moves some to the other end */
        for (ssize_t sent; (sent = write(writer, bytes, sizeof bytes)) > 0; quiet = 0)
            filled += (size_t)sent;
    while (!writable(writer) && taken < filled) {
        ssize_t got = read(reader, bytes, step);
        if (got > 0)
            taken += (size_t)got;
        else
            pause_ms(1); /* what was read makes room; more is on its way */
    }
    printf("%s, full with %zu bytes: writable again when %zu have been read\n", what, filled,
           taken);
    return taken;
}

int main(void)
{
    int ends[2];
    struct pair tcp = connection();
    if (pipe(ends) < 0)
        err(1, "pipe");
    size_t pipe_bytes = until_writable("a pipe", ends[0], ends[1], 1);
    size_t tcp_bytes = until_writable("a TCP connection", tcp.client, tcp.server, 4096);
    expect(pipe_bytes == (size_t)sysconf(_SC_PAGESIZE), "a page");
    expect(tcp_bytes > 100000, "much more than a byte");
    claim("\"Not full\" wakes a writer at the first free byte", "false",
          (pipe_bytes == 1) + (tcp_bytes <= 4096), 2,
          "a pipe: after %zu bytes, a TCP connection: after %zu", pipe_bytes, tcp_bytes);
    return experiment_failed;
}
