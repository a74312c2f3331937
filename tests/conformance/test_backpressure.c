/* Clause 3: while a connection has unsent bytes, the server does not read from it. At most 64 KiB
 * are held per connection, and only while they are unsent: an idle connection holds no buffer. */
#include <criterion/criterion.h>

#include "../harness/harness.h"

SUITE(clause3_backpressure);

enum { MIB = 1 << 20, HELD_KIB = 64, SLACK_KIB = 16, NOISE_KIB = 2048 };

static void needs_memory_figures(void)
{
    if (server_has("sanitized"))
        cr_skip_test("under a sanitizer the memory is mostly the sanitizer's");
}

/* The server takes the memory now that one busy client costs. Each piece fits into the kernels'
 * buffers, however late the client reads it: what a full buffer costs is asked elsewhere. */
static struct client open_after_echoes(void)
{
    enum { PIECES = 64, PIECE = 64 * 1024 };
    struct client first = client_open();
    for (int i = 0; i < PIECES; i++)
        client_echo(&first, PIECE);
    return first;
}

Test(clause3_backpressure, never_reader_is_not_read)
{
    server_start();
    struct client c = client_open_small();
    clients_push(&c, 1, 96 * MIB);
    cr_assert(c.sent < 96 * MIB, "clause 3: it goes on reading from a client that reads nothing");
    cr_assert(!c.reset, "clause 3: a client that reads nothing is to wait, not to be cut off");
    client_close(&c);
    server_dismiss();
}

/* Twenty clients push until nothing more goes, and read nothing. */
Test(clause3_backpressure, memory_is_bounded)
{
    enum { MANY = 20, BOUND_KIB = MANY * (HELD_KIB + SLACK_KIB) + NOISE_KIB };
    struct client c[MANY], first;
    server_start();
    needs_memory_figures();
    first = open_after_echoes();
    long before = server_rss_kib();
    for (int i = 0; i < MANY; i++)
        c[i] = client_open_small();
    clients_push(c, MANY, 12 * MIB);
    long grown = server_rss_kib() - before;
    cr_assert(before > 0 && grown < BOUND_KIB,
              "clause 3: %ld KiB for %d clients that read nothing, more than %d", grown, MANY,
              BOUND_KIB);
    clients_close(c, MANY);
    client_close(&first);
    server_dismiss();
}

Test(clause3_backpressure, waiting_for_a_slow_client_costs_no_cpu)
{
    enum { MANY = 5 };
    struct client c[MANY];
    if (server_has("busy"))
        cr_skip_test("this server burns CPU by design");
    server_start();
    for (int i = 0; i < MANY; i++)
        c[i] = client_open_small();
    clients_push(c, MANY, 64 * MIB);
    cr_assert(server_settles(), "clause 6: it spins while its clients do not read");
    clients_close(c, MANY);
    cr_assert(server_settles(), "clause 6: it spins after such clients have left");
    server_dismiss();
}

Test(clause3_backpressure, slow_reader_loses_nothing)
{
    server_start();
    struct client c = client_open_small();
    while (c.sent < 12 * MIB) { /* two written, one read: the server is blocked again and again */
        clients_push(&c, 1, c.sent + MIB);
        uint64_t goal = c.received + MIB / 2;
        while (c.received < goal && c.received < c.sent)
            client_receive(&c, 10000);
    }
    client_receive_all(&c);
    client_close(&c);
    server_dismiss();
}

/* This client sends nothing more, so no event but "writable" can make the server go on. */
Test(clause3_backpressure, held_bytes_come_when_there_is_room)
{
    server_start();
    struct client c = client_open_owed();
    client_receive_all(&c);
    client_close(&c);
    server_dismiss();
}

/* Each client has 64 KiB echoed, then stays, in silence. Together they must cost far less. */
Test(clause3_backpressure, idle_connection_holds_no_buffer)
{
    enum { MANY = 300 };
    static struct client c[MANY];
    int each = server_has("threads") ? 40 : 8; /* KiB; a thread needs some for itself */
    server_start();
    needs_memory_figures();
    c[0] = open_after_echoes();
    long before = server_rss_kib();
    for (int i = 1; i < MANY; i++) {
        c[i] = client_open();
        client_echo(&c[i], 64 * 1024);
    }
    long grown = server_rss_kib() - before;
    cr_assert(before > 0 && grown < MANY * each,
              "clause 3: %ld KiB for %d idle clients, more than %d each", grown, MANY, each);
    clients_close(c, MANY);
    server_dismiss();
}
