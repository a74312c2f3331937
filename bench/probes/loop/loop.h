#ifndef BENCH_LOOP_LOOP_H
#define BENCH_LOOP_LOOP_H

#include <stdbool.h>

/* An event loop reduced to what the two published comparisons use, so that one program can drive
 * all of them. Each loop_*.c is one: they are separate programs, because libev exports some of
 * libevent's names. */

typedef void loop_handler(int number);

/* For at most `max` descriptors; false when there is no such backend here. */
bool loop_create(const char *backend, int max, loop_handler *handler);

/* Calls the handler with `number` whenever fd is readable. */
void loop_watch(int number, int fd);

/* Stops the watch, and starts it again. */
void loop_restart(int number, int fd);

/* Turns until a handler calls loop_stop(); that turn is finished first. */
void loop_run(void);
void loop_stop(void);

#endif
