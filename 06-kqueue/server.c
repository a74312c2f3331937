/* Stage 6: kqueue, the BSDs' answer, where one call does everything.
 *
 * kevent() takes a list of changes to what we watch and gives back a list of events. And it
 * watches more than sockets: here signals, timers and a file's changes come out of the same call.
 *
 * This is plain BSD code. On Linux it is compiled against linux/sys/event.h, which gives the same
 * interface on top of epoll, so that it can be run and changed there, too. */
#include <err.h>
#include <errno.h>
#include <signal.h>
#include <stdint.h>
#include <sys/types.h>

#include <sys/event.h>
#include <sys/time.h>
#include <unistd.h>

#include "conn.h"
#include "log.h"
#include "net.h"
#include "options.h"
#include "watch.h"

enum {
    EVENTS_PER_WAIT = 64, /* and changes per call, so that each has room to answer an error */
    ACCEPTS_PER_TURN = 64,
    RETRY_MS = 100,     /* after running out of descriptors, accept again this soon */
    TURNS_PER_EDGE = 2, /* --clear: most connections have nothing more to do in the second */
    IDLE_TICKS = 4,     /* an idle timeout is counted in so many ticks: up to a quarter too long */
};

enum { TIMER_STATS = 1, TIMER_IDLE }; /* timers have numbers of their own, beside descriptors */

struct server {
    int kq;
    int listener; /* -1 once we stop */
    int open;     /* connections */
    struct conn_table conns;
    int64_t deadline;                       /* of the stop; before, when to accept again; 0: none */
    struct kevent changes[EVENTS_PER_WAIT]; /* to be sent along with the next wait */
    int change_count;

    unsigned short clear; /* EV_CLEAR with --clear, else 0 */
    bool ticked;          /* the idle timer has, in this batch */
    long long echoes;
    struct watch *watch;
};

/* ----------------------------------------------------------------------------- the changes --- */

static void close_conn(struct server *server, struct conn *conn);

/* An event with EV_ERROR set answers a change. This one was refused: data is the errno. */
static void handle_error(struct server *server, const struct kevent *event)
{
    struct conn *conn = conn_at(&server->conns, (int)event->ident);
    errno = (int)event->data;
    if ((event->filter != EVFILT_READ && event->filter != EVFILT_WRITE) ||
        (int)event->ident == server->listener)
        log_fatal("kevent");
    if (conn) {
        log_error("client %d lost: kevent", conn->fd);
        close_conn(server, conn);
    }
}

/* Sends the changes. EV_RECEIPT asks for an answer to each, and for nothing but answers: so
 * kevent() has something to return at once, and neither waits nor can be interrupted. */
static void send_changes(struct server *server)
{
    struct kevent answers[EVENTS_PER_WAIT];
    for (int i = 0; i < server->change_count; i++)
        server->changes[i].flags |= EV_RECEIPT;
    int count =
        kevent(server->kq, server->changes, server->change_count, answers, EVENTS_PER_WAIT, NULL);
    if (count < 0)
        log_fatal("kevent");
    server->change_count = 0;
    for (int i = 0; i < count; i++)
        if ((answers[i].flags & EV_ERROR) && answers[i].data != 0)
            handle_error(server, &answers[i]);
}

/* Notes a change for the next kevent(). NetBSD's filters and flags have 32 bits and no sign, but as
 * here none of them needs more than 16: they fit. And its EV_SET, before NetBSD 10, evaluates its
 * first argument six times: &changes[change_count++] would put each field into another entry. */
static void change(struct server *server, int ident, short filter, unsigned short flags)
{
    if ((flags & EV_ADD) && (filter == EVFILT_READ || filter == EVFILT_WRITE) &&
        ident != server->listener)
        flags |= server->clear;
    if (server->change_count == EVENTS_PER_WAIT)
        send_changes(server);
    struct kevent *next = &server->changes[server->change_count++];
    EV_SET(next, (uintptr_t)ident, filter, flags, 0, 0, 0);
}

/* A closed descriptor's number may be in use again before the changes are sent. */
static void forget_changes(struct server *server, int fd)
{
    int kept = 0;
    for (int i = 0; i < server->change_count; i++) {
        struct kevent *each = &server->changes[i];
        bool descriptor = each->filter == EVFILT_READ || each->filter == EVFILT_WRITE;
        if (!descriptor || each->ident != (uintptr_t)fd)
            server->changes[kept++] = *each;
    }
    server->change_count = kept;
}

/* -------------------------------------------------------------------- one connection's turn --- */

static void accept_again(struct server *server)
{
    change(server, server->listener, EVFILT_READ, EV_ENABLE);
    server->deadline = 0;
}

