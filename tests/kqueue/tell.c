/* Calls kevent() in each way that `tell` has texts for, in the order of its list. Fails if a call
 * leaves another errno than it should: with KQUEUE_TRACE that is the same as without. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/types.h>

#include <sys/event.h>
#include <sys/time.h>

enum { MANY = 200, UNTOUCHED = 12345 };

static const struct timespec at_once = {0, 0};
static struct kevent changes[MANY], events[MANY];

static void change(int i, int ident, int filter, int flags, unsigned int fflags)
{
    EV_SET(&changes[i], (uintptr_t)ident, (short)filter, (unsigned short)flags, fflags, 0, NULL);
}

static void call(int kq, int count, int room, const struct timespec *timeout, int expected)
{
    errno = UNTOUCHED;
    kevent(kq, changes, count, events, room, timeout);
    if (errno != expected) {
        printf("errno is %d, not %d\n", errno, expected);
        exit(1);
    }
}

static void ignore(int signo)
{
    (void)signo;
}

int main(void)
{
    const struct timespec tenth = {0, 100000000}, fine = {1, 500}, negative = {-1, 0};
    int kq = kqueue(), other = kqueue();
    change(0, 1, EVFILT_USER, EV_ADD | EV_CLEAR | EV_RECEIPT, 0);
    call(kq, 1, 8, &tenth, UNTOUCHED);
    change(0, 1, EVFILT_USER, 0, NOTE_TRIGGER | NOTE_FFOR | 5);
    call(kq, 1, 8, &at_once, UNTOUCHED);
    call(kq, 0, 8, &at_once, UNTOUCHED);
    call(-1, 0, 8, NULL, EBADF);
    call(kq, -1, 8, &negative, EINVAL);

    for (int filter = 0; filter >= EVFILT_USER; filter--)
        change(-filter, 7 - filter, filter, EV_DELETE, 0);
    call(kq, 1 - EVFILT_USER, 0, &fine, EINVAL);
    change(0, 1, EVFILT_USER, 0x2fff, 0);
    call(kq, 1, 0, NULL, EINVAL);
    change(0, 2, EVFILT_USER, EV_DELETE, 0);
    call(kq, 1, 0, NULL, ENOENT);
    change(0, kq, EVFILT_READ, EV_ADD, 0);
    call(other, 1, 0, NULL, UNTOUCHED);
    change(0, other, EVFILT_READ, EV_ADD, 0);
    call(kq, 1, 0, NULL, ELOOP); /* an errno without a name in tell.h */

    for (int i = 0; i < MANY; i++)
        change(i, 1000 + i, EVFILT_USER, EV_ADD | EV_RECEIPT, 0);
    call(kq, MANY, MANY, NULL, UNTOUCHED);

    const struct itimerval often = {{0, 10000}, {0, 10000}};
    signal(SIGALRM, ignore);
    setitimer(ITIMER_REAL, &often, NULL);
    call(kq, 0, 8, NULL, EINTR);
    return 0;
}
