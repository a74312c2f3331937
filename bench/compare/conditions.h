#ifndef BENCH_CONDITIONS_H
#define BENCH_CONDITIONS_H

#include "compare/options.h"
#include "record/condition.h"
#include "system/machine.h"

/* From the scenarios and the options to the conditions that are measured. */

/* The conditions that the options ask for, each of them once. Returns how many, or -1 when they are
 * more than CONDITION_MAX. */
int conditions_wanted(const struct options *options, struct condition *conditions);

/* Lowers what this machine cannot do for `servers` servers at once, and says so in the note. */
void condition_fit(struct condition *condition, const struct machine *machine, int servers);

#endif
