/* Buffered connections, every test on every backend. One end is a stream in the loop, the test
 * holds the other, a plain socket. */
#define _GNU_SOURCE
#include "stream.h"

#include <errno.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

#include "backends.h"
#include "stream_server.h"

static struct {
    char got[1 << 20];
    size_t length, last;
    int data, ends, drains, closes, error;
    size_t rest, use; /* use: how many bytes on_data takes at once; 0: whole lines */
} seen;

static size_t on_data(struct stream *stream, const char *bytes, size_t length)
{
    const char *end = memchr(bytes, '\n', length);
    size_t used = seen.use ? seen.use : end ? (size_t)(end - bytes) + 1 : 0;
    (void)stream;
    used = used > length ? length : used;
    cr_assert_leq(seen.length + used, sizeof seen.got);
    memcpy(seen.got + seen.length, bytes, used);
    seen.length += used;
    seen.last = length;
    seen.data++;
    return used;
}

static size_t on_data_echo(struct stream *stream, const char *bytes, size_t length)
{
    cr_assert_eq(stream_send(stream, bytes, length), 0);
    seen.data++;
    return length;
}

static void on_end(struct stream *stream, const char *rest, size_t length)
{
    (void)rest;
    seen.ends++;
    seen.rest = length;
    stream_close(stream, 0);
}

static void on_drain(struct stream *stream)
{
    (void)stream;
    seen.drains++;
}

static void on_close(struct stream *stream, int error)
{
    seen.closes++;
    seen.error = error;
    reactor_stop(stream_reactor(stream));
}

static const struct stream_handlers lines = {
    .on_data = on_data, .on_end = on_end, .on_drain = on_drain, .on_close = on_close};
static const struct stream_handlers echo = {.on_data = on_data_echo, .on_close = on_close};

/* pair[0] is the stream's. Small buffers, so that a few thousand bytes fill them. */
static struct stream *open_stream(struct reactor *reactor, const struct stream_handlers *handlers,
                                  int pair[2])
{
    make_pair(pair);
    fcntl(pair[1], F_SETFL, O_NONBLOCK);
    setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &(int){4096}, sizeof(int));
    memset(&seen, 0, sizeof seen);
    struct stream *stream = stream_open(reactor, pair[0], handlers, NULL, NULL);
    cr_assert_not_null(stream);
    return stream;
}

static size_t read_all(int fd, char *into, size_t size)
{
    size_t all = 0;
    for (ssize_t n; all < size && (n = read(fd, into + all, size - all)) > 0; all += (size_t)n)
        continue;
    return all;
}

ON_EVERY_BACKEND(what_on_data_leaves_comes_back_with_more)
{
    int pair[2];
    open_stream(reactor, &lines, pair);
    give(pair[1], "one\ntw", 6);
    run_for(reactor, 10);
    cr_expect_eq(seen.length, 4);
    give(pair[1], "o\nthr", 5);
    run_for(reactor, 10);
    cr_expect_eq(seen.length, 8);
    close(pair[1]);
    run_for(reactor, 1000);
    cr_expect(memcmp(seen.got, "one\ntwo\n", 8) == 0);
    cr_expect_eq(seen.ends, 1);
    cr_expect_eq(seen.rest, 3, "the rest is handed over at the end");
    cr_expect_eq(seen.closes, 1);
    cr_expect_eq(seen.error, 0);
}

ON_EVERY_BACKEND(a_message_that_never_ends_is_cut_off)
{
    int pair[2];
    static char much[STREAM_INPUT_MAX + 65536];
    open_stream(reactor, &lines, pair);
    memset(much, 'x', sizeof much);
    for (size_t sent = 0; seen.closes == 0 && sent < sizeof much; run_for(reactor, 1)) {
        ssize_t n = write(pair[1], much + sent, sizeof much - sent);
        sent += n > 0 ? (size_t)n : 0;
    }
    if (seen.closes == 0)
        run_for(reactor, 5000);
    cr_expect_eq(seen.error, EMSGSIZE);
}

