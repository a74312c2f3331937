/* The same server on io_uring: completions in place of readiness. One multishot accept, one
 * multishot receive for each connection, and a ring of buffers that the kernel picks from when
 * bytes arrive: so an idle connection holds no buffer here either. A reply is sent from the buffer
 * it arrived in. What the kernel does not take at once is copied out, so that a client that never
 * reads keeps no buffer, and its receive is cancelled until it has taken everything. One weakness
 * remains: before the cancel the kernel may have filled 32 buffers for it, 2 MiB to be held. */
#include "log.h"
#include "net.h"
#include "options.h"

#include <err.h>
#include <errno.h>
#include <liburing.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <unistd.h>

enum {
    BUFFERS = 256,
    BUFFER = 64 * 1024,
    ENTRIES = 4096,
    NONE = -1,
    STOP_TICKS = 18,
    TICK_MS = 50
};
enum operation { ACCEPT, RETRY, RECEIVE, SEND, SEND_REST, CANCEL, SIGNAL, TICK };

struct client {
    int first, last; /* buffers to be sent, in order; NONE: none */
    char *rest;      /* what the kernel did not take, and is sending; NULL: nothing */
    size_t rest_start, rest_end;
    char *more; /* what comes after it: it may grow, while the kernel reads from rest */
    size_t more_length;
    bool open, receiving, cancelling, sending, ended, fin_sent;
};

static struct io_uring ring;
static struct io_uring_buf_ring *buffers;
static char *memory;
static int next_of[BUFFERS];
static size_t length_of[BUFFERS];
static struct client *clients; /* by descriptor */
static int capacity, count, listener, backlog_max, signals;
static int ticks; /* since the stop; 0: serving */
static struct __kernel_timespec interval = {.tv_nsec = TICK_MS * 1000000LL};

static struct io_uring_sqe *entry(void)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);
    for (; !sqe; sqe = io_uring_get_sqe(&ring))
        io_uring_submit(&ring); /* the queue is full: hand it over */
    return sqe;
}

/* To be called after the prep functions, which clear user_data. */
static void tag(struct io_uring_sqe *sqe, enum operation operation, int fd)
{
    io_uring_sqe_set_data64(sqe, (uint64_t)operation << 32 | (uint32_t)fd);
}

static void start_accept(void)
{
    struct io_uring_sqe *sqe = entry();
    io_uring_prep_multishot_accept(sqe, listener, NULL, NULL, SOCK_CLOEXEC);
    tag(sqe, ACCEPT, listener);
}

