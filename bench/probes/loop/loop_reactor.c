/* Chapter 7's reactor, on any of its backends. */
#include "loop.h"
#include "reactor.h"

#include <stdlib.h>

static struct reactor *reactor;
static loop_handler *handle;

static void on_ready(struct reactor *which, int fd, unsigned ready, void *argument)
{
    (void)which, (void)fd, (void)ready;
    handle((int)(intptr_t)argument);
}

bool loop_create(const char *backend, int max, loop_handler *handler)
{
    (void)max;
    handle = handler;
    reactor = reactor_create(backend);
    return reactor;
}

void loop_watch(int number, int fd)
{
    if (reactor_add(reactor, fd, REACTOR_READ, on_ready, (void *)(intptr_t)number) != 0)
        exit(3); /* select ends at FD_SETSIZE */
}

void loop_restart(int number, int fd)
{
    (void)number;
    reactor_modify(reactor, fd, 0);
    reactor_modify(reactor, fd, REACTOR_READ);
}

void loop_run(void)
{
    reactor_run(reactor);
}

void loop_stop(void)
{
    reactor_stop(reactor);
}
