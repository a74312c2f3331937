/* Buffered connections. A stream is in one of these states, in this order; some may be left out:
 *   open      on_data is called
 *   ended     the peer has ended; on_end was called; we may still send
 *   closing   no more sends from the program: what is unsent goes out, then FIN
 *   lingering FIN is sent; input is thrown away until the peer's FIN
 *   dead      at the end of the turn, on_close and free() */
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

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0 /* then the program has to ignore SIGPIPE */
#endif

enum { READ_MAX = 16 * 1024 };

struct stream {
    struct reactor *reactor;
    const struct stream_handlers *handlers;
    void *argument;
    struct stream_list *list;
    struct stream *previous, *next;
    struct buffer in, out; /* what on_data has left; what is unsent */
    size_t low, high;
    struct reactor_timer soon;     /* at the end of this turn there is something to do */
    struct reactor_timer deadline; /* of closing */
    int fd, error;
    int left; /* once stopping: how much had arrived and is not yet read */
    enum { OPEN, ENDED, CLOSING, LINGERING, DEAD } state;
    bool paused;              /* by the program */
    bool full;                /* by what is unsent */
    bool reads_while_full;    /* asked for by the program */
    bool blocked;             /* the kernel took no more: wait for readiness to write */
    bool finishing, fin_sent; /* FIN follows what is unsent; it has */
    bool peer_ended;          /* the peer's FIN has come */
    bool stopping;
};

/* ------------------------------------------------------------------------- what to wait for --- */

static bool may_deliver(const struct stream *stream)
{
    return stream->state == OPEN && !stream->paused && (!stream->full || stream->reads_while_full);
}

static void wait_for(struct stream *stream)
{
    unsigned interest = stream->blocked ? REACTOR_WRITE : 0U;
    if (!stream->peer_ended && (may_deliver(stream) || stream->state == LINGERING))
        interest |= REACTOR_READ;
    reactor_modify(stream->reactor, stream->fd, interest);
}

static void at_end_of_turn(struct stream *stream)
{
    if (!stream->soon.position && reactor_timer_start(stream->reactor, &stream->soon, 0, 0) < 0) {
        stream->blocked = true; /* out of memory: when it is writable is nearly as good */
        wait_for(stream);
    }
}

static void die(struct stream *stream, int error)
{
    if (stream->state == DEAD)
        return;
    stream->state = DEAD;
    stream->error = error;
    at_end_of_turn(stream);
}

/* The end of it. Only the loop calls this, never a function of stream.h. */
static void bury(struct stream *stream)
{
    struct stream_list *list = stream->list;
    struct reactor *reactor = stream->reactor;
    reactor_remove(stream->reactor, stream->fd);
    if (stream->handlers->on_close)
        stream->handlers->on_close(stream, stream->error);
    reactor_timer_stop(stream->reactor, &stream->soon); /* on_close may have started it */
    reactor_timer_stop(stream->reactor, &stream->deadline);
    close(stream->fd);
    free(stream->in.bytes);
    free(stream->out.bytes);
    if (list) {
        *(stream->previous ? &stream->previous->next : &list->first) = stream->next;
        if (stream->next)
            stream->next->previous = stream->previous;
        list->count--;
    }
    free(stream);
    if (list && list->count == 0 && list->on_empty)
        list->on_empty(reactor);
}

/* -------------------------------------------------------------------------------- one turn --- */

static void send_fin(struct stream *stream)
{
    if (!stream->fin_sent)
        shutdown(stream->fd, SHUT_WR);
    stream->fin_sent = true;
    if (stream->state == ENDED || stream->state == CLOSING)
        stream->state = LINGERING; /* ended by stream_stop(): the peer's FIN is still to come */
    if (stream->peer_ended && stream->state != OPEN)
        die(stream, 0);
}

static void flush(struct stream *stream)
{
    struct buffer *out = &stream->out;
    if (buffer_length(out) > 0) {
        ssize_t sent = send(stream->fd, out->bytes + out->start, buffer_length(out), MSG_NOSIGNAL);
        if (sent < 0 && errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR) {
            die(stream, errno);
            return;
        }
        if (sent > 0)
            buffer_use(out, (size_t)sent);
    }
    stream->blocked = buffer_length(out) > 0;
    if (stream->full && buffer_length(out) <= stream->low) {
        stream->full = false;
        if (stream->handlers->on_drain)
            stream->handlers->on_drain(stream);
        at_end_of_turn(stream); /* on_data may have left something because of that */
    }
    if (buffer_length(out) == 0 && stream->finishing)
        send_fin(stream);
}

/* Hands over what is there, and keeps what is left. */
static void deliver(struct stream *stream, const char *fresh, size_t length)
{
    bool held = buffer_length(&stream->in) > 0;
    if (held && buffer_add(&stream->in, fresh, length) < 0) {
        die(stream, ENOMEM);
        return;
    }
    const char *bytes = held ? stream->in.bytes + stream->in.start : fresh;
    size_t all = held ? buffer_length(&stream->in) : length, used = 0, now = 1;
    while (used < all && now > 0 && may_deliver(stream)) {
        now = stream->handlers->on_data(stream, bytes + used, all - used);
        used += now;
    }
    if (held)
        buffer_use(&stream->in, stream->state == OPEN ? used : all);
    else if (stream->state == OPEN && buffer_add(&stream->in, bytes + used, all - used) < 0)
        die(stream, ENOMEM);
    if (buffer_length(&stream->in) > STREAM_INPUT_MAX)
        die(stream, EMSGSIZE);
}

