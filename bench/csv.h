#ifndef BENCH_CSV_H
#define BENCH_CSV_H

#include "provenance.h"
#include "record.h"

#include <stdio.h>

/* The results as files (RFC 4180, after leading lines of provenance that begin with '#'). The
 * columns are described in README.md. */

/* One text field, quoted when it has to be. */
void csv_text(FILE *file, const char *text);

/* One number; an empty field when it is not one. */
void csv_number(FILE *file, double number, int decimals);

/* slices.csv: one line per slice. */
void csv_slices(FILE *file, const struct provenance *provenance, const struct record *record);

/* summary.csv: one line per server and table. */
void csv_summary(FILE *file, const struct provenance *provenance, const struct record *record);

/* Makes `directory` if need be. 0, or -1 with errno when no file can be made in it. */
int csv_prepare(const char *directory);

/* Both, into `directory`, which is there. 0, or -1 with errno set. */
int csv_write(const char *directory, const struct provenance *provenance,
              const struct record *record);

#endif
