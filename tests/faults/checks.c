/* What a client must see of calls that fail. */
#include <errno.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "calls.h"
#include "fault.h"

enum { MANY = 6, MOST = 2 * MANY, LEAST = 2 };

static void must_have_happened(long least)
{
    AWAIT(1000, injected() >= least); /* the last one is counted after it has happened */
    long times = injected();
    must(times >= least, "the fault happened %ld times, not %ld", times, least);
}

/* Half-close: they get EOF, and the server ends well. */
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

/* The fault is one that passes, or a client only has to wait: everybody gets everything. */
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
    must_have_happened(LEAST);
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
static int look_who_ended(struct client *c, int count)
{
    int n = 0;
    for (int i = 0; i < count; i++) {
        if (!ended(&c[i]))
            client_take(&c[i], 1);
        n += ended(&c[i]);
    }
    return n;
}

/* Each time the fault happens ends one connection, and that one only. Calls are counted by thread:
 * so the first client says little, and its thread makes too few; and where threads share the
 * clients, more of them may have to come before one thread has had enough. owed: the server has
 * bytes of the one that it loses, so FIN would be a lie. */
static void lose_some(const struct fault *fault, bool owed)
{
    struct client c[MOST];
    int count = MANY, lost = 0;
    start_under(fault);
    c[0] = client_open();
    exchange(c, 1, 1000, false);
    clients_open(c + 1, MANY - 1);
    for (int round = 0; round < 10; round++)
        exchange(c + 1, MANY - 1, 1000, false);
    for (; injected() == 0 && count < MOST; count++) {
        c[count] = client_open();
        exchange(&c[count], 1, 1000, false);
    }
    exchange(c, count, 500, false);
    AWAIT(3000, (lost = look_who_ended(c, count)) == injected());
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

/* The same where every connection meets the fault sooner or later: then it ends, without a wrong
 * byte, and the server is there for the next one. */
void lost_but_told(const struct fault *fault)
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
    must_have_happened(LEAST);
    clients_close(c, MANY);
    must_settle();
    server_stop();
}

/* For a while nobody can be served. The server does not spin meanwhile, and nobody is lost. */
void shortage_ends(const struct fault *fault)
{
    enum { TIMES = 50, LEAST_MS = 250 };
    struct client c[MANY];
    start_under(fault);
    int64_t start = now_ms();
    clients_open(c, MANY);
    for (int i = 0; i < MANY; i++)
        client_put(&c[i], 1000);
    AWAIT(8000, injected() >= TIMES);
    int64_t took = now_ms() - start;
    must_have_happened(TIMES);
    /* Several threads fail side by side, each so many times less. */
    int threads = server_has("several-threads") ? server_threads() : 1;
    must(took * threads >= LEAST_MS, "it failed %d times within %d ms, in %d threads", TIMES,
         (int)took, threads);
    clients_echo(c, MANY, 3000);
    finish(c, MANY);
}

/* One client is in, then accept() fails, and the others wait at the door. */
static void shut_the_door(const struct fault *fault, struct client *c)
{
    start_under(fault);
    c[0] = client_open();
    client_echo(&c[0], 1000);
    refuse_from_now_on(EMFILE);
    clients_open(c + 1, MANY - 1); /* in the backlog */
}

/* Who is connected goes on, and the server does not spin on those who are waiting. */
void service_stops_at_the_door(const struct fault *fault)
{
    struct client c[MANY];
    shut_the_door(fault, c);
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

/* Who stops to watch the listener has to be watched again later, which may fail as well: nobody
 * may be left at the door for ever. */
void door_opens_late(const struct fault *fault)
{
    struct client c[MANY];
    shut_the_door(fault, c);
    AWAIT(5000, injected() > 0);
    must_have_happened(1);
    refuse_from_now_on(0);
    clients_echo(c, MANY, 3000);
    newcomer_must_be_served();
    if (watches_refused() == 0)
        verdict(VERDICT_NONE, "it does not take its listener out of an epoll");
    finish(c, MANY);
}

/* ---- the start ---- */

/* It has served nobody: it must say why, in the right place, and end with 1. */
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

/* Its calls one after the other. It gives up or can do without; nothing in between. */
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

/* It has closed, whatever it says: who tries again closes somebody else's connection. */
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

/* While one client's close() has freed its number, and has not returned, others come. A server that
 * knows the first by this number still may reset another one for it when it stops. (Two of them:
 * an accept() that is already asleep has taken its number before.) */
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
        let_close_return(); /* it lets nobody in meanwhile: that is one way */
    clients_echo(next, NEXT, 1000);
    server_signal(SIGTERM);
    for (int i = 0; i < NEXT; i++)
        client_expect_eof(&next[i]);
    server_must_end_well("clients do not end, 1 s is enough", 1500);
    for (int i = 0; i < NEXT; i++)
        must(!client_ready(&next[i], 0, 0), "RST after FIN, for one that had gone before");
    clients_close(next, NEXT);
}
