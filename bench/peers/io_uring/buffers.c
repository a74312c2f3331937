#include "buffers.h"

#include <errno.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { SMALL_COUNT = CONN_HELD_MAX / SMALL_SIZE, LARGE_COUNT = 64 };

/* The large buffers have the numbers after the small ones. */
static char small[SMALL_COUNT][SMALL_SIZE], large[LARGE_COUNT][LARGE_SIZE];
static struct io_uring_buf_ring *free_small, *free_large; /* the kernel takes from the front */

int buffer_number(const struct io_uring_cqe *cqe)
{
    return (int)(cqe->flags >> IORING_CQE_BUFFER_SHIFT);
}

bool buffer_is_large(int number)
{
    return number >= SMALL_COUNT;
}

char *buffer_at(int number)
{
    return buffer_is_large(number) ? large[number - SMALL_COUNT] : small[number];
}

void buffer_give_back(int number)
{
    bool is_large = buffer_is_large(number);
    struct io_uring_buf_ring *ring = is_large ? free_large : free_small;
    io_uring_buf_ring_add(ring, buffer_at(number), is_large ? LARGE_SIZE : SMALL_SIZE,
                          (unsigned short)number,
                          io_uring_buf_ring_mask(is_large ? LARGE_COUNT : SMALL_COUNT), 0);
    io_uring_buf_ring_advance(ring, 1);
}

static int register_group(struct io_uring *ring, unsigned short group, unsigned count,
                          struct io_uring_buf_ring **buffers)
{
    void *memory; /* of whole pages: the kernel asks for that */
    size_t page = (size_t)sysconf(_SC_PAGESIZE), size = count * sizeof(struct io_uring_buf);
    if (posix_memalign(&memory, page, (size + page - 1) / page * page) != 0)
        return -ENOMEM;
    struct io_uring_buf_reg reg = {
        .ring_addr = (uintptr_t)memory, .ring_entries = count, .bgid = group};
    *buffers = memory;
    io_uring_buf_ring_init(*buffers);
    return io_uring_register_buf_ring(ring, &reg, 0);
}

int buffers_set_up(struct io_uring *ring)
{
    int error = register_group(ring, 0, SMALL_COUNT, &free_small);
    if (error == 0)
        error = register_group(ring, 1, LARGE_COUNT, &free_large);
    for (int number = 0; error == 0 && number < SMALL_COUNT + LARGE_COUNT; number++)
        buffer_give_back(number);
    /* Touched now, the pages are there, and not only once a client needs them. */
    memset(small, 1, sizeof small);
    memset(large, 1, sizeof large);
    return error;
}
