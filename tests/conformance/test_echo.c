/* Clause 1: every byte comes back, in order, unchanged; nothing else is sent. */
#include <criterion/criterion.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../harness/harness.h"

SUITE(clause1_echo);

Test(clause1_echo, small_messages)
{
    server_start();
    struct client c = client_open();
    for (size_t size = 1; size <= 200; size++)
        client_echo(&c, size);
    client_close(&c);
    server_dismiss();
}

Test(clause1_echo, every_byte_value)
{
    unsigned char bytes[517] = {0xFF, 0xF4, 0xFF, 0xFD, 0x06}; /* telnet's interrupt: just bytes */
    for (int i = 0; i < 512; i++)
        bytes[5 + i] = (unsigned char)(i < 256 ? i : 511 - i);
    server_start();
    struct client c = client_open();
    client_say(&c, bytes, sizeof bytes);
    client_hear(&c, bytes, sizeof bytes);
    client_say(&c, "\0", 1);
    client_hear(&c, "\0", 1);
    client_close(&c);
    server_dismiss();
}

Test(clause1_echo, one_byte_segments)
{
    server_start();
    struct client c = client_open();
    for (int i = 0; i < 2000; i++)
        client_send(&c, 1);
    client_receive_all(&c);
    for (int i = 0; i < 200; i++)
        client_echo(&c, 1);
    client_close(&c);
    server_dismiss();
}

Test(clause1_echo, nothing_is_added)
{
    server_start();
    struct client c = client_open();
    cr_assert(!client_ready(&c, POLLIN, 100),
              "clause 1: it speaks, or closes, without being asked");
    client_echo(&c, 1000);
    cr_assert(!client_ready(&c, POLLIN, 100), "clause 1: something follows the echo");
    client_close(&c);
    server_dismiss();
}

Test(clause1_echo, sizes_around_a_buffer)
{
    static const size_t sizes[] = {511,   512,   513,   1023,   1024,   1025,   4095,   4096,
                                   4097,  8191,  8192,  8193,   16383,  16384,  16385,  32768,
                                   65535, 65536, 65537, 131071, 131072, 131073, 1 << 20};
    server_start();
    struct client c = client_open();
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++)
        client_echo(&c, sizes[i]);
    client_close(&c);
    server_dismiss();
}

Test(clause1_echo, stream_of_32_mib)
{
    server_start();
    struct client c = client_open();
    client_echo(&c, 32 << 20);
    client_shut(&c);
    client_expect_eof(&c);
    client_close(&c);
    server_dismiss();
}

/* Bytes of all clients wait in the server at the same time: one buffer for all would mix them. */
Test(clause1_echo, clients_do_not_mix)
{
    enum { MANY = 8 };
    struct client c[MANY];
    server_start();
    for (int i = 0; i < MANY; i++)
        c[i] = client_open_small();
    clients_push(c, MANY, 16 << 20);
    clients_echo(c, MANY, 300000);
    clients_close(c, MANY);
    server_dismiss();
}

Test(clause1_echo, five_hundred_clients)
{
    enum { MANY = 500 };
    static struct client c[MANY];
    server_start_with((struct start){.extra = "--backlog", .argument = "1024"});
    clients_open(c, MANY);
    for (int round = 0; round < 5; round++)
        clients_echo(c, MANY, 700);
    clients_echo(c, MANY, 20000);
    clients_close(c, MANY);
    server_dismiss();
}

/* A byte sent with MSG_OOB is a byte of the stream (RFC 6093): it has its place in the echo. */
Test(clause1_echo, urgent_data)
{
    server_start();
    struct client c = client_open();
    client_say(&c, "before", 6);
    cr_assert(send(c.fd, "!", 1, MSG_OOB) == 1);
    client_say(&c, "after", 5);
    client_hear(&c, "before!after", 12);
    cr_assert(send(c.fd, "!", 1, MSG_OOB) == 1);
    client_hear(&c, "!", 1);
    if (!server_has("busy"))
        cr_assert(server_settles(), "clause 6: it spins on urgent data that it has read");
    client_echo(&c, 1000);
    client_close(&c);
    server_dismiss();
}

/* A closed descriptor's number is free for a client, which then gets what is meant for stderr. */
Test(clause1_echo, closed_standard_descriptors)
{
    enum { MANY = 4 };
    struct client c[MANY];
    server_start_with((struct start){.extra = "--verbose", .standard = {CLOSED, 0, CLOSED}});
    for (int i = 0; i < MANY; i++) {
        c[i] = client_open();
        client_echo(&c[i], 100);
    }
    client_reset(&c[MANY - 1]);
    for (int i = 0; i < MANY - 1; i++) {
        bool ready = client_ready(&c[i], POLLIN, 50);
        AWAIT(ready ? 200 : 0, !server_running()); /* the server's end makes each client ready */
        cr_assert(server_running(), "clause 4: the server ended after a reset");
        cr_assert(!ready, "clause 1: client %d gets what nobody sent", i);
    }
    clients_echo(c, MANY - 1, 100);
    clients_close(c, MANY - 1);
    server_dismiss();
}

static bool has_ipv6(void)
{
    struct sockaddr_in6 a = {.sin6_family = AF_INET6, .sin6_addr = in6addr_loopback};
    int fd = socket(AF_INET6, SOCK_STREAM, 0);
    bool has = fd >= 0 && bind(fd, (struct sockaddr *)&a, sizeof a) == 0;
    close(fd);
    return has;
}

Test(clause1_echo, ipv6)
{
    if (!has_ipv6())
        cr_skip_test("no ::1 on this system");
    server_start_with((struct start){.host = "::1"});
    struct client c = client_open();
    client_echo(&c, 100000);
    client_shut(&c);
    client_expect_eof(&c);
    client_close(&c);
    server_dismiss();
}

/* SIGSTOP and SIGCONT, as from Ctrl-Z and fg: some calls fail with EINTR then, handler or not. */
Test(clause1_echo, stopped_and_continued)
{
    server_start();
    struct client c[2] = {client_open(), client_open()};
    for (int i = 0; i < 5; i++) {
        clients_echo(c, 2, 500000);
        client_put(&c[0], 1 << 20);
        server_pause();
        client_put(&c[0], 200000);
        client_put(&c[1], 10);
        nap(20);
        server_resume();
        client_receive_all(&c[0]);
        client_receive_all(&c[1]);
        server_pause(); /* and again while it is idle */
        server_resume();
    }
    clients_echo(c, 2, 1000);
    clients_close(c, 2);
    server_dismiss();
}