static void start_receive(int fd)
{
    struct io_uring_sqe *sqe = entry();
    io_uring_prep_recv_multishot(sqe, fd, NULL, 0, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = 0;
    tag(sqe, RECEIVE, fd);
    clients[fd].receiving = true;
}

static void cancel_receive(int fd)
{
    if (!clients[fd].receiving || clients[fd].cancelling)
        return;
    struct io_uring_sqe *sqe = entry();
    io_uring_prep_cancel64(sqe, (uint64_t)RECEIVE << 32 | (uint32_t)fd, 0);
    tag(sqe, CANCEL, fd);
    clients[fd].cancelling = true;
}

/* RETRY or TICK, after an interval. */
static void start_timer(enum operation operation)
{
    struct io_uring_sqe *sqe = entry();
    io_uring_prep_timeout(sqe, &interval, 0, 0);
    tag(sqe, operation, 0);
}

static void give_back(int buffer)
{
    io_uring_buf_ring_add(buffers, memory + (size_t)buffer * BUFFER, BUFFER, (unsigned short)buffer,
                          io_uring_buf_ring_mask(BUFFERS), 0);
    io_uring_buf_ring_advance(buffers, 1);
}

/* Sends the oldest bytes that are owed. */
static void start_send(int fd)
{
    struct client *c = &clients[fd];
    if (c->sending)
        return;
    if (!c->rest) {
        c->rest = c->more;
        c->rest_start = 0;
        c->rest_end = c->more_length;
        c->more = NULL;
        c->more_length = 0;
    }
    c->sending = true;
    struct io_uring_sqe *sqe = entry();
    if (c->rest) {
        io_uring_prep_send(sqe, fd, c->rest + c->rest_start, c->rest_end - c->rest_start,
                           MSG_NOSIGNAL);
        tag(sqe, SEND_REST, fd);
    } else {
        io_uring_prep_send(sqe, fd, memory + (size_t)c->first * BUFFER, length_of[c->first],
                           MSG_NOSIGNAL | MSG_DONTWAIT);
        tag(sqe, SEND, fd);
    }
}

static int take_first(struct client *c)
{
    int buffer = c->first;
    c->first = next_of[buffer];
    c->last = c->first == NONE ? NONE : c->last;
    return buffer;
}

static bool owes(const struct client *c)
{
    return c->rest || c->more || c->first != NONE;
}

/* Each handler of a client's completion ends here. So a client that is not closed always has
 * another completion to come: none is forgotten, whatever order they come in. */
static void proceed(int fd)
{
    struct client *c = &clients[fd];
    if (owes(c)) {
        start_send(fd);
    } else if (!c->ended && !c->receiving) {
        start_receive(fd);
    } else if (c->ended && !c->receiving && !c->sending) {
        c->open = false;
        close(fd);
        count--;
    }
}

/* An error: what is owed is dropped; shutdown() ends the receive. */
static void lose(int fd)
{
    struct client *c = &clients[fd];
    if (owes(c))
        net_reset_on_close(fd);
    while (c->first != NONE)
        give_back(take_first(c));
    free(c->rest);
    free(c->more);
    c->rest = c->more = NULL;
    c->ended = true;
    shutdown(fd, SHUT_RDWR);
}

/* Moves the bytes of the buffers into memory of the connection's own. */
static bool copy_out(struct client *c, size_t sent)
{
    while (c->first != NONE) {
        size_t length = length_of[c->first] - sent;
        char *grown = realloc(c->more, c->more_length + length);
        if (!grown)
            return false;
        memcpy(grown + c->more_length, memory + (size_t)c->first * BUFFER + sent, length);
        c->more = grown;
        c->more_length += length;
        sent = 0;
        give_back(take_first(c));
    }
    return true;
}

static void on_sent(int fd, const struct io_uring_cqe *cqe)
{
    struct client *c = &clients[fd];
    c->sending = false;
    if (c->first != NONE) { /* else the client was lost meanwhile */
        size_t sent = cqe->res > 0 ? (size_t)cqe->res : 0;
        if (cqe->res < 0 && cqe->res != -EAGAIN && cqe->res != -EINTR)
            lose(fd);
        else if (sent == length_of[c->first])
            give_back(take_first(c));
        else if (copy_out(c, sent))
            cancel_receive(fd);
        else
            lose(fd);
    }
    proceed(fd);
}

static void on_rest_sent(int fd, const struct io_uring_cqe *cqe)
{
    struct client *c = &clients[fd];
    c->sending = false;
    if (c->rest) { /* else the client was lost meanwhile */
        if (cqe->res < 0 && cqe->res != -EINTR)
            lose(fd);
        else if (cqe->res > 0)
            c->rest_start += (size_t)cqe->res;
        if (c->rest_start == c->rest_end) {
            free(c->rest);
            c->rest = NULL;
        }
    }
    proceed(fd);
}

static void keep(struct client *c, int buffer, int length)
{
    length_of[buffer] = (size_t)length;
    next_of[buffer] = NONE;
    *(c->last != NONE ? &next_of[c->last] : &c->first) = buffer;
    c->last = buffer;
}

static void on_received(int fd, const struct io_uring_cqe *cqe)
{
    struct client *c = &clients[fd];
    if (cqe->flags & IORING_CQE_F_BUFFER) {
        int buffer = (int)(cqe->flags >> IORING_CQE_BUFFER_SHIFT);
        if (cqe->res > 0 && !c->ended && !c->fin_sent)
            keep(c, buffer, cqe->res);
        else
            give_back(buffer);
    }
    if (!(cqe->flags & IORING_CQE_F_MORE))
        c->receiving = c->cancelling = false;
    if (c->rest && !copy_out(c, 0)) /* that send may take as long as the client likes */
        lose(fd);
    if (cqe->res == 0)
        c->ended = true;
    else if (cqe->res < 0 && cqe->res != -ENOBUFS && cqe->res != -ECANCELED && cqe->res != -EINTR)
        lose(fd);
    proceed(fd); /* with another receive, if there was no buffer or the kernel ended this one */
}

static void on_client(int fd)
{
    if (fd >= capacity) {
        int more = 2 * fd + 64;
        struct client *grown = realloc(clients, (size_t)more * sizeof *grown);
        if (!grown) {
            log_error("client %d turned away", fd);
            close(fd);
            return;
        }
        memset(grown + capacity, 0, (size_t)(more - capacity) * sizeof *grown); /* not open */
        clients = grown;
        capacity = more;
    }
    clients[fd] = (struct client){.first = NONE, .last = NONE, .open = true};
    count++;
    start_receive(fd);
}

static void on_accepted(int fd, const struct io_uring_cqe *cqe)
{
    static bool said;
    (void)fd;
    if (cqe->res >= 0) {
        said = false;
        if (log_verbose)
            log_event("client %d", cqe->res);
        on_client(cqe->res);
    } else if (ticks == 0 && !said) {
        said = true;
        log_warning("accept, new clients have to wait: %s", strerror(-cqe->res));
    }
    if (cqe->flags & IORING_CQE_F_MORE || ticks > 0)
        return;
    if (cqe->res >= 0)
        start_accept();
    else
        start_timer(RETRY); /* out of descriptors, perhaps */
}

static void on_retry(int fd, const struct io_uring_cqe *cqe)
{
    (void)fd, (void)cqe;
    if (ticks == 0)
        start_accept();
}

static void admit_all_who_wait(void)
{
    for (int i = 0, client; i < backlog_max; i++) {
        enum net_accepted got = net_accept(listener, true, &client);
        if (got == NET_CLIENT)
            on_client(client);
        else if (got != NET_LOST)
            return;
    }
}

static void on_signal(int fd, const struct io_uring_cqe *cqe)
{
    (void)fd, (void)cqe;
    if (ticks > 0)
        return;
    ticks = 1;
    admit_all_who_wait();
    shutdown(listener, SHUT_RDWR); /* ends the multishot accept, which still holds it open */
    close(listener);
    start_timer(TICK);
    io_uring_submit_and_wait(&ring, 1);
}

/* After the stop: FIN for each client that is owed nothing. */
static void on_tick(int fd, const struct io_uring_cqe *cqe)
{
    (void)fd, (void)cqe;
    ticks++;
    for (int i = 0; i < capacity; i++) {
        if (clients[i].open && !owes(&clients[i]) && !clients[i].fin_sent) {
            clients[i].fin_sent = true;
            shutdown(i, SHUT_WR);
        }
    }
    start_timer(TICK);
}

static void (*const handlers[])(int fd, const struct io_uring_cqe *cqe) = {
    [ACCEPT] = on_accepted, [RECEIVE] = on_received, [SEND] = on_sent,   [SEND_REST] = on_rest_sent,
    [SIGNAL] = on_signal,   [TICK] = on_tick,        [RETRY] = on_retry,
};

static void set_up(void)
{
    struct io_uring_params parameters = {.flags = IORING_SETUP_SINGLE_ISSUER |
                                                  IORING_SETUP_DEFER_TASKRUN | IORING_SETUP_CQSIZE,
                                         .cq_entries = 4 * ENTRIES};
    int error = io_uring_queue_init_params(ENTRIES, &ring, &parameters);
    if (error < 0)
        errx(1, "io_uring (it takes Linux 6.1): %s", strerror(-error));
    buffers = mmap(NULL, BUFFERS * sizeof(struct io_uring_buf), PROT_READ | PROT_WRITE,
                   MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    /* All of it now: the connections share it, so it must not count as what one of them takes. */
    memory = mmap(NULL, (size_t)BUFFERS * BUFFER, PROT_READ | PROT_WRITE,
                  MAP_PRIVATE | MAP_ANONYMOUS | MAP_POPULATE, -1, 0);
    if (buffers == MAP_FAILED || memory == MAP_FAILED)
        err(1, "mmap");
    struct io_uring_buf_reg reg = {.ring_addr = (uintptr_t)buffers, .ring_entries = BUFFERS};
    error = io_uring_register_buf_ring(&ring, &reg, 0);
    if (error < 0)
        errx(1, "io_uring, ring of buffers: %s", strerror(-error));
    io_uring_buf_ring_init(buffers);
    for (int i = 0; i < BUFFERS; i++)
        give_back(i);
}

static void watch_signals(void)
{
    static struct signalfd_siginfo what;
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGINT);
    sigaddset(&set, SIGTERM);
    sigprocmask(SIG_BLOCK, &set, NULL);
    signals = signalfd(-1, &set, SFD_CLOEXEC);
    if (signals < 0)
        err(1, "signalfd");
    struct io_uring_sqe *sqe = entry();
    io_uring_prep_read(sqe, signals, &what, sizeof what, 0);
    tag(sqe, SIGNAL, signals);
}

int main(int argc, char **argv)
{
    struct net_settings settings = options_parse(argc, argv, NULL);
    listener = net_listen(&settings, true);
    backlog_max = net_backlog_max(settings.backlog);
    if (listener < 0)
        return 1;
    set_up();
    watch_signals();
    start_accept();
    net_announce(listener);
    while (ticks == 0 || (count > 0 && ticks < STOP_TICKS)) {
        int error = io_uring_submit_and_wait(&ring, 1);
        if (error < 0 && error != -EINTR && error != -EBUSY) {
            errno = -error;
            log_fatal("io_uring");
        }
        struct io_uring_cqe *cqe;
        unsigned head;
        unsigned seen = 0;
        io_uring_for_each_cqe(&ring, head, cqe)
        {
            if (cqe->user_data >> 32 != CANCEL)
                handlers[cqe->user_data >> 32]((int)(uint32_t)cqe->user_data, cqe);
            seen++;
        }
        io_uring_cq_advance(&ring, seen);
    }
    for (int fd = 0; fd < capacity; fd++)
        if (clients[fd].open && owes(&clients[fd]))
            net_reset_on_close(fd);
    return 0;
}
