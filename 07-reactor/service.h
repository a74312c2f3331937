/* What all servers made of streams have in common: they listen, accept, survive a lack of
 * descriptors, and stop as the echo server does. stamp.c is the smallest example. */
#ifndef SERVICE_H
#define SERVICE_H

#include "net.h"
#include "stream.h"

struct service {
    const char *purpose; /* for --help */
    struct stream_handlers handlers;
    void (*on_open)(struct stream *stream); /* somebody has come; may be NULL */
    void (*at_end)(void);                   /* the loop has ended; may be NULL */

    struct reactor *reactor;    /* from here on: filled in */
    struct stream_list streams; /* those who came */
    struct stream_list opened;  /* the program's, for others: the end waits for these, too */
    int listener, backlog;      /* -1 once it stops; its --backlog */
    struct reactor_timer retry;
};

/* The first of the options for service_open(). */
#define SERVICE_BACKEND                                                                            \
    {                                                                                              \
        "backend", true, "--backend NAME   epoll, kqueue, poll or select (the best)", NULL         \
    }

/* Listens, makes a reactor. Says what is wrong and ends the process if that does not work. */
void service_open(struct service *service, int argc, char **argv, struct net_option *extra);

/* Runs until SIGINT or SIGTERM: then no more is accepted, what has arrived is handled, everybody
 * gets FIN and has a second to leave. Frees all; returns the program's exit status. */
int service_run(struct service *service);

#endif
