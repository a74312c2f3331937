/* The reactor on epoll: see chapter 05. */
#ifdef __linux__
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "backend.h"

struct epoll_state {
    int epoll;
    struct epoll_event batch[BACKEND_BATCH];
};

static void *create(void)
{
    struct epoll_state *state = malloc(sizeof *state);
    if (!state)
        return NULL;
    state->epoll = epoll_create1(EPOLL_CLOEXEC);
    if (state->epoll >= 0)
        return state;
    free(state);
    return NULL;
}

static void destroy(void *argument)
{
    struct epoll_state *state = argument;
    close(state->epoll);
    free(state);
}

/* Without interest there is no registration: epoll would go on to report EPOLLHUP and EPOLLERR,
 * forever, to a handler that does not want to hear of them. */
static int change(void *argument, int fd, unsigned before, unsigned after)
{
    struct epoll_state *state = argument;
    struct epoll_event event = {.data.fd = fd};
    int operation = EPOLL_CTL_MOD;
    if (!before)
        operation = EPOLL_CTL_ADD;
    if (!after)
        operation = EPOLL_CTL_DEL;
    if (after & REACTOR_READ)
        event.events |= EPOLLIN;
    if (after & REACTOR_WRITE)
        event.events |= EPOLLOUT;
    return epoll_ctl(state->epoll, operation, fd, &event);
}

/* close() ends the registration. */
static void forget(void *argument, int fd, unsigned before)
{
    (void)argument, (void)fd, (void)before;
}

static int wait_for_events(void *argument, struct backend_event *events, int max, int timeout_ms)
{
    struct epoll_state *state = argument;
    int count = epoll_wait(state->epoll, state->batch, max, timeout_ms);
    for (int i = 0; i < count; i++) {
        uint32_t bits = state->batch[i].events;
        unsigned ready = REACTOR_READ | REACTOR_WRITE;
        if (!(bits & (EPOLLHUP | EPOLLERR)))
            ready = (bits & EPOLLIN ? REACTOR_READ : 0U) | (bits & EPOLLOUT ? REACTOR_WRITE : 0U);
        events[i] = (struct backend_event){state->batch[i].data.fd, ready};
    }
    return count;
}

const struct backend backend_epoll = {"epoll", create, destroy, change, forget, wait_for_events};
#else
typedef int no_epoll_here; /* an empty source file is not C */
#endif
