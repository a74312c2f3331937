/* poll() has a limit, too: as many entries as the process may have descriptors.
 *
 * What the caller passes is an array. The kernel copies it into pieces that are linked together,
 * which may be why people write that poll has no limit "because it uses a linked list".
 *
 * Needs: linux
 *
 * Expect:
 *   with a limit of 500 descriptors:
 *   poll() of 500 entries: 0
 *   poll() of 501 entries: Invalid argument
 */
#include "experiment.h"

#include <poll.h>

static const char *answer(int result)
{
    return result < 0 ? strerror(errno) : "0";
}

int main(void)
{
    enum { LIMIT = 500 };
    static struct pollfd array[LIMIT + 1];
    struct rlimit limit = {LIMIT, LIMIT};

    for (int i = 0; i <= LIMIT; i++)
        array[i].fd = -1; /* skipped, but counted */
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0)
        err(1, "setrlimit");
    printf("with a limit of %d descriptors:\n", LIMIT);
    int fits = poll(array, LIMIT, 0);
    printf("poll() of %d entries: %s\n", LIMIT, answer(fits));
    int over = poll(array, LIMIT + 1, 0);
    bool refused = over < 0 && errno == EINVAL;
    printf("poll() of %d entries: %s\n", LIMIT + 1, answer(over));
    expect(fits == 0 && refused, "the limit is the process's");
    claim("poll has no limit, because it is a linked list", "false", !refused, 1,
          "it takes an array; limit %d, %d entries: %s", LIMIT, LIMIT + 1, answer(over));
    return experiment_failed;
}
