/* What a backend is: the only part of the reactor that knows how the kernel is asked. Not for
 * users of reactor.h. */
#ifndef BACKEND_H
#define BACKEND_H

#include "reactor.h"

enum {
    BACKEND_BATCH = 64, /* events per wait, at most */
    BACKEND_LOST = 24,  /* beside the REACTOR_ bits: hung up, or an error: ready for everything */
};

/* .data.fd is ready for .events. Where there is epoll this is its own struct, and the bits are its
 * own too: the backend that is used most passes on what the kernel wrote. */
#ifdef __linux__
#include <sys/epoll.h>
#define backend_event epoll_event
#else
struct backend_event {
    unsigned events;
    struct {
        int fd;
    } data;
};
#endif

struct backend {
    const char *name;

    /* Its state, which is handed to the others; NULL with errno. */
    void *(*create)(void);
    void (*destroy)(void *state);

    /* From interest before to after, which differ: 0 to something adds a descriptor, something to
     * 0 removes it. Returns -1 with errno, for an addition at once; a modification may also be
     * kept for the next wait, and be answered with REACTOR_ERROR. */
    int (*change)(void *state, int fd, unsigned before, unsigned after);

    /* Waits that many milliseconds at most (-1: for ever), fills in up to most events.
     * Whoever is ready and finds no room comes before the others in the next batch, or the
     * kernel takes care of that. Returns their number; -1 with errno, also EINTR. */
    int (*wait)(void *state, struct backend_event *events, int most, int timeout_ms);
};

/* What select() and poll() answer when they fail. They need memory for each descriptor, and without
 * it they have not waited: nobody is ready, and 10 ms later the next turn tries again. epoll_wait()
 * and kevent() took their memory when the descriptor was added. Returns as wait(). */
int backend_wait_failed(void);

extern const struct backend backend_epoll, backend_kqueue, backend_poll, backend_select;

#endif
