/* What all seven servers need that is not about waiting: sockets and the command line. Messages
 * go to stderr through warn(3), which puts the program's name before them. */
#ifndef NET_H
#define NET_H

#include <stdbool.h>
#include <stdint.h>

#define NET_VERSION "0.1.0"

extern bool net_verbose;        /* --verbose: tell of every connection */
extern const char *net_purpose; /* what --help calls the program: "A TCP echo server" */

struct net_settings {
    const char *host; /* a name or an address, IPv4 or IPv6 */
    int port;         /* 0: the kernel picks a free one */
    int backlog;      /* how many may wait for accept(); Linux takes 1 more, BSDs 1.5 times it */
    /* Sets options of a chapter's own, before bind() and after it. Returns 0, or -1 with errno. It
     * may be NULL. setsockopt(2) */
    int (*prepare)(int fd, bool bound);
};

/* An option that only one chapter has. An array of them (at most 8) ends with a NULL name. */
struct net_option {
    const char *name;  /* without the dashes */
    bool argument;     /* does it take one? */
    const char *help;  /* its line of --help */
    const char *value; /* filled in: the argument, "" if it takes none, NULL if not given */
};

/* Reads the shared options, and the chapter's own (extra may be NULL). Strings stay argv's. Ends
 * the process on --help and --version (0), and on wrong usage (two lines on stderr, then 2). */
struct net_settings net_parse(int argc, char **argv, struct net_option *extra);

/* For wrong usage: the second line, which points at --help, and exit(2). */
_Noreturn void net_try_help(void);

/* The whole of text as a decimal number from min to max; anything else is wrong usage. */
int net_number(const char *option, const char *text, int min, int max);

/* A listening TCP socket, the caller's to close; -1 after saying why. Also makes the process fit
 * to serve: ignores SIGPIPE, raises the soft limit of descriptors to the hard one. listen(2) */
int net_listen(const struct net_settings *settings, bool nonblocking);

/* Prints the ready line, "listening on ADDRESS:PORT", on stdout: call it when all is set up.
 * Returns 0, or -1 after saying why. */
int net_announce(int listener);

enum net_accepted {
    NET_CLIENT,    /* *client is a new connection, the caller's to close */
    NET_LOST,      /* that client has gone, or is forbidden: the next one may be fine */
    NET_TRY_AGAIN, /* nobody is waiting, or a signal came: look at your flags, wait, call again */
    NET_EXHAUSTED, /* out of descriptors or memory: the client still waits in the backlog */
    NET_FATAL,     /* this is not a listening socket, or no longer one */
};

/* Takes one connection from the backlog. Says what was lost, and exhaustion once until somebody
 * gets in again. Safe in any thread. accept(2) */
enum net_accepted net_accept(int listener, bool nonblocking, int *client);

/* Milliseconds on a clock that nobody sets, for deadlines. clock_gettime(2) */
int64_t net_now_ms(void);

#endif
