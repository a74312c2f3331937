#ifndef BENCH_PROCESS_H
#define BENCH_PROCESS_H

#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

/* What the kernel says about another process. Linux has all of it; elsewhere a function answers
 * "unknown", and the report shows a dash. */

/* User and system time of all its threads so far, nanoseconds; 0 unknown. Exact only while the
 * process is blocked or stopped: the clock of a running one moves on the timer tick. */
uint64_t process_cpu(pid_t pid);

/* Resident memory, bytes; 0 unknown. */
uint64_t process_resident(pid_t pid);

/* Bytes of its page tables; not a number when unknown. */
double process_page_tables(pid_t pid);

/* Is a tracer, such as strace, attached to it? */
bool process_is_traced(pid_t pid);

/* Context switches of all its threads so far; -1 unknown, or too many threads to ask. */
int64_t process_switches(pid_t pid);

enum process_state { PROCESS_UNKNOWN, PROCESS_RUNNING, PROCESS_BLOCKED, PROCESS_STOPPED };

/* PROCESS_RUNNING if any of the first threads is runnable. */
enum process_state process_state(pid_t pid);

#endif
