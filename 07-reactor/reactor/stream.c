/* Buffered connections. A stream goes through these states, in this order, and may skip some:
 *   open      on_data is called
 *   ended     the peer has sent FIN, and on_end was called; we may still send
 *   closing   the program may send no more: what is unsent goes out, then FIN
 *   lingering our FIN is sent; input is thrown away until the peer's FIN
 *   dead      at the end of the turn on_close is called, and the stream freed
 *
 * on_ready() is a turn of a stream. It receives and flushes, and settle() then decides what comes
 * next: more of the same, the end, or a new interest. */
#include "stream.h"

#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdlib.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "buffer.h"
#include "net.h"

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0 /* then the program has to ignore SIGPIPE */
#endif

enum {
    READ_MAX = 16 * 1024,
    TURN_MESSAGES = 64,     /* on_data gets this many messages in one turn, at most, */
    TURN_BYTES = 64 * 1024, /* or this many bytes */
    PEER_CHECK_MS = 1000,   /* how often we check a peer that is not watched for an error */
    LEAVE_MS = 1000, /* the time that a peer has, after its silence, to read what it is owed */
};

struct stream {
    struct reactor *reactor;
    const struct stream_handlers *handlers;
    void *argument;
    struct stream_list *list;
    struct stream *previous, *next;
    struct buffer in, out; /* what on_data has left; what is unsent */
    size_t low, high;
    struct reactor_timer end_of_turn;    /* runs if there is something to do then */
    struct reactor_timer deadline;       /* of closing */
    struct reactor_timer silence;        /* the peer may have been silent for too long */
    struct reactor_timer peer_check;     /* the peer is not watched: is it still there? */
    const struct addrinfo *next_address; /* while it connects: the one to try if this fails */
    int64_t moved_ms;                    /* when a byte last moved */
    int idle_ms;                         /* the longest silence; 0: no limit */
    int fd, error;
    uint32_t turn; /* in which these were handed to on_data: */
    int turn_messages;
    size_t turn_bytes;
    int unread; /* once stopping: how much had arrived and is not yet read */
    enum { OPEN, ENDED, CLOSING, LINGERING, DEAD } state;
    bool connecting;
    bool first_message_done;  /* the peer's first message was used up, or the peer has ended */
    bool more;                /* on_data has not been offered all that is in `in` */
    bool watched;             /* the interest is not empty */
    bool paused;              /* by the program */
    bool full;                /* by what is unsent */
    bool reads_while_full;    /* asked for by the program */
    bool blocked;             /* the kernel took no more: wait for readiness to write */
    bool finishing, fin_sent; /* FIN follows what is unsent; it has */
    bool peer_ended;          /* the peer's FIN has come */
    bool stopping;
};

/* A turn of a stream: what has arrived goes to on_data, and what is unsent goes out. Then settle()
 * decides what comes next. */
static void on_ready(struct reactor *reactor, int fd, unsigned ready, void *argument);
static void receive(struct stream *stream);
static void deliver(struct stream *stream, const char *arrived, size_t length);
static void flush(struct stream *stream);
static void settle(struct stream *stream);

/* What it leads to. */
static bool may_deliver(const struct stream *stream);
static void set_interest(struct stream *stream);
static void run_at_end_of_turn(struct stream *stream);
static void finish_connecting(struct stream *stream);
static int pending_error(int fd);
static void fail(struct stream *stream, int error);
static void destroy(struct stream *stream);

/* -------------------------------------------------------------------------------- one turn --- */

static void on_ready(struct reactor *reactor, int fd, unsigned ready, void *argument)
{
    struct stream *stream = argument;
    (void)reactor, (void)fd;
    if (ready & REACTOR_ERROR)
        fail(stream, EIO);
    if (stream->connecting && stream->state != DEAD)
        finish_connecting(stream);
    if (ready & REACTOR_WRITE && stream->state != DEAD && !stream->connecting)
        flush(stream);
    if (ready & REACTOR_READ && stream->state != DEAD && !stream->connecting)
        receive(stream);
    settle(stream);
}

