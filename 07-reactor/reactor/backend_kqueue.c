/* The reactor on kqueue: see chapter 06. */
#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/types.h>

#include <sys/event.h>
#include <sys/time.h>
#include <unistd.h>

#include "backend.h"

struct kqueue_state {
    int kq;
    int change_count;
    struct kevent changes[BACKEND_BATCH]; /* for the next wait */
};

static void *create(void)
{
    struct kqueue_state *state = calloc(1, sizeof *state);
    if (!state)
        return NULL;
    state->kq = kqueue();
    if (state->kq >= 0)
        return state;
    free(state);
    return NULL;
}

static void destroy(void *argument)
{
    struct kqueue_state *state = argument;
    close(state->kq);
    free(state);
}

/* The one or two changes of filters that lead from one interest to the other. Chapter 06 disables
 * READ for a while, and keeps its knote. Here a knote is there exactly if it is wanted, so that
 * before and after tell all: no third state, which a remove would have to know. The price is that
 * to read again is to add, which may fail; REACTOR_ERROR tells. */
static int prepare(struct kevent *list, int fd, unsigned before, unsigned after)
{
    struct kevent *next = list; /* EV_SET may evaluate its first argument several times */
    if ((before ^ after) & REACTOR_READ) {
        EV_SET(next, (uintptr_t)fd, EVFILT_READ, after & REACTOR_READ ? EV_ADD : EV_DELETE, 0, 0,
               0);
        next++;
    }
    if ((before ^ after) & REACTOR_WRITE) {
        EV_SET(next, (uintptr_t)fd, EVFILT_WRITE, after & REACTOR_WRITE ? EV_ADD : EV_DELETE, 0, 0,
               0);
        next++;
    }
    return (int)(next - list);
}

/* Takes back what still waits for the next kevent(). That happens only if the handler of a refused
 * change removes other descriptors: changes are made just before the wait. */
static bool forget(struct kqueue_state *state, int fd)
{
    int kept = 0, before = state->change_count;
    for (int i = 0; i < before; i++)
        if (state->changes[i].ident != (uintptr_t)fd)
            state->changes[kept++] = state->changes[i];
    state->change_count = kept;
    return kept < before;
}

/* Modifications wait for the next kevent(), and cost no call of their own. The others are sent at
 * once: the caller wants to know whether an addition works, and close() may come next. */
static int change(void *argument, int fd, unsigned before, unsigned after)
{
    struct kqueue_state *state = argument;
    if (before && after && state->change_count + 2 <= BACKEND_BATCH) {
        state->change_count += prepare(&state->changes[state->change_count], fd, before, after);
        return 0;
    }
    if (!after && state->change_count > 0 && forget(state, fd)) { /* which filter is it? both */
        change(state, fd, REACTOR_READ, 0);
        return change(state, fd, REACTOR_WRITE, 0);
    }
    struct kevent now[2];
    int count = prepare(now, fd, before, after);
    /* Without room for answers the first error ends it, and is kevent()'s own. */
    int result = kevent(state->kq, now, count, NULL, 0, NULL);
    if (result < 0 && !before && count == 2) { /* one filter without the other is no addition */
        int error = errno;
        change(state, fd, REACTOR_READ, 0);
        errno = error;
    }
    return result;
}

static int wait_for_events(void *argument, struct backend_event *events, int most, int timeout_ms)
{
    struct kqueue_state *state = argument;
    struct kevent batch[BACKEND_BATCH];
    struct timespec timeout = {timeout_ms / 1000, (long)(timeout_ms % 1000) * 1000000};
    int count = kevent(state->kq, state->changes, state->change_count, batch, most,
                       timeout_ms < 0 ? NULL : &timeout);
    state->change_count = 0;
    for (int i = 0; i < count; i++) {
        unsigned ready = batch[i].filter == EVFILT_WRITE ? REACTOR_WRITE : REACTOR_READ;
        if (batch[i].flags & EV_ERROR)
            ready = REACTOR_ERROR;
        events[i] = (struct backend_event){.events = ready, .data.fd = (int)batch[i].ident};
    }
    return count;
}

const struct backend backend_kqueue = {"kqueue", create, destroy, change, wait_for_events};
