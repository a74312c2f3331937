/* Starts one of the programs as a process, and talks to it. */
#ifndef PROGRAM_H
#define PROGRAM_H

#include <stdbool.h>
#include <stddef.h>
#include <sys/types.h>

#include "../harness/start.h"

struct program {
    pid_t pid;
    int in, out; /* its standard input and output: our ends */
    int port;    /* a server's, from its ready line */
};

/* Starts the program whose path is in that environment variable. The options stand in one string,
 * separated by blanks; REACTOR_BACKEND in the environment adds --backend. Standard input is a pipe,
 * or the file input if that is not NULL. */
struct program program_start(const char *variable, const char *options, const char *input);
/* The same for a server. Returns once it listens. */
struct program program_start_server(const char *variable, const char *options);
int program_end(struct program *program, int within_ms); /* its exit status; -1: killed by us */
int program_stop(struct program *server);                /* SIGTERM; its exit status */
long program_rss_kib(const struct program *program);

/* Non-blocking connections, and sending and receiving with a deadline that fails the test. */
int dial(const struct program *server);
int try_dial(const struct program *server); /* -1 and errno if it is refused */
void put(int fd, const void *bytes, size_t length);
size_t take(int fd, void *bytes, size_t length, int ms); /* less than length: EOF or RST */
void take_text(int fd, const char *expected);
void expect_eof(int fd);
size_t expect_reset(int fd);                   /* reads what comes before that; returns how much */
void reset(int fd);                            /* closes it with RST */
int sockets_of(const struct program *program); /* how many it has open; -1: unknown here */

#endif
