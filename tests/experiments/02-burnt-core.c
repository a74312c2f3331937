/* A core burnt for nobody.
 *
 * Two servers run without a client. The busy one asks all the same, and another program on that
 * core gets half of it. The second one sleeps until it is woken.
 *
 * Needs: linux alone
 * Servers: 02-busy-poll-nonblocking 05-epoll
 *
 * Expect:
 *   02-busy-poll-nonblocking: <n> % of a core, a neighbour on the same core gets <n> %
 *   05-epoll: <n> % of a core, a neighbour on the same core gets <n> %
 */
#include "experiment.h"
#include "server.h"

#include <sched.h>

enum { ALONE_MS = 600 };

/* The share of a core that we get when we want all of it, 0 to 1: the best of some short times,
 * since other programs may want it, too. */
static double share(int times)
{
    volatile unsigned work = 0;
    double best = 0;
    for (int i = 0; i < times; i++) {
        double begin = now(), cpu = cpu_used(RUSAGE_SELF);
        while (now() - begin < 0.15)
            for (int j = 0; j < 10000; j++)
                work = work + 1;
        double got = (cpu_used(RUSAGE_SELF) - cpu) / (now() - begin);
        best = got > best ? got : best;
    }
    return best;
}

static void stay_on(size_t core)
{
    cpu_set_t one;
    CPU_ZERO(&one);
    CPU_SET(core, &one);
    sched_setaffinity(0, sizeof one, &one); /* the server inherits it */
}

/* All of this happens on one core: the one where other programs leave the largest share. */
static void choose_core(void)
{
    size_t best = 0, tried = 0;
    double best_share = -1;
    cpu_set_t all;
    sched_getaffinity(0, sizeof all, &all);
    for (size_t core = 0; core < CPU_SETSIZE && tried < 4; core++) {
        if (!CPU_ISSET(core, &all))
            continue;
        stay_on(core);
        double got = share(1);
        best = got > best_share ? core : best;
        best_share = got > best_share ? got : best_share;
        tried++;
    }
    stay_on(best);
}

/* For how long a process has run or waited for a core, in seconds: proc_pid_schedstat(5). */
static double wanted(pid_t pid)
{
    char path[64];
    long long ran = 0, waited = 0;
    snprintf(path, sizeof path, "/proc/%d/schedstat", (int)pid);
    FILE *file = fopen(path, "r");
    if (!file || fscanf(file, "%lld %lld", &ran, &waited) != 2)
        skip("this kernel does not tell how long a process waits for a core");
    fclose(file);
    return (double)(ran + waited) / 1e9;
}

/* Returns what part of the time the server wants a core without a neighbour; it gets less while
 * other programs run. taken: what it uses beside a neighbour, for each second that the neighbour
 * gets; other programs on that core take as much from either. */
static double measure(const char *path, double *taken)
{
    struct server alone = start_server(path);
    double begin = now(), before = wanted(alone.pid);
    pause_ms(ALONE_MS);
    double wants = (wanted(alone.pid) - before) / (now() - begin);
    double idle = stop_server(&alone) / (now() - begin);

    struct server server = start_server(path);
    double cpu = cpu_used(RUSAGE_SELF), neighbour = share(8);
    cpu = cpu_used(RUSAGE_SELF) - cpu;
    *taken = stop_server(&server) / cpu;
    printf("%s: %.0f %% of a core, a neighbour on the same core gets %.0f %%\n", name_of(path),
           idle * 100, neighbour * 100);
    return wants;
}

int main(int argc, char **argv)
{
    double by_busy, by_epoll;
    if (argc < 3)
        errx(2, "needs the paths of two servers");
    choose_core();
    double busy = measure(argv[1], &by_busy);
    double epoll = measure(argv[2], &by_epoll);
    expect(busy > 0.9 && epoll < 0.05, "one burns, the other sleeps");
    expect(by_busy > 0.5 && by_epoll < 0.1, "and the neighbour pays for it");
    return experiment_failed;
}
