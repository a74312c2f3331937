/* The reactor on kqueue: see chapter 06. That chapter sends its changes along with the next wait.
 * Here each change is sent at once: the caller wants to know whether it works. */
#include <errno.h>
#include <stdint.h>
#include <stdlib.h>
#include <sys/types.h>

#include <sys/event.h>
#include <sys/time.h>
#include <unistd.h>

#include "backend.h"

struct kqueue_state {
    int kq;
};

static void *create(void)
{
    struct kqueue_state *state = malloc(sizeof *state);
    if (!state)
        return NULL;
    state->kq = kqueue();
    if (state->kq >= 0)
        return state;
    free(state);
    return NULL;
}

static void destroy(void *argument)
{
    struct kqueue_state *state = argument;
    close(state->kq);
    free(state);
}

/* READ and WRITE are two filters of one descriptor. A filter is there exactly if it is wanted.
 * Without room for answers the first error ends kevent(), which returns it. Then we take the other
 * filter back: one filter without the other is no interest that anyone asked for. */
static int change(void *argument, int fd, unsigned before, unsigned after)
{
    struct kqueue_state *state = argument;
    const short filter[] = {EVFILT_READ, EVFILT_WRITE};
    const unsigned bit[] = {REACTOR_READ, REACTOR_WRITE};
    struct kevent changes[2];
    int count = 0;

    for (int i = 0; i < 2; i++)
        if ((before ^ after) & bit[i]) {
            EV_SET(&changes[count], (uintptr_t)fd, filter[i],
                   (unsigned short)(after & bit[i] ? EV_ADD : EV_DELETE), 0, 0, 0);
            count++; /* not within EV_SET, which may evaluate its arguments several times */
        }
    if (kevent(state->kq, changes, count, NULL, 0, NULL) == 0)
        return 0;
    int error = errno;
    for (int i = 0; i < 2; i++) {
        EV_SET(&changes[0], (uintptr_t)fd, filter[i], EV_DELETE, 0, 0, 0);
        (void)kevent(state->kq, changes, 1, NULL, 0, NULL); /* ENOENT: it was not there */
    }
    errno = error;
    return -1;
}

/* close() deletes the filters. */
static void forget(void *argument, int fd, unsigned before)
{
    (void)argument, (void)fd, (void)before;
}

static int wait_for_events(void *argument, struct backend_event *events, int max, int timeout_ms)
{
    struct kqueue_state *state = argument;
    struct kevent batch[BACKEND_BATCH];
    struct timespec timeout = {timeout_ms / 1000, timeout_ms % 1000 * 1000000L};
    int count = kevent(state->kq, NULL, 0, batch, max, timeout_ms < 0 ? NULL : &timeout);
    for (int i = 0; i < count; i++) {
        unsigned ready = batch[i].filter == EVFILT_WRITE ? REACTOR_WRITE : REACTOR_READ;
        events[i] = (struct backend_event){(int)batch[i].ident, ready};
    }
    return count;
}

const struct backend backend_kqueue = {"kqueue", create, destroy, change, forget, wait_for_events};
