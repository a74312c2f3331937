/* Clients for a server that may lose some of them. */
#include <stdio.h>
#include <string.h>

#include "fault.h"

enum { MANY = 64, SILENCE_MS = 6000, POKE_MS = 50 };

bool ended(const struct client *client)
{
    return client->fd < 0 || client->eof || client->reset;
}

/* Fills p with what each client still waits for. Returns how many wait. */
static int waiting(const struct client *clients, int count, const uint64_t *goal, struct pollfd *p)
{
    int open = 0;
    for (int i = 0; i < count; i++) {
        const struct client *c = &clients[i];
        bool busy = !ended(c) && c->received < goal[i];
        p[i] = (struct pollfd){.fd = busy ? c->fd : -1,
                               .events = (short)(c->sent < goal[i] ? POLLIN | POLLOUT : POLLIN)};
        open += busy;
    }
    return open;
}

static size_t move_bytes(struct client *c, uint64_t goal, short events)
{
    if (events & POLLOUT && c->sent < goal)
        client_put(c, (size_t)(goal - c->sent));
    return events & ~POLLOUT ? client_take(c, (size_t)(c->sent - c->received) + 1) : 0;
}

int exchange(struct client *clients, int count, size_t length, bool poke)
{
    struct pollfd p[MANY];
    uint64_t goal[MANY];
    int64_t last = now_ms(), poked = last;
    int open, lost = 0;

    must(count <= MANY);
    for (int i = 0; i < count; i++)
        goal[i] = clients[i].sent + length;
    while ((open = waiting(clients, count, goal, p)) > 0) {
        must(now_ms() < last + patient(SILENCE_MS),
             "silence while %d of %d clients wait for their echo", open, count);
        poll(p, (nfds_t)count, POKE_MS);
        for (int i = 0; i < count; i++)
            if (p[i].revents &&
                (move_bytes(&clients[i], goal[i], p[i].revents) > 0 || ended(&clients[i])))
                last = poked = now_ms();
        if (!poke || now_ms() < poked + POKE_MS)
            continue;
        poked = now_ms();
        for (int i = 0; i < count; i++)
            if (p[i].fd >= 0 && !ended(&clients[i]))
                client_put(&clients[i], 1);
    }
    for (int i = 0; i < count; i++)
        lost += ended(&clients[i]);
    return lost;
}

void newcomer_must_be_served(void)
{
    int64_t end = now_ms() + patient(8000);
    while (now_ms() < end) {
        struct client fresh;
        if (!client_try(&fresh, 1000))
            continue;
        int lost = exchange(&fresh, 1, 1000, true);
        client_close(&fresh);
        if (!lost)
            return;
    }
    fail("no new client is served any more");
}

void must_settle(void)
{
    if (!server_has("busy"))
        must(server_settles(), "it spins");
}
