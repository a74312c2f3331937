#ifndef BENCH_INTERRUPT_H
#define BENCH_INTERRUPT_H

#include <signal.h>

/* Set by Ctrl-C. Everything that waits looks at it, stops early, and lets main report what was
 * measured until then. */
extern volatile sig_atomic_t interrupted;

#endif
