/* As much of Criterion's interface as our tests use, in one header, for the thread sanitizer alone.
 *
 * Criterion itself does not start under it: it maps memory where the sanitizer allows none. So
 * tests/analysis/threads compiles the tests that have threads in them with this folder before Criterion's.
 * Each test runs in a process of its own, one after the other, and TAP comes out. */
#ifndef TSAN_CRITERION_H
#define TSAN_CRITERION_H

#include <stdbool.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

struct criterion_test_params {
    size_t size;
    void *params;
    size_t length;
};

struct standin_test {
    const char *name;
    void (*function)(void);
    void (*with_parameter)(void *parameter);
    struct criterion_test_params (*parameters)(void);
    struct standin_options {
        const char *description;
        double timeout;
        void (*init)(void), (*fini)(void);
        int exit_code;
    } options;
    struct standin_test *next;
};

/* A program may have several sources that include this. The linker keeps one of each of these. */
#define STANDIN_ONCE __attribute__((weak))

STANDIN_ONCE struct standin_test *standin_first, **standin_last = &standin_first;
STANDIN_ONCE int standin_failures;

enum { STANDIN_SKIPPED = 77 };

static inline void standin_add(struct standin_test *test)
{
    *standin_last = test;
    standin_last = &test->next;
}

static inline void standin_check(bool holds, bool fatal, const char *file, int line,
                                 const char *what)
{
    if (holds)
        return;
    printf("# %s:%d: %s\n", file, line, what);
    standin_failures++;
    if (fatal) {
        fflush(stdout);
        _Exit(1);
    }
}

#define STANDIN_REGISTER(id, ...)                                                                  \
    static struct standin_test id##_test = {__VA_ARGS__};                                          \
    __attribute__((constructor)) static void id##_register(void)                                   \
    {                                                                                              \
        standin_add(&id##_test);                                                                   \
    }

#define Test(suite, test, ...)                                                                     \
    static void suite##_##test(void);                                                              \
    STANDIN_REGISTER(suite##_##test, .name = #suite "/" #test, .function = suite##_##test,         \
                     .options = {__VA_ARGS__})                                                     \
    static void suite##_##test(void)

#define ParameterizedTestParameters(suite, test)                                                   \
    static struct criterion_test_params suite##_##test##_parameters(void)

#define ParameterizedTest(parameter, suite, test, ...)                                             \
    static void suite##_##test##_body(parameter);                                                  \
    static void suite##_##test(void *any)                                                          \
    {                                                                                              \
        suite##_##test##_body(any);                                                                \
    }                                                                                              \
    STANDIN_REGISTER(suite##_##test, .name = #suite "/" #test, .with_parameter = suite##_##test,   \
                     .parameters = suite##_##test##_parameters, .options = {__VA_ARGS__})          \
    static void suite##_##test##_body(parameter)

#define cr_make_param_array(type, array, count)                                                    \
    ((struct criterion_test_params){sizeof(type), (array), (count)})

#define STANDIN(condition, fatal, ...)                                                             \
    standin_check((condition), fatal, __FILE__, __LINE__, #condition)

#define cr_assert(...)                       STANDIN_FIRST(true, __VA_ARGS__, 0)
#define cr_expect(...)                       STANDIN_FIRST(false, __VA_ARGS__, 0)
#define STANDIN_FIRST(fatal, condition, ...) STANDIN(condition, fatal)
#define cr_assert_not(...)                   STANDIN_NOT(true, __VA_ARGS__, 0)
#define STANDIN_NOT(fatal, condition, ...)   STANDIN(!(condition), fatal)

#define cr_assert_eq(a, b, ...)        STANDIN((a) == (b), true)
#define cr_assert_neq(a, b, ...)       STANDIN((a) != (b), true)
#define cr_assert_lt(a, b, ...)        STANDIN((a) < (b), true)
#define cr_assert_leq(a, b, ...)       STANDIN((a) <= (b), true)
#define cr_assert_gt(a, b, ...)        STANDIN((a) > (b), true)
#define cr_assert_geq(a, b, ...)       STANDIN((a) >= (b), true)
#define cr_assert_not_null(a, ...)     STANDIN((a) != NULL, true)
#define cr_assert_null(a, ...)         STANDIN((a) == NULL, true)
#define cr_assert_str_eq(a, b, ...)    STANDIN(strcmp((a), (b)) == 0, true)
#define cr_assert_arr_eq(a, b, n, ...) STANDIN(memcmp((a), (b), (size_t)(n)) == 0, true)
#define cr_expect_eq(a, b, ...)        STANDIN((a) == (b), false)
#define cr_expect_neq(a, b, ...)       STANDIN((a) != (b), false)
#define cr_expect_lt(a, b, ...)        STANDIN((a) < (b), false)
#define cr_expect_leq(a, b, ...)       STANDIN((a) <= (b), false)
#define cr_expect_gt(a, b, ...)        STANDIN((a) > (b), false)
#define cr_expect_geq(a, b, ...)       STANDIN((a) >= (b), false)
#define cr_expect_null(a, ...)         STANDIN((a) == NULL, false)
#define cr_expect_not_null(a, ...)     STANDIN((a) != NULL, false)
#define cr_expect_str_eq(a, b, ...)    STANDIN(strcmp((a), (b)) == 0, false)
#define cr_expect_arr_eq(a, b, n, ...) STANDIN(memcmp((a), (b), (size_t)(n)) == 0, false)

#define cr_skip_test(...)                                                                          \
    do {                                                                                           \
        fflush(stdout);                                                                            \
        _Exit(STANDIN_SKIPPED);                                                                    \
    } while (0)

static inline _Noreturn void standin_child(const struct standin_test *test, void *parameter)
{
    alarm(test->options.timeout > 0 ? (unsigned)(4 * test->options.timeout) : 120);
    if (test->options.init)
        test->options.init();
    if (test->with_parameter)
        test->with_parameter(parameter);
    else
        test->function();
    if (test->options.fini)
        test->options.fini();
    exit(standin_failures > 0); /* the sanitizer makes it 66 if it has seen a race */
}

static inline bool standin_run(const struct standin_test *test, void *parameter)
{
    int status;
    fflush(stdout);
    pid_t child = fork();
    if (child == 0)
        standin_child(test, parameter);
    bool ended = waitpid(child, &status, 0) == child && WIFEXITED(status);
    bool skipped = ended && WEXITSTATUS(status) == STANDIN_SKIPPED;
    bool good = skipped || (ended && WEXITSTATUS(status) == test->options.exit_code);
    printf("%sok - %s%s\n", good ? "" : "not ", test->name, skipped ? " # SKIP" : "");
    return good;
}

STANDIN_ONCE int main(int argc, char **argv)
{
    int failed = 0;
    for (const struct standin_test *test = standin_first; test; test = test->next) {
        struct criterion_test_params all = {.length = 1};
        if (argc > 1 && !strstr(test->name, argv[1]))
            continue;
        if (test->parameters)
            all = test->parameters();
        for (size_t i = 0; i < all.length; i++)
            failed += !standin_run(test, (char *)all.params + i * all.size);
    }
    return failed > 0;
}

#endif
