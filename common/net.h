/* What all seven servers need that is not about waiting: sockets and the command line. What goes
 * wrong before a server is ready goes to stderr through warn(3), later through log.h. */
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
    int backlog;      /* how many may wait for accept(). The kernel may allow fewer: listen(2) */
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

/* The first call of a program. Reads the shared options, and the chapter's own (extra may be NULL).
 * Strings stay argv's. Ends the process on --help and --version (0), and on wrong usage (two lines
 * on stderr, then 2). Also opens /dev/null as descriptors 0, 1 and 2 where these are closed: else a
 * client would get such a number, and with it what is printed. */
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
    NET_LOST,      /* that client has gone: the next one may be fine */
    NET_TRY_AGAIN, /* nobody is waiting, or a signal came: look at your flags, wait, call again */
    NET_EXHAUSTED, /* out of descriptors or memory, or a failure that will not soon be over: do not
                    * call again for a while; the client still waits in the backlog */
};

/* Takes one connection from the backlog. Logs what was lost, and exhaustion once until somebody
 * gets in again, and both at most once a second. Whatever keeps failing is exhaustion in the end:
 * the listener stays ready, and a loop that looks again at once would spin. Safe in any thread.
 * accept(2) */
enum net_accepted net_accept(int listener, bool nonblocking, int *client);

/* More than any system lets wait for accept() after listen(backlog): Linux takes one more than it
 * was asked for, FreeBSD, NetBSD and macOS half as many again, OpenBSD three times as many, and it
 * takes 80 for the least that one may ask for. */
int net_backlog_max(int backlog);

/* The next close() of this connection sends RST in place of FIN, and throws away what the kernel
 * has not sent yet: for a client that we give up while we owe it bytes. A FIN would tell it that it
 * has got them all. SO_LINGER, socket(7); RFC 9293 section 3.10.4 calls it ABORT */
void net_reset_on_close(int fd);

/* Milliseconds on a clock that nobody sets, for deadlines. clock_gettime(2) */
int64_t net_now_ms(void);

#endif
