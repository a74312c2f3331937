#include "statistics.h"

#include <math.h>
#include <stdlib.h>

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

static double at_rank(const double *sorted, int count, double rank)
{
    if (rank < 0)
        rank = 0;
    if (rank > count - 1)
        rank = count - 1;
    int below = (int)rank;
    int above = below + 1 < count ? below + 1 : below;
    double part = rank - below;
    return sorted[below] * (1 - part) + sorted[above] * part;
}

struct estimate estimate_of(double *values, int measured)
{
    int count = 0;
    for (int i = 0; i < measured; i++) {
        if (isfinite(values[i]))
            values[count++] = values[i];
    }
    if (count == 0)
        return (struct estimate){NAN, NAN, NAN, NAN, NAN};
    qsort(values, (size_t)count, sizeof *values, ascending);
    /* of n values, the number below the true median is binomial(n, 1/2) */
    double reach = 0.98 * sqrt(count);
    return (struct estimate){
        .median = at_rank(values, count, (count - 1) / 2.0),
        .low = at_rank(values, count, floor(count / 2.0 - reach - 0.5)),
        .high = at_rank(values, count, ceil(count / 2.0 + reach - 0.5)),
        .quartile1 = at_rank(values, count, (count - 1) / 4.0),
        .quartile3 = at_rank(values, count, (count - 1) * 3 / 4.0),
    };
}

/* The columns of one server in one cell, by slice; and the reference's in the same rounds. */
struct columns {
    int count;
    double *cpu, *rate, *switches, *server_busy, *generator_busy, *generator_cpu, *stream;
    int pairs;
    double *versus, *faster, *slower;
    double late, echoes;               /* of all slices */
    const struct slice **of_reference; /* by round */
    double *memory;
};

static int make_columns(struct columns *c, int rounds)
{
    size_t n = (size_t)rounds + 1;
    *c = (struct columns){.memory = calloc(10 * n, sizeof *c->memory),
                          .of_reference = calloc(n, sizeof *c->of_reference)};
    if (c->memory == NULL || c->of_reference == NULL)
        return -1;
    double **each[] = {
        &c->cpu,           &c->rate,   &c->switches, &c->server_busy, &c->generator_busy,
        &c->generator_cpu, &c->versus, &c->faster,   &c->slower,      &c->stream};
    for (size_t i = 0; i < sizeof each / sizeof *each; i++)
        *each[i] = c->memory + i * n;
    return 0;
}

static double cpu_per_echo(const struct slice *slice)
{
    return slice->server_cpu > 0 ? (double)slice->server_cpu / 1e3 / (double)slice->echoes : NAN;
}

static double echoes_per_second(const struct slice *slice)
{
    return (double)slice->echoes * 1e9 / (double)slice->elapsed;
}

static void add_slice(struct columns *c, const struct slice *slice)
{
    int i = c->count++;
    double echoes = (double)slice->echoes;
    double elapsed = (double)slice->elapsed;
    c->cpu[i] = cpu_per_echo(slice);
    c->rate[i] = echoes_per_second(slice);
    c->switches[i] = slice->switches >= 0 ? (double)slice->switches / echoes : NAN;
    /* what a server does after its last answer belongs to the echoes, not to the time */
    c->server_busy[i] = fmin(1, (double)slice->server_cpu / elapsed);
    c->generator_busy[i] = (double)slice->generator_cpu / elapsed;
    c->generator_cpu[i] = (double)slice->generator_cpu / 1e3 / echoes;
    c->stream[i] = (double)slice->stream_bytes * 1e3 / elapsed;
    c->late += (double)slice->late;
    c->echoes += echoes;
    const struct slice *reference = c->of_reference[slice->round];
    if (reference == NULL || slice->server_cpu == 0 || reference->server_cpu == 0)
        return;
    c->versus[c->pairs] = cpu_per_echo(slice) / cpu_per_echo(reference);
    c->slower[c->pairs] = (double)slice->p99 / (double)reference->p99;
    c->faster[c->pairs++] = echoes_per_second(slice) / echoes_per_second(reference);
}

static void collect(struct columns *c, const struct record *record, int cell, int server)
{
    int reference = record_reference(record);
    int rounds = record->facts[cell].rounds;
    for (int pass = 0; pass < 2; pass++) {
        for (int i = 0; i < record->slice_count; i++) {
            const struct slice *slice = &record->slices[i];
            if (slice->cell != cell || slice->echoes == 0 || slice->round >= rounds)
                continue;
            if (pass == 0 && slice->server == reference)
                c->of_reference[slice->round] = slice;
            if (pass == 1 && slice->server == server)
                add_slice(c, slice);
        }
    }
}

struct summary summary_of(const struct record *record, int cell, int server)
{
    struct columns c;
    struct summary s = {0};
    const struct histogram *latency = &record_outcome(record, cell, server)->latency;
    if (make_columns(&c, record->facts[cell].rounds) == 0)
        collect(&c, record, cell, server);
    s.slices = c.count;
    s.cpu = estimate_of(c.cpu, c.count).median;
    s.rate = estimate_of(c.rate, c.count).median;
    s.switches = estimate_of(c.switches, c.count).median;
    s.server_busy = estimate_of(c.server_busy, c.count).median;
    s.generator_busy = estimate_of(c.generator_busy, c.count).median;
    s.generator_cpu = estimate_of(c.generator_cpu, c.count).median;
    s.versus = estimate_of(c.versus, c.pairs);
    s.faster = estimate_of(c.faster, c.pairs);
    s.p99_versus = estimate_of(c.slower, c.pairs);
    s.stream = estimate_of(c.stream, c.count).median;
    s.late = c.echoes > 0 ? c.late / c.echoes : NAN;
    const struct histogram *naive = &record_outcome(record, cell, server)->naive;
    s.naive_p50 = (double)histogram_percentile(naive, 50) / 1e3;
    s.naive_p99 = (double)histogram_percentile(naive, 99) / 1e3;
    s.p50 = (double)histogram_percentile(latency, 50) / 1e3;
    s.p90 = (double)histogram_percentile(latency, 90) / 1e3;
    s.p99 = (double)histogram_percentile(latency, 99) / 1e3;
    s.p999 = (double)histogram_percentile(latency, 99.9) / 1e3;
    s.maximum = (double)latency->maximum / 1e3;
    free(c.memory);
    free(c.of_reference);
    return s;
}

bool is_difference(const struct estimate *versus, double noise)
{
    if (!isfinite(versus->median) || (versus->low <= 1 && versus->high >= 1))
        return false;
    return !isfinite(noise) || fabs(versus->median - 1) > noise;
}

double noise_of(const struct record *record, int cell)
{
    int control = record_control(record);
    if (control < 0)
        return NAN;
    struct summary s = summary_of(record, cell, control);
    struct estimate e = record->cells[cell].mode == LOAD_FAIR ? s.p99_versus : s.versus;
    return fmax(fabs(e.low - 1), fabs(e.high - 1));
}
