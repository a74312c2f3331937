/* A library that makes calls do less than they were asked to. It is preloaded into the server
 * (ld.so(8), LD_PRELOAD). The environment sets:
 *   FAULT_RECV=N, FAULT_SEND=N  at most N bytes at a time
 *   FAULT_EAGAIN=N              every Nth recv() and send() of a descriptor says EAGAIN instead
 *   FAULT_CLOSE=1               close() closes, and says EINTR, as it may
 *   FAULT_MALLOC=N              every Nth request for memory fails, from the first accept() on
 *   FAULT_MALLOC_AT=N           the Nth request for memory fails
 *   FAULT_LATER=1               nothing yet: the test says what is to fail, and when
 *   FAULT_WATCH=N               N times the kernel refuses to watch the listener again
 *   FAULT_HITS=PATH             a file with a struct preload_hits in it
 * That file also has switches, by which a test lets a fault begin. */
#ifndef PRELOAD_H
#define PRELOAD_H

#include <stdatomic.h>

enum preload_hold { HOLD_NONE, HOLD_NEXT, HOLD_ON };

struct preload_hits {
    atomic_long count;           /* how often one of these has happened */
    atomic_int accept_error;     /* from now on accept() fails with this errno; 0: it does not */
    atomic_int loss_error;       /* accept() loses its next client, and fails with this errno */
    atomic_int full;             /* from now on there is no room for what send() would send */
    atomic_int holds;            /* the next close() closes, but does not return: preload_hold */
    atomic_long watches_refused; /* how often epoll_ctl() refused a listener that has failed */
};

#endif
