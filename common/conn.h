/* One echoing connection. It knows bytes and never waits: a chapter calls conn_turn() when the
 * descriptor is ready, or may be, and the answer says what to wait for next. */
#ifndef CONN_H
#define CONN_H

#include <stdbool.h>
#include <stddef.h>

enum {
    CONN_HELD_MAX = 64 * 1024, /* bytes held per connection, and moved per turn, at most */
    CONN_STOP_MS = 1000,       /* how long a stopping server waits for its clients */
};

enum conn_next {
    CONN_CLOSE, /* nothing more to do: conn_close() */
    CONN_READ,  /* wait until it is readable */
    CONN_WRITE, /* bytes are unsent: wait until it is writable, and do not read */
};

struct conn {
    int fd;                /* -1: this slot of the table is free */
    int left;              /* once stopping: bytes that had arrived and are still to be echoed */
    struct unsent *unsent; /* NULL, and no memory held, while everything is sent */
    enum conn_next next;   /* the last turn's answer */
    bool would_block;      /* the last turn ended on EAGAIN: until a new event it is in vain */
    bool stopping, fin_sent;
    unsigned char quiet; /* set to 0 when bytes move; a chapter with a timer counts it up */
};

/* Connections by descriptor. The kernel hands out the lowest free number, so there are few gaps.
 * {0} is an empty table. Growing it moves every struct conn: keep descriptors, not pointers. */
struct conn_table {
    struct conn *slot;
    int size, capacity; /* slots in use or once used, slots allocated */
};

/* Enters a connected, non-blocking socket, which then belongs to the table. Returns its
 * connection, or NULL when memory is out; the descriptor then still is the caller's. */
struct conn *conn_open(struct conn_table *table, int fd);

/* The connection with this descriptor, or NULL. */
static inline struct conn *conn_at(const struct conn_table *table, int fd)
{
    return fd < table->size && table->slot[fd].fd == fd ? &table->slot[fd] : NULL;
}

/* Closes the descriptor. If the client is still owed bytes, they are dropped, and it gets RST and
 * not FIN: it must not take what it has for all. RST also throws away what the kernel has taken
 * from us and not yet sent. */
void conn_close(struct conn *conn);

/* One turn: at most one recv() and one send(), so that nobody else waits for long. A partial
 * send() keeps the rest. A client's FIN answers CONN_CLOSE, once everything owed has been handed to
 * the kernel (half-close, RFC 9293 section 3.6); an error, or no memory for the rest, does so at
 * once, and then conn_close() sends RST. Sets and returns next. */
enum conn_next conn_turn(struct conn *conn);

/* The server stops. From the next turn on, only what has arrived until now is still echoed; then
 * FIN is sent, and what comes after is thrown away: close() with unread input would send RST and
 * destroy the echo still on its way (RFC 1122 section 4.2.2.13). The turns go on as before. */
void conn_stop(struct conn *conn);

/* Closes whoever is left, as conn_close(), and frees the table. */
void conn_table_free(struct conn_table *table);

#endif
