/* What the experiments on io_uring share: a ring, its completions one by one, its buffers. */
#ifndef URING_H
#define URING_H

#include "experiment.h"

#include <liburing.h>

enum { REQUESTS = 64, BUFFER_SIZE = 64, ROOM = 8 };

struct completion {
    uint64_t tag; /* the user_data of its request */
    int result;
    unsigned flags;
};

/* With these flags the kernel works on our requests only while we wait. */
static inline struct io_uring start_ring(void)
{
    struct io_uring ring;
    int error = io_uring_queue_init(REQUESTS, &ring,
                                    IORING_SETUP_SINGLE_ISSUER | IORING_SETUP_DEFER_TASKRUN);
    if (error == -EPERM)
        skip("io_uring is forbidden here");
    if (error == -ENOSYS || error == -EINVAL)
        skip("io_uring as of Linux 6.1 is not there");
    if (error < 0)
        errx(1, "io_uring_queue_init: %s", strerror(-error));
    return ring;
}

/* Hands over the requests. False: nothing is completed within that time. */
static inline bool completed(struct io_uring *ring, int ms, struct completion *completion)
{
    struct io_uring_cqe *cqe;
    struct __kernel_timespec time = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};
    if (io_uring_submit_and_wait_timeout(ring, &cqe, 1, &time, NULL) < 0 ||
        io_uring_peek_cqe(ring, &cqe) < 0)
        return false;
    *completion = (struct completion){cqe->user_data, cqe->res, cqe->flags};
    io_uring_cqe_seen(ring, cqe);
    return true;
}

static inline struct completion next_completion(struct io_uring *ring)
{
    struct completion completion;
    if (!completed(ring, 10000, &completion))
        errx(1, "nothing is completed");
    return completion;
}

/* One buffer, which the kernel fills when bytes come. */
struct buffer {
    _Alignas(4096) struct io_uring_buf ring[ROOM]; /* a power of two */
    char bytes[BUFFER_SIZE];
};

static inline void give(struct buffer *buffer)
{
    struct io_uring_buf_ring *ring = (struct io_uring_buf_ring *)buffer->ring;
    io_uring_buf_ring_add(ring, buffer->bytes, BUFFER_SIZE, 0, ROOM - 1, 0);
    io_uring_buf_ring_advance(ring, 1);
}

static inline void provide(struct io_uring *ring, struct buffer *buffer)
{
    struct io_uring_buf_reg reg = {.ring_addr = (uintptr_t)buffer->ring, .ring_entries = ROOM};
    *buffer = (struct buffer){0};
    int error = io_uring_register_buf_ring(ring, &reg, 0);
    if (error < 0)
        errx(1, "io_uring_register_buf_ring: %s", strerror(-error));
    give(buffer);
}

/* A multishot receive: a completion for each piece, in the buffer. */
static inline void request_receive(struct io_uring *ring, int fd, uint64_t tag)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
    io_uring_prep_recv_multishot(sqe, fd, NULL, 0, 0);
    sqe->flags |= IOSQE_BUFFER_SELECT;
    io_uring_sqe_set_data64(sqe, tag);
}

static inline struct io_uring_sqe *request_send(struct io_uring *ring, int fd, const void *bytes,
                                                size_t length, int flags, uint64_t tag)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
    io_uring_prep_send(sqe, fd, bytes, length, flags | MSG_NOSIGNAL);
    io_uring_sqe_set_data64(sqe, tag);
    return sqe;
}

#endif
