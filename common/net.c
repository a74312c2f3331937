#define _GNU_SOURCE /* accept4() */
#include "net.h"

#include <ctype.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "log.h"

bool net_verbose;
const char *net_purpose = "A TCP echo server";

void net_try_help(void)
{
    fprintf(stderr, "Try '%s --help'.\n", log_name);
    exit(2);
}

int net_number(const char *option, const char *text, int min, int max)
{
    char *end;
    errno = 0;
    long number = strtol(text, &end, 10);
    /* strtol() alone would take " 80", "80x" and "" for numbers. */
    if (!isdigit((unsigned char)text[0]) || *end || errno || number < min || number > max) {
        warnx("%s: '%s' is not a number from %d to %d", option, text, min, max);
        net_try_help();
    }
    return (int)number;
}

static _Noreturn void print_help(const struct net_option *extra)
{
    printf("Usage: %s [OPTION]...\n%s.\n\n", log_name, net_purpose);
    printf("  --host ADDR      address or name to listen on (127.0.0.1)\n"
           "  --port N         port to listen on, 0 for any free one (7000)\n"
           "  --backlog N      connections that may wait for accept() (%d)\n",
           SOMAXCONN);
    for (; extra && extra->name; extra++)
        printf("  %s\n", extra->help);
    printf("  --verbose        a line per connection on stderr\n"
           "  --help           this text\n  --version        the version\n");
    exit(0);
}

/* open() takes the lowest number that is free. */
static void open_standard_descriptors(void)
{
    int fd;
    do
        fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= STDERR_FILENO);
    if (fd < 0)
        err(1, "/dev/null");
    close(fd);
}

struct net_settings net_parse(int argc, char **argv, struct net_option *extra)
{
    enum { SHARED = 6, EXTRA = 256, EXTRA_MAX = 8 };
    struct option options[SHARED + EXTRA_MAX + 1] = {
        {"host", 1, NULL, 'H'},    {"port", 1, NULL, 'p'}, {"backlog", 1, NULL, 'b'},
        {"verbose", 0, NULL, 'v'}, {"help", 0, NULL, 'h'}, {"version", 0, NULL, 'V'},
    };
    for (int i = 0; extra && extra[i].name && i < EXTRA_MAX; i++)
        options[SHARED + i] = (struct option){extra[i].name, extra[i].argument, NULL, EXTRA + i};

    struct net_settings settings = {.host = "127.0.0.1", .port = 7000, .backlog = SOMAXCONN};
    char *slash = strrchr(argv[0], '/');
    log_name = argv[0] = slash ? slash + 1 : argv[0]; /* for getopt_long()'s messages, too */
    open_standard_descriptors();
    log_open();
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (option == 'H')
            settings.host = optarg;
        else if (option == 'p')
            settings.port = net_number("--port", optarg, 0, 65535);
        else if (option == 'b')
            settings.backlog = net_number("--backlog", optarg, 1, 65535);
        else if (option == 'v')
            net_verbose = true;
        else if (option >= EXTRA)
            extra[option - EXTRA].value = optarg ? optarg : "";
        else if (option == '?')
            net_try_help(); /* getopt_long() has said what is wrong */
        else if (option == 'h')
            print_help(extra);
        else
            exit(printf("%s %s\n", log_name, NET_VERSION) < 0);
    }
    if (optind < argc) {
        warnx("unexpected argument '%s'", argv[optind]);
        net_try_help();
    }
    return settings;
}

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

/* Accepted sockets inherit TCP_NODELAY and SO_OOBINLINE on Linux, macOS and the BSDs: no calls per
 * connection. TCP_NODELAY: else a reply may wait for the acknowledgement of the one before (RFC
 * 896). SO_OOBINLINE: else an urgent byte would be missing from the echo (RFC 6093). */
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
    int fd = socket(address->ai_family, address->ai_socktype, address->ai_protocol);
    const char *failed = NULL;
    if (fd < 0)
        failed = "socket";
    else if (fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 || fcntl(fd, F_SETFL, mode) < 0)
        failed = "fcntl";
    else if (set_options(fd) < 0 || (settings->prepare && settings->prepare(fd, false) < 0))
        failed = "setsockopt";
    else if (bind(fd, address->ai_addr, address->ai_addrlen) < 0)
        failed = "bind";
    else if (settings->prepare && settings->prepare(fd, true) < 0)
        failed = "setsockopt";
    else if (listen(fd, settings->backlog) < 0)
        failed = "listen";
    if (!failed)
        return fd;
    warn("%s %s", failed, address_text(address->ai_addr, address->ai_addrlen));
    if (fd >= 0)
        close(fd);
    return -1;
}

/* If it fails, fewer clients fit, that is all. */
static void raise_descriptor_limit(void)
{
    enum { MACOS_MAX = 10240 }; /* its hard limit may be infinite; it refuses that: setrlimit(2) */
    struct rlimit limit;
    if (getrlimit(RLIMIT_NOFILE, &limit) < 0)
        return;
    rlim_t before = limit.rlim_cur;
    limit.rlim_cur = limit.rlim_max;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0 && before < MACOS_MAX) {
        limit.rlim_cur = MACOS_MAX;
        (void)setrlimit(RLIMIT_NOFILE, &limit);
    }
}

int net_listen(const struct net_settings *settings, bool nonblocking)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM, .ai_flags = AI_NUMERICSERV};
    struct addrinfo *list;
    char port[16];
    int fd = -1;

    /* A client that leaves is one send()'s error, not our end. */
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
    if (getsockname(listener, (struct sockaddr *)&address, &length) < 0) {
        warn("getsockname");
        return -1;
    }
    const char *text = address_text((struct sockaddr *)&address, length);
    if (printf("listening on %s\n", text) > 0 && fflush(stdout) == 0)
        return 0;
    warn("stdout");
    return -1;
}

static int accept_fd(int fd, struct sockaddr *address, socklen_t *length, bool nonblocking)
{
#ifdef SOCK_NONBLOCK
    return accept4(fd, address, length, SOCK_CLOEXEC | (nonblocking ? SOCK_NONBLOCK : 0));
#else /* macOS has no accept4(), and there a client's flags are the listener's at first */
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

/* What accept(2) lists as an error of the new connection that was there before we asked. */
static bool one_client_is_lost(int error)
{
#ifdef ENONET /* Linux alone has it */
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
    static atomic_bool said;
    struct sockaddr_storage address = {0};
    socklen_t length = sizeof address;
    *client = accept_fd(listener, (struct sockaddr *)&address, &length, nonblocking);
    if (*client >= 0) {
        said = false;
        failures = 0;
        if (net_verbose)
            log_event("client %d: %s", *client, address_text((struct sockaddr *)&address, length));
        return NET_CLIENT;
    }
    bool again = errno == EAGAIN || errno == EWOULDBLOCK || errno == EINTR;
    bool lost = one_client_is_lost(errno);
    if (lost)
        log_error("accept, one client lost");
    else if (!again && !atomic_exchange(&said, true))
        log_error("accept, new clients have to wait"); /* EMFILE, ENFILE, ENOMEM, EPERM, ... */
    if (atomic_exchange(&last_error, errno) != errno)
        failures = 0;
    if (failures < FAILURES_MAX)
        failures++;
    if (failures == FAILURES_MAX || (!again && !lost))
        return NET_EXHAUSTED;
    return lost ? NET_LOST : NET_TRY_AGAIN;
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
