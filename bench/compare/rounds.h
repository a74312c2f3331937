#ifndef BENCH_ROUNDS_H
#define BENCH_ROUNDS_H

#include "record/record.h"
#include "system/machine.h"

#include <stdint.h>

/* Runs the conditions of a record: starts the servers, opens the connections, gives every server
 * its slice in every round, and writes down what happened. */

struct run {
    const struct machine *machine;
    struct record *record;
    uint64_t warm_up;  /* nanoseconds before each slice, not counted */
    uint64_t counted;  /* nanoseconds of a slice */
    int rounds;        /* 0: until the time is up */
    uint64_t deadline; /* of all conditions together, when rounds is 0 */
    double noise; /* a condition that is noisier gets up to three times its share; 0: none does */
    uint64_t random; /* the order of the servers in each round */
    double capacity; /* of the reference, echoes per second; 0: not found out yet */
    bool progress;   /* stderr is a terminal */
    double later;    /* seconds that what comes after the conditions is expected to take */
};

/* Measures one condition of the record. Ctrl-C ends it early, with what was measured kept. */
void rounds_run(struct run *run, int condition);

#endif
