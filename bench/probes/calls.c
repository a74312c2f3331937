/* System calls for one echo, by name. strace makes a server several times slower, so nothing is
 * timed here. */

#include "probes/probe.h"

#include "load/load.h"
#include "output/probe_table.h"
#include "output/progress.h"
#include "system/clock.h"
#include "system/interrupt.h"
#include "system/process.h"

#include <errno.h>
#include <fcntl.h>
#include <math.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { AROUND_MS = 120 /* to start the server and attach strace: for the estimate of the time */ };
enum { RUN_MS = 500, SLOW_RATE = 500, ATTACH_MS = 3000, NAMES = 6, CALL_NAME = 32 };

struct call {
    char name[CALL_NAME];
    double count;
};

static void become_strace(pid_t server, const char *output)
{
    char pid[16];
    snprintf(pid, sizeof pid, "%d", (int)server);
    int nowhere = open("/dev/null", O_WRONLY);
    dup2(nowhere, STDERR_FILENO);
    setpgid(0, 0);
    execlp("strace", "strace", "-f", "-c", "-qq", "-o", output, "-p", pid, (char *)NULL);
    _exit(127);
}

/* Starts strace and attaches it to every thread. -1: it could not. */
static pid_t attach(pid_t server, const char *output)
{
    pid_t pid = fork();
    if (pid == 0)
        become_strace(server, output);
    uint64_t limit = clock_now() + MILLISECONDS(ATTACH_MS);
    while (pid > 0 && clock_now() < limit) {
        if (process_is_traced(server)) {
            clock_sleep(MILLISECONDS(100)); /* the other threads follow */
            return pid;
        }
        if (waitpid(pid, NULL, WNOHANG) == pid)
            return -1;
        clock_sleep(MILLISECONDS(5));
    }
    return -1;
}

static int by_count(const void *a, const void *b)
{
    double x = ((const struct call *)a)->count;
    double y = ((const struct call *)b)->count;
    return (x < y) - (x > y);
}

/* strace's table: per cent, seconds, microseconds, calls, perhaps errors, name. */
static int read_calls(const char *path, struct call *calls, int max)
{
    FILE *file = fopen(path, "r");
    char line[256];
    int count = 0;
    while (file && count < max && fgets(line, sizeof line, file)) {
        double share, seconds, each, number;
        int end = 0;
        if (sscanf(line, "%lf %lf %lf %lf %n", &share, &seconds, &each, &number, &end) != 4)
            continue;
        char *name = line + end;
        name += strspn(name, "0123456789 ");
        name[strcspn(name, " \n")] = '\0';
        if (strcmp(name, "total") == 0)
            continue;
        calls[count].count = number;
        snprintf(calls[count++].name, CALL_NAME, "%.*s", CALL_NAME - 1, name);
    }
    if (file)
        fclose(file);
    qsort(calls, (size_t)count, sizeof *calls, by_count);
    return count;
}

static void add_row(struct table *table, const struct server *server, int connections,
                    const struct load *load, const char *path)
{
    struct call calls[64];
    char names[TABLE_CELL] = "";
    double sum = 0;
    int count = read_calls(path, calls, 64);
    for (int i = 0; i < count; i++) {
        double each = calls[i].count / (double)load->echoes;
        size_t length = strlen(names);
        sum += each;
        if (i < NAMES && each >= 0.005)
            snprintf(names + length, sizeof names - length, "%s%.20s %.2f", length > 0 ? ", " : "",
                     calls[i].name, each);
    }
    table_text(table, "%s", server->name);
    table_text(table, "%d", connections);
    table_number(table, count > 0 ? sum : NAN, 2);
    table_text(table, "%s", names);
}

static void one_server(struct table *table, struct probe *probe, struct server *server,
                       int connections)
{
    char path[] = "/tmp/bench-calls-XXXXXX";
    struct load load;
    int file = mkstemp(path);
    progress_say("calls: %s, %d connections", server->name, connections);
    if (file < 0)
        return;
    close(file);
    if (!probe_start(probe, table, server)) {
        unlink(path);
        return;
    }
    if (load_init(&load, server->port, connections, 64) == 0 &&
        load_open(&load, connections) == LOAD_DONE) {
        pid_t strace = attach(server->pid, path);
        if (connections == 1) { /* the server blocks between two messages, strace or not */
            load.mode = LOAD_RATE;
            load.rate = SLOW_RATE;
        }
        enum load_end end = load_run(&load, MILLISECONDS(RUN_MS), NULL);
        if (strace > 0) {
            kill(strace, SIGINT);
            while (waitpid(strace, NULL, 0) < 0 && errno == EINTR)
                continue;
        }
        if (strace > 0 && end == LOAD_DONE)
            add_row(table, server, connections, &load, path);
        else if (end == LOAD_DONE)
            table_trouble(table, server, "strace may not trace it");
    }
    if (load.end != LOAD_DONE)
        table_trouble(table, server, load.trouble);
    load_close(&load);
    servers_stop(server, 1);
    unlink(path);
}

static const struct list *counts_of(const struct probe *probe)
{
    static const struct list usual = {2, {1, 64}};
    return probe->connections.count > 0 ? &probe->connections : &usual;
}

double probe_calls_seconds(const struct probe *probe)
{
    return probe_rows(probe) * counts_of(probe)->count * (RUN_MS + AROUND_MS) / 1e3;
}

int probe_calls(struct probe *probe)
{
    static struct table table;
    const struct list *counts = counts_of(probe);
    table_begin(&table, "calls", "System calls for one echo",
                "server,connections,calls,of_which_(at_least_0.005)");
    table_note(&table, "Counted by strace, which slows the servers down: with 64 connections one "
                       "wait then finds more of them ready than in the timed tables. One "
                       "connection sends 500 messages a second, so that the server sleeps between "
                       "them.");
    if (system("command -v strace >/dev/null 2>&1") != 0) {
        progress_say("calls: skipped, there is no strace\n");
        return 0;
    }
    for (int i = 0; i < counts->count; i++) {
        for (int s = 0; s < probe->server_count && !interrupted; s++) {
            if (!server_is_copy(&probe->servers[s]))
                one_server(&table, probe, &probe->servers[s], counts->values[i]);
        }
    }
    return table_finish(&table, &probe->destination);
}
