#ifndef BENCH_HISTOGRAM_H
#define BENCH_HISTOGRAM_H

#include <stdint.h>

/* A log-linear histogram of nanoseconds: every power of two is cut into 128 equal buckets, so a
 * value read back is off by less than 0.4 %, whatever its size. It never allocates: recording may
 * happen while a slice runs. */

enum {
    HISTOGRAM_BITS = 7,     /* 2^7 buckets in every octave */
    HISTOGRAM_OCTAVES = 31, /* values up to 2^37 ns, more than two minutes */
    HISTOGRAM_BUCKETS = HISTOGRAM_OCTAVES << HISTOGRAM_BITS,
};

struct histogram {
    uint64_t count;
    uint64_t maximum; /* exact */
    uint32_t buckets[HISTOGRAM_BUCKETS];
};

void histogram_clear(struct histogram *histogram);
void histogram_record(struct histogram *histogram, uint64_t value);
void histogram_merge(struct histogram *into, const struct histogram *from);

/* The smallest value that at least `percent` of the recorded ones do not exceed (nearest rank);
 * 0 when nothing was recorded. */
uint64_t histogram_percentile(const struct histogram *histogram, double percent);

#endif
