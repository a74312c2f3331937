/* What a client must see of calls that fail. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "calls.h"
#include "fault.h"

enum { MANY = 6, CLIENTS_MAX = 2 * MANY, TIMES_MIN = 2 };

static void must_have_happened(long min)
{
    AWAIT(1000, injected() >= min); /* the last one is counted after it has happened */
    long times = injected();
    must(times >= min, "the fault happened %ld times, fewer than %ld", times, min);
}

/* Half-closes each connection. The clients get EOF, and the server ends well. */
static void finish(struct client *c, int count)
{
    for (int i = 0; i < count; i++)
        if (!ended(&c[i])) {
            client_shut(&c[i]);
            client_expect_eof(&c[i]);
        }
    clients_close(c, count);
    must_settle();
    server_stop();
}

/* The fault passes, or a client only has to wait: each client gets everything. */
void nobody_notices(const struct fault *fault)
{
    struct client c[MANY];
    start_under(fault);
    c[0] = client_open();
    client_echo(&c[0], 1000);
    clients_open(c + 1, MANY - 1);
    for (int round = 0; round < 4; round++)
        clients_echo(c, MANY, 3000);
    client_echo(&c[0], 300000);
    must_have_happened(TIMES_MIN);
    finish(c, MANY);
}

void nobody_notices_at_all_sizes(const struct fault *fault)
{
    struct client c[MANY];
    start_under(fault);
    clients_open(c, MANY);
    for (size_t size = 1; size < 50; size++)
        clients_echo(c, MANY, size);
    clients_echo(c, MANY, 20000);
    must_have_happened(300);
    finish(c, MANY);
}

/* How many have ended by now. A connection may end after its echo is complete. */
static int count_ended_by_now(struct client *c, int count)
{
    int n = 0;
    for (int i = 0; i < count; i++) {
        if (!ended(&c[i]))
            client_take(&c[i], 1);
        n += ended(&c[i]);
    }
    return n;
}

/* Each time it happens, the fault ends one connection and no other. strace counts the calls of each
 * thread. So the first client says little, and its thread makes too few calls. Where threads share
 * the clients, more clients may have to come before one thread has made enough. owed: the server
 * has bytes of the client that it loses, so FIN would be a lie. */
static void lose_some(const struct fault *fault, bool owed)
{
    struct client c[CLIENTS_MAX];
    int count = MANY, lost = 0;
    start_under(fault);
    c[0] = client_open();
    exchange(c, 1, 1000, false);
    clients_open(c + 1, MANY - 1);
    for (int round = 0; round < 10; round++)
        exchange(c + 1, MANY - 1, 1000, false);
    for (; injected() == 0 && count < CLIENTS_MAX; count++) {
        c[count] = client_open();
        exchange(&c[count], 1, 1000, false);
    }
    exchange(c, count, 500, false);
    AWAIT(3000, (lost = count_ended_by_now(c, count)) == injected());
    long times = injected();
    must(times > 0, "the fault never happened");
    must(lost == times, "%d connections ended, of %ld that failed", lost, times);
    must(lost < count, "all connections ended");
    for (int i = 0; i < count; i++)
        must(!owed || !c[i].eof, "FIN, and not RST, after byte %d of %d", (int)c[i].received,
             (int)c[i].sent);
    newcomer_must_be_served();
    must(server_running(), "the server ended");
    finish(c, count);
}

void some_are_lost(const struct fault *fault)
{
    lose_some(fault, false);
}

void some_are_reset(const struct fault *fault)
{
    lose_some(fault, true);
}

/* Every connection meets the fault sooner or later. Then it ends, without a wrong byte, and the
 * server serves the next one. */
