/* The conversation that bench/trace draws: three clients of one echo server, with fixed pauses.
 *
 *   conversation PORT               A says hello; B connects and is silent; C sends 70,000 bytes;
 *                                   A says one word more and half-closes; B and C leave
 *   conversation PORT --hello       one client says hello, gets it back, leaves
 *
 * Prints one line for whatever a client does: TIME CLIENT ITS-PORT WHAT. The time is that of the
 * clock that strace uses. */
#include <err.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { PAUSE_MS = 20, LARGE = 70000 };

struct client {
    int fd, port;
    char name;
};

static void pause_ms(int ms)
{
    nanosleep(&(struct timespec){.tv_nsec = ms * 1000000L}, NULL);
}

static void tell(const struct client *client, const char *what)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    printf("%ld.%06ld %c %d %s\n", (long)t.tv_sec, t.tv_nsec / 1000, client->name, client->port,
           what);
}

static struct client join(char name, int port)
{
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons((uint16_t)port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct client client = {.fd = socket(AF_INET, SOCK_STREAM, 0), .name = name};
    struct timeval patience = {.tv_sec = 10};
    socklen_t length = sizeof address;

    setsockopt(client.fd, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    tell(&client, "connects");
    if (connect(client.fd, (struct sockaddr *)&address, length) < 0)
        err(1, "connect");
    getsockname(client.fd, (struct sockaddr *)&address, &length);
    client.port = ntohs(address.sin_port);
    tell(&client, "(connected)"); /* for its port: nobody draws it */
    return client;
}

static void say(const struct client *client, const char *bytes, size_t length, const char *what)
{
    tell(client, what);
    if (send(client->fd, bytes, length, MSG_NOSIGNAL) != (ssize_t)length)
        err(1, "send");
}

static void hear(const struct client *client, size_t length, const char *what)
{
    static char bytes[LARGE];
    if (recv(client->fd, bytes, length, MSG_WAITALL) != (ssize_t)length)
        err(1, "the echo of client %c", client->name);
    tell(client, what);
}

static void leave(const struct client *client)
{
    tell(client, "leaves");
    close(client->fd);
}

static void hello(struct client *client)
{
    say(client, "hello", 5, "says \"hello\"");
    hear(client, 5, "hears \"hello\"");
}

static void three_clients(int port)
{
    static char large[LARGE];
    char byte;
    struct client a = join('A', port);
    hello(&a);
    pause_ms(PAUSE_MS);
    struct client b = join('B', port);
    pause_ms(PAUSE_MS);
    struct client c = join('C', port);
    memset(large, 'x', sizeof large);
    say(&c, large, sizeof large, "says 70,000 bytes");
    hear(&c, sizeof large, "hears 70,000 bytes");
    pause_ms(PAUSE_MS);
    say(&a, "again", 5, "says \"again\"");
    tell(&a, "half-closes");
    shutdown(a.fd, SHUT_WR);
    hear(&a, 5, "hears \"again\"");
    if (recv(a.fd, &byte, 1, 0) != 0)
        err(1, "the end of client A");
    tell(&a, "hears the end");
    close(a.fd);
    pause_ms(PAUSE_MS);
    leave(&b);
    pause_ms(PAUSE_MS);
    leave(&c);
    pause_ms(PAUSE_MS);
}

int main(int argc, char **argv)
{
    if (argc < 2)
        errx(2, "which port?");
    pause_ms(PAUSE_MS); /* the server is asleep by now */
    if (argc < 3) {
        three_clients(atoi(argv[1]));
    } else {
        struct client a = join('A', atoi(argv[1]));
        hello(&a);
        pause_ms(PAUSE_MS); /* who asks for more is told that there is none, not of our end */
        leave(&a);
        pause_ms(PAUSE_MS);
    }
    return 0;
}
