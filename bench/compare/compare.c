/* The comparison: every server under the same load, in turn, many times, and one table. */

#include "compare/conditions.h"
#include "compare/options.h"
#include "compare/roster.h"
#include "compare/rounds.h"
#include "compare/scenarios.h"
#include "load/pattern.h"
#include "output/csv.h"
#include "output/progress.h"
#include "output/results_csv.h"
#include "output/terminal.h"
#include "probes/probe.h"
#include "record/record.h"
#include "system/clock.h"
#include "system/interrupt.h"
#include "system/machine.h"
#include "system/provenance.h"

#include <errno.h>
#include <libgen.h>
#include <limits.h>
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
    CONDITION_MS = 20000, /* for one table of ten servers */
    QUICK_CONDITION_MS = 2400,
    USUAL_SERVERS = 10,
    WARM_UP_MS = 5,
    COUNTED_MS = 30,
    QUICK_COUNTED_MS = 25,
};

/* compare is build/bench/compare; the servers are build/NN-name/NN-name. */
static void find_build(const char *self, char *build, size_t size)
{
    char path[PATH_MAX];
    if (!realpath(self, path))
        snprintf(path, sizeof path, "%s", self);
    snprintf(build, size, "%s", dirname(dirname(path)));
}

/* A debug or sanitizer build measures the debugging, not the servers. */
static bool refuse_build(const struct options *options, const struct server *servers, int count)
{
    const char *why = NULL;
    if (strpbrk(BENCH_OPTIMIZATION, "01g"))
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
    if (!why || options->any_build)
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
    if (record->condition_count < 0) {
        fprintf(stderr, "compare: these lists make more than %d tables\nTry 'bench/run --help'.\n",
                CONDITION_MAX);
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
    for (int i = 1; argv[i]; i++) {
        size_t length = strlen(line);
        if (strcmp(argv[i], "--out") == 0 && argv[i + 1])
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
    for (int condition = 0; condition < record->condition_count && !interrupted; condition++) {
        rounds_run(run, condition);
        if (run->progress)
            fprintf(stderr, "\r\033[K");
        if (record->runs[condition].rounds > 0 || !interrupted)
            terminal_condition(stdout, record, condition, colour);
    }
    terminal_legend(stdout, record);
}

/* When the rounds of all conditions have to be over: in proportion to tables and servers. */
static uint64_t deadline_of(const struct options *options, const struct record *record)
{
    uint64_t each = MILLISECONDS(options->quick ? QUICK_CONDITION_MS : CONDITION_MS);
    if (record->server_count > USUAL_SERVERS)
        each = each * (uint64_t)record->server_count / USUAL_SERVERS;
    return clock_now() + each * (uint64_t)record->condition_count;
}

static int run_probes(const struct list *named, struct probe *probe)
{
    for (int i = 0; i < scenario_count && !interrupted; i++) {
        if (!scenarios[i].probe || !scenario_wanted(named, i))
            continue;
        progress_expect(scenarios[i].seconds(probe), scenarios_seconds(named, probe, i + 1));
        if (scenarios[i].probe(probe) != 0)
            return -1;
    }
    return 0;
}

/* A list goes to a probe only when the command line names its scenario and no other. */
static struct list asked_of_probe(const struct options *options, const struct list *list)
{
    return options->scenarios.count == 1 ? *list : (struct list){0};
}

/* Tables of slices first, then the probes. A record without conditions writes no file. */
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
    for (int i = 0; i < record->condition_count; i++)
        condition_fit(&record->conditions[i], &machine, record_contenders(record, i));
    if (record_init(record) != 0)
        return fail("memory");
    run.deadline = deadline_of(options, record);
    provenance_collect(&provenance, &machine);
    provenance_add_languages(&provenance, record->servers, record->server_count);
    command_fact(&provenance, argv);
    method_facts(&provenance, &run, options);
    terminal_provenance(stdout, &provenance);
    bool colour = isatty(STDOUT_FILENO) != 0;
    struct probe probe = {
        .machine = &machine,
        .servers = record->servers,
        .server_count = record->server_count,
        .servers_named = options->servers,
        .quick = options->quick,
        .idle = asked_of_probe(options, &options->idle),
        .connections = asked_of_probe(options, &options->connections),
        .build = build,
        .destination = {options->out, &provenance, colour},
    };
    run.later = scenarios_seconds(&options->scenarios, &probe, 0);
    if (record->condition_count > 0) {
        measure_all(&run, colour);
        if (results_write(options->out, &provenance, record) != 0)
            return fail(options->out);
    }
    if (run_probes(&options->scenarios, &probe) != 0)
        return fail(options->out);
    if (interrupted)
        printf("Interrupted: this is what was measured until then.\n");
    printf("The figures are in %s, as CSV files.\n", options->out);
    return interrupted ? 130 : 0;
}

int main(int argc, char **argv)
{
    static struct server servers[ROSTER_MAX];
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
    record.condition_count = conditions_wanted(&options, record.conditions);
    int code = check(&options, &record);
    if (code != 0)
        return code;
    interrupt_watch();
    pattern_init();
    code = compare(&options, &record, build, argv);
    record_free(&record);
    return code;
}
