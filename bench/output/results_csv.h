#ifndef BENCH_RESULTS_CSV_H
#define BENCH_RESULTS_CSV_H

#include "record/record.h"
#include "system/provenance.h"

#include <stdio.h>

/* The slices and their summary as files. README.md describes the columns. */

/* slices.csv: one line for each slice. */
void results_slices(FILE *file, const struct provenance *provenance, const struct record *record);

/* summary.csv: one line for each server and table. */
void results_summary(FILE *file, const struct provenance *provenance, const struct record *record);

/* Both, into `directory`, which is there. 0, or -1 with errno set. */
int results_write(const char *directory, const struct provenance *provenance,
                  const struct record *record);

#endif
