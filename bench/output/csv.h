#ifndef BENCH_CSV_H
#define BENCH_CSV_H

#include <stdio.h>

/* CSV files (RFC 4180, after leading lines of provenance that begin with '#'). */

/* Makes `directory` if need be. 0, or -1 with errno when no file can be made in it. */
int csv_prepare(const char *directory);

/* `directory`/`name`.csv, empty. NULL with errno set. */
FILE *csv_open(const char *directory, const char *name);

/* 0, or -1 with errno when not everything could be written. */
int csv_close(FILE *file);

/* One text field, quoted when it has to be. */
void csv_text(FILE *file, const char *text);

/* One number; an empty field when it is not one. */
void csv_number(FILE *file, double number, int decimals);

#endif
