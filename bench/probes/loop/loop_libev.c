/* libev, on any of its backends. */
#include "loop.h"

#include <ev.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static struct ev_loop *loop;
static ev_io *watchers;
static loop_handler *handle;

static void on_ready(struct ev_loop *which, ev_io *watcher, int events)
{
    (void)which, (void)events;
    handle((int)(watcher - watchers));
}

bool loop_create(const char *backend, int max, loop_handler *handler)
{
    unsigned which = strcmp(backend, "epoll") == 0    ? EVBACKEND_EPOLL
                     : strcmp(backend, "poll") == 0   ? EVBACKEND_POLL
                     : strcmp(backend, "select") == 0 ? EVBACKEND_SELECT
                     : strcmp(backend, "kqueue") == 0 ? EVBACKEND_KQUEUE
                                                      : 0;
    handle = handler;
    watchers = calloc((size_t)max, sizeof *watchers);
    loop = which != 0 && watchers ? ev_loop_new(which | EVFLAG_NOENV) : NULL;
    return loop && ev_backend(loop) == which;
}

void loop_watch(int number, int fd)
{
    ev_io_init(&watchers[number], on_ready, fd, EV_READ);
    ev_io_start(loop, &watchers[number]);
}

void loop_restart(int number, int fd)
{
    (void)fd;
    ev_io_stop(loop, &watchers[number]);
    ev_io_start(loop, &watchers[number]);
}

void loop_run(void)
{
    ev_run(loop, 0);
}

void loop_stop(void)
{
    ev_break(loop, EVBREAK_ONE);
}
