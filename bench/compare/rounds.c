#include "compare/rounds.h"

#include "load/idle_clients.h"
#include "load/load.h"
#include "numbers/random.h"
#include "record/summary.h"
#include "system/clock.h"
#include "system/interrupt.h"
#include "system/process.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum {
    MIN_ROUNDS = 3,    /* whatever the time says */
    MAX_ROUNDS = 60,   /* more do not make the ratios better by enough */
    LONGER = 3,        /* times its share, for a condition that is too noisy */
    STOPPING_MS = 300, /* kept back for ending a condition's servers */
    STEPS = 16,        /* in which the connections are made */
    CALIBRATIONS = 15, /* slices that find the capacity for an open loop */
    CONNECT_US = 60,   /* expected for making and ending one connection: only to share the time */
};

/* One server's side of a condition. */
struct contender {
    struct server *server;
    struct outcome *outcome;
    struct load load;
    struct idle_clients idle;
    int idle_open;
    uint64_t first_resident; /* bytes, with the first few connections open */
    int first_open;
    bool excluded;    /* in trouble, or not of this condition: takes no part in the rest of it */
    uint64_t cpu_all; /* nanoseconds in the rounds, warm-ups included */
};

struct current {
    struct run *run;
    int condition;
    struct contender *contenders;
    int count;
    uint64_t until;   /* no new round after this */
    uint64_t longest; /* nor after this, if the condition is still too noisy */
};

static int idle_of(const struct current *current, const struct contender *s)
{
    return s->server->no_idle ? 0 : current->run->record->conditions[current->condition].idle;
}

/* Takes a server out of this condition. How it ended, if it did, tells more than the broken
 * connection that we saw. */
static void exclude(struct contender *s, const char *trouble)
{
    char ended[128];
    s->excluded = true;
    if (interrupted)
        return;
    if (s->server->pid > 0 && server_ended(s->server, ended, sizeof ended))
        trouble = ended;
    snprintf(s->outcome->trouble, sizeof s->outcome->trouble, "%s", trouble);
    server_stderr_tail(s->server, s->outcome->stderr_tail, sizeof s->outcome->stderr_tail);
    load_close(&s->load);
    idle_clients_end(&s->idle);
    servers_stop(s->server, 1);
}

static void start_server(struct current *current, struct contender *s)
{
    char trouble[SERVER_TEXT] = "";
    int idle = idle_of(current, s);
    if (s->excluded)
        return;
    if (server_start(s->server, current->run->machine->server_core, trouble, sizeof trouble) != 0) {
        exclude(s, trouble);
        return;
    }
    server_settle(s->server);
    if (idle > 0 && idle_clients_create(&s->idle, s->server->port, idle, 64) != 0)
        exclude(s, "no process for the idle connections");
}

/* What the row says of a server that did not take all connections. */
static void exclude_short(struct contender *s, enum load_end end, int clients, const char *trouble)
{
    char text[SERVER_TEXT];
    if (end == LOAD_TURNED_AWAY)
        snprintf(text, sizeof text, "%d clients, then turned away", clients);
    else if (end == LOAD_STALLED)
        snprintf(text, sizeof text, "%d clients, then no answer", clients);
    else
        snprintf(text, sizeof text, "%s after %d clients", trouble, clients);
    exclude(s, text);
}

/* Opens connections until the condition's numbers times step/STEPS are reached, the active ones
 * first. False: the server did not take them all. */
