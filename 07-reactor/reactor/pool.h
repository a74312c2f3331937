/* A pool of threads for work that blocks: the loop must not block, they may. A job lies in memory
 * from malloc(), which belongs to the pool from pool_submit() on. The pool calls its done() once,
 * and frees it. */
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

/* From the reactor's thread. First come, first served. There is no upper bound: if clients cause
 * the jobs, set one. */
void pool_submit(struct pool *pool, struct job *job);

/* Call it when the reactor has stopped and will not run again, but before reactor_destroy(). It
 * does not wait for work that has begun, because that may take any time: the thread goes on,
 * touches nothing but its job, and frees it in the end, unless the process ends first. The pool now
 * calls each done() that it has not called yet, even for work that has not begun or is not
 * finished: they must not look at anything that work() changes, and must not submit. */
void pool_destroy(struct pool *pool);

#endif
