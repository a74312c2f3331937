#include "scenario.h"

#include "experiment.h"

#include <stdio.h>

const struct scenario scenarios[] = {
    {
        .name = "active",
        .title = "1, 64 and 1000 connections, all of them talking",
        .usual = true,
        .connections = {3, {1, 64, 1000}},
        .idle = {1, {0}},
        .size = {1, {64}},
    },
    {
        .name = "idle",
        .title = "64 talking connections beside 0, 1000 and 10000 silent ones",
        .usual = true,
        .connections = {1, {64}},
        .idle = {3, {0, 1000, 10000}},
        .size = {1, {64}},
    },
    {
        .name = "size",
        .title = "messages of 64 bytes to 1 MiB: copying overtakes waiting",
        .connections = {1, {16}},
        .idle = {1, {0}},
        .size = {4, {64, 4096, 65536, 1048576}},
    },
    {
        .name = "churn",
        .title = "connect, one echo, close: 64 clients at a time",
        .mode = LOAD_CHURN,
        .connections = {1, {64}},
        .idle = {1, {0}},
        .size = {1, {64}},
    },
    {
        .name = "fairness",
        .title = "16 small talkers beside one that streams as fast as it can",
        .mode = LOAD_FAIR,
        .connections = {1, {17}},
        .idle = {1, {0}},
        .size = {1, {64}},
    },
    {
        .name = "rate",
        .title = "open loop at 20, 50, 80 and 95 % of capacity, and a server that stalls",
        .mode = LOAD_RATE,
        .experiment = experiment_omission,
        .seconds = experiment_omission_seconds,
        .connections = {1, {64}},
        .idle = {1, {0}},
        .size = {1, {64}},
        .rate = {4, {20, 50, 80, 95}},
    },
    {.name = "memory",
     .title = "bytes for an idle connection, in the process and in the kernel; and a slow crowd",
     .experiment = experiment_memory,
     .seconds = experiment_memory_seconds},
    {.name = "calls",
     .title = "system calls for one echo, by name (needs strace)",
     .experiment = experiment_calls,
     .seconds = experiment_calls_seconds},
    {.name = "backlog",
     .title = "100 threads connecting at once, with --backlog 10 and 4096",
     .experiment = experiment_backlog,
     .seconds = experiment_backlog_seconds},
    {.name = "loop",
     .title = "the event loops alone, on pipes: the two published comparisons",
     .experiment = experiment_loop,
     .seconds = experiment_loop_seconds},
    {.name = "scale",
     .title = "07-reactor-threads --threads 1 to the number of cores",
     .experiment = experiment_scale,
     .seconds = experiment_scale_seconds},
};

const int scenario_count = sizeof scenarios / sizeof *scenarios;

enum {
    SPARE_DESCRIPTORS = 64,       /* for everything that is not a connection */
    CONNECTION_BYTES = 16 * 1024, /* kernel memory for both ends, generously */
    THREAD_BYTES = 48 * 1024,     /* and for a server with a thread for each */
};

/* *count becomes -1, and stays it, when there are too many. */
static void add_cell(struct cell *cells, int *count, const struct cell *cell)
{
    if (*count < 0)
        return;
    for (int i = 0; i < *count; i++) {
        const struct cell *c = &cells[i];
        if (c->active == cell->active && c->idle == cell->idle && c->size == cell->size &&
            c->mode == cell->mode && c->rate == cell->rate)
            return; /* two scenarios share it: measured once */
    }
    if (*count == CELL_MOST) {
        *count = -1;
        return;
    }
    cells[*count] = *cell;
    cells[*count].active_asked = cell->active;
    cells[(*count)++].idle_asked = cell->idle;
}

bool scenario_wanted(const struct options *options, int which)
{
    for (int i = 0; i < options->scenarios.count; i++) {
        if (options->scenarios.values[i] == which)
            return true;
    }
    return options->scenarios.count == 0 && scenarios[which].usual;
}

/* Is there a scenario among the wanted that varies this? `which`: the place of the list. */
static bool some_vary(const struct options *options, size_t which)
{
    for (int i = 0; i < scenario_count; i++) {
        const struct list *own = (const void *)((const char *)&scenarios[i] + which);
        if (scenario_wanted(options, i) && own->count > 1)
            return true;
    }
    return false;
}

/* A list from the command line goes to the scenarios that vary just that; if there is none among
 * the wanted, to all of them. */
static const struct list *chosen(const struct options *options, const struct scenario *scenario,
                                 size_t which, const struct list *asked)
{
    const struct list *own = (const void *)((const char *)scenario + which);
    bool applies = own->count > 1 || !some_vary(options, which);
    return asked->count > 0 && applies ? asked : own;
}

