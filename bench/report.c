#include "report.h"

#include "report_inside.h"
#include "statistics.h"

#include <math.h>
#include <string.h>

enum { EXCERPT = 110, LARGE = 1024 /* from here on, bytes a second are of interest */ };

#define BUSY_MACHINE " (rates are not compared; threads and busy polling look worse)"
#define OTHER_LIMIT  0.2 /* cores: above it, throughput compares the neighbours */

static const char *style(bool colour, const char *code)
{
    return colour ? code : "";
}

void report_number(FILE *file, int width, double value, int decimals)
{
    if (isfinite(value))
        fprintf(file, "%*.*f", width, decimals, value);
    else
        fprintf(file, "%*s", width, "-");
}

void report_microseconds(FILE *file, int width, double value)
{
    report_number(file, width, value, value < 99.95 ? 1 : 0);
}

static void heading(FILE *file, const struct record *record, int cell, bool colour)
{
    char what[160];
    const struct cell *c = &record->cells[cell];
    const struct cell_facts *facts = &record->facts[cell];
    double noise = noise_of(record, cell);
    scenario_describe(c, what, sizeof what);
    fprintf(file, "\n%s%s%s\n", style(colour, "\033[1m"), what, style(colour, "\033[0m"));
    fprintf(file, "%d rounds in %.0f s", facts->rounds, facts->duration);
    if (isfinite(noise))
        fprintf(file, "; noise of this table (A/A): %.1f %%", noise * 100);
    if (facts->other >= 0)
        fprintf(file, "; other programs: %.2f core%s", facts->other,
                facts->other > OTHER_LIMIT ? BUSY_MACHINE : "");
    if (isfinite(facts->rate))
        fprintf(file, "; %.0f echoes a second asked of each", facts->rate);
    fputc('\n', file);
    if (c->note[0] != '\0')
        fprintf(file, "%s\n", c->note);
}

static void column_titles(FILE *file, const struct record *record, int cell, bool colour)
{
    int reference = record_reference(record);
    char against[32];
    snprintf(against, sizeof against, "CPU / %.11s",
             reference >= 0 ? record->servers[reference].name : "");
    enum load_mode mode = record->cells[cell].mode;
    if (mode == LOAD_FAIR || mode == LOAD_RATE) {
        report_mode_titles(file, mode, against);
        return;
    }
    fprintf(file, " %-25s%7s  %-18s%9s%6s%8s%8s%8s%8s%8s%8s%7s\n", "server", "CPU us", against,
            "echoes", "rate", "p50", "p99", "max", "switch", "busy %", "memory", "bytes");
    fprintf(file, "%s %-25s%7s  %-18s%9s%6s%8s%8s%8s%8s%8s%8s%7s%s\n", style(colour, "\033[4m"), "",
            "/echo", "median  interval", "/second", "ratio", "us", "us", "us", "/echo", "srv gen",
            "MiB", "/idle", style(colour, "\033[0m"));
}

/* The row's numbers beyond CPU. */
static void row_rest(FILE *file, const struct summary *s, const struct outcome *outcome,
                     bool compare_rates)
{
    report_number(file, 9, s->rate, 0);
    report_number(file, 6, compare_rates ? s->faster.median : NAN, 2);
    report_microseconds(file, 8, s->p50);
    report_microseconds(file, 8, s->p99);
    report_microseconds(file, 8, s->maximum);
    report_number(file, 8, s->switches, 3);
    report_number(file, 4, s->server_busy * 100, 0);
    report_number(file, 4, s->generator_busy * 100, 0);
    report_number(file, 8, outcome->resident > 0 ? (double)outcome->resident / 1048576 : NAN, 1);
    report_number(file, 7, outcome->idle_resident, 0);
}

void report_ratio(FILE *file, const struct estimate *ratio, bool reference, bool differs)
{
    int decimals = ratio->high < 9.9995 ? 3 : 2; /* six columns up to 999 */
    if (reference || !isfinite(ratio->median))
        fprintf(file, "  %-18s", reference ? " 1" : " -");
    else
        fprintf(file, " %6.*f%c %5.*f-%-5.*f", decimals, ratio->median, differs ? ' ' : '=',
                decimals, ratio->low, decimals, ratio->high);
}

