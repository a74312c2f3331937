/* The smallest server on a reactor: the loop is a library, and calls us for each that is ready.
 *
 * It loses the bytes that send() has no room for. When descriptors run out it asks accept() again
 * and again, and burns a core. A signal ends it at once, whatever it owes. server.c does better. */
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/socket.h>

#include "net.h"
#include "options.h"
#include "reactor.h"

/* Returns false when the client has gone. */
static bool echo(int fd)
{
    char bytes[16 * 1024];
    ssize_t got = recv(fd, bytes, sizeof bytes, 0);
    if (got > 0)
        send(fd, bytes, (size_t)got, 0);
    return got > 0 || (got < 0 && errno == EAGAIN);
}

static void on_client(struct reactor *reactor, int fd, unsigned ready, void *argument)
{
    (void)ready;
    (void)argument;
    if (!echo(fd))
        reactor_close(reactor, fd);
}

static void on_listener(struct reactor *reactor, int listener, unsigned ready, void *argument)
{
    int client;
    (void)ready;
    (void)argument;
    if (net_accept(listener, true, &client) == NET_CLIENT &&
        reactor_add(reactor, client, REACTOR_READ, on_client, NULL) < 0)
        net_turn_away(client, strerror(errno));
}

int main(int argc, char **argv)
{
    struct net_settings settings = options_parse(argc, argv, NULL);
    struct reactor *reactor = reactor_create(NULL);
    int listener = net_listen(&settings, true);
    if (!reactor || listener < 0 || net_announce(listener) < 0 ||
        reactor_add(reactor, listener, REACTOR_READ, on_listener, NULL) < 0)
        return 1;
    return reactor_run(reactor) < 0;
}
