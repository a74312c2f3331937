/* Stage 1: blocking sockets, a thread for each client.
 *
 * One client is served as iterative.c does it: recv(), send(), and the kernel puts whoever must
 * wait to sleep. What is new is everything around it: threads that may not start, a list of who
 * is connected, and a way to wake the sleepers when the server stops. */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdint.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "log.h"
#include "net.h"
#include "options.h"

enum {
    BUFFER_SIZE = 8 * 1024, /* on each thread's stack, and most threads only sleep */
    STACK_SIZE = 64 * 1024, /* the usual 8 MiB are only addresses, but 10,000 times that is 80 GB */
    RETRY_MS = 100,         /* after running out of descriptors, accept again this soon */
    STOP_MS = 1000,         /* how long a stopping server waits for its clients */
    LOOK_MS = 10,           /* and how often it looks whether they have gone */
};

/* A thread that sleeps in the calls on one descriptor: a client's, or the listener. It lies on that
 * thread's stack, linked into the list below. */
struct sleeper {
    int fd;
    pthread_t thread;
    bool told;    /* it knows that the server stops */
    bool settled; /* it owes nothing more: its client has got everything, and FIN */
    struct sleeper *previous, *next;
};

/* What the threads share, and the lock that everybody takes to touch it. */
static struct {
    pthread_mutex_t lock;
    struct sleeper *sleepers;
    int backlog_max;        /* how many may wait to be let in */
    int threads;            /* started or about to start: for a moment more than are in the list */
    atomic_bool closing;    /* first nobody more is let in, */
    atomic_bool stopping;   /* then everybody ends; read without the lock, between two echoes */
    atomic_bool time_is_up; /* and those who still wait for a client give it up */
} shared = {.lock = PTHREAD_MUTEX_INITIALIZER};

static void sleep_ms(int ms)
{
    nanosleep(&(struct timespec){.tv_nsec = ms * 1000000L}, NULL);
}

/* ------------------------------------------------------------------ one client, one thread --- */

/* A signal has made a call return early: is there still time to call it again? */
static bool interrupted(ssize_t result)
{
    return result < 0 && errno == EINTR && !shared.time_is_up;
}

/* send() in blocking mode waits for room, but may still take less than all: after a signal. If not
 * all of it can be sent, the client must not take our close() for the end of its echo. */
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

/* Sleeps in recv() until the client speaks, and in send() while it does not listen: so a thread
 * never reads while it owes bytes, and backpressure comes for free. Returns when the client has
 * finished or is lost (false), or when the server stops (true). */
static bool echo(int fd)
{
    char buffer[BUFFER_SIZE];

    while (!shared.stopping) {
        ssize_t received = recv(fd, buffer, sizeof buffer, 0);
        if (received == 0)
            return false;
        if (received < 0 && errno == EINTR)
            continue; /* perhaps it was wake(): look at stopping again */
        if (received < 0 || send_all(fd, buffer, (size_t)received) < 0) {
            if (log_verbose)
                log_event("client %d: %s", fd, strerror(errno));
            return false; /* this client is lost; the others have their own threads */
        }
    }
    return true;
}

/* Sets one of the flags in a sleeper, which others look at. */
static void set(bool *flag)
{
    pthread_mutex_lock(&shared.lock);
    *flag = true;
    pthread_mutex_unlock(&shared.lock);
}

/* The server stops: echo what has arrived until now, send FIN, then read on until the client's
 * own FIN. Without that close() might find unread bytes, and answer with RST instead of FIN, which
 * destroys the echo still on its way (RFC 1122 section 4.2.2.13). */
static void finish(struct sleeper *self)
{
    char buffer[BUFFER_SIZE];
    ssize_t received = 0;
    int left = 0;

    ioctl(self->fd, FIONREAD, &left);
    while (left > 0) {
        received = recv(self->fd, buffer, left < BUFFER_SIZE ? (size_t)left : BUFFER_SIZE, 0);
        if (interrupted(received))
            continue;
        if (received <= 0 || send_all(self->fd, buffer, (size_t)received) < 0)
            return;
        left -= (int)received;
    }
    shutdown(self->fd, SHUT_WR);
    set(&self->settled);
    do
        received = recv(self->fd, buffer, sizeof buffer, 0);
    while (received > 0 || interrupted(received));
}

static void enter(struct sleeper *self)
{
    pthread_mutex_lock(&shared.lock);
    self->next = shared.sleepers;
    if (self->next)
        self->next->previous = self;
    shared.sleepers = self;
    pthread_mutex_unlock(&shared.lock);
}

/* The list must not name a descriptor that is closed, or stop() would reset whichever client gets
 * the same number next: unlink and close under one lock. */
static void leave(struct sleeper *self)
{
    pthread_mutex_lock(&shared.lock);
    if (self->previous)
        self->previous->next = self->next;
    else
        shared.sleepers = self->next;
    if (self->next)
        self->next->previous = self->previous;
    close(self->fd);
    shared.threads--;
    pthread_mutex_unlock(&shared.lock);
}

