/* The changes to what a kqueue watches, on their way to the kernel. They wait in a list, and the
 * next kevent() takes the list along: so a change costs no call of its own.
 *
 *     kevent(kq, changes.list, changes.count, events, ...);
 *     changes.count = 0;
 *
 * The kernel answers a change that it refuses with an event in which EV_ERROR is set, and data is
 * the errno. events needs room for an answer to each change. */
#ifndef CHANGES_H
#define CHANGES_H

#include <sys/types.h>

#include <sys/event.h>

#ifndef CHANGES_MAX /* a test fills a shorter list */
#define CHANGES_MAX 64
#endif

struct changes {
    struct kevent list[CHANGES_MAX];
    int count;
};

/* Notes a change for the next kevent(). The caller has made sure that there is room. kqueue(2) */
void changes_add(struct changes *changes, int ident, short filter, unsigned short flags);

/* Drops what is noted for this descriptor. Call it before close(): the number may be in use again
 * when the list is sent, and the changes would be made to the wrong client. */
void changes_forget(struct changes *changes, int fd);

/* Sends the list now, without waiting for events: for a list that is full. Stores the answers to
 * the changes that are refused, and returns how many these are. */
int changes_send(struct changes *changes, int kq, struct kevent refused[CHANGES_MAX]);

#endif
