#ifndef BENCH_PROBE_H
#define BENCH_PROBE_H

#include "numbers/list.h"
#include "output/probe_table.h"
#include "system/machine.h"
#include "system/server.h"

#include <stdbool.h>

/* Scenarios that are not rounds of slices. Each probe measures in a way of its own, prints a table
 * and writes it as a file. A new probe is a file here and a row in compare/scenarios.c. */

struct probe {
    const struct machine *machine;
    struct server *servers;
    int server_count;
    bool servers_named;      /* by --servers */
    bool quick;              /* --quick: less time for each */
    struct list idle;        /* what the command line asks of this probe alone; empty: its own */
    struct list connections; /* likewise */
    const char *build;       /* where the programs are */
    struct destination destination;
};

/* Each says beforehand about how many seconds it takes. */
double probe_memory_seconds(const struct probe *probe);
double probe_calls_seconds(const struct probe *probe);
double probe_omission_seconds(const struct probe *probe);
double probe_backlog_seconds(const struct probe *probe);
double probe_loop_seconds(const struct probe *probe);
double probe_scale_seconds(const struct probe *probe);

/* They return 0, or -1 with errno when the file could not be written. Ctrl-C ends them early, with
 * what was measured kept. */
int probe_memory(struct probe *probe);
int probe_calls(struct probe *probe);
int probe_omission(struct probe *probe);
int probe_backlog(struct probe *probe);
int probe_loop(struct probe *probe);
int probe_scale(struct probe *probe);

/* The count of threads that probe_scale() measures after this one: twice as many, and at last one
 * for each core. 0: none. */
int scale_next(int threads, int cores);

/* ---- for the probes ---- */

/* How many servers there are without the copies of the reference. */
int probe_rows(const struct probe *probe);

/* Starts a server. False: it did not start, and a note in the table says why. */
bool probe_start(const struct probe *probe, struct table *table, struct server *server);

#endif
