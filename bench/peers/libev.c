/* The same server on libev. libev says who is ready; the bytes are common/conn's, as in the
 * chapters, so that what differs from them is the loop alone. */
#include "conn.h"
#include "log.h"
#include "net.h"
#include "options.h"

#include <err.h>
#include <ev.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

enum { ACCEPTS_PER_TURN = 64, RETRY_MS = 100 };

static struct conn_table conns;
static ev_io **watchers; /* by descriptor */
static int watcher_capacity;
static ev_io listener_watcher;
static ev_timer retry, deadline;
static int listener, backlog_max, clients;

static void end_client(struct ev_loop *loop, struct conn *conn)
{
    ev_io *watcher = watchers[conn->fd];
    ev_io_stop(loop, watcher);
    watchers[conn->fd] = NULL;
    free(watcher);
    conn_close(conn);
    if (listener >= 0)
        ev_io_start(loop, &listener_watcher);
    if (--clients == 0 && listener < 0)
        ev_break(loop, EVBREAK_ALL);
}

static void take_turn(struct ev_loop *loop, struct conn *conn)
{
    enum conn_next before = conn->next;
    enum conn_next next = conn_turn(conn);
    if (next == CONN_CLOSE) {
        end_client(loop, conn);
    } else if (next != before) {
        ev_io *watcher = watchers[conn->fd];
        ev_io_stop(loop, watcher);
        ev_io_set(watcher, conn->fd, next == CONN_WRITE ? EV_WRITE : EV_READ);
        ev_io_start(loop, watcher);
    }
}

static void on_client(struct ev_loop *loop, ev_io *watcher, int events)
{
    (void)events;
    take_turn(loop, conn_at(&conns, watcher->fd));
}

static bool room_for(int fd)
{
    if (fd < watcher_capacity)
        return true;
    int capacity = 2 * fd + 64;
    ev_io **grown = realloc(watchers, (size_t)capacity * sizeof(ev_io *));
    if (!grown)
        return false;
    watchers = grown;
    watcher_capacity = capacity;
    return true;
}

static void add_client(struct ev_loop *loop, int fd)
{
    struct conn *conn = room_for(fd) ? conn_open(&conns, fd) : NULL;
    ev_io *watcher = conn ? malloc(sizeof *watcher) : NULL;
    if (!watcher) {
        log_error("client %d turned away", fd);
        if (conn)
            conn_close(conn);
        else
            close(fd);
        return;
    }
    watchers[fd] = watcher;
    ev_io_init(watcher, on_client, fd, EV_READ);
    ev_io_start(loop, watcher);
    clients++;
}

static void accept_clients(struct ev_loop *loop, int most)
{
    for (int i = 0, client; i < most; i++) {
        enum net_accepted got = net_accept(listener, true, &client);
        if (got == NET_CLIENT)
            add_client(loop, client);
        if (got == NET_EXHAUSTED) {
            ev_io_stop(loop, &listener_watcher);
            ev_timer_stop(loop, &retry);
            ev_timer_set(&retry, RETRY_MS / 1000.0, 0);
            ev_timer_start(loop, &retry);
        }
        if (got == NET_EXHAUSTED || got == NET_TRY_AGAIN)
            return;
    }
}

static void on_listener(struct ev_loop *loop, ev_io *watcher, int events)
{
    (void)watcher, (void)events;
    accept_clients(loop, ACCEPTS_PER_TURN);
}

static void on_retry(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)timer, (void)events;
    if (listener >= 0)
        ev_io_start(loop, &listener_watcher);
}

static void on_deadline(struct ev_loop *loop, ev_timer *timer, int events)
{
    (void)timer, (void)events;
    ev_break(loop, EVBREAK_ALL);
}

static void on_signal(struct ev_loop *loop, ev_signal *watcher, int events)
{
    (void)watcher, (void)events;
    if (listener < 0)
        return;
    accept_clients(loop, backlog_max);
    ev_io_stop(loop, &listener_watcher);
    close(listener);
    listener = -1;
    if (clients == 0)
        ev_break(loop, EVBREAK_ALL);
    ev_timer_init(&deadline, on_deadline, CONN_STOP_MS / 1000.0, 0);
    ev_timer_start(loop, &deadline);
    for (int fd = 0; fd < conns.size; fd++) {
        struct conn *conn = conn_at(&conns, fd);
        if (!conn)
            continue;
        conn_stop(conn);
        take_turn(loop, conn);
    }
}

int main(int argc, char **argv)
{
    struct net_settings settings = options_parse(argc, argv, NULL);
    ev_signal interrupt, terminate;
    listener = net_listen(&settings, true);
    backlog_max = net_backlog_max(settings.backlog);
    if (listener < 0)
        return 1;
    struct ev_loop *loop = ev_default_loop(EVFLAG_AUTO);
    if (!loop)
        errx(1, "libev could not start");
    ev_signal_init(&interrupt, on_signal, SIGINT);
    ev_signal_start(loop, &interrupt);
    ev_signal_init(&terminate, on_signal, SIGTERM);
    ev_signal_start(loop, &terminate);
    ev_timer_init(&retry, on_retry, 0, 0);
    ev_io_init(&listener_watcher, on_listener, listener, EV_READ);
    ev_io_start(loop, &listener_watcher);
    net_announce(listener);
    ev_run(loop, 0);
    conn_table_free(&conns);
    return 0;
}
