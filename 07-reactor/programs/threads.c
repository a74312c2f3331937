/* The echo server with several threads, and a reactor in each.
 *
 * The threads share nothing but the process: each has its own clients, and they talk only by
 * posting tasks to each other. The kernel gives each listener on a shared port its part of the new
 * clients. Where it does not, or with --one-acceptor, the first thread accepts all and hands them
 * round.
 *
 *     07-reactor-threads --threads 4 */
#include <err.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "conn.h"
#include "log.h"
#include "net.h"
#include "options.h"
#include "reactor.h"

enum { ACCEPTS_PER_TURN = 64, RETRY_MS = 100 };

/* A thread's own. */
struct worker {
    pthread_t thread;
    struct reactor *reactor;
    int listener; /* -1: it has none, or none any more */
    int open;     /* connections */
    bool stopping;
    struct conn_table conns;
    struct reactor_timer retry; /* to accept again */
    struct reactor_timer stop;  /* the end of the stop */
};

/* What they share. Once the threads run, only these change: `not_closed`, and `next` and
 * `stopping`, which only the first thread touches. */
static struct {
    struct worker *worker;
    int count;
    int backlog_max;
    bool one_acceptor;
    unsigned next;         /* the worker that gets the next client; it may wrap */
    bool stopping;         /* a signal has come */
    atomic_int not_closed; /* workers that have not yet run close_listener() */
} team;

static void on_client(struct reactor *reactor, int fd, unsigned ready, void *argument);
static void on_listener(struct reactor *reactor, int fd, unsigned ready, void *argument);
static void hand_over(struct worker *acceptor, int fd);
static void on_signal(struct reactor *reactor, int signal, void *argument);
static void set_up(int argc, char **argv);

static void *run(void *argument)
{
    struct worker *worker = argument;
    if (reactor_run(worker->reactor) < 0)
        log_fatal(reactor_backend(worker->reactor));
    return NULL;
}

int main(int argc, char **argv)
{
    set_up(argc, argv);
    for (int i = 1; i < team.count; i++) {
        errno = pthread_create(&team.worker[i].thread, NULL, run, &team.worker[i]);
        if (errno)
            err(1, "thread %d", i);
    }
    if (net_announce(team.worker[0].listener) < 0)
        return 1;
    run(&team.worker[0]);
    for (int i = 1; i < team.count; i++)
        pthread_join(team.worker[i].thread, NULL);
    for (int i = 0; i < team.count; i++) {
        conn_table_free(&team.worker[i].conns);
        reactor_destroy(team.worker[i].reactor);
    }
    free(team.worker);
    return 0;
}

/* ------------------------------------------------------ one connection's turn, as in server.c ---
 */

static void close_client(struct worker *worker, struct conn *conn)
{
    reactor_close(worker->reactor, conn_release(conn));
    worker->open--;
    if (worker->open == 0 && worker->stopping)
        reactor_stop(worker->reactor);
}

static void on_client(struct reactor *reactor, int fd, unsigned ready, void *argument)
{
    struct worker *worker = argument;
    struct conn *conn = &worker->conns.slot[fd];
    enum conn_next before = conn->next;
    enum conn_next next = ready & REACTOR_ERROR ? CONN_CLOSE : conn_turn(conn);

    if (next == before)
        return;
    if (next == CONN_CLOSE)
        close_client(worker, conn);
    else
        reactor_modify(reactor, fd, next == CONN_WRITE ? REACTOR_WRITE : REACTOR_READ);
}

/* -------------------------------------------------------------------------------- accepting --- */

static void add_client(struct worker *worker, int fd)
{
    if (!conn_open(&worker->conns, fd)) {
        net_turn_away(fd, strerror(errno));
    } else if (reactor_add(worker->reactor, fd, REACTOR_READ, on_client, worker) < 0) {
        conn_release(conn_at(&worker->conns, fd));
        net_turn_away(fd, strerror(errno));
    } else {
        worker->open++;
    }
}

