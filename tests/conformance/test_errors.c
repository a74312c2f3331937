/* Clause 4: a client's error (RST, EPIPE, a peer that never reads) ends that connection alone, and
 * costs other clients nothing. */
#include <criterion/criterion.h>

#include "../harness/harness.h"

SUITE(clause4_errors);

static struct client bystander;

static void begin(void)
{
    server_start();
    bystander = client_open();
    client_echo(&bystander, 5000);
}

static void unharmed(const char *after)
{
    cr_assert(server_running(), "clause 4: the server ended after %s%s", after, server_end());
    client_echo(&bystander, 200000);
    struct client fresh = client_open();
    client_echo(&fresh, 1000);
    client_close(&fresh);
}

static void end(void)
{
    client_close(&bystander);
    server_dismiss();
}

/* The server may have opened one or two of its own, when it first needed them. */
static void no_descriptor_is_lost(int before)
{
    int now = 0;
    AWAIT(STUCK_MS, (now = server_descriptors()) <= before + 2);
    cr_assert(now <= before + 2, "clause 4: %d descriptors open, %d before", now, before);
}

Test(clause4_errors, reset_in_mid_stream)
{
    enum { MANY = 20 };
    struct client c[MANY];
    begin();
    for (int round = 0; round < 5; round++) {
        clients_open(c, MANY);
        clients_echo(c, MANY, 50000);
        for (int i = 0; i < MANY; i++)
            client_put(&c[i], 300000);
        for (int i = 0; i < MANY; i++)
            client_reset(&c[i]);
        unharmed("RST in mid-stream");
    }
    end();
}

/* The server's echo meets a client that has gone: the first send() draws a RST, the next one
 * EPIPE and, unless it is ignored, SIGPIPE. So there must be enough to read for two turns,
 * and the FIN behind it must have come, too. */
Test(clause4_errors, leaves_with_echo_unread)
{
    static const size_t sizes[] = {10, 8000, 40000, 500000};
    begin();
    for (size_t i = 0; i < 4; i++) {
        struct client c = client_open();
        for (int round = 0; round < 16; round++)
            client_echo(&c, sizes[i]); /* lets the kernel's buffers grow until that fits */
        server_pause();
        client_put(&c, sizes[i]);
        client_close(&c);
        server_resume();
        unharmed("a client that left with its echo unread");
    }
    end();
}

/* The same while bytes wait in the server: it is writing, not reading, when the RST comes. */
Test(clause4_errors, reset_while_bytes_are_owed)
{
    enum { MANY = 10 };
    struct client c[MANY];
    begin();
    for (int i = 0; i < MANY; i++)
        c[i] = client_open_small();
    clients_push(c, MANY, 16 << 20);
    for (int i = 0; i < MANY; i++)
        if (i % 2)
            client_reset(&c[i]);
        else
            client_close(&c[i]);
    unharmed("RST while bytes were owed");
    if (!server_has("busy"))
        cr_assert(server_settles(), "clause 4: it spins over clients that have gone");
    end();
}

Test(clause4_errors, reset_after_half_close)
{
    begin();
    for (int i = 0; i < 20; i++) {
        struct client c = client_open();
        client_put(&c, 400000);
        client_shut(&c);
        client_reset(&c);
    }
    unharmed("RST after FIN");
    end();
}

Test(clause4_errors, reset_before_accept)
{
    begin();
    server_pause();
    for (int i = 0; i < 100; i++) {
        struct client c = client_open();
        if (i % 3)
            client_put(&c, 10);
        client_reset(&c);
    }
    server_resume();
    unharmed("RST before accept()");
    end();
}

Test(clause4_errors, connect_and_leave)
{
    begin();
    for (int i = 0; i < 500; i++) {
        struct client c = client_open();
        client_close(&c);
    }
    unharmed("clients that came and left");
    end();
}

Test(clause4_errors, never_readers_harm_nobody)
{
    enum { MANY = 10, WORST_MS = 250 };
    struct client c[MANY];
    begin();
    for (int i = 0; i < MANY; i++)
        c[i] = client_open_small();
    clients_push(c, MANY, 16 << 20);
    int64_t worst = 0;
    for (int i = 0; i < 50; i++) {
        int64_t start = now_ms();
        client_echo(&bystander, 100);
        worst = now_ms() - start > worst ? now_ms() - start : worst;
    }
    cr_assert(worst < patient(WORST_MS), "clause 4: an echo took %lld ms beside never-readers",
              (long long)worst);
    unharmed("clients that never read");
    clients_close(c, MANY);
    end();
}

Test(clause4_errors, no_descriptor_leaks_on_errors)
{
    enum { MANY = 30 };
    struct client c[MANY];
    begin();
    int before = server_descriptors();
    for (int round = 0; round < 4; round++) {
        for (int i = 0; i < MANY; i++)
            c[i] = client_open_small();
        if (round < 2) /* half of them while it reads, half while it writes */
            for (int i = 0; i < MANY; i++)
                client_put(&c[i], 100000);
        else
            clients_push(c, MANY, 4 << 20);
        for (int i = 0; i < MANY; i++)
            if (round % 2)
                client_reset(&c[i]);
            else
                client_close(&c[i]);
    }
    no_descriptor_is_lost(before);
    unharmed("many errors");
    end();
}

static void churn(int rounds)
{
    for (int i = 0; i < rounds; i++) {
        struct client c = client_open();
        client_echo(&c, 100 + (size_t)(i % 7) * 1000);
        if (i % 6 == 5)
            client_reset(&c);
        client_close(&c);
    }
}

/* 3,000 connections, one in six left by RST; then everything is as it was before. */
Test(clause4_errors, churn_without_a_leak)
{
    struct client c[20];
    begin();
    int first = server_descriptors();
    clients_open(c, 20); /* what a first client costs is not a leak */
    clients_echo(c, 20, 100000);
    clients_close(c, 20);
    churn(300);
    client_echo(&bystander, 100);
    no_descriptor_is_lost(first);
    AWAIT(1000, server_threads() <= 2);
    int threads = server_threads();
    long before = server_rss_kib();
    int descriptors = server_descriptors();
    churn(3000);
    no_descriptor_is_lost(descriptors);
    AWAIT(STUCK_MS, server_threads() <= threads);
    cr_assert(server_threads() <= threads, "clause 4: %d threads, %d before", server_threads(),
              threads);
    long grown = server_rss_kib() - before;
    cr_assert(server_has("sanitized") || grown < 1024,
              "clause 4: 3,000 connections leave %ld KiB behind", grown);
    end();
}
