/* Chapter 4: poll(), which takes an array instead of sets.
 *
 * The array names only the descriptors that we watch, however high their numbers are: select()'s
 * limit is gone. The kernel still walks all of it on every call, and so do we. */
#define _GNU_SOURCE /* ppoll() */
#include <err.h>
#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "conn.h"
#include "log.h"
#include "net.h"
#include "options.h"
#include "ppoll.h" /* for macOS */

enum {
    TURNS_PER_CHECK = 1000, /* connections' turns between two checks for a stop signal */
    ACCEPTS_PER_TURN = 64,
    RETRY_MS = 100, /* out of descriptors: stop accepting for this long */
};

struct server {
    int listener;     /* -1 once we stop */
    int backlog_max;  /* clients that may be waiting in the backlog */
    int turns;        /* since the last check for a stop signal */
    int64_t deadline; /* when to accept again, or to end the stop; 0: none */
    struct conn_table conns;

    struct pollfd *watch; /* dense: [0] is the listener, then the connections in any order */
    nfds_t count, capacity;
};

static void serve_ready(struct server *server);
static bool stop_requested(struct server *server, int ready);
static void accept_clients(struct server *server, int max);
static void accept_again(struct server *server);
static void begin_stop(struct server *server);

static void run(struct server *server)
{
    sigset_t none; /* no signal is blocked during the wait: see stop_requested() */
    sigemptyset(&none);

    while (server->listener >= 0 || server->count > 1) {
        int left = net_ms_left(server->deadline);
        struct timespec timeout = {left / 1000, left % 1000 * 1000000L};
        int ready = ppoll(server->watch, server->count, left < 0 ? NULL : &timeout, &none);
        if (ready > 0)
            serve_ready(server);
        if (ready < 0 && errno != EINTR) {
            log_error("ppoll"); /* no memory for its list, say */
            nanosleep(&(struct timespec){.tv_nsec = 10000000}, NULL);
        }
        if (server->listener >= 0 && stop_requested(server, ready))
            begin_stop(server);
        if (net_ms_left(server->deadline) != 0)
            continue;
        if (server->listener < 0)
            return; /* the time for the stop is over */
        accept_again(server);
    }
}

/* -------------------------------------------------------------------- one connection's turn --- */

/* If the connection is to be closed, the last entry moves into the gap: removal costs the same
 * however many there are, and poll() does not care about the order. */
static void take_turn(struct server *server, nfds_t i)
{
    struct conn *conn = conn_at(&server->conns, server->watch[i].fd);
    enum conn_next next = conn_turn(conn);

    server->watch[i].events = next == CONN_WRITE ? POLLOUT : POLLIN;
    if (next == CONN_CLOSE) {
        conn_close(conn);
        server->watch[i] = server->watch[--server->count];
    }
}

/* To find the ready ones we look at every entry. POLLHUP, POLLERR and POLLNVAL come unasked: recv()
 * or send() says what has happened, and bytes may still be waiting after a POLLHUP. */
static void serve_ready(struct server *server)
{
    /* From the back: the entry that fills a gap has had its turn already. */
    for (nfds_t i = server->count - 1; i > 0; i--)
        if (server->watch[i].revents != 0)
            take_turn(server, i);
    if (server->watch[0].revents != 0)
        accept_clients(server, ACCEPTS_PER_TURN);
}

/* -------------------------------------------------------------------------------- accepting --- */

static int grow_watch(struct server *server)
{
    if (server->count < server->capacity)
        return 0;
    nfds_t capacity = server->capacity ? 2 * server->capacity : 64;
    struct pollfd *watch = realloc(server->watch, capacity * sizeof *watch);
    if (!watch)
        return -1;
    server->watch = watch;
    server->capacity = capacity;
    return 0;
}

static void add_client(struct server *server, int fd)
{
    if (grow_watch(server) < 0 || !conn_open(&server->conns, fd))
        net_turn_away(fd, strerror(errno));
    else
        server->watch[server->count++] = (struct pollfd){.fd = fd, .events = POLLIN};
}

static void accept_clients(struct server *server, int max)
{
    for (int i = 0; i < max; i++) {
        int client;
        enum net_accepted got = net_accept(server->listener, true, &client);
        if (got == NET_CLIENT)
            add_client(server, client);
        if (got == NET_TRY_AGAIN)
            return;
        if (got == NET_EXHAUSTED) {
            /* The listener stays ready, so each wait would return at once, forever. So we stop
             * watching it for a while. */
            server->watch[0].fd = -1;
            server->deadline = net_now_ms() + RETRY_MS;
            return;
        }
    }
}

static void accept_again(struct server *server)
{
    server->watch[0].fd = server->listener;
    server->deadline = 0;
}

/* --------------------------------------------------------------------------------- the stop --- */

static volatile sig_atomic_t signalled;

static void on_signal(int signal)
{
    (void)signal;
    signalled = 1;
}

/* The stop signals are blocked, and the wait lets them in, in one step with falling asleep: that is
 * what pselect() has over select(), and ppoll() over poll(). If some client is always ready, the
 * wait never sleeps, and if it fails it may not have slept: then we ask whether one is pending. */
static bool stop_requested(struct server *server, int ready)
{
    server->turns += ready > 0 ? ready : 0;
    if (ready < 0 || server->turns >= TURNS_PER_CHECK) {
        server->turns = 0;
        if (stop_signals_pending())
            return true;
    }
    return signalled;
}

/* Clients in the backlog have been told that they are connected, so we accept them first. */
static void begin_stop(struct server *server)
{
    accept_clients(server, server->backlog_max);
    close(server->listener);
    server->listener = -1;
    server->watch[0].fd = -1;
    server->deadline = net_now_ms() + CONN_STOP_MS;
    for (nfds_t i = server->count - 1; i > 0; i--) {
        conn_stop(conn_at(&server->conns, server->watch[i].fd));
        take_turn(server, i);
    }
}

int main(int argc, char **argv)
{
    struct net_settings settings = options_parse(argc, argv, NULL);
    struct server server = {
        .listener = net_listen(&settings, true),
        .backlog_max = net_backlog_max(settings.backlog),
    };

    if (server.listener < 0)
        return 1;
    stop_signals_block();
    stop_signals_handle(on_signal);
    if (grow_watch(&server) < 0)
        err(1, "memory for the list");
    server.watch[server.count++] = (struct pollfd){.fd = server.listener, .events = POLLIN};
    if (net_announce(server.listener) < 0)
        return 1;
    run(&server);
    conn_table_free(&server.conns);
    free(server.watch);
    return 0;
}
