/* What wakes a reactor that sleeps and is no descriptor: signals, and tasks from other threads.
 * Only reactor.c uses this. */
#ifndef WAKEUP_H
#define WAKEUP_H

#include <pthread.h>

#include "reactor.h"

typedef void signal_handler(struct reactor *reactor, int signal, void *argument);

struct wakeup {
    int pipe[2]; /* a byte in it ends the wait */
    pthread_mutex_t lock;
    struct posted *first, **end; /* the posted tasks, under the lock */
};

/* Returns a descriptor that becomes readable when there is something for wakeup_run() to do, or -1
 * with errno. It belongs to the wakeup. The struct must stay where it is. */
int wakeup_create(struct wakeup *wakeup);
void wakeup_destroy(struct wakeup *wakeup);

/* Calls the handlers of the signals that have come, with this reactor, and the posted tasks. */
void wakeup_run(struct wakeup *wakeup, struct reactor *reactor);

/* As reactor_signal() and reactor_post(). */
int wakeup_signal(struct wakeup *wakeup, int signal, signal_handler *handler, void *argument);
int wakeup_post(struct wakeup *wakeup, void (*task)(void *argument), void *argument);

#endif
