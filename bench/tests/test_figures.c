/* The arithmetic: histogram, medians, intervals, ratios. */
#include "load/pattern.h"
#include "numbers/histogram.h"
#include "numbers/random.h"
#include "record/summary.h"
#include "system/clock.h"
#include "system/interrupt.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>

enum { SAMPLES = 20000 };

static int ascending(const void *a, const void *b)
{
    uint64_t x = *(const uint64_t *)a;
    uint64_t y = *(const uint64_t *)b;
    return (x > y) - (x < y);
}

/* From nanoseconds to a minute, equally many of each magnitude. */
static uint64_t *samples(struct histogram *histogram)
{
    static uint64_t values[SAMPLES];
    uint64_t state = 3;
    for (int i = 0; i < SAMPLES; i++) {
        values[i] = random_next(&state) >> (28 + random_next(&state) % 36);
        histogram_record(histogram, values[i]);
    }
    qsort(values, SAMPLES, sizeof *values, ascending);
    return values;
}

Test(histogram, percentiles_are_within_half_a_percent_of_the_exact_ones)
{
    static struct histogram histogram;
    const uint64_t *sorted = samples(&histogram);
    static const double wanted[] = {0.01, 1, 10, 25, 50, 75, 90, 99, 99.9, 99.99};
    for (size_t i = 0; i < sizeof wanted / sizeof *wanted; i++) {
        size_t rank = (size_t)ceil(wanted[i] / 100 * SAMPLES);
        double exact = (double)sorted[rank - 1];
        double seen = (double)histogram_percentile(&histogram, wanted[i]);
        cr_assert(fabs(seen - exact) <= exact * 0.0045, "p%g: exact %g, seen %g", wanted[i], exact,
                  seen);
    }
    cr_assert_eq(histogram_percentile(&histogram, 100), sorted[SAMPLES - 1]);
    cr_assert_eq(histogram.maximum, sorted[SAMPLES - 1]);
}

Test(histogram, every_power_of_two_and_its_neighbours_are_kept)
{
    for (unsigned shift = 0; shift < 37; shift++) {
        for (int side = -1; side <= 1; side++) {
            struct histogram *histogram = calloc(1, sizeof *histogram);
            uint64_t value = (1ULL << shift) + (unsigned long long)side;
            histogram_record(histogram, value);
            histogram_record(histogram, UINT64_MAX); /* so that the maximum does not help */
            double seen = (double)histogram_percentile(histogram, 50);
            cr_assert(fabs(seen - (double)value) <= (double)value * 0.005, "2^%u%+d: %g", shift,
                      side, seen);
            free(histogram);
        }
    }
}

Test(histogram, no_value_is_off_by_more_than_four_thousandths)
{
    static struct histogram histogram;
    for (uint64_t value = 1; value < 5000; value++) {
        histogram_clear(&histogram);
        histogram_record(&histogram, value);
        histogram_record(&histogram, UINT64_MAX); /* so that the maximum does not help */
        double seen = (double)histogram_percentile(&histogram, 50);
        cr_assert(fabs(seen - (double)value) <= (double)value * 0.004, "%g for %g", seen,
                  (double)value);
    }
}

Test(histogram, empty_and_single)
{
    static struct histogram histogram;
    cr_assert_eq(histogram_percentile(&histogram, 99), 0);
    histogram_record(&histogram, 1234567);
    cr_assert_eq(histogram_percentile(&histogram, 50), 1234567);
    cr_assert_eq(histogram_percentile(&histogram, 99.9), 1234567);
    histogram_clear(&histogram);
    histogram_record(&histogram, 1228801);
    histogram_record(&histogram, 1228801); /* the middle of its bucket is above the maximum */
    cr_assert_eq(histogram_percentile(&histogram, 50), 1228801);
}

Test(histogram, merging_is_recording_into_one)
{
    static struct histogram one, two, both, merged;
    uint64_t state = 5;
    for (int i = 0; i < 5000; i++) {
        uint64_t value = random_next(&state) >> 40;
        histogram_record(i % 3 == 0 ? &one : &two, value);
        histogram_record(&both, value);
    }
    histogram_merge(&merged, &one);
    histogram_merge(&merged, &two);
    cr_assert_eq(memcmp(&merged, &both, sizeof both), 0);
}

Test(pattern, never_lines_up_with_itself)
{
    pattern_init();
    static const size_t sizes[] = {1, 2, 64, 1000, 1024, 16384, 65536, 1 << 20};
    for (size_t i = 0; i < sizeof sizes / sizeof *sizes; i++) {
        uint32_t here = pattern_start(9);
        uint32_t next = pattern_advance(here, sizes[i]);
        cr_assert_neq(memcmp(pattern_at(here), pattern_at(next), 32), 0, "size %zu", sizes[i]);
    }
    cr_assert_eq(pattern_advance(PATTERN_PERIOD - 1, 1), 0);
    cr_assert_eq(memcmp(pattern_at(0), pattern_at(0) + PATTERN_PERIOD, 1000), 0);
}

