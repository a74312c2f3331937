#ifndef BENCH_CONTENDER_H
#define BENCH_CONTENDER_H

#include "load/idle_clients.h"
#include "load/load.h"
#include "record/record.h"

#include <stdbool.h>
#include <stdint.h>

/* One server under one condition: its process, its connections, and its turns. */

struct contender {
    struct server *server;
    struct outcome *outcome;
    const struct condition *condition;
    struct load load;
    struct idle_clients idle;
    int idle_open;
    uint64_t first_resident; /* bytes, with the first few connections open */
    int first_open;
    bool excluded; /* in trouble, or no part of this condition: it gets no more turns */
    uint64_t cpu;  /* nanoseconds in all its turns, warm-ups included */
};

/* How long a turn is, nanoseconds, and in an open loop how fast. */
struct turn {
    uint64_t warm_up; /* before the slice, not counted */
    uint64_t counted;
    double rate;
};

/* Starts the server on `core`. A server that fails here or below is excluded, and its outcome says
 * why. */
void contender_start(struct contender *contender, int core);

/* Opens its connections, active and idle. */
void contender_connect(struct contender *contender);

/* One turn: warm-up, quiet, counted, quiet. False: it failed. Otherwise `slice` has what was
 * measured; the caller fills in the condition, the server and the round. */
bool contender_turn(struct contender *contender, const struct turn *turn, struct slice *slice);

/* What it can do in a closed loop, echoes per second. */
double contender_capacity(struct contender *contender, uint64_t counted);

/* Closes the connections. The process goes on. */
void contender_end(struct contender *contender);

#endif
