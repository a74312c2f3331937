/* The echo server's command line, its signals, and --threads: a reactor in each thread. The
 * threads share nothing but the process. What one has to tell another, it posts.
 *
 * The kernel gives each listener on a shared port its part of the new connections. Where it does
 * not, or with --one-acceptor, the first thread takes them all and hands them round. */
#include <err.h>
#include <errno.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "log.h"
#include "options.h"
#include "server.h"

enum { IDLE_TICKS = 4 }; /* an idle timeout is counted in so many: up to a quarter too long */

struct member {
    struct server server;
    pthread_t thread;
};

static struct {
    struct member *member;
    int count;
    unsigned next; /* who gets the next connection, with one acceptor; it may wrap */
    atomic_int listening;
    bool stopping;
} team;

/* --------------------------------------------------------------------------- the end of it --- */

static void finish(void *argument)
{
    server_finish(argument);
}

/* One alone needs nobody to post to. To post takes a little memory, and when there is none, the
 * stop comes as soon as somebody frees some. */
static void tell_everybody(void (*task)(void *argument))
{
    const struct timespec soon = {.tv_nsec = 1000000};
    if (team.count == 1)
        task(&team.member[0].server);
    for (int i = 0; team.count > 1 && i < team.count; i++)
        while (reactor_post(team.member[i].server.reactor, task, &team.member[i].server) < 0)
            nanosleep(&soon, NULL);
}

/* The clients are told when the last listener is closed: whoever then connects is refused. */
static void close_listener(void *argument)
{
    server_close_listener(argument);
    if (atomic_fetch_sub(&team.listening, 1) == 1)
        tell_everybody(finish);
}

static void on_signal(struct reactor *reactor, int signal, void *argument)
{
    (void)reactor, (void)signal, (void)argument;
    if (!team.stopping)
        tell_everybody(close_listener);
    team.stopping = true;
}

/* ---------------------------------------------------------------------- handing them round --- */

struct parcel {
    struct server *to;
    int fd;
};

static void unpack(void *argument)
{
    struct parcel parcel = *(struct parcel *)argument;
    free(argument);
    server_take(parcel.to, parcel.fd);
}

static void hand_round(struct server *acceptor, int fd)
{
    struct server *to = &team.member[team.next++ % (unsigned)team.count].server;
    struct parcel *parcel = to == acceptor ? NULL : malloc(sizeof *parcel);
    if (parcel) {
        *parcel = (struct parcel){to, fd};
        if (reactor_post(to->reactor, unpack, parcel) == 0)
            return;
        free(parcel);
    }
    server_take(acceptor, fd);
}

/* ------------------------------------------------------------------------ sharing the port --- */

/* Does the kernel balance connections between listeners that share a port? SO_REUSEPORT, socket(7);
 * FreeBSD's is called SO_REUSEPORT_LB. Elsewhere the option means something else. */
#if defined(SO_REUSEPORT_LB)
enum { SHARE_PORT = SO_REUSEPORT_LB, SHARE_LATER = false };
#elif defined(__linux__)
enum { SHARE_PORT = SO_REUSEPORT, SHARE_LATER = true };
#else
enum { SHARE_PORT = 0, SHARE_LATER = false };
#endif

static int share_port(int fd)
{
    int on = 1;
    return setsockopt(fd, SOL_SOCKET, SHARE_PORT, &on, sizeof on);
}

/* The port that a listener has got. */
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

/* ----------------------------------------------------------------------------- the program --- */

/* --idle-timeout: four times in it a look at everybody. It costs no clock and no timer for each. */
static void tick(struct reactor *reactor, struct reactor_timer *timer)
{
    struct server *server = timer->argument;
    (void)reactor;
    for (int fd = 0; fd < server->conns.size; fd++) {
        struct conn *conn = conn_at(&server->conns, fd);
        if (conn && conn->idle_ticks++ == IDLE_TICKS) /* a turn that moves bytes sets it to 0 */
            server_close_client(server, fd);
    }
}

