#ifndef BENCH_MACHINE_H
#define BENCH_MACHINE_H

#include <stdint.h>

/* The congestion control of the load generator's sockets, so that results of machines with other
 * settings compare. Every Linux kernel has this one, and every user may ask for it. */
#define GENERATOR_CONGESTION "reno"

/* The machine under the comparison: which cores are used, what they did, what the limits are. */

struct machine {
    int server_core;    /* -1: not pinned (no such call here) */
    int generator_core; /* the same as server_core when there is only one */
    long descriptors;   /* per process, after raising the soft limit to the hard one */
};

/* Chooses the cores, raises the descriptor limit, pins the calling process to the generator's
 * core. */
void machine_prepare(struct machine *machine);

/* Pins the calling process to `core`; nothing happens for -1. MACHINE_ALL: to all cores again. */
enum { MACHINE_ALL = -2 };
void machine_pin(int core);

/* How long the two cores have been busy since boot with any program, nanoseconds, in steps of a
 * tick. 0 where it is not known. */
uint64_t machine_busy(const struct machine *machine);

/* A figure of the kernel's in bytes, by its name in /proc/meminfo; not a number when unknown. */
double machine_memory(const char *name);

/* What waits in the queues of all TCP sockets, bytes in whole pages: /proc/net/sockstat. Not a
 * number when unknown. */
double machine_tcp_queues(void);

/* Memory that can still be had, bytes; 0 where it is not known. */
uint64_t machine_memory_available(void);

#endif
