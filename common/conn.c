#include "conn.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "log.h"
#include "net.h"

struct unsent {
    size_t start, end;
    char bytes[];
};

/* One turn's bytes pass through here. Nothing stays in it from one turn to the next. */
static _Thread_local char scratch[CONN_HELD_MAX];

/* A call has failed. Either the socket is not ready, or the client is lost. */
static enum conn_next after_error(struct conn *conn, enum conn_next next)
{
    conn->would_block = errno == EAGAIN || errno == EWOULDBLOCK;
    if (conn->would_block || errno == EINTR)
        return next;
    if (log_verbose)
        log_event("client %d: %s", conn->fd, strerror(errno));
    net_reset_on_close(conn->fd);
    return CONN_CLOSE;
}

static enum conn_next keep_unsent(struct conn *conn, const char *bytes, size_t length)
{
    struct unsent *unsent = malloc(sizeof *unsent + length);
    if (!unsent) {
        log_error("client %d lost", conn->fd);
        net_reset_on_close(conn->fd);
        return CONN_CLOSE;
    }
    *unsent = (struct unsent){.end = length};
    memcpy(unsent->bytes, bytes, length);
    conn->unsent = unsent;
    return CONN_WRITE;
}

static enum conn_next send_unsent(struct conn *conn)
{
    struct unsent *unsent = conn->unsent;
    ssize_t sent = send(conn->fd, unsent->bytes + unsent->start, unsent->end - unsent->start, 0);
    if (sent < 0)
        return after_error(conn, CONN_WRITE);
    conn->idle_ticks = 0;
    unsent->start += (size_t)sent;
    if (unsent->start < unsent->end)
        return CONN_WRITE;
    free(unsent);
    conn->unsent = NULL;
    return CONN_READ;
}

static inline enum conn_next echo(struct conn *conn, size_t max)
{
    ssize_t received = recv(conn->fd, scratch, max, 0);
    if (received < 0)
        return after_error(conn, CONN_READ);
    if (received == 0)
        return CONN_CLOSE; /* the client's FIN, and we owe nothing: we read only then */
    conn->idle_ticks = 0;
    if (conn->stopping)
        conn->owed -= (int)received;
    ssize_t sent = send(conn->fd, scratch, (size_t)received, 0);
    if (sent == received)
        return CONN_READ;
    if (sent < 0) {
        if (after_error(conn, CONN_WRITE) == CONN_CLOSE)
            return CONN_CLOSE;
        sent = 0;
    }
    return keep_unsent(conn, scratch + sent, (size_t)(received - sent));
}

/* A turn once the server stops: echoes what is owed, then sends FIN, then discards what comes until
 * the client's FIN. */
static enum conn_next drain_turn(struct conn *conn)
{
    enum conn_next next = CONN_READ;
    if (conn->fin_sent) {
        ssize_t received = recv(conn->fd, scratch, sizeof scratch, 0);
        if (received < 0)
            return after_error(conn, CONN_READ);
        return received == 0 ? CONN_CLOSE : CONN_READ;
    }
    if (conn->unsent)
        next = send_unsent(conn);
    else if (conn->owed > 0)
        next = echo(conn, conn->owed < CONN_HELD_MAX ? (size_t)conn->owed : CONN_HELD_MAX);
    if (next == CONN_READ && conn->owed == 0) {
        shutdown(conn->fd, SHUT_WR);
        conn->fin_sent = true;
    }
    return next;
}

enum conn_next conn_turn(struct conn *conn)
{
    conn->would_block = false;
    if (conn->stopping)
        conn->next = drain_turn(conn);
    else
        conn->next = conn->unsent ? send_unsent(conn) : echo(conn, CONN_HELD_MAX);
    return conn->next;
}

void conn_stop(struct conn *conn)
{
    if (ioctl(conn->fd, FIONREAD, &conn->owed) < 0)
        conn->owed = 0;
    conn->stopping = true;
}

struct conn *conn_open(struct conn_table *table, int fd)
{
    if (fd >= table->capacity) {
        int capacity = fd < 64 ? 128 : 2 * fd;
        struct conn *slot = realloc(table->slot, (size_t)capacity * sizeof *slot);
        if (!slot)
            return NULL;
        table->slot = slot;
        table->capacity = capacity;
    }
    while (table->size <= fd)
        table->slot[table->size++] = (struct conn){.fd = -1};
    table->slot[fd] = (struct conn){.fd = fd, .next = CONN_READ, .would_block = true};
    return &table->slot[fd];
}

int conn_release(struct conn *conn)
{
    int fd = conn->fd;
    if (conn->unsent || conn->owed > 0)
        net_reset_on_close(fd);
    free(conn->unsent);
    *conn = (struct conn){.fd = -1};
    return fd;
}

void conn_close(struct conn *conn)
{
    close(conn_release(conn));
}

void conn_table_free(struct conn_table *table)
{
    for (int fd = 0; fd < table->size; fd++)
        if (conn_at(table, fd))
            conn_close(&table->slot[fd]);
    free(table->slot);
    *table = (struct conn_table){0};
}
