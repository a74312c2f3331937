/* The buffers that the kernel takes for what it receives: a group of small ones and a group of
 * large ones. All their memory is there from the start, and belongs to no connection.
 *
 * All small buffers together are 64 KiB. So a multishot receive, which goes on while we do not
 * look, cannot take more than that from one client: the contract's clause 3. */
#ifndef BUFFERS_H
#define BUFFERS_H

#include <liburing.h>
#include <stdbool.h>

#include "conn.h"

enum {
    SMALL_SIZE = 256,
    LARGE_SIZE = CONN_HELD_MAX,
};

/* Gives all buffers to the kernel: the small ones as group 0 of this ring, the large ones as group
 * 1. Returns 0, or a negative errno. io_uring_register_buf_ring(3), Linux 5.19 */
int buffers_set_up(struct io_uring *ring);

/* A completion says which buffer its bytes are in. Only one of the two groups has that number. The
 * buffer is ours until we give it back. */
int buffer_number(const struct io_uring_cqe *cqe);
char *buffer_at(int number);
bool buffer_is_large(int number);
void buffer_give_back(int number);

#endif
