/* fixture.c - see fixture.h. */
#include "fixture.h"

#include <sys/ioctl.h>

#include <arpa/inet.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../harness/test.h"

/* ---- Where a test begins --------------------------------------------------------------------- */

int kq = -1;
struct pair p = {{-1, -1}};

int kqueue_new(void)
{
    int fd = kqueue();
    cr_assert_geq(fd, 0, "kqueue: %s", strerror(errno));
    return fd;
}

void begin_again(int family)
{
    pair_close(p);
    close(kq);
    kq = kqueue_new();
    p = pair_new(family);
}

void begin_inet(void)
{
    begin_again(AF_INET);
}

void begin_unix(void)
{
    begin_again(AF_UNIX);
}

int ipv6_or_none(void)
{
    int fd = listener_new(AF_INET6);
    if (fd < 0)
        return 0;
    close(fd);
    return AF_INET6;
}

int begin_with_the_next(int family)
{
    int next = family == AF_INET ? ipv6_or_none() : 0;
    if (next != 0)
        begin_again(next);
    return next;
}

/* ---- Time ------------------------------------------------------------------------------------ */

void sleep_ms(int ms)
{
    nanosleep(&(struct timespec){.tv_nsec = ms * 1000000L}, NULL);
}

static double seconds(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

double now(void)
{
    return seconds(CLOCK_MONOTONIC);
}

double cpu_time(void)
{
    return seconds(CLOCK_PROCESS_CPUTIME_ID);
}

/* ---- Changes --------------------------------------------------------------------------------- */

udata_t tag(intptr_t number)
{
    return (udata_t)number;
}

struct kevent full(intptr_t ident, filter_t filter, flags_t flags, fflags_t fflags, data_t data,
                   intptr_t udata)
{
    struct kevent ev;
    memset(&ev, 0, sizeof ev);
    EV_SET(&ev, (uintptr_t)ident, filter, flags, fflags, data, tag(udata));
    return ev;
}

struct kevent tagged(intptr_t ident, filter_t filter, flags_t flags, intptr_t udata)
{
    return full(ident, filter, flags, 0, 0, udata);
}

struct kevent change(intptr_t ident, filter_t filter, flags_t flags)
{
    return tagged(ident, filter, flags, ident);
}

int apply(int queue, struct kevent ev)
{
    return kevent(queue, &ev, 1, NULL, 0, NULL) < 0 ? errno : 0;
}

int timer(int queue, intptr_t ident, flags_t flags, data_t ms)
{
    return apply(queue, full(ident, EVFILT_TIMER, flags, 0, ms, ident));
}

#ifdef EVFILT_USER
int trigger(int queue, intptr_t ident)
{
    return apply(queue, full(ident, EVFILT_USER, 0, NOTE_TRIGGER, 0, ident));
}
#endif

void add_at(int line, int queue, intptr_t ident, filter_t filter, flags_t flags)
{
    int error = apply(queue, change(ident, filter, (flags_t)(flags | EV_ADD)));
    cr_assert_eq(error, 0, "line %d: EV_ADD of %ld: %s", line, (long)ident, strerror(error));
}

void watch_at(int line, int queue, int fd, fflags_t fflags)
{
    int error = apply(queue, full(fd, EVFILT_VNODE, EV_ADD | EV_CLEAR, fflags, 0, fd));
    cr_assert_eq(error, 0, "line %d: VNODE of %d: %s", line, fd, strerror(error));
}

/* ---- Events ---------------------------------------------------------------------------------- */

int wait_for(int queue, struct kevent *events, count_t n, long ms)
{
    struct timespec limit = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    return kevent(queue, NULL, 0, events, n, &limit);
}

struct kevent expect_one_at(int line, int queue, int ident, filter_t filter)
{
    struct kevent ev[4];
    int n = wait_for(queue, ev, 4, SOON);
    cr_assert_eq(n, 1, "line %d: %d events instead of one", line, n);
    cr_assert_eq(ev[0].ident, (uintptr_t)ident, "line %d: an event of another descriptor", line);
    cr_assert_eq(ev[0].filter, filter, "line %d: an event of another filter", line);
    cr_assert_eq(ev[0].flags & EV_ERROR, 0, "line %d: an error", line);
    return ev[0];
}

void expect_none_at(int line, int queue)
{
    struct kevent ev[4];
    int n = wait_for(queue, ev, 4, NEVER);
    cr_assert_eq(n, 0, "line %d: %d events instead of none", line, n);
}

/* ---- Sockets --------------------------------------------------------------------------------- */

int listener_new(int family)
{
    struct sockaddr_storage addr;
    socklen_t size = sizeof(struct sockaddr_in);
    memset(&addr, 0, sizeof addr);
    if (family == AF_INET6) {
        struct sockaddr_in6 *in6 = (struct sockaddr_in6 *)(void *)&addr;
        in6->sin6_family = AF_INET6;
        in6->sin6_addr = in6addr_loopback;
        size = sizeof *in6;
    } else {
        struct sockaddr_in *in = (struct sockaddr_in *)(void *)&addr;
        in->sin_family = AF_INET;
        in->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    }
    int fd = socket(family, SOCK_STREAM, 0);
    if (fd < 0)
        return -1;
    if (bind(fd, (struct sockaddr *)(void *)&addr, size) < 0 || listen(fd, 16) < 0) {
        close(fd);
        return -1;
    }
    return fd;
}

int connect_to(int listener)
{
    struct sockaddr_storage addr;
    socklen_t size = sizeof addr;
    cr_assert_eq(getsockname(listener, (struct sockaddr *)(void *)&addr, &size), 0);
    int fd = socket(addr.ss_family, SOCK_STREAM, 0);
    cr_assert_geq(fd, 0);
    cr_assert_eq(connect(fd, (struct sockaddr *)(void *)&addr, size), 0, "%s", strerror(errno));
    return fd;
}

void nonblocking(int fd)
{
    cr_assert_eq(fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK), 0);
}

