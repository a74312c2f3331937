/* What the suites share: one server under test, and clients that know which bytes they must get
 * back. Nothing here uses the servers' own code: a judge does not borrow from the judged.
 *
 * The server is named by the environment:
 *   ECHO_SERVER  its command, with options of its own, separated by blanks
 *   ECHO_TRAITS  what is different about it by design, separated by commas:
 *                busy        burns CPU while it waits
 *                fd-setsize  turns away clients whose descriptor is FD_SETSIZE or more
 *                threads     runs a thread for each connection
 *                several-threads  serves with some threads, of which each has many connections
 *                edges       waits for changes only, so it must believe each EAGAIN
 *                sanitized   is slow, and its memory is mostly the sanitizer's
 *   ECHO_SLOW    a number by which all time limits are multiplied (1; 4 if sanitized) */
#ifndef HARNESS_H
#define HARNESS_H

#include <poll.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include "fail.h"
#include "start.h"

/* Every suite of Criterion tests begins with this. */
#define SUITE(name) TestSuite(name, .init = harness_begin, .timeout = 100)

/* To be called once, at the beginning of a test's process: prepares it, and sees to it that no
 * server is left when it exits. */
void harness_begin(void);

/* A server that owes something and does nothing for this long fails the test. No test waits for the
 * suite's own limit. */
enum { STUCK_MS = 3000 };

/* ---- the server (server.c) ---- */

struct start {
    const char *host;     /* default "127.0.0.1" */
    const char *extra;    /* one more option */
    const char *argument; /* and its argument */
    unsigned descriptors; /* RLIMIT_NOFILE; default: as many as there may be */
    int standard[3];      /* its descriptors 0, 1 and 2; 0: as usual; CLOSED, DEV_NULL (start.h) */
    int port;             /* default 0: any */
};

struct server {
    pid_t pid; /* 0: not running */
    int port, family;
    int out;    /* what it writes to its standard output */
    int errors; /* its standard error: a file without a name, if it is as usual */
    int status; /* as from waitpid(), once it has ended */
};
extern struct server server;

void server_start(void); /* with --host 127.0.0.1 --port 0, until it is ready */
void server_start_with(struct start options); /* the same, with other settings */
/* The two halves of server_start_with(), for a server that might not get ready. server_gets_ready()
 * waits, and is false if the server ends without a word. */
void server_launch(struct start options);
bool server_gets_ready(void);
void server_stop(void); /* SIGTERM, and it must end well within 1.5 s */
/* Ends the server in a test that does not ask how it ends. SIGTERM gives it 1.5 s to end in order,
 * as coverage and the sanitizers need it, then SIGKILL ends it. Only clause 7's tests judge how a
 * server ends: here it fails only if it had ended before, or if its sanitizer found something. */
void server_dismiss(void);
void server_signal(int signal);
void server_pause(void);   /* SIGSTOP, and it has stopped when this returns */
void server_resume(void);  /* SIGCONT */
bool server_running(void); /* notices its end */
struct client;
/* Resumes the server until each of these clients has something to read, then pauses it. On Linux
 * the kernel itself stops the server at that byte: it does nothing more while we wait for a CPU. */
void server_resume_until_heard(const struct client *clients, int count);
/* How the server has come to a bad end, for a message about a client whose connection is lost: a
 * part of a sentence, which is empty if the server runs, or has ended as it should. */
const char *server_end(void);
bool server_ended_within(int ms);
void server_must_end_well(const char *clause, int ms); /* exit status 0, at most ms from now */
bool server_has(const char *trait);
/* What is on its stdout after the ready line, as a string. Returns the string's length. */
size_t server_has_printed(char *text, size_t size);

/* What /proc tells. All but server_queued_ms() skip the test where there is no /proc. */
double server_cpu_ms(void);     /* user and system time of all its threads */
int64_t server_queued_ms(void); /* how long its first thread, or the machine, waited for a CPU */
long server_rss_kib(void);
int server_descriptors(void);
int server_threads(void);

