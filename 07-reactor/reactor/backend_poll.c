/* The reactor on poll(): see chapter 04. */
#include <poll.h>
#include <stdlib.h>
#include <string.h>

#include "backend.h"

struct poll_state {
    struct pollfd *watch; /* dense, in any order */
    int count, capacity;
    int *place; /* by descriptor: its index in watch, valid only for those in it */
    int places;
    int cursor; /* where the next look at the results begins, so that each comes first in turn */
};

static void *create(void)
{
    return calloc(1, sizeof(struct poll_state));
}

static void destroy(void *argument)
{
    struct poll_state *state = argument;
    free(state->watch);
    free(state->place);
    free(state);
}

/* Doubles *array until it holds at least needed elements of that size. */
static int grow(void **array, int *capacity, int needed, size_t size)
{
    int larger = *capacity ? *capacity : 64;
    if (needed <= *capacity)
        return 0;
    while (larger < needed)
        larger *= 2;
    void *moved = realloc(*array, (size_t)larger * size);
    if (!moved)
        return -1;
    *array = moved;
    *capacity = larger;
    return 0;
}

static int add(struct poll_state *state, int fd)
{
    void *watch = state->watch, *place = state->place;
    int failed = grow(&watch, &state->capacity, state->count + 1, sizeof *state->watch) ||
                 grow(&place, &state->places, fd + 1, sizeof *state->place);
    state->watch = watch;
    state->place = place;
    if (failed)
        return -1;
    state->place[fd] = state->count;
    state->watch[state->count++] = (struct pollfd){.fd = fd};
    return 0;
}

static int change(void *argument, int fd, unsigned before, unsigned after)
{
    struct poll_state *state = argument;
    if (!before && add(state, fd) < 0)
        return -1;
    int i = state->place[fd];
    state->watch[i].events =
        (short)((after & REACTOR_READ ? POLLIN : 0) | (after & REACTOR_WRITE ? POLLOUT : 0));
    if (!after) { /* the last one fills the gap */
        state->watch[i] = state->watch[--state->count];
        state->place[state->watch[i].fd] = i;
    }
    return 0;
}

static void forget(void *argument, int fd, unsigned before)
{
    change(argument, fd, before, 0);
}

/* Errors, too, are for read() and write() to find: EBADF after a POLLNVAL. */
static unsigned ready_bits(short revents)
{
    const short error = POLLHUP | POLLERR | POLLNVAL;
    unsigned ready = 0;
    if (revents & (POLLIN | error))
        ready |= REACTOR_READ;
    if (revents & (POLLOUT | error))
        ready |= REACTOR_WRITE;
    return ready;
}

static int wait_for_events(void *argument, struct backend_event *events, int max, int timeout_ms)
{
    struct poll_state *state = argument;
    int ready_count = poll(state->watch, (nfds_t)state->count, timeout_ms), found = 0;
    for (int i = 0; i < state->count && found < ready_count && found < max; i++) {
        if (state->cursor >= state->count)
            state->cursor = 0;
        struct pollfd *each = &state->watch[state->cursor++];
        unsigned ready = ready_bits(each->revents);
        if (ready)
            events[found++] = (struct backend_event){each->fd, ready};
    }
    return ready_count < 0 ? -1 : found;
}

const struct backend backend_poll = {"poll", create, destroy, change, forget, wait_for_events};
