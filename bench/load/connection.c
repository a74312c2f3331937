#include "load/connection.h"

#include "load/pattern.h"
#include "load/waiter.h"
#include "system/clock.h"
#include "system/interrupt.h"
#include "system/machine.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0 /* macOS: main ignores SIGPIPE */
#endif

enum {
    READ_SIZE = 256 * 1024,
    PER_SOURCE = 20000, /* connections from one source address: below the ephemeral ports */
    DRAIN_SECONDS = 10, /* the longest that collecting outstanding replies may take */
};

static unsigned char reply[READ_SIZE]; /* one thread, one buffer */

void load_fail(struct load *load, enum load_end end, const char *trouble)
{
    load->end = end;
    snprintf(load->trouble, sizeof load->trouble, "%s", trouble);
}

/* The server closed the connection, or it broke. While connections are being opened that means
 * "turned away", and the rest of the batch is still counted. */
static void lose(struct load *load, struct connection *c)
{
    if (load->opening) {
        close(c->fd);
        c->fd = -1;
        load->lost++;
        load->outstanding--;
        return;
    }
    load_fail(load, LOAD_TURNED_AWAY, "closed a connection that was owed an answer");
}

static void want_write(struct load *load, struct connection *c, bool wanted)
{
    if (c->wants_write == wanted)
        return;
    c->wants_write = wanted;
    waiter_want_write(load->waiter, c->fd, (uint32_t)(c - load->connections), wanted);
}

static void send_more(struct load *load, struct connection *c)
{
    while (c->unsent > 0) {
        ssize_t n = send(c->fd, pattern_at(c->write_at), c->unsent, MSG_NOSIGNAL);
        if (n < 0) {
            if (errno == EINTR)
                continue;
            if (errno == EAGAIN || errno == EWOULDBLOCK || errno == ENOTCONN)
                want_write(load, c, true); /* full, or not connected yet */
            else
                lose(load, c);
            return;
        }
        c->write_at = pattern_advance(c->write_at, (size_t)n);
        c->unsent -= (size_t)n;
    }
    want_write(load, c, false);
}

static bool is_stream(const struct load *load, const struct connection *c)
{
    return load->mode == LOAD_FAIR && c == load->connections && !load->opening;
}

void connection_begin(struct load *load, struct connection *c, uint64_t due, uint64_t now)
{
    c->due = due;
    c->sent_at = now;
    c->unsent = c->unread = is_stream(load, c) ? PATTERN_LONGEST : load->size;
    send_more(load, c);
}

static void report_wrong(struct load *load, const struct connection *c, size_t got)
{
    const unsigned char *expected = pattern_at(c->read_at);
    size_t i = 0;
    while (i + 1 < got && reply[i] == expected[i])
        i++;
    char text[LOAD_TROUBLE];
    snprintf(text, sizeof text, "wrong echo: byte %zu of a message is 0x%02x, sent was 0x%02x",
             (is_stream(load, c) ? PATTERN_LONGEST : load->size) - c->unread + i, reply[i],
             expected[i]);
    load_fail(load, LOAD_WRONG, text);
}

/* Compares what has arrived with what was sent. False: it is something else. */
static bool check_reply(struct load *load, const struct connection *c, size_t got)
{
    if (got > c->unread - c->unsent) {
        load_fail(load, LOAD_WRONG, "wrong echo: more bytes came back than were sent");
        return false;
    }
    if (memcmp(reply, pattern_at(c->read_at), got) != 0) {
        report_wrong(load, c, got);
        return false;
    }
    return true;
}

/* A message is complete. */
static void record_latency(struct load *load, const struct connection *c, uint64_t now)
{
    if (is_stream(load, c)) {
        load->stream_bytes += PATTERN_LONGEST;
        return;
    }
    load->echoes++;
    if (load->histogram)
        histogram_record(load->histogram, now - c->due);
    if (load->sent_latency)
        histogram_record(load->sent_latency, now - c->sent_at);
}

/* Takes what has arrived. True when the message is complete. */
static bool receive(struct load *load, struct connection *c, uint64_t *now)
{
    ssize_t n = recv(c->fd, reply, sizeof reply, 0);
    if (n < 0) {
        if (errno != EAGAIN && errno != EWOULDBLOCK && errno != EINTR && errno != ENOTCONN)
            lose(load, c);
        return false;
    }
    if (n == 0) {
        lose(load, c);
        return false;
    }
    *now = clock_now();
    if (!check_reply(load, c, (size_t)n))
        return false;
    c->read_at = pattern_advance(c->read_at, (size_t)n);
    c->unread -= (size_t)n; /* a reply may come in pieces */
    if (c->unread > 0)
        return false;
    record_latency(load, c, *now);
    return true;
}

