/* The reactor's timers, every test on every backend. */
#define _GNU_SOURCE
#include <stdio.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "backends.h"

static void sleep_ms(int ms)
{
    nanosleep(&(struct timespec){.tv_nsec = ms * 1000000L}, NULL);
}

static int calls, fresh_calls;
static int64_t started;

static void count_fresh(struct reactor *reactor, int fd, unsigned ready, void *argument)
{
    (void)reactor, (void)fd, (void)ready, (void)argument;
    fresh_calls++;
}

static int order[8], ordered;

static void note_timer(struct reactor *reactor, struct reactor_timer *timer)
{
    (void)reactor;
    order[ordered++] = *(int *)timer->argument;
}

ON_EVERY_BACKEND(timers_run_in_order_of_time)
{
    int name[] = {0, 1, 2, 3};
    struct reactor_timer timer[4];
    ordered = 0;
    for (int i = 0; i < 4; i++) {
        timer[i] = (struct reactor_timer){.handler = note_timer, .argument = &name[i]};
        reactor_timer_start(reactor, &timer[i], 40 - 10 * i, 0);
    }
    reactor_timer_stop(reactor, &timer[2]);
    run_for(reactor, 60);
    cr_expect_eq(ordered, 3);
    cr_expect(order[0] == 3 && order[1] == 1 && order[2] == 0);
}

static struct reactor_timer *victim;

static void stop_victim(struct reactor *reactor, struct reactor_timer *timer)
{
    (void)timer;
    reactor_timer_stop(reactor, victim);
}

ON_EVERY_BACKEND(timer_stopped_by_another_of_the_same_turn_stays_silent)
{
    int name = 0;
    struct reactor_timer first = {.handler = stop_victim};
    struct reactor_timer second = {.handler = note_timer, .argument = &name};
    victim = &second;
    ordered = 0;
    reactor_timer_start(reactor, &first, 1, 0);
    reactor_timer_start(reactor, &second, 1, 0);
    sleep_ms(5); /* both are due in the first turn */
    run_for(reactor, 20);
    cr_expect_eq(first.position, 0);
    cr_expect_eq(ordered, 0);
}

static void restart_at_once(struct reactor *reactor, struct reactor_timer *timer)
{
    calls++;
    reactor_timer_start(reactor, timer, 0, 0);
}

ON_EVERY_BACKEND(timer_without_delay_starves_nobody)
{
    int pair[2];
    struct reactor_timer timer = {.handler = restart_at_once};
    make_pair(pair);
    fresh_calls = calls = 0;
    give(pair[1], "x", 1);
    reactor_add(reactor, pair[0], REACTOR_READ, count_fresh, NULL);
    reactor_timer_start(reactor, &timer, 0, 0);
    run_for(reactor, 20);
    cr_expect_gt(calls, 1);
    cr_expect_gt(fresh_calls, 1);
}

static int calls_in_turn, calls_in_turn_max;

static void restart_and_count(struct reactor *reactor, struct reactor_timer *timer)
{
    calls++;
    calls_in_turn_max = ++calls_in_turn > calls_in_turn_max ? calls_in_turn : calls_in_turn_max;
    reactor_timer_start(reactor, timer, 0, 0);
}

static void new_turn(struct reactor *reactor, int fd, unsigned ready, void *argument)
{
    (void)fd, (void)ready, (void)argument;
    calls_in_turn = 0;
    if (calls > 50)
        reactor_stop(reactor);
}

/* With many timers, a bound by their number would not bound anything. */
ON_EVERY_BACKEND(timer_without_delay_runs_once_a_turn_also_among_many)
{
    enum { MANY = 1000 };
    int pair[2];
    struct reactor_timer *idle = calloc(MANY, sizeof *idle);
    struct reactor_timer timer = {.handler = restart_and_count};
    make_pair(pair);
    calls = calls_in_turn = calls_in_turn_max = 0;
    give(pair[1], "x", 1);
    reactor_add(reactor, pair[0], REACTOR_READ, new_turn, NULL);
    for (int i = 0; i < MANY; i++)
        reactor_timer_start(reactor, &idle[i], 60000, 0);
    reactor_timer_start(reactor, &timer, 0, 0);
    run_for(reactor, 20000);
    cr_expect_gt(calls, 50);
    cr_expect_eq(calls_in_turn_max, 1, "%d times in one turn", calls_in_turn_max);
    free(idle);
}

enum { SAME = 8 };
static struct reactor_timer same[SAME];

/* The first is started again, and so becomes the last. A turn has one time for all of them. */
static void start_all(struct reactor *reactor, struct reactor_timer *timer)
{
    (void)timer;
    for (int i = 0; i <= SAME; i++)
        reactor_timer_start(reactor, &same[i % SAME], 10, 0);
}

