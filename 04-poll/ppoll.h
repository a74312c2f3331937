/* macOS has no ppoll(). This one lets the signals in as well, but a signal that comes just before
 * poll() falls asleep does not wake it. So it never sleeps for long. */
#if !defined PPOLL_H && defined __APPLE__
#define PPOLL_H

#include <poll.h>
#include <signal.h>
#include <time.h>

static inline int poll_in_short_sleeps(struct pollfd *watch, nfds_t count,
                                       const struct timespec *timeout, const sigset_t *mask)
{
    enum { SLEEP_MAX_MS = 250 };
    sigset_t blocked;
    int sleep_ms = SLEEP_MAX_MS;
    if (timeout && timeout->tv_sec == 0 && timeout->tv_nsec < SLEEP_MAX_MS * 1000000L)
        sleep_ms = (int)(timeout->tv_nsec / 1000000);
    sigprocmask(SIG_SETMASK, mask, &blocked);
    int ready = poll(watch, count, sleep_ms);
    sigprocmask(SIG_SETMASK, &blocked, NULL);
    return ready;
}
#define ppoll poll_in_short_sleeps

#endif
