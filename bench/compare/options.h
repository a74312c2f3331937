#ifndef BENCH_OPTIONS_H
#define BENCH_OPTIONS_H

#include "numbers/list.h"

#include <stdbool.h>

enum { EXTRA_MAX = 8 };

/* The command line, parsed and range-checked. */
struct options {
    struct list scenarios;   /* indexes into the table of scenarios; none: the default ones */
    struct list connections; /* empty: the scenario's own */
    struct list idle;
    struct list size;
    struct list rate;
    const char *servers; /* NULL: all */
    const char *extra[EXTRA_MAX];
    int extra_count;
    int rounds;   /* 0: as many as the time allows */
    double noise; /* how far from 1 the A/A interval may reach before a table gets longer; 0: any */
    bool quick;
    bool any_build;
    const char *out;
};

/* 0: go on. Otherwise the program's exit code plus one: 1 after --help, 3 after wrong usage, the
 * message already printed. */
int options_parse(struct options *options, int argc, char **argv);

#endif
