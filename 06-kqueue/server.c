/* Chapter 6: kqueue, the BSDs' answer, where one call does everything.
 *
 * With epoll, each change to what we watch is a system call. kevent() takes a list of changes along
 * and returns a list of events. And it knows more than descriptors: the stop signals come out of
 * the same call, without a signalfd. everything.c has the rest: files, timers, other threads.
 *
 * This is plain BSD code. On Linux it is compiled against linux/sys/event.h, which gives the same
 * interface on top of epoll, so that you can run it and change it there, too. */
#include <err.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/types.h>

#include <sys/event.h>
#include <sys/time.h>
#include <unistd.h>

#include "changes.h"
#include "conn.h"
#include "log.h"
#include "net.h"
#include "options.h"

enum {
    EVENTS_PER_WAIT = CHANGES_MAX, /* so that each change has room for an answer */
    CHANGES_PER_TURN = 2,          /* at most */
    ACCEPTS_PER_TURN = 64,
    RETRY_MS = 100, /* out of descriptors: stop accepting for this long */
};

struct server {
    int kq;
    int listener;     /* -1 once we stop */
    int backlog_max;  /* clients that may be waiting in the backlog */
    int open;         /* connections */
    int64_t deadline; /* when to accept again, or to end the stop; 0: none */
    struct conn_table conns;
    struct changes changes; /* to be sent along with the next wait */
};

static void handle(struct server *server, const struct kevent *event);
static void change_refused(struct server *server, const struct kevent *refused);
static void take_turn(struct server *server, int fd);
static void accept_clients(struct server *server, int64_t max);
static void accept_again(struct server *server);
static void begin_stop(struct server *server);

static void run(struct server *server)
{
    struct kevent events[EVENTS_PER_WAIT];
    struct changes *changes = &server->changes;

    while (server->listener >= 0 || server->open > 0) {
        int left = net_ms_left(server->deadline);
        struct timespec timeout = {left / 1000, left % 1000 * 1000000L};
        int count = kevent(server->kq, changes->list, changes->count, events, EVENTS_PER_WAIT,
                           left < 0 ? NULL : &timeout);
        changes->count = 0; /* even after EINTR: the kernel has made them by then */
        if (count < 0 && errno != EINTR)
            log_fatal("kevent");
        for (int i = 0; i < count; i++)
            handle(server, &events[i]);
        if (net_ms_left(server->deadline) != 0)
            continue;
        if (server->listener < 0)
            return; /* the time for the stop is over */
        accept_again(server);
    }
}

/* READ and WRITE of a client are two filters, and only one of them is enabled at a time. So a batch
 * names each client once. A refused change may close a client while its event is still ahead in the
 * batch. If a new client has its number by then, it gets a turn too early, and recv() says EAGAIN.
 */
static void handle(struct server *server, const struct kevent *event)
{
    if (event->flags & EV_ERROR)
        change_refused(server, event);
    else if (event->filter == EVFILT_SIGNAL)
        begin_stop(server);
    else if ((int)event->ident == server->listener) /* data counts the clients that wait */
        accept_clients(server, event->data < ACCEPTS_PER_TURN ? event->data : ACCEPTS_PER_TURN);
    else
        take_turn(server, (int)event->ident);
}

/* ------------------------------------------------------------------------------ the changes --- */

/* close() takes the descriptor's filters with it, but not the changes that we have not sent yet. */
static void close_client(struct server *server, struct conn *conn)
{
    changes_forget(&server->changes, conn->fd);
    conn_close(conn);
    server->open--;
}

/* The kernel has refused a change: it is out of memory, say. data is the errno. */
static void change_refused(struct server *server, const struct kevent *refused)
{
    int fd = (int)refused->ident;
    struct conn *conn = conn_at(&server->conns, fd);

    errno = (int)refused->data;
    if (refused->filter == EVFILT_SIGNAL || fd == server->listener)
        log_fatal("kevent");
    if (!conn)
        return; /* closed since, or lost by another refused change */
    log_error("client %d lost: kevent", fd);
    close_client(server, conn);
}

/* Sends the changes now, without waiting for events. */
static void send_changes(struct server *server)
{
    struct kevent refused[CHANGES_MAX];
    int count = changes_send(&server->changes, server->kq, refused);
    for (int i = 0; i < count; i++)
        change_refused(server, &refused[i]);
}

