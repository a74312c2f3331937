#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/socket.h>
#include <unistd.h>
#ifdef __linux__
#include <linux/sockios.h>
#endif

#include "harness.h"

enum { CHUNK = 64 * 1024, CLIENTS_MAX = 1200 };

static uint32_t seeds;

/* The byte at an offset of a client's sequence. It repeats nowhere near, so a missing or doubled
 * piece cannot go unnoticed, whatever its length. */
static unsigned char byte_at(uint32_t seed, uint64_t offset)
{
    uint32_t x = (uint32_t)offset + seed * 0x9E3779B1u;
    x = (x ^ x >> 16) * 0x7FEB352Du;
    return (unsigned char)((x ^ x >> 15) >> 8);
}

static socklen_t server_address(struct sockaddr_storage *address)
{
    memset(address, 0, sizeof *address);
    if (server.family == AF_INET6) {
        struct sockaddr_in6 *v6 = (struct sockaddr_in6 *)address;
        v6->sin6_family = AF_INET6;
        v6->sin6_port = htons((uint16_t)server.port);
        v6->sin6_addr = in6addr_loopback;
        return sizeof *v6;
    }
    struct sockaddr_in *v4 = (struct sockaddr_in *)address;
    v4->sin_family = AF_INET;
    v4->sin_port = htons((uint16_t)server.port);
    v4->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return sizeof *v4;
}

