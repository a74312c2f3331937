/* Streams that we open ourselves, and how streams end. Every test on every backend. */
#define _GNU_SOURCE
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdbool.h>
#include <stdlib.h>
#include <unistd.h>

#include "backends.h"
#include "stream.h"

static struct {
    char got[64];
    size_t length;
    int ends, closes, error;
} seen;

static size_t on_data(struct stream *stream, const char *bytes, size_t length)
{
    (void)stream;
    cr_assert_leq(seen.length + length, sizeof seen.got);
    memcpy(seen.got + seen.length, bytes, length);
    seen.length += length;
    return length;
}

static void on_close(struct stream *stream, int error)
{
    seen.closes++;
    seen.error = error;
    reactor_stop(stream_reactor(stream));
}

static const struct stream_handlers handlers = {.on_data = on_data, .on_close = on_close};

struct place {
    struct sockaddr_in address;
    struct addrinfo info;
    int listener;
};

/* A listener, and where it is. The place must not move. */
static void make_place(struct place *place, int backlog)
{
    socklen_t length = sizeof place->address;
    place->address = (struct sockaddr_in){.sin_family = AF_INET};
    place->address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    place->info = (struct addrinfo){
        .ai_family = AF_INET, .ai_addr = (struct sockaddr *)&place->address, .ai_addrlen = length};
    place->listener = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(bind(place->listener, place->info.ai_addr, length), 0);
    cr_assert_eq(listen(place->listener, backlog), 0);
    cr_assert_eq(getsockname(place->listener, place->info.ai_addr, &length), 0);
    memset(&seen, 0, sizeof seen);
}

/* accept() and read(), which run the reactor while they wait. */
static int accept_one(struct reactor *reactor, int listener)
{
    int fd = -1;
    fcntl(listener, F_SETFL, O_NONBLOCK);
    for (int waited = 0; fd < 0 && waited < 4000; waited += 10) {
        run_for(reactor, 10);
        fd = accept(listener, NULL, NULL);
    }
    return fd;
}

static ssize_t read_some(struct reactor *reactor, int fd, void *bytes, size_t size)
{
    ssize_t got = -1;
    fcntl(fd, F_SETFL, O_NONBLOCK);
    for (int waited = 0; got < 0 && waited < 4000; waited += 10) {
        run_for(reactor, 10);
        got = read(fd, bytes, size);
    }
    return got;
}

ON_EVERY_BACKEND(connection_of_ours)
{
    struct place place;
    char text[16] = "";
    int on = 0;
    make_place(&place, 5);
    struct stream *stream = stream_connect(reactor, &place.info, &handlers, NULL, NULL);
    cr_assert_not_null(stream);
    cr_expect_eq(stream_send(stream, "hello", 5), 0, "at once");
    stream_finish(stream);
    int other = accept_one(reactor, place.listener);
    cr_expect_eq(read_some(reactor, other, text, sizeof text), 5);
    cr_expect_eq(read_some(reactor, other, text, sizeof text), 0, "FIN");
    getsockopt(stream_fd(stream), IPPROTO_TCP, TCP_NODELAY, &on, &(socklen_t){sizeof on});
    cr_expect(on, "else a second small send waits for the acknowledgement of the first");
    cr_expect(fcntl(stream_fd(stream), F_GETFD) & FD_CLOEXEC);
    give(other, "you too", 7);
    close(other);
    run_for(reactor, 5000);
    cr_expect_eq(seen.length, 7);
    cr_expect_eq(seen.closes, 1);
    cr_expect_eq(seen.error, 0);
    close(place.listener);
}

/* Bytes that were sent at once go to the first address that accepts. */
ON_EVERY_BACKEND(each_address_in_turn)
{
    for (int all_refuse = 0; all_refuse < 2; all_refuse++) {
        struct place refuses, impossible, refuses_too, accepts;
        char text[16] = "";
        make_place(&refuses, 5);
        make_place(&impossible, 5);
        make_place(&refuses_too, 5);
        make_place(&accepts, 5);
        close(refuses.listener);
        close(refuses_too.listener);
        if (all_refuse)
            close(accepts.listener);
        impossible.address.sin_addr.s_addr = htonl(INADDR_BROADCAST);
        refuses.info.ai_next = &impossible.info;
        impossible.info.ai_next = &refuses_too.info;
        refuses_too.info.ai_next = &accepts.info;
        struct stream *stream = stream_connect(reactor, &refuses.info, &handlers, NULL, NULL);
        cr_assert(stream || all_refuse, "%s", strerror(errno)); /* some systems say it at once */
        if (stream) {
            cr_expect_eq(stream_send(stream, "hello", 5), 0);
            stream_finish(stream);
            if (all_refuse)
                run_for(reactor, 5000);
        }
        if (all_refuse) {
            cr_expect_eq(seen.closes, stream ? 1 : 0);
            cr_expect_eq(stream ? seen.error : errno, ECONNREFUSED);
        } else {
            int other = accept_one(reactor, accepts.listener);
            cr_assert_geq(other, 0, "no connection to the last address: %s", strerror(seen.error));
            cr_expect_eq(read_some(reactor, other, text, sizeof text), 5);
            cr_expect_str_eq(text, "hello");
            cr_expect_eq(read_some(reactor, other, text, sizeof text), 0, "FIN");
            close(other);
            run_for(reactor, 5000);
            cr_expect_eq(seen.error, 0);
            close(accepts.listener);
        }
        close(impossible.listener);
    }
}