static void make_room(struct server *server)
{
    if (server->changes.count + CHANGES_PER_TURN > CHANGES_MAX)
        send_changes(server);
}

/* -------------------------------------------------------------------- one connection's turn --- */

/* EV_EOF in an event's flags says that the client has sent FIN, or is lost; bytes may still wait
 * before it. So it is no reason to close: recv() says when it is over. */
static void take_turn(struct server *server, int fd)
{
    make_room(server); /* first, because that may lose this very client */
    struct conn *conn = conn_at(&server->conns, fd);
    if (!conn)
        return;
    enum conn_next before = conn->next;
    enum conn_next next = conn_turn(conn);

    if (next == before)
        return; /* nearly always: the kernel remembers, so there is nothing to say */
    if (next == CONN_CLOSE) {
        close_client(server, conn);
    } else if (next == CONN_WRITE) {
        changes_add(&server->changes, fd, EVFILT_READ, EV_DISABLE);
        changes_add(&server->changes, fd, EVFILT_WRITE, EV_ADD);
    } else {
        changes_add(&server->changes, fd, EVFILT_WRITE, EV_DELETE);
        changes_add(&server->changes, fd, EVFILT_READ, EV_ADD | EV_ENABLE); /* and look anew */
    }
}

/* -------------------------------------------------------------------------------- accepting --- */

static void add_client(struct server *server, int fd)
{
    if (!conn_open(&server->conns, fd)) {
        net_turn_away(fd, strerror(errno));
        return;
    }
    server->open++;
    changes_add(&server->changes, fd, EVFILT_READ, EV_ADD);
}

static void accept_clients(struct server *server, int64_t max)
{
    for (int64_t i = 0; i < max; i++) {
        int client;
        make_room(server);
        enum net_accepted got = net_accept(server->listener, true, &client);
        if (got == NET_CLIENT)
            add_client(server, client);
        if (got == NET_TRY_AGAIN)
            return;
        if (got == NET_EXHAUSTED) {
            /* The listener stays ready, so each wait would return at once, forever. So we stop
             * watching it for a while. */
            changes_add(&server->changes, server->listener, EVFILT_READ, EV_DISABLE);
            server->deadline = net_now_ms() + RETRY_MS;
            return;
        }
    }
}

static void accept_again(struct server *server)
{
    make_room(server);
    changes_add(&server->changes, server->listener, EVFILT_READ, EV_ENABLE);
    server->deadline = 0;
}

/* --------------------------------------------------------------------------------- the stop --- */

/* Clients in the backlog have been told that they are connected, so we accept them first. */
static void begin_stop(struct server *server)
{
    if (server->listener < 0)
        return; /* a second signal */
    accept_clients(server, server->backlog_max);
    changes_forget(&server->changes, server->listener);
    close(server->listener);
    server->listener = -1;
    server->deadline = net_now_ms() + CONN_STOP_MS;
    for (int fd = 0; fd < server->conns.size; fd++) {
        struct conn *conn = conn_at(&server->conns, fd);
        if (!conn)
            continue;
        conn_stop(conn);
        take_turn(server, fd);
    }
}

int main(int argc, char **argv)
{
    struct net_settings settings = options_parse(argc, argv, NULL);
    struct server server = {
        .kq = kqueue(),
        .listener = net_listen(&settings, true),
        .backlog_max = net_backlog_max(settings.backlog),
    };

    if (server.kq < 0)
        err(1, "kqueue");
    if (server.listener < 0)
        return 1;
    /* EVFILT_SIGNAL only reports the signal: what it does otherwise still happens. */
    stop_signals_handle(SIG_IGN);
    changes_add(&server.changes, SIGINT, EVFILT_SIGNAL, EV_ADD);
    changes_add(&server.changes, SIGTERM, EVFILT_SIGNAL, EV_ADD);
    changes_add(&server.changes, server.listener, EVFILT_READ, EV_ADD);
    send_changes(&server);
    if (net_announce(server.listener) < 0)
        return 1;
    run(&server);
    conn_table_free(&server.conns);
    close(server.kq);
    return 0;
}
