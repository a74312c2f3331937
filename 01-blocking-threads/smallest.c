/* The smallest server with threads: one for each client, asleep while the client is silent.
 *
 * When descriptors run out it asks accept() again and again, and burns a core.
 * A signal ends it at once, whatever it owes. server.c does better. */
#include <pthread.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/socket.h>
#include <unistd.h>

#include "net.h"
#include "options.h"

/* Returns false when the client has gone. */
static bool echo(int fd)
{
    char bytes[16 * 1024];
    ssize_t got = recv(fd, bytes, sizeof bytes, 0);
    if (got > 0)
        send(fd, bytes, (size_t)got, 0);
    return got > 0;
}

static void *serve(void *argument)
{
    int fd = (int)(intptr_t)argument;
    while (echo(fd)) {
    }
    close(fd);
    return NULL;
}

static void watch(int fd)
{
    pthread_t thread;
    if (pthread_create(&thread, NULL, serve, (void *)(intptr_t)fd) != 0) {
        net_turn_away(fd, "no thread for it");
        return;
    }
    pthread_detach(thread);
}

int main(int argc, char **argv)
{
    struct net_settings settings = options_parse(argc, argv, NULL);
    int listener = net_listen(&settings, false);
    if (listener < 0 || net_announce(listener) < 0)
        return 1;
    for (;;) {
        int client;
        if (net_accept(listener, false, &client) == NET_CLIENT)
            watch(client);
    }
}
