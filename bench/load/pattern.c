#include "load/pattern.h"

#include "numbers/random.h"
#include "system/clock.h"

static unsigned char stream[PATTERN_PERIOD + PATTERN_LONGEST];

void pattern_init(void)
{
    uint64_t state = 7; /* fixed: two runs send the same bytes */
    for (size_t i = 0; i < PATTERN_PERIOD; i++)
        stream[i] = (unsigned char)random_next(&state);
    for (size_t i = PATTERN_PERIOD; i < sizeof stream; i++)
        stream[i] = stream[i - PATTERN_PERIOD];
}

const unsigned char *pattern_at(uint32_t position)
{
    return stream + position % PATTERN_PERIOD;
}

uint32_t pattern_start(uint32_t number)
{
    uint64_t state = number;
    return (uint32_t)(random_next(&state) % PATTERN_PERIOD);
}

uint32_t pattern_advance(uint32_t position, size_t bytes)
{
    size_t moved = position + bytes;
    if (moved >= PATTERN_PERIOD)
        moved %= PATTERN_PERIOD;
    return (uint32_t)moved;
}
