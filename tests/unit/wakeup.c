/* What wakes the reactor from elsewhere: signals and other threads. Every test on every backend. */
#define _GNU_SOURCE
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

#include "backends.h"

static void on_signal(struct reactor *reactor, int signal, void *argument)
{
    *(int *)argument = signal;
    reactor_stop(reactor);
}

ON_EVERY_BACKEND(signals)
{
    int got = 0;
    cr_assert_eq(reactor_signal(reactor, SIGUSR1, on_signal, &got), 0);
    kill(getpid(), SIGUSR1);
    run_for(reactor, 5000);
    cr_expect_eq(got, SIGUSR1);
    cr_expect_eq(reactor_signal(reactor, 0, on_signal, NULL), -1);
    cr_expect_eq(reactor_signal(reactor, SIGKILL, on_signal, NULL), -1);
    signal(SIGUSR2, SIG_IGN);
    cr_assert_eq(reactor_signal(reactor, SIGUSR2, on_signal, &got), 0);
    cr_assert_eq(reactor_signal(reactor, SIGUSR2, NULL, NULL), 0);
    raise(SIGUSR2); /* ignored again, or this process is gone */
}

static int raised[2];

/* Raises the other signal, which this turn may have passed already, and then its own again. */
static void raise_more(struct reactor *reactor, int signal, void *argument)
{
    (void)reactor, (void)argument;
    if (raised[1]++ == 0) {
        raise(SIGUSR1 + SIGUSR2 - signal);
        raise(signal);
    }
}

static void count_signal(struct reactor *reactor, int signal, void *argument)
{
    (void)reactor, (void)signal, (void)argument;
    raised[0]++;
}

/* A signal may arrive while the loop looks at the signals, and nothing else may wake it later. */
ON_EVERY_BACKEND(signal_that_comes_while_signals_are_handled)
{
    int low = SIGUSR1 < SIGUSR2 ? SIGUSR1 : SIGUSR2, high = SIGUSR1 + SIGUSR2 - low;
    raised[0] = raised[1] = 0;
    cr_assert_eq(reactor_signal(reactor, low, count_signal, NULL), 0);
    cr_assert_eq(reactor_signal(reactor, high, raise_more, NULL), 0);
    raise(high);
    run_for(reactor, 100);
    cr_expect_eq(raised[0], 1, "the other signal");
    cr_expect_eq(raised[1], 2, "the same signal again");
}

enum { THREADS = 4, POSTS = 2000 };

struct poster {
    struct reactor *reactor;
    int next; /* which of its posts must come next */
};

struct post {
    struct poster *poster;
    int number;
};

static int arrived;

static void arrive(void *argument)
{
    struct post *post = argument;
    cr_assert_eq(post->number, post->poster->next++, "in the order of posting");
    if (++arrived == THREADS * POSTS)
        reactor_stop(post->poster->reactor);
    free(post);
}

static void *post_many(void *argument)
{
    struct poster *poster = argument;
    for (int i = 0; i < POSTS; i++) {
        struct post *post = malloc(sizeof *post);
        *post = (struct post){poster, i};
        reactor_post(poster->reactor, arrive, post);
    }
    return NULL;
}

ON_EVERY_BACKEND(posts_from_several_threads)
{
    pthread_t thread[THREADS];
    struct poster poster[THREADS];
    arrived = 0;
    for (int i = 0; i < THREADS; i++) {
        poster[i] = (struct poster){reactor, 0};
        pthread_create(&thread[i], NULL, post_many, &poster[i]);
    }
    run_for(reactor, 20000);
    for (int i = 0; i < THREADS; i++)
        pthread_join(thread[i], NULL);
    cr_expect_eq(arrived, THREADS * POSTS);
}

static void nothing(void *argument)
{
    (void)argument;
}

ON_EVERY_BACKEND(signal_goes_to_the_reactor_that_asked_last)
{
    int got = 0, got_other = 0;
    struct reactor *other = reactor_create(reactor_backend(reactor));
    reactor_signal(reactor, SIGUSR1, on_signal, &got);
    reactor_signal(other, SIGUSR1, on_signal, &got_other);
    raise(SIGUSR1);
    reactor_post(reactor, nothing, NULL); /* this one wakes, too, and must not take it */
    run_for(reactor, 10);
    cr_expect_eq(got, 0);
    cr_expect_eq(got_other, 0);
    run_for(other, 1000);
    cr_expect_eq(got_other, SIGUSR1);
    reactor_destroy(other); /* gives the signal back to its former handler */
}

ON_EVERY_BACKEND(pending_signal_goes_to_the_handler_set_last)
{
    int got = 0, got_second = 0, got_other = 0;
    struct reactor *other = reactor_create(reactor_backend(reactor));
    reactor_signal(reactor, SIGUSR1, on_signal, &got);
    raise(SIGUSR1);
    reactor_signal(reactor, SIGUSR1, on_signal, &got_second);
    run_for(reactor, 1000);
    cr_expect_eq(got, 0);
    cr_expect_eq(got_second, SIGUSR1);
    raise(SIGUSR1);
    reactor_signal(other, SIGUSR1, on_signal, &got_other);
    run_for(other, 1000);
    cr_expect_eq(got_other, SIGUSR1);
    got_other = 0;
    reactor_signal(reactor, SIGUSR1, NULL, NULL); /* it is no longer this reactor's */
    raise(SIGUSR1);
    run_for(other, 1000);
    cr_expect_eq(got_other, SIGUSR1);
    reactor_destroy(other);
}

static void *raise_many(void *argument)
{
    for (int i = 0; i < 20000; i++)
        kill(getpid(), SIGUSR1);
    *(atomic_bool *)argument = true;
    return NULL;
}

/* At no moment between the two handlers may the signal end the process. */
ON_EVERY_BACKEND(handler_of_a_signal_may_be_changed_while_it_arrives)
{
    int got = 0;
    atomic_bool done = false;
    pthread_t thread;
    reactor_signal(reactor, SIGUSR1, on_signal, &got);
    pthread_create(&thread, NULL, raise_many, &done);
    while (!done)
        cr_assert_eq(reactor_signal(reactor, SIGUSR1, on_signal, &got), 0);
    pthread_join(thread, NULL);
    run_for(reactor, 1000);
    cr_expect_eq(got, SIGUSR1);
}

static int depth;

static void post_again(void *argument)
{
    if (++depth < 1000)
        cr_assert_eq(reactor_post(argument, post_again, argument), 0);
    else
        reactor_stop(argument);
}

/* A task that a task posts runs in the next turn, so a chain of them delays no descriptor. */
ON_EVERY_BACKEND(task_may_post)
{
    depth = 0;
    cr_assert_eq(reactor_post(reactor, post_again, reactor), 0);
    run_for(reactor, 5000);
    cr_expect_eq(depth, 1000);
    reactor_post(reactor, post_again, reactor); /* never run: dropped, and not leaked */
}
