/* The small programs on the reactor, and what only chapter 07's echo server has. */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#include "program.h"

TestSuite(programs, .timeout = 60);

/* Reads until EOF. Returns how much, and leaves a string in text. */
static size_t take_all(int fd, char *text, size_t size)
{
    size_t length = take(fd, text, size - 1, 20000);
    text[length] = '\0';
    return length;
}

static int lines_in(const char *text)
{
    int lines = 0;
    for (; *text; text++)
        lines += *text == '\n';
    return lines;
}

Test(programs, stamp)
{
    char text[1024], stamp[32];
    struct program server = program_start_server("STAMP", "--port 0");
    int fd = dial(&server);
    put(fd, "hel", 3);
    nap(20);
    put(fd, "lo\nand the\nlast", 15);
    shutdown(fd, SHUT_WR);
    take_all(fd, text, sizeof text);
    cr_expect_eq(lines_in(text), 3);
    cr_expect_eq(sscanf(text, "[%31[A-Za-z0-9: ]] hello\n", stamp), 1, "%s", text);
    cr_expect_eq(strlen(stamp), 24, "as ctime(3) writes it: '%s'", stamp);
    cr_expect(strstr(text, "] hello\n[") && strstr(text, "] and the\n[") &&
              strstr(text, "] last\n"));
    close(fd);
    cr_expect_eq(program_stop(&server), 0);
}

#ifdef __linux__
static void limit_descriptors(const struct program *program, unsigned max)
{
    struct rlimit limit = {max, max};
    if (prlimit(program->pid, RLIMIT_NOFILE, &limit, NULL) != 0)
        cr_skip_test("this test may not change another process's limits here: %s", strerror(errno));
}

/* A client that finds no room waits in the backlog, and comes in when another one leaves. */
Test(programs, stamp_without_descriptors)
{
    enum { CLIENTS = 20 };
    int fd[CLIENTS];
    char text[64];
    struct program server = program_start_server("STAMP", "--port 0");
    limit_descriptors(&server, 12);
    for (int i = 0; i < CLIENTS; i++) {
        fd[i] = dial(&server);
        put(fd[i], "hi\n", 3);
    }
    for (int i = 0; i < CLIENTS; i++) { /* in the order of their arrival */
        cr_expect_eq(take(fd[i], text, 1, 20000), 1, "client %d", i);
        close(fd[i]);
    }
    cr_expect_eq(program_stop(&server), 0);
}
#endif

/* Every program stops like this: it answers what has arrived, then sends FIN, not RST. */
Test(programs, stamp_stops_with_fin)
{
    char text[1024];
    struct program server = program_start_server("STAMP", "--port 0");
    int fd = dial(&server), lost = dial(&server);
    put(fd, "one\n", 4);
    take(fd, text, 31, 20000);
    reset(lost);
    kill(server.pid, SIGSTOP);
    put(fd, "two\n", 4);
    kill(server.pid, SIGTERM);
    kill(server.pid, SIGCONT);
    take_all(fd, text, sizeof text);
    cr_expect(strstr(text, "] two\n"), "'%s'", text);
    int64_t start = now_ms();
    close(fd);
    cr_expect_eq(program_end(&server, 5000), 0);
    cr_expect_lt(now_ms() - start, 700, "all clients have left");
}

