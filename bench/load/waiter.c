#ifdef __linux__
#define _GNU_SOURCE /* ppoll() */
#endif

#include "load/waiter.h"

#include <stddef.h>

enum { SPIN_NS = 60000 }; /* waking up sometimes takes that long */

#ifdef __linux__

#include <poll.h>
#include <sys/epoll.h>
#include <time.h>

int waiter_open(void)
{
    return epoll_create1(EPOLL_CLOEXEC);
}

static int control(int waiter, int operation, int fd, uint32_t number, uint32_t events)
{
    struct epoll_event event = {.events = events, .data = {.u32 = number}};
    return epoll_ctl(waiter, operation, fd, &event);
}

int waiter_add(int waiter, int fd, uint32_t number)
{
    return control(waiter, EPOLL_CTL_ADD, fd, number, EPOLLIN);
}

int waiter_want_write(int waiter, int fd, uint32_t number, bool wanted)
{
    return control(waiter, EPOLL_CTL_MOD, fd, number, wanted ? EPOLLIN | EPOLLOUT : EPOLLIN);
}

int waiter_wait(int waiter, uint32_t *ready, int capacity, int milliseconds)
{
    struct epoll_event events[WAITER_BATCH];
    int count =
        epoll_wait(waiter, events, capacity < WAITER_BATCH ? capacity : WAITER_BATCH, milliseconds);
    for (int i = 0; i < count; i++)
        ready[i] = events[i].data.u32;
    return count;
}

/* epoll_wait() counts in milliseconds; ppoll() does not, and an epoll instance can be polled. */
int waiter_wait_exactly(int waiter, uint32_t *ready, int capacity, uint64_t nanoseconds)
{
    if (nanoseconds > SPIN_NS) {
        struct pollfd itself = {.fd = waiter, .events = POLLIN};
        nanoseconds -= SPIN_NS;
        struct timespec limit = {.tv_sec = (time_t)(nanoseconds / 1000000000U),
                                 .tv_nsec = (long)(nanoseconds % 1000000000U)};
        ppoll(&itself, 1, &limit, NULL);
    }
    return waiter_wait(waiter, ready, capacity, 0);
}

#else

#include <sys/types.h>

#include <sys/event.h>
#include <sys/time.h>

int waiter_open(void)
{
    return kqueue();
}

static int change(int waiter, int fd, uint32_t number, short filter, unsigned short flags)
{
    struct kevent event;
    EV_SET(&event, (uintptr_t)fd, filter, flags, 0, 0, (void *)(uintptr_t)number);
    return kevent(waiter, &event, 1, NULL, 0, NULL);
}

int waiter_add(int waiter, int fd, uint32_t number)
{
    return change(waiter, fd, number, EVFILT_READ, EV_ADD);
}

int waiter_want_write(int waiter, int fd, uint32_t number, bool wanted)
{
    return change(waiter, fd, number, EVFILT_WRITE, wanted ? EV_ADD : EV_DELETE);
}

int waiter_wait_exactly(int waiter, uint32_t *ready, int capacity, uint64_t nanoseconds)
{
    struct kevent events[WAITER_BATCH];
    nanoseconds = nanoseconds > SPIN_NS ? nanoseconds - SPIN_NS : 0;
    struct timespec limit = {.tv_sec = (time_t)(nanoseconds / 1000000000U),
                             .tv_nsec = (long)(nanoseconds % 1000000000U)};
    int count =
        kevent(waiter, NULL, 0, events, capacity < WAITER_BATCH ? capacity : WAITER_BATCH, &limit);
    for (int i = 0; i < count; i++)
        ready[i] = (uint32_t)(uintptr_t)events[i].udata;
    return count;
}

int waiter_wait(int waiter, uint32_t *ready, int capacity, int milliseconds)
{
    return waiter_wait_exactly(waiter, ready, capacity,
                               (uint64_t)milliseconds * 1000000U + SPIN_NS);
}

#endif