ON_EVERY_BACKEND(connection_refused)
{
    for (int sending = 0; sending < 2; sending++) {
        struct place place;
        make_place(&place, 5);
        close(place.listener);
        struct stream *stream = stream_connect(reactor, &place.info, &handlers, NULL, NULL);
        if (!stream) { /* some systems say so at once */
            cr_expect_eq(errno, ECONNREFUSED);
            continue;
        }
        if (sending)
            stream_send(stream, "hello", 5);
        run_for(reactor, 5000);
        cr_expect_eq(seen.closes, 1);
        cr_expect_eq(seen.error, ECONNREFUSED);
    }
}

ON_EVERY_BACKEND(connection_that_cannot_even_begin)
{
    struct place place;
    make_place(&place, 5);
    place.address.sin_addr.s_addr = htonl(INADDR_BROADCAST);
    errno = 0;
    cr_expect_null(stream_connect(reactor, &place.info, &handlers, NULL, NULL));
    cr_expect_neq(errno, 0);
    cr_expect_neq(errno, EBADF);
    close(place.listener);
}

#ifdef __linux__
/* The backlog is full: the kernel drops the SYN, and sends it again after a second. shutdown() in
 * this second would give the connection up. */
ON_EVERY_BACKEND(finished_before_the_connection_is_made)
{
    struct place place;
    char byte;
    make_place(&place, 0);
    int first = socket(AF_INET, SOCK_STREAM, 0);
    cr_assert_eq(connect(first, place.info.ai_addr, place.info.ai_addrlen), 0);
    struct stream *stream = stream_connect(reactor, &place.info, &handlers, NULL, NULL);
    cr_assert_not_null(stream);
    stream_finish(stream);
    run_for(reactor, 50);
    cr_assert_eq(seen.closes, 0);
    close(accept(place.listener, NULL, NULL));       /* there is room again */
    int other = accept_one(reactor, place.listener); /* its SYN comes again after a second */
    cr_assert_geq(other, 0, "it was given up");
    cr_expect_eq(read_some(reactor, other, &byte, 1), 0, "FIN");
    give(other, "late", 4);
    close(other);
    run_for(reactor, 5000);
    cr_expect_eq(seen.length, 4);
    cr_expect_eq(seen.error, 0);
    close(first);
    close(place.listener);
}
#endif

static int what;

static void call_in_the_end(struct stream *stream, int error)
{
    on_close(stream, error);
    if (what == 0)
        cr_expect_eq(stream_send(stream, "x", 1), -1);
    if (what == 1)
        stream_pause(stream);
    if (what == 2)
        stream_resume(stream);
    if (what == 3)
        stream_finish(stream);
    if (what == 4)
        stream_close(stream, 10);
    if (what == 5)
        stream_stop(stream, 10);
    if (what == 6)
        stream_abort(stream);
}

/* What these calls start must not outlive the stream. The address sanitizer would see it. */
ON_EVERY_BACKEND(on_close_may_call_anything)
{
    static const struct stream_handlers all = {.on_data = on_data, .on_close = call_in_the_end};
    memset(&seen, 0, sizeof seen);
    for (what = 0; what <= 6; what++) {
        int pair[2];
        make_pair(pair);
        cr_assert_not_null(stream_open(reactor, pair[0], &all, NULL, NULL));
        close(pair[1]);
        run_for(reactor, 5000);
        cr_expect_eq(seen.closes, what + 1);
        run_for(reactor, 15);
        cr_expect_eq(seen.closes, what + 1);
    }
}

static void finish_at_the_end(struct stream *stream, const char *rest, size_t length)
{
    (void)rest, (void)length;
    seen.ends++;
    stream_finish(stream);
}

/* After stream_stop() the stream still waits for the peer's FIN, and ends with it. */
ON_EVERY_BACKEND(finish_after_a_stop_hears_the_peer_leave)
{
    static const struct stream_handlers all = {
        .on_data = on_data, .on_end = finish_at_the_end, .on_close = on_close};
    for (int finished = 0; finished < 2; finished++) {
        char byte;
        int pair[2];
        make_pair(pair);
        memset(&seen, 0, sizeof seen);
        struct stream *stream = stream_open(reactor, pair[0], &all, NULL, NULL);
        cr_assert_not_null(stream);
        if (finished) { /* already before */
            stream_finish(stream);
            run_for(reactor, 5);
        }
        stream_stop(stream, 20000);
        run_for(reactor, 5);
        cr_expect_eq(seen.ends, 1);
        cr_expect_eq(read(pair[1], &byte, 1), 0, "FIN");
        cr_expect_eq(seen.closes, 0);
        close(pair[1]);
        run_for(reactor, 5000);
        cr_expect_eq(seen.closes, 1);
        cr_expect_eq(seen.error, 0);
    }
}