static void pause_accepting(struct worker *worker)
{
    reactor_modify(worker->reactor, worker->listener, 0);
    reactor_timer_start(worker->reactor, &worker->retry, RETRY_MS, 0);
}

static void accept_clients(struct worker *worker, int max)
{
    for (int i = 0; i < max; i++) {
        int client;
        enum net_accepted got = net_accept(worker->listener, true, &client);
        if (got == NET_CLIENT && team.one_acceptor)
            hand_over(worker, client);
        else if (got == NET_CLIENT)
            add_client(worker, client);
        if (got == NET_EXHAUSTED)
            pause_accepting(worker);
        if (got == NET_EXHAUSTED || got == NET_TRY_AGAIN)
            return;
    }
}

static void on_listener(struct reactor *reactor, int fd, unsigned ready, void *argument)
{
    struct worker *worker = argument;
    (void)reactor, (void)fd;
    if (ready & REACTOR_ERROR)
        pause_accepting(worker);
    else
        accept_clients(worker, ACCEPTS_PER_TURN);
}

static void accept_again(struct reactor *reactor, struct reactor_timer *timer)
{
    struct worker *worker = timer->argument;
    reactor_modify(reactor, worker->listener, REACTOR_READ);
}

/* --------------------------------------------------------------------- handing clients round ---
 */

struct handoff {
    struct worker *to;
    int fd;
};

static void take_handoff(void *argument)
{
    struct handoff handoff = *(struct handoff *)argument;
    free(argument);
    add_client(handoff.to, handoff.fd);
}

/* Each worker gets a client in turn. Without memory for the message the acceptor keeps it. */
static void hand_over(struct worker *acceptor, int fd)
{
    struct worker *to = &team.worker[team.next++ % (unsigned)team.count];
    struct handoff *handoff = to == acceptor ? NULL : malloc(sizeof *handoff);
    if (handoff) {
        *handoff = (struct handoff){to, fd};
        if (reactor_post(to->reactor, take_handoff, handoff) == 0)
            return;
        free(handoff);
    }
    add_client(acceptor, fd);
}

/* --------------------------------------------------------------------------------- the stop --- */

/* A post takes a little memory. When there is none, the stop comes as soon as there is. */
static void tell_all(void (*task)(void *argument))
{
    const struct timespec moment = {.tv_nsec = 1000000};
    for (int i = 0; i < team.count; i++)
        while (reactor_post(team.worker[i].reactor, task, &team.worker[i]) < 0)
            nanosleep(&moment, NULL);
}

static void end_stop(struct reactor *reactor, struct reactor_timer *timer)
{
    (void)timer;
    reactor_stop(reactor);
}

/* The second step: the clients are told. */
static void stop_clients(void *argument)
{
    struct worker *worker = argument;
    worker->stopping = true;
    reactor_timer_start(worker->reactor, &worker->stop, CONN_STOP_MS, 0);
    if (worker->open == 0)
        reactor_stop(worker->reactor);
    for (int fd = 0; fd < worker->conns.size; fd++) {
        struct conn *conn = conn_at(&worker->conns, fd);
        if (!conn)
            continue;
        conn_stop(conn);
        on_client(worker->reactor, fd, 0, worker); /* a turn */
    }
}

/* The first step. The second begins when the last listener is closed: from the first FIN on, new
 * clients must be refused, because a client that sees FIN may connect again at once. */
static void close_listener(void *argument)
{
    struct worker *worker = argument;
    if (worker->listener >= 0) {
        accept_clients(worker, team.backlog_max);
        reactor_close(worker->reactor, worker->listener);
        worker->listener = -1;
    }
    if (atomic_fetch_sub(&team.not_closed, 1) == 1)
        tell_all(stop_clients);
}

static void on_signal(struct reactor *reactor, int signal, void *argument)
{
    (void)reactor, (void)signal, (void)argument;
    if (!team.stopping)
        tell_all(close_listener);
    team.stopping = true;
}

/* ------------------------------------------------------------------------- sharing the port --- */

