/* Lines on stderr, from a program that serves and so must not wait.
 *
 * stderr may be a pipe whose reader has stalled, and then write() sleeps: in a server with one
 * thread every client would sleep with it, and a client can provoke lines. So a line is written
 * only when poll() says that stderr takes one, and from one place in the code at most one a second.
 * The others are counted; the next line says how many were left out, or else the process's end.
 *
 * What remains: another process that writes to the same pipe may fill it between our poll() and
 * our write(); and a file is always ready, however slow its disk is. (O_NONBLOCK would help with
 * the first. But it belongs to the open pipe, and so would change it for the others, too.)
 *
 * Until a program is ready it has nobody to serve, and may use err(3). All of this may be called
 * by several threads, and leaves errno as it was. A line that is too long is cut. */
#ifndef LOG_H
#define LOG_H

#include <errno.h>
#include <stdint.h>
#include <stdlib.h>

extern const char *log_name; /* the program's, which stands before each line */

/* At the start: opens stderr anew if it is a terminal. */
void log_open(void);

/* A line. */
#define log_warning(...) LOG_ONE_A_SECOND(0, __VA_ARGS__)

/* A line that ends with what errno means. strerror(3) */
#define log_error(...) LOG_ONE_A_SECOND(errno, __VA_ARGS__)

/* A line that was asked for, by --verbose say: as many a second as stderr takes. */
#define log_event(...) log_line(NULL, 0, __VA_ARGS__)

/* The last line: as log_error(), then exit(1). */
#define log_fatal(...)                                                                             \
    do {                                                                                           \
        log_line(NULL, errno, __VA_ARGS__);                                                        \
        exit(1);                                                                                   \
    } while (0)

/* last_ms: when a line from this place was last written, 0: never; NULL if that does not matter.
 * error: an errno, or 0. Call one of the above. */
void log_line(int64_t *last_ms, int error, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

#define LOG_ONE_A_SECOND(error, ...)                                                               \
    do {                                                                                           \
        static int64_t last_ms;                                                                    \
        log_line(&last_ms, error, __VA_ARGS__);                                                    \
    } while (0)

#endif
