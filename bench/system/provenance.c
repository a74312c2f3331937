#include "system/provenance.h"

#include <stdarg.h>
#include <stdlib.h>
#include <string.h>
#include <sys/utsname.h>
#include <time.h>
#include <unistd.h>

#ifndef BENCH_FLAGS
#define BENCH_FLAGS "unknown"
#endif
#ifndef BENCH_SOURCE
#define BENCH_SOURCE "."
#endif

enum { COMMAND_TEXT = 4096 + 256 }; /* a path of the source is in one */

void provenance_add(struct provenance *provenance, const char *key, const char *format, ...)
{
    if (provenance->count == FACT_MAX)
        return;
    struct fact *fact = &provenance->facts[provenance->count++];
    va_list arguments;
    va_start(arguments, format);
    fact->key = key;
    vsnprintf(fact->value, sizeof fact->value, format, arguments);
    va_end(arguments);
}

/* The first line that a command prints, or `otherwise`. What a machine lacks is no message. */
static const char *ask(const char *command, char *line, size_t size, const char *otherwise)
{
    char quiet[COMMAND_TEXT];
    snprintf(quiet, sizeof quiet, "exec 2>/dev/null\n%s", command);
    FILE *pipe = popen(quiet, "r");
    line[0] = '\0';
    if (pipe) {
        if (!fgets(line, (int)size, pipe))
            line[0] = '\0';
        pclose(pipe);
    }
    line[strcspn(line, "\n")] = '\0';
    return line[0] != '\0' ? line : otherwise;
}

static void add_answer(struct provenance *provenance, const char *key, const char *command)
{
    char line[FACT_TEXT];
    provenance_add(provenance, key, "%s", ask(command, line, sizeof line, "unknown"));
}

#ifdef __linux__

#define KERNEL_OPTION(name)                                                                        \
    "{ zcat /proc/config.gz || cat \"/boot/config-$(uname -r)\"; } | "                             \
    "sed -n 's/^# \\(" name "\\) is not set/no/p; s/^" name "=//p'"

static void add_kernel(struct provenance *provenance)
{
    add_answer(provenance, "processor",
               "sed -n 's/^\\(model name\\|Model\\)[^:]*: *//p' /proc/cpuinfo | head -n 1");
    add_answer(provenance, "caches",
               "cd /sys/devices/system/cpu/cpu0/cache && for i in index*; do echo \"L$(cat "
               "$i/level) $(cat $i/size) $(cat $i/type)\"; done | paste -sd, - | sed 's/,/, /g'");
    add_answer(provenance, "HZ", KERNEL_OPTION("CONFIG_HZ"));
    add_answer(provenance, "IRQ_TIME_ACCOUNTING", KERNEL_OPTION("CONFIG_IRQ_TIME_ACCOUNTING"));
    add_answer(provenance, "congestion control",
               "sed 's/$/ on the servers'\\'' side, " GENERATOR_CONGESTION
               " on the generator'\\''s/' /proc/sys/net/ipv4/tcp_congestion_control");
}

#else

static void add_kernel(struct provenance *provenance)
{
    add_answer(provenance, "processor", "sysctl -n machdep.cpu.brand_string hw.model");
    add_answer(provenance, "congestion control", "sysctl -n net.inet.tcp.cc.algorithm");
}

#endif

static void add_cores(struct provenance *provenance, const struct machine *machine)
{
    if (machine->server_core < 0)
        provenance_add(provenance, "cores", "not pinned: this system has no call for it");
    else if (machine->server_core == machine->generator_core)
        provenance_add(provenance, "cores",
                       "ONE core (%d) for servers and generator: latencies and rates are of both",
                       machine->server_core);
    else
        provenance_add(provenance, "cores", "servers on %d, load generator on %d",
                       machine->server_core, machine->generator_core);
}

void provenance_collect(struct provenance *provenance, const struct machine *machine)
{
    struct utsname system;
    char date[64] = "unknown";
    time_t now = time(NULL);
    struct tm local;
    provenance->count = 0;
    if (localtime_r(&now, &local))
        strftime(date, sizeof date, "%Y-%m-%d %H:%M:%S %z", &local);
    provenance_add(provenance, "date", "%s", date);
    add_answer(provenance, "commit",
               "GIT_OPTIONAL_LOCKS=0 git -C '" BENCH_SOURCE
               "' describe --always --dirty --abbrev=12");
    if (uname(&system) == 0)
        provenance_add(provenance, "kernel", "%s %s %s", system.sysname, system.release,
                       system.machine);
    provenance_add(provenance, "processors", "%ld", sysconf(_SC_NPROCESSORS_ONLN));
    add_cores(provenance, machine);
    add_kernel(provenance);
    provenance_add(provenance, "descriptor limit", "%ld", machine->descriptors);
#ifdef __clang__
    provenance_add(provenance, "compiler", "clang %s", __clang_version__);
#else
    provenance_add(provenance, "compiler", "gcc %s", __VERSION__);
#endif
    provenance_add(provenance, "flags", "%s", BENCH_FLAGS);
}

void provenance_add_languages(struct provenance *provenance, const struct server *servers,
                              int count)
{
    static const struct {
        const char *server, *version;
    } languages[] = {
        {"go", "go version"},
        {"node", "node --version"},
        {"asyncio", "python3 --version"},
    };
    for (size_t i = 0; i < sizeof languages / sizeof *languages; i++) {
        for (int server = 0; server < count; server++) {
            if (strcmp(servers[server].name, languages[i].server) == 0)
                add_answer(provenance, languages[i].server, languages[i].version);
        }
    }
}

void provenance_write(const struct provenance *provenance, FILE *file, const char *prefix)
{
    for (int i = 0; i < provenance->count; i++)
        fprintf(file, "%s%s: %s\n", prefix, provenance->facts[i].key, provenance->facts[i].value);
}
