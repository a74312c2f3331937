/* Nothing can stop a thread that works: pthread_cancel() may leave locks of the C library locked
 * forever. So pool_destroy() joins the idle threads and leaves the others alone. Each of these
 * frees its job when the work ends, and the last one frees the pool. */
#include "pool.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>

struct queue {
    struct job *first, **end;
};

struct worker {
    struct pool *pool;
    pthread_t thread;
    struct job *job; /* whose work it does; NULL: none */
    bool left_alone; /* by pool_destroy(), because it works */
};

struct pool {
    struct reactor *reactor;
    pthread_mutex_t lock; /* for all that follow */
    pthread_cond_t work_or_stop;
    struct queue waiting, finished;
    bool stopping;
    int users; /* once stopping: the threads that still use this, pool_destroy()'s too */
    int workers;
    struct worker worker[];
};

static void put(struct queue *queue, struct job *job)
{
    job->next = NULL;
    *queue->end = job;
    queue->end = &job->next;
}

static struct job *take_all(struct queue *queue)
{
    struct job *list = queue->first;
    *queue = (struct queue){NULL, &queue->first};
    return list;
}

static struct job *take_one(struct queue *queue)
{
    struct job *job = queue->first;
    queue->first = job->next;
    if (!queue->first)
        queue->end = &queue->first;
    return job;
}

static void finish(struct job *list)
{
    while (list) {
        struct job *job = list;
        list = job->next;
        job->done(job);
        free(job);
    }
}

/* Posted to the reactor. */
static void deliver(void *argument)
{
    struct pool *pool = argument;
    pthread_mutex_lock(&pool->lock);
    struct job *list = take_all(&pool->finished);
    pthread_mutex_unlock(&pool->lock);
    finish(list);
}

/* The caller has the lock, and loses it. */
static void leave(struct pool *pool)
{
    bool last = --pool->users == 0;
    pthread_mutex_unlock(&pool->lock);
    if (!last)
        return;
    pthread_mutex_destroy(&pool->lock);
    pthread_cond_destroy(&pool->work_or_stop);
    free(pool);
}

/* The caller has the lock, but not while the work is done. */
static void work(struct worker *worker, struct job *job)
{
    struct pool *pool = worker->pool;
    worker->job = job;
    pthread_mutex_unlock(&pool->lock);
    job->work(job);
    pthread_mutex_lock(&pool->lock);
    worker->job = NULL;
    if (pool->stopping) { /* its done() has been called */
        free(job);
        return;
    }
    put(&pool->finished, job);
    /* If memory is out, it is delivered with the next one, or by pool_destroy(). */
    (void)reactor_post(pool->reactor, deliver, pool);
}

static void *run(void *argument)
{
    struct worker *worker = argument;
    struct pool *pool = worker->pool;
    pthread_mutex_lock(&pool->lock);
    while (!pool->stopping) {
        if (pool->waiting.first)
            work(worker, take_one(&pool->waiting));
        else
            pthread_cond_wait(&pool->work_or_stop, &pool->lock);
    }
    leave(pool);
    return NULL;
}

struct pool *pool_create(struct reactor *reactor, int threads)
{
    sigset_t all, before;
    struct pool *pool = calloc(1, sizeof *pool + (size_t)threads * sizeof pool->worker[0]);
    if (!pool)
        return NULL;
    pool->reactor = reactor;
    pthread_mutex_init(&pool->lock, NULL);
    pthread_cond_init(&pool->work_or_stop, NULL);
    take_all(&pool->waiting);
    take_all(&pool->finished);
    sigfillset(&all); /* signals are not for these threads: they would interrupt their work */
    pthread_sigmask(SIG_SETMASK, &all, &before);
    int error = 0;
    while (!error && pool->workers < threads) {
        struct worker *worker = &pool->worker[pool->workers];
        worker->pool = pool;
        error = pthread_create(&worker->thread, NULL, run, worker);
        pool->workers += !error;
    }
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    if (!error)
        return pool;
    pool_destroy(pool);
    errno = error;
    return NULL;
}

void pool_submit(struct pool *pool, struct job *job)
{
    pthread_mutex_lock(&pool->lock);
    put(&pool->waiting, job);
    pthread_cond_signal(&pool->work_or_stop);
    pthread_mutex_unlock(&pool->lock);
}

void pool_destroy(struct pool *pool)
{
    pthread_mutex_lock(&pool->lock);
    pool->stopping = true;
    pool->users = pool->workers + 1;
    pthread_cond_broadcast(&pool->work_or_stop);
    for (int i = 0; i < pool->workers; i++) {
        struct worker *worker = &pool->worker[i];
        worker->left_alone = worker->job != NULL;
        if (worker->left_alone) {
            worker->job->done(worker->job);
            pthread_detach(worker->thread);
        }
    }
    pthread_mutex_unlock(&pool->lock);
    for (int i = 0; i < pool->workers; i++)
        if (!pool->worker[i].left_alone)
            pthread_join(pool->worker[i].thread, NULL);
    finish(pool->finished.first);
    finish(pool->waiting.first);
    pthread_mutex_lock(&pool->lock);
    leave(pool);
}
