/* Lines on stderr, from a server that must never sleep. If stderr is a pipe and its reader has
 * stalled, write() sleeps, and all clients with it. So a line is written only if poll() says that
 * stderr takes it, and each place in the code writes at most one warning a second. The others are
 * counted; the next line, or the end of the process, says how many were left out. (Another process
 * may fill the same pipe between our poll() and our write(): that gap remains.)
 *
 * Any thread may call this, and errno stays as it was. Before a server is ready use err(3). */
#ifndef LOG_H
#define LOG_H

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>

extern const char *log_name; /* the program's name, which stands before each line */
extern bool log_verbose;     /* set by --verbose */

/* Call it once, at the start. */
void log_open(void);

/* A warning; the second one ends with strerror(errno). */
#define log_warning(...) LOG_ONCE_A_SECOND(0, __VA_ARGS__)
#define log_error(...)   LOG_ONCE_A_SECOND(errno, __VA_ARGS__)

/* A line that the user has asked for: never left out while stderr takes it. */
#define log_event(...) log_line(NULL, 0, __VA_ARGS__)

/* The last line: what failed, and strerror(errno). Then exit(1). */
_Noreturn void log_fatal(const char *what);

/* What is behind the macros. last_ms: when this place wrote its last line; NULL for no limit. */
void log_line(int64_t *last_ms, int error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#define LOG_ONCE_A_SECOND(error, ...)                                                              \
    do {                                                                                           \
        static int64_t last_ms;                                                                    \
        log_line(&last_ms, error, __VA_ARGS__);                                                    \
    } while (0)

#endif
