/* The reactor's loop, and its table of descriptors. */
#include "reactor.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "internal.h"

/* Best first. Every system with kqueue has had it all along, and nothing like epoll beside it. On
 * Linux kqueue is a layer over epoll: there to be tried, with nothing to gain. */
static const struct backend *const backends[] = {
#ifdef __linux__
    &backend_epoll,
#endif
    &backend_kqueue, &backend_poll, &backend_select, NULL,
};

/* ----------------------------------------------------------------------------- the reactor --- */

static const struct backend *find_backend(const char *name)
{
    int i = 0;
    while (name && backends[i] && strcmp(backends[i]->name, name) != 0)
        i++;
    if (!backends[i])
        errno = EINVAL;
    return backends[i];
}

const char *reactor_backend_name(int i)
{
    return backends[i] ? backends[i]->name : NULL;
}

const char *reactor_backend(const struct reactor *reactor)
{
    return reactor->backend->name;
}

struct reactor *reactor_create(const char *name)
{
    const struct backend *backend = find_backend(name);
    struct reactor *reactor = backend ? calloc(1, sizeof *reactor) : NULL;
    if (!reactor)
        return NULL;
    reactor->backend = backend;
    reactor->wait = backend->wait;
    reactor->backend_state = backend->create();
    if (reactor->backend_state && timers_create(reactor) == 0 && wakeup_create(reactor) == 0)
        return reactor;
    int error = errno;
    free(reactor->timers.entry);
    if (reactor->backend_state)
        backend->destroy(reactor->backend_state);
    free(reactor->slot);
    free(reactor->changed);
    free(reactor);
    errno = error;
    return NULL;
}

void reactor_destroy(struct reactor *reactor)
{
    wakeup_destroy(reactor);
    reactor->backend->destroy(reactor->backend_state);
    free(reactor->timers.entry);
    free(reactor->slot);
    free(reactor->changed);
    free(reactor);
}

/* ----------------------------------------------------------------------------- descriptors --- */

static struct slot *watched_slot(struct reactor *reactor, int fd)
{
    if (fd >= 0 && fd < reactor->slots && reactor->slot[fd].handler)
        return &reactor->slot[fd];
    errno = ENOENT;
    return NULL;
}

/* Makes the table reach to fd. The list of changes grows with it, so that it always has room. */
static int make_room(struct reactor *reactor, int fd)
{
    if (fd >= reactor->slot_capacity) {
        int capacity = fd < 32 ? 64 : 2 * fd;
        struct slot *slot = realloc(reactor->slot, (size_t)capacity * sizeof *slot);
        if (!slot)
            return -1;
        reactor->slot = slot;
        int *changed = realloc(reactor->changed, (size_t)capacity * sizeof *changed);
        if (!changed)
            return -1;
        reactor->changed = changed;
        reactor->slot_capacity = capacity;
    }
    while (reactor->slots <= fd)
        reactor->slot[reactor->slots++] = (struct slot){0};
    return 0;
}

int reactor_add(struct reactor *reactor, int fd, unsigned interest, reactor_handler *handler,
                void *argument)
{
    if (fd < 0) {
        errno = EBADF;
        return -1;
    }
    if (watched_slot(reactor, fd)) {
        errno = EEXIST;
        return -1;
    }
    if (make_room(reactor, fd) < 0)
        return -1;
    if (interest && reactor->backend->change(reactor->backend_state, fd, 0, interest) < 0)
        return -1;
    struct slot *slot = &reactor->slot[fd];
    slot->handler = handler;
    slot->argument = argument;
    slot->added = reactor->turn;
    slot->wanted = slot->registered = (uint8_t)interest;
    return 0;
}

int reactor_modify(struct reactor *reactor, int fd, unsigned interest)
{
    struct slot *slot = watched_slot(reactor, fd);
    if (!slot)
        return -1;
    slot->wanted = (uint8_t)interest;
    if (slot->wanted != slot->registered && !slot->dirty) {
        slot->dirty = true;
        reactor->changed[reactor->changed_count++] = fd;
    }
    return 0;
}

