/* How a test ends early: a check does not hold, or this machine cannot make it. What the suites
 * share fails through this header, since not all suites are Criterion tests. criterion_fail.c ends
 * a Criterion test, verdict.c a trial. */
#ifndef FAIL_H
#define FAIL_H

enum verdict {
    VERDICT_PASS,
    VERDICT_FAIL,
    VERDICT_SKIP, /* this machine lacks a right or a tool */
    /* of trials alone (verdict.h) */
    VERDICT_DESIGN, /* passed, but differs from the other servers by design */
    VERDICT_NONE,   /* does not apply: the server never does that */
};

/* The arguments are the reason, as for printf(). must() may do without: its condition is one. */
#define must(condition, ...)                                                                       \
    do {                                                                                           \
        if (!(condition))                                                                          \
            end_test(VERDICT_FAIL, __FILE__, __LINE__, #condition, " " __VA_ARGS__);               \
    } while (0)
#define fail(...) end_test(VERDICT_FAIL, __FILE__, __LINE__, "", " " __VA_ARGS__)
#define skip(...) end_test(VERDICT_SKIP, __FILE__, __LINE__, "", " " __VA_ARGS__)

/* These three call it. The reason begins with a blank, which is not part of it. If nothing follows,
 * the condition is the reason. */
_Noreturn void end_test(enum verdict verdict, const char *file, int line, const char *condition,
                        const char *format, ...) __attribute__((format(printf, 5, 6)));

#endif
