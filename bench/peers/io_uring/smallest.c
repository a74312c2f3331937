/* The smallest server on io_uring: it requests the work, and the kernel says when it is done.
 *
 * A client's sends may be under way side by side: their bytes change places. At EOF it may close
 * before the last send has begun. A receive that finds no free buffer ends, and nobody requests the
 * next. When descriptors run out it burns a core. A signal ends it at once, whatever it owes.
 * server.c does better. */
#include <err.h>
#include <errno.h>
#include <liburing.h>
#include <string.h>
#include <unistd.h>

#include "net.h"
#include "options.h"

enum { REQUESTS = 4096, BUFFERS = 1024, SIZE = 16 * 1024 };
enum kind { ACCEPT, RECEIVE, SEND };

static struct io_uring ring;
static char bytes[BUFFERS][SIZE];
static _Alignas(4096) struct io_uring_buf free_buffers[BUFFERS]; /* the kernel takes from these */

static void request(enum kind kind, int fd, int buffer, int length)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);
    if (kind == ACCEPT) /* until it fails, with a completion for each client */
        io_uring_prep_multishot_accept(sqe, fd, NULL, NULL, 0);
    if (kind == RECEIVE) { /* until EOF, with a completion and a buffer for each piece */
        io_uring_prep_recv_multishot(sqe, fd, NULL, 0, 0);
        sqe->flags |= IOSQE_BUFFER_SELECT;
    }
    if (kind == SEND) /* until all of it has gone */
        io_uring_prep_send(sqe, fd, bytes[buffer], (size_t)length, MSG_WAITALL);
    /* Its completion brings these 64 bits back, and nothing else says which request it was. */
    io_uring_sqe_set_data64(sqe, (uint64_t)fd << 32 | (uint64_t)buffer << 8 | kind);
}

static void give_back(int buffer)
{
    struct io_uring_buf_ring *all = (struct io_uring_buf_ring *)free_buffers;
    io_uring_buf_ring_add(all, bytes[buffer], SIZE, (unsigned short)buffer, BUFFERS - 1, 0);
    io_uring_buf_ring_advance(all, 1);
}

static void handle(const struct io_uring_cqe *done)
{
    int fd = (int)(done->user_data >> 32), kind = done->user_data & 0xff;
    if (kind == ACCEPT && done->res >= 0)
        request(RECEIVE, done->res, 0, 0);
    if (kind == ACCEPT && !(done->flags & IORING_CQE_F_MORE))
        request(ACCEPT, fd, 0, 0);
    if (kind == RECEIVE && done->res > 0)
        request(SEND, fd, (int)(done->flags >> IORING_CQE_BUFFER_SHIFT), done->res);
    if (kind == RECEIVE && (done->res == 0 || done->res == -ECONNRESET))
        close(fd);
    if (kind == SEND)
        give_back(done->user_data >> 8 & 0xffff);
}

int main(int argc, char **argv)
{
    struct net_settings settings = options_parse(argc, argv, NULL);
    struct io_uring_buf_reg reg = {.ring_addr = (uintptr_t)free_buffers, .ring_entries = BUFFERS};
    unsigned how = IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN;
    int listener = net_listen(&settings, false), error = io_uring_queue_init(REQUESTS, &ring, how);
    if (error < 0 || (error = io_uring_register_buf_ring(&ring, &reg, 0)) < 0)
        errx(1, "io_uring: %s", strerror(-error));
    memset(bytes, 0, sizeof bytes); /* so that this memory is ours before clients come */
    for (int buffer = 0; buffer < BUFFERS; buffer++)
        give_back(buffer);
    if (listener < 0 || net_announce(listener) < 0)
        return 1;
    request(ACCEPT, listener, 0, 0);
    for (struct io_uring_cqe *done;;) {
        io_uring_submit_and_wait(&ring, 1);
        for (; io_uring_peek_cqe(&ring, &done) == 0; io_uring_cqe_seen(&ring, done))
            handle(done);
    }
}
