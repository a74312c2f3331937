#ifndef BENCH_SCENARIOS_H
#define BENCH_SCENARIOS_H

#include "load/load.h"
#include "numbers/list.h"
#include "probes/probe.h"

#include <stdbool.h>

/* What can be measured, by name. A scenario is one row of the table in scenarios.c: the lists of
 * what it varies, every combination of which is a condition; or a probe, which measures in a way of
 * its own; or both. */

struct scenario {
    const char *name;
    const char *title;
    bool by_default;                              /* part of a run that names no scenario */
    int (*probe)(struct probe *probe);            /* NULL: none */
    double (*seconds)(const struct probe *probe); /* about how long the probe takes */
    enum load_mode mode;
    struct list connections;
    struct list idle;
    struct list size;
    struct list rate;
};

extern const struct scenario scenarios[];
extern const int scenario_count;

/* Does the command line ask for this row of the table? `named`: the rows that it names; none: those
 * that run by default. */
bool scenario_wanted(const struct list *named, int scenario);

/* About how many seconds the probes among the wanted take, from that row on. */
double scenarios_seconds(const struct list *named, const struct probe *probe, int from);

#endif