static void add_scenario(struct cell *cells, int *count, const struct scenario *scenario,
                         const struct options *options)
{
    const struct list *active =
        chosen(options, scenario, offsetof(struct scenario, connections), &options->connections);
    const struct list *idle =
        chosen(options, scenario, offsetof(struct scenario, idle), &options->idle);
    const struct list *size =
        chosen(options, scenario, offsetof(struct scenario, size), &options->size);
    const struct list *rate =
        chosen(options, scenario, offsetof(struct scenario, rate), &options->rate);
    const struct list none = {1, {0}};
    if (scenario->mode != LOAD_RATE)
        rate = &none;
    for (int z = 0; z < size->count; z++) {
        for (int i = 0; i < idle->count; i++) {
            for (int a = 0; a < active->count; a++) {
                for (int r = 0; r < rate->count; r++)
                    add_cell(cells, count,
                             &(struct cell){.mode = scenario->mode,
                                            .active = active->values[a],
                                            .idle = idle->values[i],
                                            .size = size->values[z],
                                            .rate = rate->values[r]});
            }
        }
    }
}

int scenario_cells(const struct options *options, struct cell *cells)
{
    int count = 0;
    for (int i = 0; i < scenario_count; i++) {
        if (scenario_wanted(options, i) && scenarios[i].connections.count > 0)
            add_scenario(cells, &count, &scenarios[i], options);
    }
    return count;
}

double scenario_seconds(const struct experiment *facts, int from)
{
    double sum = 0;
    for (int i = from; i < scenario_count; i++) {
        if (scenarios[i].seconds != NULL && scenario_wanted(facts->options, i))
            sum += scenarios[i].seconds(facts);
    }
    return sum;
}

void scenario_fit(struct cell *cell, const struct machine *machine, int servers)
{
    long usable = machine->descriptors - SPARE_DESCRIPTORS;
    const char *why = "descriptor limit";
    if ((long)cell->active * servers > usable)
        cell->active = (int)(usable / servers); /* the generator holds those of all servers */
    if ((long)cell->active + cell->idle > usable)
        cell->idle = (int)(usable - cell->active);
    uint64_t memory = machine_memory_available() / 4 * 3;
    uint64_t each = (uint64_t)servers * CONNECTION_BYTES + THREAD_BYTES;
    if (memory > 0 && (uint64_t)(cell->idle + cell->active) * each > memory) {
        uint64_t fit = memory / each;
        why = "memory";
        cell->idle = fit > (uint64_t)cell->active ? (int)fit - cell->active : 0;
    }
    if (cell->active < 1)
        cell->active = 1;
    if (cell->active != cell->active_asked || cell->idle != cell->idle_asked)
        snprintf(cell->note, sizeof cell->note,
                 "asked for %d active and %d idle: this machine's %s (%ld descriptors a process) "
                 "allows fewer",
                 cell->active_asked, cell->idle_asked, why, machine->descriptors);
}

/* 10000 as "10,000" */
static const char *grouped(int number, char *text, size_t size)
{
    if (number >= 1000000)
        snprintf(text, size, "%d,%03d,%03d", number / 1000000, number / 1000 % 1000, number % 1000);
    else if (number >= 1000)
        snprintf(text, size, "%d,%03d", number / 1000, number % 1000);
    else
        snprintf(text, size, "%d", number);
    return text;
}

void scenario_describe(const struct cell *cell, char *text, size_t size)
{
    char active[32];
    char idle[32];
    char bytes[32];
    char end[64] = "";
    grouped(cell->active, active, sizeof active);
    grouped(cell->idle, idle, sizeof idle);
    grouped(cell->size, bytes, sizeof bytes);
    const char *plural = cell->active == 1 ? "" : "s";
    if (cell->mode == LOAD_RATE)
        snprintf(end, sizeof end,
                 cell->rate <= 100 ? ", open loop at %d %% of capacity"
                                   : ", open loop at %d a second",
                 cell->rate);
    if (cell->mode == LOAD_CHURN)
        snprintf(end, sizeof end, ": connect, echo, close");
    if (cell->mode == LOAD_FAIR)
        snprintf(text, size, "%d connection%s with %s-byte messages beside one stream",
                 cell->active - 1, cell->active == 2 ? "" : "s", bytes);
    else if (cell->idle == 0)
        snprintf(text, size, "%s active connection%s, %s-byte messages%s", active, plural, bytes,
                 end);
    else
        snprintf(text, size, "%s active beside %s idle connections, %s-byte messages%s", active,
                 idle, bytes, end);
}