/* Does the kernel balance clients between listeners that share a port? SO_REUSEPORT, socket(7);
 * FreeBSD's is called SO_REUSEPORT_LB. On other systems SO_REUSEPORT does not balance, so one
 * thread accepts. On Linux the first listener allows others only once it is bound, so it fails if
 * another server has the port. FreeBSD needs the option before bind(): there another server of the
 * same user shares it, too. */
#if defined(SO_REUSEPORT_LB)
enum { SHARE_PORT = SO_REUSEPORT_LB, SHARE_ONCE_BOUND = false };
#elif defined(__linux__)
enum { SHARE_PORT = SO_REUSEPORT, SHARE_ONCE_BOUND = true };
#else
enum { SHARE_PORT = 0, SHARE_ONCE_BOUND = false };
#endif

static int share_port(int fd)
{
    int on = 1;
    return setsockopt(fd, SOL_SOCKET, SHARE_PORT, &on, sizeof on);
}

static int port_of(int listener)
{
    struct sockaddr_storage address = {0};
    socklen_t length = sizeof address;
    if (getsockname(listener, (struct sockaddr *)&address, &length) < 0)
        err(1, "getsockname");
    if (address.ss_family == AF_INET6)
        return ntohs(((struct sockaddr_in6 *)&address)->sin6_port);
    return ntohs(((struct sockaddr_in *)&address)->sin_port);
}

/* The first worker's listener settles the port, which may have been any; the others share it. */
static void open_listener(struct worker *worker, struct net_settings *settings, bool first)
{
    settings->prepare = first && SHARE_ONCE_BOUND ? NULL : share_port;
    if (team.one_acceptor)
        settings->prepare = NULL;
    worker->listener = net_listen(settings, true);
    if (worker->listener < 0)
        exit(1);
    settings->port = port_of(worker->listener);
    if (first && !team.one_acceptor && SHARE_ONCE_BOUND && share_port(worker->listener) < 0)
        err(1, "SO_REUSEPORT");
    if (reactor_add(worker->reactor, worker->listener, REACTOR_READ, on_listener, worker) < 0)
        err(1, "cannot set up a reactor");
}

static struct reactor *create_reactor(const char *backend)
{
    struct reactor *reactor = reactor_create(backend);
    if (!reactor && backend && errno == EINVAL) {
        warn("--backend %s", backend);
        options_try_help();
    }
    if (!reactor)
        err(1, "cannot set up a reactor");
    return reactor;
}

static void set_up(int argc, char **argv)
{
    enum { BACKEND, THREADS, ONE_ACCEPTOR };
    struct extra_option extra[] = {
        {"backend", true, "--backend NAME   epoll, kqueue, poll or select (default: the best)",
         NULL},
        {"threads", true, "--threads N      a reactor in each of N threads (default: 2)", NULL},
        {"one-acceptor", false, "--one-acceptor   one thread accepts for all", NULL},
        {0}};
    struct net_settings settings = options_parse(argc, argv, extra);
    const char *threads = extra[THREADS].value;
    team.count = threads ? options_number("--threads", threads, 1, 1024) : 2;
    team.not_closed = team.count;
    team.backlog_max = net_backlog_max(settings.backlog);
    team.one_acceptor = extra[ONE_ACCEPTOR].value || SHARE_PORT == 0;
    team.worker = calloc((size_t)team.count, sizeof *team.worker);
    if (!team.worker)
        err(1, "memory for the threads");
    for (int i = 0; i < team.count; i++) {
        struct worker *worker = &team.worker[i];
        worker->reactor = create_reactor(extra[BACKEND].value);
        worker->listener = -1;
        worker->retry = (struct reactor_timer){.handler = accept_again, .argument = worker};
        worker->stop = (struct reactor_timer){.handler = end_stop, .argument = worker};
        if (i == 0 || !team.one_acceptor)
            open_listener(worker, &settings, i == 0);
    }
    if (reactor_signal(team.worker[0].reactor, SIGINT, on_signal, NULL) < 0 ||
        reactor_signal(team.worker[0].reactor, SIGTERM, on_signal, NULL) < 0)
        err(1, "cannot watch the signals");
}
