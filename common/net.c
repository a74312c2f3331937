#define _GNU_SOURCE /* accept4() */
#include "net.h"

#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "log.h"

/* "127.0.0.1:7000" or "[::1]:7000", in a buffer that lasts until the thread's next call. */
static const char *address_text(const struct sockaddr *address, socklen_t length)
{
    static _Thread_local char text[NI_MAXHOST + 16];
    char host[NI_MAXHOST] = "?", port[16] = "?";
    getnameinfo(address, length, host, sizeof host, port, sizeof port,
                NI_NUMERICHOST | NI_NUMERICSERV);
    snprintf(text, sizeof text, strchr(host, ':') ? "[%s]:%s" : "%s:%s", host, port);
    return text;
}

/* An accepted socket inherits TCP_NODELAY and SO_OOBINLINE on Linux, macOS and the BSDs, so a
 * connection costs no call. Without TCP_NODELAY a reply may wait for the acknowledgement of the one
 * before (RFC 896). Without SO_OOBINLINE an urgent byte would be missing from the echo (RFC 6093).
 */
static int set_options(int fd)
{
    int on = 1;
    if (setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on) < 0 || /* before bind() */
        setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &on, sizeof on) < 0)
        return -1;
    return setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
}

static int listen_on(const struct addrinfo *address, const struct net_settings *settings, int mode)
{
    const char *failed = NULL;
    int fd = socket(address->ai_family, address->ai_socktype, address->ai_protocol);
    if (fd < 0)
        failed = "socket";
    else if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 || fcntl(fd, F_SETFL, mode) < 0)
        failed = "fcntl";
    else if (set_options(fd) < 0 || (settings->prepare && settings->prepare(fd) < 0))
        failed = "setsockopt";
    else if (bind(fd, address->ai_addr, address->ai_addrlen) < 0)
        failed = "bind";
    else if (listen(fd, settings->backlog) < 0)
        failed = "listen";
    if (!failed)
        return fd;
    warn("%s %s", failed, address_text(address->ai_addr, address->ai_addrlen));
    if (fd >= 0)
        close(fd);
    return -1;
}

/* If this fails, fewer clients fit. macOS may call its hard limit infinite, and refuses that. */
static void raise_descriptor_limit(void)
{
    enum { MACOS_MAX = 10240 };
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return;
    rlim_t before = limit.rlim_cur;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0 && before < MACOS_MAX) {
        limit.rlim_cur = MACOS_MAX;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
}

int net_listen(const struct net_settings *settings, bool nonblocking)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *list;
    char port[16];
    int fd = -1;

    /* A client that has left makes one send() fail; it must not end the process. */
    sigaction(SIGPIPE, &(struct sigaction){.sa_handler = SIG_IGN}, NULL);
    raise_descriptor_limit();
    snprintf(port, sizeof port, "%d", settings->port);
    int error = getaddrinfo(settings->host, port, &hints, &list);
    if (error) {
        warnx("resolve %s: %s", settings->host, gai_strerror(error));
        return -1;
    }
    for (struct addrinfo *a = list; a && fd < 0; a = a->ai_next)
        fd = listen_on(a, settings, nonblocking ? O_NONBLOCK : 0);
    freeaddrinfo(list);
    return fd;
}

int net_announce(int listener)
{
    struct sockaddr_storage address = {0};
    socklen_t length = sizeof address;
    if (getsockname(listener, (struct sockaddr *)&address, &length) == 0 &&
        printf("listening on %s\n", address_text((struct sockaddr *)&address, length)) > 0 &&
        fflush(stdout) == 0)
        return 0;
    warn("stdout");
    return -1;
}

static int accept_fd(int fd, struct sockaddr *address, socklen_t *length, bool nonblocking)
{
#ifdef SOCK_NONBLOCK
    return accept4(fd, address, length, SOCK_CLOEXEC | (nonblocking ? SOCK_NONBLOCK : 0));
#else /* macOS has no accept4(), and a new client has its listener's flags */
    int client = accept(fd, address, length);
    if (client >= 0 && (fcntl(client, F_SETFD, FD_CLOEXEC) < 0 ||
                        fcntl(client, F_SETFL, nonblocking ? O_NONBLOCK : 0) < 0)) {
        close(client);
        errno = ECONNABORTED; /* whatever fcntl() said, it is not the listener's fault */
        return -1;
    }
    return client;
#endif
}

/* Errors that accept(2) lists as the new connection's own, from before we asked for it. */
static bool client_is_lost(int error)
{
#ifdef ENONET /* only Linux has it */
    if (error == ENONET)
        return true;
#endif
    return error == ECONNABORTED || error == EPROTO || error == ENOPROTOOPT ||
           error == EOPNOTSUPP || error == ENETDOWN || error == ENETUNREACH || error == EHOSTDOWN ||
           error == EHOSTUNREACH;
}

enum net_accepted net_accept(int listener, bool nonblocking, int *client)
{
    enum { FAILURES_MAX = 64 };
    static atomic_int failures, last_error; /* so many in a row, all for the same reason */
    static atomic_bool exhaustion_logged;
    struct sockaddr_storage address = {0};
    socklen_t length = sizeof address;

    *client = accept_fd(listener, (struct sockaddr *)&address, &length, nonblocking);
    if (*client >= 0) {
        failures = 0;
        exhaustion_logged = false;
        if (log_verbose)
            log_event("client %d: %s", *client, address_text((struct sockaddr *)&address, length));
        return NET_CLIENT;
    }
    bool try_again = errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
    bool lost = client_is_lost(errno);
    if (atomic_exchange(&last_error, errno) != errno)
        failures = 0;
    if (failures < FAILURES_MAX)
        failures++;
    if (lost)
        log_error("accept, one client lost");
    else if (!try_again && !atomic_exchange(&exhaustion_logged, true))
        log_error("accept, new clients have to wait"); /* EMFILE, ENFILE, ENOMEM, EPERM, ... */
    if (failures == FAILURES_MAX || (!try_again && !lost))
        return NET_EXHAUSTED;
    return lost ? NET_LOST : NET_TRY_AGAIN;
}

void net_turn_away(int client, const char *why)
{
    log_warning("client %d turned away: %s", client, why);
    close(client);
}

int net_backlog_max(int backlog)
{
    enum { OPENBSD_MIN = 80 };
    return 3 * (backlog > OPENBSD_MIN ? backlog : OPENBSD_MIN) + 1;
}

void net_reset_on_close(int fd)
{
    struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    (void)setsockopt(fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
}

int64_t net_now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}
