#include "log.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* A pipe that is ready takes PIPE_BUF bytes at once, and POSIX says that these are 512 or more. */
enum { LINE_MAX_LENGTH = 512, MESSAGE_MAX_LENGTH = 320 };

const char *log_name = "server";
bool log_verbose;

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* for what follows, and each last_ms */
static long left_out;                                    /* lines, since one was written */

/* Returns false if stderr would not take it now. An error is no reason to wait. */
static bool write_line(const char *message, int error)
{
    char line[LINE_MAX_LENGTH];
    struct pollfd standard_error = {.fd = STDERR_FILENO, .events = POLLOUT};
    int ready;

    do
        ready = poll(&standard_error, 1, 0);
    while (ready < 0 && errno == EINTR);
    if (ready == 0)
        return false;
    int length = snprintf(line, sizeof line, "%.64s: %s%s%.100s\n", log_name, message,
                          error ? ": " : "", error ? strerror(error) : "");
    return write(STDERR_FILENO, line, (size_t)length) > 0 || errno != EAGAIN;
}

/* The caller holds the lock. */
static void report_left_out(void)
{
    char message[64];
    snprintf(message, sizeof message, "%ld lines left out", left_out);
    if (left_out > 0 && write_line(message, 0))
        left_out = 0;
}

static void at_exit(void)
{
    pthread_mutex_lock(&lock);
    report_left_out();
    pthread_mutex_unlock(&lock);
}

/* A terminal that poll() calls ready may have room for less than a line, and then write() sleeps.
 * O_NONBLOCK helps. It belongs to the open file, so we open the terminal anew: that one is ours. */
void log_open(void)
{
    const char *name = isatty(STDERR_FILENO) ? ttyname(STDERR_FILENO) : NULL;
    int terminal = name ? open(name, O_WRONLY | O_NOCTTY | O_NONBLOCK) : -1;
    if (terminal >= 0) {
        dup2(terminal, STDERR_FILENO);
        close(terminal);
    }
    atexit(at_exit);
}

void log_line(int64_t *last_ms, int error, const char *format, ...)
{
    char message[MESSAGE_MAX_LENGTH];
    struct timespec now;
    va_list arguments;
    int before = errno;

    va_start(arguments, format);
    vsnprintf(message, sizeof message, format, arguments);
    va_end(arguments);
    clock_gettime(CLOCK_MONOTONIC, &now);
    int64_t now_ms = (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
    pthread_mutex_lock(&lock);
    bool too_soon = last_ms && *last_ms > 0 && now_ms - *last_ms < 1000;
    if (!too_soon)
        report_left_out();
    if (too_soon || !write_line(message, error))
        left_out++;
    else if (last_ms)
        *last_ms = now_ms;
    pthread_mutex_unlock(&lock);
    errno = before;
}

void log_fatal(const char *what)
{
    log_line(NULL, errno, "%s", what);
    exit(1);
}
