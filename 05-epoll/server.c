/* Chapter 5: epoll, which remembers what we watch.
 *
 * We hand select() and poll() everything anew on every call. Here we register each descriptor once,
 * with epoll_ctl(). When something happens to it, the kernel puts it on a ready list, and
 * epoll_wait() returns that list alone. A silent connection costs nothing. */
#include <err.h>
#include <errno.h>
#include <signal.h>
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
};

static void handle(struct server *server, const struct epoll_event *event);
static void take_turn(struct server *server, struct conn *conn);
static void accept_clients(struct server *server, int max);
static void accept_again(struct server *server);
static void begin_stop(struct server *server);

static void run(struct server *server)
{
    struct epoll_event events[EVENTS_PER_WAIT];

    while (server->listener >= 0 || server->open > 0) {
        int count =
            epoll_wait(server->epoll, events, EVENTS_PER_WAIT, net_ms_left(server->deadline));
        if (count < 0 && errno != EINTR) /* EINTR: after SIGSTOP and SIGCONT, say */
            log_fatal("epoll_wait");
        for (int i = 0; i < count; i++)
            handle(server, &events[i]);
        if (net_ms_left(server->deadline) != 0)
            continue;
        if (server->listener < 0)
            return; /* the time for the stop is over */
        accept_again(server);
    }
}

/* A batch names each descriptor once. A connection is closed only by its own event, or by the stop,
 * and after the stop no client is accepted. So no event reaches a new connection that has got a
 * closed one's number. */
static void handle(struct server *server, const struct epoll_event *event)
{
    int fd = event->data.fd;
    struct conn *conn = conn_at(&server->conns, fd);

    if (conn)
        take_turn(server, conn); /* EPOLLHUP and EPOLLERR too: recv() or send() says which */
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

/* Does what the turn's answer asks for: waits for that, or closes. close() also ends the
 * registration, because no other descriptor stands for this socket. */
static void set_interest(struct server *server, struct conn *conn, enum conn_next next)
{
    uint32_t events = next == CONN_WRITE ? EPOLLOUT : EPOLLIN;
    if (next != CONN_CLOSE && control(server, EPOLL_CTL_MOD, conn->fd, events) == 0)
        return;
    if (next != CONN_CLOSE)
        log_error("client %d lost: epoll_ctl", conn->fd);
    conn_close(conn);
    server->open--;
}

/* As a rule nothing changes. The kernel remembers, so then there is nothing to say. */
static void take_turn(struct server *server, struct conn *conn)
{
    enum conn_next before = conn->next;
    enum conn_next next = conn_turn(conn);

    if (next != before)
        set_interest(server, conn, next);
}

/* -------------------------------------------------------------------------------- accepting --- */

/* Registering fails with ENOMEM, or with ENOSPC: fs.epoll.max_user_watches. */
static void add_client(struct server *server, int fd)
{
    if (control(server, EPOLL_CTL_ADD, fd, EPOLLIN) < 0 || !conn_open(&server->conns, fd))
        net_turn_away(fd, strerror(errno));
    else
        server->open++;
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
        take_turn(server, conn);
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
    return 0;
}
