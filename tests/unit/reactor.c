/* The reactor's descriptors and its turn, every test on every backend. */
#define _GNU_SOURCE
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <time.h>
#include <unistd.h>

#include "backends.h"

static int calls, fresh_calls;

static void count_call(struct reactor *reactor, int fd, unsigned ready, void *argument)
{
    (void)reactor, (void)fd, (void)argument;
    cr_expect_eq(ready, REACTOR_READ);
    calls++;
}

static void count_fresh(struct reactor *reactor, int fd, unsigned ready, void *argument)
{
    (void)reactor, (void)fd, (void)ready, (void)argument;
    fresh_calls++;
}

struct two {
    int first[2], second[2], fresh[2];
    bool reactor_closes; /* by reactor_close(), while a change is pending */
};

/* The first of the two that is called closes the second, and gives its number to a silent
 * descriptor. */
static void close_the_other(struct reactor *reactor, int fd, unsigned ready, void *argument)
{
    struct two *two = argument;
    int other = fd == two->first[0] ? two->second[0] : two->first[0];
    char byte;
    (void)ready;
    calls++;
    cr_expect_eq(read(fd, &byte, 1), 1);
    if (two->reactor_closes) {
        cr_assert_eq(reactor_modify(reactor, other, REACTOR_READ | REACTOR_WRITE), 0);
        cr_assert_eq(reactor_close(reactor, other), 0);
    } else {
        cr_assert_eq(reactor_remove(reactor, other), 0);
        close(other);
    }
    cr_assert_eq(dup(two->fresh[0]), other, "the number is used again");
    cr_assert_eq(reactor_add(reactor, other, REACTOR_READ, count_fresh, NULL), 0);
}

static void close_each_other(struct reactor *reactor, bool reactor_closes)
{
    struct two two = {.reactor_closes = reactor_closes};
    make_pair(two.first);
    make_pair(two.second);
    make_pair(two.fresh);
    calls = fresh_calls = 0;
    reactor_add(reactor, two.first[0], REACTOR_READ, close_the_other, &two);
    reactor_add(reactor, two.second[0], REACTOR_READ, close_the_other, &two);
    give(two.first[1], "x", 1);
    give(two.second[1], "x", 1);
    run_for(reactor, 20);
    cr_expect_eq(calls, 1);
    cr_expect_eq(fresh_calls, 0, "the new descriptor got the old one's event");
    give(two.fresh[1], "x", 1);
    run_for(reactor, 20);
    cr_expect_gt(fresh_calls, 0, "the new descriptor is never served");
}

ON_EVERY_BACKEND(stale_event_in_one_batch_reaches_nobody)
{
    close_each_other(reactor, false);
}

/* The new descriptor gets neither the event of this batch nor the pending change. */
ON_EVERY_BACKEND(close_is_forgotten_when_the_number_comes_back)
{
    close_each_other(reactor, true);
}

static void close_itself(struct reactor *reactor, int fd, unsigned ready, void *argument)
{
    (void)ready, (void)argument;
    calls++;
    cr_expect_eq(reactor_remove(reactor, fd), 0);
    cr_expect_eq(close(fd), 0);
}

ON_EVERY_BACKEND(handler_may_close_its_own_descriptor)
{
    int pair[2];
    make_pair(pair);
    calls = 0;
    reactor_add(reactor, pair[0], REACTOR_READ | REACTOR_WRITE, close_itself, NULL);
    give(pair[1], "x", 1);
    run_for(reactor, 20);
    cr_expect_eq(calls, 1, "also where reading and writing are two events");
    cr_expect_eq(reactor_remove(reactor, pair[0]), -1);
    cr_expect_eq(errno, ENOENT);
}

/* ---- reactor_close() ---- */

