/* The smallest server on kqueue: the kernel keeps the set, and names only those that are ready.
 *
 * It loses the bytes that send() has no room for. When descriptors run out it asks accept() again
 * and again, and burns a core. A signal ends it at once, whatever it owes. server.c does better. */
#include <errno.h>
#include <stdbool.h>
#include <string.h>
#include <sys/types.h> /* the BSDs want it before event.h */

#include <sys/event.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net.h"
#include "options.h"

static int kq;

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
    struct kevent change;
    EV_SET(&change, (uintptr_t)fd, EVFILT_READ, EV_ADD, 0, 0, 0);
    if (kevent(kq, &change, 1, NULL, 0, NULL) < 0)
        net_turn_away(fd, strerror(errno));
}

int main(int argc, char **argv)
{
    struct net_settings settings = options_parse(argc, argv, NULL);
    kq = kqueue();
    int listener = net_listen(&settings, true);
    if (kq < 0 || listener < 0 || net_announce(listener) < 0)
        return 1;
    watch(listener);
    for (;;) {
        struct kevent ready[64];
        int count = kevent(kq, NULL, 0, ready, 64, NULL);
        for (int i = 0; i < count; i++) {
            int client, fd = (int)ready[i].ident;
            if (fd != listener && !echo(fd))
                close(fd); /* the kernel forgets it, too: nobody has dup()ed it */
            if (fd == listener && net_accept(listener, true, &client) == NET_CLIENT)
                watch(client);
        }
    }
}
