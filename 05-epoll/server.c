/* Stage 5: epoll, which remembers what we watch.
 *
 * select() and poll() are told everything anew on every call. Here each descriptor is registered
 * once, with epoll_ctl(); the kernel puts it on a ready list when something happens to it, and
 * epoll_wait() returns that list alone. Those who say nothing cost nothing. */
#include <err.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>
#include <unistd.h>

#include "conn.h"
#include "log.h"
#include "net.h"

enum {
    EVENTS_PER_WAIT = 64,
    ACCEPTS_PER_TURN = 64,
    RETRY_MS = 100, /* after running out of descriptors, accept again this soon */
    IDLE_TICKS = 4, /* an idle timeout is counted in so many ticks: up to a quarter too long */
};

struct server {
    int epoll;
    int signals;  /* a signalfd: SIGINT and SIGTERM as one more descriptor to wait for; or -1 */
    int timer;    /* a timerfd, which ticks for --idle-timeout; or -1 */
    int listener; /* -1 once we stop */
    int open;     /* connections */
    bool ticked;  /* the timer has, in this batch */
    struct conn_table conns;
    int64_t deadline; /* of the stop; before, when to accept again; 0: none */

    bool edge_triggered;
    int *ready; /* edge-triggered: descriptors that may have more to do, first come first served */
    int ready_count, ready_capacity;
};

/* Registers fd, or changes what we wait for there. Returns as epoll_ctl(2). */
static int watch(struct server *server, int operation, int fd, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.fd = fd};
    return epoll_ctl(server->epoll, operation, fd, &event);
}

/* -------------------------------------------------------------------- one connection's turn --- */

static void accept_again(struct server *server)
{
    if (watch(server, EPOLL_CTL_MOD, server->listener, EPOLLIN) < 0)
        log_fatal("epoll_ctl");
    server->deadline = 0;
}

/* close() also ends the registration, since nobody else holds this socket open. */
static void close_conn(struct server *server, struct conn *conn)
{
    conn_close(conn);
    server->open--;
    if (server->listener >= 0 && server->deadline > 0)
        accept_again(server); /* a descriptor is free again */
}

/* The connection waits for something else now: tell the kernel, or close. An edge-triggered one is
 * registered for both at the start, and never again. */
static void wait_for(struct server *server, struct conn *conn, enum conn_next next)
{
    uint32_t events = next == CONN_WRITE ? EPOLLOUT : EPOLLIN;
    if (next == CONN_CLOSE) {
        close_conn(server, conn);
    } else if (!server->edge_triggered && watch(server, EPOLL_CTL_MOD, conn->fd, events) < 0) {
        log_error("client %d lost: epoll_ctl", conn->fd);
        close_conn(server, conn);
    }
}

static void take_turn(struct server *server, struct conn *conn)
{
    enum conn_next before = conn->next;
    enum conn_next next = conn_turn(conn);
    if (next != before)
        wait_for(server, conn, next);
}

/* ----------------------------------------------------------------------- the edge-triggered way */

/* An edge is told once. Whoever does not go on until EAGAIN may never hear of the rest; whoever
 * goes on until EAGAIN at once lets a fast client starve the others. So an event only puts its
 * connection on this list, each on it gets one turn, and stays until a turn ends on EAGAIN.
 * A connection is on the list exactly while it is not marked would_block. */
static void make_ready(struct server *server, struct conn *conn)
{
    if (!conn->would_block)
        return;
    conn->would_block = false;
    server->ready[server->ready_count++] = conn->fd;
}

static void one_turn_each(struct server *server)
{
    int kept = 0;
    for (int i = 0; i < server->ready_count; i++) {
        int fd = server->ready[i];
        take_turn(server, conn_at(&server->conns, fd));
        struct conn *conn = conn_at(&server->conns, fd);
        if (conn && !conn->would_block)
            server->ready[kept++] = fd;
    }
    server->ready_count = kept;
}

