/* libevent, on any of its backends. */
#include "loop.h"

#include <event2/event.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

static struct event_base *base;
static struct event **events;
static loop_handler *handle;
static bool stopped;

static void on_ready(evutil_socket_t fd, short what, void *argument)
{
    (void)fd, (void)what;
    handle((int)(intptr_t)argument);
}

bool loop_create(const char *backend, int max, loop_handler *handler)
{
    static const char *const all[] = {"epoll", "kqueue", "poll", "select"};
    struct event_config *config = event_config_new();
    handle = handler;
    events = calloc((size_t)max, sizeof(struct event *));
    /* Debian's select backend aborts above FD_SETSIZE */
    if (!config || !events || (strcmp(backend, "select") == 0 && max > 450))
        return false;
    for (size_t i = 0; i < sizeof all / sizeof *all; i++) {
        if (strcmp(all[i], backend) != 0)
            event_config_avoid_method(config, all[i]);
    }
    base = event_base_new_with_config(config);
    event_config_free(config);
    return base && strcmp(event_base_get_method(base), backend) == 0;
}

void loop_watch(int number, int fd)
{
    events[number] = event_new(base, fd, EV_READ | EV_PERSIST, on_ready, (void *)(intptr_t)number);
    if (!events[number] || event_add(events[number], NULL) != 0)
        exit(3);
}

void loop_restart(int number, int fd)
{
    (void)fd;
    event_del(events[number]);
    event_add(events[number], NULL);
}

void loop_run(void)
{
    for (stopped = false; !stopped;)
        event_base_loop(base, EVLOOP_ONCE);
}

void loop_stop(void)
{
    stopped = true;
}
