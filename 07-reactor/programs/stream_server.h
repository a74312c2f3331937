/* What all servers made of streams have in common: they listen, accept, survive a lack of
 * descriptors, close clients that say nothing, and stop as the echo server does. stamp.c is the
 * smallest example. */
#ifndef STREAM_SERVER_H
#define STREAM_SERVER_H

#include "net.h"
#include "options.h"
#include "stream.h"

struct stream_server {
    const char *purpose; /* for --help */
    struct stream_handlers handlers;
    void (*on_open)(struct stream *stream); /* a client has come; may be NULL */
    void (*at_end)(void);                   /* the loop has ended; may be NULL */

    struct reactor *reactor;    /* from here on: filled in */
    struct stream_list streams; /* the clients */
    struct stream_list opened; /* for streams that the program opens: the end waits for them, too */
    int listener;              /* -1 once it stops */
    int backlog;               /* --backlog */
    int first_ms, idle_ms;     /* for stream_limit_silence() */
    struct reactor_timer retry;
};

/* Reads the options, listens, and creates a reactor. If that fails it says why and ends the
 * process. extra: the program's own options, as for options_parse(), at most 5; or NULL.
 *
 * All have --backend, --first-message-timeout and --idle-timeout. A client that has not yet sent a
 * whole message may be anything, and holds a descriptor that others may need. So that limit holds
 * unless the user switches it off. How long a known client may be silent, only the user can say. */
void stream_server_open(struct stream_server *server, int argc, char **argv,
                        struct extra_option *extra);

/* Runs until SIGINT or SIGTERM. Then it accepts no more, handles what has arrived, and sends FIN;
 * the clients have a second to leave. A client that is still owed an answer, or a part of it, gets
 * RST. Frees everything; returns the program's exit status. */
int stream_server_run(struct stream_server *server);

#endif