static void on_end_of_turn(struct reactor *reactor, struct reactor_timer *timer)
{
    struct stream *stream = timer->argument;
    (void)reactor;
    if (stream->state != DEAD && !stream->blocked)
        flush(stream);
    if (may_deliver(stream) && stream->more)
        deliver(stream, NULL, 0);
    settle(stream);
}

static void send_fin(struct stream *stream)
{
    if (!stream->fin_sent)
        shutdown(stream->fd, SHUT_WR);
    stream->fin_sent = true;
    if (stream->state == ENDED || stream->state == CLOSING)
        stream->state = LINGERING; /* after stream_stop() the peer's FIN is still to come */
    if (stream->peer_ended && stream->state != OPEN)
        fail(stream, 0);
}

static void flush(struct stream *stream)
{
    struct buffer *out = &stream->out;
    if (buffer_length(out) > 0) {
        ssize_t sent = send(stream->fd, out->bytes + out->start, buffer_length(out), MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) {
            fail(stream, errno);
            return;
        }
        if (sent > 0) {
            buffer_use(out, (size_t)sent);
            stream->moved_ms = reactor_now_ms(stream->reactor);
        }
    }
    stream->blocked = buffer_length(out) > 0;
    if (stream->full && buffer_length(out) <= stream->low) {
        stream->full = false;
        if (stream->handlers->on_drain)
            stream->handlers->on_drain(stream);
        stream->more = buffer_length(&stream->in) > 0; /* perhaps left because it was full */
    }
    if (buffer_length(out) == 0 && stream->finishing)
        send_fin(stream);
}

/* The time limit for the first message ends, and the one for silence begins. */
static void first_message_came(struct stream *stream)
{
    if (stream->first_message_done)
        return;
    stream->first_message_done = true;
    reactor_timer_stop(stream->reactor, &stream->silence);
    if (stream->idle_ms > 0)
        (void)reactor_timer_start(stream->reactor, &stream->silence, stream->idle_ms, 0);
}

/* Has on_data had so much in this turn that other streams come first now? */
static bool turn_is_over(struct stream *stream)
{
    if (stream->turn != reactor_turn(stream->reactor)) {
        stream->turn = reactor_turn(stream->reactor);
        stream->turn_messages = 0;
        stream->turn_bytes = 0;
    }
    return stream->turn_messages >= TURN_MESSAGES || stream->turn_bytes >= TURN_BYTES;
}

/* Hands on_data what is there, or as much as a turn allows, and keeps what on_data has left.
 * `arrived` goes behind what was kept before. */
static void deliver(struct stream *stream, const char *arrived, size_t length)
{
    bool kept = buffer_length(&stream->in) > 0;
    if (kept && buffer_add(&stream->in, arrived, length) < 0) {
        fail(stream, ENOMEM);
        return;
    }
    const char *bytes = kept ? stream->in.bytes + stream->in.start : arrived;
    size_t all = kept ? buffer_length(&stream->in) : length, used = 0, message = 1;
    while (used < all && message > 0 && may_deliver(stream) && !turn_is_over(stream)) {
        message = stream->handlers->on_data(stream, bytes + used, all - used);
        used += message;
        stream->turn_messages++;
        stream->turn_bytes += message;
    }
    stream->more = used < all && message > 0;
    if (used > 0)
        first_message_came(stream);
    if (kept)
        buffer_use(&stream->in, stream->state == OPEN ? used : all);
    else if (stream->state == OPEN && buffer_add(&stream->in, bytes + used, all - used) < 0)
        fail(stream, ENOMEM);
    if (!stream->more && buffer_length(&stream->in) > STREAM_INPUT_MAX)
        fail(stream, EMSGSIZE);
}

/* Calls on_end if the peer has ended, or if we have read all that had arrived before the stop.
 * on_data has been offered all of it: see settle(). */
