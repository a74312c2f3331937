/* Coordinated omission, shown: a server that is frozen for 100 ms in every second, measured by a
 * closed loop, which hardly notices, and by an open loop, which does. */

#ifdef __linux__
#define _GNU_SOURCE
#include <sys/prctl.h>
#endif

#include "probes/probe.h"

#include "load/load.h"
#include "output/probe_table.h"
#include "output/progress.h"
#include "system/clock.h"

#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CONNECTIONS = 64, STALL_MS = 100, EVERY_MS = 1000 };

/* A process that freezes the server now and then. */
static pid_t start_freezer(pid_t server)
{
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    setpgid(0, 0);
#ifdef __linux__
    prctl(PR_SET_PDEATHSIG, SIGKILL);
#endif
    signal(SIGTERM, SIG_DFL);
    for (;;) {
        clock_sleep(MILLISECONDS((EVERY_MS - STALL_MS) / 2));
        kill(server, SIGSTOP);
        clock_sleep(MILLISECONDS(STALL_MS));
        kill(server, SIGCONT);
        clock_sleep(MILLISECONDS((EVERY_MS - STALL_MS) / 2));
    }
}

static void add_row(struct table *table, const char *how, const struct load *load,
                    const struct histogram *latency)
{
    static const double percents[] = {50, 90, 99, 99.9};
    table_text(table, "%s", how);
    table_number(table, (double)load->echoes * 1e9 / (double)load->elapsed, 0);
    for (size_t i = 0; i < sizeof percents / sizeof *percents; i++)
        table_number(table, (double)histogram_percentile(latency, percents[i]) / 1e3, 1);
    table_number(table, (double)latency->maximum / 1e3, 1);
}

/* One run with a freezer beside it. */
static enum load_end run_frozen(struct load *load, struct server *server, uint64_t length,
                                struct histogram *latency)
{
    histogram_clear(latency);
    pid_t freezer = start_freezer(server->pid);
    enum load_end end = load_run(load, length, latency);
    if (freezer > 0) {
        kill(freezer, SIGKILL);
        waitpid(freezer, NULL, 0);
    }
    kill(server->pid, SIGCONT);
    return end;
}

static void measure(struct table *table, struct load *load, struct server *server, uint64_t length)
{
    static struct histogram latency;
    static struct histogram sent_latency;
    if (run_frozen(load, server, length, &latency) != LOAD_DONE)
        return;
    add_row(table, "closed loop, as fast as it goes", load, &latency);
    load->mode = LOAD_RATE;
    /* half of what the server did in nine tenths of the time */
    load->rate = (double)load->echoes * 1e9 / (double)load->elapsed / 0.9 / 2;
    load->sent_latency = &sent_latency;
    histogram_clear(&sent_latency);
    if (run_frozen(load, server, length, &latency) != LOAD_DONE)
        return;
    add_row(table, "open loop, from when a message left", load, &sent_latency);
    add_row(table, "open loop, from when it was due", load, &latency);
}

static uint64_t length_of(const struct probe *probe)
{
    return probe->quick ? SECONDS(1) : SECONDS(5);
}

double probe_omission_seconds(const struct probe *probe)
{
    return 2 * (double)length_of(probe) / 1e9;
}

int probe_omission(struct probe *probe)
{
    static struct table table;
    char trouble[SERVER_TEXT] = "";
    struct server *server = &probe->servers[0];
    struct load load;
    for (int i = 0; i < probe->server_count; i++) {
        if (probe->servers[i].reference)
            server = &probe->servers[i];
    }
    progress_say("rate: %s, frozen for 100 ms in every second", server->name);
    table_begin(&table, "omission", "A server that is frozen for 100 ms in every second",
                "measured_by,echoes_a_second,p50_us,p90_us,p99_us,p99.9_us,max_us");
    table_note(&table, "A tenth of the time is frozen, so at least one request in ten has to wait, "
                       "and p99 is at least 90 ms. The closed loop stops asking while nobody "
                       "answers, and counts 64 slow answers for each freeze. That is coordinated "
                       "omission.");
    if (server_start(server, probe->machine->server_core, trouble, sizeof trouble) == 0) {
        if (load_init(&load, server->port, CONNECTIONS, 64) == 0 &&
            load_open(&load, CONNECTIONS) == LOAD_DONE)
            measure(&table, &load, server, length_of(probe));
        snprintf(trouble, sizeof trouble, "%s", load.trouble);
        load_close(&load);
    }
    if (trouble[0] != '\0')
        table_trouble(&table, server, trouble);
    servers_stop(server, 1);
    return table_finish(&table, &probe->destination);
}
