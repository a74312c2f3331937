/* Stands in for Criterion, for programs that use the conformance suite's clients and its control of
 * a server (../../harness.h), but are not made of Criterion tests: a table of faults, a
 * random client. What fails here ends the process, and says why; see ../../verdict.h. */
#ifndef CRITERION_STAND_IN_H
#define CRITERION_STAND_IN_H

#include "verdict.h"

#define cr_assert(condition, ...)                                                                  \
    do {                                                                                           \
        if (!(condition))                                                                          \
            verdict(VERDICT_FAIL, #condition, " " __VA_ARGS__);                                    \
    } while (0)
#define cr_assert_str_eq(a, b, ...) cr_assert(strcmp(a, b) == 0, __VA_ARGS__)
#define cr_assert_fail(...)         verdict(VERDICT_FAIL, "", " " __VA_ARGS__)
#define cr_skip_test(...)           verdict(VERDICT_SKIP, "", " " __VA_ARGS__)

#endif