static void end_input(struct stream *stream)
{
    bool ended = stream->peer_ended || (stream->stopping && stream->unread == 0);
    if (!ended || !may_deliver(stream))
        return;
    stream->state = ENDED;
    first_message_came(stream);
    if (stream->handlers->on_end)
        stream->handlers->on_end(stream,
                                 stream->in.bytes ? stream->in.bytes + stream->in.start : "",
                                 buffer_length(&stream->in));
    else
        stream_close(stream, 0);
    buffer_use(&stream->in, buffer_length(&stream->in));
    if (stream->fin_sent) /* the program finished first, so this is the end of both directions */
        send_fin(stream);
}

static void receive(struct stream *stream)
{
    char bytes[READ_MAX];
    size_t room = sizeof bytes;
    if (stream->state == OPEN && stream->stopping && stream->unread < READ_MAX)
        room = (size_t)stream->unread;
    if (room == 0 || (stream->state == OPEN && stream->more)) /* on_data gets what is here first */
        return;
    ssize_t received = recv(stream->fd, bytes, room, 0);
    if (received < 0) {
        if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)
            fail(stream, errno);
        return;
    }
    if (stream->stopping)
        stream->unread -= (int)received;
    stream->peer_ended = received == 0;
    stream->moved_ms = reactor_now_ms(stream->reactor);
    if (stream->state == OPEN)
        deliver(stream, bytes, (size_t)received);
    else if (stream->peer_ended && stream->fin_sent)
        fail(stream, 0);
}

static void settle(struct stream *stream)
{
    if (stream->more && may_deliver(stream))
        run_at_end_of_turn(stream); /* of the next turn, if this one is over for the stream */
    else if (stream->state == OPEN)
        end_input(stream);
    if (stream->state == DEAD)
        destroy(stream);
    else
        set_interest(stream);
}

/* ----------------------------------------------------------------------------- the interest --- */

static bool may_deliver(const struct stream *stream)
{
    return stream->state == OPEN && !stream->paused && (!stream->full || stream->reads_while_full);
}

static void set_interest(struct stream *stream)
{
    unsigned interest = stream->blocked ? REACTOR_WRITE : 0U;
    if (!stream->peer_ended && (may_deliver(stream) || stream->state == LINGERING))
        interest |= REACTOR_READ;
    stream->watched = interest != 0;
    if (!stream->watched && !stream->peer_check.position)
        (void)reactor_timer_start(stream->reactor, &stream->peer_check, PEER_CHECK_MS, 0);
    reactor_modify(stream->reactor, stream->fd, interest);
}

static void run_at_end_of_turn(struct stream *stream)
{
    if (!stream->end_of_turn.position &&
        reactor_timer_start(stream->reactor, &stream->end_of_turn, 0, 0) < 0) {
        stream->blocked = true; /* out of memory: then wait until it is writable */
        set_interest(stream);
    }
}

static void fail(struct stream *stream, int error)
{
    if (stream->state == DEAD)
        return;
    if (error && stream->state != LINGERING) /* after a FIN the peer would think that it has all */
        net_reset_on_close(stream->fd);
    stream->state = DEAD;
    stream->error = error;
    run_at_end_of_turn(stream);
}

/* Only the loop calls this, never a function of stream.h. */
static void destroy(struct stream *stream)
{
    struct stream_list *list = stream->list;
    struct reactor *reactor = stream->reactor;
    reactor_remove(stream->reactor, stream->fd);
    if (stream->handlers->on_close)
        stream->handlers->on_close(stream, stream->error);
    reactor_timer_stop(stream->reactor, &stream->end_of_turn); /* on_close may have started some */
    reactor_timer_stop(stream->reactor, &stream->deadline);
    reactor_timer_stop(stream->reactor, &stream->silence);
    reactor_timer_stop(stream->reactor, &stream->peer_check);
    close(stream->fd);
    free(stream->in.bytes);
    free(stream->out.bytes);
    if (list) {
        if (stream->previous)
            stream->previous->next = stream->next;
        else
            list->first = stream->next;
        if (stream->next)
            stream->next->previous = stream->previous;
        list->count--;
    }
    free(stream);
    if (list && list->count == 0 && list->on_empty)
        list->on_empty(reactor);
}

