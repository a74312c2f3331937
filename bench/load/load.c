#include "load/load.h"

#include "load/connection.h"
#include "load/open_loop.h"
#include "load/waiter.h"
#include "system/clock.h"

#include <stdlib.h>
#include <string.h>
#include <unistd.h>

int load_init(struct load *load, int port, int capacity, size_t size)
{
    memset(load, 0, sizeof *load);
    load->port = port;
    load->size = size;
    load->capacity = capacity;
    load->connections = calloc((size_t)capacity + 1, sizeof *load->connections);
    load->free = calloc((size_t)capacity + 1, sizeof *load->free);
    load->waiter = load->connections && load->free ? waiter_open() : -1;
    if (load->waiter >= 0)
        return 0;
    free(load->connections);
    free(load->free);
    load->connections = NULL;
    return -1;
}

/* Counts the connections of a batch that have echoed, and forgets the rest. A load that has lost
 * some is never run again: the connections that it keeps only have to stay open. */
static void count_batch(struct load *load, int attempted)
{
    int kept = load->open;
    for (int i = load->open; i < attempted; i++) {
        struct connection *c = &load->connections[i];
        if (c->fd >= 0 && c->unread == 0)
            load->connections[kept++] = *c;
        else if (c->fd >= 0)
            close(c->fd);
    }
    load->open = kept;
}

enum load_end load_open(struct load *load, int count)
{
    if (count > load->capacity)
        count = load->capacity;
    load->opening = true;
    load->deadline = 0;
    load->histogram = NULL;
    while (load->open < count && load->lost == 0 && load->end == LOAD_DONE) {
        int attempted = load->open;
        while (attempted < count && attempted < load->open + LOAD_BATCH && load->end == LOAD_DONE)
            connection_open(load, attempted++);
        load_drive(load);
        count_batch(load, attempted);
    }
    load->opening = false;
    if (load->end == LOAD_DONE && load->lost > 0)
        load_fail(load, LOAD_TURNED_AWAY, "turned away");
    return load->end;
}

static void start_all(struct load *load)
{
    for (int i = 0; i < load->open && load->end == LOAD_DONE; i++) {
        struct connection *c = &load->connections[i];
        uint64_t now = clock_now();
        if (load->mode == LOAD_CHURN) {
            close(c->fd);
            connection_open(load, i);
        } else {
            load->outstanding++;
            connection_begin(load, c, now, now);
        }
    }
}

enum load_end load_run(struct load *load, uint64_t nanoseconds, struct histogram *histogram)
{
    uint64_t start = clock_now();
    load->deadline = start + nanoseconds;
    load->histogram = histogram;
    load->echoes = load->late = load->stream_bytes = 0;
    load->outstanding = 0;
    if (load->mode == LOAD_RATE) {
        open_loop_run(load, start, nanoseconds);
    } else {
        start_all(load);
        load_drive(load);
    }
    load->elapsed = clock_now() - start;
    return load->end;
}

void load_close(struct load *load)
{
    if (!load->connections)
        return;
    for (int i = 0; i < load->open; i++) {
        if (load->connections[i].fd >= 0)
            close(load->connections[i].fd);
    }
    close(load->waiter);
    free(load->connections);
    free(load->free);
    load->connections = NULL;
    load->open = 0;
}
