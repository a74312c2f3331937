/* A frame is a length in 4 bytes, most significant first, and that many bytes. TCP carries bytes,
 * not messages, so a protocol of messages has to say where each one ends. */
#ifndef FRAME_H
#define FRAME_H

#include <stddef.h>

#include "stream.h"

enum { FRAME_HEADER = 4, FRAME_MAX = 64 * 1024 /* bytes after the length */ };

/* Looks for a frame at the start of the bytes. Returns the length of its content, which begins
 * after FRAME_HEADER bytes; FRAME_PARTIAL if more has to arrive; FRAME_BAD if its length is more
 * than FRAME_MAX, as soon as that is known. Nothing after that can be trusted. */
enum { FRAME_PARTIAL = -1, FRAME_BAD = -2 };
int frame_find(const char *bytes, size_t length);

/* Sends content as one frame. As stream_send(); EMSGSIZE if it is too long. */
int frame_send(struct stream *stream, const char *content, size_t length);

#endif
