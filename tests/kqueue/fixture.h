/*
 * fixture.h - what every test of kqueue begins with, and the functions that the tests call.
 *
 * A test begins with a kqueue `kq` and a pair of connected sockets `p`. It need not close them:
 * Criterion runs each test in its own process. A test closes only what it is about.
 *
 * Some functions are called through a macro, which adds the line of the test. So a failure says
 * where in the test it is, and not only where in fixture.c.
 *
 * The systems do not agree on the types in struct kevent (NetBSD: 32-bit filter and flags, size_t
 * counts; udata was an integer before NetBSD 10). Hence the typedefs.
 */
#ifndef KQUEUE_FIXTURE_H
#define KQUEUE_FIXTURE_H

#include <stddef.h>
#include <stdint.h>
#include <sys/types.h>

#include <sys/event.h>
#include <sys/socket.h>
#include <sys/time.h>

typedef __typeof__(((struct kevent *)0)->filter) filter_t;
typedef __typeof__(((struct kevent *)0)->flags) flags_t;
typedef __typeof__(((struct kevent *)0)->fflags) fflags_t;
typedef __typeof__(((struct kevent *)0)->data) data_t;
typedef __typeof__(((struct kevent *)0)->udata) udata_t;
#ifdef __NetBSD__
typedef size_t count_t;
#else
typedef int count_t;
#endif

/* ---- Where a test begins --------------------------------------------------------------------- */

/* Two connected stream sockets, non-blocking: end[0] is watched, end[1] is the peer. */
struct pair {
    int end[2];
};

extern int kq;
extern struct pair p;

/* Criterion's .init and .fini. begin_inet() makes p of TCP over IPv4, begin_unix() of AF_UNIX. */
void begin_inet(void);
void begin_unix(void);
void remove_files(void);

/* Begins anew, with another kq and another p. Closes the old ones, which a test may have done. */
void begin_again(int family);
int kqueue_new(void); /* for a test that needs another one */

/* Runs the body for each TCP family, with its own kq and p. IPv6 comes second, and only where the
 * machine has it. For tests that begin with begin_inet(). */
#define EACH_FAMILY(family)                                                                        \
    for (int family = AF_INET; family != 0; family = begin_with_the_next(family))
int begin_with_the_next(int family);
int ipv6_or_none(void);

/* ---- Time ------------------------------------------------------------------------------------ */

/* Milliseconds. SOON is for an event that must come: the wait ends when it comes. NEVER is for an
 * event that must not come: on a busy machine it may miss one, but it never fails a good kqueue. */
enum { SOON = 2000, NEVER = 30 };

void sleep_ms(int ms);
double now(void);      /* seconds, on the monotonic clock */
double cpu_time(void); /* seconds that this process has computed */

/* ---- Changes --------------------------------------------------------------------------------- */

udata_t tag(intptr_t number);

/* A change whose udata is its ident, one with another udata, and one with all its members. */
struct kevent change(intptr_t ident, filter_t filter, flags_t flags);
struct kevent tagged(intptr_t ident, filter_t filter, flags_t flags, intptr_t udata);
struct kevent full(intptr_t ident, filter_t filter, flags_t flags, fflags_t fflags, data_t data,
                   intptr_t udata);

/* These apply one change. They return 0 or the errno. */
int apply(int queue, struct kevent ev);
int timer(int queue, intptr_t ident, flags_t flags, data_t ms);
#ifdef EVFILT_USER
int trigger(int queue, intptr_t ident);
#endif

/* EV_ADD with these flags besides, and EV_ADD of a VNODE knote with EV_CLEAR. They must succeed. */
#define add(...)   add_at(__LINE__, __VA_ARGS__)
#define watch(...) watch_at(__LINE__, __VA_ARGS__)
void add_at(int line, int queue, intptr_t ident, filter_t filter, flags_t flags);
void watch_at(int line, int queue, int fd, fflags_t fflags);

/* ---- Events ---------------------------------------------------------------------------------- */

/* Collects events for at most ms milliseconds. Returns what kevent() does. */
int wait_for(int queue, struct kevent *events, count_t n, long ms);

/* Exactly one event must come, this one; and none may come. */
#define expect_one(...)  expect_one_at(__LINE__, __VA_ARGS__)
#define expect_none(...) expect_none_at(__LINE__, __VA_ARGS__)
struct kevent expect_one_at(int line, int queue, int ident, filter_t filter);
void expect_none_at(int line, int queue);

/* ---- Sockets --------------------------------------------------------------------------------- */

struct pair pair_new(int family);
void pair_close(struct pair pair);
void nonblocking(int fd);
int listener_new(int family); /* -1 if the machine does not have this family */
int connect_to(int listener);

/* Sends n bytes to the watched end, and returns when `total` of them wait there. */
void feed(struct pair pair, size_t n, int total);
/* The watched end reads n bytes. */
void eat(struct pair pair, size_t n);

/* ---- Files ----------------------------------------------------------------------------------- */

/* Makes a file, open for reading and writing. The first call changes to a new directory,
 * which remove_files() removes with all that is in it. */
int file_new(const char *name);

#endif
