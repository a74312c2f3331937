/* Buffered connections on a reactor. A stream hands you what has arrived, and you send; it deals
 * with partial sends, full buffers, the peer's end and errors.
 *
 * It gives every protocol what the echo server promises:
 * - Half-close: after the peer's FIN everything unsent is still sent, then FIN, then close().
 * - Backpressure: while `high` bytes or more are unsent, nothing is read, until `low` are left.
 * - Turns: a turn is one recv() of at most 16 KiB, one or two send()s, and at most 64 messages for
 *   on_data, fewer if these have 64 KiB. The rest waits for the next turn, so that no other stream
 *   waits for long.
 * - Idle streams hold no buffer: a buffer exists only while there is something in it.
 * - No RST on close: after our FIN the stream reads on, and throws away, until the peer's FIN.
 *   close() with unread input would destroy data in flight (RFC 1122 section 4.2.2.13).
 * - RST on an error: a time limit, an abort, a lack of memory or another error resets the
 *   connection, because after a FIN the peer would think that it has everything. RST also discards
 *   what the kernel has taken from us and not yet sent. A stream that has sent everything and its
 *   FIN, and only waits for the peer's, is closed without RST.
 *
 * What you send during a turn leaves at its end, in one send(). (What a timer sends leaves at the
 * end of the next turn, which follows at once.) So these functions never call a handler, and no
 * stream vanishes while you walk over many: on_close comes from the loop. A stream and its list
 * belong to the reactor's thread. Streams that are left when their reactor is destroyed are lost.
 *
 * On a system without MSG_NOSIGNAL a lost peer causes SIGPIPE: the program has to ignore it. */
#ifndef STREAM_H
#define STREAM_H

#include <stddef.h>

#include "reactor.h"

struct addrinfo;
struct stream;

enum {
    STREAM_LOW = 16 * 1024,
    STREAM_HIGH = 64 * 1024,
    STREAM_INPUT_MAX = 128 * 1024, /* a message that on_data wants whole must be shorter */
};

struct stream_handlers {
    /* These bytes have arrived. Returns how many it has used up: one message, or all. The stream
     * calls it again with the rest until it returns 0. The rest then waits for more to arrive, or
     * for stream_resume(), or for unsent bytes to fall to `low`. The bytes are valid during the
     * call. */
    size_t (*on_data)(struct stream *stream, const char *bytes, size_t length);

    /* The peer has sent FIN, or stream_stop() was called. rest: what on_data had left. It has to
     * close the stream, now or later. If it is NULL, all that is unsent is sent, and the stream
     * closed. */
    void (*on_end)(struct stream *stream, const char *rest, size_t length);

    /* What was unsent fell from `high` to `low`. May be NULL. */
    void (*on_drain)(struct stream *stream);

    /* The last call: nothing can be sent any more, and afterwards the stream is freed. error: 0 if
     * both sides have ended, otherwise an errno: ECONNRESET, EPIPE, ETIMEDOUT (a time limit),
     * EMSGSIZE (STREAM_INPUT_MAX), ENOMEM, EIO (no errno is known), ECANCELED (stream_abort()). May
     * be NULL. */
    void (*on_close)(struct stream *stream, int error);

    /* The peer has been silent for as long as stream_limit_silence() allows. It has to close the
     * stream. If it is NULL, the stream is closed, as by stream_close() within a second. */
    void (*on_silence)(struct stream *stream);
};

/* Streams that belong together; {0} is an empty one. To walk over it:
 * for (s = list.first; s; s = stream_next(s)). */
struct stream_list {
    struct stream *first;
    int count;
    void (*on_empty)(struct reactor *reactor); /* the last one was closed; may be NULL */
};
struct stream *stream_next(const struct stream *stream);

/* A connected, non-blocking socket becomes a stream, in that list if list is not NULL. The
 * handlers must stay where they are. NULL with errno, as reactor_add(); fd then stays yours. */
struct stream *stream_open(struct reactor *reactor, int fd, const struct stream_handlers *handlers,
                           struct stream_list *list, void *argument);

/* The same for a new connection. It tries these addresses in turn, each for as long as the kernel
 * does. You may send at once; stream_fd() may change until it is connected. If all addresses fail,
 * on_close gets ECONNREFUSED or another errno. The list must stay until the first on_data or
 * on_close. NULL with errno if it could not even begin. getaddrinfo(3), connect(2) */
struct stream *stream_connect(struct reactor *reactor, const struct addrinfo *to,
                              const struct stream_handlers *handlers, struct stream_list *list,
                              void *argument);

void *stream_argument(const struct stream *stream);
void stream_set_argument(struct stream *stream, void *argument);
struct reactor *stream_reactor(const struct stream *stream);
int stream_fd(const struct stream *stream);

/* Copies the bytes, to be sent at the end of the turn and later. There is no upper bound: if you
 * send more than the peer asked for, look at stream_unsent(). ENOMEM; EPIPE: it is closing, or was
 * finished. */
int stream_send(struct stream *stream, const void *bytes, size_t length);
size_t stream_unsent(const struct stream *stream);
void stream_set_marks(struct stream *stream, size_t low, size_t high);

/* From now on on_data is called even while much is unsent to this peer. For a program whose answers
 * go to another peer, and which bounds stream_unsent() itself. Otherwise two peers that each wait
 * for the other to read would wait forever. */
void stream_read_while_full(struct stream *stream);

/* No on_data until stream_resume(). A peer that goes on sending has to wait. If it resets the
 * connection meanwhile, on_close tells you within about a second: no backend reports a descriptor
 * without an interest, so a timer asks the kernel. */
void stream_pause(struct stream *stream);
void stream_resume(struct stream *stream);

/* Sends what is unsent, then FIN. on_data still gets what arrives (half-close). */
void stream_finish(struct stream *stream);

/* No on_data any more. Sends what is unsent, then FIN, and waits for the peer's FIN. within_ms: the
 * time limit for all of it, ETIMEDOUT; 0: none, and a peer that does not leave keeps its stream. */
void stream_close(struct stream *stream, int within_ms);

/* For a server that stops: behaves as if the peer's FIN came after what has arrived until now. */
void stream_stop(struct stream *stream, int within_ms);

/* Closes at the end of this turn, with RST, and throws away what is unsent. */
void stream_abort(struct stream *stream);

/* Sets time limits, from now on; on_silence is called when one is over. first_ms: until on_data has
 * used something up, or the peer has sent FIN. idle_ms: afterwards, for each silence, in which no
 * byte goes either way. 0: no limit. ENOMEM. */
int stream_limit_silence(struct stream *stream, int first_ms, int idle_ms);

#endif
