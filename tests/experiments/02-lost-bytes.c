/* "Send all" on a non-blocking socket, with the error swallowed.
 *
 *     while (length > 0) {
 *         ssize_t sent = send(fd, bytes, length, 0);
 *         if (sent < 0)
 *             break;                 "EAGAIN is harmless, go on"
 *
 * It is harmless when reading, where nothing was lost. When writing, the rest of the buffer is
 * lost. A client that reads while it writes may never notice. A client that writes first does.
 *
 * Expect:
 *   the client sent 40000000 bytes, and got <n> back: <n> are lost
 */
#include "experiment.h"

#include <poll.h>
#include <pthread.h>

enum { TOTAL = 40 * 1000 * 1000, PIECE = 64 * 1024 };

static void send_all(int fd, const char *bytes, ssize_t length)
{
    while (length > 0) {
        ssize_t sent = send(fd, bytes, (size_t)length, MSG_NOSIGNAL);
        if (sent < 0)
            break; /* wrong: these bytes are gone */
        bytes += sent;
        length -= sent;
    }
}

static void *serve(void *argument)
{
    static char buffer[PIECE];
    struct pollfd client = {.fd = (int)(intptr_t)argument, .events = POLLIN};
    ssize_t got;
    nonblocking(client.fd);
    do {
        poll(&client, 1, -1);
        got = recv(client.fd, buffer, sizeof buffer, 0);
        if (got > 0)
            send_all(client.fd, buffer, got);
    } while (got > 0 || (got < 0 && errno == EAGAIN));
    close(client.fd);
    return NULL;
}

static void send_everything(int fd)
{
    static const char bytes[PIECE];
    for (int done = 0; done < TOTAL;) {
        int length = TOTAL - done < PIECE ? TOTAL - done : PIECE;
        ssize_t sent = send(fd, bytes, (size_t)length, 0);
        if (sent < 0)
            err(1, "client's send");
        done += (int)sent;
    }
    shutdown(fd, SHUT_WR);
}

int main(void)
{
    static char bytes[PIECE];
    struct pair pair = connection();
    pthread_t server;
    int got = 0;

    pthread_create(&server, NULL, serve, (void *)(intptr_t)pair.server);
    send_everything(pair.client);
    for (ssize_t n; (n = recv(pair.client, bytes, sizeof bytes, 0)) > 0; got += (int)n)
        ;
    pthread_join(server, NULL);
    printf("the client sent %d bytes, and got %d back: %d are lost\n", TOTAL, got, TOTAL - got);
    expect(got < TOTAL, "bytes are lost");
    claim("An exception from a non-blocking sendall() may be passed over", "false", got == TOTAL, 1,
          "%d of %d bytes come back", got, TOTAL);
    return experiment_failed;
}
