#ifndef BENCH_INTERRUPT_H
#define BENCH_INTERRUPT_H

#include <signal.h>

/* Set by Ctrl-C. Everything that waits looks at it and stops early; main then reports what was
 * measured until that moment. */
extern volatile sig_atomic_t interrupted;

/* From now on SIGINT, SIGTERM and SIGHUP set it. A second signal ends the process at once, so that
 * nobody waits for the report of the first. SIGPIPE is ignored. */
void interrupt_watch(void);

#endif
