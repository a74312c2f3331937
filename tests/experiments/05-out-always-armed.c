/* EPOLLOUT, asked for all the time.
 *
 * A socket is nearly always writable. A server that watches for that with nothing to send is woken
 * again and again, and never sleeps. (It took the articles' servers one line.)
 *
 * Needs: linux
 *
 * Expect:
 *   one silent client, watched for EPOLLIN:          0 wakeups in 0.5 s, <n> % CPU
 *   one silent client, watched for EPOLLIN|EPOLLOUT: <n> wakeups in 0.5 s, <n> % CPU
 */
#include "experiment.h"

#include <sys/epoll.h>

struct seen {
    long wakeups, sleeps;
    double cpu; /* of a core */
};

/* How often this process has gone to sleep. */
static long times_asleep(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_nvcsw;
}

static struct seen watch(const char *name, uint32_t events)
{
    struct pair pair = connection();
    struct epoll_event event = {.events = events, .data.fd = pair.server};
    struct seen seen = {0};
    int epoll = epoll_create1(0);

    if (epoll_ctl(epoll, EPOLL_CTL_ADD, pair.server, &event) < 0)
        err(1, "epoll_ctl");
    double begin = now(), used = cpu_used(RUSAGE_SELF);
    long before = times_asleep();
    while (now() - begin < 0.5)
        seen.wakeups += epoll_wait(epoll, &event, 1, 100);
    seen.sleeps = times_asleep() - before;
    seen.cpu = (cpu_used(RUSAGE_SELF) - used) / (now() - begin);
    printf("one silent client, watched for %s %ld wakeups in 0.5 s, %.0f %% CPU\n", name,
           seen.wakeups, seen.cpu * 100);
    return seen;
}

/* Other programs decide how much of a core the second one gets, so we ask whether it sleeps. */
int main(void)
{
    struct seen asleep = watch("EPOLLIN:         ", EPOLLIN);
    struct seen awake = watch("EPOLLIN|EPOLLOUT:", EPOLLIN | EPOLLOUT);
    expect(asleep.wakeups == 0 && asleep.sleeps > 0 && asleep.cpu < 0.05,
           "a server that waits for input sleeps");
    expect(awake.wakeups > 1000 && awake.sleeps == 0, "one that waits for room does not");
    return experiment_failed;
}
