/* The chat client, as its user sees it. */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "program.h"

TestSuite(client, .timeout = 60);

static struct program server;

static struct program client_start(const char *user, const char *input)
{
    char options[64];
    snprintf(options, sizeof options, "--port %d --user %s", server.port, user);
    return program_start("CHAT_CLIENT", options, input);
}

static void type(const struct program *client, const char *text)
{
    size_t length = strlen(text);
    cr_assert_eq(write(client->in, text, length), (ssize_t)length);
}

static void expect_line(struct program *client, const char *expected)
{
    char line[256] = "";
    size_t n = take(client->out, line, strlen(expected), 20000);
    cr_assert_str_eq(line, expected, "after %zu bytes: '%s', not '%s'", n, line, expected);
}

Test(client, two_talk)
{
    server = program_start_server("CHAT_SERVER", "--port 0");
    struct program ann = client_start("ann", NULL);
    expect_line(&ann, "* ann has joined\n");
    struct program bob = client_start("bob", NULL);
    expect_line(&ann, "* bob has joined\n");
    expect_line(&bob, "* bob has joined\n");
    type(&ann, "one\ntwo\nthr"); /* none of several lines may stay behind */
    expect_line(&bob, "ann: one\nann: two\n");
    type(&ann, "ee\n");
    expect_line(&bob, "ann: three\n");
    expect_line(&ann, "ann: one\nann: two\nann: three\n");
    type(&bob, "last, without end");
    close(bob.in);
    bob.in = -1;
    expect_line(&bob, "bob: last, without end\n");
    expect_line(&ann, "bob: last, without end\n* bob has left\n");
    cr_expect_eq(program_end(&bob, 5000), 0, "the end of input is no error");
    kill(server.pid, SIGKILL);
    program_end(&server, 5000);
    cr_expect_eq(program_end(&ann, 5000), 1, "a lost server is an error");
}

/* epoll refuses a regular file. This one is longer than the client's output buffer may be. */
Test(client, input_from_a_file)
{
    enum { LINES = 4000 };
    char name[] = "/tmp/chat-input-XXXXXX", line[128];
    FILE *file = fdopen(mkstemp(name), "w");
    for (int i = 0; i < LINES; i++)
        fprintf(file, "line %d of a file, with some more words in it\n", i);
    fclose(file);
    server = program_start_server("CHAT_SERVER", "--port 0");
    struct program ann = client_start("ann", name);
    unlink(name);
    expect_line(&ann, "* ann has joined\n");
    for (int i = 0; i < LINES; i++) {
        snprintf(line, sizeof line, "ann: line %d of a file, with some more words in it\n", i);
        expect_line(&ann, line);
    }
    cr_expect_eq(program_end(&ann, 5000), 0);
    struct program none = client_start("none", "/dev/null");
    expect_line(&none, "* none has joined\n");
    cr_expect_eq(program_end(&none, 5000), 0);
    cr_expect_eq(program_stop(&server), 0);
}

Test(client, a_message_cannot_control_its_terminal)
{
    static const char hello[] = "\0\0\0\x18"
                                "{\"user\":\"eve\",\"text\":\"\"}";
    static const char text[] = "\0\0\0\x32"
                               "{\"user\":\"eve\",\"text\":\"a\\u001b[2J\\u0007\\u009bb\\nx\"}";
    server = program_start_server("CHAT_SERVER", "--port 0");
    struct program ann = client_start("ann", NULL);
    expect_line(&ann, "* ann has joined\n");
    int eve = dial(&server);
    put(eve, hello, sizeof hello - 1);
    put(eve, text, sizeof text - 1);
    expect_line(&ann, "* eve has joined\neve: a?[2J??b?x\n");
    close(ann.in);
    ann.in = -1;
    cr_expect_eq(program_end(&ann, 5000), 0);
    close(eve);
    cr_expect_eq(program_stop(&server), 0);
}

/* The client sends a line that is too long in pieces, and breaks no character. */
Test(client, a_line_that_is_too_long)
{
    enum { PAIRS = 9000, PIECE = 8192 };
    static char line[2 * PAIRS + 3], expected[2 * PAIRS + 64], got[sizeof expected];
    server = program_start_server("CHAT_SERVER", "--port 0");
    struct program ann = client_start("ann", NULL);
    expect_line(&ann, "* ann has joined\n");
    strcpy(line, "x");
    for (int i = 0; i < PAIRS; i++)
        memcpy(line + 1 + 2 * i, "\xc3\xa9", 3);
    snprintf(expected, sizeof expected, "ann: %.*s\nann: %.*s\nann: %s\n", PIECE - 1, line, PIECE,
             line + PIECE - 1, line + 2 * PIECE - 1);
    strcat(line, "\n");
    type(&ann, line);
    size_t n = take(ann.out, got, strlen(expected), 20000);
    cr_expect_eq(n, strlen(expected));
    cr_expect_str_eq(got, expected);
    close(ann.in);
    ann.in = -1;
    cr_expect_eq(program_end(&ann, 5000), 0);
    cr_expect_eq(program_stop(&server), 0);
}

