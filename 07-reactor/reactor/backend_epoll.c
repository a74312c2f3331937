/* The reactor on epoll: see chapter 05. */
#ifdef __linux__
#include <stdlib.h>
#include <sys/epoll.h>
#include <unistd.h>

#include "backend.h"

_Static_assert(REACTOR_READ == (int)EPOLLIN && REACTOR_WRITE == (int)EPOLLOUT &&
                   BACKEND_LOST == (int)(EPOLLHUP | EPOLLERR),
               "the reactor's bits are epoll's, and nothing has to be translated");

struct epoll_state {
    int epoll;
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

/* No interest is no registration: epoll would go on to report EPOLLHUP and EPOLLERR, for ever, to
 * a handler that does not want to hear of them. */
static int change(void *argument, int fd, unsigned before, unsigned after)
{
    struct epoll_state *state = argument;
    struct epoll_event event = {.events = after, .data.fd = fd};
    int operation = !before ? EPOLL_CTL_ADD : !after ? EPOLL_CTL_DEL : EPOLL_CTL_MOD;
    return epoll_ctl(state->epoll, operation, fd, &event);
}

static int wait_for_events(void *argument, struct backend_event *events, int most, int timeout_ms)
{
    struct epoll_state *state = argument;
    return epoll_wait(state->epoll, events, most, timeout_ms);
}

const struct backend backend_epoll = {"epoll", create, destroy, change, wait_for_events};
#else
typedef int no_epoll_here; /* an empty source file is not C */
#endif