static void *run(void *argument)
{
    struct server *server = argument;
    if (reactor_run(server->reactor) < 0)
        log_fatal(reactor_backend(server->reactor));
    return NULL;
}

static void open_member(struct server *server, int listener, int backlog, const char *backend,
                        int idle_s)
{
    server->listener = -1;
    server->backlog = backlog;
    server->take = server_take;
    server->reactor = reactor_create(backend);
    if (!server->reactor && backend && errno == EINVAL)
        warn("--backend %s", backend), options_try_help();
    if (!server->reactor || (listener >= 0 && server_listen(server, listener) < 0))
        err(1, "reactor");
    server->idle = (struct reactor_timer){.handler = tick, .argument = server};
    int tick_ms = idle_s * 1000 / IDLE_TICKS;
    if (idle_s > 0 && reactor_timer_start(server->reactor, &server->idle, tick_ms, tick_ms) < 0)
        err(1, "--idle-timeout");
}

static void open_team(struct net_settings settings, bool one_acceptor, const char *backend,
                      int idle_s)
{
    bool share = team.count > 1 && !one_acceptor;
    /* On Linux the first one allows others after bind(), and so fails if somebody else has the port.
     * FreeBSD wants to be told before: there another server of the same user shares it, too. */
    settings.prepare = share && !SHARE_LATER ? share_port : NULL;
    for (int i = 0; i < team.count; i++) {
        int listener = i == 0 || share ? net_listen(&settings, true) : -1;
        if (listener < 0 && (i == 0 || share))
            exit(1);
        open_member(&team.member[i].server, listener, settings.backlog, backend, idle_s);
        if (i == 0) {
            settings.port = port_of(listener); /* it may have been any */
            if (share && SHARE_LATER && share_port(listener) < 0)
                err(1, "setsockopt");
            settings.prepare = share ? share_port : NULL;
        }
    }
    if (team.count > 1 && one_acceptor)
        team.member[0].server.take = hand_round;
}

int serve(int argc, char **argv)
{
    struct extra_option extra[] = {
        {"backend", true, "--backend NAME   epoll, kqueue, poll or select (the best)", NULL},
        {"threads", true, "--threads N      a reactor in each of N threads (1)", NULL},
        {"one-acceptor", false, "--one-acceptor   one thread accepts for all of them", NULL},
        {"idle-timeout", true,
         "--idle-timeout SECONDS\n                   close who is quiet for so long (never)", NULL},
        {0}};
    struct net_settings settings = options_parse(argc, argv, extra);
    int idle_s = extra[3].value ? options_number("--idle-timeout", extra[3].value, 1, 86400) : 0;
    team.count = extra[1].value ? options_number("--threads", extra[1].value, 1, 1024) : 1;
    team.listening = team.count;
    team.member = calloc((size_t)team.count, sizeof *team.member);
    if (!team.member)
        err(1, "--threads");
    open_team(settings, extra[2].value || SHARE_PORT == 0, extra[0].value, idle_s);

    struct member *first = &team.member[0];
    if (reactor_signal(first->server.reactor, SIGINT, on_signal, NULL) < 0 ||
        reactor_signal(first->server.reactor, SIGTERM, on_signal, NULL) < 0)
        err(1, "signals");
    for (int i = 1; i < team.count; i++)
        if ((errno = pthread_create(&team.member[i].thread, NULL, run, &team.member[i].server)))
            err(1, "thread %d", i);
    if (net_announce(first->server.listener) < 0)
        return 1;
    run(&first->server);
    for (int i = 1; i < team.count; i++)
        pthread_join(team.member[i].thread, NULL);
    for (int i = 0; i < team.count; i++) {
        conn_table_free(&team.member[i].server.conns);
        reactor_destroy(team.member[i].server.reactor);
    }
    free(team.member);
    return 0;
}
