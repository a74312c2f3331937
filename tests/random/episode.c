/* The oracle is small, because the contract is. The bytes that come back are those that were sent
 * (client.c looks at each), and all come back in the end. EOF comes after the last byte and never
 * before a FIN. The server cuts no client off, and keeps its memory, descriptors and threads within
 * bounds. When it is told to stop, it echoes what has arrived. */
#include "episode.h"

#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/mman.h>
#include <sys/socket.h>
#ifdef __linux__
#include <linux/sockios.h>
#endif

#include "../harness/harness.h"

enum {
    KIB = 1024,
    OWED_MAX = 4096 * KIB, /* to one connection, to keep the end short */
    FLOOD = 16384 * KIB,   /* about the limit for a flooded one */
    OWED_TO_ALL = 32768 * KIB,
    RSS_KIB = CONNECTIONS * (64 + 24) + 4096,
    STOP_MS = 1500,
    CUT_MS = 900, /* a stopping server may cut a client off after about a second */
};

struct connection {
    struct client client;
    bool open, shut; /* shut: half-closed */
    bool arrived;    /* at the stop: the server has received all that was sent */
};

volatile int *episode_step;
int episode_deadline_ms = 8000;

static struct connection connections[CONNECTIONS];
static bool frozen;
static int descriptors_before, threads_before;
static long rss_before;

