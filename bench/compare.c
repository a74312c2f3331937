/* The comparison: every server under the same load, in turn, many times, and one table. */

#include "clock.h"
#include "csv.h"
#include "experiment.h"
#include "interrupt.h"
#include "machine.h"
#include "options.h"
#include "pattern.h"
#include "provenance.h"
#include "record.h"
#include "report.h"
#include "roster.h"
#include "run.h"
#include "scenario.h"

#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#ifndef BENCH_OPTIMIZATION
#define BENCH_OPTIMIZATION "unknown"
#endif
#ifndef BENCH_SANITIZE
#define BENCH_SANITIZE "none"
#endif

enum {
    CELL_MS = 20000, /* for one table of ten servers */
    QUICK_CELL_MS = 2400,
    USUAL_SERVERS = 10,
    WARM_UP_MS = 5,
    COUNTED_MS = 30,
    QUICK_COUNTED_MS = 25,
};

volatile sig_atomic_t interrupted;

static void on_interrupt(int signal)
{
    (void)signal;
    interrupted = 1;
}

/* The second Ctrl-C is not held up by the report of the first. */
static void watch_signals(void)
{
    struct sigaction action = {.sa_handler = on_interrupt, .sa_flags = (int)SA_RESETHAND};
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    sigaction(SIGHUP, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
}

/* compare is build/bench/compare; the servers are build/NN-name/NN-name. */
static void find_build(const char *self, char *build, size_t size)
{
    char path[PATH_MAX];
    if (realpath(self, path) == NULL)
        snprintf(path, sizeof path, "%s", self);
    snprintf(build, size, "%s", dirname(dirname(path)));
}

/* A debug or sanitizer build measures the debugging, not the servers. */
static bool refuse_build(const struct options *options, const struct server *servers, int count)
{
    const char *why = NULL;
    if (strpbrk(BENCH_OPTIMIZATION, "01g") != NULL)
        why = "it was built without optimization";
#ifndef __OPTIMIZE__ /* "plain", and no flag from elsewhere */
    why = "it was built without optimization";
#endif
    if (strcmp(BENCH_SANITIZE, "none") != 0)
        why = "it was built with a sanitizer";
    for (int i = 0; i < count; i++) {
        if (roster_is_sanitized(&servers[i]))
            why = "a server was built with a sanitizer or for coverage";
    }
    if (why == NULL || options->any_build)
        return false;
    fprintf(stderr,
            "compare: %s, so its numbers would say nothing about the servers.\n"
            "Use a release build, or --any-build to see the numbers all the same.\n",
            why);
    return true;
}

static int fail(const char *what)
{
    fprintf(stderr, "compare: %s: %s\n", what, strerror(errno));
    return 1;
}

/* What can be found wrong before anything is measured. */
static int check(const struct options *options, const struct record *record)
{
    for (int i = 0; i < record->server_count; i++) {
        if (record->servers[i].extra && !server_exists(&record->servers[i])) {
            fprintf(stderr, "compare: --server: there is no program %s\nTry 'bench/run --help'.\n",
                    record->servers[i].command);
            return 2;
        }
    }
    if (record->cell_count < 0) {
        fprintf(stderr, "compare: these lists make more than %d tables\nTry 'bench/run --help'.\n",
                CELL_MOST);
        return 2;
    }
    if (refuse_build(options, record->servers, record->server_count))
        return 1;
    return csv_prepare(options->out) != 0 ? fail(options->out) : 0;
}

/* How to have the same again, but for where it is written. */
static void command_fact(struct provenance *provenance, char **argv)
{
    char line[FACT_TEXT] = "bench/run";
    for (int i = 1; argv[i] != NULL; i++) {
        size_t length = strlen(line);
        if (strcmp(argv[i], "--out") == 0 && argv[i + 1] != NULL)
            i++;
        else if (strncmp(argv[i], "--out=", 6) != 0)
            snprintf(line + length, sizeof line - length, " %s", argv[i]);
    }
    provenance_add(provenance, "command", "%s", line);
}

static void method_facts(struct provenance *provenance, const struct run *run,
                         const struct options *options)
{
    provenance_add(provenance, "slices", "%d ms warm-up, %d ms counted%s",
                   (int)(run->warm_up / 1000000), (int)(run->counted / 1000000),
                   options->quick ? " (--quick)" : "");
    provenance_add(provenance, "random seed", "%llu", (unsigned long long)run->random);
    if (options->any_build)
        provenance_add(provenance, "WARNING", "--any-build: not necessarily a release build");
}

static void measure_all(struct run *run, bool colour)
{
    struct record *record = run->record;
    for (int cell = 0; cell < record->cell_count && !interrupted; cell++) {
        run_cell(run, cell);
        if (run->progress)
            fprintf(stderr, "\r\033[K");
        if (record->facts[cell].rounds > 0 || !interrupted)
            report_cell(stdout, record, cell, colour);
    }
    report_legend(stdout, record);
}

/* When the rounds of all cells have to be over: in proportion to tables and servers. */
static uint64_t deadline_of(const struct options *options, const struct record *record)
{
    uint64_t each = MILLISECONDS(options->quick ? QUICK_CELL_MS : CELL_MS);
    if (record->server_count > USUAL_SERVERS)
        each = each * (uint64_t)record->server_count / USUAL_SERVERS;
    return clock_now() + each * (uint64_t)record->cell_count;
}

static int run_experiments(struct experiment *facts)
{
    for (int i = 0; i < scenario_count && !interrupted; i++) {
        if (scenarios[i].experiment == NULL || !scenario_wanted(facts->options, i))
            continue;
        experiment_expect(scenarios[i].seconds(facts), scenario_seconds(facts, i + 1));
        if (scenarios[i].experiment(facts) != 0)
            return -1;
    }
    return 0;
}

/* Tables of slices first, then the experiments. A record without cells writes no file. */
static int compare(const struct options *options, struct record *record, const char *build,
                   char **argv)
{
    struct machine machine;
    struct provenance provenance;
    machine_prepare(&machine);
    struct run run = {
        .machine = &machine,
        .record = record,
        .warm_up = MILLISECONDS(WARM_UP_MS),
        .counted = MILLISECONDS(options->quick ? QUICK_COUNTED_MS : COUNTED_MS),
        .rounds = options->rounds,
        .noise = options->noise,
        .random = clock_now(),
        .progress = isatty(STDERR_FILENO) != 0,
    };
    for (int i = 0; i < record->cell_count; i++)
        scenario_fit(&record->cells[i], &machine, record_contenders(record, i));
    if (record_init(record) != 0)
        return fail("memory");
    run.deadline = deadline_of(options, record);
    provenance_collect(&provenance, &machine);
    command_fact(&provenance, argv);
    method_facts(&provenance, &run, options);
    report_provenance(stdout, &provenance);
    bool colour = isatty(STDOUT_FILENO) != 0;
    struct experiment facts = {
        options, &machine, &provenance, record->servers, record->server_count, build, colour};
    run.later = scenario_seconds(&facts, 0);
    if (record->cell_count > 0) {
        measure_all(&run, colour);
        if (csv_write(options->out, &provenance, record) != 0)
            return fail(options->out);
    }
    if (run_experiments(&facts) != 0)
        return fail(options->out);
    if (interrupted)
        printf("Interrupted: this is what was measured until then.\n");
    printf("Also in %s: a CSV file for every kind of table.\n", options->out);
    return interrupted ? 130 : 0;
}

int main(int argc, char **argv)
{
    static struct server servers[ROSTER_MOST];
    static struct record record;
    struct options options;
    char build[PATH_MAX];
    int stop = options_parse(&options, argc, argv);
    if (stop != 0)
        return stop - 1;
    find_build(argv[0], build, sizeof build);
    int count = roster_make(&options, build, servers);
    if (count < 0)
        return 2;
    record.servers = servers;
    record.server_count = count;
    record.cell_count = scenario_cells(&options, record.cells);
    int code = check(&options, &record);
    if (code != 0)
        return code;
    watch_signals();
    pattern_init();
    code = compare(&options, &record, build, argv);
    record_free(&record);
    return code;
}
