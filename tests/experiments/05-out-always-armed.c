/* EPOLLOUT, asked for all the time.
 *
 * A socket is writable nearly always. Who watches for it without having anything to send is woken
 * without end, and never sleeps. (It took the articles' servers one line.)
 *
 * Needs: linux
 *
 * Expect:
 *   one silent client, watched for EPOLLIN:          0 wakeups in 0.5 s, <n> % CPU
 *   one silent client, watched for EPOLLIN|EPOLLOUT: <n> wakeups in 0.5 s, <n> % CPU
 */
#include "experiment.h"

#include <sys/epoll.h>

static long wakeups(const char *name, uint32_t events, double *cpu)
{
    struct pair pair = connection();
    struct epoll_event event = {.events = events, .data.fd = pair.server};
    int epoll = epoll_create1(0);
    long count = 0;

    if (epoll_ctl(epoll, EPOLL_CTL_ADD, pair.server, &event) < 0)
        err(1, "epoll_ctl");
    double begin = now(), used = cpu_used(RUSAGE_SELF);
    while (now() - begin < 0.5)
        count += epoll_wait(epoll, &event, 1, 100);
    *cpu = (cpu_used(RUSAGE_SELF) - used) / (now() - begin);
    printf("one silent client, watched for %s %ld wakeups in 0.5 s, %.0f %% CPU\n", name, count,
           *cpu * 100);
    return count;
}

int main(void)
{
    double asleep, awake;
    long none = wakeups("EPOLLIN:         ", EPOLLIN, &asleep);
    long many = wakeups("EPOLLIN|EPOLLOUT:", EPOLLIN | EPOLLOUT, &awake);
    expect(none == 0 && asleep < 0.05, "who waits for input sleeps");
    expect(many > 10000 && awake > 0.25, "who waits for room does not");
    return experiment_failed;
}
