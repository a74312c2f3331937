#ifndef BENCH_EXPERIMENT_H
#define BENCH_EXPERIMENT_H

#include "machine.h"
#include "options.h"
#include "provenance.h"
#include "server.h"

#include <stdbool.h>

/* Scenarios that are not rounds of slices: each measures what it has to in its own way, prints a
 * table and writes it as a file. */

struct experiment {
    const struct options *options;
    const struct machine *machine;
    const struct provenance *provenance;
    struct server *servers;
    int server_count;
    const char *build; /* where the programs are */
    bool colour;       /* stdout is a terminal */
};

/* The servers without the twins of the reference. */
int experiment_rows(const struct experiment *facts);

/* Each says beforehand about how many seconds it takes: for those who wait. */
double experiment_memory_seconds(const struct experiment *facts);
double experiment_calls_seconds(const struct experiment *facts);
double experiment_omission_seconds(const struct experiment *facts);
double experiment_backlog_seconds(const struct experiment *facts);
double experiment_loop_seconds(const struct experiment *facts);
double experiment_scale_seconds(const struct experiment *facts);

/* They return 0, or -1 with errno when the file could not be written. Ctrl-C ends them early, with
 * what was measured kept. */
int experiment_memory(struct experiment *facts);
int experiment_calls(struct experiment *facts);
int experiment_omission(struct experiment *facts);
int experiment_backlog(struct experiment *facts);
int experiment_loop(struct experiment *facts);
int experiment_scale(struct experiment *facts);

/* The count of threads that experiment_scale() measures after this one: twice as many, and at last
 * one for each core. 0: none. */
int scale_next(int threads, int cores);

/* How many seconds the experiment that begins now is expected to take, and those after it. */
void experiment_expect(double seconds, double later);

/* A line on stderr: what is being measured now. On a terminal it tells about how much time is left,
 * and the next one overwrites it, unless it ends with a newline. */
void experiment_progress(const char *format, ...) __attribute__((format(printf, 1, 2)));

#endif
