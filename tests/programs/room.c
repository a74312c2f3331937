/* The chat room, as its members see it. */
#define _GNU_SOURCE
#include <arpa/inet.h>
#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <jansson.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "program.h"

TestSuite(room, .timeout = 100);

enum { FRAME_MAX = 65536 };

static struct program server;

static void put_frame(int fd, const char *content, size_t length)
{
    static char frame[4 + 2 * FRAME_MAX];
    uint32_t header = htonl((uint32_t)length);
    memcpy(frame, &header, sizeof header);
    memcpy(frame + sizeof header, content, length);
    put(fd, frame, sizeof header + length); /* Nagle would delay the second of two sends */
}

static void say(int fd, const char *user, const char *text)
{
    char *json = json_dumps(json_pack("{ss ss}", "user", user, "text", text), 0);
    put_frame(fd, json, strlen(json));
    free(json);
}

/* Takes the next frame's content. Returns false at the end. */
static bool take_frame(int fd, char content[FRAME_MAX + 1])
{
    uint32_t header;
    if (take(fd, &header, sizeof header, 20000) < sizeof header)
        return false;
    size_t length = ntohl(header);
    cr_assert_leq(length, FRAME_MAX);
    cr_assert_eq(take(fd, content, length, 20000), length);
    content[length] = '\0';
    return true;
}

static void expect_frame(int fd, const char *expected)
{
    char content[FRAME_MAX + 1];
    cr_assert(take_frame(fd, content), "the end, not %s", expected);
    cr_assert_str_eq(content, expected);
}

static int enter(const char *user)
{
    char expected[256];
    int fd = dial(&server);
    say(fd, user, "");
    snprintf(expected, sizeof expected, "{\"user\":\"\",\"text\":\"%s has joined\"}", user);
    expect_frame(fd, expected);
    return fd;
}

Test(room, all_members_get_the_same)
{
    server = program_start_server("CHAT_SERVER", "--port 0");
    int ann = enter("ann"), bob = enter("bob");
    expect_frame(ann, "{\"user\":\"\",\"text\":\"bob has joined\"}");
    say(bob, "bob", "hello \"all\" \xc3\xa9");
    expect_frame(ann, "{\"user\":\"bob\",\"text\":\"hello \\\"all\\\" \xc3\xa9\"}");
    expect_frame(bob, "{\"user\":\"bob\",\"text\":\"hello \\\"all\\\" \xc3\xa9\"}");
    close(bob);
    expect_frame(ann, "{\"user\":\"\",\"text\":\"bob has left\"}");
    close(enter("bob"));       /* the name is free again */
    int guest = dial(&server); /* not in the room: hears nothing, and disturbs no member */
    cr_expect_eq(program_stop(&server), 0);
    expect_eof(guest);
}

static void expect_error(int fd, const char *what)
{
    char content[FRAME_MAX + 1];
    cr_assert(take_frame(fd, content), "no error frame for %s", what);
    cr_assert(strstr(content, "\"error\""), "%s for %s", content, what);
    expect_eof(fd);
    close(fd);
}

Test(room, names_are_unique)
{
    server = program_start_server("CHAT_SERVER", "--port 0");
    int ann = enter("ann"), second = dial(&server);
    say(second, "ann", "it's me");
    expect_error(second, "a name twice");
    int bob = enter("bob");
    expect_frame(ann, "{\"user\":\"\",\"text\":\"bob has joined\"}");
    say(bob, "ann", "I am ann");
    expect_error(bob, "another member's name");
    expect_frame(ann, "{\"user\":\"\",\"text\":\"bob has left\"}");
    close(ann);
    cr_expect_eq(program_stop(&server), 0);
}

Test(room, a_bad_frame_costs_its_sender_alone)
{
    static const char *const bad[] = {"",
                                      "[1]",
                                      "5",
                                      "hello",
                                      "{\"user\":\"x\"}",
                                      "{\"user\":\"x\\u001b[31m\",\"text\":\"\"}",
                                      "{\"user\":\"\",\"text\":\"from the room?\"}",
                                      "{\"user\":\"x\",\"text\":\"\xff\"}",
                                      "{\"error\":\"x\"}"};
    server = program_start_server("CHAT_SERVER", "--port 0");
    int ann = enter("ann");
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        int fd = dial(&server);
        put_frame(fd, bad[i], strlen(bad[i]));
        expect_error(fd, bad[i]);
    }
    int fd = dial(&server);
    put(fd, "GET / HTTP/1.1\r\n\r\n", 18); /* a length of 1195725856 */
    expect_error(fd, "HTTP");
    say(ann, "ann", "still here");
    expect_frame(ann, "{\"user\":\"ann\",\"text\":\"still here\"}");
    close(ann);
    cr_expect_eq(program_stop(&server), 0);
}

Test(room, the_longest_message)
{
    char *text = malloc(FRAME_MAX), *json = malloc(2 * FRAME_MAX);
    server = program_start_server("CHAT_SERVER", "--port 0");
    int ann = enter("ann");
    size_t room = FRAME_MAX - strlen("{\"user\":\"ann\",\"text\":\"\"}");
    memset(text, 'x', room);
    text[room] = '\0';
    snprintf(json, 2 * FRAME_MAX, "{\"user\":\"ann\",\"text\":\"%s\"}", text);
    cr_assert_eq(strlen(json), FRAME_MAX);
    put_frame(ann, json, FRAME_MAX);
    expect_frame(ann, json);
    uint32_t header = htonl(FRAME_MAX + 1);
    put(ann, &header, sizeof header);
    expect_error(ann, "a frame that is too long");
    cr_expect_eq(program_stop(&server), 0);
}

/* Reads what there is, and throws it away. */
static void drain(int fd)
{
    char bytes[65536];
    while (read(fd, bytes, sizeof bytes) > 0)
        continue;
}

