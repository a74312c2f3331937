/* What is tried: one entry, one fault. */
#include <stddef.h>

#include "fault.h"

#define ACCEPT "?accept4,?accept"
#define RECV   "?recvfrom,?recv"
#define SEND   "?sendto,?send"
#define LIST   "?select,?pselect6,?poll,?ppoll" /* those that need memory for what they are given */
#define WAIT   "?select,?pselect6,?poll,?ppoll,?epoll_wait,?epoll_pwait,?epoll_pwait2"

/* A fault of system calls, one of the preloaded library, one that needs neither. */
#define TRACED(what, checked, where, how)                                                          \
    .name = what, .check = checked, .calls = where, .inject = how
#define PRELOADED(what, checked, how) .name = what, .check = checked, .preload = how
#define REAL(what, checked)           .name = what, .check = checked

/* The footnotes. */
#define BLOCKING                                                                                   \
    "a blocking socket says EAGAIN only after a time-out that this server never sets, so it is an" \
    " error like any other: it ends that connection"
#define EDGE                                                                                       \
    "the injected EAGAIN is a lie, since the call would have worked; a server that waits for "     \
    "changes only must believe it, and goes on at the next change: when more bytes arrive"

/* clang-format off */
#define LIE {{"threads", BLOCKING, all_are_lost}, {"edges", EDGE, late_until_more_comes}, {0}}

