#ifndef BENCH_LIST_H
#define BENCH_LIST_H

#include <stdbool.h>

/* The numbers that an option such as --idle 0,1000,10000 asks for. */

enum { LIST_MAX = 24 };

struct list {
    int count;
    int values[LIST_MAX];
};

/* "1,64,1000" into `list`. False when it is anything else, or a number is below `min` or above
 * `max`. */
bool list_parse(const char *text, int min, int max, struct list *list);

#endif
