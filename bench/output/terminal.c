#include "output/terminal.h"

#include "record/summary.h"

#include <math.h>
#include <string.h>

enum { EXCERPT = 110, LARGE = 1024 /* from here on, bytes a second are of interest */ };

#define BUSY_MACHINE " (rates are not compared; threads and busy polling look worse)"
#define OTHER_LIMIT  0.2 /* cores: above it, throughput compares the neighbours */

static const char *style(bool colour, const char *code)
{
    return colour ? code : "";
}

static void print_number(FILE *file, int width, double value, int decimals)
{
    if (isfinite(value))
        fprintf(file, "%*.*f", width, decimals, value);
    else
        fprintf(file, "%*s", width, "-");
}

static void print_microseconds(FILE *file, int width, double value)
{
    print_number(file, width, value, value < 99.95 ? 1 : 0);
}

/* A ratio to the reference and its interval, in 20 columns; = when it is no difference. */
static void print_ratio(FILE *file, const struct estimate *ratio, bool reference, bool differs)
{
    int decimals = ratio->high < 9.9995 ? 3 : 2; /* six columns up to 999 */
    if (reference || !isfinite(ratio->median))
        fprintf(file, "  %-18s", reference ? " 1" : " -");
    else
        fprintf(file, " %6.*f%c %5.*f-%-5.*f", decimals, ratio->median, differs ? ' ' : '=',
                decimals, ratio->low, decimals, ratio->high);
}

/* The tables of the open loop and of fairness: what a client feels comes first there. */
static void mode_titles(FILE *file, enum load_mode mode, const char *against)
{
    if (mode == LOAD_FAIR) {
        fprintf(file, " %-25s%9s%9s%9s  %-18s%11s%11s%8s\n", "server", "p50", "p99", "max",
                "p99 / reference's", "echoes", "stream", "busy %");
        fprintf(file, " %-25s%9s%9s%9s  %-18s%11s%11s%8s\n", "", "us", "us", "us",
                "median  interval", "/second", "MB/second", "srv gen");
        return;
    }
    fprintf(file, " %-25s%9s%9s%9s%10s%9s%8s%7s  %-18s%8s\n", "server", "p50", "p99", "max",
            "p50 sent", "p99 sent", "late", "CPU us", against, "busy %");
    fprintf(file, " %-25s%9s%9s%9s%10s%9s%8s%7s  %-18s%8s\n", "", "us", "us", "us", "us", "us", "%",
            "/echo", "median  interval", "srv gen");
}

static void busy(FILE *file, const struct summary *s)
{
    print_number(file, 4, s->server_busy * 100, 0);
    print_number(file, 4, s->generator_busy * 100, 0);
}

static void mode_row(FILE *file, enum load_mode mode, const struct summary *s, bool reference,
                     bool differs, bool compare_rates)
{
    print_microseconds(file, 9, s->p50);
    print_microseconds(file, 9, s->p99);
    print_microseconds(file, 9, s->maximum);
    if (mode == LOAD_FAIR) {
        print_ratio(file, &s->p99_ratio, reference, differs);
        print_number(file, 11, compare_rates ? s->rate : NAN, 0);
        print_number(file, 11, compare_rates ? s->stream : NAN, 0);
        busy(file, s);
        return;
    }
    print_microseconds(file, 10, s->sent_p50);
    print_microseconds(file, 9, s->sent_p99);
    print_number(file, 8, s->late * 100, 1);
    print_number(file, 7, s->cpu, 2);
    print_ratio(file, &s->cpu_ratio, reference, differs);
    busy(file, s);
}

static void heading(FILE *file, const struct record *record, int condition, bool colour)
{
    char what[160];
    const struct condition *c = &record->conditions[condition];
    const struct condition_run *run = &record->runs[condition];
    double noise = noise_of(record, condition);
    condition_describe(c, what, sizeof what);
    fprintf(file, "\n%s%s%s\n", style(colour, "\033[1m"), what, style(colour, "\033[0m"));
    fprintf(file, "%d rounds in %.0f s", run->rounds, run->duration);
    if (isfinite(noise))
        fprintf(file, "; noise of this table (A/A): %.1f %%", noise * 100);
    if (run->other >= 0)
        fprintf(file, "; other programs: %.2f core%s", run->other,
                run->other > OTHER_LIMIT ? BUSY_MACHINE : "");
    if (isfinite(run->rate))
        fprintf(file, "; %.0f echoes a second asked of each", run->rate);
    fputc('\n', file);
    if (c->note[0] != '\0')
        fprintf(file, "%s\n", c->note);
}

