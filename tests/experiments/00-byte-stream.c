/* What TCP carries: bytes in order, without borders, and an end.
 *
 * TCP does not carry how the bytes were cut into send()s: several arrive in one recv(), or one in
 * several. When the other end closes, recv() says 0 after the last byte. That means that no more
 * will come. It does not mean that nobody listens: this shows only when we send, and the other
 * kernel answers by RST.
 *
 * Expect:
 *   3 send()s of 5 bytes: 1 recv(), 15 bytes
 *   1 send() of 1000000 bytes: <n> recv()s, 1000000 bytes
 *   the client closes: recv() says 0
 *   we send to it all the same: send() says 1
 *   and once more: Broken pipe
 *   a client resets: recv() says Connection reset by peer
 *   nobody listens: connect() says Connection refused
 */
#include "experiment.h"

#include <pthread.h>
#include <signal.h>

enum { LARGE = 1000000, PIECE = 65536 };

static void *send_large(void *argument)
{
    static const char bytes[LARGE];
    if (send((int)(intptr_t)argument, bytes, LARGE, 0) != LARGE)
        err(1, "send");
    return NULL;
}

static void no_borders(struct pair pair)
{
    static char bytes[PIECE];
    pthread_t sender;
    int calls = 0, total = 0;

    for (int i = 0; i < 3; i++)
        if (send(pair.client, "hello", 5, 0) != 5)
            err(1, "send");
    await_bytes(pair.server, 15);
    ssize_t got = recv(pair.server, bytes, sizeof bytes, 0);
    printf("3 send()s of 5 bytes: 1 recv(), %zd bytes\n", got);
    expect(got == 15 && !memcmp(bytes, "hellohellohello", 15), "all of them in one");

    pthread_create(&sender, NULL, send_large, (void *)(intptr_t)pair.client);
    for (; total < LARGE; calls++) {
        if ((got = recv(pair.server, bytes, sizeof bytes, 0)) <= 0)
            err(1, "recv");
        total += (int)got;
    }
    pthread_join(sender, NULL);
    printf("1 send() of %d bytes: %d recv()s, %d bytes\n", LARGE, calls, total);
    expect(calls > 1, "one in several");
}

static void its_end(struct pair pair)
{
    struct pollfd lost = {.fd = pair.server}; /* POLLERR and POLLHUP come unasked */
    char byte = 'x';

    close(pair.client);
    ssize_t end = recv(pair.server, &byte, 1, 0);
    printf("the client closes: recv() says %zd\n", end);
    ssize_t sent = send(pair.server, &byte, 1, 0);
    printf("we send to it all the same: send() says %zd\n", sent);
    poll(&lost, 1, 10000);
    bool broken = send(pair.server, &byte, 1, 0) < 0 && errno == EPIPE;
    printf("and once more: %s\n", broken ? strerror(EPIPE) : "sent");
    expect(end == 0 && sent == 1 && broken, "FIN, then RST");
    close(pair.server);
}

static void lost_and_refused(void)
{
    struct pair pair = connection();
    struct sockaddr_in address = loopback(0);
    socklen_t length = sizeof address;
    int taken = socket(AF_INET, SOCK_STREAM, 0), client = socket(AF_INET, SOCK_STREAM, 0);
    char byte;

    close_with_reset(pair.client);
    bool reset = recv(pair.server, &byte, 1, 0) < 0 && errno == ECONNRESET;
    printf("a client resets: recv() says %s\n", reset ? strerror(ECONNRESET) : "nothing");
    if (bind(taken, (struct sockaddr *)&address, length) < 0) /* a port, without listen() */
        err(1, "bind");
    address = loopback(port_of(taken));
    bool refused =
        connect(client, (struct sockaddr *)&address, length) < 0 && errno == ECONNREFUSED;
    printf("nobody listens: connect() says %s\n", refused ? strerror(ECONNREFUSED) : "yes");
    expect(reset && refused, "both are errors");
}

int main(void)
{
    struct pair pair = connection();
    signal(SIGPIPE, SIG_IGN); /* or the second send() would end this process */
    no_borders(pair);
    its_end(pair);
    lost_and_refused();
    return experiment_failed;
}
