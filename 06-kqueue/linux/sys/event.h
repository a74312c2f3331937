/* The kqueue interface of the BSDs, for Linux, on top of epoll.
 *
 * WHAT IT IS NOT: a way to make Linux faster. Underneath is epoll, the same as in chapter 05. Each
 * change is one epoll_ctl(), each READ or WRITE event costs one more system call to fill `data`,
 * the WRITE events of a wait one more together. To send changes along with the wait is kqueue's
 * great saving on a BSD; here it saves nothing. A figure measured through this layer says nothing
 * about kqueue. The layer has one purpose: you can read, run and change chapter 06 without a BSD.
 * The same source compiles on FreeBSD and macOS.
 *
 * A program includes <sys/event.h> as it would there, and is linked with kqueue.c, which includes
 * tell.h: these three files are all. KQUEUE_OVER_EPOLL is defined by this header alone, so that a
 * program can tell. The names and numbers are those of FreeBSD.
 *
 * If the environment variable KQUEUE_TRACE is set and not empty, strace sees what goes into each
 * kevent() call and what comes out: tell.h shows the texts.
 *
 * WHAT MAPS TO WHAT
 *   kqueue()       one epoll instance, R, whose descriptor is the kqueue; a second one, W, inside
 *                  it holds the WRITE filters. So READ and WRITE of one descriptor never mix.
 *   EVFILT_READ    EPOLLIN | EPOLLRDHUP in R. data: ioctl(FIONREAD), that is bytes; for a listening
 *                  TCP socket the finished connections that wait (TCP_INFO), for other listeners 1;
 *                  for a descriptor without FIONREAD (eventfd, another kqueue) 1.
 *   EVFILT_WRITE   EPOLLOUT in W. data: free bytes of the send buffer, an estimate, at least 1.
 *   EVFILT_TIMER   one timerfd each. data: expirations since the last report.
 *   EVFILT_SIGNAL  one signalfd per kqueue. data: signals since the last report.
 *   EVFILT_USER    a flag, and one eventfd per kqueue that wakes the waiting thread.
 *   EVFILT_VNODE   one inotify per kqueue, on /proc/self/fd/N: it follows the file, not the name.
 *   EVFILT_PROC    NOTE_EXIT only: a pidfd. data: the wait status if it is our child, else 0.
 *   EV_CLEAR       EPOLLET. EV_ADD, EV_ENABLE or any other change arms it again, as on FreeBSD.
 *   EV_DISPATCH    EPOLLONESHOT. EV_ONESHOT: the same, and the knote is deleted on delivery.
 *   EV_EOF         READ: EPOLLRDHUP or EPOLLHUP, and `data` still counts the unread bytes.
 *                  WRITE: EPOLLHUP, and for pipes EPOLLERR.
 *
 * WHAT IS REFUSED
 *   ENOTSUP   EVFILT_AIO; NOTE_LOWAT; READ or WRITE on a file that is always ready (regular files,
 *             directories, /dev/null); EVFILT_PROC with anything but NOTE_EXIT.
 *   EINVAL    an unknown filter; EV_ENABLE together with EV_DISABLE; VNODE on anything but a
 *             regular file or a directory; a timer with a negative time or an unknown NOTE_ bit;
 *             an impossible signal, SIGKILL or SIGSTOP; a bad timeout.
 *   Not here at all: NOTE_TRACK, NOTE_FORK, NOTE_EXEC, EVFILT_EXCEPT, EV_KEEPUDATA, kqueue1().
 *
 * WHAT DIFFERS FROM A BSD
 *   fflags of a socket event is always 0. A BSD puts the socket's error there. On Linux asking for
 *     the error takes it away, and recv() or getsockopt(SO_ERROR) would then report success. So
 *     the layer never asks: on EV_EOF recv(), send() or SO_ERROR say what happened.
 *   A closed descriptor's knotes go with it, as on a BSD. But epoll keeps the registration as long
 *     as a dup() or a forked child holds the same open file. The layer notices such leftovers when
 *     they report, and renews its epoll instance; an outer epoll or kqueue that watches this one
 *     loses it then. It cannot notice when the number is in use again and was not registered
 *     again. So EV_DELETE first if you dup() or fork().
 *   EVFILT_VNODE cannot see close(). A knote whose number names another file is dropped; one that
 *     was closed and opened again on the same file goes on.
 *   EVFILT_VNODE after more changes between two calls than fs.inotify.max_queued_events allows:
 *     NOTE_WRITE, NOTE_ATTRIB and NOTE_RENAME may be reported without reason, but none is lost.
 *   EV_ONESHOT events are checked again at delivery, as on macOS; elsewhere one may be stale.
 *   WRITE with EV_CLEAR fires again only after send() said EAGAIN, not on every acknowledgement.
 *   WRITE does not say EV_EOF after our own shutdown(SHUT_WR).
 *   A TCP socket that is neither connected nor connecting reports EV_EOF. Register after connect().
 *   EVFILT_SIGNAL BLOCKS the signal in the registering thread. A handler or a default action does
 *     not happen while it is watched. EV_DELETE unblocks it again, in the thread that deletes.
 *     Register before creating threads, so that all of them inherit the block. Several equal
 *     signals between two calls may count as one. Use kill(): a signal that pthread_kill() or
 *     raise() sends to one thread is seen only when that thread itself waits. The block outlives
 *     fork() and exec: a child that is to be ended by the signal has to unblock it.
 *   EVFILT_TIMER: data 0 counts as 1, as on FreeBSD; NOTE_ABSTIME is on CLOCK_REALTIME.
 *   EVFILT_USER: NOTE_TRIGGER in the change that creates the knote does not trigger, as on FreeBSD.
 *   EVFILT_VNODE: NOTE_DELETE comes when the last name is gone, before that NOTE_LINK. Removing a
 *     watched directory is not reported. NOTE_REVOKE never comes.
 *   udata is overwritten by every change, as on FreeBSD. Always pass it.
 *   The kqueue descriptor is close-on-exec. fork() lets the child inherit it, which a BSD does not:
 *     the child may close it, and must do nothing else with it.
 *   The layer cannot see close(kq). The next kqueue() call frees the memory and the helper
 *     descriptors (an eventfd; and on first use W, signalfd, inotify, and one for each timer and
 *     process). Until then kevent() may take changes for the closed number. And do not close a
 *     kqueue while another thread waits for it: a BSD wakes that thread, here it sleeps on.
 *   A dup() of a kqueue is no kqueue: EBADF.
 *   EVFILT_VNODE needs /proc mounted. EVFILT_PROC needs Linux 5.3 (older: ENOTSUP), and timeouts
 *     finer than a millisecond 5.11 (older: rounded up).
 *   One call delivers at most 512 events; the rest come with the next call.
 *
 * Safe for several threads on one kqueue. Needs -pthread. Manual page: kqueue(2) of FreeBSD. */
