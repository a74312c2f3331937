/* A backend: the only part of the reactor that knows how to ask the kernel. Only reactor.c uses
 * this. */
#ifndef BACKEND_H
#define BACKEND_H

#include "reactor.h"

enum { BACKEND_BATCH = 64 }; /* events per wait, at most */

/* ready: REACTOR_ bits. After a hang-up or an error it is REACTOR_READ | REACTOR_WRITE: the calls
 * then say what has happened. */
struct backend_event {
    int fd;
    unsigned ready;
};

struct backend {
    const char *name;

    /* Returns its state, which the other functions get; NULL with errno. */
    void *(*create)(void);
    void (*destroy)(void *state);

    /* Changes the interest in fd from before to after, which differ. 0 means not watched. Returns
     * 0, or -1 with errno; then fd is not watched. */
    int (*change)(void *state, int fd, unsigned before, unsigned after);

    /* fd is about to be closed, and close() makes the kernel forget it: so does this, without a
     * system call. */
    void (*forget)(void *state, int fd, unsigned before);

    /* Waits at most timeout_ms milliseconds (-1: forever), and fills in at most max events. A
     * descriptor that is ready and finds no room comes first in the next batch. Returns their
     * number, or -1 with errno, EINTR too. */
    int (*wait)(void *state, struct backend_event *events, int max, int timeout_ms);
};

extern const struct backend backend_epoll, backend_kqueue, backend_poll, backend_select;

#endif
