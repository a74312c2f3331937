/* A pool of threads for work that blocks: the loop must not, they may. A job belongs to the pool
 * from pool_submit() until its done() is called; each job gets that call, exactly once. */
#ifndef POOL_H
#define POOL_H

#include "reactor.h"

/* Put it into a struct of your own. */
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

/* When the reactor has stopped and will not run again, but before reactor_destroy(): waits for the
 * work that has begun, however long that takes, and calls all done() that were not called yet, also
 * of work that never began. They may not submit any more. */
void pool_destroy(struct pool *pool);

#endif
