/* After the seven: io_uring. The kernel does the work, and tells us when it is done.
 *
 * The other servers ask which socket is ready, and then receive or send. Here we request the
 * receive and the send themselves. One call, io_uring_enter(), hands over many requests, waits, and
 * brings what is completed. A "multishot" request stays: one accept brings client after client. One
 * receive brings piece after piece, each in a buffer that the kernel takes when bytes come.
 *
 * The kernel works ahead of us, and the care is in what it still has. A buffer is ours again when
 * the send from it is completed. A client has one send at a time, or its bytes would change places.
 * A descriptor is closed when no request is under way for it. */
#include <err.h>
#include <errno.h>
#include <liburing.h>
#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <unistd.h>

#include "buffers.h"
#include "conn.h"
#include "log.h"
#include "net.h"
#include "options.h"

enum {
    REQUESTS = 128,        /* room for these, and for twice as many completions */
    CLIENTS_MAX = 1 << 20, /* slots; those that no client has used take no memory */
    RETRY_MS = 100,        /* out of descriptors: stop accepting for this long */
    UNKNOWN = -1,
};

enum request { ACCEPT, ACCEPT_LATER, RECEIVE, SEND, CANCEL, STOP, STOP_TIME };

struct client {
    int lent, lent_length; /* the buffer that a send is made from; length 0: none */
    char *held;            /* what comes after it, from start to end, or NULL */
    size_t start, end;
    int owed; /* once stopping: bytes that had arrived and are still to be echoed, or UNKNOWN */
    enum { NOTHING, ONCE, MULTISHOT, CANCELLED } receiving;
    bool open, sending, large, ended, lost, fin_sent; /* ended: by EOF; lost: by an error */
};

struct server {
    struct io_uring ring;
    struct client clients[CLIENTS_MAX]; /* by descriptor */
    int listener, open, highest;
    bool accepting, stopping, time_is_over;
};

static void start_accept(struct server *server);
static void handle(struct server *server, const struct io_uring_cqe *cqe);

static void run(struct server *server)
{
    while (!server->stopping || (server->open > 0 && !server->time_is_over)) {
        struct io_uring_cqe *cqe;
        unsigned head, count = 0;
        if (!server->accepting && !server->stopping)
            start_accept(server);
        int error = io_uring_submit_and_wait(&server->ring, 1);
        if (error < 0 && error != -EINTR && error != -EBUSY && error != -EAGAIN) {
            errno = -error;
            log_fatal("io_uring_enter");
        }
        io_uring_for_each_cqe(&server->ring, head, cqe)
        {
            handle(server, cqe);
            count++;
        }
        io_uring_cq_advance(&server->ring, count);
    }
}

/* --------------------------------------------------------------------------------- requests --- */

/* The completion will bring back which request it was, and for which descriptor. */
static struct io_uring_sqe *new_request(struct server *server, enum request request, int fd)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&server->ring);
    for (; !sqe; sqe = io_uring_get_sqe(&server->ring))
        io_uring_submit(&server->ring); /* no room: hand them over */
    io_uring_sqe_set_data64(sqe, (uint64_t)request << 32 | (uint32_t)fd);
    return sqe;
}

static void start_accept(struct server *server)
{
    struct io_uring_sqe *sqe = new_request(server, ACCEPT, server->listener);
    io_uring_prep_multishot_accept(sqe, server->listener, NULL, NULL, SOCK_CLOEXEC);
    server->accepting = true;
}

static void start_timer(struct server *server, enum request request, int ms)
{
    struct io_uring_sqe *sqe = new_request(server, request, server->listener);
    static struct __kernel_timespec time[STOP_TIME + 1]; /* the kernel reads it later */
    time[request] = (struct __kernel_timespec){ms / 1000, ms % 1000 * 1000000};
    io_uring_prep_timeout(sqe, &time[request], 0, 0);
}

/* Multishot costs least, but goes on when we owe bytes. So for a client that sends much in one go
 * we request each receive. Its next bytes are hardly there yet, so POLL_FIRST waits for them. */
static void start_receive(struct server *server, int fd)
{
    struct client *client = &server->clients[fd];
    struct io_uring_sqe *sqe = new_request(server, RECEIVE, fd);
    if (client->large) {
        io_uring_prep_recv(sqe, fd, NULL, LARGE_SIZE, 0);
        sqe->ioprio |= IORING_RECVSEND_POLL_FIRST;
    } else {
        io_uring_prep_recv_multishot(sqe, fd, NULL, 0, 0);
    }
    sqe->flags |= IOSQE_BUFFER_SELECT;
    sqe->buf_group = client->large;
    client->receiving = client->large ? ONCE : MULTISHOT;
}

