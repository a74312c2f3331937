#include "output/results_csv.h"

#include "output/csv.h"
#include "record/summary.h"

#include <math.h>

/* A line is written column by column. The first line of a file has the columns' names, so each
 * column's name stands beside its value. */
struct line {
    FILE *file;
    bool names;
    int columns; /* written so far */
};

static void begin_column(struct line *line)
{
    if (line->columns++ > 0)
        putc(',', line->file);
}

static void text(struct line *line, const char *name, const char *value)
{
    begin_column(line);
    csv_text(line->file, line->names ? name : value);
}

/* An empty field when it is not a number. */
static void number(struct line *line, const char *name, double value, int decimals)
{
    begin_column(line);
    if (line->names)
        fputs(name, line->file);
    else
        csv_number(line->file, value, decimals);
}

static void count(struct line *line, const char *name, uint64_t value)
{
    begin_column(line);
    if (line->names)
        fputs(name, line->file);
    else
        fprintf(line->file, "%llu", (unsigned long long)value);
}

/* The columns of a ratio. */
static void ratio(struct line *line, const char *name, const struct estimate *e)
{
    static const char *const parts[] = {"", "_low", "_high", "_q1", "_q3"};
    const double values[] = {e->median, e->low, e->high, e->quartile1, e->quartile3};
    for (int i = 0; i < 5; i++) {
        char whole[64];
        snprintf(whole, sizeof whole, "%s%s", name, parts[i]);
        number(line, whole, values[i], 4);
    }
}

static double if_known(bool known, double value)
{
    return known ? value : NAN;
}

/* Which table, and which server. */
static void condition_columns(struct line *line, const struct condition *c,
                              const struct server *server)
{
    static const char *const modes[] = {[LOAD_CLOSED] = "closed",
                                        [LOAD_CHURN] = "churn",
                                        [LOAD_FAIR] = "fairness",
                                        [LOAD_RATE] = "rate"};
    text(line, "mode", modes[c->mode]);
    number(line, "active", c->active, 0);
    number(line, "idle", c->idle, 0);
    number(line, "size", c->size, 0);
    number(line, "percent", c->rate, 0);
    text(line, "server", server->name);
}

static void slice_line(struct line *line, const struct record *record, const struct slice *s)
{
    condition_columns(line, &record->conditions[s->condition], &record->servers[s->server]);
    number(line, "round", s->round, 0);
    count(line, "echoes", s->echoes);
    count(line, "elapsed_ns", s->elapsed);
    count(line, "server_cpu_ns", s->server_cpu);
    count(line, "generator_cpu_ns", s->generator_cpu);
    number(line, "switches", if_known(s->switches >= 0, (double)s->switches), 0);
    count(line, "p50_ns", s->p50);
    count(line, "p90_ns", s->p90);
    count(line, "p99_ns", s->p99);
    count(line, "p999_ns", s->p999);
    count(line, "max_ns", s->maximum);
    count(line, "late", s->late);
    count(line, "stream_bytes", s->stream_bytes);
    putc('\n', line->file);
}

void results_slices(FILE *file, const struct provenance *provenance, const struct record *record)
{
    provenance_write(provenance, file, "# ");
    slice_line(&(struct line){.file = file, .names = true}, record, &(struct slice){0});
    for (int i = 0; i < record->slice_count; i++)
        slice_line(&(struct line){.file = file}, record, &record->slices[i]);
}

static void latency_columns(struct line *line, const struct summary *s)
{
    bool known = s->slices > 0; /* no slice, no latency: an empty field, not 0 */
    number(line, "p50_us", if_known(known, s->p50), 3);
    number(line, "p90_us", if_known(known, s->p90), 3);
    number(line, "p99_us", if_known(known, s->p99), 3);
    number(line, "p999_us", if_known(known, s->p999), 3);
    number(line, "max_us", if_known(known, s->maximum), 3);
}

/* What only some scenarios have. */
static void mode_columns(struct line *line, enum load_mode mode, double target_rate,
                         const struct summary *s)
{
    bool open = mode == LOAD_RATE && s->slices > 0;
    number(line, "target_rate", target_rate, 0);
    number(line, "late_share", if_known(open, s->late), 5);
    number(line, "sent_p50_us", if_known(open, s->sent_p50), 3);
    number(line, "sent_p99_us", if_known(open, s->sent_p99), 3);
    number(line, "stream_mb_s", if_known(mode == LOAD_FAIR, s->stream), 1);
    ratio(line, "p99_ratio", &s->p99_ratio);
}

static void summary_line(struct line *line, const struct record *record, int condition, int server)
{
    const struct condition *c = &record->conditions[condition];
    const struct condition_run *run = &record->runs[condition];
    const struct outcome *outcome = record_outcome(record, condition, server);
    struct summary s = summary_of(record, condition, server);
    condition_columns(line, c, &record->servers[server]);
    text(line, "trouble", outcome->trouble);
    number(line, "slices", s.slices, 0);
    number(line, "cpu_us", s.cpu, 4);
    ratio(line, "cpu_ratio", &s.cpu_ratio);
    number(line, "rate", s.rate, 1);
    ratio(line, "rate_ratio", &s.rate_ratio);
    latency_columns(line, &s);
    number(line, "switches", s.switches, 4);
    number(line, "server_busy", s.server_busy, 4);
    number(line, "generator_busy", s.generator_busy, 4);
    number(line, "generator_cpu_us", s.generator_cpu, 4);
    number(line, "resident_bytes", if_known(outcome->resident > 0, (double)outcome->resident), 0);
    number(line, "bytes_per_idle", outcome->idle_resident, 1);
    number(line, "noise", noise_of(record, condition), 4);
    number(line, "other_cores", if_known(run->other >= 0, run->other), 3);
    mode_columns(line, c->mode, run->rate, &s);
    text(line, "stderr", outcome->stderr_tail);
    putc('\n', line->file);
}

void results_summary(FILE *file, const struct provenance *provenance, const struct record *record)
{
    provenance_write(provenance, file, "# ");
    summary_line(&(struct line){.file = file, .names = true}, record, 0, 0);
    for (int condition = 0; condition < record->condition_count; condition++) {
        for (int server = 0; server < record->server_count; server++) {
            if (record_takes_part(record, condition, server))
                summary_line(&(struct line){.file = file}, record, condition, server);
        }
    }
}

int results_write(const char *directory, const struct provenance *provenance,
                  const struct record *record)
{
    FILE *slices = csv_open(directory, "slices");
    if (!slices)
        return -1;
    results_slices(slices, provenance, record);
    if (csv_close(slices) != 0)
        return -1;
    FILE *summary = csv_open(directory, "summary");
    if (!summary)
        return -1;
    results_summary(summary, provenance, record);
    return csv_close(summary);
}
