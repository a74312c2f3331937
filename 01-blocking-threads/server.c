/* Chapter 1: blocking sockets, a thread for each client.
 *
 * One client is served as in iterative.c. The rest is what threads bring along: starting one may
 * fail, and when the server stops it must find all of them, and wake them. */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/queue.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "log.h"
#include "net.h"
#include "options.h"

enum {
    BUFFER_SIZE = 8 * 1024,  /* on each thread's stack, and most threads only sleep */
    STACK_SIZE = 128 * 1024, /* 8 MiB are usual: addresses only, but 80 GB of them for 10,000 */
    RETRY_MS = 100,          /* out of descriptors: stop accepting for this long */
    STOP_MS = 1000,          /* how long a stopping server waits for its clients */
    WAKE_INTERVAL_MS = 10,   /* how often a stopping server wakes its threads again */
};

/* The stop, step by step. */
static atomic_bool closing;    /* accept the clients in the backlog, then no more */
static atomic_bool stopping;   /* echo what has arrived, then end */
static atomic_bool time_is_up; /* end at once */
static int backlog_max;        /* clients that may be waiting in the backlog */

static int send_all(int fd, const char *bytes, size_t length);

/* One client's thread. It sleeps in recv() until the client speaks, and in send() while the client
 * does not read: backpressure comes for free. Returns true if the server stops. */
static bool echo(int fd)
{
    char buffer[BUFFER_SIZE];

    while (!stopping) {
        ssize_t received = recv(fd, buffer, sizeof buffer, 0);
        if (received == 0)
            return false;
        if (received < 0 && errno == EINTR)
            continue; /* perhaps the stop has woken us: look at its flag */
        if (received < 0 || send_all(fd, buffer, (size_t)received) < 0) {
            if (log_verbose)
                log_event("client %d: %s", fd, strerror(errno));
            return false; /* this client is lost; the others have their own threads */
        }
    }
    return true;
}

/* Was the call interrupted by a signal, and is there still time to call it again? */
static bool interrupted(ssize_t result)
{
    return result < 0 && errno == EINTR && !time_is_up;
}

/* A blocking send() waits for room, but after a signal it may still take less than all. If the rest
 * cannot be sent, the client must not take our close() for the end of its echo. */
static int send_all(int fd, const char *bytes, size_t length)
{
    while (length > 0) {
        ssize_t sent = send(fd, bytes, length, 0);
        if (interrupted(sent))
            continue;
        if (sent < 0) {
            net_reset_on_close(fd);
            return -1;
        }
        bytes += sent;
        length -= (size_t)sent;
    }
    return 0;
}

/* ------------------------------------------------------------------------- all the threads --- */

/* A thread that sleeps in calls on one descriptor: a client's, or the listener. They are linked
 * into a list, so that the stop finds them. */
struct sleeper {
    int fd;
    pthread_t thread;
    atomic_bool noticed; /* it has seen that the server stops */
    atomic_bool settled; /* all that it owed has been sent, and FIN */
    LIST_ENTRY(sleeper) link;
};

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;                    /* for the list */
static LIST_HEAD(list, sleeper) sleepers = LIST_HEAD_INITIALIZER(sleepers); /* queue(3) */

/* Returns 0 or an error number. The thread gets its struct sleeper, and ends with list_remove(). */
static int start_thread(void *(*function)(void *), int fd)
{
    struct sleeper *self = calloc(1, sizeof *self);
    pthread_attr_t attributes;
    if (!self)
        return ENOMEM;
    self->fd = fd;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes,
                              STACK_SIZE); /* or the usual size, if this is too little */
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    pthread_mutex_lock(&lock); /* the thread cannot leave the list before it is in it */
    int error = pthread_create(&self->thread, &attributes, function, self);
    if (!error)
        LIST_INSERT_HEAD(&sleepers, self, link);
    pthread_mutex_unlock(&lock);
    pthread_attr_destroy(&attributes);
    if (error)
        free(self);
    return error;
}

/* Unlinks and closes under one lock. Otherwise the stop might find a closed descriptor in the list,
 * and reset a new client that has got its number. */
static void list_remove(struct sleeper *self)
{
    pthread_mutex_lock(&lock);
    LIST_REMOVE(self, link);
    close(self->fd);
    pthread_mutex_unlock(&lock);
    free(self);
}

/* The server stops: echoes what has arrived until now, sends FIN, and reads on until the client's
 * FIN. Otherwise close() might find unread bytes, and send RST, which destroys the echo still on
 * its way (RFC 1122 section 4.2.2.13). */
