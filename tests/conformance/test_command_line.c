/* The command line, the same for all servers. */
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../harness/harness.h"

SUITE(command_line);

static int lines_of(const char *text)
{
    int n = 0;
    for (; (text = strchr(text, '\n')); text++)
        n++;
    return n;
}

Test(command_line, help_and_version)
{
    static const char *const options[] = {"--host",    "--port", "--backlog",
                                          "--verbose", "--help", "--version"};
    struct outcome help = server_run((const char *const[]){"--help", NULL});
    cr_assert(help.status == 0 && help.err[0] == '\0', "--help: exit status %d, stderr '%s'",
              help.status, help.err);
    for (size_t i = 0; i < sizeof options / sizeof *options; i++)
        cr_assert(strstr(help.out, options[i]), "--help does not name %s", options[i]);
    struct outcome version = server_run((const char *const[]){"--version", NULL});
    cr_assert(version.status == 0 && version.err[0] == '\0', "--version: exit status %d",
              version.status);
    cr_assert(lines_of(version.out) == 1, "--version prints '%s', not one line", version.out);
}

static void is_wrong_usage(const char *first, const char *second)
{
    struct outcome o = server_run((const char *const[]){first, second, NULL});
    second = second ? second : "";
    cr_assert(o.status == 2, "%s '%s': exit status %d, not 2", first, second, o.status);
    cr_assert(o.out[0] == '\0', "%s '%s': '%s' on stdout", first, second, o.out);
    cr_assert(lines_of(o.err) == 2, "%s '%s': not two lines, but '%s'", first, second, o.err);
    cr_assert(strstr(strchr(o.err, '\n'), "--help"),
              "%s '%s': the second line does not point at --help, but says '%s'", first, second,
              o.err);
}

Test(command_line, numbers_are_parsed_whole_and_range_checked)
{
    static const char *const wrong[] = {
        "99999", "65536", "-1",  "abc",  "80x", "x80",  "",   " ",
        " 80",   "80 ",   "8 0", "0x50", "1e3", "80.0", "--", "99999999999999999999",
    };
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        is_wrong_usage("--port", wrong[i]);
    is_wrong_usage("--backlog", "0x");
    is_wrong_usage("--backlog", "-5");
    is_wrong_usage("--backlog", "");
    is_wrong_usage("--backlog", "many");
    is_wrong_usage("--backlog", "99999999999999999999");
}

Test(command_line, unknown_missing_and_left_over)
{
    is_wrong_usage("--no-such-option", NULL);
    is_wrong_usage("--verbose=yes", NULL);
    is_wrong_usage("-q", NULL);
    is_wrong_usage("--port", NULL);
    is_wrong_usage("--host", NULL);
    is_wrong_usage("--backlog", NULL);
    is_wrong_usage("7000", NULL);
    is_wrong_usage("--verbose", "left-over");
}

/* Exit status 1 and one line "NAME: bind ADDRESS: WHY". */
static void fails_to_bind(const char *host, int port, int error)
{
    char number[16], expected[256];
    snprintf(number, sizeof number, "%d", port);
    snprintf(expected, sizeof expected, ": bind %s:%d: %s\n", host, port, strerror(error));
    struct outcome o = server_run((const char *const[]){"--host", host, "--port", number, NULL});
    cr_assert(o.status == 1, "exit status %d, not 1, when it cannot bind", o.status);
    cr_assert(o.out[0] == '\0', "'%s' on stdout when it cannot bind", o.out);
    cr_assert(lines_of(o.err) == 1, "not one line when it cannot bind, but '%s'", o.err);
    const char *rest = strstr(o.err, expected);
    cr_assert(rest && strlen(rest) == strlen(expected), "not 'NAME%s', but '%s'", expected, o.err);
    cr_assert(server_is_called(o.err, (size_t)(rest - o.err)), "not the server's name: '%s'",
              o.err);
}

Test(command_line, port_in_use)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof a;
    int holder = socket(AF_INET, SOCK_STREAM, 0);
    fcntl(holder, F_SETFD, FD_CLOEXEC);
    cr_assert(bind(holder, (struct sockaddr *)&a, length) == 0 && listen(holder, 1) == 0);
    getsockname(holder, (struct sockaddr *)&a, &length);
    fails_to_bind("127.0.0.1", ntohs(a.sin_port), EADDRINUSE);
    close(holder);
}

Test(command_line, address_of_another_machine)
{
    fails_to_bind("203.0.113.1", 7000, EADDRNOTAVAIL); /* for documentation only (RFC 5737) */
}

Test(command_line, host_may_be_a_name)
{
    struct addrinfo *list;
    if (getaddrinfo("localhost", NULL, NULL, &list) != 0)
        cr_skip_test("this system does not know the name localhost");
    freeaddrinfo(list);
    server_start_with((struct start){.host = "localhost"});
    struct client c = client_open();
    client_echo(&c, 1000);
    client_close(&c);
    server_dismiss();
}

static long errors_size(void)
{
    return (long)lseek(server.errors, 0, SEEK_END);
}

Test(command_line, verbose_says_a_line_per_connection)
{
    server_start_with((struct start){.extra = "--verbose"});
    struct client c = client_open();
    client_echo(&c, 10);
    AWAIT(3000, errors_size() > 0);
    cr_assert(errors_size() > 0, "--verbose: nothing on stderr after a connection");
    client_close(&c);
    server_dismiss();
}

Test(command_line, without_verbose_it_is_silent)
{
    server_start();
    for (int i = 0; i < 10; i++) {
        struct client c = client_open();
        client_echo(&c, 10);
        if (i % 2)
            client_reset(&c);
        client_close(&c);
    }
    server_dismiss();
    cr_assert(errors_size() == 0, "without --verbose: %ld bytes on stderr", errors_size());
}

Test(command_line, nothing_follows_the_ready_line)
{
    char text[200];
    server_start_with((struct start){.extra = "--verbose"});
    for (int i = 0; i < 10; i++) {
        struct client c = client_open();
        client_echo(&c, 10);
        if (i % 2)
            client_reset(&c);
        client_close(&c);
    }
    server_dismiss();
    size_t length = server_has_printed(text, sizeof text);
    cr_assert(length == 0, "command line: more on stdout than the ready line: '%s'", text);
}

Test(command_line, small_backlog)
{
    struct client c[10];
    server_start_with((struct start){.extra = "--backlog", .argument = "16"});
    clients_open(c, 10);
    clients_echo(c, 10, 1000);
    clients_close(c, 10);
    server_dismiss();
}