/* A server of the test's own, which only listens. */
static int listen_only(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t length = sizeof address;
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    cr_assert_eq(bind(listener, (struct sockaddr *)&address, length), 0);
    cr_assert_eq(listen(listener, 5), 0);
    cr_assert_eq(getsockname(listener, (struct sockaddr *)&address, &length), 0);
    fcntl(listener, F_SETFD, FD_CLOEXEC);
    server.port = ntohs(address.sin_port);
    return listener;
}

Test(client, a_server_that_is_not_a_chat_server)
{
    static const char *const said[] = {
        "HTTP/1.1 400 Bad Request\r\n\r\n", /* a frame that is too long */
        "\0\0\0\2[]", "\0\0\0\2{}"};
    static const size_t length[] = {28, 6, 6};
    int listener = listen_only();
    for (int i = 0; i < 3; i++) {
        struct program ann = client_start("ann", NULL);
        int fd = accept(listener, NULL, NULL);
        put(fd, said[i], length[i]);
        cr_expect_eq(program_end(&ann, 5000), 1, "after %s", said[i]);
        close(fd);
    }
    close(listener);
}

/* The server never reads and never answers. The client stops reading its input, and after the end
 * of input it waits for a while. */
Test(client, a_server_that_says_nothing)
{
    enum { MUCH = 64 << 20 };
    char name[] = "/tmp/chat-input-XXXXXX", line[4096];
    int listener = listen_only(), file = mkstemp(name);
    memset(line, 'x', sizeof line);
    line[sizeof line - 1] = '\n';
    for (int i = 0; i < MUCH / (int)sizeof line; i++)
        cr_assert_eq(write(file, line, sizeof line), (ssize_t)sizeof line);
    int64_t start = now_ms();
    struct program silent = client_start("ann", "/dev/null");
    int first = accept(listener, NULL, NULL);
    struct program busy = client_start("bob", name);
    int second = accept(listener, NULL, NULL);
    cr_expect_eq(program_end(&silent, 8000), 1);
    cr_expect_gt(now_ms() - start, 4500, "it gave up too early");
    long held = program_rss_kib(&busy); /* it has had the time to read all */
    if (held > 0 && !getenv("ROOM_SANITIZED"))
        cr_expect_lt(held, 16 * 1024, "KiB");
    close(second);
    cr_expect_eq(program_end(&busy, 5000), 1);
    close(first);
    close(listener);
    close(file);
    unlink(name);
}

/* The client loses the server in the middle of a turn, while it reads a long file. The rest of the
 * turn must not touch the connection, which is gone. */
Test(client, a_server_that_is_lost_while_a_file_is_sent)
{
    enum { TIMES = 20, LINES = 50000 };
    static char taken[64 * 1024];
    char name[] = "/tmp/chat-input-XXXXXX";
    int listener = listen_only();
    FILE *file = fdopen(mkstemp(name), "w");
    for (int i = 0; i < LINES; i++)
        fprintf(file, "line %d of a file, with some more words in it\n", i);
    fclose(file);
    for (int i = 0; i < TIMES; i++) {
        struct program ann = client_start("ann", name);
        int fd = accept(listener, NULL, NULL);
        cr_assert_eq(take(fd, taken, sizeof taken, 20000), sizeof taken);
        setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){1, 0}, sizeof(struct linger));
        close(fd);
        cr_expect_eq(program_end(&ann, 5000), 1);
    }
    close(listener);
    unlink(name);
}

Test(client, output_or_input_that_fails)
{
    server = program_start_server("CHAT_SERVER", "--port 0");
    struct program ann = client_start("ann", NULL), bob = client_start("bob", "/");
    cr_expect_eq(program_end(&bob, 8000), 1, "a directory cannot be read");
    close(ann.out);
    ann.out = -1;
    type(&ann, "hello\n");
    cr_expect_eq(program_end(&ann, 5000), 1, "SIGPIPE ended it");
    cr_expect_eq(program_stop(&server), 0);
}

Test(client, no_server_and_a_name_that_is_taken)
{
    server = program_start_server("CHAT_SERVER", "--port 0");
    struct program ann = client_start("ann", NULL);
    expect_line(&ann, "* ann has joined\n");
    struct program second = client_start("ann", NULL);
    cr_expect_eq(program_end(&second, 5000), 1);
    cr_expect_eq(program_stop(&server), 0);
    cr_expect_eq(program_end(&ann, 5000), 1);
    struct program late = client_start("ann", NULL);
    cr_expect_eq(program_end(&late, 5000), 1);
}
