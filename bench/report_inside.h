#ifndef BENCH_REPORT_INSIDE_H
#define BENCH_REPORT_INSIDE_H

#include "record.h"
#include "statistics.h"

#include <stdio.h>

/* What the parts of the table for people share. */

/* A number right-aligned in `width`, a dash when it is unknown. */
void report_number(FILE *file, int width, double value, int decimals);

/* Microseconds, with as many decimals as are of use. */
void report_microseconds(FILE *file, int width, double value);

/* A ratio to the reference and its interval, in 20 columns; '=' when it is no difference. */
void report_ratio(FILE *file, const struct estimate *ratio, bool reference, bool differs);

/* The columns of the scenarios whose first question is latency. */
void report_mode_titles(FILE *file, enum load_mode mode, const char *against);
void report_mode_row(FILE *file, enum load_mode mode, const struct summary *s, bool reference,
                     bool differs, bool compare_rates);

#endif