void episode_share_step(void)
{
    void *page =
        mmap(NULL, sizeof *episode_step, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    must(page != MAP_FAILED, "mmap: %s", strerror(errno));
    episode_step = page;
}

static int count_open(void)
{
    int open = 0;
    for (int i = 0; i < CONNECTIONS; i++)
        open += connections[i].open;
    return open;
}

static uint64_t owed(const struct connection *c)
{
    return c->open ? c->client.sent - c->client.received : 0;
}

static void must_be_sound(const struct connection *c)
{
    const struct client *client = &c->client;
    must(!client->reset, "clause 4: cut off after byte %llu of %llu",
         (unsigned long long)client->received, (unsigned long long)client->sent);
    must(!client->eof || c->shut, "clause 2: EOF, though no FIN was sent");
    must(!client->eof || owed(c) == 0, "clause 2: EOF after byte %llu of %llu",
         (unsigned long long)client->received, (unsigned long long)client->sent);
}

static void drop(struct connection *c)
{
    if (c->open)
        client_close(&c->client);
    c->open = c->shut = false;
}

static void thaw(void)
{
    if (frozen)
        server_resume();
    frozen = false;
}

/* ---- the steps ---- */

static uint64_t room_for(const struct connection *c, uint64_t max)
{
    uint64_t all = 0;
    for (int i = 0; i < CONNECTIONS; i++)
        all += owed(&connections[i]);
    return all < OWED_TO_ALL && owed(c) < max ? max - owed(c) : 0;
}

static void send_some(struct connection *c, uint32_t argument)
{
    uint64_t room = room_for(c, OWED_MAX);
    client_put(&c->client, argument < room ? argument : (size_t)room);
    must_be_sound(c);
}

static void flood(struct connection *c)
{
    while (room_for(c, FLOOD) > 0 && client_ready(&c->client, POLLOUT, 5)) {
        client_put(&c->client, 256 * KIB);
        must_be_sound(c);
    }
}

/* Sends the next byte of the client's sequence (../harness/client.c), which expects it back.
 *
 * An edge-triggered server gets none: when a signal (our SIGSTOP) is pending, Linux's recv() says
 * EAGAIN although an urgent byte is there (tests/break 05-urgent-eagain). */
static void send_urgent(struct connection *c)
{
    if (server_has("edges"))
        return;
    uint32_t x = (uint32_t)c->client.sent + c->client.seed * 0x9E3779B1u;
    x = (x ^ x >> 16) * 0x7FEB352Du;
    unsigned char byte = (unsigned char)((x ^ x >> 15) >> 8);
    if (owed(c) < OWED_MAX && send(c->client.fd, &byte, 1, MSG_OOB) == 1)
        c->client.sent++;
}

static void read_some(struct connection *c, uint32_t argument)
{
    client_take(&c->client, argument);
    must_be_sound(c);
}

static void settle(struct connection *c)
{
    struct client *client = &c->client;
    thaw();
    while (client->received < client->sent) {
        bool ready = client_ready(client, POLLIN, episode_deadline_ms);
        must(ready, "clause 1: silence after byte %llu of %llu",
             (unsigned long long)client->received, (unsigned long long)client->sent);
        read_some(c, (uint32_t)owed(c));
    }
    if (!c->shut)
        return;
    client_expect_eof(client);
    drop(c);
}

static bool within_bounds(void)
{
    return server_descriptors() <= descriptors_before + count_open() + 2 &&
           server_threads() <= threads_before + count_open();
}

/* The server sees the end of a connection a little later than we do, and may accept new ones before
 * that. So it must be within its bounds once, and may leave them again at once. */
static void look(void)
{
    bool within;
    must(server_running(), "clause 4: the server has ended, status %#x", (unsigned)server.status);
    if (frozen)
        return;
    AWAIT(episode_deadline_ms, (within = within_bounds()));
    must(within, "clause 4: %d descriptors, %d threads for %d connections",
         server_descriptors() - descriptors_before, server_threads() - threads_before,
         count_open());
    long grown = server_rss_kib() - rss_before;
    must(server_has("sanitized") || grown < RSS_KIB, "clause 3: grown by %ld KiB", grown);
}

static void step_for_all(const struct step *s)
{
    if (s->kind == STEP_FREEZE && !frozen) {
        server_pause();
        frozen = true;
    } else if (s->kind == STEP_THAW) {
        thaw();
    } else if (s->kind == STEP_NAP) {
        nap((int)s->argument);
    } else if (s->kind == STEP_LOOK) {
        look();
    }
}

static void step_that_sends(struct connection *c, const struct step *s)
{
    if (s->kind == STEP_SHOUT)
        read_some(c, (uint32_t)owed(c)); /* unread bytes would make the close a RST */
    if (!c->shut && s->kind == STEP_FLOOD)
        flood(c);
    else if (!c->shut && s->kind == STEP_URGENT)
        send_urgent(c);
    else if (!c->shut)
        send_some(c, s->argument);
    if (s->kind == STEP_SHOUT)
        drop(c);
}

static void step_of(struct connection *c, const struct step *s)
{
    switch ((enum step_kind)s->kind) {
    case STEP_READ:
        read_some(c, s->argument);
        break;
    case STEP_SETTLE:
        settle(c);
        break;
    case STEP_HALF_CLOSE:
        client_shut(&c->client);
        c->shut = true;
        break;
    case STEP_RESET:
        client_reset(&c->client);
        c->open = false;
        break;
    case STEP_CLOSE:
        drop(c);
        break;
    case STEP_SEND:
    case STEP_FLOOD:
    case STEP_URGENT:
    case STEP_SHOUT:
        step_that_sends(c, s);
        break;
    default:
        break;
    }
}

static void carry_out(const struct step *s)
{
    struct connection *c = &connections[s->connection];
    if (step_is_for_all(s)) {
        step_for_all(s);
    } else if (s->kind == STEP_CONNECT && !c->open) {
        c->client = s->argument ? client_open_small() : client_open();
        c->open = true;
        c->shut = false;
    } else if (c->open) {
        step_of(c, s);
    }
}

/* ---- the end ---- */

static bool nothing_in_flight(const struct client *client)
{
#ifdef SIOCOUTQ
    int waiting = 1;
    return ioctl(client->fd, SIOCOUTQ, &waiting) == 0 && waiting == 0;
#else
    (void)client;
    return false;
#endif
}

static void judge_the_end(struct connection *c, int64_t since)
{
    bool may_be_cut = now_ms() - since >= CUT_MS;
    must(may_be_cut || !c->client.reset, "clause 7: RST instead of EOF %d ms after SIGTERM",
         (int)(now_ms() - since));
    must(may_be_cut || !c->arrived || owed(c) == 0,
         "clause 7: byte %llu of %llu is the last, though all bytes had arrived",
         (unsigned long long)c->client.received, (unsigned long long)c->client.sent);
    drop(c);
}

static void read_until_the_end(int64_t since)
{
    struct pollfd p[CONNECTIONS];
    while (count_open() > 0) {
        for (int i = 0; i < CONNECTIONS; i++)
            p[i] = (struct pollfd){.fd = connections[i].open ? connections[i].client.fd : -1,
                                   .events = POLLIN};
        int left = (int)(since + patient(STOP_MS) - now_ms());
        must(left > 0, "clause 7: %d clients saw no EOF", count_open());
        poll(p, CONNECTIONS, left);
        for (int i = 0; i < CONNECTIONS; i++) {
            struct connection *c = &connections[i];
            if (p[i].fd >= 0 && p[i].revents)
                client_take(&c->client, 256 * KIB);
            if (c->open && (c->client.eof || c->client.reset))
                judge_the_end(c, since);
        }
    }
}

/* Half of the connections get everything, the other half stay as they are. Then the server must
 * stop. */
static void finish(void)
{
    thaw();
    for (int i = 0; i < CONNECTIONS; i += 2)
        if (connections[i].open)
            settle(&connections[i]);
    look();
    if (!server_has("busy"))
        must(server_settles(), "clause 5: it spins");
    struct client fresh = client_open();
    client_echo(&fresh, 1000);
    client_close(&fresh);
    for (int i = 0; i < CONNECTIONS; i++)
        connections[i].arrived = connections[i].open && nothing_in_flight(&connections[i].client);
    int64_t since = now_ms();
    server_signal(SIGTERM);
    read_until_the_end(since);
    server_must_end_well("clause 7", STOP_MS);
}

void episode_run(const void *argument)
{
    const struct plan *plan = argument;
    harness_begin();
    server_start();
    struct client first = client_open();
    client_echo(&first, 200 * KIB);
    client_close(&first);
    descriptors_before = server_descriptors();
    threads_before = server_threads();
    rss_before = server_rss_kib();
    for (int i = 0; i < plan->count; i++) {
        *episode_step = i;
        carry_out(&plan->step[i]);
    }
    *episode_step = plan->count;
    finish();
}
