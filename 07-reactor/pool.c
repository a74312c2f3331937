#include "pool.h"

#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>

struct queue {
    struct job *first, **end;
};

struct pool {
    struct reactor *reactor;
    pthread_mutex_t lock; /* for all that follow */
    pthread_cond_t work_or_stop;
    struct queue waiting, finished;
    bool stopping;
    int threads;
    pthread_t thread[];
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

static void call_done(struct job *list)
{
    while (list) {
        struct job *job = list;
        list = job->next;
        job->done(job);
    }
}

/* Posted to the reactor. */
static void deliver(void *argument)
{
    struct pool *pool = argument;
    pthread_mutex_lock(&pool->lock);
    struct job *list = take_all(&pool->finished);
    pthread_mutex_unlock(&pool->lock);
    call_done(list);
}

static void *run(void *argument)
{
    struct pool *pool = argument;
    pthread_mutex_lock(&pool->lock);
    while (!pool->stopping) {
        struct job *job = pool->waiting.first;
        if (!job) {
            pthread_cond_wait(&pool->work_or_stop, &pool->lock);
            continue;
        }
        pool->waiting.first = job->next;
        if (!job->next)
            pool->waiting.end = &pool->waiting.first;
        pthread_mutex_unlock(&pool->lock);
        job->work(job);
        pthread_mutex_lock(&pool->lock);
        put(&pool->finished, job);
        /* If memory is out, it is delivered with the next one, or by pool_destroy(). */
        (void)reactor_post(pool->reactor, deliver, pool);
    }
    pthread_mutex_unlock(&pool->lock);
    return NULL;
}

struct pool *pool_create(struct reactor *reactor, int threads)
{
    sigset_t all, before;
    struct pool *pool = calloc(1, sizeof *pool + (size_t)threads * sizeof(pthread_t));
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
    while (!error && pool->threads < threads) {
        error = pthread_create(&pool->thread[pool->threads], NULL, run, pool);
        pool->threads += !error;
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
    pthread_cond_broadcast(&pool->work_or_stop);
    pthread_mutex_unlock(&pool->lock);
    for (int i = 0; i < pool->threads; i++)
        pthread_join(pool->thread[i], NULL);
    call_done(pool->finished.first);
    call_done(pool->waiting.first);
    pthread_mutex_destroy(&pool->lock);
    pthread_cond_destroy(&pool->work_or_stop);
    free(pool);
}
