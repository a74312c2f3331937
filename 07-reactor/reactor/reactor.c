/* The reactor: its loop, its table of descriptors, and what it is made of. A backend asks the
 * kernel, timer_heap.c keeps the timers, wakeup.c brings in signals and other threads. */
#include "reactor.h"

#include <errno.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "backend.h"
#include "timer_heap.h"
#include "wakeup.h"

/* A descriptor's place in the table. There is one for each number, used or not. */
struct slot {
    reactor_handler *handler; /* NULL: not watched */
    void *argument;
    uint32_t added;      /* the turn in which it was added */
    uint8_t wanted;      /* the interest that the program asked for */
    uint8_t registered;  /* the interest that the backend knows */
    bool on_change_list; /* they may differ */
};

struct reactor {
    const struct backend *backend;
    void *backend_state;
    bool running, stopping;
    uint32_t turn;

    struct slot *slot_table;       /* by descriptor */
    int slot_count, slot_capacity; /* in use or once used; allocated */
    int *change_list; /* descriptors whose interest may have changed since the last wait */
    int change_count;

    struct timer_heap timers;
    int64_t now_ms; /* the time that this turn's handlers see; 0: the clock is not read yet */
    struct wakeup wakeup;
};

/* Best first. A system that has kqueue has no epoll beside it, except for Linux, where kqueue is
 * chapter 06's layer over epoll: you can try it, and it gains nothing. */
static const struct backend *const backends[] = {
#ifdef __linux__
    &backend_epoll,
#endif
    &backend_kqueue, &backend_poll, &backend_select, NULL,
};

/* -------------------------------------------------------------------------------- the loop --- */

static bool apply_changes(struct reactor *reactor);
static int next_timer_ms(struct reactor *reactor);
static int after_failed_wait(void);
static void dispatch(struct reactor *reactor, const struct backend_event *event);
static void run_timers(struct reactor *reactor);

static int run_turns(struct reactor *reactor)
{
    const struct backend *backend = reactor->backend;
    struct backend_event events[BACKEND_BATCH];

    reactor->stopping = false;
    while (!reactor->stopping) {
        int timeout_ms = -1; /* forever */
        reactor->turn++;
        if (reactor->change_count > 0 && apply_changes(reactor))
            timeout_ms = 0;
        else if (reactor->timers.count > 0)
            timeout_ms = next_timer_ms(reactor);
        int count = backend->wait(reactor->backend_state, events, BACKEND_BATCH, timeout_ms);
        if (count < 0 && after_failed_wait() < 0)
            return -1;
        reactor->now_ms = 0;
        for (int i = 0; i < count; i++)
            dispatch(reactor, &events[i]);
        run_timers(reactor);
    }
    return 0;
}

/* Tells the backend what has changed since the last wait. What was changed back costs no call.
 * Returns true if the handler of a refused change has changed more, which waits for the next turn,
 * or stops the loop: then the reactor must not sleep now. */
static bool apply_changes(struct reactor *reactor)
{
    for (int left = reactor->change_count; left > 0; left--) {
        int fd = reactor->change_list[--reactor->change_count];
        struct slot *slot = &reactor->slot_table[fd];
        uint8_t before = slot->registered;
        slot->on_change_list = false;
        if (!slot->handler || slot->wanted == before)
            continue;
        slot->registered = slot->wanted;
        if (reactor->backend->change(reactor->backend_state, fd, before, slot->wanted) < 0) {
            slot->registered = 0;
            slot->handler(reactor, fd, REACTOR_ERROR, slot->argument);
        }
    }
    return reactor->change_count > 0 || reactor->stopping;
}

/* The handlers of the last turn took their time, and the wait must not add to it. */
static int next_timer_ms(struct reactor *reactor)
{
    reactor->now_ms = 0;
    return timer_heap_wait_ms(&reactor->timers, reactor_now_ms(reactor));
}

/* poll() and select() need memory for each descriptor. Without it they have not waited: no
 * descriptor is ready, and 10 ms later the next turn tries again. (epoll and kqueue took their
 * memory when the descriptor was added.) */
static int after_failed_wait(void)
{
    const struct timespec moment = {.tv_nsec = 10000000};
    if (errno == ENOMEM || errno == EAGAIN)
        nanosleep(&moment, NULL);
    else if (errno != EINTR)
        return -1;
    return 0;
}

/* A handler earlier in this batch may have closed this descriptor, and a new connection may already
 * have its number. A closed slot wants nothing; a reused one was added in this turn. Drop both. */
static void dispatch(struct reactor *reactor, const struct backend_event *event)
{
    struct slot *slot = &reactor->slot_table[event->fd];
    unsigned ready = event->ready & slot->wanted;

    if (ready && slot->added != reactor->turn)
        slot->handler(reactor, event->fd, ready, slot->argument);
}

/* Calls the timers that are due, but none that is started meanwhile: a handler that starts its own
 * timer again with no delay must not keep the descriptors waiting. */
