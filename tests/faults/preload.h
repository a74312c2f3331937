/* Calls that do less than they were asked to, by a library that is preloaded into the server
 * (ld.so(8), LD_PRELOAD). Set by the environment:
 *   FAULT_RECV=N, FAULT_SEND=N  at most N bytes at a time
 *   FAULT_EAGAIN=N              every Nth recv() and send() of a descriptor says EAGAIN instead
 *   FAULT_CLOSE=1               close() closes, and says EINTR, as it may
 *   FAULT_MALLOC=N              every Nth request for memory fails, from the first accept() on
 *   FAULT_MALLOC_AT=N           the Nth request for memory fails
 *   FAULT_ACCEPT=1              nothing yet: the test says when accept() is to fail
 *   FAULT_WATCH=N               N times the kernel would not watch the listener again
 *   FAULT_HITS=PATH             a file with a struct preload_hits in it
 * That file also has a switch, for what is not to happen before a test says so. */
#ifndef PRELOAD_H
#define PRELOAD_H

#include <stdatomic.h>

struct preload_hits {
    atomic_long count;  /* how often one of these has happened */
    atomic_int refuses; /* from now on accept() fails with this errno; 0: it does not */
    atomic_long watch;  /* how often epoll_ctl() refused the listener that was refused clients */
};

#endif
