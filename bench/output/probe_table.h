#ifndef BENCH_PROBE_TABLE_H
#define BENCH_PROBE_TABLE_H

#include "system/provenance.h"
#include "system/server.h"

#include <stdbool.h>

/* A table of any shape: filled cell by cell, printed for people, and written as NAME.csv. */

/* Where a finished table goes, besides stdout. */
struct destination {
    const char *directory;
    const struct provenance *provenance;
    bool colour; /* stdout is a terminal */
};

enum { TABLE_ROWS = 200, TABLE_COLUMNS = 14, TABLE_CELL = 96, TABLE_NOTE = 2400 };

struct table {
    const char *name;
    const char *title;
    char note[TABLE_NOTE]; /* lines of explanation */
    int columns;
    int used; /* cells, the header's included */
    char cells[TABLE_ROWS][TABLE_COLUMNS][TABLE_CELL];
};

/* `columns`: their names, separated by commas; words in a name are separated by '_'. */
void table_begin(struct table *table, const char *name, const char *title, const char *columns);

void table_note(struct table *table, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* A note on a server that did not do what it should: what happened, how it ended if it did, and the
 * end of what it wrote to stderr. The same note is made once. */
void table_trouble(struct table *table, struct server *server, const char *what);

/* The next cell; rows end by themselves. */
void table_text(struct table *table, const char *format, ...) __attribute__((format(printf, 2, 3)));

/* The next cell; empty (in print a dash) when it is not a number. */
void table_number(struct table *table, double number, int decimals);

/* Prints it to stdout and writes it into the directory. 0, or -1 with errno. */
int table_finish(const struct table *table, const struct destination *to);

#endif
