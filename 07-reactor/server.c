/* Chapter 7: the same server on a reactor.
 *
 * The loop of the last chapters is now a library, reactor.h. What is left here is what happens
 * when: a client comes, a client is ready, a signal comes, a time is over. Which call waits is
 * chosen when the program starts. */
#include <err.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>

#include "conn.h"
#include "log.h"
#include "net.h"
#include "options.h"
#include "reactor.h"

enum {
    ACCEPTS_PER_TURN = 64,
    RETRY_MS = 100, /* out of descriptors: stop accepting for this long */
    IDLE_TICKS = 4, /* per timeout: a client may stay up to a quarter longer */
};

struct server {
    struct reactor *reactor;
    int listener;    /* -1 once we stop */
    int backlog_max; /* clients that may be waiting in the backlog */
    int open;        /* connections */
    struct conn_table conns;
    struct reactor_timer retry; /* to accept again */
    struct reactor_timer idle;  /* a tick of --idle-timeout */
    struct reactor_timer stop;  /* the end of the stop */
};

static void set_up(struct server *server, int argc, char **argv);

static void on_client(struct reactor *reactor, int fd, unsigned ready, void *argument);
static void on_listener(struct reactor *reactor, int fd, unsigned ready, void *argument);
static void accept_again(struct reactor *reactor, struct reactor_timer *timer);
static void close_idle_clients(struct reactor *reactor, struct reactor_timer *timer);
static void begin_stop(struct reactor *reactor, int signal, void *argument);
static void end_stop(struct reactor *reactor, struct reactor_timer *timer);

int main(int argc, char **argv)
{
    struct server server;
    set_up(&server, argc, argv);
    if (net_announce(server.listener) < 0)
        return 1;
    if (reactor_run(server.reactor) < 0) /* the loop: until end_stop() */
        log_fatal(reactor_backend(server.reactor));
    conn_table_free(&server.conns);
    reactor_destroy(server.reactor);
    return 0;
}

/* -------------------------------------------------------------------- one connection's turn --- */

static void close_client(struct server *server, struct conn *conn)
{
    reactor_close(server->reactor, conn_release(conn));
    server->open--;
    if (server->open == 0 && server->listener < 0)
        reactor_stop(server->reactor);
}

static void set_interest(struct server *server, struct conn *conn, enum conn_next next)
{
    if (next == CONN_CLOSE)
        close_client(server, conn);
    else
        reactor_modify(server->reactor, conn->fd,
                       next == CONN_WRITE ? REACTOR_WRITE : REACTOR_READ);
}

/* REACTOR_ERROR: the kernel has refused reactor_modify(), so we cannot wait for this client. */
static void on_client(struct reactor *reactor, int fd, unsigned ready, void *argument)
{
    struct server *server = argument;
    struct conn *conn = &server->conns.slot[fd];
    enum conn_next before = conn->next;
    enum conn_next next = ready & REACTOR_ERROR ? CONN_CLOSE : conn_turn(conn);

    (void)reactor;
    if (next != before)
        set_interest(server, conn, next);
}

/* -------------------------------------------------------------------------------- accepting --- */

/* Watching fails when memory is out, or with a number that is too high for select(). */
static void add_client(struct server *server, int fd)
{
    if (!conn_open(&server->conns, fd)) {
        net_turn_away(fd, strerror(errno));
    } else if (reactor_add(server->reactor, fd, REACTOR_READ, on_client, server) < 0) {
        conn_release(conn_at(&server->conns, fd));
        net_turn_away(fd, strerror(errno));
    } else {
        server->open++;
    }
}

/* The listener stays ready, so each wait would return at once, forever. So we stop watching it for
 * a while. */
static void pause_accepting(struct server *server)
{
    reactor_modify(server->reactor, server->listener, 0);
    reactor_timer_start(server->reactor, &server->retry, RETRY_MS, 0);
}