static void *serve(void *argument)
{
    struct sleeper self = {.fd = (int)(intptr_t)argument, .thread = pthread_self()};
    enter(&self);
    if (echo(self.fd)) {
        set(&self.told);
        finish(&self);
    }
    leave(&self);
    return NULL;
}

/* ------------------------------------------------------------------------------- accepting --- */

static pthread_attr_t small_and_detached(void)
{
    pthread_attr_t attributes;
    size_t size = STACK_SIZE;
    if (size < (size_t)PTHREAD_STACK_MIN)
        size = (size_t)PTHREAD_STACK_MIN;
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, size);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    return attributes;
}

static void count_threads(int change)
{
    pthread_mutex_lock(&shared.lock);
    shared.threads += change;
    pthread_mutex_unlock(&shared.lock);
}

/* The descriptor travels inside the pointer. A pointer to the caller's variable would be wrong:
 * the next accept() overwrites it, perhaps before the new thread has looked. */
static void start_client(int fd)
{
    pthread_attr_t attributes = small_and_detached();
    pthread_t thread;

    count_threads(+1);
    int error = pthread_create(&thread, &attributes, serve, (void *)(intptr_t)fd);
    pthread_attr_destroy(&attributes);
    if (error) { /* EAGAIN: out of threads. Those who are connected go on. */
        log_warning("no thread for client %d, turned away: %s", fd, strerror(error));
        close(fd);
        count_threads(-1);
    }
}

/* Whoever is in the backlog has been told that it is connected: let it in. */
static void empty_backlog(int listener)
{
    fcntl(listener, F_SETFL, O_NONBLOCK);
    for (int i = 0; i < shared.backlog_max; i++) {
        int client;
        enum net_accepted got = net_accept(listener, false, &client);
        if (got == NET_CLIENT)
            start_client(client);
        else if (got != NET_LOST)
            return;
    }
}

/* Accepts until the server stops. Has a thread of its own, because main() sleeps in sigwait(). */
static void *accept_clients(void *argument)
{
    int listener = (int)(intptr_t)argument;
    struct sleeper self = {.fd = listener, .thread = pthread_self(), .settled = true};
    enter(&self);
    while (!shared.closing) {
        int client;
        enum net_accepted got = net_accept(listener, false, &client);
        if (got == NET_CLIENT)
            start_client(client);
        else if (got == NET_EXHAUSTED)
            sleep_ms(RETRY_MS); /* accept() would fail again at once: do not spin */
    }
    empty_backlog(listener);
    leave(&self);
    shared.stopping = true; /* only now: from the first FIN on, newcomers must be refused */
    return NULL;
}

/* -------------------------------------------------------------------------------- the stop --- */

/* A signal whose handler does nothing still makes accept() and recv() return, with EINTR. */
static void wake(int signal)
{
    (void)signal;
}

/* Wakes the threads that have not noticed the stop, or that its second is over, and returns how
 * many there are in all. A signal that comes just before recv() falls asleep is lost: so ask again.
 * (shutdown(fd, SHUT_RD) would wake it for sure. But then Linux answers what the client sends after
 * our FIN with RST, and a BSD throws away what had arrived. To shut down a listener wakes nobody on
 * macOS.) */
static int wake_sleepers(void)
{
    pthread_mutex_lock(&shared.lock);
    int threads = shared.threads;
    for (struct sleeper *s = shared.sleepers; s; s = s->next)
        if (!s->told || shared.time_is_up)
            pthread_kill(s->thread, SIGUSR1);
    pthread_mutex_unlock(&shared.lock);
    return threads;
}

/* A client that has not got everything by now gets RST, when its thread closes the connection or
 * the process ends: FIN would say that this was all. */
static void give_up(void)
{
    shared.time_is_up = true;
    pthread_mutex_lock(&shared.lock);
    for (struct sleeper *s = shared.sleepers; s; s = s->next)
        if (!s->settled)
            net_reset_on_close(s->fd);
    pthread_mutex_unlock(&shared.lock);
}

static void stop(void)
{
    shared.closing = true;
    for (int64_t deadline = net_now_ms() + STOP_MS; wake_sleepers() > 0; sleep_ms(LOOK_MS))
        if (net_now_ms() >= deadline)
            break;
    give_up();
    for (int looks = 0; looks < 10 && wake_sleepers() > 0; looks++)
        sleep_ms(LOOK_MS);
}

int main(int argc, char **argv)
{
    struct net_settings settings = options_parse(argc, argv, NULL);
    pthread_attr_t attributes = small_and_detached();
    pthread_t acceptor;
    sigset_t signals;
    int got;

    /* Blocked in every thread, since each inherits main's mask: only sigwait() takes them. */
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);
    sigaction(SIGUSR1, &(struct sigaction){.sa_handler = wake}, NULL); /* no SA_RESTART */

    int listener = net_listen(&settings, false);
    if (listener < 0)
        return 1;
    shared.backlog_max = net_backlog_max(settings.backlog);
    count_threads(+1);
    int error = pthread_create(&acceptor, &attributes, accept_clients, (void *)(intptr_t)listener);
    if (error)
        errx(1, "pthread_create: %s", strerror(error));
    if (net_announce(listener) < 0)
        return 1;
    sigwait(&signals, &got);
    stop();
    return 0;
}