/* The peer has ended, or we have read all that had arrived before the stop; and on_data has been
 * offered all of it (if the end of the turn has something to do, it may be that). */
static void end_input(struct stream *stream)
{
    bool ended = stream->peer_ended || (stream->stopping && stream->left == 0);
    if (!ended || !may_deliver(stream) || stream->soon.position > 0)
        return;
    stream->state = ENDED;
    if (stream->handlers->on_end)
        stream->handlers->on_end(stream,
                                 stream->in.bytes ? stream->in.bytes + stream->in.start : "",
                                 buffer_length(&stream->in));
    else
        stream_close(stream, 0);
    buffer_use(&stream->in, buffer_length(&stream->in));
    if (stream->fin_sent) /* before this end: now that is all */
        send_fin(stream);
}

static void receive(struct stream *stream)
{
    char bytes[READ_MAX];
    size_t room = sizeof bytes;
    if (stream->state == OPEN && stream->stopping && stream->left < READ_MAX)
        room = (size_t)stream->left;
    if (room == 0)
        return;
    ssize_t received = recv(stream->fd, bytes, room, 0);
    if (received < 0) {
        if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)
            die(stream, errno);
        return;
    }
    stream->left -= stream->stopping ? (int)received : 0;
    stream->peer_ended = received == 0;
    if (stream->state == OPEN)
        deliver(stream, bytes, (size_t)received);
    else if (stream->peer_ended && stream->fin_sent)
        die(stream, 0);
}

static void settle(struct stream *stream)
{
    if (stream->state == OPEN)
        end_input(stream);
    if (stream->state == DEAD)
        bury(stream);
    else
        wait_for(stream);
}

static void on_ready(struct reactor *reactor, int fd, unsigned ready, void *argument)
{
    struct stream *stream = argument;
    (void)reactor, (void)fd;
    if (ready & REACTOR_ERROR)
        die(stream, EIO);
    if (ready & REACTOR_WRITE && stream->state != DEAD)
        flush(stream);
    if (ready & REACTOR_READ && stream->state != DEAD)
        receive(stream);
    settle(stream);
}

static void on_soon(struct reactor *reactor, struct reactor_timer *timer)
{
    struct stream *stream = timer->argument;
    (void)reactor;
    if (stream->state != DEAD && !stream->blocked)
        flush(stream);
    if (may_deliver(stream) && buffer_length(&stream->in) > 0)
        deliver(stream, NULL, 0);
    settle(stream);
}

static void on_deadline(struct reactor *reactor, struct reactor_timer *timer)
{
    (void)reactor;
    die(timer->argument, ETIMEDOUT);
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
                                  .soon = {.handler = on_soon, .argument = stream},
                                  .deadline = {.handler = on_deadline, .argument = stream},
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

static bool begin_to_connect(int fd, const struct addrinfo *to)
{
    if (fd < 0 || fcntl(fd, F_SETFL, O_NONBLOCK) < 0 || fcntl(fd, F_SETFD, FD_CLOEXEC) < 0 ||
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int)) < 0)
        return false;
    return connect(fd, to->ai_addr, to->ai_addrlen) == 0 || errno == EINPROGRESS;
}

struct stream *stream_connect(struct reactor *reactor, const struct addrinfo *to,
                              const struct stream_handlers *handlers, struct stream_list *list,
                              void *argument)
{
    int fd = socket(to->ai_family, SOCK_STREAM, 0);
    struct stream *stream = NULL;
    if (begin_to_connect(fd, to))
        stream = stream_open(reactor, fd, handlers, list, argument);
    int error = errno;
    if (stream)
        stream->blocked = true; /* neither data nor FIN may be sent before it is connected */
    stream ? wait_for(stream) : (void)close(fd);
    errno = error;
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
        wait_for(stream);
    if (!stream->blocked)
        at_end_of_turn(stream);
    return 0;
}

void stream_pause(struct stream *stream)
{
    stream->paused = true;
    wait_for(stream);
}

void stream_resume(struct stream *stream)
{
    stream->paused = false;
    at_end_of_turn(stream);
}

void stream_finish(struct stream *stream)
{
    stream->finishing = true;
    at_end_of_turn(stream);
}

static void limit(struct stream *stream, int within_ms)
{
    int64_t due = reactor_now_ms(stream->reactor) + within_ms;
    if (within_ms <= 0 || (stream->deadline.position > 0 && stream->deadline.due <= due))
        return; /* none, or the limit that is set already is shorter */
    if (reactor_timer_start(stream->reactor, &stream->deadline, within_ms, 0) < 0)
        die(stream, ENOMEM);
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
        (void)ioctl(stream->fd, FIONREAD, &stream->left); /* it stays 0 if that fails */
        at_end_of_turn(stream);
    }
    if (stream->state != DEAD)
        limit(stream, within_ms);
}

void stream_abort(struct stream *stream)
{
    die(stream, ECANCELED);
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
