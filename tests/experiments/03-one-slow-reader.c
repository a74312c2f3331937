/* One client that does not read, and all the others wait for it.
 *
 * A sends much and reads nothing of its echo. The server has one thread. If its send() blocks, the
 * thread waits until A reads, and nobody asks select() that B has spoken. A send() that does not
 * block takes what there is room for; the server keeps the rest, waits until A is writable, and
 * meanwhile B is served.
 *
 * Expect:
 *   send() that blocks: B waited <n> ms for one byte, until A read
 *   send() that does not block: B waited <n> ms, and A's echo came when A read
 */
#include "experiment.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/select.h>

/* The buffers on the way to A are made small, and what A sends is more than they hold. */
enum { BUFFER = 8 * 1024, LENGTH = 5 * BUFFER, PATIENCE_MS = 300 };

struct conn {
    int fd; /* -1: the client has left */
    char kept[LENGTH];
    size_t length, sent;
};

struct server {
    struct conn conn[2]; /* A and B */
    int flags;           /* for send() */
    atomic_bool is_there, may_begin;
};

/* Sends what is kept, or as much of it as there is room for. */
static void send_kept(struct conn *conn, int flags)
{
    ssize_t sent = send(conn->fd, conn->kept + conn->sent, conn->length - conn->sent, flags);
    conn->sent += sent > 0 ? (size_t)sent : 0;
    if (conn->sent == conn->length)
        conn->sent = conn->length = 0;
}

static void read_and_echo(struct conn *conn, int flags)
{
    ssize_t got = recv(conn->fd, conn->kept, sizeof conn->kept, 0);
    if (got > 0) {
        conn->length = (size_t)got;
        send_kept(conn, flags);
    } else {
        close(conn->fd);
        conn->fd = -1;
    }
}

/* Reads from a client that is owed nothing. A client that is owed bytes must take them first. */
static void *serve(void *argument)
{
    struct server *server = argument;
    struct conn *a = &server->conn[0], *b = &server->conn[1];
    server->is_there = true;
    while (!server->may_begin)
        pause_ms(1);
    while (a->fd >= 0 || b->fd >= 0) {
        fd_set readers, writers;
        FD_ZERO(&readers);
        FD_ZERO(&writers);
        for (struct conn *conn = a; conn <= b; conn++)
            if (conn->fd >= 0)
                FD_SET(conn->fd, conn->length > 0 ? &writers : &readers);
        int max_fd = a->fd > b->fd ? a->fd : b->fd;
        if (select(max_fd + 1, &readers, &writers, NULL, NULL) < 0)
            err(1, "select");
        for (struct conn *conn = a; conn <= b; conn++) {
            if (conn->fd >= 0 && FD_ISSET(conn->fd, &writers))
                send_kept(conn, server->flags);
            else if (conn->fd >= 0 && FD_ISSET(conn->fd, &readers))
                read_and_echo(conn, server->flags);
        }
    }
    return NULL;
}

/* A connection with small buffers on the way to the client. */
static struct pair small_connection(void)
{
    struct pair pair = {.client = socket(AF_INET, SOCK_STREAM, 0)};
    int listener = listen_on_loopback(1), size = BUFFER;
    struct sockaddr_in address = loopback(port_of(listener));
    setsockopt(listener, SOL_SOCKET, SO_SNDBUF, &size, sizeof size); /* accept() inherits it */
    setsockopt(pair.client, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    if (connect(pair.client, (struct sockaddr *)&address, sizeof address) < 0 ||
        (pair.server = accept(listener, NULL, NULL)) < 0)
        err(1, "connect");
    close(listener);
    return pair;
}

static bool readable_within(int fd, int ms)
{
    struct pollfd entry = {.fd = fd, .events = POLLIN};
    return poll(&entry, 1, ms) == 1;
}

/* Returns whether B heard its echo before A read anything. */
static bool heard_before_a_read(const char *name, int flags, int patience_ms, double *waited)
{
    static char bytes[LENGTH];
    struct pair a = small_connection(), b = connection();
    struct server server = {.conn = {{.fd = a.server}, {.fd = b.server}}, .flags = flags};
    pthread_t thread;
    char byte = 'b';

    memset(bytes, 'a', sizeof bytes);
    pthread_create(&thread, NULL, serve, &server);
    while (!server.is_there)
        pause_ms(1);
    scene(name);
    if (send(a.client, bytes, sizeof bytes, 0) != sizeof bytes)
        err(1, "send");
    await_bytes(a.server, sizeof bytes); /* so that the server gets it in one piece */
    server.may_begin = true;
    await_arrival(a.client); /* now the server is in send(), or has been */
    double begin = now();
    if (send(b.client, &byte, 1, 0) != 1)
        err(1, "send");
    bool early = readable_within(b.client, patience_ms);
    *waited = now() - begin;
    if (early && recv(b.client, &byte, 1, 0) != 1)
        err(1, "recv");
    if (early)
        pause_ms(PATIENCE_MS); /* A is as slow as before */
    bool complete = recv(a.client, bytes, sizeof bytes, MSG_WAITALL) == sizeof bytes;
    if (!early && recv(b.client, &byte, 1, 0) != 1)
        err(1, "recv");
    *waited = early ? *waited : now() - begin;
    pause_ms(20); /* the server asks select() again */
    scene_end();
    expect(complete && byte == 'b', "in the end both get their echo");
    close(a.client);
    close(b.client);
    pthread_join(thread, NULL);
    return early;
}

int main(void)
{
    double waited;
    bool early = heard_before_a_read("send() that blocks", 0, PATIENCE_MS, &waited);
    printf("send() that blocks: B waited %.0f ms for one byte, until A read\n", waited * 1000);
    expect(!early && waited >= PATIENCE_MS / 1000., "a send() to A keeps B waiting");

    early = heard_before_a_read("send() that does not block, and the rest is kept", MSG_DONTWAIT,
                                10000, &waited);
    printf("send() that does not block: B waited %.1f ms, and A's echo came when A read\n",
           waited * 1000);
    expect(early, "B hears before A reads");
    return experiment_failed;
}