static void column_titles(FILE *file, const struct record *record, int condition, bool colour)
{
    int reference = record_reference(record);
    char against[32];
    snprintf(against, sizeof against, "CPU / %.11s",
             reference >= 0 ? record->servers[reference].name : "");
    enum load_mode mode = record->conditions[condition].mode;
    if (mode == LOAD_FAIR || mode == LOAD_RATE) {
        mode_titles(file, mode, against);
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
    print_number(file, 9, s->rate, 0);
    print_number(file, 6, compare_rates ? s->rate_ratio.median : NAN, 2);
    print_microseconds(file, 8, s->p50);
    print_microseconds(file, 8, s->p99);
    print_microseconds(file, 8, s->maximum);
    print_number(file, 8, s->switches, 3);
    print_number(file, 4, s->server_busy * 100, 0);
    print_number(file, 4, s->generator_busy * 100, 0);
    print_number(file, 8, outcome->resident > 0 ? (double)outcome->resident / 1048576 : NAN, 1);
    print_number(file, 7, outcome->idle_resident, 0);
}

static void row(FILE *file, const struct record *record, int condition, int server, bool colour)
{
    const struct server *who = &record->servers[server];
    const struct outcome *outcome = record_outcome(record, condition, server);
    if (outcome->trouble[0] != '\0') {
        fprintf(file, " %-25.25s  %s%s%s\n", who->name, style(colour, "\033[33m"), outcome->trouble,
                style(colour, "\033[0m"));
        return;
    }
    struct summary s = summary_of(record, condition, server);
    if (s.slices == 0) {
        fprintf(file, " %-25.25s  not measured\n", who->name);
        return;
    }
    enum load_mode mode = record->conditions[condition].mode;
    const struct estimate *ratio = mode == LOAD_FAIR ? &s.p99_ratio : &s.cpu_ratio;
    bool differs = estimate_differs(ratio, noise_of(record, condition));
    bool compare_rates = record->runs[condition].other <= OTHER_LIMIT;
    const char *paint = who->reference ? "\033[1m" : differs ? "" : "\033[2m";
    fprintf(file, "%s%c%-25.25s", style(colour, paint), who->reference ? '*' : ' ', who->name);
    if (mode == LOAD_FAIR || mode == LOAD_RATE) {
        mode_row(file, mode, &s, who->reference, differs, compare_rates);
    } else {
        print_number(file, 7, s.cpu, 2);
        print_ratio(file, &s.cpu_ratio, who->reference, differs);
        row_rest(file, &s, outcome, compare_rates);
    }
    fprintf(file, "%s\n", style(colour, "\033[0m"));
}

/* The last lines that the servers in trouble wrote to stderr. */
static void excerpts(FILE *file, const struct record *record, int condition)
{
    for (int i = 0; i < record->server_count; i++) {
        const char *said = record_outcome(record, condition, i)->stderr_tail;
        size_t length = strlen(said);
        if (length == 0)
            continue;
        if (length > EXCERPT) { /* whole lines, if there is a line break to begin at */
            const char *line = strchr(said + length - EXCERPT, '|');
            said = line ? line + 1 : said + length - EXCERPT;
        }
        fprintf(file, "  %s on stderr: %s\n", record->servers[i].name, said);
    }
}

/* The generator costs the same beside every server; the reference's figure is shown. */
static void last_line(FILE *file, const struct record *record, int condition, int reference)
{
    const struct condition *c = &record->conditions[condition];
    struct summary s = summary_of(record, condition, reference);
    if (!isfinite(s.generator_cpu))
        return;
    fprintf(file, " the load generator itself: %.2f us of CPU per echo, beside %s", s.generator_cpu,
            record->servers[reference].name);
    if (c->mode == LOAD_CLOSED && c->size >= LARGE)
        fprintf(file, ", which echoed %.2f GB a second", s.rate * c->size / 1e9);
    fputc('\n', file);
}

void terminal_condition(FILE *file, const struct record *record, int condition, bool colour)
{
    heading(file, record, condition, colour);
    column_titles(file, record, condition, colour);
    for (int server = 0; server < record->server_count; server++) {
        if (record_takes_part(record, condition, server))
            row(file, record, condition, server, colour);
    }
    int reference = record_reference(record);
    if (reference >= 0)
        last_line(file, record, condition, reference);
    excerpts(file, record, condition);
    fflush(file);
}

void terminal_provenance(FILE *file, const struct provenance *provenance)
{
    provenance_write(provenance, file, "");
}

void terminal_legend(FILE *file, const struct record *record)
{
    int reference = record_reference(record);
    fprintf(
        file,
        "\n* %s is the reference. Each round divides the others' CPU per echo by its own; shown\n"
        "are the median of these ratios and its 95 %% interval (below six rounds: the range).\n"
        "= is no difference: within the noise of its table, or with 1 inside its interval.\n"
        "Where the noise is small, ratios come out nearly the same when run again. Microseconds,\n"
        "rates and maxima do not.\n",
        reference >= 0 ? record->servers[reference].name : "The first row");
}
