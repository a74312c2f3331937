/* A pool of threads for work that blocks: the loop must not, they may. A job is memory from
 * malloc(). It belongs to the pool from pool_submit() on, which frees it; its done() is called once
 * before that. */
#ifndef POOL_H
#define POOL_H

#include "reactor.h"

/* The first member of a struct of your own. */
struct job {
    void (*work)(struct job *job); /* in a thread of the pool: touch nothing but the job */
    void (*done)(struct job *job); /* in the reactor's thread, afterwards */
    struct job *next;              /* private */
};

/* Threads that work for this reactor. NULL with errno, as pthread_create(3). */
struct pool *pool_create(struct reactor *reactor, int threads);

/* From the reactor's thread. First come, first served. There is no upper bound: who submits for
 * others has to set one. */
void pool_submit(struct pool *pool, struct job *job);

/* When the reactor has stopped and will not run again, but before reactor_destroy(). Calls all
 * done() that were not called yet, also of work that has not begun or is not finished: they may not
 * look at anything that work() changes, and not submit any more. Does not wait for work that has
 * begun: nobody could say how long that takes. Its thread goes on, touches nothing but its job, and
 * frees that in the end; or it ends with the process. */
void pool_destroy(struct pool *pool);

#endif
