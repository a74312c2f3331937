/* Posting from threads, as a plain program, which runs under the thread sanitizer. Two reactors in
 * two threads, and threads that post to both of them, while signals arrive.
 * Exits with 0 if every post came, in order; it is run once on every backend. */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "pool.h"
#include "reactor.h"

enum { LOOPS = 2, THREADS = 3, POSTS = 3000, JOBS = 200 };

static struct loop {
    struct reactor *reactor;
    pthread_t thread;
    int next[THREADS]; /* which post of each thread must come next */
    int arrived, signals, jobs_done;
} loops[LOOPS];

struct post {
    struct loop *loop;
    int thread, number;
};

struct sum {
    struct job job;
    struct loop *loop;
    int n, result;
};

static int wrong;

static void stop_if_complete(struct loop *loop)
{
    if (loop->arrived == THREADS * POSTS && loop->jobs_done == JOBS && loop->signals > 0)
        reactor_stop(loop->reactor);
}

static void arrive(void *argument)
{
    struct post *post = argument;
    struct loop *loop = post->loop;
    if (post->number != loop->next[post->thread]++)
        wrong = 1;
    loop->arrived++;
    free(post);
    stop_if_complete(loop);
}

static void *post_many(void *argument)
{
    int thread = *(int *)argument;
    for (int i = 0; i < LOOPS * POSTS; i++) {
        struct post *post = malloc(sizeof *post);
        *post = (struct post){&loops[i % LOOPS], thread, i / LOOPS};
        if (reactor_post(post->loop->reactor, arrive, post) < 0)
            abort();
    }
    return NULL;
}

static void add_up(struct job *job)
{
    struct sum *sum = (struct sum *)job;
    for (int i = 1; i <= sum->n; i++)
        sum->result += i;
}

static void check_sum(struct job *job)
{
    struct sum *sum = (struct sum *)job;
    if (sum->result != sum->n * (sum->n + 1) / 2)
        wrong = 1;
    sum->loop->jobs_done++;
    stop_if_complete(sum->loop);
}

static void on_signal(struct reactor *reactor, int signal, void *argument)
{
    struct loop *loop = argument;
    (void)reactor, (void)signal;
    loop->signals++;
    stop_if_complete(loop);
}

static void *run(void *argument)
{
    struct loop *loop = argument;
    int signal = loop == loops ? SIGUSR1 : SIGUSR2;
    struct pool *pool = pool_create(loop->reactor, 2);
    if (!pool || reactor_signal(loop->reactor, signal, on_signal, loop) < 0)
        abort();
    raise(signal);
    for (int i = 0; i < JOBS; i++) {
        struct sum *sum = malloc(sizeof *sum);
        *sum = (struct sum){.job = {.work = add_up, .done = check_sum}, .loop = loop, .n = i};
        pool_submit(pool, &sum->job);
    }
    if (reactor_run(loop->reactor) < 0)
        wrong = 1;
    pool_destroy(pool);
    return NULL;
}

int main(void)
{
    for (int b = 0; reactor_backend_name(b); b++) {
        pthread_t poster[THREADS];
        int number[THREADS];
        for (int i = 0; i < LOOPS; i++)
            loops[i] = (struct loop){.reactor = reactor_create(reactor_backend_name(b))};
        for (int i = 0; i < LOOPS; i++)
            pthread_create(&loops[i].thread, NULL, run, &loops[i]);
        for (int i = 0; i < THREADS; i++) {
            number[i] = i;
            pthread_create(&poster[i], NULL, post_many, &number[i]);
        }
        for (int i = 0; i < THREADS; i++)
            pthread_join(poster[i], NULL);
        for (int i = 0; i < LOOPS; i++) {
            pthread_join(loops[i].thread, NULL);
            reactor_destroy(loops[i].reactor);
        }
        printf("%s: %s\n", reactor_backend_name(b), wrong ? "wrong" : "ok");
    }
    return wrong;
}
