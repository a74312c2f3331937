/* What a connection costs while it is silent: bytes in the process, bytes in the kernel, and CPU.
 * One server at a time, because the kernel's figures are those of the whole machine. */

#include "probes/probe.h"

#include "load/idle_clients.h"
#include "load/load.h"
#include "output/probe_table.h"
#include "output/progress.h"
#include "system/clock.h"
#include "system/interrupt.h"
#include "system/process.h"

#include <math.h>
#include <stdio.h>
#include <string.h>

enum { CONNECT_US = 120 /* to make and end one: for the estimate of the time */ };
enum { SAMPLE = 64, SLOW_CLIENTS = 100, SLOW_RATE = 1000 /* messages per second, of all */ };

/* Bytes; not a number where the system does not tell. */
struct footprint {
    double user;   /* resident in the process */
    double stacks; /* the kernel's, one for each thread */
    double tables; /* the process's page tables */
    double slab;   /* everything that the kernel allocated in small pieces, sockets above all */
    double queues; /* what waits in TCP's queues, of all sockets */
};

static struct footprint footprint_of(const struct server *server)
{
    struct footprint f;
    uint64_t resident = process_resident(server->pid);
    f.user = resident > 0 ? (double)resident : NAN;
    f.tables = process_page_tables(server->pid);
    f.stacks = machine_memory("KernelStack");
    f.slab = machine_memory("Slab");
    f.queues = machine_tcp_queues();
    return f;
}

static struct footprint growth(const struct footprint *before, const struct footprint *after,
                               int count)
{
    return (struct footprint){.user = (after->user - before->user) / count,
                              .stacks = (after->stacks - before->stacks) / count,
                              .tables = (after->tables - before->tables) / count,
                              .slab = (after->slab - before->slab) / count,
                              .queues = (after->queues - before->queues) / count};
}

static uint64_t silence_of(const struct probe *probe)
{
    return probe->quick ? MILLISECONDS(200) : SECONDS(1);
}

/* CPU and wake-ups in a second in which nobody speaks. */
static void add_silence(struct table *table, struct server *server, uint64_t length)
{
    server_resume(server);
    uint64_t cpu = process_cpu(server->pid);
    int64_t switches = process_switches(server->pid);
    uint64_t start = clock_now();
    clock_sleep(length);
    double seconds = (double)(clock_now() - start) / 1e9;
    uint64_t used = process_cpu(server->pid) - cpu;
    int64_t woken = process_switches(server->pid) - switches;
    table_number(table, (double)used / 1e6 / seconds, 2);
    /* a server that SIGSTOP holds does not wake up */
    table_number(table, switches >= 0 && !server->spins ? (double)woken / seconds : NAN, 1);
    server_settle(server);
}

static void add_footprint(struct table *table, const struct footprint *f, bool kernel)
{
    table_number(table, f->user, 0);
    table_number(table, f->tables, 0);
    table_number(table, kernel ? f->stacks : NAN, 0);
    table_number(table, kernel ? f->slab : NAN, 0);
    table_number(table, kernel ? f->queues : NAN, 0);
}

static void report_short(struct table *table, struct server *server, const struct idle_state *state)
{
    char text[SERVER_TEXT];
    snprintf(text, sizeof text, "%d clients, then %s", state->open,
             state->end == LOAD_TURNED_AWAY ? "turned away" : state->trouble);
    table_trouble(table, server, text);
}

static void one_server(struct table *table, struct probe *probe, struct server *server, int count)
{
    struct idle_clients idle = {0};
    struct idle_state state = {0};
    progress_say("memory: %s with %d idle connections", server->name, count);
    if (!probe_start(probe, table, server))
        return;
    server_settle(server);
    server_resume(server);
    int first = count > 4 * SAMPLE ? SAMPLE : count / 4;
    if (idle_clients_create(&idle, server->port, count, 64) == 0)
        idle_clients_connect(&idle, first, &state);
    server_settle(server);
    struct footprint before = footprint_of(server);
    server_resume(server);
    if (idle.pid > 0)
        idle_clients_connect(&idle, count, &state);
    server_settle(server);
    if (state.open > first && !interrupted) {
        struct footprint after = footprint_of(server);
        struct footprint each = growth(&before, &after, state.open - first);
        table_text(table, "%s", server->name);
        table_text(table, "%d", state.open);
        /* what the rest of the machine allocates would hide that of a hundred connections */
        add_footprint(table, &each, state.open >= 5000);
        add_silence(table, server, silence_of(probe));
    }
    if (state.open < count)
        report_short(table, server, &state);
    idle_clients_end(&idle);
    servers_stop(server, 1);
}

