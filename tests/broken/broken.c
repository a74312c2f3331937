/* A small echo server on poll(). With --defect NAME it has one defect of well-known teaching code.
 * Each defect stands here as an `if (defect == ...)`, so that you can see how little it takes. With
 * `--defect none` the server passes all tests; with any other, the test that ./check names must
 * fail: a test that cannot fail tests nothing. Never learn a server's structure from here: the
 * table is rebuilt for every poll(), which is simple, and slow. */
#define _GNU_SOURCE /* POLLRDHUP */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/epoll.h>
#elif !defined POLLRDHUP
#define POLLRDHUP POLLHUP /* where a FIN is reported so */
#endif

#include "net.h"
#include "options.h"

/* clang-format off */
enum defect {
    NONE, DROPS_UNSENT, MIXES_CLIENTS, LOSES_URGENT, READS_ONCE_PER_EDGE, DROPS_OWED_AT_FIN,
    READS_WITHOUT_END, FULL_IS_EOF, KEEPS_BUFFERS, BLOCKS_IN_SEND, DIES_OF_SIGPIPE, DIES_OF_RESET,
    IGNORES_HANGUP, LEAKS_DESCRIPTORS, DRAINS_ONE_CLIENT, ALWAYS_WRITABLE, EXITS_WHEN_FULL,
    SPINS_WHEN_FULL, TRUSTS_FD_SET, GUARDS_THE_SLOT, IGNORES_SIGTERM, QUITS_AT_ONCE, NO_REUSEADDR,
    NO_SIGNAL_HANDLER, FALLS_SILENT, LOSES_THE_REST, FIN_WHILE_UNSENT, DROPS_UNSENT_AT_STOP,
    FORGETS_UNREAD_AT_STOP, GIVES_UP_WITH_FIN, ACCEPTS_WITHOUT_END, RETRIES_LATE, WAITS_TO_READ,
    SLEEPS_WHEN_FULL, RESETS_AT_STOP, DEFECTS
};
static const char *const names[DEFECTS] = {
    "none", "drops-unsent", "mixes-clients", "loses-urgent", "reads-once-per-edge",
    "drops-owed-at-fin", "reads-without-end", "full-is-eof", "keeps-buffers", "blocks-in-send",
    "dies-of-sigpipe", "dies-of-reset", "ignores-hangup", "leaks-descriptors", "drains-one-client",
    "always-writable", "exits-when-full", "spins-when-full", "trusts-fd-set", "guards-the-slot",
    "ignores-sigterm", "quits-at-once", "no-reuseaddr", "no-signal-handler", "falls-silent",
    "loses-the-rest", "fin-while-unsent", "drops-unsent-at-stop", "forgets-unread-at-stop",
    "gives-up-with-fin", "accepts-without-end", "retries-late", "waits-to-read", "sleeps-when-full",
    "resets-at-stop",
};
/* clang-format on */

enum { CLIENTS_MAX = 8192, PIECE = 16 * 1024, PAUSE_MS = 50, STOP_MS = 1000, ENOUGH = 10000 };

struct client {
    int fd;
    char *held; /* bytes start to end are unsent; NULL: none are */
    size_t start, end;
    int left; /* while stopping: bytes that had arrived and are not echoed yet */
    long received;
    bool fin_sent, gone;
};

static enum defect defect;
static struct client clients[CLIENTS_MAX];
static struct pollfd watch[CLIENTS_MAX + 2]; /* [0] the listener, [1] the signals, then clients */
static int count, listener, wake[2], edges = -1;
static bool stopping;
static int64_t deadline, pause_end;
static char shared[PIECE];      /* for MIXES_CLIENTS: one buffer for all */
static char *kept[CLIENTS_MAX]; /* for KEEPS_BUFFERS: one for each, busy or idle */

static void on_signal(int signal)
{
    (void)signal;
    (void)!write(wake[1], "", 1);
}

/* ---- bytes ---- */

static bool lost(void)
{
    if (errno == EAGAIN || errno == EINTR)
        return false;
    if (defect == DIES_OF_RESET)
        exit(1); /* perror("recv"); exit(1); as many examples do */
    return true;
}

