/* The smallest server that polls busily: one thread asks each client whether it has spoken.
 *
 * It loses the bytes that send() has no room for. It burns a core: that is the price of its idea.
 * A signal ends it at once, whatever it owes. server.c does better. */
#include <errno.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net.h"
#include "options.h"

enum { MAX = 65536 };
static bool watched[MAX]; /* by descriptor */
static int highest;       /* the largest descriptor so far */

/* Returns false when the client has gone. */
static bool echo(int fd)
{
    char bytes[16 * 1024];
    ssize_t got = recv(fd, bytes, sizeof bytes, 0);
    if (got > 0)
        send(fd, bytes, (size_t)got, 0);
    return got > 0 || (got < 0 && errno == EAGAIN);
}

static void watch(int fd)
{
    if (fd >= MAX) {
        net_turn_away(fd, "the table is full");
        return;
    }
    watched[fd] = true;
    if (fd > highest)
        highest = fd;
}

int main(int argc, char **argv)
{
    struct net_settings settings = options_parse(argc, argv, NULL);
    int listener = net_listen(&settings, true);
    if (listener < 0 || net_announce(listener) < 0)
        return 1;
    for (;;) {
        int client;
        if (net_accept(listener, true, &client) == NET_CLIENT)
            watch(client);
        for (int fd = 0; fd <= highest; fd++)
            if (watched[fd] && !echo(fd)) {
                watched[fd] = false;
                close(fd);
            }
    }
}
