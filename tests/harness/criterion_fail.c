/* fail.h in a Criterion test: it names the line that failed, as if cr_assert() stood there. */
#include <criterion/criterion.h>
#include <stdarg.h>
#include <stdio.h>

#include "fail.h"

_Noreturn void end_test(enum verdict verdict, const char *file, int line, const char *condition,
                        const char *format, ...)
{
    char reason[1024];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(reason, sizeof reason, format, arguments);
    va_end(arguments);
    const char *said = reason[1] ? reason + 1 : condition;
    if (verdict == VERDICT_SKIP)
        criterion_skip_test("%s", said);
    criterion_send_assert(&(struct criterion_assert_stats){
        .message = said, .passed = false, .line = (unsigned)line, .file = file});
    criterion_abort_test();
}