/* close() takes the descriptor's filters with it. */
static void close_conn(struct server *server, struct conn *conn)
{
    forget_changes(server, conn->fd);
    conn_close(conn);
    server->open--;
    if (server->listener >= 0 && server->deadline > 0)
        accept_again(server); /* a descriptor is free again */
}

/* READ and WRITE are two filters of one descriptor. Only one of them is enabled at a time, so
 * that nothing is read while bytes are unsent, and no batch names a connection twice.
 *
 * With EV_CLEAR (edge-triggered) what is left over is not reported again. But EV_ADD looks at the
 * socket anew: so to add once more is to ask for one more turn, after everybody else's.
 *
 * A turn notes two changes at most. If these do not fit, the others go first: before the turn, for
 * one of them may be refused, and then end this very connection. */
static void take_turn(struct server *server, struct conn *conn)
{
    if (server->change_count > EVENTS_PER_WAIT - 2)
        send_changes(server);
    if (conn->fd < 0)
        return;
    enum conn_next before = conn->next, next;
    int turns = server->clear ? TURNS_PER_EDGE : 1;
    do
        next = conn_turn(conn);
    while (--turns > 0 && next == before && !conn->would_block);

    if (next == CONN_CLOSE) {
        close_conn(server, conn);
    } else if (next == CONN_WRITE && before == CONN_READ) {
        change(server, conn->fd, EVFILT_READ, EV_DISABLE);
        change(server, conn->fd, EVFILT_WRITE, EV_ADD);
    } else if (next == CONN_READ && before == CONN_WRITE) {
        change(server, conn->fd, EVFILT_WRITE, EV_DELETE);
        change(server, conn->fd, EVFILT_READ, EV_ADD | EV_ENABLE);
    } else if (server->clear && !conn->would_block) {
        change(server, conn->fd, next == CONN_READ ? EVFILT_READ : EVFILT_WRITE, EV_ADD);
    }
}

/* -------------------------------------------------------------------------------- accepting --- */

static void accept_clients(struct server *server, int64_t most)
{
    for (int64_t i = 0; i < most; i++) {
        int client;
        enum net_accepted got = net_accept(server->listener, true, &client);
        if (got == NET_CLIENT && conn_open(&server->conns, client)) {
            server->open++;
            change(server, client, EVFILT_READ, EV_ADD);
        } else if (got == NET_CLIENT) {
            log_error("client %d turned away", client);
            close(client);
        } else if (got == NET_EXHAUSTED) {
            /* The listener stays ready, and kevent() would return at once, for ever. So stop
             * watching it until somebody leaves, or for a while. */
            change(server, server->listener, EVFILT_READ, EV_DISABLE);
            server->deadline = net_now_ms() + RETRY_MS;
        }
        if (got == NET_EXHAUSTED || got == NET_TRY_AGAIN)
            return;
    }
}

/* --------------------------------------------------------------------------------- the loop --- */

static void begin_stop(struct server *server, int backlog_max)
{
    /* All who wait: they have been told that they are in. */
    accept_clients(server, backlog_max);
    forget_changes(server, server->listener);
    close(server->listener);
    server->listener = -1;
    server->deadline = net_now_ms() + CONN_STOP_MS;
    for (int fd = 0; fd < server->conns.size; fd++) {
        struct conn *conn = conn_at(&server->conns, fd);
        if (!conn)
            continue;
        conn_stop(conn);
        take_turn(server, conn);
    }
}

/* EV_EOF in flags says that the client has finished, or is lost; data then still counts what can
 * be read. So it is no reason to close: take turns until recv() itself says that it is over. */
static void handle_descriptor(struct server *server, const struct kevent *event)
{
    int fd = (int)event->ident;
    struct conn *conn = conn_at(&server->conns, fd);

    if (fd == server->listener) /* data counts the clients who wait */
        accept_clients(server, event->data < ACCEPTS_PER_TURN ? event->data : ACCEPTS_PER_TURN);
    if (!conn)
        return;
    /* TCP has no messages, so there are no echoes to count. This counts how often there was
     * something to read: once for all that came together, several times for more than a turn. */
    server->echoes += event->filter == EVFILT_READ && event->data > 0;
    take_turn(server, conn);
}

/* Closes who has been quiet for all ticks of the timeout. After the batch, so that none of its
 * events is for one whom it has closed. */
static void tick(struct server *server)
{
    for (int fd = 0; fd < server->conns.size; fd++) {
        struct conn *conn = conn_at(&server->conns, fd);
        if (conn && conn->idle_ticks++ == IDLE_TICKS)
            close_conn(server, conn);
    }
    server->ticked = false;
}