/* The peer reads nothing until it has written all: the stream owes more than any buffer holds. */
ON_EVERY_BACKEND(half_close_with_bytes_owed)
{
    enum { MUCH = 600000 };
    int pair[2];
    static char out[MUCH], in[MUCH];
    struct stream *stream = open_stream(reactor, &echo, pair);
    size_t sent = 0, received = 0, unsent_max = 0;
    for (int i = 0; i < MUCH; i++)
        out[i] = (char)(i * 7 + i / 251);
    for (int pause = 0; seen.closes == 0; run_for(reactor, 1)) {
        ssize_t n = sent < MUCH ? write(pair[1], out + sent, MUCH - sent) : 0;
        sent += n > 0 ? (size_t)n : 0;
        unsent_max = stream_unsent(stream) > unsent_max ? stream_unsent(stream) : unsent_max;
        if (sent == MUCH)
            shutdown(pair[1], SHUT_WR);
        if (n <= 0 && ++pause > 5) /* the stream has stopped reading: now read */
            received += read_all(pair[1], in + received, MUCH - received);
    }
    received += read_all(pair[1], in + received, MUCH - received);
    cr_expect_eq(received, MUCH);
    cr_expect(memcmp(in, out, MUCH) == 0);
    cr_expect_eq(seen.error, 0);
    cr_expect_geq(unsent_max, STREAM_HIGH);
    cr_expect_leq(unsent_max, STREAM_HIGH + 16 * 1024,
                  "%zu bytes held for a peer that does not read", unsent_max);
}

ON_EVERY_BACKEND(watermarks)
{
    int pair[2];
    static char much[40000], sink[40000];
    struct stream *stream = open_stream(reactor, &lines, pair);
    stream_set_marks(stream, 1000, 30000);
    stream_send(stream, much, sizeof much);
    give(pair[1], "line\n", 5);
    run_for(reactor, 10);
    cr_expect_eq(seen.data, 0, "nothing is read above the high mark");
    cr_expect_eq(seen.drains, 0);
    for (int i = 0; i < 100 && seen.drains == 0; i++) {
        read_all(pair[1], sink, 2000);
        if (seen.drains == 0)
            cr_expect_eq(seen.data, 0, "nothing is read between the marks");
        run_for(reactor, 1);
    }
    cr_expect_eq(seen.drains, 1);
    cr_expect_leq(stream_unsent(stream), 1000);
    run_for(reactor, 10);
    cr_expect_eq(seen.length, 5, "it is not read below the low mark");
    stream_abort(stream);
    run_for(reactor, 100);
    cr_expect_eq(seen.error, ECANCELED);
}

static size_t pause_after_each(struct stream *stream, const char *bytes, size_t length)
{
    stream_pause(stream);
    return on_data(stream, bytes, length);
}

ON_EVERY_BACKEND(paused_in_the_middle_of_what_has_arrived)
{
    static const struct stream_handlers handlers = {
        .on_data = pause_after_each, .on_end = on_end, .on_close = on_close};
    int pair[2];
    struct stream *stream = open_stream(reactor, &handlers, pair);
    give(pair[1], "1\n2\n3\n", 6);
    close(pair[1]);
    for (int i = 1; i <= 3; i++) {
        run_for(reactor, 10);
        cr_expect_eq(seen.data, i);
        cr_expect_eq(seen.ends, 0, "the end comes after all that was before it");
        stream_resume(stream);
    }
    run_for(reactor, 100);
    cr_expect_eq(seen.data, 3);
    cr_expect_eq(seen.ends, 1);
    cr_expect_eq(seen.rest, 0);
}

static size_t not_at_first(struct stream *stream, const char *bytes, size_t length)
{
    if (seen.drains++ > 0)
        return on_data(stream, bytes, length);
    stream_pause(stream);
    return 0;
}

static size_t not_while_much_is_unsent(struct stream *stream, const char *bytes, size_t length)
{
    static char much[20000];
    if (seen.rest++ == 0)
        cr_assert_eq(stream_send(stream, much, sizeof much), 0);
    return stream_unsent(stream) > 0 ? 0 : on_data(stream, bytes, length);
}