struct pair pair_new(int family)
{
    struct pair pair;
    if (family == AF_UNIX) {
        cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair.end), 0);
    } else {
        int listener = listener_new(family);
        cr_assert_geq(listener, 0);
        pair.end[1] = connect_to(listener);
        pair.end[0] = accept(listener, NULL, NULL);
        cr_assert_geq(pair.end[0], 0);
        close(listener);
    }
    nonblocking(pair.end[0]);
    nonblocking(pair.end[1]);
    return pair;
}

void pair_close(struct pair pair)
{
    close(pair.end[0]);
    close(pair.end[1]);
}

void feed(struct pair pair, size_t n, int total)
{
    static const char bytes[64];
    int waiting = 0;
    cr_assert_eq(write(pair.end[1], bytes, n), (ssize_t)n);
    for (int i = 0; i < SOON && waiting < total; i++) {
        cr_assert_eq(ioctl(pair.end[0], FIONREAD, &waiting), 0);
        if (waiting < total)
            sleep_ms(1);
    }
    cr_assert_eq(waiting, total);
}

void eat(struct pair pair, size_t n)
{
    char bytes[64];
    cr_assert_eq(read(pair.end[0], bytes, n), (ssize_t)n);
}

/* ---- Files ----------------------------------------------------------------------------------- */

static char directory[] = "/tmp/kqueue-test-XXXXXX";
static bool in_directory;

int file_new(const char *name)
{
    if (!in_directory) {
        cr_assert_not_null(mkdtemp(directory));
        cr_assert_eq(chdir(directory), 0);
        in_directory = true;
    }
    int fd = open(name, O_RDWR | O_CREAT, 0600);
    cr_assert_geq(fd, 0, "%s: %s", name, strerror(errno));
    return fd;
}

void remove_files(void)
{
    DIR *listing = in_directory ? opendir(directory) : NULL;
    if (!listing)
        return;
    for (struct dirent *entry; (entry = readdir(listing));)
        if (entry->d_name[0] != '.')
            unlinkat(dirfd(listing), entry->d_name, 0);
    closedir(listing);
    rmdir(directory);
}
