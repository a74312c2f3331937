/* What the experiments share: sockets on the loopback device, clocks, and saying what came out.
 *
 * Each experiment is one program that breaks something on purpose and tells what it saw. Its first
 * comment says what to expect; tests/break compares. A program's status: 0 when it came out as
 * described, 1 when not, SKIPPED when this system cannot show it. */
#ifndef EXPERIMENT_H
#define EXPERIMENT_H

#define _GNU_SOURCE /* POLLRDHUP, cpu_set_t; include this header first */

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0 /* older macOS; none of these peers is lost */
#endif

enum { SKIPPED = 77 };

static int experiment_failed;

/* The experiment has failed if this is not so. */
static inline void expect(bool so, const char *what)
{
    if (so)
        return;
    printf("NOT AS EXPECTED: %s\n", what);
    experiment_failed = 1;
}

static inline void skip(const char *why)
{
    printf("skipped: %s\n", why);
    exit(SKIPPED);
}

/* Checks a row of docs/claims.md. text: its words; verdict: what the row says of it; held: how many
 * of its parts are true. The rest is what was measured, for tests/book/claims, which names a file
 * in $CLAIMS. */
__attribute__((format(printf, 5, 6))) static inline void
claim(const char *text, const char *verdict, int held, int parts, const char *measured, ...)
{
    const char *name = getenv("CLAIMS");
    const char *found = held == 0 ? "false" : held < parts ? "partly" : "true";
    if (strcmp(found, verdict) != 0) {
        printf("NOT AS EXPECTED: \"%s\" is %s, not %s\n", text, found, verdict);
        experiment_failed = 1;
    }
    FILE *file = name ? fopen(name, "a") : NULL;
    if (!file)
        return;
    fprintf(file, "%s\t%s\t", text, found);
    va_list list;
    va_start(list, measured);
    vfprintf(file, measured, list);
    va_end(list);
    fprintf(file, "\n");
    fclose(file);
}

/* Leaves a text in a recording of the system calls (strace), and nowhere else: it is written to
 * descriptor -1, and the kernel refuses that. A picture is drawn of the calls between the texts
 * "scene: NAME" and "scene: end". A text that begins with "client: ", "kernel: " or "server: " is a
 * remark in that column of the picture, for something that no system call shows. So an experiment
 * makes no calls in a scene but those that it is about. It may wait with poll(), ioctl(),
 * nanosleep() and getsockopt(): they are not drawn. */
__attribute__((format(printf, 1, 2))) static inline void mark(const char *format, ...)
{
    char text[128];
    int error = errno;
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    ssize_t refused = write(-1, text, strlen(text));
    (void)refused;
    errno = error;
}

static inline void scene(const char *name)
{
    mark("scene: %s", name);
}

static inline void scene_end(void)
{
    mark("scene: end");
}

static inline double now(void) /* seconds */
{
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static inline double cpu_used(int who) /* RUSAGE_SELF or RUSAGE_CHILDREN; seconds */
{
    struct rusage u;
    getrusage(who, &u);
    return (double)(u.ru_utime.tv_sec + u.ru_stime.tv_sec) +
           (double)(u.ru_utime.tv_usec + u.ru_stime.tv_usec) / 1e6;
}

static inline void pause_ms(int ms)
{
    nanosleep(&(struct timespec){ms / 1000, (long)(ms % 1000) * 1000000}, NULL);
}

/* Waits until what the peer sent, or did, has arrived, also on a busy machine. */
static inline void await_arrival(int fd)
{
    struct pollfd entry = {.fd = fd, .events = POLLIN};
    if (poll(&entry, 1, 10000) != 1)
        errx(1, "nothing arrives at descriptor %d", fd);
}

/* The same, until so many bytes can be read. */
static inline void await_bytes(int fd, int bytes)
{
    int unread = 0;
    for (double end = now() + 10; unread < bytes; pause_ms(1))
        if (ioctl(fd, FIONREAD, &unread) < 0 || now() > end)
            errx(1, "%d of %d bytes arrive at descriptor %d", unread, bytes, fd);
}

static inline void nonblocking(int fd)
{
    if (fcntl(fd, F_SETFL, fcntl(fd, F_GETFL) | O_NONBLOCK) < 0)
        err(1, "fcntl");
}

/* How the connect() of a non-blocking socket has ended. Asking for it clears it. */
static inline int so_error(int fd)
{
    int error;
    socklen_t length = sizeof error;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) < 0)
        err(1, "SO_ERROR");
    return error;
}

static inline bool is_connected(int fd)
{
    struct sockaddr_in peer;
    socklen_t length = sizeof peer;
    return getpeername(fd, (struct sockaddr *)&peer, &length) == 0;
}

/* How many descriptors this process may have, after asking for as many as it may. */
static inline int descriptors(void)
{
    struct rlimit limit;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    (void)setrlimit(RLIMIT_NOFILE, &limit);
    getrlimit(RLIMIT_NOFILE, &limit);
    return limit.rlim_cur > 1000000 ? 1000000 : (int)limit.rlim_cur;
}

static inline struct sockaddr_in loopback(int port)
{
    return (struct sockaddr_in){.sin_family = AF_INET,
                                .sin_port = htons((uint16_t)port),
                                .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
}

static inline int port_of(int fd)
{
    struct sockaddr_in address;
    socklen_t length = sizeof address;
    if (getsockname(fd, (struct sockaddr *)&address, &length) < 0)
        err(1, "getsockname");
    return ntohs(address.sin_port);
}

static inline int listen_on_loopback(int backlog)
{
    struct sockaddr_in address = loopback(0);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, sizeof address) < 0 ||
        listen(fd, backlog) < 0)
        err(1, "listener");
    return fd;
}

/* A listener that shares its port (0: any) with others: socket(7), SO_REUSEPORT. */
static inline int listen_beside_others(int port, int backlog)
{
    struct sockaddr_in address = loopback(port);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || setsockopt(fd, SOL_SOCKET, SO_REUSEPORT, &(int){1}, sizeof(int)) < 0 ||
        bind(fd, (struct sockaddr *)&address, sizeof address) < 0 || listen(fd, backlog) < 0)
        err(1, "listener");
    return fd;
}

static inline int connect_to(int port)
{
    struct sockaddr_in address = loopback(port);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&address, sizeof address) < 0)
        err(1, "connect");
    return fd;
}

struct pair {
    int server, client;
};

/* A client that has connected, and the server's end of the same connection. */
static inline struct pair connected(int listener)
{
    struct pair pair = {.client = connect_to(port_of(listener))};
    pair.server = accept(listener, NULL, NULL);
    if (pair.server < 0)
        err(1, "accept");
    return pair;
}

static inline struct pair connection(void)
{
    int listener = listen_on_loopback(1);
    struct pair pair = connected(listener);
    close(listener);
    return pair;
}

/* close() with this sends RST in place of FIN: the peer's connection is not ended but lost. */
static inline void close_with_reset(int fd)
{
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){1, 0}, sizeof(struct linger));
    close(fd);
}

#endif