static void finish(struct sleeper *self)
{
    char buffer[BUFFER_SIZE];
    ssize_t received = 0;
    int owed = 0;

    ioctl(self->fd, FIONREAD, &owed); /* bytes that wait to be read */
    while (owed > 0) {
        received = recv(self->fd, buffer, owed < BUFFER_SIZE ? (size_t)owed : BUFFER_SIZE, 0);
        if (interrupted(received))
            continue;
        if (received <= 0 || send_all(self->fd, buffer, (size_t)received) < 0)
            return;
        owed -= (int)received;
    }
    shutdown(self->fd, SHUT_WR);
    self->settled = true;
    do
        received = recv(self->fd, buffer, sizeof buffer, 0);
    while (received > 0 || interrupted(received));
}

static void *serve(void *argument)
{
    struct sleeper *self = argument;
    if (echo(self->fd)) {
        self->noticed = true;
        finish(self);
    }
    list_remove(self);
    return NULL;
}

/* -------------------------------------------------------------------------------- accepting --- */

static void sleep_ms(int ms)
{
    nanosleep(&(struct timespec){.tv_nsec = ms * 1000000L}, NULL);
}

static enum net_accepted accept_client(int listener)
{
    int client;
    enum net_accepted got = net_accept(listener, false, &client);
    int error = got == NET_CLIENT ? start_thread(serve, client) : 0;
    if (error) /* EAGAIN: out of threads. The connected clients go on. */
        net_turn_away(client, strerror(error));
    return got;
}

/* The thread that accepts, because main() sleeps in sigwait(). It is in the list, too: the stop has
 * to wake it from accept(). */
static void *accept_clients(void *argument)
{
    struct sleeper *self = argument;
    self->settled = true; /* it owes nothing: never reset the listener */
    while (!closing)
        if (accept_client(self->fd) == NET_EXHAUSTED)
            sleep_ms(RETRY_MS); /* accept() would fail again at once */
    /* Clients in the backlog have been told that they are connected, so we accept them, too. */
    enum net_accepted got = NET_CLIENT;
    fcntl(self->fd, F_SETFL, O_NONBLOCK); /* so that accept() returns when there are no more */
    for (int i = 0; i < backlog_max && (got == NET_CLIENT || got == NET_LOST); i++)
        got = accept_client(self->fd);
    list_remove(self);
    stopping = true; /* only now: a client that sees FIN may connect again, and must be refused */
    return NULL;
}

/* -------------------------------------------------------------------------------- the stop --- */

/* The handler does nothing. Yet, without SA_RESTART, a call that sleeps returns EINTR. */
static void on_wake_up(int signal)
{
    (void)signal;
}

/* Wakes the threads that have not noticed the stop. Once the time is up it wakes all, and each
 * client that is still owed bytes gets RST on close. Returns false if no thread is left. A signal
 * that comes just before recv() falls asleep is lost, so stop() calls this again and again. */
static bool wake_sleepers(void)
{
    pthread_mutex_lock(&lock);
    struct sleeper *first = LIST_FIRST(&sleepers);
    for (struct sleeper *s = first; s; s = LIST_NEXT(s, link)) {
        if (time_is_up && !s->settled)
            net_reset_on_close(s->fd);
        if (time_is_up || !s->noticed)
            pthread_kill(s->thread, SIGUSR1);
    }
    pthread_mutex_unlock(&lock);
    return first != NULL;
}

static void stop(void)
{
    int64_t deadline = net_now_ms() + STOP_MS;
    closing = true;
    while (wake_sleepers() && net_ms_left(deadline) > 0)
        sleep_ms(WAKE_INTERVAL_MS);
    time_is_up = true;
    for (int i = 0; i < 10 && wake_sleepers(); i++) /* exit() ends those that are left */
        sleep_ms(WAKE_INTERVAL_MS);
}

int main(int argc, char **argv)
{
    struct net_settings settings = options_parse(argc, argv, NULL);
    sigset_t signals = stop_signals_block(); /* in all threads: they inherit main()'s mask */
    int signal;

    sigaction(SIGUSR1, &(struct sigaction){.sa_handler = on_wake_up}, NULL); /* no SA_RESTART */
    backlog_max = net_backlog_max(settings.backlog);
    int listener = net_listen(&settings, false);
    if (listener < 0)
        return 1;
    errno = start_thread(accept_clients, listener);
    if (errno)
        err(1, "pthread_create");
    if (net_announce(listener) < 0)
        return 1;
    sigwait(&signals, &signal);
    stop();
    return 0;
}
