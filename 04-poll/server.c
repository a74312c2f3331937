/* Stage 4: poll(), which takes an array instead of sets.
 *
 * The array names only the descriptors that we watch, however high their numbers: select()'s
 * limit is gone. The kernel still walks all of it on every call, and so do we. */
#define _GNU_SOURCE /* ppoll() */
#include <err.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <time.h>
#include <unistd.h>

#include "conn.h"
#include "log.h"
#include "net.h"

enum {
    ACCEPTS_PER_TURN = 64,
    RETRY_MS = 100,     /* after running out of descriptors, accept again this soon */
    SERVED_MOST = 1000, /* turns from one look at the signals to the next */
    LOOK_MS = 250,      /* on macOS: a sleep from one look at the signals to the next */
};

struct server {
    int listener;         /* -1 once we stop */
    struct pollfd *watch; /* dense: [0] is the listener, then the connections in any order */
    nfds_t count, capacity;
    struct conn_table conns;
    int64_t deadline; /* of the stop; before, when to accept again; 0: none */
};

static volatile sig_atomic_t signalled;

static void on_signal(int signal)
{
    (void)signal;
    signalled = 1;
}

/* -------------------------------------------------------------------- one connection's turn --- */

static void accept_again(struct server *server)
{
    server->watch[0].fd = server->listener;
    server->deadline = 0;
}

/* Puts the answer of a turn into entry i. If it was to close, the last entry moves into the gap:
 * removal costs the same however many there are, and the order means nothing to poll(). */
static void wait_for(struct server *server, nfds_t i, struct conn *conn, enum conn_next next)
{
    server->watch[i].events = next == CONN_WRITE ? POLLOUT : POLLIN;
    if (next != CONN_CLOSE)
        return;
    conn_close(conn);
    server->watch[i] = server->watch[--server->count];
    if (server->listener >= 0 && server->deadline > 0)
        accept_again(server); /* a descriptor is free again */
}

/* -------------------------------------------------------------------------------- accepting --- */

/* Returns false, with errno, when memory is out. */
static bool add_watch(struct server *server, int fd)
{
    if (server->count == server->capacity) {
        nfds_t capacity = server->capacity ? 2 * server->capacity : 64;
        struct pollfd *watch = realloc(server->watch, capacity * sizeof *watch);
        if (!watch)
            return false;
        server->watch = watch;
        server->capacity = capacity;
    }
    server->watch[server->count++] = (struct pollfd){.fd = fd, .events = POLLIN};
    return true;
}

static void add_client(struct server *server, int fd)
{
    if (!conn_open(&server->conns, fd)) {
        log_error("client %d turned away", fd);
        close(fd);
    } else if (!add_watch(server, fd)) {
        log_error("client %d turned away", fd);
        conn_close(conn_at(&server->conns, fd));
    }
}

static void accept_clients(struct server *server, int most)
{
    for (int i = 0; i < most; i++) {
        int client;
        enum net_accepted got = net_accept(server->listener, true, &client);
        if (got == NET_CLIENT)
            add_client(server, client);
        if (got == NET_EXHAUSTED) {
            /* The listener stays ready, and poll() would return at once, for ever. poll() skips
             * negative descriptors: so we stop watching until somebody leaves, or for a while. */
            server->watch[0].fd = -1;
            server->deadline = net_now_ms() + RETRY_MS;
        }
        if (got == NET_EXHAUSTED || got == NET_TRY_AGAIN)
            return;
    }
}

/* --------------------------------------------------------------------------------- the loop --- */

/* The signals are let in only while we sleep, in one step with falling asleep: that is what
 * ppoll() has over poll(). */
