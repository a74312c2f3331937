#ifndef BENCH_TERMINAL_H
#define BENCH_TERMINAL_H

#include "record/record.h"
#include "system/provenance.h"

#include <stdbool.h>
#include <stdio.h>

/* The tables of slices as a terminal shows them. `colour`: the output is one. */

void terminal_provenance(FILE *file, const struct provenance *provenance);
void terminal_condition(FILE *file, const struct record *record, int condition, bool colour);

/* What the columns mean, once. */
void terminal_legend(FILE *file, const struct record *record);

#endif