static void row(FILE *file, const struct record *record, int cell, int server, bool colour)
{
    const struct server *who = &record->servers[server];
    const struct outcome *outcome = record_outcome(record, cell, server);
    if (outcome->trouble[0] != '\0') {
        fprintf(file, " %-25.25s  %s%s%s\n", who->name, style(colour, "\033[33m"), outcome->trouble,
                style(colour, "\033[0m"));
        return;
    }
    struct summary s = summary_of(record, cell, server);
    if (s.slices == 0) {
        fprintf(file, " %-25.25s  not measured\n", who->name);
        return;
    }
    enum load_mode mode = record->cells[cell].mode;
    const struct estimate *ratio = mode == LOAD_FAIR ? &s.p99_versus : &s.versus;
    bool differs = is_difference(ratio, noise_of(record, cell));
    bool compare_rates = record->facts[cell].other <= OTHER_LIMIT;
    const char *paint = who->reference ? "\033[1m" : differs ? "" : "\033[2m";
    fprintf(file, "%s%c%-25.25s", style(colour, paint), who->reference ? '*' : ' ', who->name);
    if (mode == LOAD_FAIR || mode == LOAD_RATE) {
        report_mode_row(file, mode, &s, who->reference, differs, compare_rates);
    } else {
        report_number(file, 7, s.cpu, 2);
        report_ratio(file, &s.versus, who->reference, differs);
        row_rest(file, &s, outcome, compare_rates);
    }
    fprintf(file, "%s\n", style(colour, "\033[0m"));
}

/* The last lines of what the servers in trouble had to say about it. */
static void excerpts(FILE *file, const struct record *record, int cell)
{
    for (int i = 0; i < record->server_count; i++) {
        const char *said = record_outcome(record, cell, i)->said;
        size_t length = strlen(said);
        if (length == 0)
            continue;
        if (length > EXCERPT) { /* whole lines, if there is a line break to begin at */
            const char *line = strchr(said + length - EXCERPT, '|');
            said = line != NULL ? line + 1 : said + length - EXCERPT;
        }
        fprintf(file, "  %s on stderr: %s\n", record->servers[i].name, said);
    }
}

/* What is of all servers alike, shown for the reference. */
static void last_line(FILE *file, const struct record *record, int cell, int reference)
{
    const struct cell *c = &record->cells[cell];
    struct summary s = summary_of(record, cell, reference);
    if (!isfinite(s.generator_cpu))
        return;
    fprintf(file, " the load generator itself: %.2f us of CPU per echo, beside %s", s.generator_cpu,
            record->servers[reference].name);
    if (c->mode == LOAD_CLOSED && c->size >= LARGE)
        fprintf(file, ", which echoed %.2f GB a second", s.rate * c->size / 1e9);
    fputc('\n', file);
}

void report_cell(FILE *file, const struct record *record, int cell, bool colour)
{
    heading(file, record, cell, colour);
    column_titles(file, record, cell, colour);
    for (int server = 0; server < record->server_count; server++) {
        if (record_takes_part(record, cell, server))
            row(file, record, cell, server, colour);
    }
    int reference = record_reference(record);
    if (reference >= 0)
        last_line(file, record, cell, reference);
    excerpts(file, record, cell);
    fflush(file);
}

void report_provenance(FILE *file, const struct provenance *provenance)
{
    provenance_write(provenance, file, "");
}

void report_legend(FILE *file, const struct record *record)
{
    int reference = record_reference(record);
    fprintf(
        file,
        "\n* %s is the reference. Each round divides the others' CPU per echo by its own; shown\n"
        "are the median of these ratios and its 95 %% interval (below six rounds: the range).\n"
        "= is no difference: within the noise of its table, or with 1 inside its interval.\n"
        "Ratios come out nearly the same when run again. Microseconds, rates and maxima do not.\n",
        reference >= 0 ? record->servers[reference].name : "The first row");
}
