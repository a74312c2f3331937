#ifndef BENCH_WAITER_H
#define BENCH_WAITER_H

#include <stdbool.h>
#include <stdint.h>

/* How the load generator itself waits: epoll on Linux, kqueue on the BSDs and macOS. It is one
 * descriptor; close() ends it. A connection is known by its number. Functions that return int
 * return -1 and set errno on error. */

int waiter_open(void);
int waiter_add(int waiter, int fd, uint32_t number);
int waiter_want_write(int waiter, int fd, uint32_t number, bool wanted);

/* Waits for at most `milliseconds` and fills in the numbers of the connections that can go on.
 * 0: nothing happened in that time. */
int waiter_wait(int waiter, uint32_t *ready, int capacity, int milliseconds);

/* The same, for a time in nanoseconds that is kept to a few microseconds: it spins for the last
 * of them. */
int waiter_wait_exactly(int waiter, uint32_t *ready, int capacity, uint64_t nanoseconds);

enum { WAITER_BATCH = 256 }; /* the most that one call reports */

#endif
