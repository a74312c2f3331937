/* The smallest server on select(): one thread sleeps until one of many clients has spoken.
 *
 * It loses the bytes that send() has no room for. When descriptors run out it asks accept() again
 * and again, and burns a core. A signal ends it at once, whatever it owes. server.c does better. */
#include <errno.h>
#include <stdbool.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net.h"
#include "options.h"

static fd_set watched; /* a bit for each descriptor from 0 to FD_SETSIZE - 1 */
static int highest;    /* the largest descriptor so far */

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
    if (fd >= FD_SETSIZE) {
        net_turn_away(fd, "there is no bit for it");
        return;
    }
    FD_SET(fd, &watched);
    if (fd > highest)
        highest = fd;
}

int main(int argc, char **argv)
{
    struct net_settings settings = options_parse(argc, argv, NULL);
    int listener = net_listen(&settings, true);
    if (listener < 0 || net_announce(listener) < 0)
        return 1;
    watch(listener);
    for (;;) {
        int client;
        fd_set ready = watched; /* a copy: select() leaves in it only those that are ready */
        select(highest + 1, &ready, NULL, NULL, NULL);
        for (int fd = 0; fd <= highest; fd++)
            if (fd != listener && FD_ISSET(fd, &ready) && !echo(fd)) {
                FD_CLR(fd, &watched);
                close(fd);
            }
        if (FD_ISSET(listener, &ready) && net_accept(listener, true, &client) == NET_CLIENT)
            watch(client);
    }
}
