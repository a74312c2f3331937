#ifndef BENCH_PATTERN_H
#define BENCH_PATTERN_H

#include <stddef.h>
#include <stdint.h>

/* What the connections send, and what must come back. All of them read one endless stream of
 * pseudo-random bytes, each from its own starting point. The stream repeats after PATTERN_PERIOD
 * bytes, a prime: no usual message size divides it, so a reply that is old, shifted, cut, or meant
 * for somebody else does not match. Sending needs no preparation and checking is one memcmp. */

enum {
    PATTERN_PERIOD = 65521,
    PATTERN_LONGEST = 1 << 20, /* the longest piece that can be read in one go */
};

void pattern_init(void);

/* PATTERN_LONGEST bytes of the stream, from `position` on (any number; it is reduced). */
const unsigned char *pattern_at(uint32_t position);

/* Where connection `number` starts reading. */
uint32_t pattern_start(uint32_t number);

/* `position` moved on by `bytes`, reduced. */
uint32_t pattern_advance(uint32_t position, size_t bytes);

#endif
