/* What one wait costs, by the number of those who say nothing.
 *
 * poll() hands the kernel the whole array each time, and the kernel asks every entry. epoll was
 * told once, and hands out a list of the descriptors to which something happened. When something
 * happens to all of them, that list has no advantage, and its upkeep still costs: the lower rows.
 * select() is like poll(), as far as its sets go.
 *
 * Needs: linux
 *
 * Expect:
 *   descriptors  ready   poll us  epoll us
 *            10      1     <n>     <n>
 *           100      1     <n>     <n>
 *          1000      1     <n>     <n>
 *          4000      1     <n>     <n>
 *           100    100     <n>     <n>
 *          1000   1000     <n>     <n>
 *   select, with 1 ready: of 10 <n> us, of 400 <n> us
 */
#include "experiment.h"

#include <poll.h>
#include <sys/epoll.h>
#include <sys/select.h>

enum { PAIRS_MAX = 4000, SELECTED = 400 /* the highest is below FD_SETSIZE */, TRIES = 5 };

static struct pair *pairs;
static struct pollfd *array;
static struct epoll_event *events;

/* Waits, and searches for ready ones. Nothing is read, so it is the same every time. */
static int wait_with_poll(int descriptors)
{
    int found = 0;
    poll(array, (nfds_t)descriptors, 0);
    for (int i = 0; i < descriptors; i++)
        found += array[i].revents != 0;
    return found;
}

/* Microseconds of CPU for a wait, the minimum of some tries: other programs that want the
 * processor, and what they leave in its caches, do not count. */
static double minimum(double before, double begin, int rounds)
{
    double each = (cpu_used(RUSAGE_SELF) - begin) / rounds * 1e6;
    return before == 0 || each < before ? each : before;
}

static double time_of_poll(int descriptors, int ready)
{
    int rounds = 200000 / descriptors + 20;
    double each = 0;
    for (int try = 0; try < TRIES; try++) {
        double begin = cpu_used(RUSAGE_SELF);
        for (int i = 0; i < rounds; i++)
            if (wait_with_poll(descriptors) != ready)
                errx(1, "poll missed a descriptor");
        each = minimum(each, begin, rounds);
    }
    return each;
}

/* The kernel's part alone: the last one is ready. */
static double time_of_select(int descriptors)
{
    int rounds = 100000 / descriptors, last = pairs[descriptors - 1].server;
    fd_set all, set;
    FD_ZERO(&all);
    for (int i = 0; i < descriptors; i++)
        FD_SET(pairs[i].server, &all);
    if (write(pairs[descriptors - 1].client, "x", 1) != 1)
        err(1, "write");
    await_arrival(last);
    double each = 0;
    for (int try = 0; try < TRIES; try++) {
        double begin = cpu_used(RUSAGE_SELF);
        for (int i = 0; i < rounds; i++) {
            set = all;
            if (select(last + 1, &set, NULL, NULL, &(struct timeval){0}) != 1)
                errx(1, "select missed a descriptor");
        }
        each = minimum(each, begin, rounds);
    }
    char byte;
    if (read(last, &byte, 1) != 1)
        err(1, "read");
    return each;
}

static double time_of_epoll(int descriptors, int ready)
{
    int rounds = 200000 / (10 * ready) + 20, epoll = epoll_create1(0);
    for (int i = 0; i < descriptors; i++) {
        struct epoll_event event = {.events = EPOLLIN, .data.fd = pairs[i].server};
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, pairs[i].server, &event) < 0)
            err(1, "epoll_ctl");
    }
    double each = 0;
    for (int try = 0; try < TRIES; try++) {
        double begin = cpu_used(RUSAGE_SELF);
        for (int i = 0; i < rounds; i++)
            if (epoll_wait(epoll, events, descriptors, 0) != ready)
                errx(1, "epoll missed a descriptor");
        each = minimum(each, begin, rounds);
    }
    close(epoll);
    return each;
}

/* The last ones are ready. Returns whether epoll was the faster. */
static bool measure(int descriptors, bool all, double *poll_us, double *epoll_us)
{
    int ready = all ? descriptors : 1;
    char byte;
    for (int i = 0; i < ready; i++)
        if (write(pairs[descriptors - 1 - i].client, "x", 1) != 1)
            err(1, "write");
    *poll_us = time_of_poll(descriptors, ready);
    *epoll_us = time_of_epoll(descriptors, ready);
    for (int i = 0; i < ready; i++)
        if (read(pairs[descriptors - 1 - i].server, &byte, 1) != 1)
            err(1, "read");
    printf("%11d %6d %9.2f %9.2f\n", descriptors, ready, *poll_us, *epoll_us);
    return *epoll_us < *poll_us;
}

int main(void)
{
    double p[6], e[6];
    int faster = 0;
    if (descriptors() < 2 * PAIRS_MAX + 50)
        skip("needs 8050 descriptors");
    pairs = calloc(PAIRS_MAX, sizeof *pairs);
    array = calloc(PAIRS_MAX, sizeof *array);
    events = calloc(PAIRS_MAX, sizeof *events);
    if (!pairs || !array || !events)
        err(1, "calloc");
    int listener = listen_on_loopback(5);
    for (int i = 0; i < PAIRS_MAX; i++) {
        pairs[i] = connected(listener);
        array[i] = (struct pollfd){.fd = pairs[i].server, .events = POLLIN};
    }
    printf("descriptors  ready   poll us  epoll us\n");
    faster += measure(10, false, &p[0], &e[0]);
    faster += measure(100, false, &p[1], &e[1]);
    faster += measure(1000, false, &p[2], &e[2]);
    faster += measure(PAIRS_MAX, false, &p[3], &e[3]);
    faster += measure(100, true, &p[4], &e[4]);
    faster += measure(1000, true, &p[5], &e[5]);
    double few = time_of_select(10), many = time_of_select(SELECTED);
    printf("select, with 1 ready: of 10 %.2f us, of %d %.2f us\n", few, SELECTED, many);
    expect(p[3] > 20 * p[0] && e[3] < 5 * e[0] + 2, "poll pays for idle ones, epoll does not");
    expect(p[3] > 20 * e[3], "with 4000 idle ones that is a great difference");
    claim("epoll is always faster", "false", faster == 6, 1,
          "%d of 6 rows; 1 of %d ready: %.1f against %.0f us; 1000 of 1000: %.0f against %.0f us",
          faster, PAIRS_MAX, e[3], p[3], e[5], p[5]);
    claim("When all are active epoll may have problems", "true", e[4] > p[4] || e[5] > p[5], 1,
          "100 of 100: epoll %.1f us, poll %.1f us; 1000 of 1000: %.0f us, %.0f us", e[4], p[4],
          e[5], p[5]);
    claim("select scans all sockets", "true", many > 5 * few, 1,
          "1 of 10: %.2f us, 1 of %d: %.2f us", few, SELECTED, many);
    claim("With epoll only active connections cost", "true", e[3] < 5 * e[0] + 2, 1,
          "1 of 10: %.2f us, 1 of %d: %.2f us", e[0], PAIRS_MAX, e[3]);
    return experiment_failed;
}
