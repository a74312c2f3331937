/* The chat's client, as its user sees it. */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
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
    server = server_start("CHAT_SERVER", "--port 0");
    struct program ann = client_start("ann", NULL);
    expect_line(&ann, "* ann has joined\n");
    struct program bob = client_start("bob", NULL);
    expect_line(&ann, "* bob has joined\n");
    expect_line(&bob, "* bob has joined\n");
    type(&ann, "one\ntwo\nthr"); /* three lines at once: none may stay behind */
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
    cr_expect_eq(program_end(&ann, 5000), 1, "a lost server is");
}

/* epoll refuses a regular file. It is longer than what may be unsent. */
Test(client, input_from_a_file)
{
    enum { LINES = 4000 };
    char name[] = "/tmp/chat-input-XXXXXX", line[128];
    FILE *file = fdopen(mkstemp(name), "w");
    for (int i = 0; i < LINES; i++)
        fprintf(file, "line %d of a file, with some more words in it\n", i);
    fclose(file);
    server = server_start("CHAT_SERVER", "--port 0");
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
    cr_expect_eq(server_stop(&server), 0);
}

Test(client, nobody_controls_its_terminal)
{
    static const char hello[] = "\0\0\0\x18"
                                "{\"user\":\"eve\",\"text\":\"\"}";
    static const char text[] = "\0\0\0\x32"
                               "{\"user\":\"eve\",\"text\":\"a\\u001b[2J\\u0007\\u009bb\\nx\"}";
    server = server_start("CHAT_SERVER", "--port 0");
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
    cr_expect_eq(server_stop(&server), 0);
}

Test(client, no_server_and_a_name_that_is_taken)
{
    server = server_start("CHAT_SERVER", "--port 0");
    struct program ann = client_start("ann", NULL);
    expect_line(&ann, "* ann has joined\n");
    struct program second = client_start("ann", NULL);
    cr_expect_eq(program_end(&second, 5000), 1);
    cr_expect_eq(server_stop(&server), 0);
    cr_expect_eq(program_end(&ann, 5000), 1);
    struct program late = client_start("ann", NULL);
    cr_expect_eq(program_end(&late, 5000), 1);
}
