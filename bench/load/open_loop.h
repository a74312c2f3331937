#ifndef BENCH_OPEN_LOOP_H
#define BENCH_OPEN_LOOP_H

#include "load/load.h"

/* The open loop: load->rate messages per second from `start` on, for `nanoseconds`, on connections
 * that are open. Latencies go to load->histogram and load->sent_latency. */
void open_loop_run(struct load *load, uint64_t start, uint64_t nanoseconds);

#endif
