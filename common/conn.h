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
    int owed;              /* once stopping: bytes that had arrived and are still to be echoed */
    struct unsent *unsent; /* NULL, and no memory held, while everything is sent */
    enum conn_next next;   /* the last turn's answer */
    bool would_block;      /* the last turn ended on EAGAIN: another needs a new event */
    bool stopping, fin_sent;
    unsigned char idle_ticks; /* set to 0 when bytes move; a chapter with a timer counts it up */
};

/* Connections by descriptor. The kernel hands out the lowest free number, so there are few gaps.
 * {0} is an empty table. Growing moves every struct conn: keep descriptors, not pointers. */
struct conn_table {
    struct conn *slot;
    int size, capacity; /* slots in use or once used, slots allocated */
};

/* Enters a connected, non-blocking socket, which then belongs to the table. Returns NULL with errno
 * when memory is out; the descriptor then stays the caller's. */
struct conn *conn_open(struct conn_table *table, int fd);

/* The connection with this descriptor, or NULL. */
static inline struct conn *conn_at(const struct conn_table *table, int fd)
{
    return fd < table->size && table->slot[fd].fd == fd ? &table->slot[fd] : NULL;
}

/* Ends the connection. A client that is still owed bytes gets RST, as net_reset_on_close(). The
 * second leaves close() to the caller: it returns the descriptor. */
void conn_close(struct conn *conn);
int conn_release(struct conn *conn);

/* One turn: at most one recv() and one send(), so that the other clients do not wait long. A
 * partial send() keeps the rest. After the client's FIN it answers CONN_CLOSE once the kernel has
 * taken everything owed (half-close, RFC 9293 section 3.6). After an error, or without memory for
 * the rest, it does so at once, and conn_close() sends RST. Sets and returns next. */
enum conn_next conn_turn(struct conn *conn);

/* The server stops. The following turns echo what has arrived until now, send FIN, and discard what
 * comes later: close() with unread input would send RST and destroy the echo still on its way (RFC
 * 1122 section 4.2.2.13). */
void conn_stop(struct conn *conn);

/* Closes the connections that are left, as conn_close(), and frees the table. */
void conn_table_free(struct conn_table *table);

#endif
