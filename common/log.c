#include "log.h"

#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

/* A pipe that is ready takes PIPE_BUF bytes at once, and POSIX says that these are 512 or more. */
enum { LINE_MAX_LENGTH = 512, MESSAGE_MAX_LENGTH = 320 };

const char *log_name = "server";

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER; /* for what follows, and each `last_ms` */
static long left_out;                                    /* lines, since one was written */

/* A terminal that is ready may have room for less than a line, and then write() sleeps all the
 * same. O_NONBLOCK helps, and in a terminal that we have opened ourselves it is ours alone. */
void log_open(void)
{
    const char *name = isatty(STDERR_FILENO) ? ttyname(STDERR_FILENO) : NULL;
    int terminal = name ? open(name, O_WRONLY | O_NOCTTY | O_NONBLOCK) : -1;
    if (terminal < 0)
        return;
    dup2(terminal, STDERR_FILENO);
    close(terminal);
}

/* Returns false if stderr would not take it now. An error is no reason to wait: it is written. */
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
static void say_left_out(void)
{
    char message[64];
    snprintf(message, sizeof message, "%ld lines left out", left_out);
    if (left_out > 0 && write_line(message, 0))
        left_out = 0;
}

static void at_exit(void)
{
    pthread_mutex_lock(&lock);
    say_left_out();
    pthread_mutex_unlock(&lock);
}

static void leave_out(void)
{
    static bool registered;
    if (!registered)
        registered = atexit(at_exit) == 0;
    left_out++;
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
    if (last_ms && *last_ms > 0 && now_ms - *last_ms < 1000) {
        leave_out();
    } else {
        say_left_out();
        if (!write_line(message, error))
            leave_out();
        else if (last_ms)
            *last_ms = now_ms;
    }
    pthread_mutex_unlock(&lock);
    errno = before;
}