/* on_data left a whole message. Nothing more arrives, but the message comes back. */
ON_EVERY_BACKEND(what_on_data_could_not_do_comes_back_with_a_resume_or_a_drain)
{
    static const struct stream_handlers pauses = {.on_data = not_at_first, .on_close = on_close};
    static const struct stream_handlers fills = {.on_data = not_while_much_is_unsent,
                                                 .on_close = on_close};
    static char sink[20000];
    int pair[2];
    struct stream *stream = open_stream(reactor, &pauses, pair);
    give(pair[1], "a line\n", 7);
    run_for(reactor, 10);
    cr_expect_eq(seen.length, 0);
    stream_resume(stream);
    run_for(reactor, 10);
    cr_expect_eq(seen.length, 7);
    stream_abort(stream);
    run_for(reactor, 10);

    stream = open_stream(reactor, &fills, pair);
    stream_set_marks(stream, 0, 10000);
    give(pair[1], "a line\n", 7);
    run_for(reactor, 10);
    cr_expect_eq(seen.length, 0);
    for (int i = 0; i < 500 && seen.length == 0; i++) {
        read_all(pair[1], sink, sizeof sink);
        run_for(reactor, 2);
    }
    cr_expect_eq(seen.length, 7);
    stream_abort(stream);
    run_for(reactor, 10);
}

static size_t answer_much(struct stream *stream, const char *bytes, size_t length)
{
    static char much[20000];
    cr_assert_eq(stream_send(stream, much, sizeof much), 0);
    return on_data(stream, bytes, length);
}

ON_EVERY_BACKEND(full_with_input_left_and_the_end_behind_it)
{
    static const struct stream_handlers handlers = {
        .on_data = answer_much, .on_end = on_end, .on_close = on_close};
    int pair[2];
    static char sink[20000];
    struct stream *stream = open_stream(reactor, &handlers, pair);
    stream_set_marks(stream, 100, 10000);
    give(pair[1], "1\n2\n3\n", 6);
    run_for(reactor, 5);
    cr_expect_eq(seen.data, 1, "full after the first answer");
    stream_stop(stream, 5000);
    for (int i = 0; i < 500 && seen.closes == 0; i++) {
        if (read_all(pair[1], sink, sizeof sink) == 0 && seen.ends > 0)
            close(pair[1]);
        run_for(reactor, 2);
    }
    cr_expect_eq(seen.data, 3, "not handed over as the rest");
    cr_expect_eq(seen.rest, 0);
    cr_expect_eq(seen.error, 0);
}

/* TCP: close() with unread input would send RST, and the peer might lose the last bytes. */
static void tcp_pair(int pair[2])
{
    struct sockaddr_storage address = {.ss_family = AF_INET};
    socklen_t length = 16;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(bind(listener, (struct sockaddr *)&address, length), 0);
    cr_assert_eq(listen(listener, 1), 0);
    getsockname(listener, (struct sockaddr *)&address, &length);
    pair[1] = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(connect(pair[1], (struct sockaddr *)&address, length), 0);
    pair[0] = accept(listener, NULL, NULL);
    fcntl(pair[0], F_SETFL, O_NONBLOCK);
    close(listener);
}

static size_t say_goodbye(struct stream *stream, const char *bytes, size_t length)
{
    (void)bytes;
    stream_send(stream, "bye", 3);
    stream_close(stream, 5000);
    cr_expect_eq(stream_send(stream, "more", 4), -1);
    cr_expect_eq(errno, EPIPE);
    seen.data++;
    return length;
}

ON_EVERY_BACKEND(close_flushes_and_sends_no_reset)
{
    static const struct stream_handlers handlers = {.on_data = say_goodbye, .on_close = on_close};
    static char much[100000];
    char answer[8];
    int pair[2];
    tcp_pair(pair);
    memset(&seen, 0, sizeof seen);
    cr_assert_not_null(stream_open(reactor, pair[0], &handlers, NULL, NULL));
    give(pair[1], much, sizeof much);
    run_for(reactor, 20);
    cr_expect_eq(seen.data, 1);
    cr_expect_eq(seen.closes, 0, "it waits for our FIN");
    give(pair[1], much, sizeof much);
    run_for(reactor, 20);
    cr_expect_eq(read(pair[1], answer, sizeof answer), 3);
    cr_expect_eq(read(pair[1], answer, sizeof answer), 0, "FIN, not RST");
    close(pair[1]);
    run_for(reactor, 1000);
    cr_expect_eq(seen.closes, 1);
    cr_expect_eq(seen.error, 0);
}

