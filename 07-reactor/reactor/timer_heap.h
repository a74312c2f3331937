/* Timers, ordered by when they are due: a binary heap. It has no clock: you tell it the time. Only
 * reactor.c uses this. */
#ifndef TIMER_HEAP_H
#define TIMER_HEAP_H

#include "reactor.h"

struct timer_heap {
    struct timer_entry *entry; /* [1] is due first */
    int count, capacity;
    uint64_t starts; /* so far: of two timers for the same millisecond the first one started wins */
};

/* Makes room for the first timers, so that these can be started when memory is out. 0, or -1 with
 * errno, as timer_heap_start(). Free with timer_heap_free(). */
int timer_heap_create(struct timer_heap *heap);
void timer_heap_free(struct timer_heap *heap);

/* Starts a timer that does not run: it is due delay_ms after now. */
int timer_heap_start(struct timer_heap *heap, struct reactor_timer *timer, int64_t now,
                     int64_t delay_ms);
void timer_heap_stop(struct timer_heap *heap, struct reactor_timer *timer);

/* Milliseconds until the first one is due, at least 0; -1: there is none. */
int timer_heap_wait_ms(const struct timer_heap *heap, int64_t now);

/* Takes out the first one that is due, or starts it anew if it is periodic. NULL: none of those
 * that were started before heap->starts had this value is due. */
struct reactor_timer *timer_heap_take_due(struct timer_heap *heap, int64_t now, uint64_t starts);

#endif