/* At once, not with the next wait: by then the number may belong to another file. The slot stays
 * on the list of changes if it is there, so that the list never holds a number twice. */
int reactor_remove(struct reactor *reactor, int fd)
{
    struct slot *slot = watched_slot(reactor, fd);
    if (!slot)
        return -1;
    if (slot->registered)
        reactor->backend->change(reactor->backend_state, fd, slot->registered, 0);
    slot->handler = NULL;
    slot->wanted = slot->registered = 0;
    return 0;
}

/* -------------------------------------------------------------------------------- the loop --- */

static unsigned readiness(const struct slot *slot, unsigned events)
{
    if (events & BACKEND_LOST)
        return slot->wanted;
    return events & (slot->wanted | (slot->handler ? REACTOR_ERROR : 0U));
}

static inline void dispatch(struct reactor *reactor, const struct backend_event *event,
                            uint32_t turn)
{
    struct slot *slot = &reactor->slot[event->data.fd];
    /* An event that the kernel reported before this turn's handlers ran may be for a descriptor
     * that one of them has closed, and even for one whose number another file has since got. The
     * former wants nothing any more, the latter was added in this turn. */
    if (slot->added == turn)
        return;
    unsigned ready = event->events & slot->wanted;
    if (event->events > REACTOR_READ + REACTOR_WRITE) /* seldom: lost, or an error */
        ready = readiness(slot, event->events);
    if (ready)
        slot->handler(reactor, event->data.fd, ready, slot->argument);
}

/* Tells the backend what has changed on the whole; what was changed back is not worth a call. The
 * handler of a failure may change more, which has time until the next turn. Returns how long the
 * wait may be, for that. */
static int apply_changes(struct reactor *reactor)
{
    for (int most = reactor->changed_count; most > 0; most--) {
        int fd = reactor->changed[--reactor->changed_count];
        struct slot *slot = &reactor->slot[fd];
        uint8_t before = slot->registered;
        slot->dirty = false;
        if (!slot->handler || slot->wanted == before)
            continue;
        slot->registered = slot->wanted;
        if (reactor->backend->change(reactor->backend_state, fd, before, slot->wanted) < 0) {
            slot->registered = 0;
            slot->handler(reactor, fd, REACTOR_ERROR, slot->argument);
        }
    }
    return reactor->changed_count > 0 || reactor->stopping ? 0 : -1;
}

static int run_turns(struct reactor *reactor)
{
    struct backend_event events[BACKEND_BATCH];

    reactor->stopping = false;
    while (!reactor->stopping) {
        uint32_t turn = ++reactor->turn;
        int timeout_ms = reactor->changed_count > 0 ? apply_changes(reactor) : -1;
        if (reactor->timers.count > 0 && timeout_ms < 0)
            timeout_ms = timers_wait_ms(reactor);
        int count = reactor->wait(reactor->backend_state, events, BACKEND_BATCH, timeout_ms);
        if (count < 0 && errno != EINTR)
            return -1;
        reactor->now_ms = 0;
        for (int i = 0; i < count; i++)
            dispatch(reactor, &events[i], turn);
        if (reactor->timers.count > 0)
            timers_run(reactor);
    }
    return 0;
}

int reactor_run(struct reactor *reactor)
{
    if (reactor->running) { /* in a handler: what is left of its batch would be out of date */
        errno = EBUSY;
        return -1;
    }
    reactor->running = true;
    int result = run_turns(reactor);
    reactor->running = false;
    return result;
}

void reactor_stop(struct reactor *reactor)
{
    reactor->stopping = true;
}

uint32_t reactor_turn(const struct reactor *reactor)
{
    return reactor->turn;
}

int64_t reactor_now_ms(struct reactor *reactor)
{
    if (reactor->now_ms == 0 || !reactor->running) { /* between runs much time may pass */
        struct timespec now;
        clock_gettime(CLOCK_MONOTONIC, &now);
        reactor->now_ms = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
    }
    return reactor->now_ms;
}