Test(estimate, median_quartiles_and_interval)
{
    double values[99];
    for (int i = 0; i < 99; i++)
        values[i] = (i * 37 % 99) + 1; /* 1 to 99, shuffled */
    struct estimate e = estimate_of(values, 99);
    cr_assert_float_eq(e.median, 50, 1e-9);
    cr_assert_float_eq(e.quartile1, 25.5, 1e-9);
    cr_assert_float_eq(e.quartile3, 74.5, 1e-9);
    /* the binomial table for n = 99: ranks 40 and 60 */
    cr_assert(e.low >= 39 && e.low <= 41, "%g", e.low);
    cr_assert(e.high >= 59 && e.high <= 61, "%g", e.high);
    cr_assert(isnan(estimate_of(values, 0).median));
    cr_assert_float_eq(estimate_of(values, 1).median, 1, 1e-9);
}

Test(estimate, what_is_not_known_does_not_count)
{
    double values[] = {3, NAN, 1, NAN, 2, NAN};
    struct estimate e = estimate_of(values, 6);
    cr_assert_float_eq(e.median, 2, 1e-9);
    cr_assert_float_eq(e.low, 1, 1e-9);
    cr_assert_float_eq(e.high, 3, 1e-9);
    double none[] = {NAN, NAN};
    cr_assert(isnan(estimate_of(none, 2).median));
}

Test(estimate, interval_holds_the_true_median_nineteen_times_in_twenty)
{
    uint64_t state = 11;
    int held = 0;
    for (int run = 0; run < 2000; run++) {
        double values[40];
        for (int i = 0; i < 40; i++) /* skewed: the true median is 1/4 */
            values[i] = pow((double)(random_next(&state) >> 11) / 9007199254740992.0, 2);
        struct estimate e = estimate_of(values, 40);
        held += e.low <= 0.25 && 0.25 <= e.high;
    }
    cr_assert(held > 1860 && held < 1960, "%d of 2000", held);
}

/* Two servers and the control, in `rounds` rounds on a machine whose speed swings by a factor of
 * two from round to round: `times` the reference's cost must come out as just that. */
static void swinging(struct record *record, struct server *servers, int rounds, double times)
{
    servers[0].reference = true;
    servers[2].control = true;
    record->servers = servers;
    record->server_count = 3;
    record->condition_count = 1;
    record->conditions[0] = (struct condition){.active = 64, .size = 64};
    cr_assert_eq(record_init(record), 0);
    cr_assert_eq(record_reserve(record, rounds * 3), 0);
    record->runs[0].rounds = rounds;
    uint64_t state = 1;
    for (int round = 0; round < rounds; round++) {
        double speed = 1 + (double)(random_next(&state) % 1000) / 1000;
        for (int server = 2; server >= 0; server--) { /* the reference is not the first */
            double cost = server == 1 ? times : 1;
            struct slice slice = {.server = server,
                                  .round = round,
                                  .echoes = 1000,
                                  .elapsed = (uint64_t)(5e6 * speed * cost),
                                  .server_cpu = (uint64_t)(4e6 * speed * cost),
                                  .switches = -1};
            record_add(record, &slice);
        }
    }
}

Test(summary, ratios_are_taken_within_a_round)
{
    static struct record record;
    static struct server servers[3];
    swinging(&record, servers, 30, 1.5);
    struct summary s = summary_of(&record, 0, 1);
    cr_assert_float_eq(s.cpu_ratio.median, 1.5, 1e-6);
    cr_assert_float_eq(s.cpu_ratio.high, 1.5, 1e-6);
    cr_assert_float_eq(s.rate_ratio.median, 1 / 1.5, 1e-6);
    cr_assert(isnan(s.switches));
    cr_assert_float_eq(noise_of(&record, 0), 0, 1e-6);
    cr_assert(estimate_differs(&s.cpu_ratio, 0.01));
    record_free(&record);
}

Test(summary, a_missing_round_does_not_shift_the_pairs)
{
    static struct record record;
    static struct server servers[3];
    swinging(&record, servers, 5, 1.25); /* so few that the interval is the range */
    record.slices[2 + 3 * 3].echoes = 0; /* the reference lost its fourth slice */
    struct summary s = summary_of(&record, 0, 1);
    cr_assert_eq(s.slices, 5);
    cr_assert_float_eq(s.cpu_ratio.low, 1.25, 1e-6);
    cr_assert_float_eq(s.cpu_ratio.high, 1.25, 1e-6);
    record_free(&record);
}

Test(summary, what_is_not_a_difference)
{
    struct estimate wide = {.median = 1.1, .low = 0.9, .high = 1.3};
    struct estimate narrow = {.median = 1.01, .low = 1.005, .high = 1.015};
    struct estimate none = {NAN, NAN, NAN, NAN, NAN};
    cr_assert(!estimate_differs(&wide, 0.001));
    cr_assert(!estimate_differs(&narrow, 0.02));
    cr_assert(estimate_differs(&narrow, 0.005));
    cr_assert(!estimate_differs(&none, 0.005));
}
