/* What the files of the echo server share: server.c serves, serve.c starts one server or several
 * in threads. */
#ifndef SERVER_H
#define SERVER_H

#include "conn.h"
#include "net.h"
#include "reactor.h"

/* An echo server on one reactor, in one thread. */
struct server {
    struct reactor *reactor;
    struct conn_table conns;
    int listener; /* -1: it has none, or none any more */
    int open;     /* connections */
    int backlog, accepts_per_turn;
    void (*take)(struct server *server, int fd); /* what becomes of a new connection */
    struct reactor_timer retry, stop, idle;
};

/* server.c */
int server_listen(struct server *server, int listener);  /* as reactor_add(); backlog is set */
void server_take(struct server *server, int fd);         /* a new connection, from now on ours */
void server_close_client(struct server *server, int fd); /* at any time */
void server_close_listener(struct server *server);       /* the first step of a stop */
void server_finish(struct server *server);               /* the second; it ends reactor_run() */

/* serve.c: the program, from its options to its exit status. */
int serve(int argc, char **argv);

#endif