/* small: the size of its kernel buffers. segment: the largest packet to it. 0: the default. */
static bool connect_within(struct client *client, int small, int segment, int ms)
{
    struct sockaddr_storage address;
    socklen_t length = server_address(&address);
    int on = 1, error = 0;

    *client = (struct client){.fd = socket(address.ss_family, SOCK_STREAM, 0), .seed = ++seeds};
    must(client->fd >= 0, "the test itself has no socket: %s", strerror(errno));
    fcntl(client->fd, F_SETFD, FD_CLOEXEC);
    fcntl(client->fd, F_SETFL, O_NONBLOCK);
    setsockopt(client->fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    if (small) {
        setsockopt(client->fd, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
        setsockopt(client->fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    }
    if (segment)
        setsockopt(client->fd, IPPROTO_TCP, TCP_MAXSEG, &segment, sizeof segment);
    if (connect(client->fd, (struct sockaddr *)&address, length) == 0)
        return true;
    error = errno;
    if (error == EINPROGRESS && client_ready(client, POLLOUT, ms)) {
        length = sizeof error;
        getsockopt(client->fd, SOL_SOCKET, SO_ERROR, &error, &length);
    }
    if (error)
        client_close(client);
    errno = error;
    return error == 0;
}

struct client client_open(void)
{
    struct client client;
    bool connected = connect_within(&client, 0, 0, STUCK_MS);
    must(connected, "cannot connect: %s%s", strerror(errno), server_end());
    return client;
}

struct client client_open_small(void)
{
    struct client client;
    bool connected = connect_within(&client, 128 * 1024, 0, STUCK_MS);
    must(connected, "cannot connect: %s%s", strerror(errno), server_end());
    return client;
}

/* The server's send buffer grows with the segments: with loopback's, of 64 KiB, to megabytes. */
static struct client open_narrow(void)
{
    struct client client;
    bool connected = connect_within(&client, 16 * 1024, 1400, STUCK_MS);
    must(connected, "cannot connect: %s%s", strerror(errno), server_end());
    return client;
}

bool client_try(struct client *client, int ms)
{
    return connect_within(client, 0, 0, ms);
}

void client_close(struct client *client)
{
    if (client->fd >= 0)
        close(client->fd);
    client->fd = -1;
}

void client_reset(struct client *client)
{
    struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    setsockopt(client->fd, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    client_close(client);
}

bool client_ready(const struct client *client, short events, int ms)
{
    struct pollfd p = {.fd = client->fd, .events = events};
    int64_t end = now_ms() + patient(ms);
    for (;;) {
        int64_t left = end - now_ms();
        int ready = poll(&p, 1, left > 0 ? (int)left : 0);
        if (ready > 0)
            return true;
        if (ready == 0 && left <= 0)
            return false;
    }
}

/* After a failed call: not ready is fine, anything else ends the connection. */
static void after_error(struct client *client)
{
    if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR)
        client->reset = true;
}

size_t client_put(struct client *client, size_t max)
{
    static unsigned char bytes[CHUNK];
    size_t total = 0;
    while (total < max && !client->reset) {
        size_t length = max - total < CHUNK ? max - total : CHUNK;
        for (size_t i = 0; i < length; i++)
            bytes[i] = byte_at(client->seed, client->sent + i);
        ssize_t sent = send(client->fd, bytes, length, 0);
        if (sent < 0) {
            after_error(client);
            break;
        }
        client->sent += (uint64_t)sent;
        total += (size_t)sent;
        if ((size_t)sent < length)
            break;
    }
    return total;
}

size_t client_take(struct client *client, size_t max)
{
    static unsigned char bytes[CHUNK];
    size_t total = 0;
    while (total < max && !client->eof && !client->reset) {
        size_t room = max - total < CHUNK ? max - total : CHUNK;
        ssize_t got = recv(client->fd, bytes, room, 0);
        if (got < 0) {
            after_error(client);
            break;
        }
        client->eof = got == 0;
        for (size_t i = 0; i < (size_t)got; i++)
            if (bytes[i] != byte_at(client->seed, client->received + i))
                fail("clause 1: byte %llu is not the one that was sent",
                     (unsigned long long)(client->received + i));
        client->received += (uint64_t)got;
        total += (size_t)got;
        must(client->received <= client->sent, "clause 1: more came back than was sent");
    }
    return total;
}

static void must_be_open(const struct client *client, const char *doing)
{
    must(!client->reset, "clause 1: connection reset while %s, byte %llu of %llu%s", doing,
         (unsigned long long)client->received, (unsigned long long)client->sent, server_end());
}

void client_send(struct client *client, size_t length)
{
    for (size_t sent = 0; sent < length;) {
        bool ready = client_ready(client, POLLOUT, STUCK_MS);
        must(ready, "clause 3: the server does not read, though nothing is owed");
        sent += client_put(client, length - sent);
        must_be_open(client, "writing");
    }
}

void client_receive(struct client *client, size_t max)
{
    bool ready = client_ready(client, POLLIN, STUCK_MS);
    must(ready, "clause 1: silence after byte %llu of %llu%s", (unsigned long long)client->received,
         (unsigned long long)client->sent, server_has_read(client));
    client_take(client, max);
    must_be_open(client, "reading");
    must(!client->eof, "clause 2: EOF after byte %llu of %llu",
         (unsigned long long)client->received, (unsigned long long)client->sent);
}

void client_receive_all(struct client *client)
{
    while (client->received < client->sent)
        client_receive(client, (size_t)(client->sent - client->received));
}

void client_echo(struct client *client, size_t length)
{
    clients_echo(client, 1, length);
}

void client_expect_eof(struct client *client)
{
    bool ready = client_ready(client, POLLIN, STUCK_MS);
    must(ready, "clause 2: no EOF, though nothing is owed any more");
    client_take(client, 1);
    must(!client->reset, "clause 2: RST instead of EOF");
    must(client->eof, "clause 1: a byte that nobody sent");
}

void client_say(struct client *client, const void *bytes, size_t length)
{
    ssize_t sent = send(client->fd, bytes, length, 0);
    must(sent == (ssize_t)length, "the test could not send %zu bytes at once", length);
}

void client_hear(struct client *client, const void *bytes, size_t length)
{
    unsigned char got[4096];
    size_t total = 0;
    must(length <= sizeof got);
    while (total < length) {
        bool ready = client_ready(client, POLLIN, STUCK_MS);
        must(ready, "clause 1: silence after byte %zu of %zu", total, length);
        ssize_t n = recv(client->fd, got + total, length - total, 0);
        must(n > 0, "clause 1: the connection ended after byte %zu of %zu", total, length);
        total += (size_t)n;
    }
    must(memcmp(got, bytes, length) == 0, "clause 1: the bytes are not those sent");
}

void client_shut(struct client *client)
{
    shutdown(client->fd, SHUT_WR);
}

void clients_open(struct client *clients, int count)
{
    for (int i = 0; i < count; i++)
        clients[i] = client_open();
}

void clients_close(struct client *clients, int count)
{
    for (int i = 0; i < count; i++)
        client_close(&clients[i]);
}

static bool gone(const struct client *client)
{
    return client->fd < 0 || client->eof || client->reset;
}

/* Waits until any of them is ready, and leaves in p what happened. */
static int wait_for_any(struct pollfd *p, int count, int ms)
{
    must(count <= CLIENTS_MAX);
    int ready = poll(p, (nfds_t)count, ms);
    return ready < 0 ? 0 : ready;
}

static const struct client *first_waiting(const struct client *clients, int count,
                                          const uint64_t *goal)
{
    int i = 0;
    while (i < count - 1 && clients[i].received >= goal[i])
        i++;
    return &clients[i];
}

void clients_echo(struct client *clients, int count, size_t length)
{
    struct pollfd p[CLIENTS_MAX];
    uint64_t goal[CLIENTS_MAX];
    int open = count;
    int64_t last = now_ms(); /* when a byte last came back */

    for (int i = 0; i < count; i++)
        goal[i] = clients[i].sent + length;
    while (open > 0) {
        open = 0;
        for (int i = 0; i < count; i++) {
            struct client *c = &clients[i];
            must_be_open(c, "echoing");
            must(!c->eof, "clause 2: EOF after byte %llu of %llu", (unsigned long long)c->received,
                 (unsigned long long)goal[i]);
            bool busy = c->received < goal[i];
            p[i] =
                (struct pollfd){.fd = busy ? c->fd : -1,
                                .events = (short)(c->sent < goal[i] ? POLLIN | POLLOUT : POLLIN)};
            open += busy;
        }
        must(now_ms() < last + patient(STUCK_MS),
             "clause 1: silence while %d of %d clients wait for their echo%s", open, count,
             server_has_read(first_waiting(clients, count, goal)));
        if (open == 0 || !wait_for_any(p, count, 100))
            continue;
        for (int i = 0; i < count; i++) {
            if (p[i].fd >= 0 && p[i].revents & POLLOUT)
                client_put(&clients[i], (size_t)(goal[i] - clients[i].sent));
            if (p[i].fd >= 0 && p[i].revents & ~POLLOUT &&
                client_take(&clients[i], (size_t)(goal[i] - clients[i].received)) > 0)
                last = now_ms();
        }
    }
}

/* Lets each client send, up to limit. Returns how many still have more, and leaves them in p. */
static int push_once(struct client *clients, int count, uint64_t limit, struct pollfd *p)
{
    int unsatisfied = 0;
    for (int i = 0; i < count; i++) {
        if (clients[i].sent < limit)
            client_put(&clients[i], (size_t)(limit - clients[i].sent));
        bool more = clients[i].sent < limit && !clients[i].reset;
        p[i] = (struct pollfd){.fd = more ? clients[i].fd : -1, .events = POLLOUT};
        unsatisfied += more;
    }
    return unsatisfied;
}

/* "Nothing more goes" means: not for 200 ms. If the server sleeps by then, 60 ms are enough: only
 * a delayed acknowledgement, of 40 ms, could still make room. */
void clients_push(struct client *clients, int count, uint64_t limit)
{
    enum { STEP_MS = 20, ASLEEP_MS = 60, QUIET_MS = 200 };
    struct pollfd p[CLIENTS_MAX];
    for (int quiet = 0; push_once(clients, count, limit, p) > 0;) {
        quiet = wait_for_any(p, count, STEP_MS) > 0 ? 0 : quiet + STEP_MS;
        if (quiet >= QUIET_MS || (quiet >= ASLEEP_MS && server_sleeps()))
            return;
    }
}

int clients_drain(struct client *clients, int count, int ms)
{
    struct pollfd p[CLIENTS_MAX];
    int64_t end = now_ms() + patient(ms);
    for (;;) {
        int open = 0;
        for (int i = 0; i < count; i++) {
            bool over = gone(&clients[i]);
            p[i] = (struct pollfd){.fd = over ? -1 : clients[i].fd, .events = POLLIN};
            open += !over;
        }
        int64_t left = end - now_ms();
        if (open == 0 || left <= 0)
            return open;
        if (wait_for_any(p, count, (int)left) > 0)
            for (int i = 0; i < count; i++)
                if (p[i].fd >= 0 && p[i].revents)
                    client_take(&clients[i], CHUNK);
    }
}

static bool is_owed(const struct client *client)
{
    struct owed owed = server_owes(client);
    return owed.held + owed.unread > 0;
}

/* A delayed acknowledgement, of 40 ms, or the lack of a CPU may hold up the echo for a moment. */
static bool stays_owed(const struct client *client)
{
    enum { ASLEEP_MS = 60, MOMENT_MS = 250 };
    int64_t start = now_ms();
    AWAIT(MOMENT_MS, !is_owed(client) || (now_ms() > start + ASLEEP_MS && server_sleeps()));
    return is_owed(client);
}

struct client client_open_unread(uint64_t max)
{
    enum { PIECE = 8 * 1024 };
    struct client client = open_narrow();
    while (client.sent < max && !stays_owed(&client)) {
        uint64_t rest = max - client.sent;
        client_send(&client, rest < PIECE ? (size_t)rest : PIECE);
        AWAIT(STUCK_MS, client_bytes_arrived(&client));
    }
    return client;
}

struct client client_open_owed(void)
{
    return client_open_unread(64 << 20);
}

void clients_open_nearly_owed(struct client *clients, int count)
{
    struct client owed = client_open_owed();
    uint64_t fits = owed.sent - (uint64_t)server_owes(&owed).held;
    client_close(&owed);
    for (int i = 0; i < count; i++)
        clients[i] = client_open_unread(fits - 1024 * (2 * (uint64_t)i + 1));
}

bool client_bytes_arrived(const struct client *c)
{
#ifdef SIOCOUTQ
    int waiting = 1;
    return ioctl(c->fd, SIOCOUTQ, &waiting) == 0 && waiting == 0;
#else
    (void)c;
    nap(100);
    return true;
#endif
}
