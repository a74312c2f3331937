/* Criterion, for tests that have threads in them. These run under the thread sanitizer, too, where
 * Criterion does not start: it maps memory where that sanitizer allows none. So WITHOUT_CRITERION
 * makes this header as much of Criterion's interface as these tests use. Each test then is a trial
 * (verdict.h), and runner.c runs them one after the other. */
#ifndef TEST_H
#define TEST_H

#ifndef WITHOUT_CRITERION

#include <criterion/criterion.h>
#include <criterion/parameterized.h>

#else

#include <stdbool.h>
#include <stddef.h>
#include <string.h>

#include "fail.h"

struct criterion_test_params {
    size_t size;
    void *params;
    size_t length;
};

struct test {
    const char *name;
    void (*body)(void *parameter);
    struct criterion_test_params (*parameters)(void); /* NULL: it has none */
    struct test_options {
        const char *description;
        double timeout; /* seconds, in which a test that no sanitizer slows down is over */
        void (*init)(void), (*fini)(void);
    } options;
    struct test *next;
};

void test_register(struct test *test);

#define TEST(suite, id, parameters_or_null, ...)                                                   \
    static void suite##_##id(void *parameter);                                                     \
    static struct test suite##_##id##_test = {.name = #suite "/" #id,                              \
                                              .body = suite##_##id,                                \
                                              .parameters = (parameters_or_null),                  \
                                              .options = {__VA_ARGS__}};                           \
    __attribute__((constructor)) static void suite##_##id##_register(void)                         \
    {                                                                                              \
        test_register(&suite##_##id##_test);                                                       \
    }

#define Test(suite, id, ...)                                                                       \
    TEST(suite, id, NULL, __VA_ARGS__)                                                             \
    static void suite##_##id(__attribute__((unused)) void *no_parameter)

#define ParameterizedTestParameters(suite, id)                                                     \
    static struct criterion_test_params suite##_##id##_parameters(void)

#define ParameterizedTest(parameter, suite, id, ...)                                               \
    static void suite##_##id##_with(parameter);                                                    \
    TEST(suite, id, suite##_##id##_parameters, __VA_ARGS__)                                        \
    static void suite##_##id(void *any)                                                            \
    {                                                                                              \
        suite##_##id##_with(any);                                                                  \
    }                                                                                              \
    static void suite##_##id##_with(parameter)

#define cr_make_param_array(type, array, count)                                                    \
    ((struct criterion_test_params){sizeof(type), (array), (count)})

#define cr_skip_test                skip
#define cr_assert                   must
#define cr_assert_not(a, ...)       must(!(a), __VA_ARGS__)
#define cr_assert_eq(a, b, ...)     must((a) == (b), __VA_ARGS__)
#define cr_assert_neq(a, b, ...)    must((a) != (b), __VA_ARGS__)
#define cr_assert_lt(a, b, ...)     must((a) < (b), __VA_ARGS__)
#define cr_assert_leq(a, b, ...)    must((a) <= (b), __VA_ARGS__)
#define cr_assert_gt(a, b, ...)     must((a) > (b), __VA_ARGS__)
#define cr_assert_geq(a, b, ...)    must((a) >= (b), __VA_ARGS__)
#define cr_assert_null(a, ...)      must(!(a), __VA_ARGS__)
#define cr_assert_not_null(a, ...)  must((a), __VA_ARGS__)
#define cr_assert_str_eq(a, b, ...) must(strcmp((a), (b)) == 0, __VA_ARGS__)

/* Here the first expectation that is not met ends a test: it has failed in any case. */
#define cr_expect                   cr_assert
#define cr_expect_eq                cr_assert_eq
#define cr_expect_neq               cr_assert_neq
#define cr_expect_lt                cr_assert_lt
#define cr_expect_leq               cr_assert_leq
#define cr_expect_gt                cr_assert_gt
#define cr_expect_geq               cr_assert_geq
#define cr_expect_null              cr_assert_null
#define cr_expect_str_eq            cr_assert_str_eq

#endif
#endif