ON_EVERY_BACKEND(closing_has_a_time_limit)
{
    static char much[100000];
    int pair[2];
    struct stream *stream = open_stream(reactor, &lines, pair);
    stream_send(stream, much, sizeof much);
    int64_t start = reactor_now_ms(reactor);
    stream_close(stream, 30);
    run_for(reactor, 5000);
    cr_expect_eq(seen.error, ETIMEDOUT);
    cr_expect_lt(reactor_now_ms(reactor) - start, 1000);
}

/* Reads all that comes. Returns how it ends: 0 for FIN, an errno for anything else. */
static int last_word(int fd, size_t *got)
{
    char bytes[65536];
    ssize_t n;
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    *got = 0;
    do {
        cr_assert_eq(poll(&ready, 1, 10000), 1, "nothing comes, after %zu bytes", *got);
        n = read(fd, bytes, sizeof bytes);
        *got += n > 0 ? (size_t)n : 0;
    } while (n > 0);
    return n < 0 ? errno : 0;
}

enum give_up { ABORT, LATE, TOO_LONG, WAYS };

/* A stream that owes much to a peer that does not read. */
static struct stream *owing_stream(struct reactor *reactor, int pair[2])
{
    static char much[1 << 20];
    tcp_pair(pair);
    setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &(int){4096}, sizeof(int));
    memset(&seen, 0, sizeof seen);
    struct stream *stream = stream_open(reactor, pair[0], &lines, NULL, NULL);
    cr_assert_not_null(stream);
    stream_read_while_full(stream);
    for (int i = 0; i < 8; i++)
        cr_assert_eq(stream_send(stream, much, sizeof much), 0);
    run_for(reactor, 5);
    cr_assert_gt(stream_unsent(stream), 0);
    return stream;
}

/* A FIN would tell the peer that it has all the bytes. */
ON_EVERY_BACKEND(a_peer_that_is_given_up_while_bytes_are_owed_sees_a_reset)
{
    static const int error[WAYS] = {ECANCELED, ETIMEDOUT, EMSGSIZE};
    static char line[STREAM_INPUT_MAX + 65536];
    memset(line, 'x', sizeof line);
    for (int way = ABORT; way < WAYS; way++) {
        int pair[2];
        size_t got, sent = 0;
        struct stream *stream = owing_stream(reactor, pair);
        if (way == ABORT)
            stream_abort(stream);
        if (way == LATE)
            stream_close(stream, 20);
        fcntl(pair[1], F_SETFL, O_NONBLOCK);
        while (way == TOO_LONG && seen.closes == 0 && sent < sizeof line) {
            ssize_t n = write(pair[1], line + sent, sizeof line - sent);
            sent += n > 0 ? (size_t)n : 0;
            run_for(reactor, 1);
        }
        if (seen.closes == 0)
            run_for(reactor, 5000);
        cr_expect_eq(seen.error, error[way], "%s", strerror(seen.error));
        int last = last_word(pair[1], &got);
        cr_expect_eq(last, ECONNRESET, "way %d: '%s' after %zu bytes", way, strerror(last), got);
        close(pair[1]);
    }
}

