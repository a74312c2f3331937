/* Stage 7: the same server on a reactor. What was a loop in the last chapters is now a library,
 * reactor.h; what is left is what happens when: a client arrives, a client is ready, a signal
 * comes, a time is over. Which call waits is chosen when the program starts. */
#include <signal.h>
#include <unistd.h>

#include "log.h"
#include "server.h"

enum { ACCEPTS_PER_TURN = 64, RETRY_MS = 100 }; /* after running out of descriptors */

static void on_client(struct reactor *reactor, int fd, unsigned ready, void *argument)
{
    struct server *server = argument;
    struct conn *conn = &server->conns.slot[fd]; /* the table may move, so we never keep this */
    enum conn_next before = conn->next;
    enum conn_next next = ready & REACTOR_ERROR ? CONN_CLOSE : conn_turn(conn);
    (void)reactor;
    if (next == before)
        return; /* nearly always */
    if (next == CONN_CLOSE)
        server_close_client(server, conn->fd);
    else
        reactor_modify(server->reactor, conn->fd,
                       next == CONN_WRITE ? REACTOR_WRITE : REACTOR_READ);
}

void server_close_client(struct server *server, int fd)
{
    reactor_remove(server->reactor, fd);
    conn_close(conn_at(&server->conns, fd));
    reactor_modify(server->reactor, server->listener, REACTOR_READ); /* there is room again */
    if (--server->open == 0 && server->stop.handler)
        reactor_stop(server->reactor);
}

void server_take(struct server *server, int fd)
{
    struct conn *conn = conn_open(&server->conns, fd);
    if (conn && reactor_add(server->reactor, fd, REACTOR_READ, on_client, server) == 0) {
        server->open++;
        return;
    }
    log_error("client %d turned away", fd); /* out of memory, or too high a number for select() */
    conn ? conn_close(conn) : (void)close(fd);
}

static void on_listener(struct reactor *reactor, int fd, unsigned ready, void *argument)
{
    struct server *server = argument;
    enum net_accepted got = NET_CLIENT;
    for (int i = 0, client; i < server->accepts_per_turn && got <= NET_LOST; i++) {
        got = net_accept(fd, true, &client);
        if (got == NET_CLIENT)
            server->take(server, client);
    }
    /* Pause, until somebody leaves or for a while; the same if the kernel would not watch it. */
    if (got == NET_EXHAUSTED || ready & REACTOR_ERROR) {
        reactor_modify(reactor, fd, 0);
        reactor_timer_start(reactor, &server->retry, RETRY_MS, 0);
    }
}

static void accept_again(struct reactor *reactor, struct reactor_timer *timer)
{
    struct server *server = timer->argument;
    reactor_modify(reactor, server->listener, REACTOR_READ);
}

static void time_is_up(struct reactor *reactor, struct reactor_timer *timer)
{
    (void)timer;
    reactor_stop(reactor);
}

void server_close_listener(struct server *server)
{
    if (server->listener < 0)
        return;
    server->accepts_per_turn =
        net_backlog_max(server->backlog); /* all who wait have been told: connected */
    on_listener(server->reactor, server->listener, REACTOR_READ, server);
    reactor_remove(server->reactor, server->listener);
    close(server->listener);
    server->listener = -1;
}

void server_finish(struct server *server)
{
    server->stop.handler = time_is_up;
    if (server->open == 0 ||
        reactor_timer_start(server->reactor, &server->stop, CONN_STOP_MS, 0) < 0)
        reactor_stop(server->reactor);
    for (int fd = 0; fd < server->conns.size; fd++)
        if (conn_at(&server->conns, fd)) {
            conn_stop(conn_at(&server->conns, fd));
            on_client(server->reactor, fd, 0, server);
        }
}

int server_listen(struct server *server, int listener)
{
    server->listener = listener;
    server->accepts_per_turn = ACCEPTS_PER_TURN;
    server->retry = (struct reactor_timer){.handler = accept_again, .argument = server};
    return reactor_add(server->reactor, listener, REACTOR_READ, on_listener, server);
}

int main(int argc, char **argv)
{
    return serve(argc, argv); /* serve.c: the options, and a server for each thread */
}
