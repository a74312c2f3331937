/* A reactor: one loop that waits for many descriptors, timers and signals, and calls a function of
 * yours for each that is ready.
 *
 * A turn of the loop: wait, call the handlers of the ready descriptors, then those of the timers
 * that are due. All handlers run in the thread that called reactor_run(), one after the other; so
 * they need no locks, and none of them may sleep: while one does, everybody waits.
 *
 * Readiness is level-triggered: a handler is called again while there is more, so it need not read
 * everything. Handlers may add, modify and remove any descriptor, start and stop any timer, also
 * their own; nothing that was removed is called again, not even when it was ready already, and an
 * event never reaches a new descriptor that got a closed one's number. What they may not do is run
 * or destroy their own reactor.
 *
 * Functions that return int return 0, or -1 with errno set. Nothing in here ends the process or
 * prints. A reactor belongs to the thread that runs it; only reactor_post() may be called from
 * others. There may be several, one per thread. After fork() the child shares the parent's pipes
 * and its epoll or kqueue: it may only exec or _exit. */
#ifndef REACTOR_H
#define REACTOR_H

#include <stdint.h>

struct reactor;

/* What a descriptor is watched for (interest), or is ready for: a set of these bits. A lost
 * connection is ready for whatever it is watched for: read() or write() then says why. */
enum {
    REACTOR_READ = 1 << 0,
    REACTOR_ERROR = 1 << 1, /* alone: the kernel has refused a reactor_modify(); remove and close */
    REACTOR_WRITE = 1 << 2,
};

/* ----------------------------------------------------------------------------- the reactor --- */

/* backend: "epoll", "kqueue", "poll", "select", or NULL for the best that this system has.
 * Returns NULL with errno: EINVAL for a backend that is not there, ENOMEM, EMFILE. Costs two
 * descriptors, and one more with epoll and kqueue (two with chapter 06's kqueue on Linux). */
struct reactor *reactor_create(const char *backend);

/* Frees it, and gives back the signals. No other thread may be about to post any more, or to take
 * one of its signals: join them first. Descriptors and timers stay the caller's; a timer that still
 * ran is to be zeroed before it is used again. */
void reactor_destroy(struct reactor *reactor);

/* The backend in use; and the names of all, best first, for i from 0 until NULL. */
const char *reactor_backend(const struct reactor *reactor);
const char *reactor_backend_name(int i);

/* Runs turns until a handler calls reactor_stop(); the turn is then finished first. To stop it
 * from another thread, post a task that does; a stop before the run is forgotten. May be run again.
 * EBUSY: it runs already, and a handler calls. Else it fails only when waiting does, as in
 * epoll_wait(2), but never with EINTR. */
int reactor_run(struct reactor *reactor);
void reactor_stop(struct reactor *reactor);

/* The number of the turn: one for all of its handlers, another in the next turn. A handler that is
 * called several times in a turn can tell how much of it it has had. */
uint32_t reactor_turn(const struct reactor *reactor);

/* ----------------------------------------------------------------------------- descriptors --- */

typedef void reactor_handler(struct reactor *reactor, int fd, unsigned ready, void *argument);

/* Watches fd, which stays the caller's and should be non-blocking. EEXIST: it is watched already.
 * EMFILE: select() cannot hold it (FD_SETSIZE). EPERM: epoll cannot watch files. ENOMEM, ENOSPC.
 * kqueue reports reading and writing apart: two calls in one turn. The handlers that are ready in
 * one turn are called in no particular order. */
int reactor_add(struct reactor *reactor, int fd, unsigned interest, reactor_handler *handler,
                void *argument);

/* Changes the interest; 0 pauses. The kernel is told just before the next wait, and not at all if
 * it is then what it was. ENOENT: fd is not watched. */
int reactor_modify(struct reactor *reactor, int fd, unsigned interest);

/* Stops watching. Call it before close(), never after: without it the number would stay taken
 * (EEXIST), select() and poll() would fail or spin on it. ENOENT: fd is not watched. */
int reactor_remove(struct reactor *reactor, int fd);

/* Stops watching and closes fd, with no more system calls than close(2) alone, because close()
 * makes the kernel forget it. Not for a descriptor that was duplicated by dup() or fork(): while
 * another one is open for the same file, epoll goes on to report it. ENOENT: fd is not watched, and
 * open. */
int reactor_close(struct reactor *reactor, int fd);

/* ---------------------------------------------------------------------------------- timers --- */

/* In the caller's memory, zeroed before its first use; must stay there while it runs. */
struct reactor_timer {
    void (*handler)(struct reactor *reactor, struct reactor_timer *timer);
    void *argument;    /* the caller's */
    int64_t due;       /* private from here on */
    int64_t period_ms; /* 0: one-shot */
    int position;      /* in the heap, from 1; 0: not running */
};

/* Calls the timer's handler delay_ms milliseconds after reactor_now_ms(), never before, then every
 * period_ms if that is not 0. Restarts one that runs. A loop that is late skips periods, it does
 * not catch up, but keeps their beat. Those due in the same millisecond are called in the order in
 * which they were started; a delay of 0 means the end of this turn when a descriptor's handler
 * starts it, and the next turn when a timer's does. ENOMEM: it does not run. Costs O(log n) of the
 * timers that run; their memory is kept for the next. */
int reactor_timer_start(struct reactor *reactor, struct reactor_timer *timer, int64_t delay_ms,
                        int64_t period_ms);

/* Stops it, if it runs. */
void reactor_timer_stop(struct reactor *reactor, struct reactor_timer *timer);

/* Milliseconds on the monotonic clock, which is read at most once for all handlers of a turn: one
 * that takes long leaves the others an old time. Outside of reactor_run() it is read each time.
 * clock_gettime(2) */
int64_t reactor_now_ms(struct reactor *reactor);

/* ------------------------------------------------------------------ signals, other threads --- */

/* Calls handler with the signal's number, as an ordinary handler of the loop, in place of what the
 * signal did; several that arrive together may be one, and one that arrives before the run waits
 * for it. A signal goes to the reactor that asked last, in this process. handler NULL, from that
 * reactor: it does again what it did before the first one asked. sigaction(2) */
int reactor_signal(struct reactor *reactor, int signal,
                   void (*handler)(struct reactor *reactor, int signal, void *argument),
                   void *argument);

/* From any thread, but not from a signal handler: calls task(argument) in the reactor's thread,
 * soon, in the order of posting; a task that posts itself keeps nobody waiting. There is no upper
 * bound. ENOMEM. What was posted after the last turn waits for the next run; what still waits at
 * reactor_destroy() is dropped, and its argument is not freed. */
int reactor_post(struct reactor *reactor, void (*task)(void *argument), void *argument);

#endif
