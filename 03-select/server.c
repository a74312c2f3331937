/* Stage 3: select(), which sleeps until one of many sockets is ready.
 *
 * We hand the kernel two sets of descriptors, those we would read from and those we would write
 * to, and sleep. It wakes us with the same sets, cut down to whoever is ready. */
#include <err.h>
#include <errno.h>
#include <signal.h>
#include <sys/select.h>
#include <time.h>
#include <unistd.h>

#include "conn.h"
#include "log.h"
#include "net.h"

enum {
    ACCEPTS_PER_TURN = 64,
    RETRY_MS = 100,     /* after running out of descriptors, accept again this soon */
    SERVED_MOST = 1000, /* turns from one look at the signals to the next */
};

struct server {
    int listener;            /* -1 once we stop */
    int max_fd;              /* the highest descriptor in the sets */
    fd_set readers, writers; /* the interest sets: who waits for what */
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

static void lower_max_fd(struct server *server)
{
    while (server->max_fd > server->listener && !conn_at(&server->conns, server->max_fd))
        server->max_fd--;
}

/* Puts the answer of a turn into the sets. */
static void wait_for(struct server *server, struct conn *conn, enum conn_next next)
{
    int fd = conn->fd;
    FD_CLR(fd, &server->readers);
    FD_CLR(fd, &server->writers);
    if (next == CONN_READ)
        FD_SET(fd, &server->readers);
    if (next == CONN_WRITE)
        FD_SET(fd, &server->writers);
    if (next != CONN_CLOSE)
        return;
    conn_close(conn);
    lower_max_fd(server);
    if (server->listener >= 0 && server->deadline > 0) { /* a descriptor is free again */
        FD_SET(server->listener, &server->readers);
        server->deadline = 0;
    }
}

/* -------------------------------------------------------------------------------- accepting --- */

/* An fd_set is an array of FD_SETSIZE bits and FD_SET() does not look where it writes: with a
 * descriptor past the end it would overwrite whatever lies behind. Such a client cannot stay. */
static void add_client(struct server *server, int fd)
{
    if (fd >= FD_SETSIZE) {
        log_warning("client %d turned away: select() ends at %d", fd, FD_SETSIZE);
        close(fd);
        return;
    }
    struct conn *conn = conn_open(&server->conns, fd);
    if (!conn) {
        log_error("client %d turned away", fd);
        close(fd);
        return;
    }
    if (fd > server->max_fd)
        server->max_fd = fd;
    wait_for(server, conn, CONN_READ);
}

static void accept_clients(struct server *server, int most)
{
    for (int i = 0; i < most; i++) {
        int client;
        enum net_accepted got = net_accept(server->listener, true, &client);
        if (got == NET_CLIENT)
            add_client(server, client);
        if (got == NET_EXHAUSTED) {
            /* The listener stays ready, and select() would return at once, for ever. So stop
             * watching it until somebody leaves, or for a while. */
            FD_CLR(server->listener, &server->readers);
            server->deadline = net_now_ms() + RETRY_MS;
        }
        if (got == NET_EXHAUSTED || got == NET_TRY_AGAIN)
            return;
    }
}

/* --------------------------------------------------------------------------------- the loop --- */

/* Copies go in, because select() overwrites them. The signals are let in only while it sleeps, in
 * one step with falling asleep: that is what pselect() has over select(). */
static int wait_for_events(struct server *server, fd_set *readable, fd_set *writable)
{
    struct timespec timeout = {0};
    sigset_t none;
    sigemptyset(&none);
    if (server->deadline > 0) {
        int64_t left = server->deadline - net_now_ms();
        if (left > 0)
            timeout = (struct timespec){left / 1000, (long)(left % 1000) * 1000000};
    }
    *readable = server->readers;
    *writable = server->writers;
    return pselect(server->max_fd + 1, readable, writable, NULL,
                   server->deadline > 0 ? &timeout : NULL, &none);
}

/* select() says how many are ready, but not which: look at each. */
static void serve_ready(struct server *server, const fd_set *readable, const fd_set *writable)
{
    for (int fd = 0, last = server->max_fd; fd <= last; fd++) {
        struct conn *conn = conn_at(&server->conns, fd);
        if (conn && (FD_ISSET(fd, readable) || FD_ISSET(fd, writable)))
            wait_for(server, conn, conn_turn(conn));
    }
    /* After the walk, so that it stays right if a turn ever closes others, too: a new client might
     * get such a one's number, and meet its bits. */
    if (server->listener >= 0 && FD_ISSET(server->listener, readable))
        accept_clients(server, ACCEPTS_PER_TURN);
}

static void begin_stop(struct server *server, int backlog_max)
{
    accept_clients(server, backlog_max); /* all who wait: they have been told that they are in */
    FD_CLR(server->listener, &server->readers);
    close(server->listener);
    server->listener = -1;
    server->deadline = net_now_ms() + CONN_STOP_MS;
    for (int fd = 0, last = server->max_fd; fd <= last; fd++) {
        struct conn *conn = conn_at(&server->conns, fd);
        if (!conn)
            continue;
        conn_stop(conn);
        wait_for(server, conn, conn_turn(conn));
    }
    lower_max_fd(server);
}

/* pselect() lets the signals in only while it sleeps. Where somebody is always ready it never
 * sleeps, so we let them in ourselves now and then. */
static void let_signals_in(long nanoseconds)
{
    const struct timespec moment = {.tv_nsec = nanoseconds};
    sigset_t none, blocked;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, &blocked);
    nanosleep(&moment, NULL);
    sigprocmask(SIG_SETMASK, &blocked, NULL);
}

/* After the listener is gone, max_fd falls to -1 with the last connection. */
static void run(struct server *server, int backlog_max)
{
    int served = 0;

    while (server->max_fd >= 0) {
        fd_set readable, writable;
        int ready = wait_for_events(server, &readable, &writable);
        if (ready < 0 && (errno == ENOMEM || errno == EAGAIN))
            let_signals_in(10000000); /* out of memory for its list: again in 10 ms */
        else if (ready < 0 && errno != EINTR)
            log_fatal("pselect");
        if (ready > 0)
            serve_ready(server, &readable, &writable);
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
        FD_SET(server->listener, &server->readers);
        server->deadline = 0;
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
    if (server.listener >= FD_SETSIZE)
        errx(1, "select() ends at descriptor %d, the listener is %d", FD_SETSIZE, server.listener);
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);

    FD_ZERO(&server.readers);
    FD_ZERO(&server.writers);
    FD_SET(server.listener, &server.readers);
    server.max_fd = server.listener;
    if (net_announce(server.listener) < 0)
        return 1;
    run(&server, net_backlog_max(settings.backlog));
    conn_table_free(&server.conns);
    return 0;
}