/* Twice, because after most turns there is nothing more to do, and the second finds that out: two
 * rounds save a look at epoll in between. */
static void serve_ready_list(struct server *server)
{
    for (int round = 0; round < 2 && server->ready_count > 0; round++)
        one_turn_each(server);
}

/* Room for every connection, taken when it arrives: later would be too late to turn it away. */
static bool ready_list_has_room(struct server *server)
{
    if (server->open < server->ready_capacity)
        return true;
    int capacity = 2 * server->open + 64;
    int *ready = realloc(server->ready, (size_t)capacity * sizeof *ready);
    if (!ready)
        return false;
    server->ready = ready;
    server->ready_capacity = capacity;
    return true;
}

/* -------------------------------------------------------------------------------- accepting --- */

static void add_client(struct server *server, int fd)
{
    uint32_t events = server->edge_triggered ? EPOLLIN | EPOLLOUT | EPOLLET : EPOLLIN;
    struct conn *conn = NULL;

    if (!server->edge_triggered || ready_list_has_room(server))
        conn = conn_open(&server->conns, fd);
    if (conn && watch(server, EPOLL_CTL_ADD, fd, events) == 0) {
        server->open++;
        return;
    }
    log_error("client %d turned away", fd); /* ENOMEM, or ENOSPC: fs.epoll.max_user_watches */
    if (conn)
        conn_close(conn);
    else
        close(fd);
}

/* The listener is level-triggered in both modes: whoever is left over is reported again. */
static void accept_clients(struct server *server, int most)
{
    for (int i = 0; i < most; i++) {
        int client;
        enum net_accepted got = net_accept(server->listener, true, &client);
        if (got == NET_CLIENT)
            add_client(server, client);
        if (got == NET_EXHAUSTED) {
            /* The listener stays ready, and epoll_wait() would return at once, for ever. So stop
             * watching it until somebody leaves, or for a while. */
            if (watch(server, EPOLL_CTL_MOD, server->listener, 0) < 0)
                log_fatal("epoll_ctl");
            server->deadline = net_now_ms() + RETRY_MS;
        }
        if (got == NET_EXHAUSTED || got == NET_TRY_AGAIN)
            return;
    }
}

/* ------------------------------------------------------------------------ the idle timeout --- */

/* A tick, four times in the timeout: closes who has been quiet for all of it. To count ticks needs
 * no clock, and no more than a byte for each connection. (Who is on the ready list is not quiet.)
 * It comes after the batch of events, so that none of them is for one whom it has closed. */
static void tick(struct server *server)
{
    uint64_t expirations;
    if (read(server->timer, &expirations, sizeof expirations) < 0)
        return;
    for (int fd = 0; fd < server->conns.size; fd++) {
        struct conn *conn = conn_at(&server->conns, fd);
        if (!conn || (server->edge_triggered && !conn->would_block))
            continue;
        if (conn->quiet++ == IDLE_TICKS)
            close_conn(server, conn);
    }
}

static int open_timer(int seconds)
{
    struct itimerspec period = {.it_interval.tv_nsec =
                                    seconds % IDLE_TICKS * (1000000000L / IDLE_TICKS),
                                .it_interval.tv_sec = seconds / IDLE_TICKS};
    int fd = timerfd_create(CLOCK_MONOTONIC, TFD_NONBLOCK | TFD_CLOEXEC);
    period.it_value = period.it_interval;
    if (fd < 0 || timerfd_settime(fd, 0, &period, NULL) < 0)
        err(1, "timerfd");
    return fd;
}

/* --------------------------------------------------------------------------------- the loop --- */