/* The peer does not leave in time. But the kernel has all its bytes, and goes on sending them. */
ON_EVERY_BACKEND(a_peer_for_which_the_kernel_has_all_sees_no_reset)
{
    enum { MUCH = 150000 };
    static char much[MUCH];
    int pair[2];
    size_t got;
    tcp_pair(pair);
    setsockopt(pair[0], SOL_SOCKET, SO_SNDBUF, &(int){200000}, sizeof(int));
    memset(&seen, 0, sizeof seen);
    struct stream *stream = stream_open(reactor, pair[0], &lines, NULL, NULL);
    cr_assert_eq(stream_send(stream, much, sizeof much), 0);
    stream_close(stream, 30);
    run_for(reactor, 5000);
    cr_expect_eq(seen.error, ETIMEDOUT);
    cr_expect_eq(last_word(pair[1], &got), 0, "%s", strerror(errno));
    cr_expect_eq(got, MUCH);
    close(pair[1]);
}

static void reset(int fd)
{
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){1, 0}, sizeof(struct linger));
    close(fd);
}

static void stay_open(struct stream *stream, const char *rest, size_t length)
{
    (void)stream, (void)rest, (void)length;
    seen.ends++;
}

/* No backend watches it, and its bytes stand in front of the end. */
ON_EVERY_BACKEND(a_lost_peer_is_noticed_although_nothing_is_wanted_of_it)
{
    static const struct stream_handlers handlers = {
        .on_data = on_data, .on_end = stay_open, .on_close = on_close};
    for (int paused = 0; paused < 2; paused++) {
        int pair[2];
        tcp_pair(pair);
        memset(&seen, 0, sizeof seen);
        struct stream *stream = stream_open(reactor, pair[0], &handlers, NULL, NULL);
        if (paused)
            stream_pause(stream);
        give(pair[1], "a line\n", 7);
        if (!paused)
            shutdown(pair[1], SHUT_WR);
        run_for(reactor, 10);
        cr_expect_eq(seen.ends, !paused);
        int64_t start = reactor_now_ms(reactor);
        reset(pair[1]);
        run_for(reactor, 10000);
        cr_expect_eq(seen.closes, 1, "paused: %d", paused);
        cr_expect(seen.error == ECONNRESET || seen.error == EPIPE, "%s", strerror(seen.error));
        cr_expect_lt(reactor_now_ms(reactor) - start, 2000);
    }
}

/* What a talkative stream got in each turn, and how many turns the other streams had. */
static struct {
    uint32_t number;
    int turns, messages, messages_max, others;
    size_t bytes, bytes_max, length_max, held_first, take;
} turn;

static size_t count_in_turn(struct stream *stream, const char *bytes, size_t length)
{
    (void)bytes;
    if (turn.held_first > 0 && turn.bytes_max == 0 && length < turn.held_first)
        return 0; /* so that the stream holds much when the test begins */
    if (turn.number != reactor_turn(stream_reactor(stream))) {
        turn.number = reactor_turn(stream_reactor(stream));
        turn.turns++;
        turn.messages = 0;
        turn.bytes = 0;
    }
    size_t used = turn.take < length ? turn.take : length;
    turn.messages++;
    turn.bytes += used;
    turn.messages_max = turn.messages > turn.messages_max ? turn.messages : turn.messages_max;
    turn.bytes_max = turn.bytes > turn.bytes_max ? turn.bytes : turn.bytes_max;
    turn.length_max = length > turn.length_max ? length : turn.length_max;
    seen.length += used;
    return used;
}

/* Has something to say in each turn. */
static size_t count_other(struct stream *stream, const char *bytes, size_t length)
{
    (void)bytes;
    turn.others++;
    stream_send(stream, "x", 1);
    return length;
}

static void talk(struct reactor *reactor, size_t take, size_t held, size_t length)
{
    static const struct stream_handlers talks = {.on_data = count_in_turn, .on_close = on_close};
    static const struct stream_handlers other = {.on_data = count_other};
    static char much[STREAM_INPUT_MAX + 20000];
    int pair[2], ring[2];
    memset(&turn, 0, sizeof turn);
    turn.take = take;
    turn.held_first = held;
    struct stream *stream = open_stream(reactor, &talks, pair);
    make_pair(ring);
    fcntl(ring[1], F_SETFL, O_NONBLOCK);
    struct stream *first = stream_open(reactor, ring[0], &other, NULL, NULL);
    struct stream *second = stream_open(reactor, ring[1], &other, NULL, NULL);
    cr_assert(first && second);
    cr_assert_eq(stream_send(first, "x", 1), 0); /* goes to and fro */
    for (size_t sent = 0; sent < length; run_for(reactor, 0)) {
        ssize_t n = write(pair[1], much, length - sent);
        sent += n > 0 ? (size_t)n : 0;
    }
    for (int i = 0; i < 100000 && seen.length < length; i++)
        run_for(reactor, 0);
    cr_expect_eq(seen.length, length);
    cr_expect_geq(turn.others, turn.turns - 1, "the other streams had %d turns of %d", turn.others,
                  turn.turns);
    stream_abort(stream);
    stream_abort(first);
    stream_abort(second);
    run_for(reactor, 5);
    run_for(reactor, 5);
}