/* MSG_DONTWAIT completes the send from a lent buffer at once, even if there is no room: the buffer
 * must come back. A send of held bytes waits for room. */
static void start_send(struct server *server, int fd)
{
    struct client *client = &server->clients[fd];
    struct io_uring_sqe *sqe = new_request(server, SEND, fd);
    if (client->lent_length > 0)
        io_uring_prep_send(sqe, fd, buffer_at(client->lent), (size_t)client->lent_length,
                           MSG_DONTWAIT);
    else
        io_uring_prep_send(sqe, fd, client->held + client->start, client->end - client->start, 0);
    client->sending = true;
}

/* Ends all requests for this descriptor. Each is under way until its own completion comes. */
static void cancel(struct server *server, int fd)
{
    struct io_uring_sqe *sqe = new_request(server, CANCEL, fd);
    io_uring_prep_cancel_fd(sqe, fd, IORING_ASYNC_CANCEL_ALL);
    if (server->clients[fd].receiving != NOTHING)
        server->clients[fd].receiving = CANCELLED;
}

/* ------------------------------------------------------------------- the bytes of a client --- */

/* Puts bytes at this place of what is held. It may move: no send from there may be under way. */
static bool hold(struct client *client, size_t place, const char *bytes, size_t length)
{
    char *grown = realloc(client->held, client->end + length);
    if (!grown)
        return false;
    memmove(grown + place + length, grown + place, client->end - place);
    memcpy(grown + place, bytes, length);
    client->held = grown;
    client->end += length;
    return true;
}

/* Takes a buffer with bytes to echo. If nothing is owed they are sent from there. */
static bool take(struct server *server, struct client *client, int number, int length)
{
    if (server->stopping && client->owed != UNKNOWN) { /* what came after the stop is discarded */
        length = length < client->owed ? length : client->owed;
        client->owed -= length;
    }
    if (length > 0 && client->lent_length == 0 && !client->held) {
        client->lent = number;
        client->lent_length = length;
        return true;
    }
    bool good = length == 0 || hold(client, client->end, buffer_at(number), (size_t)length);
    buffer_give_back(number);
    return good;
}

/* The kernel has taken so many bytes. What it left of a lent buffer is held; the buffer is free. */
static bool settle(struct client *client, size_t sent)
{
    bool good = true;
    if (client->lent_length == 0) {
        client->start += sent;
    } else {
        size_t left = (size_t)client->lent_length - sent;
        good = left == 0 || hold(client, 0, buffer_at(client->lent) + sent, left);
        buffer_give_back(client->lent);
        client->lent_length = 0;
    }
    if (client->start == client->end) {
        free(client->held);
        client->held = NULL;
        client->start = client->end = 0;
    }
    return good;
}

/* ------------------------------------------------------------------- a client's completions --- */

/* A client that we give up while we owe it bytes gets RST, so that it does not see a mere EOF. */
static void close_client(struct server *server, int fd)
{
    struct client *client = &server->clients[fd];
    if (client->lost || client->lent_length > 0 || client->held || client->owed != 0)
        net_reset_on_close(fd);
    if (client->lent_length > 0)
        buffer_give_back(client->lent);
    free(client->held);
    *client = (struct client){0};
    close(fd);
    server->open--;
}

/* What comes next? Each completion ends here, so an open client always has a request under way. */
static void proceed(struct server *server, int fd)
{
    struct client *client = &server->clients[fd];
    bool owes = client->lent_length > 0 || client->held;

    if (client->receiving == MULTISHOT && (client->held || client->large))
        cancel(server, fd);
    /* Now we have seen all that was received for us. The rest of what arrived is in the socket. */
    if (client->receiving == NOTHING && client->owed == UNKNOWN &&
        ioctl(fd, FIONREAD, &client->owed) < 0)
        client->owed = 0;
    if (client->sending)
        return;
    if (client->lost || (client->ended && !owes)) {
        if (client->receiving == NOTHING)
            close_client(server, fd);
        return;
    }
    if (client->lent_length > 0 || (client->held && client->receiving == NOTHING))
        start_send(server, fd);
    if (owes)
        return;
    if (server->stopping && client->owed == 0 && !client->fin_sent)
        client->fin_sent = shutdown(fd, SHUT_WR) == 0;
    if (client->receiving == NOTHING)
        start_receive(server, fd);
}

