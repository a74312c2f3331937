/* The event loops alone: runs the programs of loop/ in turn, some rounds, and sets the medians
 * beside the published figures. Seconds belong to a machine; how they grow does not. */

#include "probes/probe.h"

#include "output/probe_table.h"
#include "output/progress.h"
#include "record/summary.h"
#include "system/interrupt.h"

#include <math.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum { ROUNDS_MAX = 9, LOOPS = 4, CASES = 5, SIZES = 4 };
enum { EPOLL, KQUEUE, POLL, SELECT, BACKENDS };

/* All loops are divided by this one: the system calls themselves, of the kernel's own queue. The
 * reactor's kqueue on Linux is this repository's layer over epoll, and is called so. */
#ifdef __linux__
enum { BASE = EPOLL };
#define BASE_NAME    "epoll"
#define KQUEUE_SHOWN "kqueue (on epoll)"
#else
enum { BASE = KQUEUE };
#define BASE_NAME    "kqueue"
#define KQUEUE_SHOWN "kqueue"
#endif

static const char *const loops[LOOPS] = {"raw", "reactor", "libev", "libevent"};
static const char *const backends[BACKENDS] = {"epoll", "kqueue", "poll", "select"};
static const char *const shown[BACKENDS] = {"epoll", KQUEUE_SHOWN, "poll", "select"};
static const int sizes[SIZES] = {10, 100, 1000, 10000};

/* M. Kerrisk, The Linux Programming Interface (2010), table 63-9: seconds of CPU for 100,000
 * monitoring operations. */
static const double published[BACKENDS][SIZES] = {
    [EPOLL] = {0.41, 0.42, 0.53, 0.66},
    [KQUEUE] = {NAN, NAN, NAN, NAN},
    [POLL] = {0.61, 2.9, 35, 990},
    [SELECT] = {0.73, 3.0, 35, 930},
};

/* pairs, of which active, further writes */
static const int chains[CASES][3] = {
    {100, 100, 1000}, {1000, 1, 100}, {1000, 100, 1000}, {10000, 1, 20}, {10000, 100, 1000}};

/* One run of a program, until two numbers at most are read. False: not built, or no such backend,
 * or too many descriptors for it. */
static bool run_loop(const struct probe *probe, int loop, const char *arguments, double answers[2])
{
    char command[1024];
    char line[128] = "";
    snprintf(command, sizeof command, "exec '%s/bench/probes/loop/loop-%s' %s 2>/dev/null",
             probe->build, loops[loop], arguments);
    answers[0] = answers[1] = NAN;
    FILE *pipe = popen(command, "r");
    if (!pipe)
        return false;
    if (fgets(line, sizeof line, pipe))
        sscanf(line, "%lf %lf", &answers[0], &answers[1]);
    return pclose(pipe) == 0 && isfinite(answers[0]);
}

static int fitting(const struct probe *probe, int size)
{
    int max = (int)(probe->machine->descriptors - 200) / 2;
    return size < max ? size : max;
}

/* These take long and say nothing new: poll() in a library is poll(). */
static bool left_out(int loop, int backend, int size)
{
    return loop >= 2 && backend >= POLL && size > 1000;
}

static long operations_for(int backend, int size, bool quick)
{
    long operations = 100000;
    if (backend >= POLL)
        operations = size < 50 ? 50000 : size < 500 ? 20000 : size < 5000 ? 3000 : 300;
    return quick ? operations / 5 : operations;
}

/* What one program printed in all rounds. */
struct results {
    int count;
    double first[ROUNDS_MAX];
    double second[ROUNDS_MAX];
};

/* All loops on all backends. The order moves on by one in every round, because the first program to
 * use fresh memory pays for it. */
static void run_all(const struct probe *probe, int size, const char *format, const int *shape,
                    struct results results[LOOPS][BACKENDS])
{
    int rounds = probe->quick ? 1 : 3;
    int fits = fitting(probe, size);
    memset(results, 0, sizeof(struct results) * LOOPS * BACKENDS);
    for (int i = -1; i < rounds * LOOPS * BACKENDS && !interrupted; i++) {
        int place = i + i / (LOOPS * BACKENDS);
        int loop = i < 0 ? 0 : place % LOOPS; /* the very first does not count */
        int backend = i < 0 ? BASE : place / LOOPS % BACKENDS;
        char arguments[96];
        double answers[2];
        if (left_out(loop, backend, size))
            continue;
        if (!shape)
            snprintf(arguments, sizeof arguments, format, backends[backend], fits,
                     (int)operations_for(backend, fits, probe->quick));
        else
            snprintf(arguments, sizeof arguments, format, backends[backend], fits, shape[1],
                     shape[2]);
        struct results *mine = &results[loop][backend];
        if (run_loop(probe, loop, arguments, answers) && i >= 0) {
            mine->first[mine->count] = answers[0];
            mine->second[mine->count++] = answers[1];
        }
    }
}

