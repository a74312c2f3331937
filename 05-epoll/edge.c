/* Chapter 5, edge-triggered: epoll reports a change once, and we remember who has more to do.
 *
 * server.c is told again and again while there is something to read. Here the kernel tells us once,
 * when something arrives. A server that then stops before EAGAIN may never hear of the rest; a
 * server that reads on until EAGAIN lets one fast client starve the others. So an event only puts
 * its connection on a list. Each connection on it gets one turn, and stays on it until a turn ends
 * on EAGAIN. */
#include <err.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "conn.h"
#include "log.h"
#include "net.h"
#include "options.h"

enum {
    EVENTS_PER_WAIT = 64,
    ACCEPTS_PER_TURN = 64,
    RETRY_MS = 100, /* out of descriptors: stop accepting for this long */
};

struct server {
    int epoll;        /* the kernel's lists: what is registered, and what is ready */
    int signal_fd;    /* a signalfd: the stop signals as one more descriptor to wait for */
    int listener;     /* -1 once we stop */
    int backlog_max;  /* clients that may be waiting in the backlog */
    int open;         /* connections */
    int64_t deadline; /* when to accept again, or to end the stop; 0: none */
    struct conn_table conns;
    int *ready; /* descriptors that may have more to do, first come, first served */
    int ready_count, ready_capacity;
};

static void handle(struct server *server, const struct epoll_event *event);
static void make_ready(struct server *server, struct conn *conn);
static void serve_ready_list(struct server *server);
static void accept_clients(struct server *server, int max);
static void accept_again(struct server *server);
static void begin_stop(struct server *server);

static void run(struct server *server)
{
    struct epoll_event events[EVENTS_PER_WAIT];

    while (server->listener >= 0 || server->open > 0) {
        int timeout = net_ms_left(server->deadline);
        if (server->ready_count > 0)
            timeout = 0; /* only look: the list has work for us */
        int count = epoll_wait(server->epoll, events, EVENTS_PER_WAIT, timeout);
        if (count < 0 && errno != EINTR) /* EINTR: after SIGSTOP and SIGCONT, say */
            log_fatal("epoll_wait");
        for (int i = 0; i < count; i++)
            handle(server, &events[i]);
        serve_ready_list(server);
        if (net_ms_left(server->deadline) != 0)
            continue;
        if (server->listener < 0)
            return; /* the time for the stop is over */
        accept_again(server);
    }
}

/* No event closes a connection: it only puts it on the list, whose turns come after the batch. So
 * no event reaches a connection that has got a closed one's number. */
static void handle(struct server *server, const struct epoll_event *event)
{
    int fd = event->data.fd;
    struct conn *conn = conn_at(&server->conns, fd);

    if (conn)
        make_ready(server, conn); /* EPOLLHUP and EPOLLERR too: recv() or send() says which */
    else if (fd == server->listener)
        accept_clients(server, ACCEPTS_PER_TURN);
    else if (fd == server->signal_fd)
        begin_stop(server);
}

/* -------------------------------------------------------------------- one connection's turn --- */

/* Registers fd, or changes what the kernel watches it for. */
static int control(struct server *server, int operation, int fd, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.fd = fd};
    return epoll_ctl(server->epoll, operation, fd, &event);
}

/* A connection is on the list exactly while it is not marked would_block. */
static void make_ready(struct server *server, struct conn *conn)
{
    if (!conn->would_block)
        return;
    conn->would_block = false;
    server->ready[server->ready_count++] = conn->fd;
}

static void one_turn_each(struct server *server)
{
    int kept = 0;
    for (int i = 0; i < server->ready_count; i++) {
        struct conn *conn = conn_at(&server->conns, server->ready[i]);
        if (conn_turn(conn) == CONN_CLOSE) {
            conn_close(conn);
            server->open--;
        } else if (!conn->would_block) {
            server->ready[kept++] = conn->fd;
        }
    }
    server->ready_count = kept;
}

/* Most connections have nothing more to do after one turn, and the second turn finds that out. Two
 * rounds save the call of epoll_wait() between them. */
static void serve_ready_list(struct server *server)
{
    for (int round = 0; round < 2 && server->ready_count > 0; round++)
        one_turn_each(server);
}

/* Makes room for one more connection when it arrives, because then we can still turn it away. */
static int grow_ready_list(struct server *server)
{
    if (server->open < server->ready_capacity)
        return 0;
    int capacity = 2 * server->open + 64;
    int *ready = realloc(server->ready, (size_t)capacity * sizeof *ready);
    if (!ready)
        return -1;
    server->ready = ready;
    server->ready_capacity = capacity;
    return 0;
}

/* -------------------------------------------------------------------------------- accepting --- */

/* Registered once, for reading and writing, and never changed: a socket that stays writable reports
 * no edge. Registering fails with ENOMEM, or with ENOSPC: fs.epoll.max_user_watches. */
static void add_client(struct server *server, int fd)
{
    if (grow_ready_list(server) < 0 ||
        control(server, EPOLL_CTL_ADD, fd, EPOLLIN | EPOLLOUT | EPOLLET) < 0 ||
        !conn_open(&server->conns, fd))
        net_turn_away(fd, strerror(errno));
    else
        server->open++;
}

/* The listener stays level-triggered: clients that are left over are reported again. */
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
            control(server, EPOLL_CTL_MOD, server->listener, 0);
            server->deadline = net_now_ms() + RETRY_MS;
            return;
        }
    }
}

/* EPOLL_CTL_MOD needs no memory, so it does not fail. */
static void accept_again(struct server *server)
{
    control(server, EPOLL_CTL_MOD, server->listener, EPOLLIN);
    server->deadline = 0;
}

/* --------------------------------------------------------------------------------- the stop --- */

/* Clients in the backlog have been told that they are connected, so we accept them first. */
static void begin_stop(struct server *server)
{
    accept_clients(server, server->backlog_max);
    close(server->listener);
    close(server->signal_fd); /* we never read it, so it would be reported forever */
    server->listener = server->signal_fd = -1;
    server->deadline = net_now_ms() + CONN_STOP_MS;
    for (int fd = 0; fd < server->conns.size; fd++) {
        struct conn *conn = conn_at(&server->conns, fd);
        if (!conn)
            continue;
        conn_stop(conn);
        make_ready(server, conn);
    }
}

int main(int argc, char **argv)
{
    struct net_settings settings = options_parse(argc, argv, NULL);
    struct server server = {
        .listener = net_listen(&settings, true),
        .backlog_max = net_backlog_max(settings.backlog),
    };
    sigset_t signals = stop_signals_block(); /* otherwise they would still end the process */

    if (server.listener < 0)
        return 1;
    server.epoll = epoll_create1(EPOLL_CLOEXEC);
    server.signal_fd = signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC);
    if (server.epoll < 0 || server.signal_fd < 0 ||
        control(&server, EPOLL_CTL_ADD, server.signal_fd, EPOLLIN) < 0 ||
        control(&server, EPOLL_CTL_ADD, server.listener, EPOLLIN) < 0)
        err(1, "epoll or signalfd");
    if (net_announce(server.listener) < 0)
        return 1;
    run(&server);
    conn_table_free(&server.conns);
    free(server.ready);
    return 0;
}
