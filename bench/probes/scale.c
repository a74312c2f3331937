/* 07-reactor with 1 to as many threads as there are cores, each with a listening socket of its own
 * (SO_REUSEPORT). Nothing is pinned; as many load generators as cores share the machine with it. */

#include "probes/probe.h"

#include "load/load.h"
#include "output/probe_table.h"
#include "output/progress.h"
#include "system/clock.h"
#include "system/interrupt.h"
#include "system/process.h"

#include <errno.h>
#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { CONNECTIONS = 64, GENERATORS_MAX = 64 };

struct result {
    double rate;
    double p50;
    double p99;
    char trouble[LOAD_TROUBLE]; /* "" when all went well */
};

/* A load generator in a process of its own. It drives its share of the connections and answers
 * through the pipe. */
static void generate(int port, int connections, uint64_t length, int answer)
{
    static struct histogram latency;
    struct load load;
    struct result result = {0};
    machine_pin(MACHINE_ALL);
    if (load_init(&load, port, connections, 64) == 0 &&
        load_open(&load, connections) == LOAD_DONE &&
        load_run(&load, length / 10, NULL) == LOAD_DONE &&
        load_run(&load, length, &latency) == LOAD_DONE) {
        result.rate = (double)load.echoes * 1e9 / (double)load.elapsed;
        result.p50 = (double)histogram_percentile(&latency, 50) / 1e3;
        result.p99 = (double)histogram_percentile(&latency, 99) / 1e3;
    } else {
        snprintf(result.trouble, sizeof result.trouble, "%s",
                 load.trouble[0] != '\0' ? load.trouble : strerror(errno));
    }
    _exit(write(answer, &result, sizeof result) != (ssize_t)sizeof result);
}

/* The sum of the rates, and the worst of the percentiles; or the first trouble. */
static struct result collect(int answers, int generators)
{
    struct result sum = {0};
    for (int i = 0; i < generators && sum.trouble[0] == '\0'; i++) {
        struct result one = {.trouble = "a load generator has ended without an answer"};
        ssize_t n = read(answers, &one, sizeof one);
        if (n != (ssize_t)sizeof one || one.trouble[0] != '\0') {
            snprintf(sum.trouble, sizeof sum.trouble, "%s", one.trouble);
            break;
        }
        sum.rate += one.rate;
        sum.p50 = fmax(sum.p50, one.p50);
        sum.p99 = fmax(sum.p99, one.p99);
    }
    return sum;
}

static struct result drive(int port, int generators, uint64_t length)
{
    struct result sum = {.trouble = "no process for a load generator"};
    pid_t pids[GENERATORS_MAX];
    int answers[2];
    int started = 0;
    if (pipe(answers) != 0)
        return sum;
    for (; started < generators; started++) {
        pids[started] = fork();
        if (pids[started] == 0)
            generate(port, CONNECTIONS / generators, length, answers[1]);
        if (pids[started] < 0)
            break;
    }
    close(answers[1]);
    if (started == generators)
        sum = collect(answers[0], generators);
    close(answers[0]);
    while (started-- > 0) { /* only these: table_trouble() asks how the server ended */
        while (waitpid(pids[started], NULL, 0) < 0 && errno == EINTR)
            continue;
    }
    return sum;
}

static uint64_t length_of(const struct probe *probe)
{
    return probe->quick ? MILLISECONDS(500) : SECONDS(2);
}

static void add_row(struct table *table, struct probe *probe, struct server *server, int threads,
                    int cores)
{
    int generators = cores < GENERATORS_MAX ? cores : GENERATORS_MAX;
    uint64_t length = length_of(probe);
    uint64_t cpu = process_cpu(server->pid);
    uint64_t start = clock_now();
    struct result result = drive(server->port, generators, length);
    double seconds = (double)(clock_now() - start) / 1e9;
    if (result.trouble[0] != '\0') {
        table_trouble(table, server, result.trouble);
        return;
    }
    server_settle(server);
    if (interrupted)
        return;
    table_text(table, "07-reactor-threads");
    table_text(table, "%d", threads);
    table_text(table, "%d", generators);
    table_number(table, result.rate, 0);
    table_number(table, result.p50, 1);
    table_number(table, result.p99, 1);
    table_number(table, (double)(process_cpu(server->pid) - cpu) / 1e9 / seconds, 2);
}

static void one_case(struct table *table, struct probe *probe, int threads, int cores)
{
    char trouble[SERVER_TEXT] = "";
    struct server server = {0};
    snprintf(server.name, sizeof server.name, "07-reactor-threads --threads %d", threads);
    snprintf(server.command, sizeof server.command,
             "%.400s/07-reactor/07-reactor-threads --threads %d", probe->build, threads);
    if (server_start(&server, MACHINE_ALL, trouble, sizeof trouble) == 0)
        add_row(table, probe, &server, threads, cores);
    else
        table_trouble(table, &server, trouble);
    servers_stop(&server, 1);
}

int scale_next(int threads, int cores)
{
    int next = threads * 2 < cores ? threads * 2 : cores;
    return next > threads ? next : 0;
}

static int rounds_of(const struct probe *probe)
{
    return probe->quick ? 1 : 3;
}

double probe_scale_seconds(const struct probe *probe)
{
    int cores = (int)sysconf(_SC_NPROCESSORS_ONLN);
    int cases = 0;
    for (int threads = 1; threads > 0; threads = scale_next(threads, cores))
        cases++;
    return cases * rounds_of(probe) * 1.1 * (double)length_of(probe) / 1e9;
}

int probe_scale(struct probe *probe)
{
    static struct table table;
    int cores = (int)sysconf(_SC_NPROCESSORS_ONLN);
    int rounds = rounds_of(probe);
    table_begin(&table, "scale", "07-reactor with several threads, 64 connections",
                "server,threads,generators,echoes_a_second,p50_us,p99_us,cores_used_by_the_server");
    table_note(&table,
               "Servers and generators share the %d cores, so %d threads cannot give %d "
               "times the rate here; absolute figures, in turns.",
               cores, cores, cores);
    for (int round = 0; round < rounds; round++) {
        for (int threads = 1; threads > 0 && !interrupted; threads = scale_next(threads, cores)) {
            progress_say("scale: --threads %d, round %d of %d", threads, round + 1, rounds);
            one_case(&table, probe, threads, cores);
        }
    }
    return table_finish(&table, &probe->destination);
}
