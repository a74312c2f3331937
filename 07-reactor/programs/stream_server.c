#include "stream_server.h"

#include <err.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "log.h"
#include "options.h"

enum {
    ACCEPTS_PER_TURN = 64,
    RETRY_MS = 100, /* out of descriptors: stop accepting for this long */
    STOP_MS = 1000, /* how long a stopping server waits for its clients */
};

static void add_client(struct stream_server *server, int fd)
{
    struct stream *stream =
        stream_open(server->reactor, fd, &server->handlers, &server->streams, server);
    if (!stream) {
        net_turn_away(fd, strerror(errno));
        return;
    }
    if (server->on_open)
        server->on_open(stream);
    if (stream_limit_silence(stream, server->first_ms, server->idle_ms) < 0) {
        log_error("client %d lost", fd);
        stream_abort(stream);
    }
}

/* The listener stays ready, so each wait would return at once, forever. So we stop watching it for
 * a while. */
static void pause_accepting(struct stream_server *server)
{
    reactor_modify(server->reactor, server->listener, 0);
    reactor_timer_start(server->reactor, &server->retry, RETRY_MS, 0);
}

static void accept_clients(struct stream_server *server, int max)
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
    struct stream_server *server = argument;
    (void)reactor, (void)fd;
    if (ready & REACTOR_ERROR)
        pause_accepting(server);
    else
        accept_clients(server, ACCEPTS_PER_TURN);
}

static void accept_again(struct reactor *reactor, struct reactor_timer *timer)
{
    struct stream_server *server = timer->argument;
    reactor_modify(reactor, server->listener, REACTOR_READ);
}

/* Clients in the backlog have been told that they are connected, so we accept them first. */
static void begin_stop(struct reactor *reactor, int signal, void *argument)
{
    struct stream_server *server = argument;
    (void)signal;
    if (server->listener < 0)
        return; /* a second signal */
    accept_clients(server, net_backlog_max(server->backlog));
    reactor_close(reactor, server->listener);
    server->listener = -1;
    server->streams.on_empty = reactor_stop;
    for (struct stream *s = server->streams.first; s; s = stream_next(s))
        stream_stop(s, STOP_MS);
    if (server->streams.count == 0)
        reactor_stop(reactor);
}

static struct net_settings read_options(struct stream_server *server, int argc, char **argv,
                                        struct extra_option *extra, const char **backend)
{
    enum { BACKEND, FIRST, IDLE, EXTRA, MAX = 8 };
    struct extra_option option[MAX + 1] = {
        {"backend", true, "--backend NAME   epoll, kqueue, poll or select (default: the best)",
         NULL},
        {"first-message-timeout", true,
         "--first-message-timeout SECONDS\n"
         "                   close clients without a whole message by then (default: 30; 0: never)",
         "30"},
        {"idle-timeout", true, "--idle-timeout SECONDS  close idle connections (default: never)",
         NULL},
    };
    for (int i = 0; extra && extra[i].name; i++)
        option[EXTRA + i] = extra[i];
    struct net_settings settings = options_parse(argc, argv, option);
    for (int i = 0; extra && extra[i].name; i++)
        extra[i].value = option[EXTRA + i].value;

    *backend = option[BACKEND].value;
    server->first_ms =
        1000 * options_number("--first-message-timeout", option[FIRST].value, 0, 86400);
    if (option[IDLE].value)
        server->idle_ms = 1000 * options_number("--idle-timeout", option[IDLE].value, 1, 86400);
    server->backlog = settings.backlog;
    return settings;
}

void stream_server_open(struct stream_server *server, int argc, char **argv,
                        struct extra_option *extra)
{
    const char *backend;
    options_purpose = server->purpose;
    struct net_settings settings = read_options(server, argc, argv, extra, &backend);
    server->listener = net_listen(&settings, true);
    if (server->listener < 0)
        exit(1);
    server->retry = (struct reactor_timer){.handler = accept_again, .argument = server};
    server->reactor = reactor_create(backend);
    if (!server->reactor && backend && errno == EINVAL) {
        warn("--backend %s", backend);
        options_try_help();
    }
    if (!server->reactor || reactor_signal(server->reactor, SIGINT, begin_stop, server) < 0 ||
        reactor_signal(server->reactor, SIGTERM, begin_stop, server) < 0 ||
        reactor_add(server->reactor, server->listener, REACTOR_READ, on_listener, server) < 0)
        err(1, "reactor");
}

static void run(struct stream_server *server)
{
    if (reactor_run(server->reactor) < 0)
        log_fatal(reactor_backend(server->reactor));
}

int stream_server_run(struct stream_server *server)
{
    if (net_announce(server->listener) < 0)
        return 1;
    run(server);
    server->opened.on_empty = reactor_stop;
    for (struct stream *s = server->opened.first; s; s = stream_next(s))
        stream_stop(s, STOP_MS);
    if (server->opened.count > 0)
        run(server);
    if (server->at_end)
        server->at_end();
    reactor_destroy(server->reactor);
    return 0;
}