Test(programs, relay)
{
    enum { MUCH = 3000000 };
    char options[64], *out = malloc(MUCH), *in = malloc(MUCH);
    struct program echo = program_start_server("ECHO", "--port 0");
    snprintf(options, sizeof options, "--port 0 --to-port %d", echo.port);
    struct program relay = program_start_server("RELAY", options);
    int fd = dial(&relay);
    size_t sent = 0, received = 0;
    for (int i = 0; i < MUCH; i++)
        out[i] = (char)(i * 7 + i / 251);
    while (received < MUCH) { /* all bytes go through both, and come back */
        ssize_t n = sent < MUCH ? send(fd, out + sent, MUCH - sent, 0) : 0;
        sent += n > 0 ? (size_t)n : 0;
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        cr_assert(n > 0 || poll(&ready, 1, 10000) == 1);
        n = recv(fd, in + received, MUCH - received, 0);
        cr_assert(n > 0 || (n < 0 && errno == EAGAIN));
        received += n > 0 ? (size_t)n : 0;
    }
    cr_expect(memcmp(in, out, MUCH) == 0);
    put(fd, "last words", 10);
    shutdown(fd, SHUT_WR); /* the FIN goes through to the echo server, and its FIN comes back */
    take_text(fd, "last words");
    expect_eof(fd);
    int lost = dial(&relay);
    put(lost, "x", 1);
    take_text(lost, "x");
    reset(lost);
    cr_expect_eq(program_stop(&echo), 0);
    int late = dial(&relay); /* the echo server has gone */
    char byte;
    cr_expect_eq(take(late, &byte, 1, 5000), 0);
    cr_expect_eq(program_stop(&relay), 0);
}

/* The test listens on a free port, and is the server behind the relay. */
static int target_start_with(struct program *relay, const char *options)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t length = sizeof address;
    char text[96];
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    cr_assert_eq(bind(listener, (struct sockaddr *)&address, length), 0);
    cr_assert_eq(listen(listener, 64), 0);
    fcntl(listener, F_SETFD, FD_CLOEXEC);
    cr_assert_eq(getsockname(listener, (struct sockaddr *)&address, &length), 0);
    snprintf(text, sizeof text, "--port 0 --to-port %d %s", ntohs(address.sin_port), options);
    *relay = program_start_server("RELAY", text);
    return listener;
}

static int target_start(struct program *relay)
{
    return target_start_with(relay, "");
}

/* The state of the program's first thread, as in proc_pid_stat(5): 'R' if it runs or waits for a
 * CPU, '?' where the system does not tell. */
static char state_of(const struct program *program)
{
    char path[64], line[128];
    snprintf(path, sizeof path, "/proc/%d/stat", (int)program->pid);
    FILE *file = fopen(path, "r");
    const char *name = file && fgets(line, sizeof line, file) ? strrchr(line, ')') : NULL;
    if (file)
        fclose(file);
    return name && name[1] == ' ' ? name[2] : '?';
}

/* Is the program full, if it has taken nothing since then? If it sleeps, only an acknowledgement,
 * delayed by 40 ms, could still make room. If it waits for a CPU, it is about to read. */
static bool is_full(const struct program *program, int64_t since)
{
    enum { ASLEEP_MS = 100, UNKNOWN_MS = 300, AWAKE_MS = 3000 };
    char state = state_of(program);
    return now_ms() - since > (state == 'S' ? ASLEEP_MS : state == '?' ? UNKNOWN_MS : AWAKE_MS);
}

/* Sends until the program takes no more. Byte n is n % 251. Returns how much. */
static size_t fill(const struct program *program, int fd)
{
    static char bytes[251 * 256];
    struct pollfd ready = {.fd = fd, .events = POLLOUT};
    size_t sent = 0;
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = (char)(i % 251);
    for (int64_t last = now_ms(); poll(&ready, 1, 20) == 1 || !is_full(program, last);) {
        ssize_t n = send(fd, bytes + sent % 251, sizeof bytes - 251, 0);
        cr_assert(n > 0 || errno == EAGAIN);
        sent += n > 0 ? (size_t)n : 0;
        last = n > 0 ? now_ms() : last;
    }
    return sent;
}

static void expect_all(int fd, size_t length)
{
    unsigned char bytes[65536];
    size_t got = 0;
    for (size_t n; (n = take(fd, bytes, sizeof bytes, 20000)) > 0; got += n)
        for (size_t i = 0; i < n; i++)
            cr_assert_eq(bytes[i], (got + i) % 251);
    cr_expect_eq(got, length);
}

