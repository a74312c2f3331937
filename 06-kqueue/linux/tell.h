/* What KQUEUE_TRACE asks for: each kevent() call says what goes in and what comes out. It writes to
 * descriptor -1. The kernel refuses that (EBADF), so only a program that records system calls, such
 * as strace, sees the texts. They have at most TELL_MAX bytes:
 *
 *   kevent begins: kqueue 3, changes [{5 READ ADD}, {4 WRITE ADD|DISABLE}], room 64, timeout none
 *   kevent returns: kqueue 3, events [{5 READ data 5}, {6 READ EOF data 0}] = 2
 *   kevent returns: kqueue 3, = -1 EINTR
 *
 * kqueue.c includes this file, so that a program is still linked with kqueue.c alone. */
#include "sys/event.h"

#include <errno.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <unistd.h>

enum { TELL_MAX = 2000, TELL_ENTRY_MAX = 200, TELL_END_MAX = 100 /* what follows a list */ };
#define TELL_NAME(names, i) ((size_t)(i) < sizeof(names) / sizeof *(names) ? (names)[i] : NULL)

struct tell_text {
    size_t length;
    char bytes[TELL_MAX + TELL_ENTRY_MAX];
};

static bool telling;

__attribute__((constructor)) static void tell_if_asked(void)
{
    const char *asked = getenv("KQUEUE_TRACE");
    telling = asked && *asked;
}

__attribute__((format(printf, 2, 3))) static void tell_add(struct tell_text *text,
                                                           const char *format, ...)
{
    va_list values;
    va_start(values, format);
    text->length += (size_t)vsnprintf(text->bytes + text->length, sizeof text->bytes - text->length,
                                      format, values);
    va_end(values);
}

static void tell_list(struct tell_text *text, const struct kevent *list, int count, bool is_events)
{
    static const char *const filters[] = {[-EVFILT_READ] = "READ",   [-EVFILT_WRITE] = "WRITE",
                                          [-EVFILT_AIO] = "AIO",     [-EVFILT_VNODE] = "VNODE",
                                          [-EVFILT_PROC] = "PROC",   [-EVFILT_SIGNAL] = "SIGNAL",
                                          [-EVFILT_TIMER] = "TIMER", [-EVFILT_USER] = "USER"};
    static const char *const flags[16] = {"ADD",   "DELETE",  "ENABLE",   "DISABLE",      "ONESHOT",
                                          "CLEAR", "RECEIPT", "DISPATCH", [14] = "ERROR", "EOF"};
    for (int i = 0; i < count; i++) {
        size_t before = text->length;
        const char *filter = TELL_NAME(filters, -list[i].filter);
        tell_add(text, "%s{%ju %s", i > 0 ? ", " : "", (uintmax_t)list[i].ident,
                 filter ? filter : "unknown");
        for (int bit = 0, seen = 0; bit < 16; bit++)
            if (list[i].flags >> bit & 1)
                tell_add(text, "%c%s", seen++ > 0 ? '|' : ' ', flags[bit] ? flags[bit] : "unknown");
        if (is_events && list[i].fflags != 0)
            tell_add(text, " fflags 0x%x", list[i].fflags);
        if (is_events)
            tell_add(text, " data %jd", (intmax_t)list[i].data);
        tell_add(text, "}");
        if (text->length > TELL_MAX - TELL_END_MAX) {
            text->length = before;
            tell_add(text, " ...");
            return;
        }
    }
}

static void tell_begins(int kq, const struct kevent *changes, int count, int room,
                        const struct timespec *timeout)
{
    struct tell_text text = {0};
    int error = errno;
    tell_add(&text, "kevent begins: kqueue %d, changes [", kq);
    tell_list(&text, changes, count, false);
    tell_add(&text, "], room %d, timeout ", room);
    if (timeout)
        tell_add(&text, "%.*f s", timeout->tv_nsec % 1000000 ? 9 : 3,
                 (double)timeout->tv_sec + (double)timeout->tv_nsec / 1e9);
    else
        tell_add(&text, "none");
    if (write(-1, text.bytes, text.length) < 0)
        errno = error;
}

static void tell_returns(int kq, const struct kevent *events, int count)
{
    static const char *const errors[] = {
        [EBADF] = "EBADF",   [EINTR] = "EINTR",   [EINVAL] = "EINVAL",   [EMFILE] = "EMFILE",
        [ENOENT] = "ENOENT", [ENOMEM] = "ENOMEM", [ENOTSUP] = "ENOTSUP", [ESRCH] = "ESRCH"};
    struct tell_text text = {0};
    int error = errno;
    const char *name = TELL_NAME(errors, error);
    tell_add(&text, "kevent returns: kqueue %d, %s", kq, count < 0 ? "= -1 " : "events [");
    tell_list(&text, events, count, true);
    if (count >= 0)
        tell_add(&text, "] = %d", count);
    else if (name)
        tell_add(&text, "%s", name);
    else
        tell_add(&text, "error %d", error);
    if (write(-1, text.bytes, text.length) < 0)
        errno = error;
}
