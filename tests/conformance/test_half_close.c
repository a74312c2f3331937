/* Clause 2: after the client's FIN the server sends all it still owes, then closes. EOF reaches
 * the client only after the last byte. */
#include <criterion/criterion.h>

#include "../harness/harness.h"

SUITE(clause2_half_close);

static void finish(struct client *c)
{
    client_shut(c);
    client_receive_all(c);
    client_expect_eof(c);
    client_close(c);
}

Test(clause2_half_close, fin_alone)
{
    server_start();
    struct client c = client_open();
    client_shut(&c);
    client_expect_eof(&c);
    client_close(&c);
    server_dismiss();
}

Test(clause2_half_close, request_then_fin)
{
    server_start();
    for (int i = 0; i < 200; i++) {
        struct client c = client_open();
        client_send(&c, 1 + (size_t)i * 100);
        finish(&c);
    }
    server_dismiss();
}

/* The server finds bytes and FIN, even of a connection it has not accepted yet, in one go. */
Test(clause2_half_close, bytes_and_fin_at_once)
{
    enum { MANY = 50 };
    struct client c[MANY];
    server_start();
    clients_open(c, MANY / 2);
    clients_echo(c, MANY / 2, 1);
    server_pause();
    clients_open(c + MANY / 2, MANY / 2);
    for (int i = 0; i < MANY; i++) {
        client_send(&c[i], 20000);
        client_shut(&c[i]);
    }
    server_resume();
    for (int i = 0; i < MANY; i++)
        finish(&c[i]);
    server_dismiss();
}

Test(clause2_half_close, megabytes_owed)
{
    server_start();
    struct client c = client_open();
    clients_push(&c, 1, 64 << 20);
    cr_assert(c.sent > 200000, "the test could send no more than %llu bytes",
              (unsigned long long)c.sent);
    finish(&c);
    server_dismiss();
}

/* The echo waits in the server and in the kernel for a client that first writes everything, then
 * does something else, and only then reads, a little at a time. */
Test(clause2_half_close, late_reader)
{
    server_start();
    struct client late = client_open_small(), other = client_open();
    clients_push(&late, 1, 64 << 20);
    client_shut(&late);
    for (int i = 0; i < 100; i++)
        client_echo(&other, 100);
    for (int i = 0; i < 200 && late.received < late.sent; i++) {
        client_receive(&late, 3000);
        nap(1);
    }
    finish(&late);
    client_close(&other);
    server_dismiss();
}
