/* Runs the tests of a program without Criterion (test.h), and says in TAP (testanything.org) what
 * came of them. */
#include <stdbool.h>
#include <stdio.h>
#include <unistd.h>

#include "test.h"
#include "verdict.h"

enum { SECONDS = 120, SLOWER = 4 };

static struct test *first, **last = &first;

void test_register(struct test *test)
{
    *last = test;
    last = &test->next;
}

struct call {
    const struct test *test;
    void *parameter;
};

static void run(const void *argument)
{
    const struct call *call = argument;
    if (call->test->options.init)
        call->test->options.init();
    call->test->body(call->parameter);
    if (call->test->options.fini)
        call->test->options.fini();
}

static bool passes(const struct test *test, void *parameter)
{
    struct trial trial;
    struct call call = {test, parameter};
    double seconds = SLOWER * test->options.timeout;
    enum verdict verdict = trial_run(&trial, run, &call, seconds > 0 ? (unsigned)seconds : SECONDS);
    bool failed = verdict == VERDICT_FAIL;
    printf("%s - %s%s %s\n", failed ? "not ok" : "ok", test->name,
           verdict == VERDICT_SKIP ? " # SKIP" : "", trial.reason);
    if (failed)
        trial_show_log(&trial, "#   ");
    else
        close(trial.log);
    return !failed;
}

int main(void)
{
    int failed = 0;
    for (const struct test *test = first; test; test = test->next) {
        struct criterion_test_params all = {.length = 1};
        if (test->parameters)
            all = test->parameters();
        for (size_t i = 0; i < all.length; i++)
            failed += !passes(test, (char *)all.params + i * all.size);
    }
    return failed > 0;
}
