/* Sockets: what every server needs that is not about waiting. Until a server is ready, an error
 * goes to stderr through warn(3); from then on through log.h. */
#ifndef NET_H
#define NET_H

#include <stdbool.h>
#include <stdint.h>

struct net_settings {
    const char *host; /* a name or an address, IPv4 or IPv6 */
    int port;         /* 0: the kernel picks a free one */
    int backlog; /* clients that may wait for accept(). The kernel may allow fewer: listen(2) */
    int (*prepare)(int fd); /* may be NULL. Sets more options before bind(): as setsockopt(2) */
};

/* Returns a listening TCP socket, the caller's to close; -1 after an error message. It also makes
 * the process fit to serve: SIGPIPE is ignored, and the soft limit of descriptors is raised to the
 * hard limit. listen(2) */
int net_listen(const struct net_settings *settings, bool nonblocking);

/* Prints the ready line, "listening on ADDRESS:PORT", on stdout: call it when all is set up.
 * Returns 0, or -1 after an error message. */
int net_announce(int listener);

enum net_accepted {
    NET_CLIENT,    /* *client is a new connection, the caller's to close */
    NET_LOST,      /* that client has gone: the next one may be fine */
    NET_TRY_AGAIN, /* no client is waiting, or a signal came: check your flags, wait, call again */
    NET_EXHAUSTED, /* out of descriptors or memory, or an error that will not pass soon: do not call
                    * again for a while. The client still waits in the backlog */
};

/* Takes one connection from the backlog. Logs a lost client, and exhaustion once until the next
 * success. 64 failures in a row, all for the same reason, count as exhaustion: while the listener
 * stays ready, a loop that calls again at once would spin. Any thread may call it. accept(2) */
enum net_accepted net_accept(int listener, bool nonblocking, int *client);

/* Closes a new client that cannot be served, and logs why. */
void net_turn_away(int client, const char *why);

/* The most clients that any system lets wait after listen(backlog). Linux takes one more than it
 * was asked for, FreeBSD, NetBSD and macOS half as many again, OpenBSD three times as many, and 80
 * at least. */
int net_backlog_max(int backlog);

/* The next close() of this connection sends RST instead of FIN and discards what the kernel has not
 * sent yet. Use it to give up a client that is still owed bytes: after a FIN the client would think
 * that it has everything. SO_LINGER, socket(7); ABORT, RFC 9293 section 3.10.4 */
void net_reset_on_close(int fd);

/* Milliseconds on a clock that nobody sets, for deadlines. clock_gettime(2) */
int64_t net_now_ms(void);

/* A deadline is a time on that clock, or 0 for none. The milliseconds that are left until then, at
 * least 0; for none -1, which is poll(2)'s "forever". */
static inline int net_ms_left(int64_t deadline)
{
    if (deadline == 0)
        return -1;
    int64_t left = deadline - net_now_ms();
    return left > 0 ? (int)left : 0;
}

#endif
