/* A reactor: one loop that waits for many descriptors, timers and signals, and calls a function of
 * yours, a handler, for each that is ready.
 *
 * A turn of the loop waits, calls the handlers of the ready descriptors, and then those of the
 * timers that are due. All handlers run in the thread that called reactor_run(), one after the
 * other. So they need no locks, and none of them may sleep: while one sleeps, everything waits.
 *
 * Readiness is level-triggered: the reactor calls a handler again while there is more, so a handler
 * need not read everything. A handler may add, modify and remove any descriptor, and start and stop
 * any timer, its own included. The reactor never calls what was removed, not even if it was ready
 * already, and an event never reaches a new descriptor that has got a closed one's number. A
 * handler may not run or destroy its own reactor.
 *
 * Functions that return int return 0, or -1 with errno set. None of them ends the process or
 * prints. A reactor belongs to the thread that runs it; other threads may call only reactor_post().
 * A program may have several reactors, one per thread. After fork() the child shares the parent's
 * pipes and its epoll or kqueue: it may only exec or _exit. */
#ifndef REACTOR_H
#define REACTOR_H

#include <stdint.h>

struct reactor;

/* What a descriptor is watched for (its interest), or is ready for: a set of these bits. A lost
 * connection is ready for all that it is watched for: read() or write() then says why. (READ and
 * WRITE are the numbers of EPOLLIN and EPOLLOUT: so little is left to translate.) */
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

/* Frees it, and gives back the signals. No other thread may still post to it, or take one of its
 * signals: join them first. Descriptors and timers stay the caller's. Zero a timer that still ran
 * before you use it again. */
void reactor_destroy(struct reactor *reactor);

/* The backend in use; and the names of all, best first, for i from 0 until NULL. */
const char *reactor_backend(const struct reactor *reactor);
const char *reactor_backend_name(int i);

/* Runs turns until a handler calls reactor_stop(), and finishes that turn. To stop it from another
 * thread, post a task that calls reactor_stop(). A stop before the run is forgotten. It may be run
 * again. EBUSY: it runs already, and a handler has called this. Otherwise it fails only if the wait
 * fails, as epoll_wait(2), but never with EINTR. */
int reactor_run(struct reactor *reactor);
void reactor_stop(struct reactor *reactor);

/* The number of the turn, the same for all of its handlers. A handler that is called several times
 * in a turn can count how much of the turn it has had. */
uint32_t reactor_turn(const struct reactor *reactor);

/* ----------------------------------------------------------------------------- descriptors --- */

typedef void reactor_handler(struct reactor *reactor, int fd, unsigned ready, void *argument);

/* Watches fd, which stays the caller's and should be non-blocking. EEXIST: it is watched already.
 * EMFILE: its number is too high for select() (FD_SETSIZE). EPERM: epoll cannot watch files.
 * ENOMEM, ENOSPC. kqueue reports reading and writing apart: two calls of the handler in one turn.
 * The handlers of a turn are called in no particular order. */
int reactor_add(struct reactor *reactor, int fd, unsigned interest, reactor_handler *handler,
                void *argument);

/* Changes the interest; 0 pauses. The reactor tells the kernel just before the next wait, and not
 * at all if the interest is then what it was. ENOENT: fd is not watched. */
int reactor_modify(struct reactor *reactor, int fd, unsigned interest);

/* Stops watching. Call it before close(), never after: otherwise the number stays taken (EEXIST),
 * and select() and poll() fail or spin on it. ENOENT: fd is not watched. */
int reactor_remove(struct reactor *reactor, int fd);

/* Stops watching fd and closes it. This costs no more system calls than close(2) alone, because
 * close() makes the kernel forget the descriptor. Do not use it after dup() or fork(): while
 * another descriptor is open for the same file, epoll goes on to report it. ENOENT: fd is not
 * watched, and stays open. */
int reactor_close(struct reactor *reactor, int fd);

/* ---------------------------------------------------------------------------------- timers --- */

/* Lies in the caller's memory. Zero it before its first use; it must stay where it is while it
 * runs. */
struct reactor_timer {
    void (*handler)(struct reactor *reactor, struct reactor_timer *timer);
    void *argument;    /* the caller's */
    int64_t due;       /* private from here on */
    int64_t period_ms; /* 0: one-shot */
    int position;      /* in the heap, from 1; 0: not running */
};

/* Calls the timer's handler delay_ms milliseconds after reactor_now_ms(), never earlier, and then
 * every period_ms if that is not 0. A timer that runs is started anew. A loop that is late skips
 * periods and keeps their beat. Timers that are due in the same millisecond are called in the order
 * in which they were started. With a delay of 0 the handler is called at the end of this turn, or
 * in the next turn if a timer's handler starts it. ENOMEM: it does not run. Costs O(log n) of the
 * timers that run; their memory is kept for the next. */
int reactor_timer_start(struct reactor *reactor, struct reactor_timer *timer, int64_t delay_ms,
                        int64_t period_ms);

/* Stops it, if it runs. */
void reactor_timer_stop(struct reactor *reactor, struct reactor_timer *timer);

/* Milliseconds on the monotonic clock. The reactor reads it at most once for all handlers of a
 * turn, so a handler that takes long leaves the others an old time. Outside of reactor_run() it is
 * read each time. clock_gettime(2) */
int64_t reactor_now_ms(struct reactor *reactor);

/* ------------------------------------------------------------------ signals, other threads --- */

/* Calls handler with the signal's number, as an ordinary handler of the loop, in place of what the
 * signal did before. Several signals that arrive together may be one call; a signal that arrives
 * before the run waits for it. In a process, a signal goes to the reactor that asked for it last. A
 * NULL handler from that reactor gives it back what it did before the first one asked. sigaction(2)
 */
int reactor_signal(struct reactor *reactor, int signal,
                   void (*handler)(struct reactor *reactor, int signal, void *argument),
                   void *argument);

/* From any thread, but not from a signal handler: calls task(argument) in the reactor's thread,
 * soon, in the order of posting. A task that posts itself does not keep the others waiting. There
 * is no upper bound. ENOMEM. Tasks that are posted after the last turn wait for the next run; those
 * that still wait at reactor_destroy() are dropped, and their arguments are not freed. */
int reactor_post(struct reactor *reactor, void (*task)(void *argument), void *argument);

#endif
