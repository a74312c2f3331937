/* Stage 2: non-blocking sockets, tried in turn, for ever.
 *
 * One thread serves everybody, and no call ever sleeps: a socket with nothing to say answers
 * EAGAIN at once, and we ask the next. It works, and with one busy client nothing is faster. But
 * it asks when nobody talks, too: this server is meant to burn a core. */
#include <signal.h>
#include <unistd.h>

#include "conn.h"
#include "log.h"
#include "net.h"

enum { ACCEPTS_PER_SWEEP = 16 };

struct server {
    int listener; /* -1 once we stop */
    struct conn_table conns;
    int64_t deadline; /* of the stop */
};

static volatile sig_atomic_t signalled; /* a loop that never sleeps may simply look at a flag */

static void on_signal(int signal)
{
    (void)signal;
    signalled = 1;
}

/* Takes in whoever waits, but not more than so many at a time: the others want their turn. When
 * descriptors run out, the next sweep simply tries again. */
static void accept_clients(struct server *server, int most)
{
    for (int i = 0; i < most; i++) {
        int client;
        enum net_accepted got = net_accept(server->listener, true, &client);
        if (got == NET_LOST)
            continue;
        if (got != NET_CLIENT)
            return;
        if (!conn_open(&server->conns, client)) {
            log_error("client %d turned away", client);
            close(client);
        }
    }
}

/* Tries every connection once. Returns how many there are. */
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

static void begin_stop(struct server *server, int backlog_max)
{
    accept_clients(server, backlog_max); /* all who wait: they have been told that they are in */
    close(server->listener);
    server->listener = -1;
    server->deadline = net_now_ms() + CONN_STOP_MS;
    for (int fd = 0; fd < server->conns.size; fd++) {
        struct conn *conn = conn_at(&server->conns, fd);
        if (conn)
            conn_stop(conn);
    }
}

static void run(struct server *server, int backlog_max)
{
    for (;;) {
        if (signalled && server->listener >= 0)
            begin_stop(server, backlog_max);
        if (server->listener >= 0)
            accept_clients(server, ACCEPTS_PER_SWEEP);
        int open = sweep(server);
        if (server->listener < 0 && (open == 0 || net_now_ms() >= server->deadline))
            return;
    }
}

int main(int argc, char **argv)
{
    struct net_settings settings = net_parse(argc, argv, NULL);
    struct server server = {.listener = net_listen(&settings, true)};
    if (server.listener < 0)
        return 1;
    const struct sigaction action = {.sa_handler = on_signal};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    if (net_announce(server.listener) < 0)
        return 1;
    run(&server, net_backlog_max(settings.backlog));
    conn_table_free(&server.conns);
    return 0;
}