static int wait_for_events(struct server *server)
{
    int64_t left = server->deadline > 0 ? server->deadline - net_now_ms() : 0;
    sigset_t none;
    sigemptyset(&none);
#ifdef __APPLE__
    /* No ppoll() here. A signal that comes just before poll() falls asleep is seen late, so
     * never sleep for long. */
    sigset_t blocked;
    sigprocmask(SIG_SETMASK, &none, &blocked);
    int timeout_ms = server->deadline == 0 ? LOOK_MS : left > 0 ? (int)left : 0;
    if (server->listener >= 0 && signalled)
        timeout_ms = 0;
    int ready = poll(server->watch, server->count, timeout_ms);
    sigprocmask(SIG_SETMASK, &blocked, NULL);
    return ready;
#else
    struct timespec timeout = {0};
    if (left > 0)
        timeout = (struct timespec){left / 1000, (long)(left % 1000) * 1000000};
    return ppoll(server->watch, server->count, server->deadline > 0 ? &timeout : NULL, &none);
#endif
}

/* Any bit in revents but NVAL asks for a turn. POLLIN and POLLOUT are what we asked for; POLLHUP
 * and POLLERR come unasked, and then recv() or send() says what is the matter: bytes may still be
 * waiting to be read, so a HUP is no reason to close. */
static void serve_ready(struct server *server)
{
    short listener_ready = server->watch[0].revents;

    /* From the back: the entry that fills a gap has had its turn already. */
    for (nfds_t i = server->count - 1; i > 0; i--) {
        struct pollfd *entry = &server->watch[i];
        if (entry->revents == 0)
            continue;
        if (entry->revents & POLLNVAL) /* not an open descriptor: we have lost track of it */
            log_fatal("poll: descriptor %d", entry->fd);
        struct conn *conn = conn_at(&server->conns, entry->fd);
        wait_for(server, i, conn, conn_turn(conn));
    }
    if (listener_ready)
        accept_clients(server, ACCEPTS_PER_TURN);
}

static void begin_stop(struct server *server, int backlog_max)
{
    accept_clients(server, backlog_max); /* all who wait: they have been told that they are in */
    close(server->listener);
    server->listener = -1;
    server->watch[0].fd = -1;
    server->deadline = net_now_ms() + CONN_STOP_MS;
    for (nfds_t i = server->count - 1; i > 0; i--) {
        struct conn *conn = conn_at(&server->conns, server->watch[i].fd);
        conn_stop(conn);
        wait_for(server, i, conn, conn_turn(conn));
    }
}

/* ppoll() lets the signals in only while it sleeps. Where somebody is always ready it never sleeps,
 * so we let them in ourselves now and then. */
static void let_signals_in(long nanoseconds)
{
    const struct timespec moment = {.tv_nsec = nanoseconds};
    sigset_t none, blocked;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, &blocked);
    nanosleep(&moment, NULL);
    sigprocmask(SIG_SETMASK, &blocked, NULL);
}

static void run(struct server *server, int backlog_max)
{
    int served = 0;

    while (server->listener >= 0 || server->count > 1) {
        int ready = wait_for_events(server);
        if (ready < 0 && (errno == ENOMEM || errno == EAGAIN))
            let_signals_in(10000000); /* out of memory for its list: again in 10 ms */
        else if (ready < 0 && errno != EINTR)
            log_fatal("poll");
        if (ready > 0)
            serve_ready(server);
        served += ready > 0 ? ready : 0;
        if (served >= SERVED_MOST) {
            let_signals_in(0);
            served = 0;
        }
        if (server->listener >= 0 && signalled)
            begin_stop(server, backlog_max);
        if (server->deadline == 0 || net_now_ms() < server->deadline)
            continue;
        if (server->listener < 0)
            return; /* their second is over */
        accept_again(server);
    }
}

int main(int argc, char **argv)
{
    struct net_settings settings = net_parse(argc, argv, NULL);
    struct server server = {.listener = net_listen(&settings, true)};
    const struct sigaction action = {.sa_handler = on_signal};
    sigset_t signals;

    if (server.listener < 0)
        return 1;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);

    if (!add_watch(&server, server.listener))
        err(1, "start");
    if (net_announce(server.listener) < 0)
        return 1;
    run(&server, net_backlog_max(settings.backlog));
    conn_table_free(&server.conns);
    free(server.watch);
    return 0;
}