static void hold(struct client *c, const char *bytes, size_t length)
{
    if (defect == DROPS_UNSENT || (defect == DROPS_UNSENT_AT_STOP && stopping))
        return; /* send() was "successful", wasn't it? */
    if (defect == MIXES_CLIENTS) {
        c->held = shared;
        memmove(shared, bytes, length);
    } else {
        c->held = realloc(c->held, c->end + length);
        if (!c->held)
            abort();
        memcpy(c->held + c->end, bytes, length);
        length += c->end;
    }
    c->end = length;
}

static void release(struct client *c)
{
    if (c->held != shared)
        free(c->held);
    c->held = NULL;
    c->start = c->end = 0;
}

static void flush_held(struct client *c)
{
    ssize_t n = send(c->fd, c->held + c->start, c->end - c->start, 0);
    if (n < 0)
        c->gone = lost();
    else if ((c->start += (size_t)n) == c->end)
        release(c);
}

static void echo(struct client *c)
{
    char bytes[PIECE];
    size_t room = stopping && !c->fin_sent && c->left < PIECE ? (size_t)c->left : PIECE;
    if (defect == FULL_IS_EOF && !stopping)
        room -= c->end; /* as if all of it had one buffer; when that is full, recv() says 0 */
    ssize_t n = recv(c->fd, bytes, room, defect == BLOCKS_IN_SEND ? MSG_DONTWAIT : 0);
    if (n <= 0) {
        c->gone = n == 0 ? !c->held || defect == FULL_IS_EOF : lost();
        return;
    }
    c->received += n;
    if (c->fin_sent)
        return; /* too late: read only so that close() need not send RST */
    if (stopping)
        c->left -= (int)n;
    if (defect == LOSES_THE_REST && c->received > ENOUGH)
        return;
    ssize_t sent = c->held ? 0 : send(c->fd, bytes, (size_t)n, 0);
    if (sent < 0 && (c->gone = lost()))
        return;
    sent = sent < 0 ? 0 : sent;
    if (sent < n)
        hold(c, bytes + sent, (size_t)(n - sent));
}

static void send_fin_if_done(struct client *c)
{
    if (!stopping || c->fin_sent || c->left > 0 || (c->held && defect != FIN_WHILE_UNSENT))
        return;
    shutdown(c->fd, SHUT_WR);
    c->fin_sent = true;
}

/* The server reads although bytes are unsent. */
static bool greedy(void)
{
    return defect == READS_WITHOUT_END || defect == FULL_IS_EOF;
}

static void turn(struct client *c, short events)
{
    if (defect == DROPS_OWED_AT_FIN && events & POLLRDHUP)
        c->gone = true; /* "the client has closed" */
    else if (defect == IGNORES_HANGUP && events != POLLIN && events != POLLOUT)
        return; /* neither readable nor writable, is it? */
    else if (c->held && (!greedy() || events & POLLOUT))
        flush_held(c);
    else
        echo(c);
    /* "Read until EAGAIN" is the usual advice. All other clients wait meanwhile. */
    errno = 0;
    while (defect == DRAINS_ONE_CLIENT && !c->gone && !c->held && !stopping && errno != EAGAIN)
        echo(c);
    if (!c->gone)
        send_fin_if_done(c);
}

/* ---- clients ---- */

static void add_client(int fd)
{
    int off = 0;
    if (count == CLIENTS_MAX) {
        close(fd);
        return;
    }
    if (defect == LOSES_URGENT)
        setsockopt(fd, SOL_SOCKET, SO_OOBINLINE, &off, sizeof off);
#ifdef __linux__
    struct epoll_event e = {.events = EPOLLIN | EPOLLOUT | EPOLLET, .data.fd = fd};
    if (edges >= 0)
        epoll_ctl(edges, EPOLL_CTL_ADD, fd, &e);
#endif
    clients[count] = (struct client){.fd = fd};
    if (defect == KEEPS_BUFFERS && (kept[count] = malloc(64 * 1024)))
        memset(kept[count], 1, 64 * 1024); /* as if in struct client, and once in use */
    count++;
}