ON_EVERY_BACKEND(a_turn_hands_over_64_messages_at_most)
{
    talk(reactor, 1, 0, 40000);
    cr_expect_eq(turn.messages_max, 64);
    cr_expect_leq(turn.length_max, 16384, "nothing is read while something waits");
}

ON_EVERY_BACKEND(a_turn_hands_over_64_kib_and_the_message_that_passes_that)
{
    talk(reactor, 2000, 100000, 120000);
    cr_expect(turn.bytes_max >= 65536 && turn.bytes_max < 65536 + 2000, "%zu bytes",
              turn.bytes_max);
}

/* Many whole messages are not one message that is too long. */
ON_EVERY_BACKEND(much_that_waits_for_the_next_turn_is_not_too_long)
{
    talk(reactor, 100, STREAM_INPUT_MAX + 1, STREAM_INPUT_MAX + 20000);
    cr_expect_eq(turn.messages_max, 64);
}

static void note_silence(struct stream *stream)
{
    seen.drains++; /* counts the silences here */
    stream_close(stream, 0);
}

ON_EVERY_BACKEND(a_peer_without_a_whole_message_is_closed_in_time)
{
    static const struct stream_handlers told = {
        .on_data = on_data, .on_close = on_close, .on_silence = note_silence};
    enum { LIMIT = 100 };
    for (int tells = 0; tells < 2; tells++) {
        char byte;
        int pair[2];
        struct stream *stream = open_stream(reactor, tells ? &told : &lines, pair);
        cr_assert_eq(stream_limit_silence(stream, LIMIT, 20000), 0);
        int64_t start = reactor_now_ms(reactor), end = 0;
        while (end == 0 && reactor_now_ms(reactor) < start + 5000) {
            give(pair[1], "x", 1); /* bytes, but never a line */
            run_for(reactor, 5);
            if (read(pair[1], &byte, 1) == 0)
                end = reactor_now_ms(reactor);
        }
        cr_expect_geq(end - start, LIMIT);
        cr_expect_lt(end - start, LIMIT + 1000);
        cr_expect_eq(seen.drains, tells);
        close(pair[1]);
        run_for(reactor, 5000);
        cr_expect_eq(seen.closes, 1);
        cr_expect_eq(seen.error, 0);
    }
}

/* The first message ends the first limit; from then on each byte counts, in either direction. */
ON_EVERY_BACKEND(a_peer_is_closed_when_no_byte_moves)
{
    enum { FIRST = 20000, IDLE = 150 };
    char byte;
    int pair[2];
    struct stream *stream = open_stream(reactor, &lines, pair);
    cr_assert_eq(stream_limit_silence(stream, FIRST, IDLE), 0);
    int64_t start = reactor_now_ms(reactor);
    give(pair[1], "a line\n", 7);
    int64_t last = 0, longest = 0;
    for (int i = 0; i < 60 && seen.closes == 0; i++) {
        int64_t before = reactor_now_ms(reactor);
        if (i < 30) /* one direction, then the other, each longer than the limit */
            give(pair[1], "x", 1);
        else
            stream_send(stream, "y", 1);
        run_for(reactor, 10);
        if (read(pair[1], &byte, 1) == 0)
            break;
        last = before;
        if (reactor_now_ms(reactor) - before > longest)
            longest = reactor_now_ms(reactor) - before;
    }
    if (longest < IDLE) /* else the machine was too busy to tell */
        cr_expect(last >= start + 59 * 10, "closed although bytes moved");
    while (read(pair[1], &byte, 1) != 0 && reactor_now_ms(reactor) < last + 5000)
        run_for(reactor, 5);
    cr_expect_geq(reactor_now_ms(reactor) - last, IDLE);
    cr_expect_lt(reactor_now_ms(reactor) - last, IDLE + 1000);
    close(pair[1]);
    run_for(reactor, 5000);
    cr_expect_eq(seen.closes, 1);
}

