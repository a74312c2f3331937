/* The two published comparisons of event loops, on pipes and socket pairs, no network:
 *
 *   mon BACKEND N OPERATIONS         The Linux Programming Interface, section 63.4: N pipes are
 *                                    watched; a byte is written to a random one, and the loop is
 *                                    asked who is ready. Prints the CPU seconds of all operations.
 *   chain BACKEND N ACTIVE WRITES    libevent's: N socket pairs are watched; ACTIVE of them are
 *                                    sent a byte, and each that is ready passes one on to the
 *                                    next, until WRITES more have been made. Prints microseconds
 *                                    per event, then per restarted watch. */
#include "loop.h"

#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { CHAIN_ROUNDS = 25, PATIENCE_S = 120 };

static int (*pairs)[2]; /* read here, write there */
static int pair_count, writes_left, expected, seen;
static uint64_t state = 1;

static uint64_t next_random(void)
{
    state ^= state << 13;
    state ^= state >> 7;
    state ^= state << 17;
    return state;
}

static double clock_seconds(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static void put(int number)
{
    if (write(pairs[number][1], "e", 1) != 1)
        exit(1);
}

static void on_ready(int number)
{
    char byte;
    if (read(pairs[number][0], &byte, 1) != 1)
        return;
    if (writes_left > 0) {
        writes_left--;
        put((number + 1) % pair_count);
    }
    if (++seen == expected)
        loop_stop();
}

static bool make_pairs(const char *backend, int count, bool sockets)
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    pairs = calloc((size_t)count, sizeof *pairs);
    if (!pairs || !loop_create(backend, count, on_ready))
        return false;
    for (pair_count = 0; pair_count < count; pair_count++) {
        int *pair = pairs[pair_count];
        if ((sockets ? socketpair(AF_UNIX, SOCK_STREAM, 0, pair) : pipe(pair)) != 0)
            return false;
        loop_watch(pair_count, pair[0]);
    }
    return true;
}

static void run_expecting(int events)
{
    seen = 0;
    expected = events;
    loop_run();
}

static int monitor(const char *backend, int count, long operations)
{
    if (!make_pairs(backend, count, false))
        return 3;
    for (int i = 0; i < count; i++) { /* a pipe's first byte costs a page */
        char byte;
        put(i);
        if (read(pairs[i][0], &byte, 1) != 1)
            return 3;
    }
    put(0);
    run_expecting(1);
    double start = clock_seconds(CLOCK_PROCESS_CPUTIME_ID);
    for (long i = 0; i < operations; i++) {
        put((int)(next_random() % (uint64_t)count));
        run_expecting(1);
    }
    printf("%.9f\n", clock_seconds(CLOCK_PROCESS_CPUTIME_ID) - start);
    return 0;
}

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

static double median(double *values, int count)
{
    qsort(values, (size_t)count, sizeof *values, ascending);
    return values[count / 2];
}

static int chain(const char *backend, int count, int active, int writes)
{
    double turns[CHAIN_ROUNDS], restarts[CHAIN_ROUNDS];
    if (active > count || !make_pairs(backend, count, true))
        return 3;
    for (int round = -1; round < CHAIN_ROUNDS; round++) {
        double start = clock_seconds(CLOCK_MONOTONIC);
        for (int i = 0; i < count; i++)
            loop_restart(i, pairs[i][0]);
        double restarted = clock_seconds(CLOCK_MONOTONIC);
        for (int i = 0; i < active; i++)
            put((int)((int64_t)i * count / active));
        writes_left = writes;
        double written = clock_seconds(CLOCK_MONOTONIC);
        run_expecting(active + writes);
        double end = clock_seconds(CLOCK_MONOTONIC);
        if (round < 0)
            continue;
        turns[round] = (end - written) * 1e6 / (active + writes);
        restarts[round] = (restarted - start) * 1e6 / count;
    }
    printf("%.6f %.6f\n", median(turns, CHAIN_ROUNDS), median(restarts, CHAIN_ROUNDS));
    return 0;
}

int main(int argc, char **argv)
{
    alarm(PATIENCE_S); /* a loop that loses an event would wait forever */
    if (argc == 5 && strcmp(argv[1], "mon") == 0)
        return monitor(argv[2], atoi(argv[3]), atol(argv[4]));
    if (argc == 6 && strcmp(argv[1], "chain") == 0)
        return chain(argv[2], atoi(argv[3]), atoi(argv[4]), atoi(argv[5]));
    fprintf(stderr, "usage: %s mon BACKEND N OPERATIONS | chain BACKEND N ACTIVE WRITES\n",
            argv[0]);
    return 2;
}
