/* The heap is an array in which each entry is due no earlier than its parent: entry i has its
 * parent at i / 2, its children at 2i and 2i + 1, and the first of all is at 1. A new entry starts
 * at the end and rises past parents that are due later. When one leaves, the last takes its place
 * and rises or sinks. No step touches more than one entry a level: O(log n). */
#include "timer_heap.h"

#include <limits.h>
#include <stdbool.h>
#include <stdlib.h>

struct timer_entry {
    int64_t due;    /* a copy of timer->due: comparing need not visit the timers */
    uint64_t start; /* its number among all starts */
    struct reactor_timer *timer;
};

static bool before(const struct timer_entry *a, const struct timer_entry *b)
{
    return a->due < b->due || (a->due == b->due && a->start < b->start);
}

static void put(struct timer_heap *heap, int position, struct timer_entry entry)
{
    heap->entry[position] = entry;
    entry.timer->position = position;
}

/* Finds the place for entry from the gap at position on, moving others into the gap. */
static void rise(struct timer_heap *heap, int position, struct timer_entry entry)
{
    while (position > 1 && before(&entry, &heap->entry[position / 2])) {
        put(heap, position, heap->entry[position / 2]);
        position /= 2;
    }
    put(heap, position, entry);
}

static void sink(struct timer_heap *heap, int position, struct timer_entry entry)
{
    for (int child; (child = 2 * position) <= heap->count; position = child) {
        if (child < heap->count && before(&heap->entry[child + 1], &heap->entry[child]))
            child++;
        if (before(&entry, &heap->entry[child]))
            break;
        put(heap, position, heap->entry[child]);
    }
    put(heap, position, entry);
}

static int grow(struct timer_heap *heap, int capacity)
{
    struct timer_entry *entry = realloc(heap->entry, (size_t)capacity * sizeof *entry);
    if (!entry)
        return -1;
    heap->entry = entry;
    heap->capacity = capacity;
    return 0;
}

int timer_heap_create(struct timer_heap *heap)
{
    return grow(heap, 64);
}

void timer_heap_free(struct timer_heap *heap)
{
    free(heap->entry);
}

/* "Never" is a delay of INT64_MAX, and must not come round to the past. */
static int64_t later(int64_t now, int64_t delay_ms)
{
    return delay_ms < INT64_MAX - now ? now + delay_ms : INT64_MAX;
}

int timer_heap_start(struct timer_heap *heap, struct reactor_timer *timer, int64_t now,
                     int64_t delay_ms)
{
    if (heap->count + 1 >= heap->capacity && grow(heap, 2 * heap->capacity) < 0)
        return -1;
    timer->due = later(now, delay_ms > 0 ? delay_ms : 0);
    rise(heap, ++heap->count, (struct timer_entry){timer->due, heap->starts++, timer});
    return 0;
}

void timer_heap_stop(struct timer_heap *heap, struct reactor_timer *timer)
{
    int gap = timer->position;
    if (gap == 0)
        return;
    timer->position = 0;
    struct timer_entry last = heap->entry[heap->count--];
    if (last.timer == timer)
        return;
    if (gap > 1 && before(&last, &heap->entry[gap / 2]))
        rise(heap, gap, last);
    else
        sink(heap, gap, last);
}

int timer_heap_wait_ms(const struct timer_heap *heap, int64_t now)
{
    if (heap->count == 0)
        return -1;
    int64_t left = heap->entry[1].due - now;
    if (left <= 0)
        return 0;
    return left > INT_MAX ? INT_MAX : (int)left;
}

struct reactor_timer *timer_heap_take_due(struct timer_heap *heap, int64_t now, uint64_t starts)
{
    if (heap->count == 0)
        return NULL;
    struct timer_entry first = heap->entry[1];
    struct reactor_timer *timer = first.timer;
    if (first.due > now || first.start >= starts)
        return NULL;
    if (timer->period_ms <= 0) {
        timer_heap_stop(heap, timer);
        return timer;
    }
    /* The next multiple of the period that lies ahead. */
    int64_t over = (now - timer->due) % timer->period_ms;
    timer->due = later(now, timer->period_ms - over);
    sink(heap, 1, (struct timer_entry){timer->due, heap->starts++, timer});
    return timer;
}
