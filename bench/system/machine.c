#ifdef __linux__
#define _GNU_SOURCE
#include <sched.h>
#include <sys/prctl.h>
#endif

#include "system/machine.h"

#include <math.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

static long raise_descriptor_limit(void)
{
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) != 0)
        return 256;
    rlim_t before = limit.rlim_cur;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) != 0) {
        /* macOS says its hard limit is infinite, and refuses it */
        limit.rlim_cur = 10240;
        if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
            limit.rlim_cur = before;
    }
    return limit.rlim_cur > 1000000 ? 1000000 : (long)limit.rlim_cur;
}

#ifdef __linux__

/* Two hardware threads of one core would slow each other down. */
static int shares_core(int a, int b)
{
    char path[96];
    char siblings[256] = "";
    snprintf(path, sizeof path, "/sys/devices/system/cpu/cpu%d/topology/thread_siblings_list", a);
    FILE *file = fopen(path, "r");
    if (!file)
        return 0;
    char *line = fgets(siblings, sizeof siblings, file);
    fclose(file);
    int first = -1;
    int last = -1;
    if (!line)
        return 0;
    if (sscanf(line, "%d-%d", &first, &last) == 2)
        return first <= b && b <= last;
    return sscanf(line, "%d,%d", &first, &last) == 2 && (first == b || last == b);
}

static void choose_cores(struct machine *machine)
{
    cpu_set_t allowed;
    machine->server_core = machine->generator_core = -1;
    if (sched_getaffinity(0, sizeof allowed, &allowed) != 0)
        return;
    int second = -1; /* better than nothing: another thread of the same core */
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (!CPU_ISSET((size_t)cpu, &allowed))
            continue;
        if (machine->server_core < 0) {
            machine->server_core = cpu;
        } else if (!shares_core(machine->server_core, cpu)) {
            machine->generator_core = cpu;
            return;
        } else if (second < 0) {
            second = cpu;
        }
    }
    machine->generator_core = second >= 0 ? second : machine->server_core;
}

void machine_pin(int core)
{
    if (core == -1)
        return;
    cpu_set_t set;
    CPU_ZERO(&set);
    for (int cpu = 0; cpu < CPU_SETSIZE; cpu++) {
        if (cpu == core || core == MACHINE_ALL)
            CPU_SET((size_t)cpu, &set);
    }
    sched_setaffinity(0, sizeof set, &set);
}

uint64_t machine_busy(const struct machine *machine)
{
    FILE *file = fopen("/proc/stat", "r");
    if (!file)
        return 0;
    char line[512];
    unsigned long long busy = 0;
    while (fgets(line, sizeof line, file)) {
        int cpu;
        unsigned long long user, nice, system, idle, wait, irq, softirq;
        if (sscanf(line, "cpu%d %llu %llu %llu %llu %llu %llu %llu", &cpu, &user, &nice, &system,
                   &idle, &wait, &irq, &softirq) == 8 &&
            (cpu == machine->server_core || cpu == machine->generator_core))
            busy += user + nice + system + irq + softirq;
    }
    fclose(file);
    return busy * (1000000000ULL / (unsigned long long)sysconf(_SC_CLK_TCK));
}

double machine_memory(const char *name)
{
    FILE *file = fopen("/proc/meminfo", "r");
    if (!file)
        return NAN;
    char line[256];
    unsigned long long kib = 0;
    size_t length = strlen(name);
    bool found = false;
    while (!found && fgets(line, sizeof line, file))
        found = strncmp(line, name, length) == 0 && line[length] == ':' &&
                sscanf(line + length + 1, "%llu", &kib) == 1;
    fclose(file);
    return found ? (double)kib * 1024 : NAN;
}

double machine_tcp_queues(void)
{
    FILE *file = fopen("/proc/net/sockstat", "r");
    if (!file)
        return NAN;
    char line[256];
    unsigned long long pages = 0;
    bool found = false;
    while (!found && fgets(line, sizeof line, file)) {
        const char *memory = strncmp(line, "TCP:", 4) == 0 ? strstr(line, " mem ") : NULL;
        found = memory && sscanf(memory, " mem %llu", &pages) == 1;
    }
    fclose(file);
    return found ? (double)pages * (double)sysconf(_SC_PAGESIZE) : NAN;
}

uint64_t machine_memory_available(void)
{
    double bytes = machine_memory("MemAvailable");
    return isfinite(bytes) ? (uint64_t)bytes : 0;
}

#else

/* No portable way to pin, to watch single cores, or to ask for free memory: the report says so. */
static void choose_cores(struct machine *machine)
{
    machine->server_core = machine->generator_core = -1;
}

void machine_pin(int core)
{
    (void)core;
}

uint64_t machine_busy(const struct machine *machine)
{
    (void)machine;
    return 0;
}

double machine_memory(const char *name)
{
    (void)name;
    return NAN;
}

double machine_tcp_queues(void)
{
    return NAN;
}

uint64_t machine_memory_available(void)
{
    return 0;
}

#endif

void machine_prepare(struct machine *machine)
{
    machine->descriptors = raise_descriptor_limit();
    choose_cores(machine);
    machine_pin(machine->generator_core);
#ifdef __linux__
    /* the default slack of 50 us would make the short sleeps between slices longer */
    prctl(PR_SET_TIMERSLACK, 1000UL, 0, 0, 0);
#endif
}
