/* The smallest server on epoll: the kernel keeps the set, and names only those that are ready.
 *
 * It loses the bytes that send() has no room for. When descriptors run out it asks accept() again
 * and again, and burns a core. A signal ends it at once, whatever it owes. server.c does better. */
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net.h"
#include "options.h"

static int epoll;

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
    struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0)
        net_turn_away(fd, strerror(errno));
}

int main(int argc, char **argv)
{
    struct net_settings settings = options_parse(argc, argv, NULL);
    epoll = epoll_create1(EPOLL_CLOEXEC);
    int listener = net_listen(&settings, true);
    if (epoll < 0 || listener < 0 || net_announce(listener) < 0)
        return 1;
    watch(listener);
    for (;;) {
        struct epoll_event ready[64];
        int count = epoll_wait(epoll, ready, 64, -1);
        for (int i = 0; i < count; i++) {
            int client, fd = ready[i].data.fd;
            if (fd != listener && !echo(fd))
                close(fd); /* the kernel forgets it, too: nobody has dup()ed it */
            if (fd == listener && net_accept(listener, true, &client) == NET_CLIENT)
                watch(client);
        }
    }
}