#ifndef KQUEUE_LINUX_SYS_EVENT_H
#define KQUEUE_LINUX_SYS_EVENT_H

#include <stdint.h>
#include <sys/types.h>
#include <time.h>

#ifdef __cplusplus
extern "C" {
#endif

#define KQUEUE_OVER_EPOLL 1

/* Filters: what is watched. ident is a descriptor, or what the comment says. */
#define EVFILT_READ   (-1)
#define EVFILT_WRITE  (-2)
#define EVFILT_AIO    (-3)  /* refused: ENOTSUP */
#define EVFILT_VNODE  (-4)  /* a file or directory, open */
#define EVFILT_PROC   (-5)  /* ident: a process id */
#define EVFILT_SIGNAL (-6)  /* ident: a signal number */
#define EVFILT_TIMER  (-7)  /* ident: any number, the program's choice */
#define EVFILT_USER   (-11) /* ident: any number, the program's choice */

/* Actions, in a change. */
#define EV_ADD     0x0001 /* create the knote, or check it again */
#define EV_DELETE  0x0002 /* remove the knote; close() does it for descriptors */
#define EV_ENABLE  0x0004 /* report it */
#define EV_DISABLE 0x0008 /* keep it, but do not report it */

/* How a knote reports, fixed when it is created. EV_RECEIPT is about this one change. */
#define EV_ONESHOT  0x0010 /* report once, then delete */
#define EV_CLEAR    0x0020 /* report a change of state once (edge-triggered) */
#define EV_RECEIPT  0x0040 /* answer the change with an EV_ERROR entry, data 0 for success */
#define EV_DISPATCH 0x0080 /* report once, then disable */

/* Answers, in an event. */
#define EV_ERROR 0x4000 /* data holds the errno of a change */
#define EV_EOF   0x8000 /* READ: the peer sends no more. WRITE: nobody reads any more */

/* READ and WRITE: refused with ENOTSUP. */
#define NOTE_LOWAT 0x0001

/* VNODE: what happened to the file. */
#define NOTE_DELETE 0x0001
#define NOTE_WRITE  0x0002
#define NOTE_EXTEND 0x0004
#define NOTE_ATTRIB 0x0008
#define NOTE_LINK   0x0010
#define NOTE_RENAME 0x0020
#define NOTE_REVOKE 0x0040 /* accepted, never reported */

/* PROC */
#define NOTE_EXIT 0x80000000U

/* TIMER: the unit of data. Without one of them: milliseconds. */
#define NOTE_SECONDS  0x0001
#define NOTE_MSECONDS 0x0002
#define NOTE_USECONDS 0x0004
#define NOTE_NSECONDS 0x0008
#define NOTE_ABSTIME  0x0010 /* a point in time since 1970, reported once */

/* USER: the low 24 bits are the program's; the top two say how a change combines them. */
#define NOTE_FFNOP      0x00000000U
#define NOTE_FFAND      0x40000000U
#define NOTE_FFOR       0x80000000U
#define NOTE_FFCOPY     0xc0000000U
#define NOTE_FFCTRLMASK 0xc0000000U
#define NOTE_FFLAGSMASK 0x00ffffffU
#define NOTE_TRIGGER    0x01000000U

/* One change, or one event. (ident, filter) is the key: it names one knote of a kqueue. */
struct kevent {
    uintptr_t ident;      /* descriptor, signal, process or number */
    short filter;         /* EVFILT_ */
    unsigned short flags; /* EV_ */
    unsigned int fflags;  /* NOTE_, by filter */
    int64_t data;         /* a count, by filter; errno in an EV_ERROR entry */
    void *udata;          /* the program's own; comes back with each event */
};

/* Fills the struct kevent that kevp points to. Arguments are evaluated once. */
#define EV_SET(kevp, a, b, c, d, e, f)                                                             \
    do {                                                                                           \
        struct kevent *ev_set_ = (kevp);                                                           \
        ev_set_->ident = (a);                                                                      \
        ev_set_->filter = (b);                                                                     \
        ev_set_->flags = (c);                                                                      \
        ev_set_->fflags = (d);                                                                     \
        ev_set_->data = (e);                                                                       \
        ev_set_->udata = (f);                                                                      \
    } while (0)

/* Makes a new, empty kqueue.
 *
 * Returns its descriptor (close-on-exec), which the caller ends with close(). poll(), epoll and
 * other kqueues can wait for it: it is readable while events are pending. It may be readable
 * without, as on a BSD, until a kevent() finds nothing. Here that happens after a signal or a
 * change of a file that a knote is disabled for or did not ask for, and after the hang-up of a
 * disabled READ or WRITE.
 *
 * Errors: -1 and errno EMFILE, ENFILE or ENOMEM. Manual page: kqueue(2). */
int kqueue(void);

/* Applies changes, then waits for events.
 *
 * Applies changelist[0..nchanges-1] in order. A change that fails, or bears EV_RECEIPT, is answered
 * with an entry in eventlist whose flags have EV_ERROR and whose data is the errno (0: success). If
 * there is any such entry, kevent() returns at once with these entries and nothing else. Without
 * room for the error, it returns -1 with that errno, and the rest of the changelist is not applied.
 *
 * Then it waits until at least one event is there and stores at most nevents of them. With
 * nevents 0 it does not wait. timeout is in seconds and nanoseconds; NULL waits forever, and {0, 0}
 * does not wait. Both lists belong to the caller and may be the same array.
 *
 * Returns the number of entries stored, 0 when the time is over, or -1 with errno: EBADF (kq is
 * no kqueue), EINTR (a signal handler ran), EINVAL (bad timeout or negative size), or the error
 * of a change: EBADF (no such descriptor), ENOENT (no such knote), ESRCH (no such process),
 * EINVAL and ENOTSUP (see above), ENOMEM, EMFILE. Manual page: kevent(2). */
int kevent(int kq, const struct kevent *changelist, int nchanges, struct kevent *eventlist,
           int nevents, const struct timespec *timeout);

#ifdef __cplusplus
}
#endif

#endif
