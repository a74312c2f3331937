#include "load.h"

#include "clock.h"
#include "interrupt.h"
#include "load_inside.h"
#include "pattern.h"
#include "waiter.h"

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
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

int load_init(struct load *load, int port, int capacity, size_t size)
{
    memset(load, 0, sizeof *load);
    load->port = port;
    load->size = size;
    load->capacity = capacity;
    load->connections = calloc((size_t)capacity + 1, sizeof *load->connections);
    load->free = calloc((size_t)capacity + 1, sizeof *load->free);
    load->waiter = load->connections && load->free ? waiter_open() : -1;
    if (load->waiter >= 0)
        return 0;
    free(load->connections);
    free(load->free);
    load->connections = NULL;
    return -1;
}

void load_fail(struct load *load, enum load_end end, const char *trouble)
{
    load->end = end;
    snprintf(load->trouble, sizeof load->trouble, "%s", trouble);
}

/* The server closed, or the connection broke. While opening that is an answer of its own kind
 * ("turned away"), and the rest of the batch is still counted. */
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

void load_begin(struct load *load, struct connection *c, uint64_t due, uint64_t now)
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

/* Takes what has arrived. True when the message is complete and its latency recorded. */
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
    size_t got = (size_t)n;
    if (got > c->unread - c->unsent) {
        load_fail(load, LOAD_WRONG, "wrong echo: more bytes came back than were sent");
        return false;
    }
    if (memcmp(reply, pattern_at(c->read_at), got) != 0) {
        report_wrong(load, c, got);
        return false;
    }
    c->read_at = pattern_advance(c->read_at, got);
    c->unread -= got; /* a reply may come in pieces */
    if (c->unread > 0)
        return false;
    if (is_stream(load, c)) {
        load->stream_bytes += PATTERN_LONGEST;
        return true;
    }
    load->echoes++;
    if (load->histogram != NULL)
        histogram_record(load->histogram, *now - c->due);
    if (load->naive != NULL)
        histogram_record(load->naive, *now - c->sent_at);
    return true;
}

static void open_one(struct load *load, int number);

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
        open_one(load, number);
    } else {
        load_begin(load, c, now, now);
    }
}

void load_serve(struct load *load, struct connection *c, uint64_t *now)
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
static enum load_end drive(struct load *load)
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
            load_serve(load, &load->connections[ready[i]], &now);
    }
    load_say_stalled(load);
    return load->end;
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
#ifdef TCP_CONGESTION /* the same on every machine; the servers' side is the system's choice */
    setsockopt(fd, IPPROTO_TCP, TCP_CONGESTION, LOAD_CONGESTION, sizeof LOAD_CONGESTION - 1);
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

static void open_one(struct load *load, int number)
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
    load_begin(load, c, now, now);
}

/* Counts the connections of a batch that have echoed, and forgets the others. When there were
 * others the load is never run again: the kept ones only have to stay open. */
static void count_batch(struct load *load, int attempted)
{
    int kept = load->open;
    for (int i = load->open; i < attempted; i++) {
        struct connection *c = &load->connections[i];
        if (c->fd >= 0 && c->unread == 0)
            load->connections[kept++] = *c;
        else if (c->fd >= 0)
            close(c->fd);
    }
    load->open = kept;
}

enum load_end load_open(struct load *load, int count)
{
    if (count > load->capacity)
        count = load->capacity;
    load->opening = true;
    load->deadline = 0;
    load->histogram = NULL;
    while (load->open < count && load->lost == 0 && load->end == LOAD_DONE) {
        int attempted = load->open;
        while (attempted < count && attempted < load->open + LOAD_BATCH && load->end == LOAD_DONE)
            open_one(load, attempted++);
        drive(load);
        count_batch(load, attempted);
    }
    load->opening = false;
    if (load->end == LOAD_DONE && load->lost > 0)
        load_fail(load, LOAD_TURNED_AWAY, "turned away");
    return load->end;
}

static void start_all(struct load *load)
{
    for (int i = 0; i < load->open && load->end == LOAD_DONE; i++) {
        struct connection *c = &load->connections[i];
        uint64_t now = clock_now();
        if (load->mode == LOAD_CHURN) {
            close(c->fd);
            open_one(load, i);
        } else {
            load->outstanding++;
            load_begin(load, c, now, now);
        }
    }
}

enum load_end load_run(struct load *load, uint64_t nanoseconds, struct histogram *histogram)
{
    uint64_t start = clock_now();
    load->deadline = start + nanoseconds;
    load->histogram = histogram;
    load->echoes = load->late = load->stream_bytes = 0;
    load->outstanding = 0;
    if (load->mode == LOAD_RATE) {
        load_run_rate(load, start, nanoseconds);
    } else {
        start_all(load);
        drive(load);
    }
    load->elapsed = clock_now() - start;
    return load->end;
}

void load_close(struct load *load)
{
    if (load->connections == NULL)
        return;
    for (int i = 0; i < load->open; i++) {
        if (load->connections[i].fd >= 0)
            close(load->connections[i].fd);
    }
    close(load->waiter);
    free(load->connections);
    free(load->free);
    load->connections = NULL;
    load->open = 0;
}
