/* The smallest server on poll(): one thread sleeps until one of many clients has spoken.
 *
 * It loses the bytes that send() has no room for. When descriptors run out it asks accept() again
 * and again, and burns a core. A signal ends it at once, whatever it owes. server.c does better. */
#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net.h"
#include "options.h"

enum { MAX = 65536 };
static struct pollfd watched[MAX]; /* by descriptor; .fd is -1 where there is no client */
static int count;                  /* the largest descriptor so far, plus 1 */

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
    while (count <= fd)
        watched[count++].fd = -1;
    watched[fd] = (struct pollfd){.fd = fd, .events = POLLIN};
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
        poll(watched, (nfds_t)count, -1);
        for (int fd = 0; fd < count; fd++)
            if (fd != listener && watched[fd].revents != 0 && !echo(fd)) {
                watched[fd].fd = -1;
                close(fd);
            }
        if (watched[listener].revents != 0 && net_accept(listener, true, &client) == NET_CLIENT)
            watch(client);
    }
}