/* Otherwise poll() would report the number in each turn, and select() would fail. */
ON_EVERY_BACKEND(close_ends_the_interest)
{
    int pair[2];
    make_pair(pair);
    cr_expect_eq(reactor_add(reactor, pair[0], REACTOR_READ, count_call, NULL), 0);
    cr_expect_eq(reactor_close(reactor, pair[0]), 0);
    uint32_t before = reactor_turn(reactor);
    run_for(reactor, 20);
    cr_expect_leq(reactor_turn(reactor) - before, 5, "it does not sleep");
}

ON_EVERY_BACKEND(close_leaves_what_is_not_watched_alone)
{
    int pair[2];
    make_pair(pair);
    cr_expect_eq(reactor_close(reactor, pair[0]), -1);
    cr_expect_eq(errno, ENOENT);
    cr_expect_eq(reactor_add(reactor, pair[0], 0, count_call, NULL), 0);
    cr_expect_eq(reactor_close(reactor, pair[0]), 0, "also without an interest");
    cr_expect_eq(fcntl(pair[0], F_GETFD), -1);
    run_for(reactor, 1);
}

ON_EVERY_BACKEND(modify_pauses_and_resumes)
{
    int pair[2];
    make_pair(pair);
    calls = 0;
    reactor_add(reactor, pair[0], REACTOR_READ, count_call, NULL);
    give(pair[1], "x", 1);
    reactor_modify(reactor, pair[0], 0);
    run_for(reactor, 20);
    cr_expect_eq(calls, 0);
    reactor_modify(reactor, pair[0], REACTOR_READ);
    run_for(reactor, 20);
    cr_expect_gt(calls, 1, "level-triggered: again and again while there is something to read");
}

/* The list of changes has room for each descriptor once, so a second change must not take a second
 * place: 100,000 of them would reach far beyond the list's memory. */
ON_EVERY_BACKEND(many_changes_of_one_descriptor_take_one_place)
{
    int pair[2];
    make_pair(pair);
    reactor_add(reactor, pair[0], REACTOR_READ, count_call, NULL);
    for (int i = 0; i < 50000; i++) {
        reactor_modify(reactor, pair[0], REACTOR_WRITE);
        reactor_modify(reactor, pair[0], 0);
    }
    reactor_modify(reactor, pair[0], REACTOR_READ);
    calls = 0;
    give(pair[1], "x", 1);
    run_for(reactor, 20);
    cr_expect_gt(calls, 0, "the last change is the one that counts");
}

ON_EVERY_BACKEND(no_interest_hears_nothing_of_a_hangup)
{
    int pair[2];
    make_pair(pair);
    calls = 0;
    reactor_add(reactor, pair[0], 0, count_call, NULL);
    close(pair[1]);
    run_for(reactor, 20);
    cr_expect_eq(calls, 0);
}

static void expect_lost(struct reactor *reactor, int fd, unsigned ready, void *argument)
{
    (void)argument;
    cr_expect_eq(ready, REACTOR_WRITE);
    cr_expect_eq(write(fd, "x", 1), -1);
    calls++;
    reactor_remove(reactor, fd);
    reactor_stop(reactor);
}

ON_EVERY_BACKEND(lost_connection_wakes_a_writer)
{
    int pair[2];
    char chunk[4096] = {0};
    signal(SIGPIPE, SIG_IGN);
    make_pair(pair);
    while (write(pair[0], chunk, sizeof chunk) > 0)
        continue;
    calls = 0;
    reactor_add(reactor, pair[0], REACTOR_WRITE, expect_lost, NULL);
    close(pair[1]);
    run_for(reactor, 1000);
    cr_expect_eq(calls, 1);
}

