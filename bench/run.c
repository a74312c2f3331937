#include "run.h"

#include "clock.h"
#include "herd.h"
#include "interrupt.h"
#include "load.h"
#include "process.h"
#include "statistics.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    FEWEST_ROUNDS = 3, /* whatever the time says */
    MOST_ROUNDS = 60,  /* more do not make the ratios better by enough */
    LONGER = 3,        /* times its share, for a cell that is too noisy */
    STOPPING_MS = 300, /* kept back for ending a cell's servers */
    STEPS = 16,        /* in which the connections are made */
    CALIBRATIONS = 15, /* slices that find the capacity for an open loop */
    CONNECT_US = 60,   /* expected for making and ending one connection: only to share the time */
};

/* One server's side of a cell. */
struct contender {
    struct server *server;
    struct outcome *outcome;
    struct load load;
    struct herd herd;
    int idle_open;
    uint64_t first_resident; /* bytes, with the first few connections open */
    int first_open;
    bool out;         /* in trouble, or not of this cell: takes no part in the rest of it */
    uint64_t cpu_all; /* nanoseconds in the rounds, warm-ups included */
};

struct stage {
    struct run *run;
    int cell;
    struct contender *contenders;
    int count;
    uint64_t until;   /* no new round after this */
    uint64_t longest; /* nor after this, if the cell is still too noisy */
};

static int idle_of(const struct stage *stage, const struct contender *s)
{
    return s->server->alone ? 0 : stage->run->record->cells[stage->cell].idle;
}

/* Takes a server out of this cell. How it ended, if it did, tells more than the broken
 * connection that we saw. */
static void retire(struct contender *s, const char *trouble)
{
    char ended[128];
    s->out = true;
    if (interrupted)
        return;
    if (s->server->pid > 0 && server_ended(s->server, ended, sizeof ended))
        trouble = ended;
    snprintf(s->outcome->trouble, sizeof s->outcome->trouble, "%s", trouble);
    server_said(s->server, s->outcome->said, sizeof s->outcome->said);
    load_close(&s->load);
    herd_end(&s->herd);
    servers_stop(s->server, 1);
}

static void start_server(struct stage *stage, struct contender *s)
{
    char trouble[SERVER_SAID] = "";
    int idle = idle_of(stage, s);
    if (s->out)
        return;
    if (server_start(s->server, stage->run->machine->server_core, trouble, sizeof trouble) != 0) {
        retire(s, trouble);
        return;
    }
    server_settle(s->server);
    if (idle > 0 && herd_create(&s->herd, s->server->port, idle, 64) != 0)
        retire(s, "no process for the idle connections");
}

/* What the row says of a server that did not take all connections. */
static void retire_short(struct contender *s, enum load_end end, int clients, const char *trouble)
{
    char text[SERVER_SAID];
    if (end == LOAD_TURNED_AWAY)
        snprintf(text, sizeof text, "%d clients, then turned away", clients);
    else if (end == LOAD_STALLED)
        snprintf(text, sizeof text, "%d clients, then no answer", clients);
    else
        snprintf(text, sizeof text, "%s after %d clients", trouble, clients);
    retire(s, text);
}

/* Opens connections until the cell's numbers times step/STEPS are reached, the active ones first.
 * False: the server did not take them all. */
static bool connect_step(struct contender *s, int active, int silent, int step)
{
    struct herd_state idle = {0};
    enum load_end end = load_open(&s->load, active * step / STEPS);
    if (end != LOAD_DONE) {
        retire_short(s, end, s->load.open + s->idle_open, s->load.trouble);
        return false;
    }
    if (silent == 0)
        return true;
    if (step == 1 && s->load.open == 0)
        load_open(&s->load, 1);
    if (step == 1) {
        server_settle(s->server);
        s->first_resident = process_resident(s->server->pid);
        s->first_open = s->load.open;
        server_resume(s->server);
    }
    herd_connect(&s->herd, (int)((int64_t)silent * step / STEPS), &idle);
    s->idle_open = idle.open;
    if (idle.end != LOAD_DONE)
        retire_short(s, (enum load_end)idle.end, s->load.open + idle.open, idle.trouble);
    return idle.end == LOAD_DONE;
}