static void begin_stop(struct server *server, int backlog_max)
{
    accept_clients(server, backlog_max); /* all who wait: they have been told that they are in */
    close(server->listener);
    close(server->signals); /* one is enough; unread, it would be reported for ever */
    server->listener = server->signals = -1;
    server->deadline = net_now_ms() + CONN_STOP_MS;
    for (int fd = 0; fd < server->conns.size; fd++) {
        struct conn *conn = conn_at(&server->conns, fd);
        if (!conn)
            continue;
        conn_stop(conn);
        if (server->edge_triggered)
            make_ready(server, conn);
        else
            take_turn(server, conn);
    }
}

/* In one batch a descriptor stands but once, and only its own event closes it, or the stop, after
 * which nobody is let in. So an event never reaches a connection that got a closed one's number. */
static void handle(struct server *server, const struct epoll_event *event, int backlog_max)
{
    int fd = event->data.fd;
    struct conn *conn = conn_at(&server->conns, fd);

    if (conn && server->edge_triggered)
        make_ready(server, conn);
    else if (conn)
        take_turn(server, conn); /* EPOLLHUP and EPOLLERR too: recv() or send() says which */
    else if (fd == server->listener)
        accept_clients(server, ACCEPTS_PER_TURN);
    else if (fd == server->signals)
        begin_stop(server, backlog_max);
    else if (fd == server->timer)
        server->ticked = true;
}

static int timeout_ms(const struct server *server)
{
    if (server->ready_count > 0)
        return 0; /* only look: there is work already */
    if (server->deadline == 0)
        return -1;
    int64_t left = server->deadline - net_now_ms();
    return left > 0 ? (int)left : 0;
}

static void run(struct server *server, int backlog_max)
{
    struct epoll_event events[EVENTS_PER_WAIT];

    while (server->listener >= 0 || server->open > 0) {
        int count = epoll_wait(server->epoll, events, EVENTS_PER_WAIT, timeout_ms(server));
        if (count < 0 && errno != EINTR) /* EINTR: after SIGSTOP and SIGCONT, say */
            log_fatal("epoll_wait");
        for (int i = 0; i < count; i++)
            handle(server, &events[i], backlog_max);
        serve_ready_list(server);
        if (server->ticked)
            tick(server);
        server->ticked = false;
        if (server->deadline == 0 || net_now_ms() < server->deadline)
            continue;
        if (server->listener < 0)
            return; /* their second is over */
        accept_again(server);
    }
}

static int open_signalfd(void)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigprocmask(SIG_BLOCK, &signals, NULL); /* else they would still kill us */
    return signalfd(-1, &signals, SFD_NONBLOCK | SFD_CLOEXEC);
}

int main(int argc, char **argv)
{
    struct net_option extra[] = {
        {"edge-triggered", false,
         "--edge-triggered\n                   report changes only, not states", NULL},
        {"idle-timeout", true,
         "--idle-timeout SECONDS\n                   close who is quiet for so long (never)", NULL},
        {0}};
    struct net_settings settings = net_parse(argc, argv, extra);
    int idle_s = extra[1].value ? net_number("--idle-timeout", extra[1].value, 1, 86400) : 0;
    struct server server = {.listener = net_listen(&settings, true)};

    if (server.listener < 0)
        return 1;
    server.edge_triggered = extra[0].value;
    server.timer = idle_s > 0 ? open_timer(idle_s) : -1;
    server.epoll = epoll_create1(EPOLL_CLOEXEC);
    server.signals = open_signalfd();
    if (server.epoll < 0 || server.signals < 0 ||
        watch(&server, EPOLL_CTL_ADD, server.signals, EPOLLIN) < 0 ||
        watch(&server, EPOLL_CTL_ADD, server.listener, EPOLLIN) < 0 ||
        (server.timer >= 0 && watch(&server, EPOLL_CTL_ADD, server.timer, EPOLLIN) < 0))
        err(1, "epoll");
    if (net_announce(server.listener) < 0)
        return 1;
    run(&server, net_backlog_max(settings.backlog));
    conn_table_free(&server.conns);
    free(server.ready);
    return 0;
}
