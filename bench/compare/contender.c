#include "compare/contender.h"

#include "system/clock.h"
#include "system/interrupt.h"
#include "system/process.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>

enum {
    STEPS = 16,        /* in which the connections are made */
    CALIBRATIONS = 15, /* slices that find the capacity for an open loop */
};

/* The copy of the reference without idle connections has none under any condition. */
static int idle_of(const struct contender *c)
{
    return c->server->no_idle ? 0 : c->condition->idle;
}

/* ---- starting, and trouble ---- */

/* Takes a server out of this condition. How it ended, if it did, tells more than the broken
 * connection that we saw. */
static void exclude(struct contender *c, const char *trouble)
{
    char ended[128];
    c->excluded = true;
    if (interrupted)
        return;
    if (c->server->pid > 0 && server_ended(c->server, ended, sizeof ended))
        trouble = ended;
    snprintf(c->outcome->trouble, sizeof c->outcome->trouble, "%s", trouble);
    server_stderr_tail(c->server, c->outcome->stderr_tail, sizeof c->outcome->stderr_tail);
    load_close(&c->load);
    idle_clients_end(&c->idle);
    servers_stop(c->server, 1);
}

void contender_start(struct contender *c, int core)
{
    char trouble[SERVER_TEXT] = "";
    if (server_start(c->server, core, trouble, sizeof trouble) != 0) {
        exclude(c, trouble);
        return;
    }
    server_settle(c->server);
    if (idle_of(c) > 0 && idle_clients_create(&c->idle, c->server->port, idle_of(c), 64) != 0)
        exclude(c, "no process for the idle connections");
}

void contender_end(struct contender *c)
{
    c->outcome->spins = c->server->spins;
    load_close(&c->load);
    idle_clients_end(&c->idle);
}

/* ---- connecting ---- */

/* A server that did not take all connections. */
static void exclude_short(struct contender *c, enum load_end end, int clients, const char *trouble)
{
    char text[SERVER_TEXT];
    if (end == LOAD_TURNED_AWAY)
        snprintf(text, sizeof text, "%d clients, then turned away", clients);
    else if (end == LOAD_STALLED)
        snprintf(text, sizeof text, "%d clients, then no answer", clients);
    else
        snprintf(text, sizeof text, "%s after %d clients", trouble, clients);
    exclude(c, text);
}

/* Opens connections until the condition's numbers times step/STEPS are reached, the active ones
 * first. False: the server did not take them all. */
static bool connect_step(struct contender *c, int step)
{
    int active = c->condition->active, silent = idle_of(c);
    struct idle_state idle = {0};
    enum load_end end = load_open(&c->load, active * step / STEPS);
    if (end != LOAD_DONE) {
        exclude_short(c, end, c->load.open + c->idle_open, c->load.trouble);
        return false;
    }
    if (silent == 0)
        return true;
    if (step == 1 && c->load.open == 0)
        load_open(&c->load, 1);
    if (step == 1) {
        server_settle(c->server);
        c->first_resident = process_resident(c->server->pid);
        c->first_open = c->load.open;
        server_resume(c->server);
    }
    idle_clients_connect(&c->idle, (int)((int64_t)silent * step / STEPS), &idle);
    c->idle_open = idle.open;
    if (idle.end != LOAD_DONE)
        exclude_short(c, idle.end, c->load.open + idle.open, idle.trouble);
    return idle.end == LOAD_DONE;
}

/* Active and idle connections come in turns, so that the active ones are spread over the server's
 * table, as they would be in life, and not all at its beginning, where a scan finds them first. */
void contender_connect(struct contender *c)
{
    const struct condition *condition = c->condition;
    if (load_init(&c->load, c->server->port, condition->active, (size_t)condition->size) != 0) {
        exclude(c, strerror(errno));
        return;
    }
    server_resume(c->server);
    for (int step = 1; step <= STEPS && !interrupted; step++) {
        if (!connect_step(c, step))
            return;
    }
    server_settle(c->server);
    c->outcome->resident = process_resident(c->server->pid);
    /* every connection has echoed once and is idle now: the growth since the first few is theirs */
    int grown = condition->active + idle_of(c) - c->first_open;
    if (c->first_resident > 0 && c->outcome->resident > 0)
        c->outcome->idle_resident =
            ((double)c->outcome->resident - (double)c->first_resident) / grown;
}

