#include "record/summary.h"

#include <math.h>
#include <stdlib.h>

/* The slices of one server in one condition, each with the reference's slice of the same round. */
struct pairs {
    int count;
    const struct slice **own;
    const struct slice **reference; /* NULL where the reference has none */
    double *values;                 /* room for one figure of each */
};

static bool belongs(const struct record *record, const struct slice *slice, int condition)
{
    return slice->condition == condition && slice->echoes > 0 &&
           slice->round < record->runs[condition].rounds;
}

/* False without memory. */
static bool pairs_make(struct pairs *pairs, const struct record *record, int condition, int server)
{
    size_t rounds = (size_t)record->runs[condition].rounds + 1;
    *pairs = (struct pairs){.own = calloc(rounds, sizeof *pairs->own),
                            .reference = calloc(rounds, sizeof *pairs->reference),
                            .values = calloc(rounds, sizeof *pairs->values)};
    const struct slice **by_round = calloc(rounds, sizeof *by_round);
    bool made = pairs->own && pairs->reference && pairs->values && by_round;
    int reference = record_reference(record);
    for (int i = 0; made && i < record->slice_count; i++) {
        const struct slice *slice = &record->slices[i];
        if (belongs(record, slice, condition) && slice->server == reference)
            by_round[slice->round] = slice;
    }
    for (int i = 0; made && i < record->slice_count; i++) {
        const struct slice *slice = &record->slices[i];
        if (!belongs(record, slice, condition) || slice->server != server)
            continue;
        pairs->reference[pairs->count] = by_round[slice->round];
        pairs->own[pairs->count++] = slice;
    }
    free(by_round);
    return made;
}

static void pairs_free(struct pairs *pairs)
{
    free(pairs->own);
    free(pairs->reference);
    free(pairs->values);
}

/* ---- the figures: one function for each ---- */

/* A figure of one slice; `reference` is the reference's slice of the same round, or NULL. NAN when
 * it is not known. */
typedef double figure(const struct slice *slice, const struct slice *reference);

static double cpu(const struct slice *slice, const struct slice *reference)
{
    (void)reference;
    return slice->server_cpu > 0 ? (double)slice->server_cpu / 1e3 / (double)slice->echoes : NAN;
}

static double rate(const struct slice *slice, const struct slice *reference)
{
    (void)reference;
    return (double)slice->echoes * 1e9 / (double)slice->elapsed;
}

static double switches(const struct slice *slice, const struct slice *reference)
{
    (void)reference;
    return slice->switches >= 0 ? (double)slice->switches / (double)slice->echoes : NAN;
}

/* What a server does after its last answer belongs to the echoes, not to the time. */
static double server_busy(const struct slice *slice, const struct slice *reference)
{
    (void)reference;
    return fmin(1, (double)slice->server_cpu / (double)slice->elapsed);
}

static double generator_busy(const struct slice *slice, const struct slice *reference)
{
    (void)reference;
    return (double)slice->generator_cpu / (double)slice->elapsed;
}

static double generator_cpu(const struct slice *slice, const struct slice *reference)
{
    (void)reference;
    return (double)slice->generator_cpu / 1e3 / (double)slice->echoes;
}

static double stream(const struct slice *slice, const struct slice *reference)
{
    (void)reference;
    return (double)slice->stream_bytes * 1e3 / (double)slice->elapsed;
}

static bool comparable(const struct slice *slice, const struct slice *reference)
{
    return reference && slice->server_cpu > 0 && reference->server_cpu > 0;
}

static double cpu_ratio(const struct slice *slice, const struct slice *reference)
{
    return comparable(slice, reference) ? cpu(slice, NULL) / cpu(reference, NULL) : NAN;
}

static double rate_ratio(const struct slice *slice, const struct slice *reference)
{
    return comparable(slice, reference) ? rate(slice, NULL) / rate(reference, NULL) : NAN;
}

static double p99_ratio(const struct slice *slice, const struct slice *reference)
{
    return comparable(slice, reference) ? (double)slice->p99 / (double)reference->p99 : NAN;
}

/* ---- a row ---- */

static struct estimate estimate_by(struct pairs *pairs, figure *of)
{
    for (int i = 0; i < pairs->count; i++)
        pairs->values[i] = of(pairs->own[i], pairs->reference[i]);
    return estimate_of(pairs->values, pairs->count);
}

static double late_share(const struct pairs *pairs)
{
    double late = 0, echoes = 0;
    for (int i = 0; i < pairs->count; i++) {
        late += (double)pairs->own[i]->late;
        echoes += (double)pairs->own[i]->echoes;
    }
    return echoes > 0 ? late / echoes : NAN;
}

static double microseconds(const struct histogram *histogram, double percent)
{
    return (double)histogram_percentile(histogram, percent) / 1e3;
}

struct summary summary_of(const struct record *record, int condition, int server)
{
    struct pairs pairs;
    const struct outcome *outcome = record_outcome(record, condition, server);
    if (!pairs_make(&pairs, record, condition, server))
        pairs.count = 0;
    struct summary s = {
        .slices = pairs.count,
        .cpu = estimate_by(&pairs, cpu).median,
        .rate = estimate_by(&pairs, rate).median,
        .switches = estimate_by(&pairs, switches).median,
        .server_busy = estimate_by(&pairs, server_busy).median,
        .generator_busy = estimate_by(&pairs, generator_busy).median,
        .generator_cpu = estimate_by(&pairs, generator_cpu).median,
        .stream = estimate_by(&pairs, stream).median,
        .cpu_ratio = estimate_by(&pairs, cpu_ratio),
        .rate_ratio = estimate_by(&pairs, rate_ratio),
        .p99_ratio = estimate_by(&pairs, p99_ratio),
        .late = late_share(&pairs),
        .p50 = microseconds(&outcome->latency, 50),
        .p90 = microseconds(&outcome->latency, 90),
        .p99 = microseconds(&outcome->latency, 99),
        .p999 = microseconds(&outcome->latency, 99.9),
        .maximum = (double)outcome->latency.maximum / 1e3,
        .sent_p50 = microseconds(&outcome->sent_latency, 50),
        .sent_p99 = microseconds(&outcome->sent_latency, 99),
    };
    pairs_free(&pairs);
    return s;
}

double noise_of(const struct record *record, int condition)
{
    int control = record_control(record);
    if (control < 0)
        return NAN;
    struct summary s = summary_of(record, condition, control);
    bool fairness = record->conditions[condition].mode == LOAD_FAIR;
    struct estimate e = fairness ? s.p99_ratio : s.cpu_ratio;
    return fmax(fabs(e.low - 1), fabs(e.high - 1));
}
