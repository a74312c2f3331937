#ifndef BENCH_CLOCK_H
#define BENCH_CLOCK_H

#include <stdint.h>
#include <time.h>

/* Time, in nanoseconds. */

#define MILLISECONDS(n) ((uint64_t)(n)*1000000U)
#define SECONDS(n)      ((uint64_t)(n)*1000000000U)

static inline uint64_t clock_read(clockid_t clock)
{
    struct timespec t;
    if (clock_gettime(clock, &t) != 0)
        return 0;
    return (uint64_t)t.tv_sec * 1000000000U + (uint64_t)t.tv_nsec;
}

static inline uint64_t clock_now(void)
{
    return clock_read(CLOCK_MONOTONIC);
}

static inline void clock_sleep(uint64_t nanoseconds)
{
    struct timespec t = {.tv_sec = (time_t)(nanoseconds / 1000000000U),
                         .tv_nsec = (long)(nanoseconds % 1000000000U)};
    nanosleep(&t, NULL);
}

#endif
