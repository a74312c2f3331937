/* The same server on libevent's bufferevents, the way its documentation recommends: libevent reads
 * into a buffer, and what is in it is moved to the output buffer without a copy. Backpressure is
 * as good as the library allows: reading stops while output is left. */
#include "log.h"
#include "net.h"
#include "options.h"

#include <err.h>
#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

enum { ACCEPTS_PER_TURN = 64, RETRY_MS = 100, HELD_MAX = 64 * 1024, STOP_MS = 1000 };

struct client {
    struct bufferevent *stream;
    struct client *next, *previous;
    int left; /* while we stop: bytes that had arrived at the signal, and are not read yet */
    bool fin_sent;
    bool ending; /* nothing more comes: close when all is sent */
};

static struct event_base *base;
static struct event *listener_event, *retry;
static struct client *all;
static int listener, backlog_max;

static bool owes(const struct client *client)
{
    return evbuffer_get_length(bufferevent_get_output(client->stream)) > 0;
}

static void end_client(struct client *client)
{
    if (owes(client))
        net_reset_on_close(bufferevent_getfd(client->stream));
    bufferevent_free(client->stream); /* closes the descriptor, too */
    *(client->previous ? &client->previous->next : &all) = client->next;
    if (client->next)
        client->next->previous = client->previous;
    free(client);
    if (listener >= 0)
        event_add(listener_event, NULL);
    else if (!all)
        event_base_loopbreak(base);
}

/* While we stop: the FIN follows the last byte that is owed. Then we read on, and throw it away:
 * closing with unread input would send RST. */
static void send_fin_if_done(struct client *client)
{
    if (listener >= 0 || client->fin_sent || client->left > 0 || owes(client))
        return;
    shutdown(bufferevent_getfd(client->stream), SHUT_WR);
    client->fin_sent = true;
}

static void on_read(struct bufferevent *stream, void *argument)
{
    struct client *client = argument;
    if (client->fin_sent) {
        evbuffer_drain(bufferevent_get_input(stream), SIZE_MAX);
        return;
    }
    if (listener < 0)
        client->left -= (int)evbuffer_get_length(bufferevent_get_input(stream));
    evbuffer_add_buffer(bufferevent_get_output(stream), bufferevent_get_input(stream));
    bufferevent_disable(stream, EV_READ); /* until it is sent */
}

/* Everything is sent. */
static void on_write(struct bufferevent *stream, void *argument)
{
    struct client *client = argument;
    if (client->ending) {
        end_client(client);
        return;
    }
    send_fin_if_done(client);
    bufferevent_enable(stream, EV_READ);
}

static void on_event(struct bufferevent *stream, short what, void *argument)
{
    struct client *client = argument;
    (void)stream;
    client->ending = true;
    if ((what & BEV_EVENT_ERROR) || !owes(client))
        end_client(client);
}

static void add_client(int fd)
{
    struct client *client = calloc(1, sizeof *client);
    struct bufferevent *stream =
        client ? bufferevent_socket_new(base, fd, BEV_OPT_CLOSE_ON_FREE) : NULL;
    if (!stream) {
        log_warning("client %d turned away", fd);
        free(client);
        close(fd);
        return;
    }
    client->stream = stream;
    client->next = all;
    if (all)
        all->previous = client;
    all = client;
    bufferevent_setwatermark(stream, EV_READ, 0, HELD_MAX);
    bufferevent_set_max_single_read(stream, HELD_MAX);
    bufferevent_set_max_single_write(stream, HELD_MAX);
    bufferevent_setcb(stream, on_read, on_write, on_event, client);
    bufferevent_enable(stream, EV_READ | EV_WRITE);
}

static void accept_clients(int most)
{
    static const struct timeval pause = {.tv_usec = RETRY_MS * 1000};
    for (int i = 0, fd; i < most; i++) {
        enum net_accepted got = net_accept(listener, true, &fd);
        if (got == NET_CLIENT)
            add_client(fd);
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

/* The stop: each client gets what is owed to it, then the FIN, and all have a second. */
static void on_signal(evutil_socket_t number, short what, void *argument)
{
    static const struct timeval limit = {.tv_usec = STOP_MS * 900};
    (void)number, (void)what, (void)argument;
    if (listener < 0)
        return;
    accept_clients(backlog_max);
    event_del(listener_event);
    close(listener);
    listener = -1;
    event_base_loopexit(base, all ? &limit : NULL);
    for (struct client *client = all; client; client = client->next) {
        if (ioctl(bufferevent_getfd(client->stream), FIONREAD, &client->left) < 0)
            client->left = 0;
        send_fin_if_done(client);
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
    while (all)
        end_client(all);
    return 0;
}
