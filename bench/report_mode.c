/* The tables of the open loop and of fairness: what a client feels comes first there. */

#include "report_inside.h"

#include <math.h>

void report_mode_titles(FILE *file, enum load_mode mode, const char *against)
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
    report_number(file, 4, s->server_busy * 100, 0);
    report_number(file, 4, s->generator_busy * 100, 0);
}

void report_mode_row(FILE *file, enum load_mode mode, const struct summary *s, bool reference,
                     bool differs, bool compare_rates)
{
    report_microseconds(file, 9, s->p50);
    report_microseconds(file, 9, s->p99);
    report_microseconds(file, 9, s->maximum);
    if (mode == LOAD_FAIR) {
        report_ratio(file, &s->p99_versus, reference, differs);
        report_number(file, 11, compare_rates ? s->rate : NAN, 0);
        report_number(file, 11, compare_rates ? s->stream : NAN, 0);
        busy(file, s);
        return;
    }
    report_microseconds(file, 10, s->naive_p50);
    report_microseconds(file, 9, s->naive_p99);
    report_number(file, 8, s->late * 100, 1);
    report_number(file, 7, s->cpu, 2);
    report_ratio(file, &s->versus, reference, differs);
    busy(file, s);
}
