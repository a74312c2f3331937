/* Chapter 2: non-blocking sockets, tried in turn, forever.
 *
 * One thread serves all clients, and no call ever sleeps: a socket with nothing to say answers
 * EAGAIN at once, and we ask the next. With one busy client nothing is faster. But we also ask when
 * nobody talks: this server burns a core by design. */
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <unistd.h>

#include "conn.h"
#include "log.h"
#include "net.h"
#include "options.h"

enum { ACCEPTS_PER_SWEEP = 16 };

struct server {
    int listener;     /* -1 once we stop */
    int backlog_max;  /* clients that may be waiting in the backlog */
    int64_t deadline; /* when the stop ends; 0: none */
    struct conn_table conns;
};

static int sweep(struct server *server);
static void accept_clients(struct server *server, int max);
static void begin_stop(struct server *server);

static volatile sig_atomic_t signalled; /* a loop that never sleeps can simply look at a flag */

static void on_signal(int signal)
{
    (void)signal;
    signalled = 1;
}

static void run(struct server *server)
{
    for (;;) {
        if (server->listener >= 0)
            accept_clients(server, ACCEPTS_PER_SWEEP);
        if (server->listener >= 0 && signalled)
            begin_stop(server);
        int open = sweep(server);
        if (server->listener < 0 && (open == 0 || net_ms_left(server->deadline) == 0))
            return; /* all clients have gone, or the time for the stop is over */
    }
}

/* Tries every connection once. Returns how many are open. */
static int sweep(struct server *server)
{
    int open = 0;
    for (int fd = 0; fd < server->conns.size; fd++) {
        struct conn *conn = conn_at(&server->conns, fd);
        if (!conn)
            continue;
        if (conn_turn(conn) == CONN_CLOSE)
            conn_close(conn);
        else
            open++;
    }
    return open;
}

/* Accepts a few clients at a time, because the others want their turn. If we are out of
 * descriptors, the next sweep tries again. */
static void accept_clients(struct server *server, int max)
{
    for (int i = 0; i < max; i++) {
        int client;
        enum net_accepted got = net_accept(server->listener, true, &client);
        if (got == NET_CLIENT && !conn_open(&server->conns, client))
            net_turn_away(client, strerror(errno));
        if (got == NET_TRY_AGAIN || got == NET_EXHAUSTED)
            return;
    }
}

/* Clients in the backlog have been told that they are connected, so we accept them first. */
static void begin_stop(struct server *server)
{
    accept_clients(server, server->backlog_max);
    close(server->listener);
    server->listener = -1;
    server->deadline = net_now_ms() + CONN_STOP_MS;
    for (int fd = 0; fd < server->conns.size; fd++) {
        struct conn *conn = conn_at(&server->conns, fd);
        if (conn)
            conn_stop(conn);
    }
}

int main(int argc, char **argv)
{
    struct net_settings settings = options_parse(argc, argv, NULL);
    struct server server = {
        .listener = net_listen(&settings, true),
        .backlog_max = net_backlog_max(settings.backlog),
    };

    if (server.listener < 0)
        return 1;
    stop_signals_handle(on_signal);
    if (net_announce(server.listener) < 0)
        return 1;
    run(&server);
    conn_table_free(&server.conns);
    return 0;
}
