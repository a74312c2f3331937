/* The worst kqueue that the manuals and the systems allow, and a send() to go with it. The compiler
 * reads it before a source (-include), and it replaces the system's calls.
 *
 * EV_SET evaluates its first argument six times, as NetBSD's macro did before NetBSD 10. 06's list
 * of changes is full after two turns. The environment sets the rest.
 *
 * WORST_INTERRUPTED=1: a signal interrupts each kevent() that brings changes and may wait, but not
 * two in a row. By then the changes have been applied: kevent(2), EINTR.
 *
 * WORST_REFUSED=N: the Nth EV_ADD of a READ filter fails, as if memory had run out.
 *
 * WORST_SENT=N: send() takes at most N bytes. */
#ifndef WORST_CASE_H
#define WORST_CASE_H

#define _GNU_SOURCE
#define CHANGES_MAX 4 /* of 06-kqueue/changes.h */

#include <errno.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/types.h>

#include <sys/event.h>
#include <sys/socket.h>
#include <sys/time.h>

#undef EV_SET
#define EV_SET(kevp, a, b, c, d, e, f)                                                             \
    do {                                                                                           \
        (kevp)->ident = (a);                                                                       \
        (kevp)->filter = (b);                                                                      \
        (kevp)->flags = (c);                                                                       \
        (kevp)->fflags = (d);                                                                      \
        (kevp)->data = (e);                                                                        \
        (kevp)->udata = (f);                                                                       \
    } while (0)

static inline long worst_setting(const char *name)
{
    const char *text = getenv(name);
    return text ? strtol(text, NULL, 10) : 0;
}

enum { WORST_CHANGES_MAX = 128 };

/* Weak, so that all sources of a program share one. */
__attribute__((weak)) long worst_adds;

/* Gives the Nth EV_ADD an invalid descriptor, so that the kernel refuses it. Returns the descriptor
 * that it had, or -1. */
static inline int worst_refuse(struct kevent *changes, int count)
{
    int refused = -1;
    for (int i = 0; i < count; i++)
        if (changes[i].filter == EVFILT_READ && (changes[i].flags & EV_ADD) &&
            ++worst_adds == worst_setting("WORST_REFUSED")) {
            refused = (int)changes[i].ident;
            changes[i].ident = UINTPTR_MAX;
        }
    return refused;
}

/* Applies the changes, and collects the failures, but no event. Returns -1 if nothing failed. */
static inline int worst_interrupt(int kq, struct kevent *changes, int change_count,
                                  struct kevent *events, int event_count)
{
    struct kevent answers[WORST_CHANGES_MAX];
    int failed = 0;
    for (int i = 0; i < change_count; i++)
        changes[i].flags |= EV_RECEIPT;
    int count = kevent(kq, changes, change_count, answers, WORST_CHANGES_MAX, NULL);
    for (int i = 0; i < count && failed < event_count; i++)
        if (answers[i].data != 0)
            events[failed++] = answers[i];
    if (failed > 0)
        return failed;
    errno = EINTR;
    return -1;
}

static inline int worst_kevent(int kq, const struct kevent *changes, int change_count,
                               struct kevent *events, int event_count,
                               const struct timespec *timeout)
{
    static bool interrupted;
    struct kevent copy[WORST_CHANGES_MAX] = {0};
    int count;

    if (change_count > WORST_CHANGES_MAX)
        abort();
    if (change_count > 0)
        memcpy(copy, changes, (size_t)change_count * sizeof *changes);
    int refused = worst_refuse(copy, change_count);
    bool waits = event_count > 0 && (!timeout || timeout->tv_sec > 0 || timeout->tv_nsec > 0);
    interrupted = !interrupted && change_count > 0 && waits && !(copy[0].flags & EV_RECEIPT) &&
                  worst_setting("WORST_INTERRUPTED");
    if (interrupted)
        count = worst_interrupt(kq, copy, change_count, events, event_count);
    else
        count = kevent(kq, copy, change_count, events, event_count, timeout);
    for (int i = 0; events && i < count; i++)
        if (events[i].ident == UINTPTR_MAX) {
            events[i].ident = (uintptr_t)refused;
            events[i].data = ENOMEM;
        }
    return count;
}

static inline ssize_t worst_send(int fd, const void *bytes, size_t length, int flags)
{
    size_t max = (size_t)worst_setting("WORST_SENT");
    return send(fd, bytes, max > 0 && max < length ? max : length, flags);
}

#define kevent(...) worst_kevent(__VA_ARGS__) /* with arguments: not the struct */
#define send        worst_send

#endif