static const struct list *idle_counts(const struct probe *probe)
{
    static const struct list usual = {2, {100, 10000}};
    static const struct list quick = {1, {1000}};
    if (probe->idle.count > 0)
        return &probe->idle;
    return probe->quick ? &quick : &usual;
}

static int idle_table(struct probe *probe)
{
    static struct table table;
    const struct list *counts = idle_counts(probe);
    table_begin(
        &table, "memory", "Memory and CPU of connections that are silent",
        "server,idle,user_B,page_tables_B,kernel_stacks_B,slab_B,tcp_queues_B,CPU_ms_a_second,"
        "wake-ups_a_second");
    table_note(&table, "Bytes for each connection: growth from the first few to all of them. Each "
                       "has echoed once.");
    table_note(&table, "Slab holds the sockets of both ends, the servers' and the clients', and "
                       "swings by half. TCP's queues are empty while nobody speaks.");
    table_note(&table, "An idle connection holds no buffer in any of the chapters; up to 64 KiB "
                       "while its bytes are unsent.");
    for (int i = 0; i < counts->count; i++) {
        int count = counts->values[i];
        if (count > probe->machine->descriptors - 200)
            count = (int)probe->machine->descriptors - 200;
        for (int s = 0; s < probe->server_count && count >= 4 && !interrupted; s++) {
            if (!server_is_copy(&probe->servers[s]))
                one_server(&table, probe, &probe->servers[s], count);
        }
    }
    return table_finish(&table, &probe->destination);
}

static uint64_t crowd_of(const struct probe *probe)
{
    return probe->quick ? MILLISECONDS(500) : SECONDS(3);
}

/* The crowd of the article: 100 clients, each sending a byte ten times a second. */
static void slow_crowd(struct table *table, struct probe *probe, struct server *server)
{
    static struct histogram latency;
    struct load load;
    uint64_t length = crowd_of(probe);
    progress_say("memory: %s, 100 clients sending a byte ten times a second", server->name);
    if (!probe_start(probe, table, server))
        return;
    server_settle(server);
    struct footprint before = footprint_of(server);
    server_resume(server);
    histogram_clear(&latency);
    if (load_init(&load, server->port, SLOW_CLIENTS, 1) == 0 &&
        load_open(&load, SLOW_CLIENTS) == LOAD_DONE) {
        uint64_t cpu = process_cpu(server->pid);
        load.mode = LOAD_RATE;
        load.rate = SLOW_RATE;
        enum load_end end = load_run(&load, length, &latency);
        server_settle(server);
        struct footprint after = footprint_of(server);
        table_text(table, "%s", server->name);
        table_number(table, after.user / 1024, 0);
        table_number(table, (after.user - before.user) / 1024, 0);
        table_number(table, (after.tables - before.tables) / 1024, 0);
        table_number(table, (after.stacks - before.stacks) / 1024, 0);
        table_number(
            table,
            (double)(process_cpu(server->pid) - cpu) / 1e4 / 1e3 / ((double)load.elapsed / 1e9), 2);
        table_number(table, (double)histogram_percentile(&latency, 50) / 1e3, 0);
        table_number(table, (double)histogram_percentile(&latency, 99) / 1e3, 0);
        table_text(table, "%s", end == LOAD_DONE ? "" : load.trouble);
    }
    if (load.end != LOAD_DONE)
        table_trouble(table, server, load.trouble);
    load_close(&load);
    servers_stop(server, 1);
}

static int slow_table(struct probe *probe)
{
    static struct table table;
    table_begin(&table, "crowd", "100 clients, each sending one byte ten times a second",
                "server,resident_KiB,grown_by_KiB,page_tables_KiB,kernel_stacks_KiB,CPU_%,p50_us,"
                "p99_us,trouble");
    table_note(&table,
               "Resident is the whole process, libraries included; grown by is what the 100 "
               "clients added. Kernel stacks belong to the whole machine: +-100 KiB.");
    for (int s = 0; s < probe->server_count && !interrupted; s++) {
        if (!server_is_copy(&probe->servers[s]))
            slow_crowd(&table, probe, &probe->servers[s]);
    }
    return table_finish(&table, &probe->destination);
}

double probe_memory_seconds(const struct probe *probe)
{
    const struct list *counts = idle_counts(probe);
    double each = (double)crowd_of(probe) / 1e9;
    for (int i = 0; i < counts->count; i++)
        each += (double)silence_of(probe) / 1e9 + counts->values[i] * CONNECT_US / 1e6;
    return each * probe_rows(probe);
}

int probe_memory(struct probe *probe)
{
    if (idle_table(probe) != 0)
        return -1;
    return interrupted ? 0 : slow_table(probe);
}