ON_EVERY_BACKEND(timers_of_one_moment_run_in_the_order_of_their_starts)
{
    int name[SAME];
    struct reactor_timer timer = {.handler = start_all};
    ordered = 0;
    for (int i = 0; i < SAME; i++) {
        name[i] = i;
        same[i] = (struct reactor_timer){.handler = note_timer, .argument = &name[i]};
    }
    reactor_timer_start(reactor, &timer, 0, 0);
    run_for(reactor, 30);
    cr_expect_eq(ordered, SAME);
    for (int i = 0; i < SAME; i++)
        cr_expect_eq(order[i], (i + 1) % SAME);
}

/* Takes long, once, after the turn has read the clock. */
static void work_long(struct reactor *reactor, int fd, unsigned ready, void *argument)
{
    (void)ready, (void)argument;
    reactor_now_ms(reactor);
    sleep_ms(300);
    reactor_remove(reactor, fd);
}

ON_EVERY_BACKEND(long_handler_does_not_make_a_timer_that_much_later)
{
    int pair[2];
    make_pair(pair);
    give(pair[1], "x", 1);
    reactor_add(reactor, pair[0], REACTOR_READ, work_long, NULL);
    started = reactor_now_ms(reactor);
    run_for(reactor, 350);
    int64_t took = reactor_now_ms(reactor) - started;
    cr_expect(took >= 350 && took < 620, "%d ms, not 350", (int)took);
}

ON_EVERY_BACKEND(the_longest_delay_and_period_never_come)
{
    int name = 0;
    struct reactor_timer never = {.handler = note_timer, .argument = &name}, once = never;
    ordered = 0;
    reactor_timer_start(reactor, &never, INT64_MAX, 0);
    reactor_timer_start(reactor, &once, 0, INT64_MAX);
    run_for(reactor, 20);
    cr_expect_eq(ordered, 1);
    cr_expect_geq(once.due, INT64_MAX - 1);
    cr_expect_geq(never.due, INT64_MAX - 1);
}

ON_EVERY_BACKEND(between_runs_the_clock_goes_on)
{
    run_for(reactor, 1);
    int64_t before = reactor_now_ms(reactor);
    sleep_ms(20);
    cr_expect_geq(reactor_now_ms(reactor), before + 19);
}

static void count_period(struct reactor *reactor, struct reactor_timer *timer)
{
    cr_expect_geq(reactor_now_ms(reactor) - started, 10 * (calls + 1), "not before its time");
    if (++calls == 5) {
        reactor_timer_stop(reactor, timer);
        reactor_stop(reactor);
    }
}

ON_EVERY_BACKEND(periodic_timer_until_stopped_in_its_handler)
{
    struct reactor_timer timer = {.handler = count_period};
    calls = 0;
    started = reactor_now_ms(reactor);
    reactor_timer_start(reactor, &timer, 10, 10);
    run_for(reactor, 5000);
    cr_expect_eq(calls, 5);
    cr_expect_eq(timer.position, 0);
}

static int64_t first_due;

/* Its calls are late, one of them by more than a period. */
static void check_beat(struct reactor *reactor, struct reactor_timer *timer)
{
    int64_t off = (timer->due - first_due) % timer->period_ms;
    cr_expect_eq(off, 0, "call %d: the next is %d ms off the beat", calls, (int)off);
    cr_expect_gt(timer->due, reactor_now_ms(reactor), "a period that has passed is skipped");
    sleep_ms(calls == 1 ? 50 : 3); /* not a whole number of periods */
    if (++calls == 8)
        reactor_stop(reactor);
}

/* However late a call is, the next one is due on time. */
ON_EVERY_BACKEND(periodic_timer_keeps_its_beat)
{
    struct reactor_timer timer = {.handler = check_beat};
    calls = 0;
    reactor_timer_start(reactor, &timer, 20, 20);
    first_due = timer.due;
    sleep_ms(27); /* late from the start */
    run_for(reactor, 20000);
    cr_expect_eq(calls, 8);
    reactor_timer_stop(reactor, &timer);
}

static int64_t last_due;
static int fired;

static void check_order(struct reactor *reactor, struct reactor_timer *timer)
{
    (void)reactor;
    cr_assert_geq(timer->due, last_due);
    last_due = timer->due;
    fired++;
}