void all_are_lost(const struct fault *fault)
{
    struct client c[MANY];
    int lost = 0;
    start_under(fault);
    for (int round = 0; round < 3; round++) {
        clients_open(c, MANY);
        for (int i = 0; i < 10 && lost < MANY * (round + 1); i++)
            lost = MANY * round + exchange(c, MANY, 1000, false);
        must(lost == MANY * (round + 1), "%d connections ended, not all", lost);
        clients_close(c, MANY);
    }
    long times = injected();
    must(times == lost, "%d connections ended, of %ld that failed", lost, times);
    must_settle();
    server_stop();
}

void late_until_more_comes(const struct fault *fault)
{
    struct client c[MANY];
    start_under(fault);
    clients_open(c, MANY);
    for (int round = 0; round < 4; round++) {
        int lost = exchange(c, MANY, 3000, true);
        must(lost == 0, "%d connections ended", lost);
    }
    must_have_happened(TIMES_MIN);
    clients_close(c, MANY);
    must_settle();
    server_stop();
}

/* For a while the server can serve no client. It does not spin meanwhile, and loses none. */
void shortage_ends(const struct fault *fault)
{
    enum { TIMES = 50, TOOK_MIN_MS = 250 };
    struct client c[MANY];
    start_under(fault);
    int64_t start = now_ms();
    clients_open(c, MANY);
    for (int i = 0; i < MANY; i++)
        client_put(&c[i], 1000);
    AWAIT(8000, injected() >= TIMES);
    int64_t took = now_ms() - start;
    must_have_happened(TIMES);
    /* Several threads share the failures, so each has fewer. */
    int threads = server_has("several-threads") ? server_threads() : 1;
    must(took * threads >= TOOK_MIN_MS, "it failed %d times within %d ms, in %d threads", TIMES,
         (int)took, threads);
    clients_echo(c, MANY, 3000);
    finish(c, MANY);
}

/* One client is connected. Then accept() fails, and the rest wait in the backlog. */
static void start_and_stop_accepting(const struct fault *fault, struct client *c)
{
    start_under(fault);
    c[0] = client_open();
    client_echo(&c[0], 1000);
    set_accept_error(EMFILE);
    clients_open(c + 1, MANY - 1);
}

/* The connected client goes on, and the server does not spin over the waiting ones. */
void accept_fails_from_now_on(const struct fault *fault)
{
    struct client c[MANY];
    start_and_stop_accepting(fault, c);
    for (int i = 1; i < MANY; i++)
        client_put(&c[i], 10);
    for (int round = 0; round < 20; round++)
        client_echo(&c[0], 3000);
    AWAIT(5000, injected() > 0);
    must_have_happened(1);
    must_settle();
    client_echo(&c[0], 100000);
    int64_t start = now_ms();
    long before = injected();
    nap(300);
    long often = (injected() - before) * 1000 / (long)(now_ms() - start);
    must(server_has("busy") || often <= 100, "accept() fails %ld times a second", often);
    client_shut(&c[0]);
    client_expect_eof(&c[0]);
    clients_close(c, MANY);
    server_stop();
}

/* A server that has stopped watching its listener has to watch it again later. That may fail, too,
 * and still no client may wait forever. */
void watching_again_fails(const struct fault *fault)
{
    struct client c[MANY];
    start_and_stop_accepting(fault, c);
    AWAIT(5000, injected() > 0);
    must_have_happened(1);
    set_accept_error(0);
    clients_echo(c, MANY, 3000);
    newcomer_must_be_served();
    if (watches_refused() == 0)
        verdict(VERDICT_NONE, "it does not take its listener out of an epoll");
    finish(c, MANY);
}

/* ---- the start ---- */

/* The server has not started. It must say why, in one line on stderr, and end with status 1. */
static void must_have_said_why(const char *inject)
{
    char text[512];
    must(server_ended_within(5000), "%s: it neither gets ready nor ends", inject);
    must(WIFEXITED(server.status) && WEXITSTATUS(server.status) == 1,
         "%s: status %#x, not exit status 1", inject, (unsigned)server.status);
    ssize_t n = pread(server.errors, text, sizeof text - 1, 0);
    text[n > 0 ? n : 0] = '\0';
    must(n > 0 && strchr(text, '\n') == text + n - 1, "%s: not one line, but '%s'", inject, text);
}

