#ifndef BENCH_LOAD_H
#define BENCH_LOAD_H

#include "numbers/histogram.h"

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* The load generator: one thread, some connections to one server. A connection sends a message,
 * waits for all of it to come back, checks every byte, and sends the next. */

enum load_mode {
    LOAD_CLOSED, /* the next message when the last is answered: closed loop */
    LOAD_CHURN,  /* a new connection for every message */
    LOAD_FAIR,   /* closed loop, and connection 0 streams: messages of PATTERN_LONGEST bytes */
    LOAD_RATE,   /* messages leave when they are due, answered or not: open loop */
};

enum load_end {
    LOAD_DONE,        /* every message answered, nothing outstanding */
    LOAD_TURNED_AWAY, /* the server closed a connection */
    LOAD_WRONG,       /* a reply was not what had been sent */
    LOAD_STALLED,     /* no progress for LOAD_PATIENCE_MS */
    LOAD_NO_SOCKET,   /* connecting failed on our side */
    LOAD_INTERRUPTED, /* Ctrl-C */
};

enum {
    LOAD_PATIENCE_MS = 3000, /* the no-progress watchdog */
    LOAD_BATCH = 256,        /* connections being opened at a time: fewer than any backlog */
    LOAD_TROUBLE = 160,
    LOAD_LATE_US = 100, /* a message that leaves later than this after it was due is late */
};

struct connection {
    int fd;
    uint32_t write_at; /* next byte of the pattern to send */
    uint32_t read_at;  /* next byte of the pattern expected back */
    size_t unsent;     /* of the current message */
    size_t unread;     /* of the current message */
    uint64_t due;      /* when the current message should have left, nanoseconds */
    uint64_t sent_at;  /* when it left */
    bool wants_write;
};

struct load {
    int waiter;
    int port;
    size_t size; /* of a message, bytes */
    int capacity;
    int open; /* connections that have echoed */
    int lost; /* closed by the server while being opened */
    int outstanding;
    bool opening;
    enum load_end end;
    uint64_t deadline; /* no new message after this */
    uint64_t echoes;
    uint64_t elapsed; /* of the last run, nanoseconds, first byte sent to last byte received */
    enum load_mode mode;
    double rate;           /* LOAD_RATE: messages per second, of all connections together */
    uint64_t late;         /* LOAD_RATE: messages of the last run that left late */
    uint64_t stream_bytes; /* LOAD_FAIR: echoed on connection 0 in the last run */
    struct histogram *histogram;
    struct histogram *sent_latency; /* from when a message was sent; may be NULL */
    int *free;                      /* a ring of the connections without a message, for LOAD_RATE */
    int free_head, free_count;
    struct connection *connections;
    char trouble[LOAD_TROUBLE]; /* says what went wrong, when something did */
};

/* Prepares for `capacity` connections to 127.0.0.1:port. 0, or -1 with errno set. */
int load_init(struct load *load, int port, int capacity, size_t size);

/* Opens connections until `count` are open; each has echoed one message before it counts. When
 * the server closes some (LOAD_TURNED_AWAY), load->open says how many it kept. */
enum load_end load_open(struct load *load, int count);

/* Drives the server for `nanoseconds` as load->mode says, then collects what is outstanding.
 * Latencies go to `histogram` (nanoseconds; may be NULL), load->echoes and load->elapsed say the
 * rest. They count from when a message was due: in a closed loop that is when it was sent, in an
 * open loop the schedule's time. Neither allocates nor prints. */
enum load_end load_run(struct load *load, uint64_t nanoseconds, struct histogram *histogram);

/* Closes everything, by RST: thousands of closed connections would otherwise sit in TIME_WAIT and
 * keep their ports. */
void load_close(struct load *load);

#endif