static bool connect_step(struct contender *s, int active, int silent, int step)
{
    struct idle_state idle = {0};
    enum load_end end = load_open(&s->load, active * step / STEPS);
    if (end != LOAD_DONE) {
        exclude_short(s, end, s->load.open + s->idle_open, s->load.trouble);
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
    idle_clients_connect(&s->idle, (int)((int64_t)silent * step / STEPS), &idle);
    s->idle_open = idle.open;
    if (idle.end != LOAD_DONE)
        exclude_short(s, (enum load_end)idle.end, s->load.open + idle.open, idle.trouble);
    return idle.end == LOAD_DONE;
}

/* Active and idle connections come in turns, so that the active ones are spread over the server's
 * table, as they would be in life, and not all at its beginning, where a scan finds them first. */
static void connect_clients(struct current *current, struct contender *s)
{
    const struct condition *condition = &current->run->record->conditions[current->condition];
    int idle = idle_of(current, s);
    if (load_init(&s->load, s->server->port, condition->active, (size_t)condition->size) != 0) {
        exclude(s, strerror(errno));
        return;
    }
    server_resume(s->server);
    for (int step = 1; step <= STEPS && !interrupted; step++) {
        if (!connect_step(s, condition->active, idle, step))
            return;
    }
    server_settle(s->server);
    s->outcome->resident = process_resident(s->server->pid);
    /* every connection has echoed once and is idle now: the growth since the first few is theirs */
    int grown = condition->active + idle - s->first_open;
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

static enum load_end warm_up(struct current *current, struct contender *s, enum load_mode mode)
{
    server_resume(s->server);
    s->load.mode = mode == LOAD_RATE ? LOAD_CLOSED : mode; /* an open loop is none */
    s->load.rate = current->run->record->runs[current->condition].rate;
    enum load_end end = load_run(&s->load, current->run->warm_up, NULL);
    server_settle(s->server);
    return end;
}

/* One server's turn: warm-up, quiet, counted, quiet. Between two quiet points its clocks have
 * moved by exactly what these messages cost. */
static void run_slice(struct current *current, struct contender *s, int round)
{
    static struct histogram latency;
    static struct histogram sent_latency;
    enum load_mode mode = current->run->record->conditions[current->condition].mode;
    struct slice slice = {.condition = current->condition,
                          .server = (int)(s - current->contenders)};
    pid_t pid = s->server->pid;
    uint64_t cpu_before = process_cpu(pid);
    enum load_end end = warm_up(current, s, mode);
    uint64_t cpu_start = process_cpu(pid);
    int64_t switches = process_switches(pid);
    if (end == LOAD_DONE) {
        histogram_clear(&latency);
        histogram_clear(&sent_latency);
        s->load.mode = mode;
        s->load.sent_latency = &sent_latency;
        uint64_t own = clock_read(CLOCK_THREAD_CPUTIME_ID);
        server_resume(s->server);
        end = load_run(&s->load, current->run->counted, &latency);
        slice.generator_cpu = clock_read(CLOCK_THREAD_CPUTIME_ID) - own;
        server_settle(s->server);
    }
    uint64_t cpu_end = process_cpu(pid);
    if (cpu_end > cpu_before)
        s->cpu_all += cpu_end - cpu_before;
    if (end != LOAD_DONE) {
        exclude(s, s->load.trouble);
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
    histogram_merge(&s->outcome->sent_latency, &sent_latency);
    record_add(current->run->record, &slice);
}

/* What the reference can do in a closed loop, echoes per second: the best of some slices, for what
 * disturbs a slice only makes it slower. */
static double capacity_of(struct current *current, struct contender *s)
{
    double best = 0;
    server_resume(s->server);
    s->load.mode = LOAD_CLOSED;
    for (int i = 0; i < CALIBRATIONS && !interrupted; i++) {
        if (load_run(&s->load, current->run->counted * 2, NULL) != LOAD_DONE)
            break;
        best = fmax(best, (double)s->load.echoes * 1e9 / (double)s->load.elapsed);
    }
    server_settle(s->server);
    return best;
}

/* The rate of an open-loop condition, the same for all servers. The capacity is found once, so that
 * the conditions of a run are per cents of the same. */
static void choose_rate(struct current *current)
{
    struct record *record = current->run->record;
    const struct condition *condition = &record->conditions[current->condition];
    int reference = record_reference(record);
    if (condition->mode != LOAD_RATE || interrupted)
        return;
    double rate = condition->rate;
    if (current->run->capacity <= 0 && reference >= 0 && !current->contenders[reference].excluded)
        current->run->capacity = capacity_of(current, &current->contenders[reference]);
    if (condition->rate <= 100)
        rate *= current->run->capacity / 100;
    record->runs[current->condition].rate = rate > 100 ? rate : 100;
}

static void show_progress(const struct current *current, int round, uint64_t started)
{
    const struct run *run = current->run;
    uint64_t now = clock_now();
    double left = run->deadline > now ? (double)(run->deadline - now) / 1e9 : 0;
    if (run->rounds > 0) {
        double each = round > 0 ? (double)(now - started) / 1e9 / round : 0;
        left = each * (run->rounds * (run->record->condition_count - current->condition) - round);
    }
    char what[160];
    condition_describe(&run->record->conditions[current->condition], what, sizeof what);
    if (run->progress)
        fprintf(stderr, "\r\033[K[%d/%d] %s: round %d, about %.0f s left", current->condition + 1,
                run->record->condition_count, what, round + 1, left + run->later);
    else if (round == 0)
        fprintf(stderr, "[%d/%d] %s\n", current->condition + 1, run->record->condition_count, what);
}

static bool time_for_another(const struct current *current, int round)
{
    if (interrupted)
        return false;
    if (current->run->rounds > 0)
        return round < current->run->rounds;
    if (round < MIN_ROUNDS)
        return true;
    if (round < MAX_ROUNDS && clock_now() < current->until)
        return true;
    current->run->record->runs[current->condition].rounds = round;
    return current->run->noise > 0 && round < LONGER * MAX_ROUNDS &&
           clock_now() < current->longest &&
           noise_of(current->run->record, current->condition) > current->run->noise;
}

/* Every server once in every round, in an order of its own each time. */
static void run_rounds(struct current *current)
{
    int order[64];
    uint64_t started = clock_now();
    int count = current->count < 64 ? current->count : 64;
    for (int i = 0; i < count; i++)
        order[i] = i;
    int round = 0;
    for (; time_for_another(current, round); round++) {
        if (record_reserve(current->run->record, count) != 0)
            break;
        show_progress(current, round, started);
        for (int i = count - 1; i > 0; i--) {
            int j = (int)(random_next(&current->run->random) % (uint64_t)(i + 1));
            int swap = order[i];
            order[i] = order[j];
            order[j] = swap;
        }
        for (int i = 0; i < count && !interrupted; i++) {
            if (!current->contenders[order[i]].excluded)
                run_slice(current, &current->contenders[order[i]], round);
        }
    }
    current->run->record->runs[current->condition].rounds = round;
}

/* The rounds, and what else used the two cores meanwhile: their busy time is the kernel's count,
 * less what we know of ourselves and of the servers. */
static void measure(struct current *current)
{
    const struct machine *machine = current->run->machine;
    struct condition_run *measured = &current->run->record->runs[current->condition];
    uint64_t busy = machine_busy(machine);
    uint64_t own = clock_read(CLOCK_PROCESS_CPUTIME_ID);
    uint64_t start = clock_now();
    run_rounds(current);
    measured->duration = (double)(clock_now() - start) / 1e9;
    double known = (double)(clock_read(CLOCK_PROCESS_CPUTIME_ID) - own);
    for (int i = 0; i < current->count; i++)
        known += (double)current->contenders[i].cpu_all;
    if (busy > 0 && measured->duration > 0.2) {
        measured->other =
            ((double)(machine_busy(machine) - busy) - known) / 1e9 / measured->duration;
        if (measured->other < 0)
            measured->other = 0; /* counted in ticks: a little below nothing is nothing */
    }
}

static void end_condition(struct current *current)
{
    for (int i = 0; i < current->count; i++) {
        struct contender *s = &current->contenders[i];
        s->outcome->spins = s->server->spins;
        load_close(&s->load);
        idle_clients_end(&s->idle);
    }
    servers_stop(current->run->record->servers, current->count);
}

static uint64_t expected_setup(const struct record *record, int condition)
{
    const struct condition *c = &record->conditions[condition];
    uint64_t connections = (uint64_t)(c->active + c->idle) * (uint64_t)record->server_count;
    return MILLISECONDS(STOPPING_MS) + connections * CONNECT_US * 1000;
}

/* How long a condition's rounds may take: what is left until the deadline, less the cost of making
 * and ending connections, in equal parts for this condition and those to come. */
static uint64_t share_of(const struct run *run, int condition)
{
    const struct record *record = run->record;
    uint64_t now = clock_now();
    uint64_t setup = 0;
    for (int i = condition; i < record->condition_count; i++)
        setup += expected_setup(record, i);
    if (now + setup >= run->deadline)
        return 0;
    return (run->deadline - now - setup) / (uint64_t)(record->condition_count - condition);
}

/* Connections that took longer than expected are at the cost of the rounds, but of no more than
 * half of them: the end then is later. */
static void set_ends(struct current *current, uint64_t began, uint64_t share)
{
    uint64_t setup =
        expected_setup(current->run->record, current->condition) - MILLISECONDS(STOPPING_MS);
    uint64_t half = clock_now() + share / 2;
    current->until = began + setup + share;
    current->longest = clock_now() + LONGER * share;
    if (current->until < half)
        current->until = half;
}

void rounds_run(struct run *run, int condition)
{
    struct record *record = run->record;
    struct current current = {.run = run, .condition = condition, .count = record->server_count};
    uint64_t began = clock_now(), share = share_of(run, condition);
    current.contenders = calloc((size_t)current.count + 1, sizeof *current.contenders);
    if (!current.contenders)
        return;
    for (int i = 0; i < current.count; i++) {
        current.contenders[i].server = &record->servers[i];
        current.contenders[i].outcome = record_outcome(record, condition, i);
        current.contenders[i].excluded = !record_takes_part(record, condition, i);
    }
    for (int i = 0; i < current.count && !interrupted; i++)
        start_server(&current, &current.contenders[i]);
    for (int i = 0; i < current.count && !interrupted; i++) {
        if (!current.contenders[i].excluded)
            connect_clients(&current, &current.contenders[i]);
    }
    if (!interrupted)
        choose_rate(&current);
    set_ends(&current, began, share);
    if (!interrupted)
        measure(&current);
    if (clock_now() > current.until) /* what this condition took, the others do not lack */
        run->deadline += clock_now() - current.until;
    end_condition(&current);
    free(current.contenders);
}
