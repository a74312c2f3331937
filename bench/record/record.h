#ifndef BENCH_RECORD_H
#define BENCH_RECORD_H

#include "numbers/histogram.h"
#include "record/condition.h"
#include "system/server.h"

#include <stdbool.h>
#include <stdint.h>

/* Everything measured: one `slice` per server and round, one `outcome` per server and condition. */

struct slice {
    int condition;
    int server;
    int round;
    uint64_t echoes;
    uint64_t elapsed;       /* nanoseconds, measured, never the nominal length */
    uint64_t server_cpu;    /* nanoseconds, user and system, of exactly these echoes */
    uint64_t generator_cpu; /* likewise of the load generator */
    int64_t switches;       /* context switches of the server, -1 unknown */
    uint64_t p50;           /* nanoseconds */
    uint64_t p90;
    uint64_t p99;
    uint64_t p999;
    uint64_t maximum;
    uint64_t late;         /* open loop: messages that left late */
    uint64_t stream_bytes; /* fairness: echoed on the streaming connection */
};

struct outcome {
    char trouble[SERVER_TEXT];     /* why there are no numbers; "" when there are */
    char stderr_tail[SERVER_TEXT]; /* the end of the server's stderr, when there was trouble */
    bool spins;
    uint64_t resident;             /* bytes */
    double idle_resident;          /* bytes per idle connection; not a number when there are none */
    struct histogram latency;      /* from when a message was due */
    struct histogram sent_latency; /* open loop: from when it left */
};

/* How the rounds of one condition went. */
struct condition_run {
    int rounds;      /* begun */
    double other;    /* cores that other programs used of the two; negative: not known */
    double duration; /* seconds */
    double rate;     /* open loop: echoes per second asked for; not a number otherwise */
};

struct record {
    struct condition conditions[CONDITION_MAX];
    struct condition_run runs[CONDITION_MAX];
    int condition_count;
    struct server *servers;
    int server_count;
    struct slice *slices;
    int slice_count;
    int slice_capacity;
    struct outcome *outcomes; /* condition_count x server_count */
};

/* record->conditions and servers are set before. 0, or -1 without memory. */
int record_init(struct record *record);
void record_free(struct record *record);

/* Makes room for `more` slices, so that adding them does not allocate. */
int record_reserve(struct record *record, int more);
void record_add(struct record *record, const struct slice *slice);

struct outcome *record_outcome(const struct record *record, int condition, int server);

/* The reference without silent connections has a row only where there are some. */
bool record_takes_part(const struct record *record, int condition, int server);

int record_contenders(const struct record *record, int condition);

/* -1 when there is none. */
int record_reference(const struct record *record);
int record_control(const struct record *record);

#endif
