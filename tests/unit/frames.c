/* Frames, by themselves and through a stream that gets them in pieces. */
#define _GNU_SOURCE
#include "frame.h"

#include <errno.h>
#include <stdlib.h>
#include <unistd.h>

#include "backends.h"

Test(frames, find)
{
    cr_expect_eq(frame_find("", 0), FRAME_PARTIAL);
    cr_expect_eq(frame_find("\0\0\0", 3), FRAME_PARTIAL);
    cr_expect_eq(frame_find("\0\0\0\0", 4), 0);
    cr_expect_eq(frame_find("\0\0\0\3ab", 6), FRAME_PARTIAL);
    cr_expect_eq(frame_find("\0\0\0\3abc", 7), 3);
    cr_expect_eq(frame_find("\0\0\0\3abcd", 8), 3);
    cr_expect_eq(frame_find("\0\1\0\0", 4), FRAME_PARTIAL, "65536 is allowed");
    cr_expect_eq(frame_find("\0\1\0\1", 4), FRAME_BAD, "65537 is not, and is known at once");
    cr_expect_eq(frame_find("\377\377\377\377", 4), FRAME_BAD);
    cr_expect_eq(frame_find("\200\0\0\0", 4), FRAME_BAD);
}

static int frames;
static size_t total;

static size_t take_frame(struct stream *stream, const char *bytes, size_t length)
{
    int content = frame_find(bytes, length);
    (void)stream;
    cr_assert_neq(content, FRAME_BAD);
    if (content == FRAME_PARTIAL)
        return 0;
    for (int i = 0; i < content; i++)
        cr_assert_eq(bytes[FRAME_HEADER + i], (char)('a' + frames));
    frames++;
    total += (size_t)content;
    return FRAME_HEADER + (size_t)content;
}

static void stop(struct stream *stream, int error)
{
    cr_expect_eq(error, 0);
    reactor_stop(stream_reactor(stream));
}

static const struct stream_handlers handlers = {.on_data = take_frame, .on_close = stop};
static const size_t sizes[] = {1, 0, 5, 300, FRAME_MAX, 2, 70, 0, FRAME_MAX};
enum { SIZES = sizeof sizes / sizeof *sizes };

static void expect_all(void)
{
    size_t expected = 0;
    for (int i = 0; i < SIZES; i++)
        expected += sizes[i];
    cr_expect_eq(frames, SIZES);
    cr_expect_eq(total, expected);
}

ON_EVERY_BACKEND(frames_sent_and_received)
{
    int pair[2];
    char *content = malloc(FRAME_MAX + 1);
    make_pair(pair);
    fcntl(pair[1], F_SETFL, O_NONBLOCK);
    frames = 0;
    total = 0;
    struct stream *from = stream_open(reactor, pair[0], &handlers, NULL, NULL);
    cr_assert_not_null(stream_open(reactor, pair[1], &handlers, NULL, NULL));
    for (int i = 0; i < SIZES; i++) {
        memset(content, 'a' + i, sizes[i]);
        cr_assert_eq(frame_send(from, content, sizes[i]), 0);
    }
    cr_expect_eq(frame_send(from, content, FRAME_MAX + 1), -1);
    cr_expect_eq(errno, EMSGSIZE);
    stream_close(from, 5000);
    run_for(reactor, 5000);
    expect_all();
    run_for(reactor, 20);
    free(content);
}

/* The header arrives torn in every way, the content in small pieces. */
ON_EVERY_BACKEND(frames_in_pieces)
{
    int pair[2];
    make_pair(pair);
    frames = 0;
    total = 0;
    stream_open(reactor, pair[0], &handlers, NULL, NULL);
    for (int i = 0; i < SIZES; i++) {
        char *frame = malloc(FRAME_HEADER + sizes[i]);
        size_t all = FRAME_HEADER + sizes[i];
        memset(frame, 'a' + i, all);
        memcpy(frame, (char[]){0, (char)(sizes[i] >> 16), (char)(sizes[i] >> 8), (char)sizes[i]},
               FRAME_HEADER);
        for (size_t sent = 0, n; sent < all; sent += n) {
            n = sizes[i] < 100 ? 1 : (size_t)rand() % 9000 + 1;
            n = n < all - sent ? n : all - sent;
            cr_assert_eq(write(pair[1], frame + sent, n), (ssize_t)n);
            run_for(reactor, 0);
        }
        free(frame);
    }
    close(pair[1]);
    run_for(reactor, 1000);
    expect_all();
}