/* A slow reader on one side of the relay makes the sender on the other side wait. The relay holds
 * little, and loses nothing. */
Test(programs, relay_holds_little_for_a_slow_reader)
{
    struct program relay;
    int listener = target_start(&relay);
    int client = dial(&relay), target = accept(listener, NULL, NULL);
    fcntl(target, F_SETFL, O_NONBLOCK);
    put(client, "x", 1);
    take_text(target, "x");
    long before = program_rss_kib(&relay);
    size_t up = fill(&relay, client), down = fill(&relay, target);
    long grown = program_rss_kib(&relay) - before;
    cr_expect(up > 65536 && down > 65536, "%zu and %zu bytes", up, down);
    if (!getenv("ROOM_SANITIZED"))
        cr_expect_lt(grown, 1024, "KiB, for %zu and %zu bytes", up, down);
    shutdown(client, SHUT_WR);
    expect_all(target, up);
    close(target);
    expect_all(client, down);
    close(client);
    close(listener);
    cr_expect_eq(program_stop(&relay), 0);
}

/* The server reads nothing while it owes bytes. If the relay read nothing from a peer it owes much,
 * the two would wait for each other. */
Test(programs, relay_reads_from_a_peer_it_owes_much)
{
    enum { SMALL = 8192 };
    static char bytes[65536], kept[65536];
    struct program relay;
    int listener = target_start(&relay), small = SMALL;
    setsockopt(listener, SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    int client = dial(&relay), target = accept(listener, NULL, NULL);
    fcntl(target, F_SETFL, O_NONBLOCK);
    ssize_t owed = 0, sent = (ssize_t)fill(&relay, client),
            back = 0; /* all buffers on the way there are full */
    for (int64_t last = now_ms(); back < sent && now_ms() < last + patient(3000);) {
        struct pollfd ready[] = {{.fd = target, .events = owed == 0 ? POLLIN : POLLOUT},
                                 {.fd = client, .events = POLLIN}};
        poll(ready, 2, 100);
        ssize_t n = owed == 0 ? recv(target, kept, sizeof kept, 0) : 0;
        owed += n > 0 ? n : 0;
        n = owed > 0 ? send(target, kept, (size_t)owed, 0) : 0;
        owed -= n > 0 ? n : 0;
        n = recv(client, bytes, sizeof bytes, 0);
        back += n > 0 ? n : 0;
        last = n > 0 ? now_ms() : last;
    }
    cr_expect_eq(back, sent, "%zd bytes of %zd have come back", back, sent);
    close(client);
    close(target);
    close(listener);
    cr_expect_eq(program_stop(&relay), 0);
}

/* Bytes that end in the middle must not look complete. */
Test(programs, relay_passes_a_reset_on)
{
    enum { PART = 100000 };
    static char part[PART];
    struct program relay;
    int listener = target_start(&relay);
    for (int down = 0; down < 2; down++) { /* part of an answer has come, or of a request */
        int client = dial(&relay), target = accept(listener, NULL, NULL);
        int from = down ? target : client, to = down ? client : target;
        fcntl(target, F_SETFL, O_NONBLOCK);
        put(client, "?", 1);
        take_text(target, "?");
        put(from, part, PART);
        cr_assert_eq(take(to, part, 1000, 20000), 1000);
        reset(from);
        cr_expect_leq(expect_reset(to), PART - 1000);
        close(to);
    }
    close(listener);
    cr_expect_eq(program_stop(&relay), 0);
}

/* Each client has filled all buffers on the way to a server that reads nothing, so the relay does
 * not read from the client. The client's unread bytes must not hide its RST. */
Test(programs, relay_hears_of_a_reset_while_it_does_not_read)
{
    enum { CLIENTS = 30 };
    static char much[1 << 20];
    int client[CLIENTS], target[CLIENTS], small = 8192;
    struct program relay;
    int listener = target_start(&relay);
    setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    int before = sockets_of(&relay);
    for (int i = 0; i < CLIENTS; i++) {
        client[i] = dial(&relay);
        target[i] = accept(listener, NULL, NULL);
        fcntl(target[i], F_SETFL, O_NONBLOCK);
    }
    int64_t last = now_ms();
    do {
        nap(1);
        for (int i = 0; i < CLIENTS; i++)
            if (send(client[i], much, sizeof much, 0) > 0)
                last = now_ms();
    } while (!is_full(&relay, last));
    int64_t start = now_ms();
    for (int i = 0; i < CLIENTS; i++)
        reset(client[i]);
    while (before > 0 && sockets_of(&relay) > before && now_ms() < start + patient(2000))
        nap(10);
    cr_expect_eq(sockets_of(&relay), before, "the relay still holds descriptors");
    for (int i = 0; i < CLIENTS; i++) {
        expect_reset(target[i]);
        close(target[i]);
    }
    close(listener);
    cr_expect_eq(program_stop(&relay), 0);
}

/* The same for a server's RST, when the client does not read. */
Test(programs, relay_hears_of_the_servers_reset_while_it_does_not_read)
{
    struct program relay;
    int listener = target_start(&relay);
    int client = dial(&relay), target = accept(listener, NULL, NULL);
    fcntl(target, F_SETFL, O_NONBLOCK);
    cr_expect_gt(fill(&relay, target), 65536);
    int before = sockets_of(&relay);
    int64_t start = now_ms();
    reset(target);
    while (before > 0 && sockets_of(&relay) > before - 2 && now_ms() < start + patient(2000))
        nap(10);
    cr_expect_eq(sockets_of(&relay), before > 0 ? before - 2 : before);
    expect_reset(client);
    close(client);
    close(listener);
    cr_expect_eq(program_stop(&relay), 0);
}

/* Where "localhost" is ::1 first and then 127.0.0.1, only the second address has a listener. */
Test(programs, relay_to_a_name)
{
    struct program relay;
    struct addrinfo *list;
    if (getaddrinfo("localhost", NULL, NULL, &list) != 0)
        cr_skip_test("this system does not know the name localhost");
    freeaddrinfo(list);
    int listener = target_start_with(&relay, "--to-host localhost");
    int client = dial(&relay);
    put(client, "hello", 5);
    int target = accept(listener, NULL, NULL);
    fcntl(target, F_SETFL, O_NONBLOCK);
    take_text(target, "hello");
    close(target);
    close(client);
    close(listener);
    cr_expect_eq(program_stop(&relay), 0);
}

/* The client's bytes and its end are still on the way when the relay stops. Under the address
 * sanitizer a leak also fails this test. */
Test(programs, relay_stops_with_a_client_that_does_not_read)
{
    struct program relay;
    int listener = target_start(&relay);
    int client = dial(&relay), target = accept(listener, NULL, NULL);
    cr_expect_gt(fill(&relay, client), 65536);
    int64_t start = now_ms();
    cr_expect_eq(program_stop(&relay), 0);
    cr_expect_lt(now_ms() - start, 2500);
    close(client);
    close(target);
    close(listener);
}

Test(programs, relay_to_nowhere)
{
    char byte;
    /* connect() to that address fails at once. */
    struct program relay =
        program_start_server("RELAY", "--port 0 --to-host 255.255.255.255 --to-port 9");
    for (int i = 0; i < 3; i++) {
        int fd = dial(&relay);
        cr_expect_eq(take(fd, &byte, 1, 5000), 0);
        close(fd);
    }
    cr_expect_eq(program_stop(&relay), 0);
    struct program none = program_start("RELAY", "--port 0 --to-port 65536", "/dev/null");
    cr_expect_eq(program_end(&none, 5000), 2);
}

Test(programs, offload_does_not_wait)
{
    char text[4096];
    struct program server = program_start_server("OFFLOAD", "--port 0 --slow 100 --workers 4");
    int fd = dial(&server);
    int64_t start = now_ms();
    for (int i = 0; i < 20; i++) /* more than the server takes from a client at a time */
        put(fd, "127.0.0.1\n", 10);
    put(fd, "127.0.0.2", 9);
    shutdown(fd, SHUT_WR);
    take_all(fd, text, sizeof text);
    int64_t took = now_ms() - start;
    cr_expect_eq(lines_in(text), 21);
    cr_expect(strstr(text, "127.0.0.1 127.0.0.1\n") && strstr(text, "127.0.0.2 127.0.0.2\n"));
    cr_expect(took >= 500 && took < 1800, "21 times 0.1 s in four threads took %d ms", (int)took);
    cr_expect_eq(program_stop(&server), 0);
}

/* The client's work goes on without it, and the server serves the other clients. */
Test(programs, offload_client_leaves_while_its_work_runs)
{
    struct program server = program_start_server("OFFLOAD", "--port 0 --slow 50 --workers 2");
    for (int round = 0; round < 3; round++) {
        int gone[4];
        for (int i = 0; i < 4; i++) {
            gone[i] = dial(&server);
            put(gone[i], "127.0.0.1\n127.0.0.2\n", 20);
        }
        nap(20);
        for (int i = 0; i < 4; i++)
            if (i % 2)
                reset(gone[i]);
            else
                close(gone[i]);
    }
    int fd = dial(&server);
    put(fd, "127.0.0.3\n", 10);
    take_text(fd, "127.0.0.3 127.0.0.3\n");
    put(fd, "127.0.0.4\n", 10);
    nap(10);
    kill(server.pid, SIGTERM); /* with work still running */
    take_text(fd, "127.0.0.4 127.0.0.4\n");
    expect_eof(fd);
    close(fd);
    cr_expect_eq(program_end(&server, 5000), 0);
}

/* One client has sent FIN, one has gone, one waits. Each asks for more than there are threads. */
struct asked {
    struct program server;
    int ended, waits;
};

static struct asked ask_for_much(const char *options)
{
    struct asked asked = {.server = program_start_server("OFFLOAD", options)};
    int fd[3];
    for (int c = 0; c < 3; c++) {
        fd[c] = dial(&asked.server);
        put(fd[c], "127.0.0.1\n127.0.0.2\n127.0.0.3\n127.0.0.4\n", 40);
    }
    shutdown(fd[0], SHUT_WR);
    nap(50);
    reset(fd[1]);
    asked.ended = fd[0];
    asked.waits = fd[2];
    return asked;
}

/* A look-up cannot be cancelled, and may take longer than the program may take to end. Some of
 * these are over just when the program ends, and some long after. */
Test(programs, offload_stops_whatever_its_workers_do)
{
    enum { SERVERS = 4 };
    static const char *const options[SERVERS] = {
        "--port 0 --slow 20000 --workers 2", "--port 0 --slow 1000 --workers 8",
        "--port 0 --slow 1040 --workers 8", "--port 0 --slow 1080 --workers 8"};
    struct asked asked[SERVERS];
    int64_t start[SERVERS];
    for (int i = 0; i < SERVERS; i++) { /* all have their second at the same time */
        asked[i] = ask_for_much(options[i]);
        start[i] = now_ms();
        kill(asked[i].server.pid, SIGTERM);
    }
    for (int i = 0; i < SERVERS; i++) {
        cr_expect_eq(program_end(&asked[i].server, 5000), 0, "%s", options[i]);
        cr_expect_lt(now_ms() - start[i], patient(2000), "%s", options[i]);
        if (i == 0) { /* the server owes them their answers */
            expect_reset(asked[i].ended);
            expect_reset(asked[i].waits);
        }
        close(asked[i].ended);
        close(asked[i].waits);
    }
}

/* The server runs at most 16 look-ups of one client. A client that comes after another one's 10,000
 * lines waits only for 16 of them. The other lines wait where they cost the server nothing. */
Test(programs, offload_bounds_what_one_client_may_ask)
{
    enum { LINES = 10000, LINE = 10, ANSWER = 20, AHEAD = 16 };
    static char lines[LINES * LINE], answers[LINES * ANSWER];
    struct program server = program_start_server("OFFLOAD", "--port 0 --slow 10 --workers 1");
    for (int i = 0; i < LINES; i++)
        memcpy(lines + i * LINE, "127.0.0.1\n", LINE);
    long before = program_rss_kib(&server);
    int greedy = dial(&server), modest = dial(&server);
    put(greedy, lines, sizeof lines);
    take(greedy, answers, 10 * ANSWER, 20000); /* the server has had the time to take all lines */
    put(modest, "127.0.0.2\n", LINE);
    take_text(modest, "127.0.0.2 127.0.0.2\n");
    long grown = program_rss_kib(&server) - before;
    int64_t end = now_ms() + 20;
    ssize_t length = 0; /* the answers until then */
    while (now_ms() < end) {
        ssize_t n = recv(greedy, answers, sizeof answers, 0);
        length += n > 0 ? n : 0;
    }
    cr_expect_lt(length / ANSWER, 10 * AHEAD, "answers came before the second client's");
    if (!getenv("ROOM_SANITIZED"))
        cr_expect_lt(grown, 2048, "KiB");
    reset(greedy);
    close(modest);
    cr_expect_eq(program_stop(&server), 0);
}

/* One client sends nothing, and one half a message: both are closed. A third sends it all, and
 * stays. */
static void expect_a_limit_for_the_first_message(const char *variable, const char *half,
                                                 const char *rest, const char *answer)
{
    struct program server = program_start_server(variable, "--port 0 --first-message-timeout 1");
    int64_t start = now_ms();
    int silent = dial(&server), slow = dial(&server), good = dial(&server);
    put(slow, half, strlen(half));
    put(good, half, strlen(half));
    put(good, rest, strlen(rest));
    take_text(good, answer);
    expect_eof(silent);
    int64_t took = now_ms() - start;
    cr_expect(took >= 1000 && took < patient(2500), "%s: %d ms", variable, (int)took);
    expect_eof(slow);
    cr_expect_lt(now_ms() - start, patient(2500));
    put(good, half, strlen(half));
    put(good, rest, strlen(rest));
    char byte;
    cr_expect_eq(take(good, &byte, 1, 20000), 1, "closed although it has spoken");
    close(silent);
    close(slow);
    close(good);
    cr_expect_eq(program_stop(&server), 0);
}

Test(programs, a_client_without_a_message_is_closed)
{
    expect_a_limit_for_the_first_message("STAMP", "hel", "lo\n", "[");
    expect_a_limit_for_the_first_message("OFFLOAD", "127.0", ".0.1\n", "127.0.0.1 127.0.0.1\n");
}

/* server/a_first_message_has_thirty_seconds (../unit/stream.c) tests that they also do this. */
Test(programs, a_first_message_has_thirty_seconds)
{
    static const char *const variable[] = {"STAMP", "OFFLOAD", "RELAY", "CHAT_SERVER"};
    for (size_t i = 0; i < sizeof variable / sizeof *variable; i++) {
        char text[4096];
        if (!getenv(variable[i]))
            continue; /* the chat is only built where jansson is */
        struct program program = program_start(variable[i], "--help", "/dev/null");
        take_all(program.out, text, sizeof text);
        cr_expect(strstr(text, "--first-message-timeout SECONDS\n") &&
                      strstr(text, "without a whole message by then (default: 30; 0: never)\n"),
                  "%s: '%s'", variable[i], text);
        cr_expect_eq(program_end(&program, 5000), 0);
    }
}

/* For the relay a byte is a message. Both ends see a RST, which they cannot take for a FIN. */
Test(programs, relay_closes_a_client_without_a_byte)
{
    struct program relay;
    int listener = target_start_with(&relay, "--first-message-timeout 1");
    int64_t start = now_ms();
    int silent = dial(&relay), target = accept(listener, NULL, NULL);
    int good = dial(&relay), target_of_good = accept(listener, NULL, NULL);
    fcntl(target, F_SETFL, O_NONBLOCK);
    fcntl(target_of_good, F_SETFL, O_NONBLOCK);
    put(good, "x", 1);
    put(target, "a banner", 8); /* the server's bytes do not count */
    take_text(silent, "a banner");
    expect_reset(silent);
    expect_reset(target);
    int64_t took = now_ms() - start;
    cr_expect(took >= 1000 && took < patient(2500), "%d ms", (int)took);
    put(good, "y", 1);
    take_text(target_of_good, "xy");
    close(good);
    close(silent);
    close(target);
    close(target_of_good);
    close(listener);
    cr_expect_eq(program_stop(&relay), 0);
}

#ifdef __linux__
/* Silent clients have all descriptors, and more of them wait. The server still serves a client that
 * speaks. */
Test(programs, silent_clients_keep_no_client_out_for_long)
{
    enum { SILENT = 15 };
    int silent[SILENT];
    struct program server = program_start_server("STAMP", "--port 0 --first-message-timeout 1");
    limit_descriptors(&server, 16);
    for (int i = 0; i < SILENT; i++)
        silent[i] = dial(&server);
    int64_t start = now_ms();
    int fd = dial(&server);
    put(fd, "hello\n", 6);
    take_text(fd, "[");
    cr_expect_lt(now_ms() - start, patient(8000));
    for (int i = 0; i < SILENT; i++)
        close(silent[i]);
    close(fd);
    cr_expect_eq(program_stop(&server), 0);
}
#endif

Test(programs, streams_have_an_idle_timeout)
{
    char text[64];
    struct program server = program_start_server("STAMP", "--port 0 --idle-timeout 1");
    int quiet = dial(&server), busy = dial(&server);
    put(quiet, "a\n", 2);
    take(quiet, text, 29, 20000); /* "[Thu Jan  1 00:00:00 1970] a\n" */
    int64_t start = now_ms(), last = start, longest = 0;
    while (now_ms() < start + 2500) {
        put(busy, "b\n", 2);
        cr_assert(take(busy, text, 29, 20000) == 29 || longest > 900, "closed although it talks");
        nap(100);
        longest = now_ms() - last > longest ? now_ms() - last : longest;
        last = now_ms();
    }
    expect_eof(quiet);
    close(quiet);
    close(busy);
    cr_expect_eq(program_stop(&server), 0);
}

Test(programs, limits_of_time_are_checked)
{
    static const char *const wrong[] = {
        "--idle-timeout 0", "--idle-timeout 86401", "--first-message-timeout -1",
        "--first-message-timeout 86401", "--first-message-timeout 1s"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++) {
        char options[96];
        snprintf(options, sizeof options, "--port 0 %s", wrong[i]);
        struct program none = program_start("STAMP", options, "/dev/null");
        cr_expect_eq(program_end(&none, 5000), 2, "%s", wrong[i]);
    }
}

/* At the stop a client that reads none of its answers has a second. Then a RST tells it that it has
 * not got all. */
Test(programs, stamp_resets_a_client_that_is_owed_answers_at_the_end)
{
    static char lines[1 << 20];
    struct program server = program_start_server("STAMP", "--port 0");
    int fd = dial(&server);
    memset(lines, '\n', sizeof lines);
    int64_t last = now_ms();
    do {
        nap(1);
        if (send(fd, lines, sizeof lines, 0) > 0)
            last = now_ms();
    } while (!is_full(&server, last));
    cr_expect_eq(program_stop(&server), 0);
    expect_reset(fd);
    close(fd);
}

Test(programs, idle_timeout)
{
    struct program server = program_start_server("ECHO", "--port 0 --idle-timeout 1");
    int quiet = dial(&server), busy = dial(&server);
    int64_t start = now_ms(), quiet_ms = 0;
    while (now_ms() < start + 2000) {
        char byte;
        put(busy, "x", 1);
        cr_assert_eq(take(busy, &byte, 1, 5000), 1, "closed although bytes move");
        nap(50);
        if (quiet_ms == 0 && recv(quiet, &byte, 1, 0) == 0)
            quiet_ms = now_ms() - start;
    }
    cr_expect(quiet_ms >= 900 && quiet_ms < 1900, "closed after %d ms", (int)quiet_ms);
    close(busy);
    cr_expect_eq(program_stop(&server), 0);
}

static int count_tasks(pid_t pid)
{
    char path[64];
    int tasks = 0;
    snprintf(path, sizeof path, "/proc/%d/task", (int)pid);
    DIR *directory = opendir(path);
    if (!directory)
        return 0;
    for (struct dirent *entry; (entry = readdir(directory));)
        tasks += entry->d_name[0] != '.';
    closedir(directory);
    return tasks;
}

/* The threads serve more clients than there are threads, and stop together. */
static void many_threads(const char *options)
{
    enum { CLIENTS = 60 };
    int fd[CLIENTS];
    struct program server = program_start_server("THREADS", options);
    if (count_tasks(server.pid) > 0) /* a sanitizer may add a thread */
        cr_expect_geq(count_tasks(server.pid), 4);
    for (int i = 0; i < CLIENTS; i++)
        fd[i] = dial(&server);
    for (int round = 0; round < 20; round++) {
        for (int i = 0; i < CLIENTS; i++)
            put(fd[i], &"abcdefghijklmnopqrstuvwxyz"[round], 3);
        for (int i = 0; i < CLIENTS; i++)
            take_text(fd[i], (char[]){(char)('a' + round), (char)('b' + round), (char)('c' + round),
                                      '\0'});
    }
    kill(server.pid, SIGTERM);
    for (int i = 0; i < CLIENTS; i++) {
        expect_eof(fd[i]);
        close(fd[i]);
    }
    int64_t start = now_ms();
    cr_expect_eq(program_end(&server, 5000), 0);
    cr_expect_lt(now_ms() - start, 700);
}

Test(programs, four_threads)
{
    many_threads("--port 0 --threads 4");
}

Test(programs, four_threads_and_one_acceptor)
{
    many_threads("--port 0 --threads 4 --one-acceptor");
}

/* A client that sees FIN and connects again is refused: no thread still listens. */
Test(programs, threads_stop_listening_before_clients_are_told)
{
    enum { SERVERS = 25, CLIENTS = 20 };
    for (int i = 0; i < SERVERS; i++) {
        struct program server = program_start_server("THREADS", "--port 0 --threads 16");
        struct pollfd ready[CLIENTS];
        for (int c = 0; c < CLIENTS; c++) {
            ready[c] = (struct pollfd){.fd = dial(&server), .events = POLLIN};
            put(ready[c].fd, "x", 1);
            take_text(ready[c].fd, "x");
        }
        kill(server.pid, SIGTERM);
        cr_assert(poll(ready, CLIENTS, 5000) > 0);
        int fd = try_dial(&server);
        cr_expect(fd < 0 && errno == ECONNREFUSED, "a thread still listens");
        close(fd);
        for (int c = 0; c < CLIENTS; c++)
            close(ready[c].fd);
        cr_expect_eq(program_end(&server, 5000), 0);
    }
}

/* Several listeners of one server may share a port; another server's may not. */
Test(programs, a_shared_port_is_still_taken)
{
#ifdef SO_REUSEPORT_LB
    cr_skip_test("this system shares a port with every process of the user");
#endif
    char options[64];
    struct program server = program_start_server("THREADS", "--port 0 --threads 2");
    snprintf(options, sizeof options, "--port %d --threads 2", server.port);
    struct program second = program_start("THREADS", options, "/dev/null");
    cr_expect_eq(program_end(&second, 3000), 1);
    cr_expect_eq(program_stop(&server), 0);
}