static void accept_clients(struct server *server, int max)
{
    for (int i = 0; i < max; i++) {
        int client;
        enum net_accepted got = net_accept(server->listener, true, &client);
        if (got == NET_CLIENT)
            add_client(server, client);
        if (got == NET_EXHAUSTED)
            pause_accepting(server);
        if (got == NET_EXHAUSTED || got == NET_TRY_AGAIN)
            return;
    }
}

static void on_listener(struct reactor *reactor, int fd, unsigned ready, void *argument)
{
    struct server *server = argument;
    (void)reactor, (void)fd;
    if (ready & REACTOR_ERROR)
        pause_accepting(server);
    else
        accept_clients(server, ACCEPTS_PER_TURN);
}

static void accept_again(struct reactor *reactor, struct reactor_timer *timer)
{
    struct server *server = timer->argument;
    reactor_modify(reactor, server->listener, REACTOR_READ);
}

/* ------------------------------------------------------------------------- the idle timeout --- */

/* One timer for all clients: a tick looks at each. A turn that moves bytes sets idle_ticks to 0. */
static void close_idle_clients(struct reactor *reactor, struct reactor_timer *timer)
{
    struct server *server = timer->argument;
    (void)reactor;
    for (int fd = 0; fd < server->conns.size; fd++) {
        struct conn *conn = conn_at(&server->conns, fd);
        if (conn && conn->idle_ticks++ == IDLE_TICKS)
            close_client(server, conn);
    }
}

/* --------------------------------------------------------------------------------- the stop --- */

/* Clients in the backlog have been told that they are connected, so we accept them first. */
static void begin_stop(struct reactor *reactor, int signal, void *argument)
{
    struct server *server = argument;
    (void)signal;
    if (server->listener < 0)
        return; /* a second signal */
    accept_clients(server, server->backlog_max);
    reactor_close(reactor, server->listener);
    server->listener = -1;
    reactor_timer_start(reactor, &server->stop, CONN_STOP_MS, 0);
    if (server->open == 0)
        reactor_stop(reactor);
    for (int fd = 0; fd < server->conns.size; fd++) {
        struct conn *conn = conn_at(&server->conns, fd);
        if (!conn)
            continue;
        conn_stop(conn);
        on_client(reactor, fd, 0, server); /* a turn */
    }
}

/* The time for the stop is over. */
static void end_stop(struct reactor *reactor, struct reactor_timer *timer)
{
    (void)timer;
    reactor_stop(reactor);
}

static void set_up(struct server *server, int argc, char **argv)
{
    struct extra_option extra[] = {
        {"backend", true, "--backend NAME   epoll, kqueue, poll or select (default: the best)",
         NULL},
        {"idle-timeout", true, "--idle-timeout SECONDS  close idle connections (default: never)",
         NULL},
        {0}};
    struct net_settings settings = options_parse(argc, argv, extra);
    const char *backend = extra[0].value, *idle = extra[1].value;
    int idle_s = idle ? options_number("--idle-timeout", idle, 1, 86400) : 0;
    int tick_ms = idle_s * 1000 / IDLE_TICKS;

    *server = (struct server){
        .listener = net_listen(&settings, true),
        .backlog_max = net_backlog_max(settings.backlog),
        .retry = {.handler = accept_again, .argument = server},
        .idle = {.handler = close_idle_clients, .argument = server},
        .stop = {.handler = end_stop, .argument = server},
    };
    if (server->listener < 0)
        exit(1);
    server->reactor = reactor_create(backend);
    if (!server->reactor && backend && errno == EINVAL) {
        warn("--backend %s", backend);
        options_try_help();
    }
    if (!server->reactor ||
        reactor_add(server->reactor, server->listener, REACTOR_READ, on_listener, server) < 0 ||
        reactor_signal(server->reactor, SIGINT, begin_stop, server) < 0 ||
        reactor_signal(server->reactor, SIGTERM, begin_stop, server) < 0 ||
        (idle_s > 0 && reactor_timer_start(server->reactor, &server->idle, tick_ms, tick_ms) < 0))
        err(1, "reactor");
}
