/* How a reactor that sleeps is woken by what is not a descriptor: signals, and other threads.
 *
 * Both use one trick, the self-pipe: the reactor watches the reading end of a pipe of its own, and
 * whoever wants it awake writes a byte. write() is allowed in a signal handler, and from any
 * thread. (Linux has eventfd and signalfd for this, the BSDs EVFILT_USER and EVFILT_SIGNAL; the
 * pipe works everywhere, and with select() too.) */
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <unistd.h>

#include "internal.h"

struct posted {
    struct posted *next;
    void (*task)(void *argument);
    void *argument;
};

/* Signals belong to the process, so this table does, too. Several reactors' threads may use it. */
static pthread_mutex_t table_lock = PTHREAD_MUTEX_INITIALIZER;
static struct watched {
    struct reactor *reactor; /* NULL: nobody asked */
    void (*handler)(struct reactor *reactor, int signal, void *argument);
    void *argument;
    struct sigaction before;
    atomic_int pipe;     /* these two are for the signal handler, */
    atomic_bool pending; /* which may run in any thread */
} watched[NSIG];

static void wake(int pipe)
{
    /* A full pipe is as good: there is a byte in it. */
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

static void run_posted(struct reactor *reactor)
{
    pthread_mutex_lock(&reactor->post_lock);
    struct posted *list = reactor->posted;
    reactor->posted = NULL;
    reactor->posted_end = &reactor->posted;
    pthread_mutex_unlock(&reactor->post_lock);

    while (list) { /* without the lock: a task may post */
        struct posted *first = list;
        list = first->next;
        first->task(first->argument);
        free(first);
    }
}

static void run_signal(struct reactor *reactor, int signal)
{
    pthread_mutex_lock(&table_lock);
    struct watched *entry = &watched[signal];
    bool ours = entry->reactor == reactor && atomic_exchange(&entry->pending, false);
    void (*handler)(struct reactor *, int, void *) = entry->handler;
    void *argument = entry->argument;
    pthread_mutex_unlock(&table_lock);
    if (ours)
        handler(reactor, signal, argument);
}

/* Empties the pipe first: who writes after that wakes us again. */
static void on_wake(struct reactor *reactor, int fd, unsigned ready, void *argument)
{
    char bytes[64];
    (void)ready;
    (void)argument;
    while (read(fd, bytes, sizeof bytes) == sizeof bytes)
        continue;
    for (int signal = 1; signal < NSIG; signal++)
        if (watched[signal].pending)
            run_signal(reactor, signal);
    run_posted(reactor);
}

static int set_signal(struct reactor *reactor, int signal,
                      void (*handler)(struct reactor *reactor, int signal, void *argument),
                      void *argument)
{
    struct watched *entry = &watched[signal];
    struct sigaction action = {.sa_handler = on_signal, .sa_flags = SA_RESTART};
    bool first = !entry->reactor;
    if (!handler && entry->reactor != reactor)
        return 0; /* it is not this reactor's to give back */
    if (!handler) {
        entry->reactor = NULL;
        return sigaction(signal, &entry->before, NULL);
    }
    if (first)
        entry->pending = false;
    entry->pipe = reactor->wake_pipe[1];
    sigemptyset(&action.sa_mask);
    /* Not a second time: meanwhile the signal would do what it did before, and end the process. */
    if (first && sigaction(signal, &action, &entry->before) < 0)
        return -1;
    entry->handler = handler;
    entry->argument = argument;
    entry->reactor = reactor;
    if (entry->pending) /* the one who had it has not looked yet */
        wake(entry->pipe);
    return 0;
}

int reactor_signal(struct reactor *reactor, int signal,
                   void (*handler)(struct reactor *reactor, int signal, void *argument),
                   void *argument)
{
    if (signal <= 0 || signal >= NSIG) {
        errno = EINVAL;
        return -1;
    }
    pthread_mutex_lock(&table_lock);
    int result = set_signal(reactor, signal, handler, argument);
    pthread_mutex_unlock(&table_lock);
    return result;
}

int reactor_post(struct reactor *reactor, void (*task)(void *argument), void *argument)
{
    struct posted *posted = malloc(sizeof *posted);
    if (!posted)
        return -1;
    *posted = (struct posted){.task = task, .argument = argument};
    pthread_mutex_lock(&reactor->post_lock);
    bool first = !reactor->posted;
    *reactor->posted_end = posted;
    reactor->posted_end = &posted->next;
    pthread_mutex_unlock(&reactor->post_lock);
    if (first) /* the others find it awake, or about to wake */
        wake(reactor->wake_pipe[1]);
    return 0;
}

int wakeup_create(struct reactor *reactor)
{
    int *ends = reactor->wake_pipe;
    if (pipe(ends) < 0)
        return -1;
    for (int i = 0; i < 2; i++) {
        fcntl(ends[i], F_SETFD, FD_CLOEXEC);
        fcntl(ends[i], F_SETFL, O_NONBLOCK);
    }
    reactor->posted_end = &reactor->posted;
    pthread_mutex_init(&reactor->post_lock, NULL);
    if (reactor_add(reactor, ends[0], REACTOR_READ, on_wake, NULL) == 0)
        return 0;
    close(ends[0]);
    close(ends[1]);
    return -1;
}

void wakeup_destroy(struct reactor *reactor)
{
    pthread_mutex_lock(&table_lock);
    for (int signal = 1; signal < NSIG; signal++)
        if (watched[signal].reactor == reactor)
            set_signal(reactor, signal, NULL, NULL);
    pthread_mutex_unlock(&table_lock);
    while (reactor->posted) {
        struct posted *first = reactor->posted;
        reactor->posted = first->next;
        free(first);
    }
    pthread_mutex_destroy(&reactor->post_lock);
    close(reactor->wake_pipe[0]);
    close(reactor->wake_pipe[1]);
}