ON_EVERY_BACKEND(errors_come_back)
{
    int pair[2];
    make_pair(pair);
    cr_expect_eq(reactor_add(reactor, -1, REACTOR_READ, count_call, NULL), -1);
    cr_expect_eq(errno, EBADF);
    cr_expect_eq(reactor_modify(reactor, pair[0], REACTOR_READ), -1);
    cr_expect_eq(errno, ENOENT);
    cr_expect_eq(reactor_add(reactor, pair[0], REACTOR_READ, count_call, NULL), 0);
    cr_expect_eq(reactor_add(reactor, pair[0], REACTOR_READ, count_call, NULL), -1);
    cr_expect_eq(errno, EEXIST);
    if (strcmp(reactor_backend(reactor), "epoll") == 0) {
        int file = open("/etc/passwd", O_RDONLY);
        cr_expect_eq(reactor_add(reactor, file, REACTOR_READ, count_call, NULL), -1);
        cr_expect_eq(errno, EPERM);
    }
    if (strcmp(reactor_backend(reactor), "select") == 0) {
        struct rlimit limit = {2 * FD_SETSIZE, 2 * FD_SETSIZE};
        if (setrlimit(RLIMIT_NOFILE, &limit) != 0)
            cr_skip_test("the hard limit of descriptors is too low here");
        int high = fcntl(pair[0], F_DUPFD, FD_SETSIZE);
        cr_assert_geq(high, FD_SETSIZE);
        cr_expect_eq(reactor_add(reactor, high, REACTOR_READ, count_call, NULL), -1);
        cr_expect_eq(errno, EMFILE);
    }
}

static void count_error(struct reactor *reactor, int fd, unsigned ready, void *argument)
{
    (void)argument;
    if (ready != REACTOR_ERROR)
        return;
    calls++;
    cr_expect_eq(reactor_remove(reactor, fd), 0);
    close(fd);
}

/* The layer needs one more descriptor for the first descriptor that waits to write. */
ON_EVERY_BACKEND(kqueue_refuses_whole_changes)
{
    int pair[2], other[2];
    struct rlimit limit;
    make_pair(pair);
    make_pair(other);
    give(pair[1], "x", 1);
    calls = 0;
    int next = dup(pair[0]);
    close(next);
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = (rlim_t)next;
    cr_assert_eq(setrlimit(RLIMIT_NOFILE, &limit), 0);
    if (strcmp(reactor_backend(reactor), "kqueue") != 0 ||
        reactor_add(reactor, pair[0], REACTOR_READ | REACTOR_WRITE, count_call, NULL) == 0)
        cr_skip_test("only kqueue over epoll needs it");
    cr_expect_eq(errno, EMFILE);
    clock_t before = clock();
    run_for(reactor, 100);
    cr_expect_lt(clock() - before, CLOCKS_PER_SEC / 25, "a descriptor that was not added wakes it");
    cr_assert_eq(reactor_add(reactor, other[0], REACTOR_READ, count_error, NULL), 0);
    cr_assert_eq(reactor_modify(reactor, other[0], REACTOR_READ | REACTOR_WRITE), 0);
    run_for(reactor, 20);
    cr_expect_eq(calls, 1, "a refused change comes back as an error");
}

/* Three descriptors whose changes are pending when the handler of a refused change runs. */
struct pending {
    int reader[2], writer[2], closed[2], fresh[2];
};

/* Removes them. Two stay open; a new descriptor, which waits to read, gets the third's number. */
static void remove_the_pending(struct reactor *reactor, int fd, unsigned ready, void *argument)
{
    struct pending *pending = argument;
    calls++;
    cr_expect_eq(ready, REACTOR_ERROR);
    cr_assert_eq(reactor_remove(reactor, fd), 0);
    cr_assert_eq(reactor_remove(reactor, pending->reader[0]), 0);
    cr_assert_eq(reactor_remove(reactor, pending->writer[0]), 0);
    cr_assert_eq(reactor_remove(reactor, pending->closed[0]), 0);
    cr_assert_eq(dup2(pending->fresh[0], pending->closed[0]), pending->closed[0]);
    cr_assert_eq(reactor_add(reactor, pending->closed[0], REACTOR_READ, count_fresh, NULL), 0);
}

