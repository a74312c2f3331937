#ifndef BENCH_PROGRESS_H
#define BENCH_PROGRESS_H

/* What is being measured now, for someone who waits. */

/* How many seconds what begins now is expected to take, and what comes after it. */
void progress_expect(double seconds, double later);

/* A line on stderr. On a terminal it tells about how much time is left, and the next line
 * overwrites it, unless it ends with a newline. */
void progress_say(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