/* ------------------------------------------------------------------------------- time limits ---
 */

static void on_deadline(struct reactor *reactor, struct reactor_timer *timer)
{
    (void)reactor;
    fail(timer->argument, ETIMEDOUT);
}

static void on_silence(struct reactor *reactor, struct reactor_timer *timer)
{
    struct stream *stream = timer->argument;
    int64_t left = stream->moved_ms + stream->idle_ms - reactor_now_ms(reactor);
    if (stream->state >= CLOSING)
        return;
    if (stream->first_message_done && left > 0) /* bytes have moved since the timer was started */
        (void)reactor_timer_start(reactor, timer, left, 0);
    else if (stream->handlers->on_silence)
        stream->handlers->on_silence(stream);
    else
        stream_close(stream, LEAVE_MS);
}

/* No backend reports a descriptor without an interest, and a recv() would take bytes. */
static void check_peer(struct reactor *reactor, struct reactor_timer *timer)
{
    struct stream *stream = timer->argument;
    int error = stream->watched ? 0 : pending_error(stream->fd);
    (void)reactor;
    if (error)
        fail(stream, error);
    else
        set_interest(stream); /* starts this timer again if the peer is still not watched */
}

/* ------------------------------------------------------------------------------ connecting --- */

static int close_keeping_errno(int fd)
{
    int error = errno;
    close(fd);
    errno = error;
    return -1;
}

static bool begin_to_connect(int fd, const struct addrinfo *to)
{
    if (fcntl(fd, F_SETFL, O_NONBLOCK) < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 ||
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int)) < 0)
        return false;
    return connect(fd, to->ai_addr, to->ai_addrlen) == 0 || errno == EINPROGRESS;
}

/* A socket for the first of these addresses that does not fail at once. *to: the one after it. */
static int next_socket(const struct addrinfo **to)
{
    int fd = -1;
    for (; fd < 0 && *to; *to = (*to)->ai_next) {
        fd = socket((*to)->ai_family, SOCK_STREAM, 0);
        if (fd >= 0 && !begin_to_connect(fd, *to))
            fd = close_keeping_errno(fd);
    }
    return fd;
}

/* The error that the kernel has noted for this connection, or 0. It reports each error once. */
static int pending_error(int fd)
{
    int error = 0;
    socklen_t length = sizeof error;
    if (getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &length) < 0)
        return errno;
    return error;
}

/* The stream is connected, or that has failed: then another socket takes its place, for the next
 * address. What is unsent waits meanwhile. */
static void finish_connecting(struct stream *stream)
{
    int error = pending_error(stream->fd);
    stream->connecting = false;
    if (!error)
        return;
    int fd = next_socket(&stream->next_address);
    if (fd >= 0 && reactor_add(stream->reactor, fd, REACTOR_WRITE, on_ready, stream) < 0)
        fd = close_keeping_errno(fd);
    if (fd < 0) {
        fail(stream, error);
        return;
    }
    reactor_remove(stream->reactor, stream->fd);
    close(stream->fd);
    stream->fd = fd;
    stream->connecting = true;
}

/* ------------------------------------------------------------------------- for the program --- */

struct stream *stream_open(struct reactor *reactor, int fd, const struct stream_handlers *handlers,
                           struct stream_list *list, void *argument)
{
    struct stream *stream = malloc(sizeof *stream);
    if (stream)
        *stream = (struct stream){.reactor = reactor,
                                  .handlers = handlers,
                                  .argument = argument,
                                  .list = list,
                                  .low = STREAM_LOW,
                                  .high = STREAM_HIGH,
                                  .end_of_turn = {.handler = on_end_of_turn, .argument = stream},
                                  .deadline = {.handler = on_deadline, .argument = stream},
                                  .silence = {.handler = on_silence, .argument = stream},
                                  .peer_check = {.handler = check_peer, .argument = stream},
                                  .fd = fd};
    if (!stream || reactor_add(reactor, fd, REACTOR_READ, on_ready, stream) < 0) {
        free(stream);
        return NULL;
    }
    if (list) {
        stream->next = list->first;
        if (stream->next)
            stream->next->previous = stream;
        list->first = stream;
        list->count++;
    }
    return stream;
}