/* Active and idle connections come in turns, so that the active ones are spread over the server's
 * table, as they would be in life, and not all at its beginning, where a scan finds them first. */
static void connect_clients(struct stage *stage, struct contender *s)
{
    const struct cell *cell = &stage->run->record->cells[stage->cell];
    int idle = idle_of(stage, s);
    if (load_init(&s->load, s->server->port, cell->active, (size_t)cell->size) != 0) {
        retire(s, strerror(errno));
        return;
    }
    server_resume(s->server);
    for (int step = 1; step <= STEPS && !interrupted; step++) {
        if (!connect_step(s, cell->active, idle, step))
            return;
    }
    server_settle(s->server);
    s->outcome->resident = process_resident(s->server->pid);
    /* every connection has echoed once and is idle now: the growth since the first few is theirs */
    int grown = cell->active + idle - s->first_open;
    if (s->first_resident > 0 && s->outcome->resident > 0)
        s->outcome->idle_resident =
            ((double)s->outcome->resident - (double)s->first_resident) / grown;
}

static void fill_latency(struct slice *slice, const struct histogram *latency)
{
    slice->p50 = histogram_percentile(latency, 50);
    slice->p90 = histogram_percentile(latency, 90);
    slice->p99 = histogram_percentile(latency, 99);
    slice->p999 = histogram_percentile(latency, 99.9);
    slice->maximum = latency->maximum;
}

static enum load_end warm_up(struct stage *stage, struct contender *s, enum load_mode mode)
{
    server_resume(s->server);
    s->load.mode = mode == LOAD_RATE ? LOAD_CLOSED : mode; /* an open loop is none */
    s->load.rate = stage->run->record->facts[stage->cell].rate;
    enum load_end end = load_run(&s->load, stage->run->warm_up, NULL);
    server_settle(s->server);
    return end;
}

/* One server's turn: warm-up, quiet, counted, quiet. Between two quiet points its clocks have
 * moved by exactly what these messages cost. */
static void run_slice(struct stage *stage, struct contender *s, int round)
{
    static struct histogram latency;
    static struct histogram naive;
    enum load_mode mode = stage->run->record->cells[stage->cell].mode;
    struct slice slice = {.cell = stage->cell, .server = (int)(s - stage->contenders)};
    pid_t pid = s->server->pid;
    uint64_t cpu_before = process_cpu(pid);
    enum load_end end = warm_up(stage, s, mode);
    uint64_t cpu_start = process_cpu(pid);
    int64_t switches = process_switches(pid);
    if (end == LOAD_DONE) {
        histogram_clear(&latency);
        histogram_clear(&naive);
        s->load.mode = mode;
        s->load.naive = &naive;
        uint64_t own = clock_read(CLOCK_THREAD_CPUTIME_ID);
        server_resume(s->server);
        end = load_run(&s->load, stage->run->counted, &latency);
        slice.generator_cpu = clock_read(CLOCK_THREAD_CPUTIME_ID) - own;
        server_settle(s->server);
    }
    uint64_t cpu_end = process_cpu(pid);
    if (cpu_end > cpu_before)
        s->cpu_all += cpu_end - cpu_before;
    if (end != LOAD_DONE) {
        retire(s, s->load.trouble);
        return;
    }
    int64_t switches_end = process_switches(pid);
    slice.round = round;
    slice.echoes = s->load.echoes;
    slice.elapsed = s->load.elapsed;
    slice.server_cpu = cpu_end - cpu_start;
    slice.switches = switches >= 0 && switches_end >= 0 ? switches_end - switches : -1;
    fill_latency(&slice, &latency);
    slice.late = s->load.late;
    slice.stream_bytes = s->load.stream_bytes;
    histogram_merge(&s->outcome->latency, &latency);
    histogram_merge(&s->outcome->naive, &naive);
    record_add(stage->run->record, &slice);
}