/* ---- a turn ---- */

static void fill_latency(struct slice *slice, const struct histogram *latency)
{
    slice->p50 = histogram_percentile(latency, 50);
    slice->p90 = histogram_percentile(latency, 90);
    slice->p99 = histogram_percentile(latency, 99);
    slice->p999 = histogram_percentile(latency, 99.9);
    slice->maximum = latency->maximum;
}

static enum load_end warm_up(struct contender *c, const struct turn *turn)
{
    enum load_mode mode = c->condition->mode;
    server_resume(c->server);
    c->load.mode =
        mode == LOAD_RATE ? LOAD_CLOSED : mode; /* an open loop is warmed up by a closed one */
    c->load.rate = turn->rate;
    enum load_end end = load_run(&c->load, turn->warm_up, NULL);
    server_settle(c->server);
    return end;
}

/* What a slice has beside the CPU of the server. */
static void fill_slice(struct slice *slice, const struct contender *c,
                       const struct histogram *latency)
{
    slice->echoes = c->load.echoes;
    slice->elapsed = c->load.elapsed;
    slice->late = c->load.late;
    slice->stream_bytes = c->load.stream_bytes;
    fill_latency(slice, latency);
}

static enum load_end run_counted(struct contender *c, const struct turn *turn, struct slice *slice)
{
    static struct histogram latency;
    static struct histogram sent_latency;
    histogram_clear(&latency);
    histogram_clear(&sent_latency);
    c->load.mode = c->condition->mode;
    c->load.sent_latency = &sent_latency;
    uint64_t own = clock_read(CLOCK_THREAD_CPUTIME_ID);
    server_resume(c->server);
    enum load_end end = load_run(&c->load, turn->counted, &latency);
    slice->generator_cpu = clock_read(CLOCK_THREAD_CPUTIME_ID) - own;
    server_settle(c->server);
    if (end != LOAD_DONE)
        return end;
    fill_slice(slice, c, &latency);
    histogram_merge(&c->outcome->latency, &latency);
    histogram_merge(&c->outcome->sent_latency, &sent_latency);
    return end;
}

/* Between two quiet points the server's clocks move by exactly what these messages cost. */
bool contender_turn(struct contender *c, const struct turn *turn, struct slice *slice)
{
    pid_t pid = c->server->pid;
    uint64_t cpu_before = process_cpu(pid);
    enum load_end end = warm_up(c, turn);
    uint64_t cpu_start = process_cpu(pid);
    int64_t switches = process_switches(pid);
    if (end == LOAD_DONE)
        end = run_counted(c, turn, slice);
    uint64_t cpu_end = process_cpu(pid);
    if (cpu_end > cpu_before)
        c->cpu += cpu_end - cpu_before;
    if (end != LOAD_DONE) {
        exclude(c, c->load.trouble);
        return false;
    }
    int64_t switches_end = process_switches(pid);
    slice->server_cpu = cpu_end - cpu_start;
    slice->switches = switches >= 0 && switches_end >= 0 ? switches_end - switches : -1;
    return true;
}

/* The best of some slices, because what disturbs a slice only makes it slower. */
double contender_capacity(struct contender *c, uint64_t counted)
{
    double best = 0;
    server_resume(c->server);
    c->load.mode = LOAD_CLOSED;
    for (int i = 0; i < CALIBRATIONS && !interrupted; i++) {
        if (load_run(&c->load, counted, NULL) != LOAD_DONE)
            break;
        best = fmax(best, (double)c->load.echoes * 1e9 / (double)c->load.elapsed);
    }
    server_settle(c->server);
    return best;
}
