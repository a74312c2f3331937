/* The reactor on select(): see chapter 03. */
#include <errno.h>
#include <stdlib.h>
#include <sys/select.h>

#include "backend.h"

struct select_state {
    fd_set readers, writers;
    int max_fd;
    int cursor; /* where the next look at the results begins, so that each comes first in turn */
};

static void *create(void)
{
    struct select_state *state = calloc(1, sizeof *state);
    if (!state)
        return NULL;
    FD_ZERO(&state->readers);
    FD_ZERO(&state->writers);
    state->max_fd = -1;
    return state;
}

static void destroy(void *argument)
{
    free(argument);
}

static int change(void *argument, int fd, unsigned before, unsigned after)
{
    struct select_state *state = argument;
    (void)before;
    if (fd >= FD_SETSIZE) {
        errno = EMFILE;
        return -1;
    }
    FD_CLR(fd, &state->readers);
    FD_CLR(fd, &state->writers);
    if (after & REACTOR_READ)
        FD_SET(fd, &state->readers);
    if (after & REACTOR_WRITE)
        FD_SET(fd, &state->writers);
    if (fd > state->max_fd)
        state->max_fd = fd;
    while (state->max_fd >= 0 && !FD_ISSET(state->max_fd, &state->readers) &&
           !FD_ISSET(state->max_fd, &state->writers))
        state->max_fd--;
    return 0;
}

static void forget(void *argument, int fd, unsigned before)
{
    change(argument, fd, before, 0);
}

static int wait_for_events(void *argument, struct backend_event *events, int max, int timeout_ms)
{
    struct select_state *state = argument;
    struct timeval timeout = {timeout_ms / 1000, (suseconds_t)(timeout_ms % 1000) * 1000};
    fd_set readable = state->readers, writable = state->writers;
    int found = 0;

    int ready_count =
        select(state->max_fd + 1, &readable, &writable, NULL, timeout_ms < 0 ? NULL : &timeout);
    for (int i = 0; i <= state->max_fd && ready_count > 0 && found < max; i++) {
        if (state->cursor > state->max_fd)
            state->cursor = 0;
        int fd = state->cursor++;
        unsigned ready = 0;
        if (FD_ISSET(fd, &readable))
            ready |= REACTOR_READ;
        if (FD_ISSET(fd, &writable))
            ready |= REACTOR_WRITE;
        if (ready)
            events[found++] = (struct backend_event){fd, ready};
    }
    return ready_count < 0 ? -1 : found;
}

const struct backend backend_select = {"select", create, destroy, change, forget, wait_for_events};
