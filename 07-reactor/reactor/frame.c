#include "frame.h"

#include <errno.h>
#include <stdint.h>
#include <string.h>

int frame_find(const char *bytes, size_t length)
{
    const unsigned char *b = (const unsigned char *)bytes;
    if (length < FRAME_HEADER)
        return FRAME_PARTIAL;
    uint32_t content = (uint32_t)b[0] << 24 | (uint32_t)b[1] << 16 | (uint32_t)b[2] << 8 | b[3];
    if (content > FRAME_MAX)
        return FRAME_BAD;
    return length - FRAME_HEADER < content ? FRAME_PARTIAL : (int)content;
}

int frame_send(struct stream *stream, const char *content, size_t length)
{
    unsigned char header[FRAME_HEADER] = {0, (unsigned char)(length >> 16),
                                          (unsigned char)(length >> 8), (unsigned char)length};
    if (length > FRAME_MAX) {
        errno = EMSGSIZE;
        return -1;
    }
    if (stream_send(stream, header, sizeof header) < 0)
        return -1;
    if (stream_send(stream, content, length) == 0)
        return 0;
    int error = errno; /* half a frame must never be sent */
    stream_abort(stream);
    errno = error;
    return -1;
}
