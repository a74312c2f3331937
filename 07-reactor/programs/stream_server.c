#include "stream_server.h"

#include <err.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <unistd.h>

#include "log.h"
#include "options.h"

enum { ACCEPTS_PER_TURN = 64, RETRY_MS = 100, STOP_MS = 1000 };

static void take(struct service *service, int fd)
{
    struct stream *stream =
        stream_open(service->reactor, fd, &service->handlers, &service->streams, service);
    if (!stream) {
        log_error("client %d turned away", fd);
        close(fd);
        return;
    }
    if (service->on_open)
        service->on_open(stream);
    if (stream_limit_silence(stream, service->first_ms, service->idle_ms) < 0) {
        log_error("client %d turned away", fd);
        stream_abort(stream);
    }
}

static void accept_some(struct service *service, unsigned ready, int most)
{
    enum net_accepted got = NET_CLIENT;
    for (int i = 0, fd; i < most && got <= NET_LOST; i++) {
        got = net_accept(service->listener, true, &fd);
        if (got == NET_CLIENT)
            take(service, fd);
    }
    /* The listener stays ready, or could not be watched again: do not look at it for a while. */
    if (got == NET_EXHAUSTED || ready & REACTOR_ERROR) {
        reactor_modify(service->reactor, service->listener, 0);
        reactor_timer_start(service->reactor, &service->retry, RETRY_MS, 0);
    }
}

static void on_listener(struct reactor *reactor, int fd, unsigned ready, void *argument)
{
    (void)reactor, (void)fd;
    accept_some(argument, ready, ACCEPTS_PER_TURN);
}

static void accept_again(struct reactor *reactor, struct reactor_timer *timer)
{
    struct service *service = timer->argument;
    reactor_modify(reactor, service->listener, REACTOR_READ);
}

static void on_signal(struct reactor *reactor, int signal, void *argument)
{
    struct service *service = argument;
    (void)signal;
    if (service->listener < 0)
        return;
    accept_some(service, 0,
                net_backlog_max(service->backlog)); /* all who wait have been told: connected */
    reactor_remove(reactor, service->listener);
    close(service->listener);
    service->listener = -1;
    service->streams.on_empty = reactor_stop;
    for (struct stream *s = service->streams.first; s; s = stream_next(s))
        stream_stop(s, STOP_MS);
    if (service->streams.count == 0)
        reactor_stop(reactor);
}

static struct net_settings read_options(struct service *service, int argc, char **argv,
                                        struct extra_option *extra, const char **backend)
{
    enum { BACKEND, FIRST, IDLE, EXTRA, MAX = 8 };
    struct extra_option option[MAX + 1] = {
        {"backend", true, "--backend NAME   epoll, kqueue, poll or select (the best)", NULL},
        {"first-message-timeout", true,
         "--first-message-timeout SECONDS\n"
         "                   close clients without a whole message by then (30; 0: never)",
         "30"},
        {"idle-timeout", true,
         "--idle-timeout SECONDS\n                   close clients that are quiet for so long "
         "(never)",
         NULL},
    };
    for (int i = 0; extra && extra[i].name; i++)
        option[EXTRA + i] = extra[i];
    struct net_settings settings = options_parse(argc, argv, option);
    for (int i = 0; extra && extra[i].name; i++)
        extra[i].value = option[EXTRA + i].value;

    *backend = option[BACKEND].value;
    service->first_ms =
        1000 * options_number("--first-message-timeout", option[FIRST].value, 0, 86400);
    if (option[IDLE].value)
        service->idle_ms = 1000 * options_number("--idle-timeout", option[IDLE].value, 1, 86400);
    service->backlog = settings.backlog;
    return settings;
}

void service_open(struct service *service, int argc, char **argv, struct extra_option *extra)
{
    const char *backend;
    options_purpose = service->purpose;
    struct net_settings settings = read_options(service, argc, argv, extra, &backend);
    service->listener = net_listen(&settings, true);
    if (service->listener < 0)
        exit(1);
    service->retry = (struct reactor_timer){.handler = accept_again, .argument = service};
    service->reactor = reactor_create(backend);
    if (!service->reactor && backend && errno == EINVAL)
        warn("--backend %s", backend), options_try_help();
    if (!service->reactor || reactor_signal(service->reactor, SIGINT, on_signal, service) < 0 ||
        reactor_signal(service->reactor, SIGTERM, on_signal, service) < 0 ||
        reactor_add(service->reactor, service->listener, REACTOR_READ, on_listener, service) < 0)
        err(1, "reactor");
}

static void run(struct service *service)
{
    if (reactor_run(service->reactor) < 0)
        log_fatal(reactor_backend(service->reactor));
}

int service_run(struct service *service)
{
    if (net_announce(service->listener) < 0)
        return 1;
    run(service);
    service->opened.on_empty = reactor_stop;
    for (struct stream *s = service->opened.first; s; s = stream_next(s))
        stream_stop(s, STOP_MS);
    if (service->opened.count > 0)
        run(service);
    if (service->at_end)
        service->at_end();
    reactor_destroy(service->reactor);
    return 0;
}
