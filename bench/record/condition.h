#ifndef BENCH_CONDITION_H
#define BENCH_CONDITION_H

#include "load/load.h"

#include <stddef.h>

/* What all servers are measured under at the same time: one condition is one table. */

enum { CONDITION_MAX = 64, CONDITION_NOTE = 160 };

struct condition {
    int active; /* connections that are kept busy */
    int idle;   /* connections that have echoed once and are silent */
    int size;   /* bytes in a message */
    enum load_mode mode;
    int rate; /* LOAD_RATE: percent of what the reference can do; above 100 echoes per second */
    int active_asked;
    int idle_asked;
    char note[CONDITION_NOTE]; /* why fewer than asked were used; "" when not */
};

/* "64 active beside 10,000 idle connections, 64-byte messages" */
void condition_describe(const struct condition *condition, char *text, size_t size);

#endif