/* kqueue learns of a change with the next wait. Until then it watches for the old interest. */
ON_EVERY_BACKEND(handler_of_a_refused_change_removes_pending_ones)
{
    struct pending pending;
    int refused[2];
    if (strcmp(reactor_backend(reactor), "kqueue") != 0 &&
        strcmp(reactor_backend(reactor), "epoll") != 0)
        cr_skip_test("this backend has no change that the kernel could refuse");
    make_pair(pending.reader);
    make_pair(pending.writer);
    make_pair(pending.closed);
    make_pair(pending.fresh);
    make_pair(refused);
    calls = fresh_calls = 0;
    give(pending.reader[1], "x", 1);
    reactor_add(reactor, refused[0], 0, remove_the_pending, &pending);
    reactor_add(reactor, pending.reader[0], REACTOR_READ, count_call, NULL);
    reactor_add(reactor, pending.writer[0], REACTOR_WRITE, count_call, NULL);
    reactor_add(reactor, pending.closed[0], REACTOR_READ, count_call, NULL);
    close(refused[0]); /* every system refuses its change */
    /* The reactor makes the last change first. */
    reactor_modify(reactor, refused[0], REACTOR_READ);
    reactor_modify(reactor, pending.reader[0], REACTOR_WRITE);
    reactor_modify(reactor, pending.writer[0], REACTOR_READ);
    reactor_modify(reactor, pending.closed[0], REACTOR_WRITE);
    clock_t before = clock();
    run_for(reactor, 100);
    cr_expect_lt(clock() - before, CLOCKS_PER_SEC / 25, "a removed descriptor wakes it");
    cr_assert_eq(calls, 1);
    cr_expect_eq(fresh_calls, 0);
    give(pending.fresh[1], "x", 1);
    run_for(reactor, 20);
    cr_expect_gt(fresh_calls, 0, "the new descriptor got the old one's change");
}

static void run_inside(struct reactor *reactor, int fd, unsigned ready, void *argument)
{
    (void)fd, (void)ready, (void)argument;
    calls++;
    errno = 0;
    cr_expect_eq(reactor_run(reactor), -1);
    cr_expect_eq(errno, EBUSY);
    reactor_stop(reactor);
}

ON_EVERY_BACKEND(handler_may_not_run_its_own_reactor)
{
    int pair[2];
    make_pair(pair);
    calls = 0;
    give(pair[1], "x", 1);
    reactor_add(reactor, pair[0], REACTOR_READ, run_inside, NULL);
    for (int i = 1; i <= 2; i++) {
        cr_expect_eq(reactor_run(reactor), 0, "but it may be run again afterwards");
        cr_expect_eq(calls, i);
    }
}

Test(reactor, unknown_backend)
{
    cr_expect_null(reactor_create("devpoll"));
    cr_expect_eq(errno, EINVAL);
    struct reactor *best = reactor_create(NULL);
    cr_expect_str_eq(reactor_backend(best), reactor_backend_name(0));
    reactor_destroy(best);
}

enum { MANY = 300 };
static int times[1024], turn_of_many;

/* All stay ready. None may be served twice before all were served once. */
static void serve_many(struct reactor *reactor, int fd, unsigned ready, void *argument)
{
    (void)ready, (void)argument;
    times[fd]++;
    if (++turn_of_many == 2 * MANY)
        reactor_stop(reactor);
}

ON_EVERY_BACKEND(more_are_ready_than_fit_in_a_batch)
{
    int pairs[MANY][2], max = 0, min = MANY;
    memset(times, 0, sizeof times);
    turn_of_many = 0;
    for (int i = 0; i < MANY; i++) {
        make_pair(pairs[i]);
        give(pairs[i][1], "x", 1);
        cr_assert_eq(reactor_add(reactor, pairs[i][0], REACTOR_READ, serve_many, NULL), 0);
    }
    run_for(reactor, 5000);
    for (int i = 0; i < MANY; i++) {
        int n = times[pairs[i][0]];
        max = n > max ? n : max;
        min = n < min ? n : min;
    }
    cr_expect(min >= 1 && max <= 3, "one was served %d times, another %d", max, min);
}
