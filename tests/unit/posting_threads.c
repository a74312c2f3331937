/* Posting from threads, as a plain program, so that it runs under the thread sanitizer. Threads
 * post to two reactors in two other threads, while signals arrive. Then a pool is destroyed while
 * its threads still work. All of this runs on every backend. Exits with 0 if every post came, in
 * order. */
#include <pthread.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

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

/* ---- a pool that is destroyed while its threads work ---- */

enum { WORKERS = 2, SLOW_JOBS = 3 };

struct slow {
    struct job job;
    int result;
};

static int begun[2], gate[2], ended[2]; /* pipes: a byte for each thread */
static pthread_key_t at_exit_of_thread;
static int slow_done;

static void pass(int fd)
{
    if (write(fd, "", 1) != 1)
        abort();
}

static void await(int fd, int bytes)
{
    for (char byte; bytes > 0; bytes--)
        if (read(fd, &byte, 1) != 1)
            abort();
}

/* Runs when the thread has done all that it does for the pool. */
static void say_ended(void *fd)
{
    pass(*(int *)fd);
}

static void wait_at_the_gate(struct job *job)
{
    pthread_setspecific(at_exit_of_thread, &ended[1]);
    pass(begun[1]);
    await(gate[0], 1);
    ((struct slow *)job)->result = 1; /* it is still there */
}

static void count_slow(struct job *job)
{
    (void)job;
    slow_done++;
}

static void destroy_while_threads_work(const char *backend)
{
    struct reactor *reactor = reactor_create(backend);
    struct pool *pool = pool_create(reactor, WORKERS);
    slow_done = 0;
    for (int i = 0; i < SLOW_JOBS; i++) { /* one of them never begins */
        struct slow *slow = malloc(sizeof *slow);
        *slow = (struct slow){.job = {.work = wait_at_the_gate, .done = count_slow}};
        pool_submit(pool, &slow->job);
    }
    await(begun[0], WORKERS);
    pool_destroy(pool);
    reactor_destroy(reactor);
    if (slow_done != SLOW_JOBS)
        wrong = 1;
    for (int i = 0; i < WORKERS; i++)
        pass(gate[1]);
    await(ended[0], WORKERS);
    if (slow_done != SLOW_JOBS)
        wrong = 1;
}

int main(void)
{
    if (pipe(begun) < 0 || pipe(gate) < 0 || pipe(ended) < 0 ||
        pthread_key_create(&at_exit_of_thread, say_ended) != 0)
        abort();
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
        destroy_while_threads_work(reactor_backend_name(b));
        printf("%s: %s\n", reactor_backend_name(b), wrong ? "wrong" : "ok");
    }
    return wrong;
}
