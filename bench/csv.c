#include "csv.h"

#include "statistics.h"

#include <errno.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void csv_text(FILE *file, const char *text)
{
    if (strpbrk(text, ",\"\r\n") == NULL) {
        fputs(text, file);
        return;
    }
    putc('"', file);
    for (; *text != '\0'; text++) {
        if (*text == '"')
            putc('"', file);
        putc(*text, file);
    }
    putc('"', file);
}

void csv_number(FILE *file, double number, int decimals)
{
    if (isfinite(number))
        fprintf(file, "%.*f", decimals, number);
}

static void comma_number(FILE *file, double number, int decimals)
{
    putc(',', file);
    csv_number(file, number, decimals);
}

static void cell_columns(FILE *file, const struct record *record, int cell, int server)
{
    const struct cell *c = &record->cells[cell];
    static const char *const modes[] = {"closed", "churn", "fairness", "rate"};
    fprintf(file, "%s,%d,%d,%d,%d,", modes[c->mode], c->active, c->idle, c->size, c->rate);
    csv_text(file, record->servers[server].name);
}

void csv_slices(FILE *file, const struct provenance *provenance, const struct record *record)
{
    provenance_write(provenance, file, "# ");
    fputs("mode,active,idle,size,percent,server,round,echoes,elapsed_ns,server_cpu_ns,generator_"
          "cpu_ns,"
          "switches,p50_ns,p90_ns,p99_ns,p999_ns,max_ns,late,stream_bytes\n",
          file);
    for (int i = 0; i < record->slice_count; i++) {
        const struct slice *s = &record->slices[i];
        cell_columns(file, record, s->cell, s->server);
        fprintf(file, ",%d,%llu,%llu,%llu,%llu,", s->round, (unsigned long long)s->echoes,
                (unsigned long long)s->elapsed, (unsigned long long)s->server_cpu,
                (unsigned long long)s->generator_cpu);
        if (s->switches >= 0)
            fprintf(file, "%lld", (long long)s->switches);
        fprintf(file, ",%llu,%llu,%llu,%llu,%llu,%llu,%llu\n", (unsigned long long)s->p50,
                (unsigned long long)s->p90, (unsigned long long)s->p99, (unsigned long long)s->p999,
                (unsigned long long)s->maximum, (unsigned long long)s->late,
                (unsigned long long)s->stream_bytes);
    }
}

static void estimate_columns(FILE *file, const struct estimate *e)
{
    comma_number(file, e->median, 4);
    comma_number(file, e->low, 4);
    comma_number(file, e->high, 4);
    comma_number(file, e->quartile1, 4);
    comma_number(file, e->quartile3, 4);
}

/* What only some scenarios have. */
static void mode_columns(FILE *file, const struct record *record, int cell, const struct summary *s)
{
    enum load_mode mode = record->cells[cell].mode;
    double open = mode == LOAD_RATE && s->slices > 0 ? 1 : NAN;
    comma_number(file, record->facts[cell].rate, 0);
    comma_number(file, s->late * open, 5);
    comma_number(file, s->naive_p50 * open, 3);
    comma_number(file, s->naive_p99 * open, 3);
    comma_number(file, mode == LOAD_FAIR ? s->stream : NAN, 1);
    estimate_columns(file, &s->p99_versus);
}

static void summary_line(FILE *file, const struct record *record, int cell, int server)
{
    const struct outcome *outcome = record_outcome(record, cell, server);
    const struct cell_facts *facts = &record->facts[cell];
    struct summary s = summary_of(record, cell, server);
    double latency = s.slices > 0 ? 1 : NAN; /* no slice, no latency: an empty field, not 0 */
    cell_columns(file, record, cell, server);
    putc(',', file);
    csv_text(file, outcome->trouble);
    fprintf(file, ",%d", s.slices);
    comma_number(file, s.cpu, 4);
    estimate_columns(file, &s.versus);
    comma_number(file, s.rate, 1);
    estimate_columns(file, &s.faster);
    comma_number(file, s.p50 * latency, 3);
    comma_number(file, s.p90 * latency, 3);
    comma_number(file, s.p99 * latency, 3);
    comma_number(file, s.p999 * latency, 3);
    comma_number(file, s.maximum * latency, 3);
    comma_number(file, s.switches, 4);
    comma_number(file, s.server_busy, 4);
    comma_number(file, s.generator_busy, 4);
    comma_number(file, s.generator_cpu, 4);
    comma_number(file, outcome->resident > 0 ? (double)outcome->resident : NAN, 0);
    comma_number(file, outcome->idle_resident, 1);
    comma_number(file, noise_of(record, cell), 4);
    comma_number(file, facts->other >= 0 ? facts->other : NAN, 3);
    mode_columns(file, record, cell, &s);
    putc(',', file);
    csv_text(file, outcome->said);
    putc('\n', file);
}

void csv_summary(FILE *file, const struct provenance *provenance, const struct record *record)
{
    provenance_write(provenance, file, "# ");
    fputs("mode,active,idle,size,percent,server,trouble,slices,cpu_us,"
          "cpu_ratio,cpu_ratio_low,cpu_ratio_high,cpu_ratio_q1,cpu_ratio_q3,rate,"
          "rate_ratio,rate_ratio_low,rate_ratio_high,rate_ratio_q1,rate_ratio_q3,"
          "p50_us,p90_us,p99_us,p999_us,max_us,switches,server_busy,generator_busy,"
          "generator_cpu_us,resident_bytes,bytes_per_idle,noise,other_cores,"
          "target_rate,late_share,sent_p50_us,sent_p99_us,stream_mb_s,"
          "p99_ratio,p99_ratio_low,p99_ratio_high,p99_ratio_q1,p99_ratio_q3,stderr\n",
          file);
    for (int cell = 0; cell < record->cell_count; cell++) {
        for (int server = 0; server < record->server_count; server++) {
            if (record_takes_part(record, cell, server))
                summary_line(file, record, cell, server);
        }
    }
}

typedef void writer(FILE *file, const struct provenance *provenance, const struct record *record);

static int write_one(const char *directory, const char *name, writer *write,
                     const struct provenance *provenance, const struct record *record)
{
    char path[1024];
    if (snprintf(path, sizeof path, "%s/%s", directory, name) >= (int)sizeof path) {
        errno = ENAMETOOLONG;
        return -1;
    }
    FILE *file = fopen(path, "w");
    if (file == NULL)
        return -1;
    write(file, provenance, record);
    int failed = ferror(file); /* a full disk must not pass for a result */
    return fclose(file) != 0 || failed ? -1 : 0;
}

int csv_prepare(const char *directory)
{
    if (mkdir(directory, 0777) != 0 && errno != EEXIST)
        return -1;
    return access(directory, W_OK | X_OK);
}

int csv_write(const char *directory, const struct provenance *provenance,
              const struct record *record)
{
    if (write_one(directory, "slices.csv", csv_slices, provenance, record) != 0)
        return -1;
    return write_one(directory, "summary.csv", csv_summary, provenance, record);
}
