/* The same server on libevent's plain events. libevent says who is ready; the bytes are
 * common/conn's, as in the chapters, so that what differs from them is the loop alone. */
#include "conn.h"
#include "log.h"
#include "net.h"
#include "options.h"

#include <err.h>
#include <event2/event.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

enum { ACCEPTS_PER_TURN = 64, RETRY_MS = 100 };

static struct conn_table conns;
static struct event **events; /* by descriptor */
static int event_capacity;
static struct event_base *base;
static struct event *listener_event, *retry;
static int listener, backlog_max, clients;

static void end_client(struct conn *conn)
{
    int fd = conn->fd;
    event_free(events[fd]);
    events[fd] = NULL;
    conn_close(conn);
    if (listener >= 0)
        event_add(listener_event, NULL);
    if (--clients == 0 && listener < 0)
        event_base_loopbreak(base);
}

static void on_client(evutil_socket_t fd, short what, void *argument);

static void take_turn(struct conn *conn)
{
    enum conn_next before = conn->next;
    enum conn_next next = conn_turn(conn);
    if (next == CONN_CLOSE) {
        end_client(conn);
    } else if (next != before) {
        struct event *event = events[conn->fd];
        short what = (short)((next == CONN_WRITE ? EV_WRITE : EV_READ) | EV_PERSIST);
        event_del(event);
        event_assign(event, base, conn->fd, what, on_client, NULL);
        if (event_add(event, NULL) != 0)
            end_client(conn);
    }
}

static void on_client(evutil_socket_t fd, short what, void *argument)
{
    (void)what, (void)argument;
    take_turn(conn_at(&conns, fd));
}

static bool room_for(int fd)
{
    if (fd < event_capacity)
        return true;
    int capacity = 2 * fd + 64;
    struct event **grown = realloc(events, (size_t)capacity * sizeof(struct event *));
    if (!grown)
        return false;
    events = grown;
    event_capacity = capacity;
    return true;
}

static void add_client(int fd)
{
    struct conn *conn = room_for(fd) ? conn_open(&conns, fd) : NULL;
    struct event *event = conn ? event_new(base, fd, EV_READ | EV_PERSIST, on_client, NULL) : NULL;
    if (!event || event_add(event, NULL) != 0) {
        log_error("client %d turned away", fd);
        if (event)
            event_free(event);
        if (conn)
            conn_close(conn);
        else
            close(fd);
        return;
    }
    events[fd] = event;
    clients++;
}

static void accept_clients(int most)
{
    static const struct timeval pause = {.tv_usec = RETRY_MS * 1000};
    for (int i = 0, client; i < most; i++) {
        enum net_accepted got = net_accept(listener, true, &client);
        if (got == NET_CLIENT)
            add_client(client);
        if (got == NET_EXHAUSTED) {
            event_del(listener_event);
            event_add(retry, &pause);
        }
        if (got == NET_EXHAUSTED || got == NET_TRY_AGAIN)
            return;
    }
}

static void on_listener(evutil_socket_t fd, short what, void *argument)
{
    (void)fd, (void)what, (void)argument;
    accept_clients(ACCEPTS_PER_TURN);
}

static void on_retry(evutil_socket_t fd, short what, void *argument)
{
    (void)fd, (void)what, (void)argument;
    if (listener >= 0)
        event_add(listener_event, NULL);
}

static void on_signal(evutil_socket_t signal, short what, void *argument)
{
    static const struct timeval limit = {.tv_sec = CONN_STOP_MS / 1000};
    (void)signal, (void)what, (void)argument;
    if (listener < 0)
        return;
    accept_clients(backlog_max);
    event_del(listener_event);
    close(listener);
    listener = -1;
    if (clients == 0)
        event_base_loopbreak(base);
    event_base_loopexit(base, &limit);
    for (int fd = 0; fd < conns.size; fd++) {
        struct conn *conn = conn_at(&conns, fd);
        if (!conn)
            continue;
        conn_stop(conn);
        take_turn(conn);
    }
}

static void watch_signal(int number)
{
    struct event *event = evsignal_new(base, number, on_signal, NULL);
    if (!event || event_add(event, NULL) != 0)
        errx(1, "libevent could not watch a signal");
}

int main(int argc, char **argv)
{
    struct net_settings settings = options_parse(argc, argv, NULL);
    listener = net_listen(&settings, true);
    backlog_max = net_backlog_max(settings.backlog);
    if (listener < 0)
        return 1;
    base = event_base_new();
    if (!base)
        errx(1, "libevent could not start");
    watch_signal(SIGINT);
    watch_signal(SIGTERM);
    retry = event_new(base, -1, 0, on_retry, NULL);
    listener_event = event_new(base, listener, EV_READ | EV_PERSIST, on_listener, NULL);
    if (!retry || !listener_event || event_add(listener_event, NULL) != 0)
        errx(1, "libevent could not watch the listener");
    net_announce(listener);
    event_base_dispatch(base);
    conn_table_free(&conns);
    return 0;
}
