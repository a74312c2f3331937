/* Chapter 3: select(), which sleeps until one of many sockets is ready.
 *
 * We hand the kernel two sets of descriptors, those to read from and those to write to, and sleep.
 * It wakes us with the same sets, in which only the ready ones are left. */
#include <err.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/select.h>
#include <time.h>
#include <unistd.h>

#include "conn.h"
#include "log.h"
#include "net.h"
#include "options.h"

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

    fd_set readers, writers;   /* the interest sets: what we wait for */
    fd_set readable, writable; /* their copies, in which select() leaves the ready ones */
    int max_fd;                /* the highest descriptor in them */
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

    while (server->max_fd >= 0) {
        server->readable = server->readers;
        server->writable = server->writers;
        int left = net_ms_left(server->deadline);
        struct timespec timeout = {left / 1000, left % 1000 * 1000000L};
        int ready = pselect(server->max_fd + 1, &server->readable, &server->writable, NULL,
                            left < 0 ? NULL : &timeout, &none);
        if (ready > 0)
            serve_ready(server);
        if (ready < 0 && errno != EINTR) {
            log_error("pselect"); /* no memory for its list, say */
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

static void set_interest(struct server *server, int fd, enum conn_next next)
{
    FD_CLR(fd, &server->readers);
    FD_CLR(fd, &server->writers);
    if (next == CONN_READ)
        FD_SET(fd, &server->readers);
    if (next == CONN_WRITE)
        FD_SET(fd, &server->writers);
}

static void lower_max_fd(struct server *server)
{
    while (server->max_fd > server->listener && !conn_at(&server->conns, server->max_fd))
        server->max_fd--;
}

static void take_turn(struct server *server, struct conn *conn)
{
    enum conn_next next = conn_turn(conn);

    set_interest(server, conn->fd, next);
    if (next == CONN_CLOSE) {
        conn_close(conn);
        lower_max_fd(server);
    }
}

/* To find the ready ones we look at every descriptor. We accept after the walk, so it meets only
 * connections that were watched in this wait. */
static void serve_ready(struct server *server)
{
    for (int fd = 0, last = server->max_fd; fd <= last; fd++) {
        struct conn *conn = conn_at(&server->conns, fd);
        if (conn && (FD_ISSET(fd, &server->readable) || FD_ISSET(fd, &server->writable)))
            take_turn(server, conn);
    }
    if (server->listener >= 0 && FD_ISSET(server->listener, &server->readable))
        accept_clients(server, ACCEPTS_PER_TURN);
}

/* -------------------------------------------------------------------------------- accepting --- */

/* An fd_set is an array of FD_SETSIZE bits, and FD_SET() does not check where it writes: a higher
 * descriptor would overwrite whatever lies behind the set. Such a client cannot stay. */
static void add_client(struct server *server, int fd)
{
    if (fd >= FD_SETSIZE) {
        net_turn_away(fd, "its number is too high for select()");
    } else if (!conn_open(&server->conns, fd)) {
        net_turn_away(fd, strerror(errno));
    } else {
        set_interest(server, fd, CONN_READ);
        if (fd > server->max_fd)
            server->max_fd = fd;
    }
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
            FD_CLR(server->listener, &server->readers);
            server->deadline = net_now_ms() + RETRY_MS;
            return;
        }
    }
}

static void accept_again(struct server *server)
{
    FD_SET(server->listener, &server->readers);
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
    FD_CLR(server->listener, &server->readers);
    close(server->listener);
    server->listener = -1;
    server->deadline = net_now_ms() + CONN_STOP_MS;
    for (int fd = 0, last = server->max_fd; fd <= last; fd++) {
        struct conn *conn = conn_at(&server->conns, fd);
        if (!conn)
            continue;
        conn_stop(conn);
        take_turn(server, conn);
    }
    lower_max_fd(server); /* with the last connection it falls to -1, which ends the loop */
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
    if (server.listener >= FD_SETSIZE)
        errx(1, "descriptor %d is too high for select()", server.listener);
    FD_ZERO(&server.readers);
    FD_ZERO(&server.writers);
    FD_SET(server.listener, &server.readers);
    server.max_fd = server.listener;
    if (net_announce(server.listener) < 0)
        return 1;
    run(&server);
    conn_table_free(&server.conns);
    return 0;
}
