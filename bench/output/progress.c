#include "output/progress.h"

#include "system/clock.h"

#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <unistd.h>

static uint64_t expected_end;
static double expected_later;

void progress_expect(double seconds, double later)
{
    expected_end = clock_now() + (uint64_t)(seconds * 1e9);
    expected_later = later;
}

void progress_say(const char *format, ...)
{
    bool terminal = isatty(STDERR_FILENO) != 0;
    va_list arguments;
    va_start(arguments, format);
    if (terminal)
        fprintf(stderr, "\r\033[K");
    bool whole_line = strchr(format, '\n');
    vfprintf(stderr, format, arguments);
    uint64_t now = clock_now();
    double left = expected_end > now ? (double)(expected_end - now) / 1e9 : 0;
    if (terminal && !whole_line)
        fprintf(stderr, ", about %.0f s left", left + expected_later);
    if (!terminal && !whole_line)
        fputc('\n', stderr);
    va_end(arguments);
}