static void handle(struct server *server, const struct kevent *event, int backlog_max)
{
    if (event->flags & EV_ERROR) {
        handle_error(server, event);
        return;
    }
    switch (event->filter) {
    case EVFILT_READ:
    case EVFILT_WRITE:
        handle_descriptor(server, event);
        break;
    case EVFILT_SIGNAL:
        if (server->listener >= 0)
            begin_stop(server, backlog_max);
        break;
    case EVFILT_TIMER:
        if (event->ident == TIMER_STATS)
            log_event("%d connections, %lld echoes", server->open, server->echoes);
        else
            server->ticked = true;
        break;
    case EVFILT_VNODE:
        watch_event(server->watch, event);
        break;
    }
}

/* One call: the changes go in, the events come out. */
static int wait_for_events(struct server *server, struct kevent *events)
{
    int64_t left = server->deadline > 0 ? server->deadline - net_now_ms() : 0;
    struct timespec timeout = {0};
    if (left > 0)
        timeout = (struct timespec){left / 1000, (long)(left % 1000) * 1000000};
    int count = kevent(server->kq, server->changes, server->change_count, events, EVENTS_PER_WAIT,
                       server->deadline > 0 ? &timeout : NULL);
    server->change_count = 0; /* even after EINTR: then they have been applied */
    return count;
}

static void run(struct server *server, int backlog_max)
{
    struct kevent events[EVENTS_PER_WAIT];

    while (server->listener >= 0 || server->open > 0) {
        int count = wait_for_events(server, events);
        if (count < 0 && errno != EINTR)
            log_fatal("kevent");
        for (int i = 0; i < count; i++)
            handle(server, &events[i], backlog_max);
        if (server->ticked)
            tick(server);
        if (server->watch)
            watch_settle(server->watch, server->kq);
        if (server->deadline == 0 || net_now_ms() < server->deadline)
            continue;
        if (server->listener < 0)
            return; /* their second is over */
        accept_again(server);
    }
}

/* Timers repeat, in milliseconds if fflags says nothing else. */
static void start_timer(struct server *server, int ident, int ms)
{
    struct kevent timer;
    EV_SET(&timer, (uintptr_t)ident, EVFILT_TIMER, EV_ADD, 0, ms, 0);
    if (kevent(server->kq, &timer, 1, NULL, 0, NULL) < 0)
        err(1, "kevent: timer");
}

enum { CLEAR, STATS, IDLE_TIMEOUT, WATCH };

static void apply_options(struct server *server, const struct extra_option *option, int stats_s,
                          int idle_s)
{
    if (option[CLEAR].value)
        server->clear = EV_CLEAR;
    if (stats_s > 0)
        start_timer(server, TIMER_STATS, stats_s * 1000);
    if (idle_s > 0)
        start_timer(server, TIMER_IDLE, idle_s * (1000 / IDLE_TICKS));
    if (option[WATCH].value) {
        server->watch = watch_start(server->kq, option[WATCH].value);
        if (!server->watch)
            err(1, "watch %s", option[WATCH].value);
    }
}

int main(int argc, char **argv)
{
    struct extra_option extra[] = {
        [CLEAR] = {"clear", false, "--clear          use EV_CLEAR: report changes only", NULL},
        [STATS] = {"stats", true, "--stats SECONDS  print connections and echoes so often", NULL},
        [IDLE_TIMEOUT] =
            {"idle-timeout", true,
             "--idle-timeout SECONDS\n                   close who is quiet for so long (never)",
             NULL},
        [WATCH] = {"watch", true, "--watch FILE     say what happens to a file", NULL},
        {0},
    };
    struct net_settings settings = options_parse(argc, argv, extra);
    const char *stats = extra[STATS].value, *idle = extra[IDLE_TIMEOUT].value;
    int stats_s = stats ? options_number("--stats", stats, 1, 86400) : 0;
    int idle_s = idle ? options_number("--idle-timeout", idle, 1, 86400) : 0;
    struct server server = {.kq = kqueue()};

    if (server.kq < 0)
        err(1, "kqueue");
    server.listener = net_listen(&settings, true);
    if (server.listener < 0)
        return 1;
    apply_options(&server, extra, stats_s, idle_s);
    /* EVFILT_SIGNAL sees a signal beside what else it does: so it must do nothing else. One that
     * comes before the filter is there is lost; by then nobody has been told that we listen. */
    const struct sigaction ignore = {.sa_handler = SIG_IGN};
    sigaction(SIGINT, &ignore, NULL);
    sigaction(SIGTERM, &ignore, NULL);
    change(&server, SIGINT, EVFILT_SIGNAL, EV_ADD);
    change(&server, SIGTERM, EVFILT_SIGNAL, EV_ADD);
    change(&server, server.listener, EVFILT_READ, EV_ADD);
    send_changes(&server);
    if (net_announce(server.listener) < 0)
        return 1;
    run(&server, net_backlog_max(settings.backlog));
    conn_table_free(&server.conns);
    watch_end(server.watch);
    close(server.kq);
    return 0;
}
