#include "changes.h"

#include <stdbool.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/time.h>

#include "log.h"

/* NetBSD's filters and flags have 32 bits and no sign, but here as there none of them needs more
 * than 16: they fit. And NetBSD's EV_SET, before NetBSD 10, evaluates its first argument six times:
 * &list[count++] would put each field into another entry. */
void changes_add(struct changes *changes, int ident, short filter, unsigned short flags)
{
    if (changes->count == CHANGES_MAX)
        abort();
    struct kevent *next = &changes->list[changes->count++];
    EV_SET(next, (uintptr_t)ident, filter, flags, 0, 0, 0);
}

/* The ident of a signal or a timer may be the same number as a descriptor. */
void changes_forget(struct changes *changes, int fd)
{
    int kept = 0;
    for (int i = 0; i < changes->count; i++) {
        struct kevent *each = &changes->list[i];
        bool descriptor = each->filter == EVFILT_READ || each->filter == EVFILT_WRITE;
        if (!descriptor || each->ident != (uintptr_t)fd)
            changes->list[kept++] = *each;
    }
    changes->count = kept;
}

/* EV_RECEIPT asks for an answer to each change, and for nothing but answers. So kevent() has
 * something to return at once: it does not wait, and no signal interrupts it. */
int changes_send(struct changes *changes, int kq, struct kevent refused[CHANGES_MAX])
{
    struct kevent answers[CHANGES_MAX];
    int refused_count = 0;

    for (int i = 0; i < changes->count; i++)
        changes->list[i].flags |= EV_RECEIPT;
    int count = kevent(kq, changes->list, changes->count, answers, CHANGES_MAX, NULL);
    if (count < 0)
        log_fatal("kevent");
    changes->count = 0;
    for (int i = 0; i < count; i++)
        if ((answers[i].flags & EV_ERROR) && answers[i].data != 0)
            refused[refused_count++] = answers[i];
    return refused_count;
}
