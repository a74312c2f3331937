#ifndef BENCH_PROVENANCE_H
#define BENCH_PROVENANCE_H

#include "system/machine.h"
#include "system/server.h"

#include <stdint.h>
#include <stdio.h>

/* Where a result comes from: without this a number is a rumour. */

enum { FACT_MAX = 24, FACT_TEXT = 200 };

struct fact {
    const char *key;
    char value[FACT_TEXT];
};

struct provenance {
    int count;
    struct fact facts[FACT_MAX];
};

void provenance_collect(struct provenance *provenance, const struct machine *machine);
/* Adds the versions of the languages that these servers are written in, if they are not in C. */
void provenance_add_languages(struct provenance *provenance, const struct server *servers,
                              int count);
void provenance_add(struct provenance *provenance, const char *key, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* One "key: value" on each line, with `prefix` before it. */
void provenance_write(const struct provenance *provenance, FILE *file, const char *prefix);

#endif