/* What the reference can do in a closed loop, echoes per second: the best of some slices, for what
 * disturbs a slice only makes it slower. */
static double capacity_of(struct stage *stage, struct contender *s)
{
    double best = 0;
    server_resume(s->server);
    s->load.mode = LOAD_CLOSED;
    for (int i = 0; i < CALIBRATIONS && !interrupted; i++) {
        if (load_run(&s->load, stage->run->counted * 2, NULL) != LOAD_DONE)
            break;
        best = fmax(best, (double)s->load.echoes * 1e9 / (double)s->load.elapsed);
    }
    server_settle(s->server);
    return best;
}

/* The rate of an open-loop cell, the same for all servers. The capacity is found once, so that the
 * cells of a run are per cents of the same. */
static void choose_rate(struct stage *stage)
{
    struct record *record = stage->run->record;
    const struct cell *cell = &record->cells[stage->cell];
    int reference = record_reference(record);
    if (cell->mode != LOAD_RATE || interrupted)
        return;
    double rate = cell->rate;
    if (stage->run->capacity <= 0 && reference >= 0 && !stage->contenders[reference].out)
        stage->run->capacity = capacity_of(stage, &stage->contenders[reference]);
    if (cell->rate <= 100)
        rate *= stage->run->capacity / 100;
    record->facts[stage->cell].rate = rate > 100 ? rate : 100;
}

static void show_progress(const struct stage *stage, int round, uint64_t started)
{
    const struct run *run = stage->run;
    uint64_t now = clock_now();
    double left = run->deadline > now ? (double)(run->deadline - now) / 1e9 : 0;
    if (run->rounds > 0) {
        double each = round > 0 ? (double)(now - started) / 1e9 / round : 0;
        left = each * (run->rounds * (run->record->cell_count - stage->cell) - round);
    }
    char what[160];
    scenario_describe(&run->record->cells[stage->cell], what, sizeof what);
    if (run->progress)
        fprintf(stderr, "\r\033[K[%d/%d] %s: round %d, about %.0f s left", stage->cell + 1,
                run->record->cell_count, what, round + 1, left + run->later);
    else if (round == 0)
        fprintf(stderr, "[%d/%d] %s\n", stage->cell + 1, run->record->cell_count, what);
}

static bool time_for_another(const struct stage *stage, int round)
{
    if (interrupted)
        return false;
    if (stage->run->rounds > 0)
        return round < stage->run->rounds;
    if (round < FEWEST_ROUNDS)
        return true;
    if (round < MOST_ROUNDS && clock_now() < stage->until)
        return true;
    stage->run->record->facts[stage->cell].rounds = round;
    return stage->run->noise > 0 && round < LONGER * MOST_ROUNDS && clock_now() < stage->longest &&
           noise_of(stage->run->record, stage->cell) > stage->run->noise;
}

/* Every server once in every round, in an order of its own each time. */
static void run_rounds(struct stage *stage)
{
    int order[64];
    uint64_t started = clock_now();
    int count = stage->count < 64 ? stage->count : 64;
    for (int i = 0; i < count; i++)
        order[i] = i;
    int round = 0;
    for (; time_for_another(stage, round); round++) {
        if (record_reserve(stage->run->record, count) != 0)
            break;
        show_progress(stage, round, started);
        for (int i = count - 1; i > 0; i--) {
            int j = (int)(random_next(&stage->run->random) % (uint64_t)(i + 1));
            int swap = order[i];
            order[i] = order[j];
            order[j] = swap;
        }
        for (int i = 0; i < count && !interrupted; i++) {
            if (!stage->contenders[order[i]].out)
                run_slice(stage, &stage->contenders[order[i]], round);
        }
    }
    stage->run->record->facts[stage->cell].rounds = round;
}

