/* select() says "writable", and send() blocks all the same.
 *
 * Writable means that there is room for something, not for everything. On a blocking socket send()
 * waits until the last byte has found room, and the only thread waits with it. So a server that
 * asks select() still needs O_NONBLOCK, and must keep what was not taken.
 *
 * Expect:
 *   select(): writable
 *   blocking send() of 40000000 bytes: still waiting after <n> s, <n> bytes taken
 *   non-blocking: returned at once, <n> bytes taken
 */
#include "experiment.h"

#include <sys/select.h>

enum { TOTAL = 40 * 1000 * 1000 };

static bool writable(int fd)
{
    fd_set set;
    FD_ZERO(&set);
    FD_SET(fd, &set);
    return select(fd + 1, NULL, &set, NULL, &(struct timeval){0}) == 1;
}

/* How often this process has gone to sleep. */
static long times_asleep(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_nvcsw;
}

int main(void)
{
    static char bytes[TOTAL];
    struct pair blocking = connection(), other = connection();

    bool before = writable(blocking.server);
    printf("select(): %swritable\n", before ? "" : "not ");
    /* Without this it would wait forever: the client does not read. */
    struct timeval patience = {.tv_usec = 300000};
    setsockopt(blocking.server, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
    double begin = now();
    ssize_t taken = send(blocking.server, bytes, TOTAL, MSG_NOSIGNAL);
    double waited = now() - begin;
    printf("blocking send() of %d bytes: still waiting after %.1f s, %zd bytes taken\n", TOTAL,
           waited, taken);

    nonblocking(other.server);
    long sleeps = times_asleep();
    ssize_t quick = send(other.server, bytes, TOTAL, MSG_NOSIGNAL);
    bool slept = times_asleep() > sleeps;
    printf("non-blocking: returned %s, %zd bytes taken\n", slept ? "late" : "at once", quick);
    expect(before && waited > 0.25 && taken < TOTAL, "writable, and blocks");
    expect(!slept && quick > 0 && quick < TOTAL, "non-blocking takes what fits");
    claim("What select reports will not block", "false", waited < 0.25, 1,
          "reported as writable, and send() waited for %.1f s, until a timeout", waited);
    return experiment_failed;
}