struct stream *stream_connect(struct reactor *reactor, const struct addrinfo *to,
                              const struct stream_handlers *handlers, struct stream_list *list,
                              void *argument)
{
    int fd = next_socket(&to);
    if (fd < 0)
        return NULL;
    struct stream *stream = stream_open(reactor, fd, handlers, list, argument);
    if (!stream) {
        close_keeping_errno(fd);
        return NULL;
    }
    stream->next_address = to;
    stream->connecting = true;
    stream->blocked = true; /* it may send neither data nor FIN before it is connected */
    set_interest(stream);
    return stream;
}

int stream_send(struct stream *stream, const void *bytes, size_t length)
{
    if (stream->finishing || stream->state >= CLOSING) {
        errno = EPIPE;
        return -1;
    }
    if (buffer_add(&stream->out, bytes, length) < 0)
        return -1;
    stream->full = stream->full || buffer_length(&stream->out) >= stream->high;
    if (stream->full)
        set_interest(stream);
    if (!stream->blocked)
        run_at_end_of_turn(stream);
    return 0;
}

void stream_pause(struct stream *stream)
{
    stream->paused = true;
    set_interest(stream);
}

void stream_resume(struct stream *stream)
{
    stream->paused = false;
    stream->more = buffer_length(&stream->in) > 0; /* perhaps left because of the pause */
    run_at_end_of_turn(stream);
}

void stream_finish(struct stream *stream)
{
    stream->finishing = true;
    run_at_end_of_turn(stream);
}

static void limit(struct stream *stream, int within_ms)
{
    int64_t due = reactor_now_ms(stream->reactor) + within_ms;
    if (within_ms <= 0 || (stream->deadline.position > 0 && stream->deadline.due <= due))
        return; /* there is none, or a shorter one is set already */
    if (reactor_timer_start(stream->reactor, &stream->deadline, within_ms, 0) < 0)
        fail(stream, ENOMEM);
}

void stream_close(struct stream *stream, int within_ms)
{
    if (stream->state >= CLOSING)
        return;
    stream->state = stream->fin_sent ? LINGERING : CLOSING;
    stream_finish(stream);
    limit(stream, within_ms);
}

void stream_stop(struct stream *stream, int within_ms)
{
    if (stream->state == OPEN && !stream->stopping) {
        stream->stopping = true;
        (void)ioctl(stream->fd, FIONREAD, &stream->unread); /* it stays 0 if that fails */
        run_at_end_of_turn(stream);
    }
    if (stream->state != DEAD)
        limit(stream, within_ms);
}

int stream_limit_silence(struct stream *stream, int first_ms, int idle_ms)
{
    int limit_ms = first_ms > 0 ? first_ms : idle_ms;
    stream->first_message_done = first_ms == 0;
    stream->idle_ms = idle_ms;
    stream->moved_ms = reactor_now_ms(stream->reactor);
    if (limit_ms == 0)
        return 0;
    return reactor_timer_start(stream->reactor, &stream->silence, limit_ms, 0);
}

void stream_abort(struct stream *stream)
{
    fail(stream, ECANCELED);
}

void stream_set_marks(struct stream *stream, size_t low, size_t high)
{
    stream->low = low;
    stream->high = high;
}

void stream_read_while_full(struct stream *stream)
{
    stream->reads_while_full = true;
}

size_t stream_unsent(const struct stream *stream)
{
    return buffer_length(&stream->out);
}

struct stream *stream_next(const struct stream *stream)
{
    return stream->next;
}

void *stream_argument(const struct stream *stream)
{
    return stream->argument;
}

void stream_set_argument(struct stream *stream, void *argument)
{
    stream->argument = argument;
}

struct reactor *stream_reactor(const struct stream *stream)
{
    return stream->reactor;
}

int stream_fd(const struct stream *stream)
{
    return stream->fd;
}