/* A client must send its name in time. A member that has sent it may be silent for any time. */
Test(room, a_client_without_a_name_is_told_to_leave)
{
    server = program_start_server("CHAT_SERVER", "--port 0 --first-message-timeout 1");
    int64_t start = now_ms();
    int silent = dial(&server), slow = dial(&server), ann = enter("ann");
    put(slow, "\0\0\0\x40{", 5); /* a frame that does not end */
    expect_error(silent, "silence");
    int64_t took = now_ms() - start;
    cr_expect(took >= 1000 && took < patient(2500), "%d ms", (int)took);
    expect_error(slow, "half a frame");
    say(ann, "ann", "still here");
    expect_frame(ann, "{\"user\":\"ann\",\"text\":\"still here\"}");
    close(ann);
    cr_expect_eq(program_stop(&server), 0);
}

/* One member sends as many of the smallest messages as a turn reads, and a second member sends one.
 * Then the server sees both. It may only hand on a bounded number of the first member's messages
 * before the second has its turn, although each one goes to 400 members. */
Test(room, a_member_does_not_wait_for_all_of_a_flood)
{
    enum { OTHERS = 398, FRAMES = 600, TURN = 64 };
    static char flood[16384], content[FRAME_MAX + 1];
    static const char frame[] = "\0\0\0\x17{\"user\":\"f\",\"text\":\"x\"}";
    int others[OTHERS], before = 0;
    char name[16];
    server = program_start_server("CHAT_SERVER", "--port 0");
    int flooder = enter("f"), second = enter("s");
    for (int i = 0; i < OTHERS; i++) {
        snprintf(name, sizeof name, "%d", i);
        others[i] = enter(name);
    }
    drain(flooder);
    int listener = enter("l"); /* has nothing to read yet */
    size_t length = sizeof frame - 1;
    for (int i = 0; i < FRAMES; i++)
        memcpy(flood + (size_t)i * length, frame, length);
    kill(server.pid, SIGSTOP);
    put(flooder, flood, FRAMES * length);
    say(second, "s", "me, too");
    kill(server.pid, SIGCONT);
    while (take_frame(listener, content) && !strstr(content, "me, too"))
        before++;
    cr_expect_leq(before, TURN);
    while (before < FRAMES && take_frame(listener, content)) /* the other messages are not lost */
        before++;
    cr_expect_eq(before, FRAMES);
    for (int i = 0; i < OTHERS; i++)
        close(others[i]);
    close(listener);
    close(second);
    close(flooder);
    cr_expect_eq(program_stop(&server), 0);
}

/* Where TCP_MAXSEG has no effect before connect(), the kernel takes megabytes for a member that
 * does not read. */
#ifdef __linux__
enum { ROUNDS = 700 };
#else
enum { ROUNDS = 1200 };
#endif
enum { MEMBERS = 200, TEXT = 4000 };

/* In a round one member speaks, and all but the sleeper must hear it within the time limit. */
static int64_t round_trip(const int *members, int speaker, const char *text)
{
    char name[16];
    int64_t start = now_ms();
    snprintf(name, sizeof name, "m%d", speaker);
    say(members[speaker], name, text);
    for (int i = 1; i < MEMBERS; i++) {
        struct pollfd ready = {.fd = members[i], .events = POLLIN};
        cr_assert_eq(poll(&ready, 1, patient(5000)), 1, "member %d waits", i);
        drain(members[i]);
    }
    return now_ms() - start;
}

/* The kernel takes little for this connection. The send buffer at the other end grows with the size
 * of the segments, and loopback's, of 64 KiB, would let it grow to megabytes. */
static int dial_narrow(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)server.port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    setsockopt(fd, SOL_SOCKET, SO_RCVBUF, &(int){16 * 1024}, sizeof(int));
    setsockopt(fd, IPPROTO_TCP, TCP_MAXSEG, &(int){1400}, sizeof(int));
    cr_assert_eq(connect(fd, (struct sockaddr *)&address, sizeof address), 0);
    fcntl(fd, F_SETFL, O_NONBLOCK);
    return fd;
}

/* Member 0 says nothing and reads nothing. All messages together are twice what the server and the
 * kernel take for it. It must go, and no other member may notice before "has left" tells them. */
Test(room, of_200_members_one_never_reads)
{
    static char text[TEXT + 1];
    int members[MEMBERS];
    char name[16], content[FRAME_MAX + 1];
    int64_t worst = 0;
    server = program_start_server("CHAT_SERVER", "--port 0");
    for (int i = 0; i < MEMBERS; i++) {
        snprintf(name, sizeof name, "m%d", i);
        if (i == 0) {
            members[0] = dial_narrow();
            say(members[0], name, "");
        } else {
            members[i] = enter(name);
        }
    }
    memset(text, 'x', TEXT);
    long before = program_rss_kib(&server);
    for (int round = 0; round < ROUNDS; round++) {
        int64_t took = round_trip(members, 1 + round % (MEMBERS - 1), text);
        worst = took > worst ? took : worst;
    }
    long grown = program_rss_kib(&server) - before;
    fprintf(stderr, "the longest round took %d ms, memory grew by %ld KiB\n", (int)worst, grown);
    cr_expect_lt(worst, patient(2000));
    if (!getenv("ROOM_SANITIZED")) /* a sanitizer keeps freed memory on purpose */
        cr_expect_lt(grown, 4 * 1024);
    bool told = false; /* its backlog, then the reason, then the end */
    while (take_frame(members[0], content))
        told = strstr(content, "\"error\":\"you read too slowly\"");
    cr_expect(told || errno == ECONNRESET, "it was dropped without an error frame");
    cr_expect_eq(program_stop(&server), 0);
}
