/* Signals and other threads use one trick, the self-pipe. The reactor watches the reading end of a
 * pipe of its own, and a byte that is written to the other end wakes it. write() is allowed in a
 * signal handler, and in any thread. (Linux has eventfd and signalfd for this, the BSDs EVFILT_USER
 * and EVFILT_SIGNAL; the pipe works everywhere, and with select() too.) */
#include "wakeup.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

struct posted {
    struct posted *next;
    void (*task)(void *argument);
    void *argument;
};

/* Signals belong to the process, and so does this table. Several reactors' threads may use it. */
static pthread_mutex_t table_lock = PTHREAD_MUTEX_INITIALIZER;
static struct watched {
    struct wakeup *wakeup; /* whose signal it is; NULL: not watched */
    signal_handler *handler;
    void *argument;
    struct sigaction before; /* what the signal did, to be given back */
    atomic_int pipe;         /* these two are for on_signal(), */
    atomic_bool pending;     /* which may run in any thread */
} watched[NSIG];

/* A full pipe is as good: it has a byte in it. */
static void wake(int pipe)
{
    while (write(pipe, "", 1) < 0 && errno == EINTR)
        continue;
}

static void on_signal(int signal)
{
    int error = errno; /* the code that we interrupt may be about to look at it */
    watched[signal].pending = true;
    wake(watched[signal].pipe);
    errno = error;
}

/* -------------------------------------------------------------------- in the reactor's thread ---
 */

static void run_signal(struct wakeup *wakeup, struct reactor *reactor, int signal)
{
    pthread_mutex_lock(&table_lock);
    struct watched *entry = &watched[signal];
    bool ours = entry->wakeup == wakeup && atomic_exchange(&entry->pending, false);
    signal_handler *handler = entry->handler;
    void *argument = entry->argument;
    pthread_mutex_unlock(&table_lock);
    if (ours)
        handler(reactor, signal, argument);
}

static void run_posted(struct wakeup *wakeup)
{
    pthread_mutex_lock(&wakeup->lock);
    struct posted *list = wakeup->first;
    wakeup->first = NULL;
    wakeup->end = &wakeup->first;
    pthread_mutex_unlock(&wakeup->lock);

    while (list) { /* without the lock: a task may post */
        struct posted *posted = list;
        list = posted->next;
        posted->task(posted->argument);
        free(posted);
    }
}

/* It empties the pipe first, so that a later byte wakes us again. */
void wakeup_run(struct wakeup *wakeup, struct reactor *reactor)
{
    char bytes[64];
    while (read(wakeup->pipe[0], bytes, sizeof bytes) == sizeof bytes)
        continue;
    for (int signal = 1; signal < NSIG; signal++)
        if (watched[signal].pending)
            run_signal(wakeup, reactor, signal);
    run_posted(wakeup);
}

/* --------------------------------------------------------------------- asking for what comes ---
 */

static int give_back(struct watched *entry, int signal)
{
    entry->wakeup = NULL;
    return sigaction(signal, &entry->before, NULL);
}

/* If another reactor had the signal until now, the handler is on_signal() already. To install it
 * again would give `before` a wrong value. */
static int take_signal(struct watched *entry, struct wakeup *wakeup, int signal)
{
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    bool first = !entry->wakeup;
    if (first)
        entry->pending = false;
    entry->pipe = wakeup->pipe[1]; /* before sigaction(): the signal may come at once */
    sigemptyset(&action.sa_mask);
    if (first && sigaction(signal, &action, &entry->before) < 0)
        return -1;
    entry->wakeup = wakeup;
    return 0;
}

int wakeup_signal(struct wakeup *wakeup, int signal, signal_handler *handler, void *argument)
{
    if (signal <= 0 || signal >= NSIG) {
        errno = EINVAL;
        return -1;
    }
    int result = 0;
    pthread_mutex_lock(&table_lock);
    struct watched *entry = &watched[signal];
    if (handler) {
        result = take_signal(entry, wakeup, signal);
        if (result == 0) {
            entry->handler = handler;
            entry->argument = argument;
            if (entry->pending) /* the reactor that had it has not looked yet */
                wake(entry->pipe);
        }
    } else if (entry->wakeup == wakeup) {
        result = give_back(entry, signal);
    }
    pthread_mutex_unlock(&table_lock);
    return result;
}

int wakeup_post(struct wakeup *wakeup, void (*task)(void *argument), void *argument)
{
    struct posted *posted = malloc(sizeof *posted);
    if (!posted)
        return -1;
    *posted = (struct posted){.task = task, .argument = argument};
    pthread_mutex_lock(&wakeup->lock);
    bool first = !wakeup->first;
    *wakeup->end = posted;
    wakeup->end = &posted->next;
    pthread_mutex_unlock(&wakeup->lock);
    if (first) /* otherwise the reactor is awake, or about to wake */
        wake(wakeup->pipe[1]);
    return 0;
}

/* ----------------------------------------------------------------------- beginning and end --- */

int wakeup_create(struct wakeup *wakeup)
{
    if (pipe(wakeup->pipe) < 0)
        return -1;
    for (int i = 0; i < 2; i++) {
        fcntl(wakeup->pipe[i], F_SETFD, FD_CLOEXEC);
        fcntl(wakeup->pipe[i], F_SETFL, O_NONBLOCK);
    }
    wakeup->first = NULL;
    wakeup->end = &wakeup->first;
    pthread_mutex_init(&wakeup->lock, NULL);
    return wakeup->pipe[0];
}

void wakeup_destroy(struct wakeup *wakeup)
{
    pthread_mutex_lock(&table_lock);
    for (int signal = 1; signal < NSIG; signal++)
        if (watched[signal].wakeup == wakeup)
            give_back(&watched[signal], signal);
    pthread_mutex_unlock(&table_lock);
    while (wakeup->first) {
        struct posted *posted = wakeup->first;
        wakeup->first = posted->next;
        free(posted);
    }
    pthread_mutex_destroy(&wakeup->lock);
    close(wakeup->pipe[0]);
    close(wakeup->pipe[1]);
}