/* One source address has some 28,000 ports for one destination; on Linux all of 127/8 is ours. */
static int bind_source(int fd, int number)
{
#ifdef __linux__
    if (number < PER_SOURCE)
        return 0;
    struct sockaddr_in source = {.sin_family = AF_INET};
    source.sin_addr.s_addr = htonl(INADDR_LOOPBACK + (uint32_t)(number / PER_SOURCE));
    int on = 1;
    setsockopt(fd, IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, &on, sizeof on);
    return bind(fd, (struct sockaddr *)&source, sizeof source);
#else
    (void)fd;
    (void)number;
    return 0;
#endif
}

static int start_connecting(struct load *load, int number)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0)
        return -1;
    int on = 1;
    struct linger reset = {.l_onoff = 1, .l_linger = 0};
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)load->port)};
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
#ifdef TCP_CONGESTION /* machine.h says why */
    setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, GENERATOR_CONGESTION,
               sizeof GENERATOR_CONGESTION - 1);
#endif
    if (fcntl(fd, F_SETFD, FD_CLOEXEC) != 0 || fcntl(fd, F_SETFL, O_NONBLOCK) != 0 ||
        bind_source(fd, number) != 0 ||
        (connect(fd, (struct sockaddr *)&to, sizeof to) != 0 && errno != EINPROGRESS) ||
        waiter_add(load->waiter, fd, (uint32_t)number) != 0) {
        int saved = errno;
        close(fd);
        errno = saved;
        return -1;
    }
    return fd;
}

void connection_open(struct load *load, int number)
{
    struct connection *c = &load->connections[number];
    memset(c, 0, sizeof *c);
    uint64_t now = clock_now(); /* when every message is on a new connection, that counts */
    c->fd = start_connecting(load, number);
    if (c->fd < 0) {
        char text[LOAD_TROUBLE];
        snprintf(text, sizeof text, "cannot connect: %s", strerror(errno));
        load_fail(load, LOAD_NO_SOCKET, text);
        return;
    }
    c->write_at = c->read_at = pattern_start((uint32_t)number);
    load->outstanding++;
    connection_begin(load, c, now, now);
}

/* A message is answered: what next? */
static void completed(struct load *load, struct connection *c, uint64_t now)
{
    int number = (int)(c - load->connections);
    if (load->mode == LOAD_RATE) {
        load->outstanding--;
        load->free[(load->free_head + load->free_count++) % load->capacity] = number;
    } else if (now >= load->deadline) {
        load->outstanding--;
    } else if (load->mode == LOAD_CHURN) {
        close(c->fd);
        load->outstanding--;
        connection_open(load, number);
    } else {
        connection_begin(load, c, now, now);
    }
}

void connection_serve(struct load *load, struct connection *c, uint64_t *now)
{
    if (c->fd < 0)
        return; /* lost earlier in the same batch */
    if (receive(load, c, now))
        completed(load, c, *now);
    else if (c->fd >= 0 && load->end == LOAD_DONE && c->unsent > 0)
        send_more(load, c);
}

void load_say_stalled(struct load *load)
{
    if (load->end == LOAD_STALLED)
        snprintf(load->trouble, sizeof load->trouble,
                 "stalled: %d of %d connections without an answer for %d s", load->outstanding,
                 load->open + load->outstanding * load->opening, LOAD_PATIENCE_MS / 1000);
}

/* Runs until every outstanding message is answered, or something is wrong. */
enum load_end load_drive(struct load *load)
{
    uint32_t ready[WAITER_BATCH];
    uint64_t now = clock_now();
    uint64_t give_up = (load->deadline > now ? load->deadline : now) + SECONDS(DRAIN_SECONDS);
    while (load->outstanding > 0 && load->end == LOAD_DONE) {
        int count = waiter_wait(load->waiter, ready, WAITER_BATCH, LOAD_PATIENCE_MS);
        if (interrupted)
            load_fail(load, LOAD_INTERRUPTED, "interrupted");
        else if (count == 0 || now > give_up)
            load_fail(load, LOAD_STALLED, "");
        for (int i = 0; i < count && load->end == LOAD_DONE; i++)
            connection_serve(load, &load->connections[ready[i]], &now);
    }
    load_say_stalled(load);
    return load->end;
}
