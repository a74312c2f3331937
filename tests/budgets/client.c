/* A client that makes a known amount of work: so many echoes on so many connections.
 *
 *   client PORT CONNECTIONS ECHOES PID
 *
 * In a round it sends a 64-byte message on each connection, and then reads all echoes. The server
 * PID must do the same work each time, however busy the machine is. So a round begins when the
 * server is asleep, and with several connections the client stops it (SIGSTOP) until all messages
 * have been sent: the server finds them in one turn. Reads /proc: Linux only. Checks what comes
 * back, and exits with 0 if all was well. */
#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <signal.h>
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

static char state_of(pid_t pid) /* proc_pid_stat(5); 0 when there is no such process */
{
    char path[64];
    char state = 0;
    snprintf(path, sizeof path, "/proc/%ld/stat", (long)pid);
    FILE *file = fopen(path, "r");
    if (!file)
        return 0;
    if (fscanf(file, "%*d (%*[^)]) %c", &state) != 1)
        state = 0;
    fclose(file);
    return state;
}

static void await_state(pid_t pid, char wanted) /* 'S': asleep, 'T': stopped */
{
    const int step_us = 100;
    struct timespec step = {.tv_nsec = step_us * 1000L};
    for (long left = PATIENCE_S * 1000000L / step_us; state_of(pid) != wanted; left--) {
        if (left == 0) {
            fprintf(stderr, "client: the server is not in state %c\n", wanted);
            exit(1);
        }
        nanosleep(&step, NULL);
    }
}

/* What is sent between hold() and let_go() waits for the server. */
static void hold(pid_t server, int connections)
{
    await_state(server, 'S');
    if (connections == 1)
        return;
    kill(server, SIGSTOP);
    await_state(server, 'T'); /* kill() returns before that */
}

static void let_go(pid_t server, int connections)
{
    if (connections > 1)
        kill(server, SIGCONT);
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
    if (argc != 5) {
        fprintf(stderr, "usage: client PORT CONNECTIONS ECHOES PID\n");
        return 2;
    }
    int connections = atoi(argv[2]);
    long echoes = atol(argv[3]);
    pid_t server = (pid_t)atol(argv[4]);
    if (connections < 1 || connections > CONNECTIONS_MAX || server < 1)
        return 2;
    hold(server, connections);
    for (int i = 0; i < connections; i++)
        sockets[i] = connect_to(atoi(argv[1]));
    let_go(server, connections);
    for (long round = 0; round < echoes; round++) {
        hold(server, connections);
        send_round(connections, round);
        let_go(server, connections);
        receive_round(connections, round);
    }
    return 0;
}