/* Thousands of timers, started, restarted and stopped at random, find what the heap gets wrong. */
ON_EVERY_BACKEND(ten_thousand_timers_in_random_order)
{
    enum { TIMERS = 10000 };
    struct reactor_timer *timer = calloc(TIMERS, sizeof *timer);
    int running = 0;
    srand(7);
    fired = 0;
    last_due = 0;
    for (int i = 0; i < TIMERS; i++)
        timer[i].handler = check_order;
    for (int i = 0; i < 4 * TIMERS; i++) {
        struct reactor_timer *any = &timer[rand() % TIMERS];
        if (rand() % 3 == 0)
            reactor_timer_stop(reactor, any);
        else
            cr_assert_eq(reactor_timer_start(reactor, any, rand() % 100, 0), 0);
    }
    for (int i = 0; i < TIMERS; i++)
        running += timer[i].position > 0;
    cr_assert_gt(running, TIMERS / 3);
    run_for(reactor, 300);
    cr_expect_eq(fired, running);
    free(timer);
}

static void stop_victim_from_descriptor(struct reactor *reactor, int fd, unsigned ready,
                                        void *argument)
{
    char byte;
    (void)ready, (void)argument;
    cr_expect_eq(read(fd, &byte, 1), 1);
    reactor_timer_stop(reactor, victim);
    calls++;
}

/* Both are due in one turn, and the reactor serves descriptors first. */
ON_EVERY_BACKEND(descriptor_handler_stops_a_timer_that_is_due)
{
    int pair[2], name = 0;
    struct reactor_timer timer = {.handler = note_timer, .argument = &name};
    make_pair(pair);
    victim = &timer;
    calls = ordered = 0;
    give(pair[1], "x", 1);
    reactor_add(reactor, pair[0], REACTOR_READ, stop_victim_from_descriptor, NULL);
    reactor_timer_start(reactor, &timer, 0, 0);
    run_for(reactor, 20);
    cr_expect_eq(calls, 1);
    cr_expect_eq(ordered, 0);
}

static void remove_and_close(struct reactor *reactor, struct reactor_timer *timer)
{
    int fd = *(int *)timer->argument;
    cr_expect_eq(reactor_remove(reactor, fd), 0);
    close(fd);
    calls++;
}

ON_EVERY_BACKEND(timer_handler_closes_a_descriptor_that_is_ready)
{
    int pair[2];
    make_pair(pair);
    struct reactor_timer timer = {.handler = remove_and_close, .argument = &pair[0]};
    calls = fresh_calls = 0;
    reactor_add(reactor, pair[0], REACTOR_READ, count_fresh, NULL);
    reactor_modify(reactor, pair[0], REACTOR_READ | REACTOR_WRITE); /* a pending change */
    reactor_timer_start(reactor, &timer, 5, 0);
    give(pair[1], "x", 1);
    run_for(reactor, 30);
    int before = fresh_calls;
    cr_expect_eq(calls, 1);
    run_for(reactor, 10);
    cr_expect_eq(fresh_calls, before);
}

/* ---- the cost ---- */

#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)
static double cpu_ns(void)
{
    struct timespec t;
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &t);
    return (double)t.tv_sec * 1e9 + (double)t.tv_nsec;
}

/* The nanoseconds that it takes to stop and start one of so many running timers, as a server does
 * for its clients' timeouts. The best of five. */
static double cost_of_restart(struct reactor *reactor, int count)
{
    enum { TIMES = 100000, DELAY = 60000 };
    struct reactor_timer *timer = calloc((size_t)count, sizeof *timer);
    double best = 1e18;
    srand(7);
    for (int i = 0; i < count; i++)
        reactor_timer_start(reactor, &timer[i], 1000 + rand() % DELAY, 0);
    for (int round = 0; round < 5; round++) {
        double start = cpu_ns();
        for (int i = 0; i < TIMES; i++) {
            struct reactor_timer *next = &timer[i % count];
            reactor_timer_stop(reactor, next);
            reactor_timer_start(reactor, next, DELAY + i / 100, 0);
        }
        double took = (cpu_ns() - start) / TIMES;
        best = took < best ? took : best;
    }
    for (int i = 0; i < count; i++)
        reactor_timer_stop(reactor, &timer[i]);
    free(timer);
    return best;
}

Test(timers, cost_at_100000_is_at_most_twice_that_at_100)
{
    struct reactor *reactor = reactor_create(NULL);
    double few = 0, many = 0;
    for (int attempt = 0; attempt < 10; attempt++) { /* another process may use the caches */
        few = cost_of_restart(reactor, 100);
        many = cost_of_restart(reactor, 100000);
        if (many <= 2 * few)
            break;
    }
    fprintf(stderr, "stop and start: %.0f ns of 100 timers, %.0f ns of 100000\n", few, many);
    cr_expect_leq(many, 2 * few, "%.0f ns at 100, %.0f ns at 100000", few, many);
    reactor_destroy(reactor);
}
#endif