static void must_serve(const char *inject)
{
    struct client c = client_open();
    must(exchange(&c, 1, 100000, false) == 0, "%s: ready, but does not serve", inject);
    client_shut(&c);
    client_expect_eof(&c);
    client_close(&c);
    server_stop();
}

/* Fails each call in turn. The server gives up, or works without that call; nothing in between. */
static void fail_each_call(const struct fault *fault)
{
    int total = calls_at_start(fault->calls), failed = 0;
    for (int i = calls_of_loader(fault->calls) + 1; i <= total; i++) {
        char inject[64];
        snprintf(inject, sizeof inject, "%s:when=%d", fault->inject, i);
        bool ready = start_might_fail(fault, inject);
        if (ready)
            must_serve(inject);
        else
            must_have_said_why(inject);
        must(injected() == 1, "%s: happened %ld times", inject, injected());
        failed++;
    }
    if (failed == 0)
        verdict(VERDICT_NONE, "it makes no such call when it starts");
}

static void fail_each_request(const struct fault *fault)
{
    for (int i = 1;; i++) {
        char settings[64];
        snprintf(settings, sizeof settings, "FAULT_MALLOC_AT=%d", i);
        bool ready = start_might_fail(fault, settings);
        long times = injected();
        if (ready) { /* the failure may come yet, and then costs one client */
            newcomer_must_be_served();
            must_serve(settings);
        } else {
            must_have_said_why(settings);
        }
        if (times == 0)
            break;
    }
}

void start_fails_well(const struct fault *fault)
{
    if (fault->preload)
        fail_each_request(fault);
    else
        fail_each_call(fault);
}

/* ---- close() ---- */

/* close() has closed, whatever it returns. A server that tries again closes another connection. */
void no_descriptor_is_lost(const struct fault *fault)
{
    struct client c[MANY];
    start_under(fault);
    clients_open(c, MANY);
    clients_echo(c, MANY, 1000);
    int before = server_descriptors(), now = 0;
    for (int round = 0; round < 10; round++) {
        struct client fresh[3];
        clients_open(fresh, 3);
        clients_echo(fresh, 3, 1000);
        clients_close(fresh, 3);
        clients_echo(c, MANY, 1000);
    }
    AWAIT(5000, (now = server_descriptors()) <= before);
    must(now <= before, "%d descriptors open, %d before", now, before);
    must_have_happened(30);
    finish(c, MANY);
}

/* One client's close() has freed its number, but has not returned, when new clients come. A server
 * that still knows the first by this number may reset a new one in its place when it stops. (Two
 * come, since an accept() that already sleeps has taken its number before.) */
void number_is_not_mistaken(const struct fault *fault)
{
    enum { NEXT = 2 };
    struct client first, next[NEXT];
    start_under(fault);
    first = client_open();
    client_echo(&first, 1000);
    hold_next_close();
    client_close(&first);
    AWAIT(5000, injected() > 0);
    must_have_happened(1);
    clients_open(next, NEXT);
    for (int i = 0; i < NEXT; i++)
        client_put(&next[i], 1000);
    if (!client_ready(&next[NEXT - 1], POLLIN, 300))
        let_close_return(); /* the server accepts nobody meanwhile, which is safe, too */
    clients_echo(next, NEXT, 1000);
    server_signal(SIGTERM);
    for (int i = 0; i < NEXT; i++)
        client_expect_eof(&next[i]);
    server_must_end_well("clients do not end, 1 s is enough", 1500);
    for (int i = 0; i < NEXT; i++)
        must(!client_ready(&next[i], 0, 0), "RST after FIN, meant for a client that had gone");
    clients_close(next, NEXT);
}