static void on_client(struct server *server, int fd, bool sent, const struct io_uring_cqe *cqe)
{
    struct client *client = &server->clients[fd];
    int bytes = cqe->res > 0 ? cqe->res : 0;
    bool good = cqe->res >= 0 || cqe->res == -EAGAIN || cqe->res == -EINTR ||
                cqe->res == -ECANCELED || cqe->res == -ENOBUFS; /* no buffer was free */

    if (sent) {
        client->sending = false;
        good = settle(client, (size_t)bytes) && good;
    } else {
        if (!(cqe->flags & IORING_CQE_F_MORE))
            client->receiving = NOTHING;
        if (cqe->flags & IORING_CQE_F_BUFFER) {
            int number = buffer_number(cqe);
            if (buffer_is_large(number))
                client->large = bytes > SMALL_SIZE;
            else if (bytes == SMALL_SIZE)
                client->large = true;
            good = take(server, client, number, bytes) && good;
        }
        client->ended = client->ended || cqe->res == 0;
    }
    if (!good && !client->lost) {
        client->lost = true;
        cancel(server, fd);
    }
    proceed(server, fd);
}

/* ------------------------------------------------------------------ accepting, and the stop --- */

static void on_accepted(struct server *server, const struct io_uring_cqe *cqe)
{
    int fd = cqe->res;
    server->accepting = cqe->flags & IORING_CQE_F_MORE;
    if (fd >= CLIENTS_MAX) {
        net_turn_away(fd, "its number is too high for the table");
    } else if (fd >= 0) {
        if (log_verbose)
            log_event("client %d", fd);
        server->clients[fd] = (struct client){.open = true, .owed = server->stopping ? UNKNOWN : 0};
        server->highest = fd > server->highest ? fd : server->highest;
        server->open++;
        proceed(server, fd);
    } else if (!server->stopping) { /* out of descriptors, perhaps */
        log_warning("accept, new clients have to wait: %s", strerror(-fd));
        server->accepting = true;
        start_timer(server, ACCEPT_LATER, RETRY_MS);
    }
}

static void begin_stop(struct server *server)
{
    server->stopping = true;
    shutdown(server->listener, SHUT_RDWR); /* ends the accept, which still holds it open */
    close(server->listener);
    start_timer(server, STOP_TIME, CONN_STOP_MS);
    for (int fd = 0; fd <= server->highest; fd++) {
        if (!server->clients[fd].open)
            continue;
        server->clients[fd].owed = UNKNOWN;
        cancel(server, fd);
        proceed(server, fd);
    }
}

static void handle(struct server *server, const struct io_uring_cqe *cqe)
{
    int fd = (int)(uint32_t)cqe->user_data;
    enum request request = (enum request)(cqe->user_data >> 32);
    if (request == ACCEPT)
        on_accepted(server, cqe);
    else if (request == ACCEPT_LATER)
        server->accepting = false;
    else if (request == RECEIVE || request == SEND)
        on_client(server, fd, request == SEND, cqe);
    else if (request == STOP)
        begin_stop(server);
    else if (request == STOP_TIME)
        server->time_is_over = true;
}

int main(int argc, char **argv)
{
    static struct server server;
    struct net_settings settings = options_parse(argc, argv, NULL);
    sigset_t signals = stop_signals_block(); /* otherwise they would still end the process */
    int signal_fd = signalfd(-1, &signals, SFD_CLOEXEC);

    server.listener = net_listen(&settings, true);
    if (server.listener < 0)
        return 1;
    if (signal_fd < 0)
        err(1, "signalfd");
    int error = io_uring_queue_init(REQUESTS, &server.ring,
                                    IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN);
    if (error == -EPERM)
        errx(1, "io_uring is forbidden here: sysctl kernel.io_uring_disabled, or a seccomp filter");
    if (error < 0 || (error = buffers_set_up(&server.ring)) < 0)
        errx(1, "io_uring, as of Linux 6.1: %s", strerror(-error));
    io_uring_prep_poll_add(new_request(&server, STOP, signal_fd), signal_fd, POLLIN);
    if (net_announce(server.listener) < 0)
        return 1;
    run(&server);
    io_uring_queue_exit(&server.ring); /* ends what is under way, so that close() closes */
    for (int fd = 0; fd <= server.highest; fd++)
        if (server.clients[fd].open)
            close_client(&server, fd);
    return 0;
}