/* The rounds, and what else used the two cores meanwhile: their busy time is the kernel's count,
 * less what we know of ourselves and of the servers. */
static void measure(struct stage *stage)
{
    const struct machine *machine = stage->run->machine;
    struct cell_facts *facts = &stage->run->record->facts[stage->cell];
    uint64_t busy = machine_busy(machine);
    uint64_t own = clock_read(CLOCK_PROCESS_CPUTIME_ID);
    uint64_t start = clock_now();
    run_rounds(stage);
    facts->duration = (double)(clock_now() - start) / 1e9;
    double known = (double)(clock_read(CLOCK_PROCESS_CPUTIME_ID) - own);
    for (int i = 0; i < stage->count; i++)
        known += (double)stage->contenders[i].cpu_all;
    if (busy > 0 && facts->duration > 0.2) {
        facts->other = ((double)(machine_busy(machine) - busy) - known) / 1e9 / facts->duration;
        if (facts->other < 0)
            facts->other = 0; /* counted in ticks: a little below nothing is nothing */
    }
}

static void end_cell(struct stage *stage)
{
    for (int i = 0; i < stage->count; i++) {
        struct contender *s = &stage->contenders[i];
        s->outcome->spins = s->server->spins;
        load_close(&s->load);
        herd_end(&s->herd);
    }
    servers_stop(stage->run->record->servers, stage->count);
}

static uint64_t expected_setup(const struct record *record, int cell)
{
    const struct cell *c = &record->cells[cell];
    uint64_t connections = (uint64_t)(c->active + c->idle) * (uint64_t)record->server_count;
    return MILLISECONDS(STOPPING_MS) + connections * CONNECT_US * 1000;
}

/* How long a cell's rounds may take: what is left until the deadline, less the cost of making and
 * ending connections, in equal parts for this cell and those to come. */
static uint64_t share_of(const struct run *run, int cell)
{
    const struct record *record = run->record;
    uint64_t now = clock_now();
    uint64_t setup = 0;
    for (int i = cell; i < record->cell_count; i++)
        setup += expected_setup(record, i);
    if (now + setup >= run->deadline)
        return 0;
    return (run->deadline - now - setup) / (uint64_t)(record->cell_count - cell);
}

/* Connections that took longer than expected are at the cost of the rounds, but of no more than
 * half of them: the end then is later. */
static void set_ends(struct stage *stage, uint64_t began, uint64_t share)
{
    uint64_t setup = expected_setup(stage->run->record, stage->cell) - MILLISECONDS(STOPPING_MS);
    uint64_t half = clock_now() + share / 2;
    stage->until = began + setup + share;
    stage->longest = clock_now() + LONGER * share;
    if (stage->until < half)
        stage->until = half;
}

void run_cell(struct run *run, int cell)
{
    struct record *record = run->record;
    struct stage stage = {.run = run, .cell = cell, .count = record->server_count};
    uint64_t began = clock_now(), share = share_of(run, cell);
    stage.contenders = calloc((size_t)stage.count + 1, sizeof *stage.contenders);
    if (stage.contenders == NULL)
        return;
    for (int i = 0; i < stage.count; i++) {
        stage.contenders[i].server = &record->servers[i];
        stage.contenders[i].outcome = record_outcome(record, cell, i);
        stage.contenders[i].out = !record_takes_part(record, cell, i);
    }
    for (int i = 0; i < stage.count && !interrupted; i++)
        start_server(&stage, &stage.contenders[i]);
    for (int i = 0; i < stage.count && !interrupted; i++) {
        if (!stage.contenders[i].out)
            connect_clients(&stage, &stage.contenders[i]);
    }
    if (!interrupted)
        choose_rate(&stage);
    set_ends(&stage, began, share);
    if (!interrupted)
        measure(&stage);
    if (clock_now() > stage.until) /* what this cell took, the others do not lack */
        run->deadline += clock_now() - stage.until;
    end_cell(&stage);
    free(stage.contenders);
}
