#ifndef BENCH_REPORT_H
#define BENCH_REPORT_H

#include "provenance.h"
#include "record.h"

#include <stdbool.h>
#include <stdio.h>

/* The table for people. `colour`: the output is a terminal. */

void report_provenance(FILE *file, const struct provenance *provenance);
void report_cell(FILE *file, const struct record *record, int cell, bool colour);

/* What the columns mean, once. */
void report_legend(FILE *file, const struct record *record);

#endif