static void accept_some(void)
{
    const int pause_ms = defect == RETRIES_LATE ? 2000 : PAUSE_MS;
    for (int i = 0, fd; i < 64 || defect == ACCEPTS_WITHOUT_END; i++) {
        enum net_accepted got = net_accept(listener, defect != BLOCKS_IN_SEND, &fd);
        if (got == NET_CLIENT)
            add_client(fd);
        if (got == NET_EXHAUSTED && defect == EXITS_WHEN_FULL)
            exit(1); /* perror("accept"); exit(1); */
        if (got == NET_EXHAUSTED && defect == SLEEPS_WHEN_FULL)
            usleep(100000); /* and all others sleep with us */
        else if (got == NET_EXHAUSTED && defect != SPINS_WHEN_FULL)
            pause_end = net_now_ms() + pause_ms; /* else poll() returns at once, forever */
        if (got == NET_EXHAUSTED || got == NET_TRY_AGAIN)
            return;
    }
}

static void remove_gone(void)
{
    for (int i = count - 1; i >= 0; i--) {
        if (!clients[i].gone)
            continue;
        if (defect == RESETS_AT_STOP && stopping)
            net_reset_on_close(clients[i].fd); /* "they are given up" */
        if (defect != LEAKS_DESCRIPTORS)
            close(clients[i].fd);
        else
            shutdown(clients[i].fd, SHUT_WR); /* looks the same to the client */
        release(&clients[i]);
        clients[i] = clients[--count];
        pause_end = 0;
    }
}

static void begin_stop(void)
{
    if (defect == QUITS_AT_ONCE)
        exit(0); /* the kernel closes everything, doesn't it? */
    if (defect == IGNORES_SIGTERM || stopping)
        return;
    close(listener);
    listener = -1;
    stopping = true;
    deadline = net_now_ms() + STOP_MS;
    for (int i = 0; i < count; i++) {
        if (ioctl(clients[i].fd, FIONREAD, &clients[i].left) < 0)
            clients[i].left = 0;
        if (defect == FORGETS_UNREAD_AT_STOP && clients[i].held)
            clients[i].left = 0;
        send_fin_if_done(&clients[i]);
    }
}

/* ---- waiting ---- */

/* Nothing guards FD_SET() here: FD_SET(FD_SETSIZE, ...) writes behind its argument. This file is
 * compiled so that the C library notices and aborts; else other variables would be overwritten. */
static int wait_by_select(int n)
{
    fd_set readable, writable;
    int top = 0;
    FD_ZERO(&readable);
    FD_ZERO(&writable);
    for (int i = 0; i < n; i++) {
        if (defect == GUARDS_THE_SLOT && i >= FD_SETSIZE)
            break; /* i is no descriptor, and smaller than most */
        if (watch[i].fd >= 0 && watch[i].events & POLLIN)
            FD_SET(watch[i].fd, &readable);
        if (watch[i].fd >= 0 && watch[i].events & POLLOUT)
            FD_SET(watch[i].fd, &writable);
        top = watch[i].fd > top ? watch[i].fd : top;
    }
    struct timeval timeout = {.tv_usec = PAUSE_MS * 1000};
    int ready = select(top + 1, &readable, &writable, NULL, &timeout);
    for (int i = 0; i < n; i++)
        watch[i].revents = ready <= 0 || watch[i].fd < 0      ? 0
                           : FD_ISSET(watch[i].fd, &readable) ? POLLIN
                           : FD_ISSET(watch[i].fd, &writable) ? POLLOUT
                                                              : 0;
    return ready;
}

/* Edge-triggered: the kernel tells once, and turn() reads once. */
static int wait_for_edges(int n)
{
#ifdef __linux__
    struct epoll_event e[64];
    struct pollfd both[3] = {watch[0], watch[1], {.fd = edges, .events = POLLIN}};
    poll(both, 3, PAUSE_MS);
    watch[0].revents = both[0].revents;
    watch[1].revents = both[1].revents;
    int ready = epoll_wait(edges, e, 64, 0);
    for (int i = 2; i < n; i++)
        watch[i].revents = 0;
    for (int k = 0; k < ready; k++)
        for (int i = 2; i < n; i++)
            if (watch[i].fd == e[k].data.fd)
                watch[i].revents = (short)e[k].events; /* the same bits on Linux */
#endif
    return n;
}