/* The bytes of a client that have arrived and are not on their way back. The server holds some, and
 * has not read the rest yet: they are in its kernel. Linux tells: sock_diag(7). */
struct owed {
    long held, unread;
};
struct owed server_owes(const struct client *client);
/* Whether the server has read a client's bytes, for a message about one that waits in vain: a part
 * of a sentence, which is empty where the system does not tell. */
const char *server_has_read(const struct client *client);

/* Changes the limit of its descriptors while it runs: prlimit(2). Open ones above it stay open. */
void server_limit_descriptors(int limit);

/* Waits until the server has used less than 2 % of a CPU for 250 ms; false if it spins. A spinning
 * server may get no more than that on a busy machine, but Linux tells that it wants more. */
bool server_settles(void);
/* At this moment all its threads sleep, or are stopped. False where the system does not tell. */
bool server_sleeps(void);

/* Runs the server's command to its end, for command lines that must not start one. */
struct outcome {
    int status; /* exit status, or -1: killed by a signal, or by us after the deadline */
    char out[2048], err[2048];
};
struct outcome server_run(const char *const *arguments); /* up to a NULL */
bool server_is_called(const char *name, size_t length);  /* is that its program's name? */
bool descriptors_available(unsigned many); /* may this process, and so the server, have as many? */

/* ---- clients (client.c) ---- */

/* A connection that sends a sequence of bytes of its own and compares what comes back with it,
 * so that lost, repeated, swapped and foreign bytes all show. Always non-blocking. */
struct client {
    int fd;
    uint32_t seed;
    uint64_t sent, received;
    bool eof, reset; /* how it ended, if it has */
};

struct client client_open(void);       /* must get through */
struct client client_open_small(void); /* the same, with little room in its kernel buffers */
/* This client has sent, without reading, until the server holds bytes that its kernel does not
 * take: up to 8 KiB. All that it sent has arrived, and the server has read what it will read of
 * that. Skips the test where server_owes() does. */
struct client client_open_owed(void);
/* This client has sent, a little at a time and without reading, until the server owed it something
 * or max bytes were sent. With less than 200 KiB nothing is owed: the kernels have the echo, and
 * the client's takes little of it. Skips the test like the one above. */
struct client client_open_unread(uint64_t max);
bool client_try(struct client *client, int ms); /* may fail */
void client_close(struct client *client);
void client_reset(struct client *client); /* leaves with RST */

/* One pass, without waiting: as much as goes, at most max. A wrong byte fails the test. */
size_t client_put(struct client *client, size_t max);
size_t client_take(struct client *client, size_t max);

/* These wait; after STUCK_MS without progress the test fails. */
void client_send(struct client *client, size_t length);
void client_receive(struct client *client, size_t max); /* some bytes, which are owed */
void client_receive_all(struct client *client);         /* everything sent so far */
void client_echo(struct client *client, size_t length); /* reading while writing */
void client_expect_eof(struct client *client);          /* EOF comes next, neither a byte nor RST */
void client_say(struct client *client, const void *bytes, size_t length); /* bytes of your own */
void client_hear(struct client *client, const void *bytes, size_t length);
bool client_ready(const struct client *client, short events, int ms); /* poll() */
bool client_bytes_arrived(const struct client *client); /* all of them, in the server's kernel */
void client_shut(struct client *client);                /* half-close: SHUT_WR */

/* Many at once. */
void clients_open(struct client *clients, int count);
void clients_close(struct client *clients, int count);
void clients_echo(struct client *clients, int count, size_t length);
/* Each client writes and none reads, until nothing more goes or each has sent limit bytes. */
void clients_push(struct client *clients, int count, uint64_t limit);
/* These have sent a little less than client_open_owed(): up to 8 KiB of an echo would have room on
 * their way to a client that does not read. Nothing is owed yet. */
void clients_open_nearly_owed(struct client *clients, int count);
/* Each client reads until EOF or RST, or the deadline. Returns how many have not ended. */
int clients_drain(struct client *clients, int count, int ms);

#endif