static double median(double *values, int count)
{
    return estimate_of(values, count).median;
}

static void monitor_row(struct table *table, const struct probe *probe, int loop, int backend,
                        int at, double figures[LOOPS][BACKENDS][SIZES])
{
    double mine = figures[loop][backend][at];
    double beside = published[backend][at];
    if (!isfinite(mine))
        return;
    table_text(table, "%d", fitting(probe, sizes[at]));
    table_text(table, "%s", loops[loop]);
    table_text(table, "%s", shown[backend]);
    table_number(table, mine, 3);
    table_number(table, mine / figures[0][BASE][at], 2);
    table_number(table, mine / figures[loop][backend][0], 2);
    table_number(table, loop == 0 ? beside : NAN, 2);
    table_number(table, loop == 0 ? beside / published[EPOLL][at] : NAN, 2);
    table_number(table, loop == 0 ? beside / published[backend][0] : NAN, 2);
}

static void monitor_size(struct table *table, const struct probe *probe, int at,
                         double figures[LOOPS][BACKENDS][SIZES])
{
    static struct results results[LOOPS][BACKENDS];
    progress_say("loop: %d descriptors watched", sizes[at]);
    run_all(probe, sizes[at], "mon %s %d %d", NULL, results);
    for (int backend = 0; backend < BACKENDS; backend++) {
        double operations =
            (double)operations_for(backend, fitting(probe, sizes[at]), probe->quick);
        for (int loop = 0; loop < LOOPS; loop++) {
            struct results *mine = &results[loop][backend];
            figures[loop][backend][at] = median(mine->first, mine->count) * 100000 / operations;
            monitor_row(table, probe, loop, backend, at, figures);
        }
    }
}

static int monitor_table(struct probe *probe)
{
    static struct table table;
    static double figures[LOOPS][BACKENDS][SIZES];
    table_begin(&table, "loop",
                "100,000 monitoring operations: a byte into one of N pipes, one wait, one read",
                "descriptors,loop,backend,seconds,against_raw_" BASE_NAME
                ",growth_since_10,book's_seconds,against_epoll,growth_since_10_");
    table_note(&table, "The book: M. Kerrisk, The Linux Programming Interface (2010), table 63-9. "
                       "Compare the ratios and the growth, not the seconds. Ours include the write "
                       "and the read of the byte.");
    for (int at = 0; at < SIZES && !interrupted; at++)
        monitor_size(&table, probe, at, figures);
    return table_finish(&table, &probe->destination);
}

static void chain_row(struct table *table, const struct probe *probe, int loop, int backend,
                      const int *shape, struct results results[LOOPS][BACKENDS])
{
    struct results *mine = &results[loop][backend];
    struct results *raw = &results[0][BASE];
    double event = median(mine->first, mine->count);
    double restart = median(mine->second, mine->count);
    if (mine->count == 0)
        return;
    table_text(table, "%d", fitting(probe, shape[0]));
    table_text(table, "%d", shape[1]);
    table_text(table, "%s", loops[loop]);
    table_text(table, "%s", shown[backend]);
    table_number(table, event, 3);
    table_number(table, event / median(raw->first, raw->count), 2);
    table_number(table, restart, 3);
    table_number(table, restart / median(raw->second, raw->count), 3);
}

static int chain_table(struct probe *probe)
{
    static struct table table;
    static struct results results[LOOPS][BACKENDS];
    table_begin(&table, "chain", "The chain of pipes: N socket pairs watched, A of them active",
                "pairs,active,loop,backend,us_an_event,against_raw_" BASE_NAME
                ",us_a_restart,against_raw_" BASE_NAME "_");
    table_note(&table, "libevent's benchmark, also used by libev (libev.schmorp.de/bench.html). A "
                       "restart stops and starts a watch: libev and the reactor tell the kernel "
                       "only of what is different at the next wait, so it costs no call.");
    for (int i = 0; i < CASES && !interrupted; i++) {
        progress_say("loop: chain of %d pairs, %d active", chains[i][0], chains[i][1]);
        run_all(probe, chains[i][0], "chain %s %d %d %d", chains[i], results);
        for (int backend = 0; backend < BACKENDS; backend++) {
            for (int loop = 0; loop < LOOPS; loop++)
                chain_row(&table, probe, loop, backend, chains[i], results);
        }
    }
    return table_finish(&table, &probe->destination);
}

/* With all libraries; without some of them it takes less. */
double probe_loop_seconds(const struct probe *probe)
{
    return probe->quick ? 16 : 80;
}

int probe_loop(struct probe *probe)
{
    if (monitor_table(probe) != 0)
        return -1;
    return interrupted ? 0 : chain_table(probe);
}
