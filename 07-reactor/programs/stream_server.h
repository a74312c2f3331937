/* What all servers made of streams have in common: they listen, accept, survive a lack of
 * descriptors, close clients that say nothing, and stop as the echo server does. stamp.c is the
 * smallest example. */
#ifndef STREAM_SERVER_H
#define STREAM_SERVER_H

#include "net.h"
#include "options.h"
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
    int first_ms, idle_ms;      /* for stream_limit_silence() */
    struct reactor_timer retry;
};

/* Reads the options, listens, makes a reactor. Says what is wrong and ends the process if that does
 * not work. extra: the program's own options, as for options_parse(), at most 5; or NULL.
 *
 * All have --backend, --first-message-timeout and --idle-timeout. A client that has not yet sent a
 * whole message may be anything, and has a descriptor that others may need: so that limit holds
 * unless it is switched off. How long a known client may be silent only the user can say. */
void service_open(struct service *service, int argc, char **argv, struct extra_option *extra);

/* Runs until SIGINT or SIGTERM: then no more is accepted, what has arrived is handled, everybody
 * gets FIN and has a second to leave. A client that is still owed something after that, its answer
 * or a part of it, gets RST. Frees all; returns the program's exit status. */
int service_run(struct service *service);

#endif
