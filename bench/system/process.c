#ifdef __linux__
#define _GNU_SOURCE
#endif

#include "system/process.h"

#include "system/clock.h"

#include <dirent.h>
#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum {
    MAX_STATES = 16,     /* threads whose state is looked at */
    MAX_SWITCHES = 1100, /* threads whose switches are counted: 15 us each */
};

#ifdef __APPLE__

#include <libproc.h>
#include <mach/mach_time.h>

static bool usage(pid_t pid, struct rusage_info_v2 *info)
{
    return proc_pid_rusage(pid, RUSAGE_INFO_V2, (rusage_info_t *)info) == 0;
}

uint64_t process_cpu(pid_t pid)
{
    struct rusage_info_v2 info;
    mach_timebase_info_data_t base;
    if (!usage(pid, &info) || mach_timebase_info(&base) != 0)
        return 0;
    return (info.ri_user_time + info.ri_system_time) * base.numer / base.denom;
}

uint64_t process_resident(pid_t pid)
{
    struct rusage_info_v2 info;
    return usage(pid, &info) ? info.ri_resident_size : 0;
}

#else

uint64_t process_cpu(pid_t pid)
{
    clockid_t clock;
    return clock_getcpuclockid(pid, &clock) == 0 ? clock_read(clock) : 0;
}

#endif

#ifdef __linux__

/* The number after `key` in a file of "key: number" lines; false when there is none. */
static bool read_field(const char *path, const char *key, unsigned long long *value)
{
    FILE *file = fopen(path, "r");
    if (!file)
        return false;
    char line[256];
    bool found = false;
    size_t length = strlen(key);
    while (!found && fgets(line, sizeof line, file)) {
        found = strncmp(line, key, length) == 0 && line[length] == ':' &&
                sscanf(line + length + 1, "%llu", value) == 1;
    }
    fclose(file);
    return found;
}

/* VmRSS is kept in per-CPU counters and may be off by a few hundred KiB, more than ten thousand
 * idle epoll connections take. smaps_rollup counts pages. */
uint64_t process_resident(pid_t pid)
{
    char path[64];
    unsigned long long kib = 0;
    snprintf(path, sizeof path, "/proc/%d/smaps_rollup", (int)pid);
    if (read_field(path, "Rss", &kib))
        return kib * 1024;
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    return read_field(path, "VmRSS", &kib) ? kib * 1024 : 0;
}

double process_page_tables(pid_t pid)
{
    char path[64];
    unsigned long long kib = 0;
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    return read_field(path, "VmPTE", &kib) ? (double)kib * 1024 : NAN;
}

bool process_is_traced(pid_t pid)
{
    char path[64];
    unsigned long long tracer = 0;
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    return read_field(path, "TracerPid", &tracer) && tracer != 0;
}

static int64_t thread_switches(pid_t pid, const char *thread)
{
    char path[96];
    unsigned long long voluntary = 0;
    unsigned long long other = 0;
    snprintf(path, sizeof path, "/proc/%d/task/%.20s/status", (int)pid, thread);
    if (!read_field(path, "voluntary_ctxt_switches", &voluntary) ||
        !read_field(path, "nonvoluntary_ctxt_switches", &other))
        return -1;
    return (int64_t)(voluntary + other);
}

int64_t process_switches(pid_t pid)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    DIR *directory = opendir(path);
    if (!directory)
        return -1;
    int64_t sum = 0;
    int threads = 0;
    for (struct dirent *entry; sum >= 0 && (entry = readdir(directory)) != NULL;) {
        if (entry->d_name[0] == '.')
            continue;
        int64_t one = ++threads > MAX_SWITCHES ? -1 : thread_switches(pid, entry->d_name);
        sum = one < 0 ? -1 : sum + one;
    }
    closedir(directory);
    return sum;
}

static enum process_state thread_state(pid_t pid, const char *thread)
{
    char path[96];
    char line[512] = "";
    snprintf(path, sizeof path, "/proc/%d/task/%.20s/stat", (int)pid, thread);
    FILE *file = fopen(path, "r");
    if (!file)
        return PROCESS_UNKNOWN;
    char *read = fgets(line, sizeof line, file);
    fclose(file);
    char *name_end = read ? strrchr(line, ')') : NULL; /* a name may hold anything */
    if (!name_end || strlen(name_end) < 3)
        return PROCESS_UNKNOWN;
    switch (name_end[2]) {
    case 'T':
    case 't':
        return PROCESS_STOPPED;
    case 'S':
    case 'I':
    case 'Z': /* has ended: its counters stand still, too */
        return PROCESS_BLOCKED;
    default:
        return PROCESS_RUNNING;
    }
}

enum process_state process_state(pid_t pid)
{
    char path[64];
    snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    DIR *directory = opendir(path);
    if (!directory)
        return PROCESS_UNKNOWN;
    enum process_state state = PROCESS_UNKNOWN;
    int threads = 0;
    for (struct dirent *entry; threads < MAX_STATES && (entry = readdir(directory)) != NULL;) {
        if (entry->d_name[0] == '.')
            continue;
        threads++;
        enum process_state one = thread_state(pid, entry->d_name);
        if (state != PROCESS_RUNNING && one != PROCESS_UNKNOWN)
            state = one;
    }
    closedir(directory);
    return state;
}

#else

int64_t process_switches(pid_t pid)
{
    (void)pid;
    return -1;
}

double process_page_tables(pid_t pid)
{
    (void)pid;
    return NAN;
}

bool process_is_traced(pid_t pid)
{
    (void)pid;
    return false;
}

enum process_state process_state(pid_t pid)
{
    (void)pid;
    return PROCESS_UNKNOWN;
}

#ifndef __APPLE__
uint64_t process_resident(pid_t pid)
{
    (void)pid;
    return 0;
}
#endif

#endif
