/* The first server that most people write: one client at a time.
 *
 * While one client is connected, all others wait in the backlog, however little it says. Everything
 * after this file is about not making them wait.
 *
 * It keeps less than the contract asks: SIGTERM ends it where it stands. What it echoes is right.
 */
#include <errno.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/types.h>
#include <unistd.h>

#include "log.h"
#include "net.h"
#include "options.h"

/* A blocking send() waits for room, but after a signal it may still take less than all. */
static int send_all(int fd, const char *bytes, size_t length)
{
    while (length > 0) {
        ssize_t sent = send(fd, bytes, length, 0);
        if (sent < 0 && errno != EINTR)
            return -1;
        if (sent > 0) {
            bytes += sent;
            length -= (size_t)sent;
        }
    }
    return 0;
}

static void serve(int fd)
{
    char buffer[16 * 1024];
    ssize_t received;

    /* recv() sleeps here until this client speaks. So does the whole server. */
    while ((received = recv(fd, buffer, sizeof buffer, 0)) != 0) {
        if (received < 0 && errno == EINTR)
            continue;
        if (received < 0 || send_all(fd, buffer, (size_t)received) < 0) {
            if (log_verbose)
                log_event("client %d: %s", fd, strerror(errno));
            return;
        }
    }
}

int main(int argc, char **argv)
{
    struct net_settings settings = options_parse(argc, argv, NULL);
    int listener = net_listen(&settings, false);
    if (listener < 0)
        return 1;
    if (net_announce(listener) < 0)
        return 1;
    for (;;) {
        int client;
        enum net_accepted got = net_accept(listener, false, &client);
        if (got == NET_EXHAUSTED)
            sleep(1); /* out of descriptors, and this server frees none: hope that others do */
        if (got != NET_CLIENT)
            continue;
        serve(client);
        close(client);
    }
}
