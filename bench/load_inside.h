#ifndef BENCH_LOAD_INSIDE_H
#define BENCH_LOAD_INSIDE_H

#include "load.h"

/* What the parts of the load generator share. */

/* Ends the run, and says why. */
void load_fail(struct load *load, enum load_end end, const char *trouble);
void load_say_stalled(struct load *load);

/* Sends the next message of a connection that has none outstanding. */
void load_begin(struct load *load, struct connection *c, uint64_t due, uint64_t now);

/* Takes what has arrived on a connection, and goes on with it as the mode says. Sets *now. */
void load_serve(struct load *load, struct connection *c, uint64_t *now);

/* The open loop: load->rate messages per second from `start` on, for `nanoseconds`. */
void load_run_rate(struct load *load, uint64_t start, uint64_t nanoseconds);

#endif