const struct fault faults[] = {
    /* Every second call, from the second one on: then one client is connected already. */
    {TRACED("accept(): EINTR", nobody_notices, ACCEPT, "error=EINTR:when=2+2")},
    {TRACED("accept(): EAGAIN", nobody_notices, ACCEPT, "error=EAGAIN:when=2+2")},
    {TRACED("accept(): ECONNABORTED", nobody_notices, ACCEPT, "error=ECONNABORTED:when=2+2")},
    {TRACED("accept(): EPROTO", nobody_notices, ACCEPT, "error=EPROTO:when=2+2")},
    {TRACED("accept(): EOPNOTSUPP", nobody_notices, ACCEPT, "error=EOPNOTSUPP:when=2+2")},
    {TRACED("accept(): EPERM", nobody_notices, ACCEPT, "error=EPERM:when=2+2")},
    {TRACED("accept(): EACCES", nobody_notices, ACCEPT, "error=EACCES:when=2+2")},
    {TRACED("accept(): ENOSYS", nobody_notices, ACCEPT, "error=ENOSYS:when=2+2")},
    {TRACED("accept(): EMFILE", nobody_notices, ACCEPT, "error=EMFILE:when=2+2")},
    {TRACED("accept(): ENFILE", nobody_notices, ACCEPT, "error=ENFILE:when=2+2")},
    {TRACED("accept(): ENOBUFS", nobody_notices, ACCEPT, "error=ENOBUFS:when=2+2")},
    {TRACED("accept(): ENOMEM", nobody_notices, ACCEPT, "error=ENOMEM:when=2+2")},
    {PRELOADED("accept(): EMFILE from now on", accept_fails_from_now_on, "FAULT_LATER=1")},
    {PRELOADED("accept(): any error from now on", any_error_from_now_on, "FAULT_LATER=1")},
    {PRELOADED("accept(): each of its network errors, once", only_that_client_is_lost, "FAULT_LATER=1")},
    {PRELOADED("accept(): EMFILE, then epoll_ctl(): ENOMEM", watching_again_fails, "FAULT_WATCH=2")},

    /* 7 is not in step with a server that asks its six clients in turn. */
    {TRACED("recv(): EINTR", nobody_notices, RECV, "error=EINTR:when=1+7")},
    {TRACED("recv(): EAGAIN", nobody_notices, RECV, "error=EAGAIN:when=1+7"), .design = LIE},
    {TRACED("recv(): ECONNRESET", some_are_lost, RECV, "error=ECONNRESET:when=7")},
    {TRACED("recv(): ETIMEDOUT", some_are_lost, RECV, "error=ETIMEDOUT:when=7")},
    {TRACED("recv(): ENOMEM", some_are_lost, RECV, "error=ENOMEM:when=7")},

    {TRACED("send(): EINTR", nobody_notices, SEND, "error=EINTR:when=1+7")},
    /* A server that waits for changes may try again at once: when it adds the filter anew, the
     * kernel reports the room that there is. This second try must not fail too, since nothing
     * changes after it. Before it, each of the five other clients may cause four calls. */
    {TRACED("send(): EAGAIN", nobody_notices, SEND, "error=EAGAIN:when=1+23"), .design = LIE},
    {TRACED("send(): EPIPE, and SIGPIPE", some_are_reset, SEND, "error=EPIPE:signal=SIGPIPE:when=7")},
    {TRACED("send(): ECONNRESET", some_are_reset, SEND, "error=ECONNRESET:when=7")},
    {TRACED("send(): ENOBUFS", some_are_reset, SEND, "error=ENOBUFS:when=7")},

    {TRACED("the wait: EINTR", nobody_notices, WAIT, "error=EINTR:when=1+2")},
    {TRACED("the wait: spurious wake-up", nobody_notices, WAIT, "retval=0:when=1+2")},
    {TRACED("the wait: ENOMEM", nobody_notices, LIST, "error=ENOMEM:when=1+2")},
    {TRACED("the wait: EAGAIN", nobody_notices, LIST, "error=EAGAIN:when=1+2")},
    {TRACED("the wait: ENOMEM, 50 times", shortage_ends, LIST, "error=ENOMEM:when=2..51")},
    {TRACED("epoll_ctl(): ENOSPC", some_are_lost, "?epoll_ctl", "error=ENOSPC:when=%d+3")},
    {TRACED("epoll_ctl(): ENOMEM", some_are_lost, "?epoll_ctl", "error=ENOMEM:when=%d+3")},
    {TRACED("pthread_create(): EAGAIN", some_are_lost, "?clone3,?clone", "error=EAGAIN:when=2+3"), .trait = "threads"},

    /* All calls that a server makes before it is ready, except those that fail only when they are
     * called wrongly: sigaction(), sigprocmask(). */
    {TRACED("start: socket()", start_fails_well, "?socket", "error=EMFILE")},
    {TRACED("start: fcntl()", start_fails_well, "?fcntl", "error=EBADF")},
    {TRACED("start: setsockopt()", start_fails_well, "?setsockopt", "error=ENOBUFS")},
    {TRACED("start: bind()", start_fails_well, "?bind", "error=EACCES")},
    {TRACED("start: listen()", start_fails_well, "?listen", "error=EADDRINUSE")},
    {TRACED("start: getsockname()", start_fails_well, "?getsockname", "error=ENOBUFS")},
    {TRACED("start: epoll_create(), kqueue()", start_fails_well, "?epoll_create1", "error=EMFILE")},
    {TRACED("start: epoll_ctl()", start_fails_well, "?epoll_ctl", "error=ENOSPC")},
    {TRACED("start: signalfd()", start_fails_well, "?signalfd4", "error=ENFILE")},
    {TRACED("start: eventfd()", start_fails_well, "?eventfd2", "error=EMFILE")},
    {TRACED("start: pipe()", start_fails_well, "?pipe2,?pipe", "error=EMFILE")},
    {TRACED("start: pthread_create()", start_fails_well, "?clone3,?clone", "error=EAGAIN")},
    {PRELOADED("start: malloc()", start_fails_well, "FAULT_MALLOC_AT=1")},
    {TRACED("start: write()", start_fails_well, "?write", "error=ENOSPC")},
    {TRACED("start: setrlimit()", start_fails_well, "?prlimit64,?setrlimit,?getrlimit", "error=EPERM")},

    {PRELOADED("one byte in at a time", nobody_notices_at_all_sizes, "FAULT_RECV=1")},
    {PRELOADED("one byte out at a time", nobody_notices_at_all_sizes, "FAULT_SEND=1")},
    {PRELOADED("three bytes in, two out", nobody_notices_at_all_sizes, "FAULT_RECV=3 FAULT_SEND=2")},
    {PRELOADED("EAGAIN from every second recv() and send()", nobody_notices_at_all_sizes, "FAULT_EAGAIN=2"), .design = LIE},
    {PRELOADED("close(): EINTR", no_descriptor_is_lost, "FAULT_CLOSE=1")},
    {PRELOADED("close(): it takes long", number_is_not_mistaken, "FAULT_LATER=1"), .trait = "threads"},
    {PRELOADED("malloc(): every third fails", out_of_memory_now_and_then, "FAULT_MALLOC=3 FAULT_SEND=1")},

    {PRELOADED("bytes owed when the second of the stop is over", owed_at_the_deadline, "FAULT_LATER=1")},
    {PRELOADED("bytes owed when the idle timeout is over", owed_at_the_idle_timeout, "FAULT_LATER=1")},

    {REAL("stderr is a full pipe", full_pipe_harms_nobody)},
    {REAL("stderr is a full terminal", full_terminal_harms_nobody)},
    {REAL("stderr is a pipe without a reader", pipe_without_reader)},
    {REAL("stderr, and thousands of reasons to write a line", few_lines_a_second)},
    {REAL("started without descriptors 0, 1, 2", no_standard_descriptors)},

    {REAL("out of descriptors, and back", out_of_descriptors)},
    {REAL("out of threads, and back", out_of_threads), .trait = "threads"},
    {PRELOADED("out of address space, and back", out_of_address_space, "FAULT_SEND=100")},
    {REAL("the backlog overflows", queue_overflows)},
    {REAL("stopped and continued in mid-stream", stopped_in_mid_stream)},
    {REAL("a link of 4 Mbit/s", slow_link)},
    {REAL("a link that loses 1 packet in 20", lossy_link)},
    {REAL("a link that is dead, for a while and for good", dead_link)},
    {REAL("an idle timeout, and a link that is dead", dead_link_and_idle_timeout)},
    {.name = NULL},
};
/* clang-format on */
