#ifndef BENCH_SCENARIO_H
#define BENCH_SCENARIO_H

#include "load.h"
#include "machine.h"
#include "options.h"

#include <stddef.h>

/* What is measured. A scenario is a row of the table in scenario.c: a name and the lists of what
 * it varies. A cell is one combination: one table of the report. */

struct experiment;

struct scenario {
    const char *name;
    const char *title;
    bool usual;                                        /* part of a run that names no scenario */
    int (*experiment)(struct experiment *facts);       /* with tables of its own; NULL: cells */
    double (*seconds)(const struct experiment *facts); /* about how long the experiment takes */
    enum load_mode mode;
    struct list connections;
    struct list idle;
    struct list size;
    struct list rate;
};

extern const struct scenario scenarios[];
extern const int scenario_count;

enum { CELL_MOST = 64, CELL_NOTE = 160 };

struct cell {
    int active; /* connections that are kept busy */
    int idle;   /* connections that have echoed once and are silent */
    int size;   /* bytes in a message */
    enum load_mode mode;
    int rate; /* LOAD_RATE: percent of what the reference can do; above 100 echoes per second */
    int active_asked;
    int idle_asked;
    char note[CELL_NOTE]; /* why fewer than asked were used; "" when not */
};

/* Is this scenario among those that the options ask for? */
bool scenario_wanted(const struct options *options, int which);

/* About how many seconds the experiments among the wanted take, from that row on; cells are not
 * counted. */
double scenario_seconds(const struct experiment *facts, int from);

/* The cells that the options ask for, without repetitions. Returns how many, or -1 when they are
 * more than CELL_MOST. */
int scenario_cells(const struct options *options, struct cell *cells);

/* Lowers what this machine cannot do for `servers` servers at once, and says so in cell->note. */
void scenario_fit(struct cell *cell, const struct machine *machine, int servers);

/* "64 active beside 10,000 idle connections, 64-byte messages" */
void scenario_describe(const struct cell *cell, char *text, size_t size);

#endif
