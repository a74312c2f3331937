#ifndef BENCH_SERVER_H
#define BENCH_SERVER_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

/* One server of the comparison: its row in the table, and its process while it runs. */

enum {
    SERVER_NAME = 40,
    SERVER_COMMAND = 512,
    SERVER_ARGUMENTS = 16,
    SERVER_TEXT = 400, /* how much of its stderr is kept */
};

struct server {
    char name[SERVER_NAME];       /* as shown */
    char command[SERVER_COMMAND]; /* the executable and its own arguments, separated by spaces */
    bool reference;               /* the others are divided by this one */
    bool control;                 /* the reference once more, under another name: the A/A row */
    bool no_idle;                 /* once more, and never with silent connections */
    bool extra;                   /* given by --server */

    int backlog; /* for --backlog; 0: 4096 */

    /* while it runs */
    pid_t pid; /* 0: it does not */
    int port;
    bool spins;   /* never blocks: held by SIGSTOP while it is not its turn */
    FILE *log;    /* its stderr */
    FILE *output; /* its stdout */
};

/* Is it one of the rows in which the reference runs once more? */
static inline bool server_is_copy(const struct server *server)
{
    return server->control || server->no_idle;
}

/* Is there such a program? */
bool server_exists(const struct server *server);

/* Starts it on `core` with a free port and waits for its "listening on" line. On failure returns
 * -1, `trouble` says what happened, and nothing is left running; its stderr can be read until
 * servers_stop(). */
int server_start(struct server *server, int core, char *trouble, size_t size);

/* Lets a server that was held run on. */
void server_resume(struct server *server);

/* Returns when it is blocked or held, so that its counters stand still. Finds out by itself when
 * a server never blocks. */
void server_settle(struct server *server);

/* Has it ended? Then `trouble` says how. */
bool server_ended(struct server *server, char *trouble, size_t size);

/* The end of what it wrote to stderr, in one line; "" when nothing. */
void server_stderr_tail(struct server *server, char *text, size_t size);

/* Sends SIGTERM to all of them, waits a second and a half, then sends SIGKILL. */
void servers_stop(struct server *servers, int count);

#endif
