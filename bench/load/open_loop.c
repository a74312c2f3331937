/* The open loop. Messages are due at fixed times, as if each came from a client that knows nothing
 * of the other clients: while a server pauses, as many messages are due as before. A message takes
 * the next connection that has none outstanding. While there is no such connection the message
 * waits, and its latency counts from when it was due, so the wait is part of it. Latency from when
 * a message was sent would leave out the waits that a pause causes: coordinated omission. */

#include "load/open_loop.h"

#include "load/connection.h"
#include "load/waiter.h"
#include "system/clock.h"
#include "system/interrupt.h"

struct schedule {
    uint64_t start;
    double period; /* nanoseconds */
    uint64_t sent;
    uint64_t total;
};

static uint64_t due(const struct schedule *schedule)
{
    return schedule->start + (uint64_t)((double)schedule->sent * schedule->period);
}

/* Sends the messages that are due, while there are connections for them. */
static void send_due(struct load *load, struct schedule *schedule, uint64_t *now)
{
    while (schedule->sent < schedule->total && load->free_count > 0 && due(schedule) <= *now &&
           load->end == LOAD_DONE) {
        struct connection *c = &load->connections[load->free[load->free_head]];
        load->free_head = (load->free_head + 1) % load->capacity;
        load->free_count--;
        load->outstanding++;
        if (*now - due(schedule) > LOAD_LATE_US * 1000ULL)
            load->late++;
        connection_begin(load, c, due(schedule), *now);
        schedule->sent++;
        *now = clock_now();
    }
}

/* How long nothing can be sent: until the next message is due, or a reply frees a connection. */
static uint64_t pause_until_due(const struct load *load, const struct schedule *schedule,
                                uint64_t now)
{
    if (schedule->sent >= schedule->total || load->free_count == 0)
        return MILLISECONDS(LOAD_PATIENCE_MS);
    return due(schedule) > now ? due(schedule) - now : 0;
}

void open_loop_run(struct load *load, uint64_t start, uint64_t nanoseconds)
{
    uint32_t ready[WAITER_BATCH];
    struct schedule schedule = {.start = start, .period = 1e9 / load->rate};
    schedule.total = (uint64_t)((double)nanoseconds / schedule.period) + 1;
    load->free_head = 0;
    load->free_count = load->open;
    for (int i = 0; i < load->open; i++)
        load->free[i] = i;
    uint64_t now = clock_now();
    uint64_t progress = now;
    while ((schedule.sent < schedule.total || load->outstanding > 0) && load->end == LOAD_DONE) {
        send_due(load, &schedule, &now);
        int count = waiter_wait_exactly(load->waiter, ready, WAITER_BATCH,
                                        pause_until_due(load, &schedule, now));
        now = clock_now();
        if (interrupted)
            load_fail(load, LOAD_INTERRUPTED, "interrupted");
        for (int i = 0; i < count && load->end == LOAD_DONE; i++)
            connection_serve(load, &load->connections[ready[i]], &now);
        if (count > 0 || load->outstanding == 0)
            progress = now;
        else if (now - progress > MILLISECONDS(LOAD_PATIENCE_MS - 1))
            load_fail(load, LOAD_STALLED, "");
    }
    load_say_stalled(load);
}