ON_EVERY_BACKEND(after_the_first_message_silence_is_not_limited_unless_asked_for)
{
    int pair[2];
    struct stream *stream = open_stream(reactor, &lines, pair);
    cr_assert_eq(stream_limit_silence(stream, 50, 0), 0);
    give(pair[1], "a line\n", 7);
    run_for(reactor, 150);
    give(pair[1], "another\n", 8);
    run_for(reactor, 10);
    cr_expect_eq(seen.data, 2);
    stream_abort(stream);
    run_for(reactor, 5000);
    cr_expect_eq(seen.error, ECANCELED);
}

ON_EVERY_BACKEND(stop_handles_what_has_arrived_and_no_more)
{
    int pair[2];
    struct stream *stream = open_stream(reactor, &lines, pair);
    give(pair[1], "a\nb\n", 4);
    stream_stop(stream, 5000);
    give(pair[1], "too late\n", 9);
    run_for(reactor, 10);
    cr_expect_eq(seen.length, 4);
    cr_expect_eq(seen.ends, 1);
    cr_expect_eq(seen.closes, 0);
    close(pair[1]);
    run_for(reactor, 1000);
    cr_expect_eq(seen.closes, 1);
}

ON_EVERY_BACKEND(lost_peer)
{
    int pair[2];
    tcp_pair(pair);
    memset(&seen, 0, sizeof seen);
    stream_open(reactor, pair[0], &lines, NULL, NULL);
    reset(pair[1]);
    run_for(reactor, 1000);
    cr_expect_eq(seen.closes, 1);
    cr_expect_eq(seen.error, ECONNRESET);
}

/* Half of them have lost their peers. None may vanish while the test walks over the list. */
ON_EVERY_BACKEND(sending_to_many_some_of_whom_are_lost)
{
    enum { MANY = 40 };
    int pair[MANY][2];
    struct stream_list list = {0};
    memset(&seen, 0, sizeof seen);
    for (int i = 0; i < MANY; i++) {
        make_pair(pair[i]);
        cr_assert_not_null(stream_open(reactor, pair[i][0], &lines, &list, NULL));
    }
    for (int i = 0; i < MANY; i += 2)
        close(pair[i][1]);
    for (int round = 0; round < 3; round++) {
        int count = 0, closed = seen.closes;
        for (struct stream *s = list.first; s; s = stream_next(s), count++)
            stream_send(s, "x", 1);
        cr_expect_eq(seen.closes, closed, "a stream vanished inside stream_send()");
        cr_expect_eq(count, round == 0 ? MANY : list.count);
        run_for(reactor, 10);
        run_for(reactor, 10);
    }
    for (int i = 0; i < 5 && seen.closes < MANY / 2; i++)
        run_for(reactor, 10);
    cr_expect_eq(seen.closes, MANY / 2);
    cr_expect_eq(list.count, MANY / 2);
    while (list.count > 0) {
        for (struct stream *s = list.first; s; s = stream_next(s))
            stream_abort(s);
        run_for(reactor, 10);
    }
}

/* The default of every server that is made of streams. */
Test(server, a_first_message_has_thirty_seconds)
{
    struct stream_server server = {0};
    char *arguments[] = {(char[]){"test"}, (char[]){"--port"}, (char[]){"0"}, NULL};
    stream_server_open(&server, 3, arguments, NULL);
    cr_expect_eq(server.first_ms, 30 * 1000);
    cr_expect_eq(server.idle_ms, 0, "never");
}
