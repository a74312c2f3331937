/* A client that makes work of a known amount: so many echoes on so many connections.
 *
 *   client PORT CONNECTIONS ECHOES [PAUSE_US]
 *
 * All connections are sent a 64-byte message, then all are read from, and so on, until each has
 * had ECHOES of them. PAUSE_US before each round lets the server fall asleep, so that no message
 * finds it awake. Checks what comes back; prints nothing; exit code 0 when all was well. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { MESSAGE = 64, CONNECTIONS_MAX = 1024, PATIENCE_S = 20 };

static int sockets[CONNECTIONS_MAX];

static int connect_to(int port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct timeval limit = {.tv_sec = PATIENCE_S};
    int on = 1;
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    if (fd < 0 || connect(fd, (struct sockaddr *)&to, sizeof to) != 0) {
        perror("connect");
        exit(1);
    }
    return fd;
}

static void fill(char *message, long round, int number)
{
    for (int i = 0; i < MESSAGE; i++)
        message[i] = (char)(round * 7 + number * 31 + i);
}

static void send_round(int connections, long round)
{
    char message[MESSAGE];
    for (int i = 0; i < connections; i++) {
        fill(message, round, i);
        if (send(sockets[i], message, MESSAGE, MSG_NOSIGNAL) != MESSAGE) {
            perror("send");
            exit(1);
        }
    }
}

static void receive_round(int connections, long round)
{
    char expected[MESSAGE];
    char message[MESSAGE];
    for (int i = 0; i < connections; i++) {
        fill(expected, round, i);
        if (recv(sockets[i], message, MESSAGE, MSG_WAITALL) != MESSAGE ||
            memcmp(message, expected, MESSAGE) != 0) {
            fprintf(stderr, "client: wrong or no echo: %s\n", strerror(errno));
            exit(1);
        }
    }
}

int main(int argc, char **argv)
{
    if (argc < 4) {
        fprintf(stderr, "usage: client PORT CONNECTIONS ECHOES [PAUSE_US]\n");
        return 2;
    }
    int connections = atoi(argv[2]);
    long echoes = atol(argv[3]);
    struct timespec pause = {.tv_nsec = argc > 4 ? atol(argv[4]) * 1000 : 0};
    if (connections < 1 || connections > CONNECTIONS_MAX)
        return 2;
    for (int i = 0; i < connections; i++)
        sockets[i] = connect_to(atoi(argv[1]));
    for (long round = 0; round < echoes; round++) {
        if (pause.tv_nsec > 0)
            nanosleep(&pause, NULL);
        send_round(connections, round);
        receive_round(connections, round);
    }
    return 0;
}
