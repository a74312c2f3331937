/* What the files of the reactor share with each other. Not for users of reactor.h. */
#ifndef INTERNAL_H
#define INTERNAL_H

#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>

#include "backend.h"
#include "reactor.h"

/* A descriptor's place in the table. There is one for each number, used or not. */
struct slot {
    reactor_handler *handler; /* NULL: not watched */
    void *argument;
    uint32_t added;     /* the turn in which it was added */
    uint8_t wanted;     /* the interest that the program asked for */
    uint8_t registered; /* the interest that the backend knows */
    bool dirty;         /* they may differ: it is on the list of changes */
};

/* Timers, ordered by when they are due: a binary heap, as described in reactor_timer.c. */
struct timer_heap {
    struct timer_entry *entry; /* [1] is due first */
    int count, capacity;
    uint64_t starts; /* so far */
};

struct reactor {
    const struct backend *backend;
    void *backend_state;
    int (*wait)(void *state, struct backend_event *events, int most, int timeout_ms);
    bool running, stopping;
    uint32_t turn;

    struct slot *slot;
    int slots, slot_capacity; /* in use or once used, allocated */
    int *changed;             /* descriptors whose interest may have changed since the last wait */
    int changed_count;

    struct timer_heap timers;
    int64_t now_ms; /* of this turn's handlers; 0: not read yet */

    int wake_pipe[2]; /* a byte in it ends the wait: a signal, or something was posted */
    pthread_mutex_t post_lock;
    struct posted *posted, **posted_end; /* under post_lock */
};

/* reactor_timer.c: makes room for the first timers, so that these can be started when memory is
 * out; how long until the first is due (-1: there is none); calls those that are. */
int timers_create(struct reactor *reactor);
int timers_wait_ms(struct reactor *reactor);
void timers_run(struct reactor *reactor);

/* reactor_wakeup.c */
int wakeup_create(struct reactor *reactor);
void wakeup_destroy(struct reactor *reactor);

#endif