static int wait_for_events(void)
{
    watch[0] = (struct pollfd){.fd = pause_end > net_now_ms() ? -1 : listener, .events = POLLIN};
    watch[1] = (struct pollfd){.fd = wake[0], .events = POLLIN};
    for (int i = 0; i < count; i++) {
        short events = clients[i].held && defect != WAITS_TO_READ ? POLLOUT : POLLIN;
        if (defect == DROPS_OWED_AT_FIN)
            events |= POLLRDHUP;
        if (defect == ALWAYS_WRITABLE)
            events |= POLLOUT; /* as good as always true */
        if (greedy())
            events |= POLLIN;
        watch[i + 2] = (struct pollfd){.fd = clients[i].fd, .events = events};
        if (defect == FALLS_SILENT && clients[i].received > ENOUGH)
            watch[i + 2].fd = -1; /* a lost event, say: this client is forgotten */
    }
    if (edges >= 0)
        return wait_for_edges(count + 2);
    if (defect == TRUSTS_FD_SET || defect == GUARDS_THE_SLOT)
        return wait_by_select(count + 2);
    return poll(watch, (nfds_t)count + 2, stopping || pause_end > net_now_ms() ? PAUSE_MS : -1);
}

static void run(void)
{
    while (!stopping || (count > 0 && net_now_ms() < deadline)) {
        int polled = count;
        if (wait_for_events() < 0)
            continue;
        if (watch[1].revents) {
            char byte;
            (void)!read(wake[0], &byte, 1);
            begin_stop();
        }
        for (int i = 0; i < polled; i++)
            if (watch[i + 2].revents)
                turn(&clients[i], watch[i + 2].revents);
        remove_gone();
        if (watch[0].revents && !stopping)
            accept_some();
    }
}

/* ---- start ---- */

static int listen_without_reuseaddr(const struct net_settings *settings)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_port = htons((uint16_t)settings->port)};
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (bind(fd, (struct sockaddr *)&a, sizeof a) < 0 || listen(fd, settings->backlog) < 0) {
        perror("bind");
        return -1;
    }
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

static enum defect by_name(const char *name)
{
    for (int i = 0; name && i < DEFECTS; i++)
        if (strcmp(names[i], name) == 0)
            return (enum defect)i;
    if (!name)
        return NONE;
    fprintf(stderr, "there is no defect '%s'\n", name);
    exit(2);
}

int main(int argc, char **argv)
{
    struct extra_option extra[] = {
        {"defect", true, "--defect NAME    the defect to have (none)", NULL}, {0}};
    struct net_settings settings = options_parse(argc, argv, extra);
    defect = by_name(extra[0].value);
    listener =
        defect == NO_REUSEADDR ? listen_without_reuseaddr(&settings) : net_listen(&settings, true);
    if (listener < 0 || pipe(wake) < 0)
        return 1;
    if (defect == DIES_OF_SIGPIPE)
        signal(SIGPIPE, SIG_DFL);
    if (defect != NO_SIGNAL_HANDLER) {
        sigaction(SIGINT, &(struct sigaction){.sa_handler = on_signal}, NULL);
        sigaction(SIGTERM, &(struct sigaction){.sa_handler = on_signal}, NULL);
    }
#ifdef __linux__
    if (defect == READS_ONCE_PER_EDGE)
        edges = epoll_create1(EPOLL_CLOEXEC);
#endif
    net_announce(listener);
    run();
    for (int i = 0; i < count; i++) {
        if ((clients[i].held || clients[i].left > 0) && defect != GIVES_UP_WITH_FIN)
            net_reset_on_close(clients[i].fd);
        close(clients[i].fd);
    }
    return 0;
}
