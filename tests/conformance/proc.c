/* What the system tells of the server: proc(5), where there is one. */
#include <dirent.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "harness.h"

static void proc_path(char *path, size_t size, const char *what)
{
#ifdef __linux__
    snprintf(path, size, "/proc/%d/%s", (int)server.pid, what);
#else
    (void)path, (void)size;
    cr_skip_test("no /proc/PID/%s on this system", what);
#endif
}

/* The number after a name in one of its files; -1 if there is none. */
static long proc_number(const char *file, const char *name)
{
    char path[64], line[256];
    long number = -1;
    proc_path(path, sizeof path, file);
    FILE *f = fopen(path, "r");
    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, name, strlen(name)) == 0)
            number = strtol(line + strlen(name), NULL, 10);
    if (f)
        fclose(f);
    return number;
}

long server_rss_kib(void)
{
    long exact = proc_number("smaps_rollup", "Rss:"); /* VmRSS is rounded, per CPU */
    return exact >= 0 ? exact : proc_number("status", "VmRSS:");
}

int server_threads(void)
{
    return (int)proc_number("status", "Threads:");
}

int server_descriptors(void)
{
    char path[64];
    int count = 0;
    proc_path(path, sizeof path, "fd");
    DIR *directory = opendir(path);
    if (!directory)
        return -1;
    for (struct dirent *entry; (entry = readdir(directory));)
        count += entry->d_name[0] != '.';
    closedir(directory);
    return count;
}

double server_cpu_ms(void)
{
#ifdef __APPLE__
    cr_skip_test("no clock of another process's CPU time on this system");
    return 0;
#else
    clockid_t clock;
    struct timespec used;
    if (clock_getcpuclockid(server.pid, &clock) != 0 || clock_gettime(clock, &used) != 0)
        return 0;
    return (double)used.tv_sec * 1e3 + (double)used.tv_nsec / 1e6;
#endif
}

/* Whether one of its threads runs or waits for a CPU: 'R' in proc_pid_stat(5). */
static bool server_runnable(void)
{
    bool runnable = false;
#ifdef __linux__
    char path[320], line[512];
    proc_path(path, sizeof path, "task");
    DIR *directory = opendir(path);
    for (struct dirent *entry; directory && (entry = readdir(directory));) {
        snprintf(path, sizeof path, "/proc/%d/task/%s/stat", (int)server.pid, entry->d_name);
        FILE *f = entry->d_name[0] == '.' ? NULL : fopen(path, "r");
        const char *name = f && fgets(line, sizeof line, f) ? strrchr(line, ')') : NULL;
        runnable = runnable || (name && name[1] == ' ' && name[2] == 'R');
        if (f)
            fclose(f);
    }
    if (directory)
        closedir(directory);
#endif
    return runnable;
}

bool server_settles(void)
{
    bool settled = false;
    for (int64_t end = now_ms() + patient(STUCK_MS); !settled && now_ms() < end;) {
        double before = server_cpu_ms();
        int64_t start = now_ms();
        int asleep = 0;
        for (int i = 0; i < 5; i++) {
            nap(50);
            asleep += !server_runnable();
        }
        settled = asleep >= 4 && server_cpu_ms() - before < 0.02 * (double)(now_ms() - start);
    }
    return settled;
}
