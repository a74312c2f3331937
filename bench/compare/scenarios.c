#include "compare/scenarios.h"

const struct scenario scenarios[] = {
    {
        .name = "active",
        .title = "1, 64 and 1000 connections, all of them talking",
        .by_default = true,
        .connections = {3, {1, 64, 1000}},
        .idle = {1, {0}},
        .size = {1, {64}},
    },
    {
        .name = "idle",
        .title = "64 talking connections beside 0, 1000 and 10000 silent ones",
        .by_default = true,
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
        .probe = probe_omission,
        .seconds = probe_omission_seconds,
        .connections = {1, {64}},
        .idle = {1, {0}},
        .size = {1, {64}},
        .rate = {4, {20, 50, 80, 95}},
    },
    {.name = "memory",
     .title = "bytes for an idle connection, in the process and in the kernel; and a slow crowd",
     .probe = probe_memory,
     .seconds = probe_memory_seconds},
    {.name = "calls",
     .title = "system calls for one echo, by name (needs strace)",
     .probe = probe_calls,
     .seconds = probe_calls_seconds},
    {.name = "backlog",
     .title = "100 threads connecting at once, with --backlog 10 and 4096",
     .probe = probe_backlog,
     .seconds = probe_backlog_seconds},
    {.name = "loop",
     .title = "the event loops alone, on pipes: the two published comparisons",
     .probe = probe_loop,
     .seconds = probe_loop_seconds},
    {.name = "scale",
     .title = "07-reactor-threads --threads 1 to the number of cores",
     .probe = probe_scale,
     .seconds = probe_scale_seconds},
};

const int scenario_count = sizeof scenarios / sizeof *scenarios;

bool scenario_wanted(const struct list *named, int scenario)
{
    for (int i = 0; i < named->count; i++) {
        if (named->values[i] == scenario)
            return true;
    }
    return named->count == 0 && scenarios[scenario].by_default;
}

double scenarios_seconds(const struct list *named, const struct probe *probe, int from)
{
    double sum = 0;
    for (int i = from; i < scenario_count; i++) {
        if (scenarios[i].seconds && scenario_wanted(named, i))
            sum += scenarios[i].seconds(probe);
    }
    return sum;
}
