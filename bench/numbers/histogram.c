#include "numbers/histogram.h"

#include <string.h>

void histogram_clear(struct histogram *histogram)
{
    memset(histogram, 0, sizeof *histogram);
}

static unsigned bucket_of(uint64_t value)
{
    if (value < 1U << HISTOGRAM_BITS)
        return (unsigned)value;
    unsigned octave = 63U - (unsigned)__builtin_clzll(value) - HISTOGRAM_BITS;
    unsigned step = (unsigned)(value >> octave) & ((1U << HISTOGRAM_BITS) - 1);
    unsigned bucket = ((octave + 1) << HISTOGRAM_BITS) | step;
    return bucket < HISTOGRAM_BUCKETS ? bucket : HISTOGRAM_BUCKETS - 1;
}

/* The middle of a bucket: the error is then at most half its width. */
static uint64_t value_of(unsigned bucket)
{
    if (bucket < 1U << HISTOGRAM_BITS)
        return bucket;
    unsigned octave = (bucket >> HISTOGRAM_BITS) - 1;
    uint64_t step = bucket & ((1U << HISTOGRAM_BITS) - 1);
    uint64_t low = (step + (1U << HISTOGRAM_BITS)) << octave;
    return low + ((1ULL << octave) >> 1);
}

void histogram_record(struct histogram *histogram, uint64_t value)
{
    histogram->buckets[bucket_of(value)]++;
    histogram->count++;
    if (value > histogram->maximum)
        histogram->maximum = value;
}

void histogram_merge(struct histogram *into, const struct histogram *from)
{
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++)
        into->buckets[i] += from->buckets[i];
    into->count += from->count;
    if (from->maximum > into->maximum)
        into->maximum = from->maximum;
}

uint64_t histogram_percentile(const struct histogram *histogram, double percent)
{
    double exact = percent / 100.0 * (double)histogram->count;
    uint64_t rank = (uint64_t)exact;
    if ((double)rank < exact || rank == 0)
        rank++; /* nearest rank: round up */
    if (rank >= histogram->count)
        return histogram->maximum;
    uint64_t seen = 0;
    for (unsigned i = 0; i < HISTOGRAM_BUCKETS; i++) {
        seen += histogram->buckets[i];
        if (seen >= rank) {
            uint64_t value = value_of(i);
            return value < histogram->maximum ? value : histogram->maximum;
        }
    }
    return histogram->maximum;
}
