/* A queue of bytes: added at the end, used up from the start. It holds memory only while there is
 * something in it. {0} is an empty buffer. */
#ifndef BUFFER_H
#define BUFFER_H

#include <stdlib.h>
#include <string.h>

struct buffer {
    char *bytes; /* NULL while it is empty */
    size_t start, end, capacity;
};

static inline size_t buffer_length(const struct buffer *buffer)
{
    return buffer->end - buffer->start;
}

static inline void buffer_use(struct buffer *buffer, size_t length)
{
    buffer->start += length;
    if (buffer->start == buffer->end) {
        free(buffer->bytes);
        *buffer = (struct buffer){0};
    }
}

static inline int buffer_add(struct buffer *buffer, const void *bytes, size_t length)
{
    size_t held = buffer_length(buffer);
    if (length == 0)
        return 0;
    if (buffer->end + length > buffer->capacity) {
        /* Moving what is held to the front costs no more than what was used up since. */
        size_t capacity = held + length <= buffer->start ? buffer->capacity : 2 * held + length;
        char *fresh = malloc(capacity);
        if (!fresh)
            return -1;
        if (held > 0)
            memcpy(fresh, buffer->bytes + buffer->start, held);
        free(buffer->bytes);
        *buffer = (struct buffer){fresh, 0, held, capacity};
    }
    memcpy(buffer->bytes + buffer->end, bytes, length);
    buffer->end += length;
    return 0;
}

#endif