static void run_timers(struct reactor *reactor)
{
    if (reactor->timers.count == 0)
        return;
    uint64_t starts = reactor->timers.starts;
    int64_t now = reactor_now_ms(reactor);
    struct reactor_timer *timer;
    while ((timer = timer_heap_take_due(&reactor->timers, now, starts)))
        timer->handler(reactor, timer);
}

int reactor_run(struct reactor *reactor)
{
    if (reactor->running) { /* a handler calls: what is left of its batch would be out of date */
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

/* ----------------------------------------------------------------------------- descriptors --- */

static struct slot *watched_slot(struct reactor *reactor, int fd)
{
    if (fd >= 0 && fd < reactor->slot_count && reactor->slot_table[fd].handler)
        return &reactor->slot_table[fd];
    errno = ENOENT;
    return NULL;
}

/* Makes the table reach to fd. The list of changes grows with it, so that it always has room. */
static int make_room(struct reactor *reactor, int fd)
{
    if (fd >= reactor->slot_capacity) {
        int capacity = fd < 32 ? 64 : 2 * fd;
        struct slot *slot = realloc(reactor->slot_table, (size_t)capacity * sizeof *slot);
        if (!slot)
            return -1;
        reactor->slot_table = slot;
        int *changed = realloc(reactor->change_list, (size_t)capacity * sizeof *changed);
        if (!changed)
            return -1;
        reactor->change_list = changed;
        reactor->slot_capacity = capacity;
    }
    while (reactor->slot_count <= fd)
        reactor->slot_table[reactor->slot_count++] = (struct slot){0};
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
    struct slot *slot = &reactor->slot_table[fd];
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
    if (slot->wanted != slot->registered && !slot->on_change_list) {
        slot->on_change_list = true;
        reactor->change_list[reactor->change_count++] = fd;
    }
    return 0;
}

static void clear(struct slot *slot)
{
    slot->handler = NULL;
    slot->wanted = slot->registered = 0;
}

/* Tells the backend at once, not with the next wait: by then the number may belong to another file.
 * If the slot is on the list of changes it stays there, so that the list never holds a number
 * twice. */
int reactor_remove(struct reactor *reactor, int fd)
{
    struct slot *slot = watched_slot(reactor, fd);
    if (!slot)
        return -1;
    if (slot->registered)
        reactor->backend->change(reactor->backend_state, fd, slot->registered, 0);
    clear(slot);
    return 0;
}

int reactor_close(struct reactor *reactor, int fd)
{
    struct slot *slot = watched_slot(reactor, fd);
    if (!slot)
        return -1;
    if (slot->registered)
        reactor->backend->forget(reactor->backend_state, fd, slot->registered);
    clear(slot);
    return close(fd);
}

/* ------------------------------------------------------------------------ timers, signals --- */

int reactor_timer_start(struct reactor *reactor, struct reactor_timer *timer, int64_t delay_ms,
                        int64_t period_ms)
{
    timer_heap_stop(&reactor->timers, timer);
    timer->period_ms = period_ms;
    return timer_heap_start(&reactor->timers, timer, reactor_now_ms(reactor), delay_ms);
}

void reactor_timer_stop(struct reactor *reactor, struct reactor_timer *timer)
{
    timer_heap_stop(&reactor->timers, timer);
}

int reactor_signal(struct reactor *reactor, int signal,
                   void (*handler)(struct reactor *reactor, int signal, void *argument),
                   void *argument)
{
    return wakeup_signal(&reactor->wakeup, signal, handler, argument);
}

int reactor_post(struct reactor *reactor, void (*task)(void *argument), void *argument)
{
    return wakeup_post(&reactor->wakeup, task, argument);
}

static void on_wake(struct reactor *reactor, int fd, unsigned ready, void *argument)
{
    (void)fd, (void)ready, (void)argument;
    wakeup_run(&reactor->wakeup, reactor);
}

/* ------------------------------------------------------------------------ beginning and end --- */

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

static void free_reactor(struct reactor *reactor)
{
    if (reactor->backend_state)
        reactor->backend->destroy(reactor->backend_state);
    timer_heap_free(&reactor->timers);
    free(reactor->slot_table);
    free(reactor->change_list);
    free(reactor);
}

struct reactor *reactor_create(const char *name)
{
    const struct backend *backend = find_backend(name);
    struct reactor *reactor = backend ? calloc(1, sizeof *reactor) : NULL;
    if (!reactor)
        return NULL;
    reactor->backend = backend;
    reactor->backend_state = backend->create();
    if (reactor->backend_state && timer_heap_create(&reactor->timers) == 0) {
        int wake_fd = wakeup_create(&reactor->wakeup);
        if (wake_fd >= 0 && reactor_add(reactor, wake_fd, REACTOR_READ, on_wake, NULL) == 0)
            return reactor;
        if (wake_fd >= 0)
            wakeup_destroy(&reactor->wakeup);
    }
    int error = errno;
    free_reactor(reactor);
    errno = error;
    return NULL;
}

void reactor_destroy(struct reactor *reactor)
{
    wakeup_destroy(&reactor->wakeup);
    free_reactor(reactor);
}
