/* The reactor on poll(): see chapter 04. */
#include <errno.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

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

int backend_wait_failed(void)
{
    const struct timespec moment = {.tv_nsec = 10000000};
    if (errno != ENOMEM && errno != EAGAIN)
        return -1;
    nanosleep(&moment, NULL);
    return 0;
}

static int wait_for_events(void *argument, struct backend_event *events, int most, int timeout_ms)
{
    struct poll_state *state = argument;
    int ready = poll(state->watch, (nfds_t)state->count, timeout_ms), found = 0;
    if (ready <= 0)
        return ready < 0 ? backend_wait_failed() : 0;
    for (int looked = 0; looked < state->count && found < ready && found < most; looked++) {
        if (state->cursor >= state->count)
            state->cursor = 0;
        struct pollfd *each = &state->watch[state->cursor++];
        unsigned bits = 0;
        if (each->revents & POLLIN)
            bits |= REACTOR_READ;
        if (each->revents & POLLOUT)
            bits |= REACTOR_WRITE;
        if (each->revents & (POLLHUP | POLLERR))
            bits |= BACKEND_LOST;
        if (each->revents & POLLNVAL)
            bits = REACTOR_ERROR;
        if (bits)
            events[found++] = (struct backend_event){.events = bits, .data.fd = each->fd};
    }
    return found;
}

const struct backend backend_poll = {"poll", create, destroy, change, wait_for_events};
