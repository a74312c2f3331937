/* kqueue() and kevent() for Linux, on top of epoll. sys/event.h says what maps to what, and what
 * does not; this file says how.
 *
 * A *knote* is one thing that a kqueue watches, named by (ident, filter). A descriptor's READ and
 * WRITE knotes live in a table indexed by the descriptor: 32 bytes for the two. All others are
 * allocated one by one and found through a hash. So finding a knote costs the same with ten as with
 * twenty thousand.
 *
 * With each event epoll gives back a 64-bit *tag*: what kind of thing is ready, its descriptor, and
 * a *generation*. Each knote gets a new generation when it is created. If an event has another
 * generation than the knote, it is stale: it was meant for a knote that is gone. That is how a
 * reused descriptor number never sees the events of the one before it.
 *
 * Read it from top to bottom: kqueues, knotes, the filters one after the other, then kevent(). */
#define _GNU_SOURCE
#include "sys/event.h"
#include "tell.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/sock_diag.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/ioctl.h>
#include <sys/signalfd.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <sys/timerfd.h>
#include <sys/wait.h>
#include <unistd.h>

#define MAX_BATCH   512    /* events of one kevent() call: 6 KiB of stack, and as much for W */
#define STALE_MAX   16     /* stale reports in a row before the epolls are renewed */
#define SIGNALS_MAX 65     /* signal numbers go from 1 to 64 */
#define LISTENER    0x0100 /* private flag of a READ knote: count connections, not bytes */
#define KNOTE_FLAGS (EV_ONESHOT | EV_CLEAR | EV_DISPATCH) /* fixed at its creation */

/* ---- The data -------------------------------------------------------------------------------- */

/* READ or WRITE of one descriptor. flags holds EV_ADD while it is in use, EV_DISABLE, and some of
 * KNOTE_FLAGS. */
struct half_knote {
    void *udata;
    uint32_t gen;
    uint16_t flags;
};

enum { READING, WRITING };

struct slot {
    struct half_knote half[2];
};

/* Every other knote. */
struct knote {
    struct knote *next_ident;  /* hash chains: by (ident, filter), and */
    struct knote *next_handle; /* by (handle, filter) */
    struct knote *prev, *next; /* the list of active knotes, oldest first */
    uintptr_t ident;
    int filter;
    int handle; /* TIMER: timerfd. PROC: pidfd. VNODE: inotify's number of the watch */
    void *udata;
    uint32_t gen;
    uint16_t flags;
    bool pending;      /* USER, SIGNAL, VNODE: something has happened and is not reported yet */
    bool queued;       /* is in the active list */
    uint32_t asked;    /* fflags of the program */
    uint32_t happened; /* VNODE: what to report */
    int64_t data;
    dev_t device; /* VNODE: which file it is, and how it was when we last looked */
    ino_t inode;
    nlink_t links;
    off_t size;
};

/* The active list holds the USER, SIGNAL and VNODE knotes that have something to report and are not
 * disabled. `wake`, an eventfd in R, is readable exactly while the list is not empty. */
struct kq {
    int fd;      /* R, an epoll: READ knotes, helpers, and W. This number is the kqueue */
    int writers; /* W, an epoll: WRITE knotes. -1 until first used, like signals and files */
    int wake;
    int signals; /* signalfd */
    int files;   /* inotify */
    bool raised; /* wake is readable */
    uint32_t gen;
    int stale;        /* reports for knotes that are gone, since the last good one */
    atomic_int users; /* threads inside kevent(), and one for the table below */
    pthread_mutex_t lock;
    struct slot *slots;
    size_t nslots;
    struct knote **by_ident, **by_handle;
    size_t nbuckets, nknotes;
    struct knote *first, *last;
    sigset_t watched;
    int stale_wakeup; /* an eventfd, always readable, in each epoll that was replaced */
};

/* What can be ready: the first part of a tag. */
enum kind {
    KIND_READ,
    KIND_WRITE,
    KIND_WRITERS,
    KIND_WAKE,
    KIND_TIMER,
    KIND_PROC,
    KIND_SIGNALS,
    KIND_FILES
};

#define GEN_MASK 0x0fffffffU

static uint64_t tag_make(enum kind kind, uint32_t gen, int fd)
{
    return (uint64_t)kind << 60 | (uint64_t)(gen & GEN_MASK) << 32 | (uint32_t)fd;
}

static enum kind tag_kind(uint64_t tag)
{
    return (enum kind)(tag >> 60);
}

static uint32_t tag_gen(uint64_t tag)
{
    return (uint32_t)(tag >> 32) & GEN_MASK;
}

static int tag_fd(uint64_t tag)
{
    return (int)(uint32_t)tag;
}

/* epoll_ctl(), but it returns the errno, or 0 for success. */
static int epoll_change(int epfd, int op, int fd, uint32_t interest, uint64_t tag)
{
    struct epoll_event event = {.events = interest, .data.u64 = tag};
    return epoll_ctl(epfd, op, fd, &event) == 0 ? 0 : errno;
}

static void close_if_open(int fd)
{
    if (fd >= 0)
        close(fd);
}

/* Puts a new descriptor of the kqueue's own into R and stores it in *member. fd may be -1, if the
 * call that should have made it has failed. Returns 0, or an errno; then fd is closed. */
static int helper_adopt(struct kq *kq, int *member, int fd, enum kind kind)
{
    if (fd < 0)
        return errno;
    int error = epoll_change(kq->fd, EPOLL_CTL_ADD, fd, EPOLLIN, tag_make(kind, 0, fd));
    if (error == 0)
        *member = fd;
    else
        close(fd);
    return error;
}

/* ---- All kqueues of the process -------------------------------------------------------------- */

/* A kqueue is known by its descriptor alone, so a table leads from the number to the struct. Lock
 * order: kqs_lock before a kqueue's own lock, never the other way round. */
static pthread_mutex_t kqs_lock = PTHREAD_MUTEX_INITIALIZER;
static struct kq **kqs;
static int nkqs;

static void knote_free(struct kq *kq, struct knote *kn);

/* The kqueue's own number is closed by now, and another file may have it. Signals and files go
 * first: in a forked child they are also the parent's, and what the parent watches must not change
 * when we free the knotes. */
static void kq_dispose(struct kq *kq)
{
    kq->fd = -1;
    close_if_open(kq->signals);
    close_if_open(kq->files);
    kq->signals = kq->files = -1;
    for (size_t i = 0; i < kq->nbuckets; i++)
        while (kq->by_ident[i])
            knote_free(kq, kq->by_ident[i]);
    close_if_open(kq->writers);
    close_if_open(kq->wake);
    close_if_open(kq->stale_wakeup);
    free(kq->slots);
    free(kq->by_ident);
    free(kq->by_handle);
    pthread_mutex_destroy(&kq->lock);
    free(kq);
}

/* The kqueue behind a descriptor, or NULL. The caller gives it back with kq_put(). */
static struct kq *kq_get(int fd)
{
    struct kq *kq = NULL;
    pthread_mutex_lock(&kqs_lock);
    if (fd >= 0 && fd < nkqs && kqs[fd]) {
        kq = kqs[fd];
        atomic_fetch_add(&kq->users, 1);
    }
    pthread_mutex_unlock(&kqs_lock);
    return kq;
}

static void kq_put(struct kq *kq)
{
    if (atomic_fetch_sub(&kq->users, 1) == 1) {
        int saved = errno;
        kq_dispose(kq);
        errno = saved;
    }
}

/* Nothing tells us when a kqueue is closed. So each kqueue() asks about all of them: is the wake
 * eventfd still in the epoll of that number? If another file has the number by now, the question
 * fails and does no harm. It is a plain syscall(), because ThreadSanitizer would report a data race
 * for another thread's descriptor. The caller holds kqs_lock. */
static void kqs_sweep(void)
{
    for (int fd = 0; fd < nkqs; fd++) {
        struct kq *kq = kqs[fd];
        if (!kq)
            continue;
        struct epoll_event same = {.events = EPOLLIN, .data.u64 = tag_make(KIND_WAKE, 0, kq->wake)};
        if (syscall(SYS_epoll_ctl, fd, EPOLL_CTL_MOD, kq->wake, &same) != 0) {
            kqs[fd] = NULL;
            kq_put(kq);
        }
    }
}

/* Enters a new kqueue into the table. Returns an errno. */
static int kqs_enter(struct kq *kq)
{
    pthread_mutex_lock(&kqs_lock);
    kqs_sweep();
    if (kq->fd >= nkqs) {
        int wanted = kq->fd + 64;
        struct kq **grown = realloc(kqs, (size_t)wanted * sizeof(struct kq *));
        if (!grown) {
            pthread_mutex_unlock(&kqs_lock);
            return ENOMEM;
        }
        memset(grown + nkqs, 0, (size_t)(wanted - nkqs) * sizeof(struct kq *));
        kqs = grown;
        nkqs = wanted;
    }
    kqs[kq->fd] = kq;
    pthread_mutex_unlock(&kqs_lock);
    return 0;
}

int kqueue(void)
{
    struct kq *kq = calloc(1, sizeof *kq);
    if (!kq)
        return -1;
    kq->writers = kq->wake = kq->signals = kq->files = kq->stale_wakeup = -1;
    sigemptyset(&kq->watched);
    atomic_init(&kq->users, 1);
    pthread_mutex_init(&kq->lock, NULL);
    kq->fd = epoll_create1(EPOLL_CLOEXEC);
    int error = kq->fd < 0 ? errno : 0;
    if (error == 0)
        error = helper_adopt(kq, &kq->wake, eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK), KIND_WAKE);
    if (error == 0)
        error = kqs_enter(kq);
    if (error == 0)
        return kq->fd;
    close_if_open(kq->fd);
    kq_dispose(kq);
    errno = error;
    return -1;
}

/* Makes `wake` readable while the active list has knotes. A function that changes the list ends
 * with a call of this. */
static void wake_update(struct kq *kq)
{
    bool wanted = kq->first;
    uint64_t one = 1;
    if (wanted == kq->raised)
        return;
    /* Neither can fail: the counter is 0 before the write and 1 before the read. */
    ssize_t done = wanted ? write(kq->wake, &one, sizeof one) : read(kq->wake, &one, sizeof one);
    (void)done;
    kq->raised = wanted;
}

/* ---- Finding knotes -------------------------------------------------------------------------- */

/* READ or WRITE of a descriptor if it is in use, else NULL. */
static struct half_knote *half_find(struct kq *kq, int fd, int which)
{
    if (fd < 0 || (size_t)fd >= kq->nslots)
        return NULL;
    struct half_knote *h = &kq->slots[fd].half[which];
    return h->flags & EV_ADD ? h : NULL;
}

/* The table reaches to the highest descriptor. It doubles each time, so that it seldom grows. */
static bool slots_grow(struct kq *kq, int fd)
{
    size_t wanted = kq->nslots > 0 ? kq->nslots : 64;
    if ((size_t)fd < kq->nslots)
        return true;
    while (wanted <= (size_t)fd)
        wanted *= 2;
    struct slot *grown = realloc(kq->slots, wanted * sizeof *grown);
    if (!grown)
        return false;
    memset(grown + kq->nslots, 0, (wanted - kq->nslots) * sizeof *grown);
    kq->slots = grown;
    kq->nslots = wanted;
    return true;
}

static size_t bucket_of(const struct kq *kq, uintptr_t key, int filter)
{
    uint64_t mixed = ((uint64_t)key ^ (uint64_t)(unsigned)filter << 48) * 0x9E3779B97F4A7C15U;
    return (size_t)(mixed >> 32) & (kq->nbuckets - 1);
}

static struct knote *knote_find(struct kq *kq, uintptr_t ident, int filter)
{
    if (kq->nbuckets == 0)
        return NULL;
    struct knote *kn = kq->by_ident[bucket_of(kq, ident, filter)];
    while (kn && (kn->ident != ident || kn->filter != filter))
        kn = kn->next_ident;
    return kn;
}

/* The first knote with this handle in the chain from kn on. Several VNODEs can share a handle. */
static struct knote *handle_next(struct knote *kn, int handle, int filter)
{
    while (kn && (kn->handle != handle || kn->filter != filter))
        kn = kn->next_handle;
    return kn;
}

static struct knote *handle_find(struct kq *kq, int handle, int filter)
{
    if (kq->nbuckets == 0)
        return NULL;
    return handle_next(kq->by_handle[bucket_of(kq, (uintptr_t)handle, filter)], handle, filter);
}

static void ident_link(struct kq *kq, struct knote *kn)
{
    struct knote **head = &kq->by_ident[bucket_of(kq, kn->ident, kn->filter)];
    kn->next_ident = *head;
    *head = kn;
}

static void handle_link(struct kq *kq, struct knote *kn)
{
    struct knote **head = &kq->by_handle[bucket_of(kq, (uintptr_t)kn->handle, kn->filter)];
    kn->next_handle = *head;
    *head = kn;
}

static void handle_unlink(struct kq *kq, struct knote *kn)
{
    if (kn->handle < 0)
        return;
    struct knote **at = &kq->by_handle[bucket_of(kq, (uintptr_t)kn->handle, kn->filter)];
    while (*at != kn)
        at = &(*at)->next_handle;
    *at = kn->next_handle;
    kn->handle = -1;
}

/* Makes room for one more knote: the hash has at least as many buckets as knotes. */
static bool hash_grow(struct kq *kq)
{
    if (kq->nknotes < kq->nbuckets)
        return true;
    size_t old = kq->nbuckets, wanted = old > 0 ? old * 2 : 16;
    struct knote **idents = calloc(wanted, sizeof(struct knote *));
    struct knote **handles = calloc(wanted, sizeof(struct knote *));
    if (!idents || !handles) {
        free(idents);
        free(handles);
        return false;
    }
    struct knote **old_idents = kq->by_ident;
    free(kq->by_handle);
    kq->by_ident = idents;
    kq->by_handle = handles;
    kq->nbuckets = wanted;
    for (size_t i = 0; i < old; i++) {
        struct knote *next;
        for (struct knote *kn = old_idents[i]; kn; kn = next) {
            next = kn->next_ident;
            ident_link(kq, kn);
            if (kn->handle >= 0)
                handle_link(kq, kn);
        }
    }
    free(old_idents);
    return true;
}

/* ---- The active list ------------------------------------------------------------------------- */

static void active_add(struct kq *kq, struct knote *kn)
{
    if (kn->queued || !kn->pending || (kn->flags & EV_DISABLE))
        return;
    kn->queued = true;
    kn->next = NULL;
    kn->prev = kq->last;
    if (kq->last)
        kq->last->next = kn;
    else
        kq->first = kn;
    kq->last = kn;
}

static void active_remove(struct kq *kq, struct knote *kn)
{
    if (!kn->queued)
        return;
    kn->queued = false;
    if (kn->prev)
        kn->prev->next = kn->next;
    else
        kq->first = kn->next;
    if (kn->next)
        kn->next->prev = kn->prev;
    else
        kq->last = kn->prev;
}

/* ---- READ and WRITE -------------------------------------------------------------------------- */

/* What to tell epoll. A disabled knote stays registered, so that close() still removes it. */
static uint32_t half_interest(const struct half_knote *h, int which)
{
    /* epoll always reports EPOLLHUP and EPOLLERR. With EPOLLONESHOT it does so once at most. */
    if (h->flags & EV_DISABLE)
        return EPOLLONESHOT;
    uint32_t interest = which == READING ? EPOLLIN | EPOLLRDHUP : EPOLLOUT;
    if (h->flags & EV_CLEAR)
        interest |= EPOLLET;
    if (h->flags & (EV_ONESHOT | EV_DISPATCH))
        interest |= EPOLLONESHOT;
    return interest;
}

static int half_register(struct kq *kq, int op, int fd, int which, const struct half_knote *h)
{
    int epfd = which == READING ? kq->fd : kq->writers;
    enum kind kind = which == READING ? KIND_READ : KIND_WRITE;
    return epoll_change(epfd, op, fd, half_interest(h, which), tag_make(kind, h->gen, fd));
}

/* W exists from the first WRITE knote on. */
static int writers_open(struct kq *kq)
{
    if (kq->writers >= 0)
        return 0;
    return helper_adopt(kq, &kq->writers, epoll_create1(EPOLL_CLOEXEC), KIND_WRITERS);
}

static int half_create(struct kq *kq, const struct kevent *change, int fd, int which)
{
    if ((size_t)fd >= kq->nslots && fcntl(fd, F_GETFD) < 0)
        return EBADF; /* before the table grows to reach an impossible number */
    if (!slots_grow(kq, fd))
        return ENOMEM;
    int error = which == WRITING ? writers_open(kq) : 0;
    if (error != 0)
        return error;
    struct half_knote *h = &kq->slots[fd].half[which];
    h->udata = change->udata;
    h->gen = ++kq->gen & GEN_MASK;
    h->flags = (uint16_t)(EV_ADD | (change->flags & (KNOTE_FLAGS | EV_DISABLE)));
    error = half_register(kq, EPOLL_CTL_ADD, fd, which, h);
    if (error == EEXIST) /* closed while a dup() was open, and now duplicated back */
        error = half_register(kq, EPOLL_CTL_MOD, fd, which, h);
    if (error != 0)
        h->flags = 0;
    return error == EPERM ? ENOTSUP : error; /* EPERM: regular files are always ready */
}

static uint16_t flags_switched(uint16_t flags, uint16_t change)
{
    if (change & EV_DISABLE)
        return flags | EV_DISABLE;
    return change & EV_ENABLE ? (uint16_t)(flags & ~EV_DISABLE) : flags;
}

/* The errno of a change to a registration that epoll may have dropped. EPERM: the number is now
 * that of a file that is always ready, so what we look for is not there. */
static int half_error(int error)
{
    return error == EPERM ? ENOENT : error;
}

/* One change to READ or WRITE. The table may hold a knote whose descriptor has been closed since.
 * epoll dropped it then, and now says ENOENT or EBADF. That is when we drop ours, too. */
static int half_change(struct kq *kq, const struct kevent *change, int which)
{
    if (change->ident > INT_MAX)
        return EBADF;
    if (change->fflags & NOTE_LOWAT)
        return ENOTSUP;
    int fd = (int)change->ident;
    int error = ENOENT;
    struct half_knote *h = half_find(kq, fd, which);
    if (h && (change->flags & EV_DELETE)) {
        h->flags = 0;
        int epfd = which == READING ? kq->fd : kq->writers;
        return half_error(epoll_change(epfd, EPOLL_CTL_DEL, fd, 0, 0));
    }
    if (h) {
        struct half_knote changed = *h;
        changed.udata = change->udata;
        changed.flags = flags_switched(h->flags, change->flags);
        error = half_error(half_register(kq, EPOLL_CTL_MOD, fd, which, &changed));
        if (error == 0)
            *h = changed;
        else if (error == ENOENT || error == EBADF)
            h->flags = 0;
    }
    if (error != ENOENT)
        return error;
    if ((change->flags & (EV_ADD | EV_DELETE)) == EV_ADD)
        return half_create(kq, change, fd, which);
    return fcntl(fd, F_GETFD) < 0 ? EBADF : ENOENT;
}

/* READ: the bytes that wait, or the connections. False if the descriptor is closed. */
static bool read_fill(struct half_knote *h, int fd, uint32_t ready, struct kevent *event)
{
    int bytes = 0;
    struct tcp_info info;
    socklen_t size = sizeof info;
    if (ready & (EPOLLRDHUP | EPOLLHUP))
        event->flags |= EV_EOF;
    event->data = 1;
    if (!(h->flags & LISTENER)) {
        if (ioctl(fd, FIONREAD, &bytes) == 0) {
            event->data = bytes;
            return true;
        }
        if (errno != EINVAL)
            return errno != EBADF;
        h->flags |= LISTENER; /* a listening socket calls FIONREAD invalid */
    }
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &size) < 0)
        return errno != EBADF;
    if (info.tcpi_unacked > 1) /* of a listener: the length of its queue */
        event->data = info.tcpi_unacked;
    return true;
}

/* WRITE: the free space, about. False if the descriptor is closed. */
static bool write_fill(int fd, uint32_t ready, struct kevent *event)
{
    uint32_t memory[SK_MEMINFO_VARS] = {0};
    socklen_t size = sizeof memory;
    uint32_t eof = EPOLLHUP;
    int64_t room = 1;
    if (getsockopt(fd, SOL_SOCKET, SO_MEMINFO, memory, &size) == 0) {
        /* TCP counts its unsent bytes as queued, AF_UNIX as allocated. */
        uint32_t used = memory[SK_MEMINFO_WMEM_QUEUED];
        if (used < memory[SK_MEMINFO_WMEM_ALLOC])
            used = memory[SK_MEMINFO_WMEM_ALLOC];
        room = (int64_t)memory[SK_MEMINFO_SNDBUF] - used;
    } else if (errno == EBADF) {
        return false;
    } else if (errno == ENOTSOCK) {
        int used = 0;
        eof |= EPOLLERR; /* of a pipe: its reader is gone */
        if (ioctl(fd, FIONREAD, &used) == 0)
            room = (int64_t)fcntl(fd, F_GETPIPE_SZ) - used;
    }
    event->data = room > 0 ? room : 1;
    if (ready & eof)
        event->flags |= EV_EOF;
    return true;
}

/* Stores the event of one ready descriptor. Returns 1, or 0 if it is stale. */
static int half_deliver(struct kq *kq, const struct epoll_event *ready, int which,
                        struct kevent *event)
{
    int fd = tag_fd(ready->data.u64);
    struct half_knote *h = half_find(kq, fd, which);
    if (!h || h->gen != tag_gen(ready->data.u64)) {
        kq->stale++;
        return 0;
    }
    if (h->flags & EV_DISABLE)
        return 0;
    *event = (struct kevent){.ident = (uintptr_t)fd,
                             .filter = which == READING ? EVFILT_READ : EVFILT_WRITE,
                             .flags = h->flags & KNOTE_FLAGS,
                             .udata = h->udata};
    bool open = which == READING ? read_fill(h, fd, ready->events, event)
                                 : write_fill(fd, ready->events, event);
    if (!open) {
        h->flags = 0; /* closed, but a dup() keeps the registration alive: see kq_renew() */
        return 0;
    }
    if (h->flags & EV_ONESHOT) {
        h->flags = 0;
        epoll_change(which == READING ? kq->fd : kq->writers, EPOLL_CTL_DEL, fd, 0, 0);
    } else if (h->flags & EV_DISPATCH) {
        h->flags |= EV_DISABLE; /* EPOLLONESHOT has done the same in the kernel */
    }
    return 1;
}

/* W is ready: fetch its events, at most `room`. */
static int writers_deliver(struct kq *kq, struct kevent *events, int room)
{
    struct epoll_event ready[MAX_BATCH];
    int stored = 0;
    int n = epoll_wait(kq->writers, ready, room, 0);
    for (int i = 0; i < n; i++)
        stored += half_deliver(kq, &ready[i], WRITING, &events[stored]);
    return stored;
}

/* ---- Knotes with a descriptor of their own: TIMER and PROC ----------------------------------- */

static uint64_t helper_tag(const struct knote *kn)
{
    return tag_make(kn->filter == EVFILT_TIMER ? KIND_TIMER : KIND_PROC, kn->gen, kn->handle);
}

/* epoll always reports EPOLLHUP, of a process that was waited for: see half_interest(). */
static uint32_t helper_interest(const struct knote *kn)
{
    return kn->flags & EV_DISABLE ? EPOLLONESHOT : EPOLLIN;
}

/* close() alone would leave it in R as long as a forked child holds it. */
static void helper_close(struct kq *kq, struct knote *kn)
{
    int fd = kn->handle;
    if (fd < 0)
        return;
    handle_unlink(kq, kn);
    epoll_change(kq->fd, EPOLL_CTL_DEL, fd, 0, 0);
    close(fd);
}

/* Gives fd to the knote and puts it into R. On error fd is closed. */
static int helper_open(struct kq *kq, struct knote *kn, int fd)
{
    if (fd < 0)
        return errno;
    kn->handle = fd;
    handle_link(kq, kn);
    int error = epoll_change(kq->fd, EPOLL_CTL_ADD, fd, helper_interest(kn), helper_tag(kn));
    if (error != 0)
        helper_close(kq, kn);
    return error;
}

/* Units in a second, or 0 if the program named two units, or an unknown bit. */
static int64_t timer_units(uint32_t fflags)
{
    switch (fflags & ~(uint32_t)NOTE_ABSTIME) {
    case NOTE_SECONDS:
        return 1;
    case 0:
    case NOTE_MSECONDS:
        return 1000;
    case NOTE_USECONDS:
        return 1000000;
    case NOTE_NSECONDS:
        return 1000000000;
    default:
        return 0;
    }
}

/* EV_ADD of a timer: it starts from zero, also if it is there already. */
static int timer_set(struct kq *kq, struct knote *kn, const struct kevent *change)
{
    int64_t units = timer_units(change->fflags);
    uint32_t absolute = change->fflags & NOTE_ABSTIME;
    if (units == 0 || change->data < 0)
        return EINVAL;
    if (kn->handle >= 0 && (kn->asked & NOTE_ABSTIME) != absolute)
        helper_close(kq, kn); /* a timerfd cannot change its clock */
    if (kn->handle < 0) {
        clockid_t clock = absolute ? CLOCK_REALTIME : CLOCK_MONOTONIC;
        int error = helper_open(kq, kn, timerfd_create(clock, TFD_CLOEXEC | TFD_NONBLOCK));
        if (error != 0)
            return error;
    }
    int64_t data = change->data > 0 ? change->data : 1; /* 0 would stop a timerfd */
    struct itimerspec when = {0};
    when.it_value.tv_sec = (time_t)(data / units);
    when.it_value.tv_nsec = (long)(data % units * (1000000000 / units));
    if (!absolute && !(kn->flags & EV_ONESHOT))
        when.it_interval = when.it_value;
    kn->asked = change->fflags;
    return timerfd_settime(kn->handle, absolute ? TFD_TIMER_ABSTIME : 0, &when, NULL) < 0 ? errno
                                                                                          : 0;
}

static int proc_set(struct kq *kq, struct knote *kn, const struct kevent *change)
{
    if (change->fflags != NOTE_EXIT)
        return ENOTSUP;
    if (kn->handle >= 0)
        return 0;
    if (kn->ident == 0 || kn->ident > INT_MAX)
        return ESRCH;
    int fd = (int)syscall(SYS_pidfd_open, (pid_t)kn->ident, 0);
    if (fd < 0)
        return errno == ENOSYS ? ENOTSUP : errno;
    return helper_open(kq, kn, fd);
}

/* The exit status as waitpid() would store it. It stays there for the program's own waitpid(). */
static int proc_status(pid_t pid)
{
    siginfo_t info = {0};
    if (waitid(P_PID, (id_t)pid, &info, WEXITED | WNOWAIT | WNOHANG) < 0 || info.si_pid != pid)
        return 0; /* not our child */
    if (info.si_code == CLD_EXITED)
        return (info.si_status & 0xff) << 8;
    return info.si_status | (info.si_code == CLD_DUMPED ? 0x80 : 0);
}

static void knote_switch(struct kq *kq, struct knote *kn, uint16_t change);

/* A timerfd or a pidfd is ready. Returns 1, or 0 if it was stale or another thread was faster. */
static int helper_deliver(struct kq *kq, uint64_t tag, int filter, struct kevent *event)
{
    struct knote *kn = handle_find(kq, tag_fd(tag), filter);
    if (!kn || kn->gen != tag_gen(tag) || (kn->flags & EV_DISABLE))
        return 0;
    uint64_t count = 0;
    *event = (struct kevent){.ident = kn->ident,
                             .filter = (short)filter,
                             .flags = kn->flags & KNOTE_FLAGS,
                             .udata = kn->udata};
    if (filter == EVFILT_PROC) {
        event->flags |= EV_EOF;
        event->fflags = NOTE_EXIT;
        event->data = proc_status((pid_t)kn->ident);
    } else {
        if (read(kn->handle, &count, sizeof count) != (ssize_t)sizeof count)
            return 0;
        event->data = (int64_t)count;
    }
    if ((kn->flags & EV_ONESHOT) || filter == EVFILT_PROC)
        knote_free(kq, kn);
    else if (kn->flags & EV_DISPATCH)
        knote_switch(kq, kn, EV_DISABLE);
    return 1;
}

/* ---- SIGNAL ---------------------------------------------------------------------------------- */

/* A signalfd only sees signals that are blocked. So the first kqueue that watches a signal blocks
 * it, and the last one unblocks it, unless the program itself had blocked it before. sig_lock is
 * taken last. */
static pthread_mutex_t sig_lock = PTHREAD_MUTEX_INITIALIZER;
static int sig_watchers[SIGNALS_MAX];
static bool sig_ours[SIGNALS_MAX];

static void signal_block(int signo)
{
    sigset_t one, before;
    sigemptyset(&one);
    sigaddset(&one, signo);
    pthread_mutex_lock(&sig_lock);
    pthread_sigmask(SIG_BLOCK, &one, &before);
    if (sig_watchers[signo]++ == 0)
        sig_ours[signo] = sigismember(&before, signo) == 0;
    pthread_mutex_unlock(&sig_lock);
}

static void signal_unblock(int signo)
{
    sigset_t one;
    sigemptyset(&one);
    sigaddset(&one, signo);
    pthread_mutex_lock(&sig_lock);
    if (--sig_watchers[signo] == 0 && sig_ours[signo])
        pthread_sigmask(SIG_UNBLOCK, &one, NULL);
    pthread_mutex_unlock(&sig_lock);
}

/* Tells the signalfd which signals are wanted. The first call creates it. */
static int signals_update(struct kq *kq)
{
    int fd = signalfd(kq->signals, &kq->watched, SFD_CLOEXEC | SFD_NONBLOCK);
    if (kq->signals >= 0)
        return fd < 0 ? errno : 0;
    return helper_adopt(kq, &kq->signals, fd, KIND_SIGNALS);
}

static int signal_set(struct kq *kq, struct knote *kn)
{
    int signo = (int)kn->ident;
    if (kn->ident == 0 || kn->ident >= SIGNALS_MAX || signo == SIGKILL || signo == SIGSTOP)
        return EINVAL;
    if (sigismember(&kq->watched, signo))
        return 0;
    if (sigaddset(&kq->watched, signo) < 0)
        return EINVAL; /* the two or three signals that the C library keeps for itself */
    int error = signals_update(kq);
    if (error != 0)
        sigdelset(&kq->watched, signo);
    else
        signal_block(signo);
    return error;
}

static void signal_unset(struct kq *kq, struct knote *kn)
{
    int signo = (int)kn->ident;
    if (kn->ident >= SIGNALS_MAX || sigismember(&kq->watched, signo) != 1)
        return;
    sigdelset(&kq->watched, signo);
    if (kq->signals >= 0)
        signals_update(kq);
    signal_unblock(signo);
}

/* Takes the signals that wait and counts them in every kqueue that watches them, because a signal
 * that is read from one signalfd is gone from all the others. The caller holds no lock. */
static void signals_take(int fd)
{
    struct signalfd_siginfo info[16];
    ssize_t n;
    pthread_mutex_lock(&kqs_lock);
    while ((n = read(fd, info, sizeof info)) > 0) {
        for (size_t i = 0; i < (size_t)n / sizeof info[0]; i++) {
            for (int k = 0; k < nkqs; k++) {
                struct kq *kq = kqs[k];
                if (!kq)
                    continue;
                pthread_mutex_lock(&kq->lock);
                struct knote *kn = knote_find(kq, info[i].ssi_signo, EVFILT_SIGNAL);
                if (kn) {
                    kn->pending = true;
                    kn->data++;
                    active_add(kq, kn);
                    wake_update(kq);
                }
                pthread_mutex_unlock(&kq->lock);
            }
        }
    }
    pthread_mutex_unlock(&kqs_lock);
}

/* ---- USER ------------------------------------------------------------------------------------ */

static void user_touch(struct knote *kn, const struct kevent *change, bool created)
{
    uint32_t bits = change->fflags & NOTE_FFLAGSMASK;
    kn->data = change->data;
    if (created) {
        kn->asked = bits;
        return;
    }
    switch (change->fflags & NOTE_FFCTRLMASK) {
    case NOTE_FFAND:
        kn->asked &= bits;
        break;
    case NOTE_FFOR:
        kn->asked |= bits;
        break;
    case NOTE_FFCOPY:
        kn->asked = bits;
        break;
    default:
        break;
    }
    if (change->fflags & NOTE_TRIGGER)
        kn->pending = true;
}

/* ---- VNODE ----------------------------------------------------------------------------------- */

#define DIRECTORY_CHANGED (IN_CREATE | IN_DELETE | IN_MOVED_FROM | IN_MOVED_TO)

/* A VNODE knote is stale when its descriptor was closed, or now leads to another file. */
static bool vnode_stale(const struct knote *kn, struct stat *now)
{
    return fstat((int)kn->ident, now) < 0 || now->st_ino != kn->inode || now->st_dev != kn->device;
}

/* inotify reported about the file of this knote: translate. */
static void vnode_event(struct kq *kq, struct knote *kn, uint32_t mask)
{
    struct stat now;
    uint32_t what = 0;
    if (vnode_stale(kn, &now)) {
        knote_free(kq, kn);
        return;
    }
    if (mask & (DIRECTORY_CHANGED | IN_MODIFY))
        what |= NOTE_WRITE;
    /* Only IN_MODIFY updates the size: chmod() and then write() are two events, and the file has
     * grown before we see the first. */
    if (mask & IN_MODIFY) {
        if (now.st_size > kn->size)
            what |= NOTE_EXTEND;
        kn->size = now.st_size;
    }
    if (mask & IN_MOVE_SELF)
        what |= NOTE_RENAME;
    /* IN_DELETE_SELF would come only after the last close(), which includes ours. */
    if (now.st_nlink != kn->links)
        what |= now.st_nlink == 0 ? NOTE_DELETE : NOTE_LINK;
    else if (mask & IN_ATTRIB)
        what |= NOTE_ATTRIB;
    kn->links = now.st_nlink;
    kn->happened |= what & kn->asked;
    kn->pending = kn->happened != 0;
    active_add(kq, kn);
}

/* inotify's queue was full, and events were lost. So we report of each file all that may have
 * happened to it. */
static void files_lost(struct kq *kq)
{
    struct knote *next;
    for (size_t i = 0; i < kq->nbuckets; i++) {
        for (struct knote *kn = kq->by_ident[i]; kn; kn = next) {
            next = kn->next_ident;
            if (kn->filter == EVFILT_VNODE)
                vnode_event(kq, kn, IN_MODIFY | IN_ATTRIB | IN_MOVE_SELF);
        }
    }
}

static void file_event(struct kq *kq, const struct inotify_event *e)
{
    struct knote *next;
    if (e->mask & IN_Q_OVERFLOW)
        files_lost(kq);
    /* inotify also reports what is written to the files in a watched directory, with a name. */
    if (e->len > 0 && !(e->mask & DIRECTORY_CHANGED))
        return;
    for (struct knote *kn = handle_find(kq, e->wd, EVFILT_VNODE); kn; kn = next) {
        next = handle_next(kn->next_handle, e->wd, EVFILT_VNODE);
        /* IN_IGNORED: the file is gone, and not open anywhere. Another may get its inode. */
        if (e->mask & IN_IGNORED)
            knote_free(kq, kn);
        else
            vnode_event(kq, kn, e->mask);
    }
}

/* Reads inotify's events, and puts their knotes into the active list. */
static void files_take(struct kq *kq)
{
    _Alignas(struct inotify_event) char buffer[4096];
    ssize_t n;
    while (kq->files >= 0 && (n = read(kq->files, buffer, sizeof buffer)) > 0) {
        const struct inotify_event *e;
        for (char *at = buffer; at < buffer + n; at += sizeof *e + e->len) {
            e = (const struct inotify_event *)(const void *)at;
            file_event(kq, e);
        }
    }
}

static int files_open(struct kq *kq)
{
    if (kq->files >= 0)
        return 0;
    return helper_adopt(kq, &kq->files, inotify_init1(IN_CLOEXEC | IN_NONBLOCK), KIND_FILES);
}

static int vnode_set(struct kq *kq, struct knote *kn, const struct kevent *change)
{
    struct stat now;
    char path[32];
    kn->asked = change->fflags;
    if (kn->handle >= 0)
        return 0;
    if (kn->ident > INT_MAX || fstat((int)kn->ident, &now) < 0)
        return EBADF;
    if (!S_ISREG(now.st_mode) && !S_ISDIR(now.st_mode))
        return EINVAL;
    int error = files_open(kq);
    if (error != 0)
        return error;
    snprintf(path, sizeof path, "/proc/self/fd/%d", (int)kn->ident);
    int watch = inotify_add_watch(kq->files, path,
                                  IN_MODIFY | IN_ATTRIB | IN_MOVE_SELF | DIRECTORY_CHANGED);
    if (watch < 0)
        return errno;
    kn->handle = watch;
    handle_link(kq, kn);
    kn->device = now.st_dev;
    kn->inode = now.st_ino;
    kn->links = now.st_nlink;
    kn->size = now.st_size;
    return 0;
}

static void vnode_unset(struct kq *kq, struct knote *kn)
{
    int watch = kn->handle;
    handle_unlink(kq, kn);
    if (watch >= 0 && kq->files >= 0 && handle_find(kq, watch, EVFILT_VNODE) == NULL)
        inotify_rm_watch(kq->files, watch);
}

/* ---- Changes to all but READ and WRITE ------------------------------------------------------- */

static void knote_free(struct kq *kq, struct knote *kn)
{
    if (kn->filter == EVFILT_SIGNAL)
        signal_unset(kq, kn);
    else if (kn->filter == EVFILT_VNODE)
        vnode_unset(kq, kn);
    else
        helper_close(kq, kn);
    active_remove(kq, kn);
    struct knote **at = &kq->by_ident[bucket_of(kq, kn->ident, kn->filter)];
    while (*at != kn)
        at = &(*at)->next_ident;
    *at = kn->next_ident;
    kq->nknotes--;
    free(kn);
}

static struct knote *knote_new(struct kq *kq, const struct kevent *change)
{
    struct knote *kn = hash_grow(kq) ? calloc(1, sizeof *kn) : NULL;
    if (!kn)
        return NULL;
    kn->ident = change->ident;
    kn->filter = change->filter;
    kn->handle = -1;
    kn->gen = ++kq->gen & GEN_MASK;
    kn->flags = change->flags & (KNOTE_FLAGS | EV_DISABLE);
    if (kn->filter == EVFILT_SIGNAL || kn->filter == EVFILT_TIMER)
        kn->flags |= EV_CLEAR;
    ident_link(kq, kn);
    kq->nknotes++;
    return kn;
}

/* EV_ENABLE and EV_DISABLE. */
static void knote_switch(struct kq *kq, struct knote *kn, uint16_t change)
{
    kn->flags = flags_switched(kn->flags, change);
    bool disabled = (kn->flags & EV_DISABLE) != 0;
    if (kn->filter == EVFILT_TIMER || kn->filter == EVFILT_PROC)
        epoll_change(kq->fd, EPOLL_CTL_MOD, kn->handle, helper_interest(kn), helper_tag(kn));
    else if (disabled)
        active_remove(kq, kn);
    else
        active_add(kq, kn);
}

/* The filter's own part of EV_ADD; USER has one for every change. Returns an errno. */
static int knote_set(struct kq *kq, struct knote *kn, const struct kevent *change, bool created)
{
    bool add = (change->flags & EV_ADD) != 0;
    switch (kn->filter) {
    case EVFILT_TIMER:
        return add ? timer_set(kq, kn, change) : 0;
    case EVFILT_PROC:
        return add ? proc_set(kq, kn, change) : 0;
    case EVFILT_SIGNAL:
        return add ? signal_set(kq, kn) : 0;
    case EVFILT_VNODE:
        return add ? vnode_set(kq, kn, change) : 0;
    default:
        user_touch(kn, change, created);
        return 0;
    }
}

static int knote_change(struct kq *kq, const struct kevent *change)
{
    struct stat now;
    bool created = false;
    if (change->filter == EVFILT_VNODE)
        files_take(kq); /* a new knote must not report what happened before it */
    struct knote *kn = knote_find(kq, change->ident, change->filter);
    if (kn && kn->filter == EVFILT_VNODE && vnode_stale(kn, &now)) {
        knote_free(kq, kn);
        kn = NULL;
    }
    if (!kn) {
        bool by_fd = change->filter == EVFILT_VNODE;
        if (by_fd && (change->ident > INT_MAX || fcntl((int)change->ident, F_GETFD) < 0))
            return EBADF;
        if ((change->flags & (EV_ADD | EV_DELETE)) != EV_ADD)
            return ENOENT;
        kn = knote_new(kq, change);
        if (!kn)
            return ENOMEM;
        created = true;
    } else if (change->flags & EV_DELETE) {
        knote_free(kq, kn);
        return 0;
    }
    int error = knote_set(kq, kn, change, created);
    if (error != 0) {
        if (created)
            knote_free(kq, kn);
        return error;
    }
    kn->udata = change->udata;
    knote_switch(kq, kn, change->flags);
    return 0;
}

/* One entry of a changelist. Returns an errno. */
static int change_apply(struct kq *kq, const struct kevent *change)
{
    int error;
    if ((change->flags & EV_ENABLE) && (change->flags & EV_DISABLE))
        return EINVAL;
    switch (change->filter) {
    case EVFILT_READ:
        return half_change(kq, change, READING);
    case EVFILT_WRITE:
        return half_change(kq, change, WRITING);
    case EVFILT_TIMER:
    case EVFILT_PROC:
    case EVFILT_SIGNAL:
    case EVFILT_USER:
    case EVFILT_VNODE:
        error = knote_change(kq, change);
        wake_update(kq);
        return error;
    case EVFILT_AIO:
        return ENOTSUP;
    default:
        return EINVAL;
    }
}

/* ---- Delivery -------------------------------------------------------------------------------- */

/* Stores the event of one active knote, and does what its flags ask for. Returns 1, or 0 if the
 * knote is stale. */
static int active_store(struct kq *kq, struct knote *kn, struct kevent *event)
{
    struct stat now;
    if (kn->filter == EVFILT_VNODE && vnode_stale(kn, &now)) {
        knote_free(kq, kn);
        return 0;
    }
    active_remove(kq, kn);
    *event = (struct kevent){.ident = kn->ident,
                             .filter = (short)kn->filter,
                             .flags = kn->flags & KNOTE_FLAGS,
                             .fflags = kn->filter == EVFILT_USER ? kn->asked : kn->happened,
                             .data = kn->data,
                             .udata = kn->udata};
    if (kn->flags & EV_ONESHOT) {
        knote_free(kq, kn);
        return 1;
    }
    if (kn->flags & EV_CLEAR) {
        kn->pending = false;
        kn->happened = 0;
        kn->data = 0;
    }
    if (kn->flags & EV_DISPATCH)
        kn->flags |= EV_DISABLE;
    active_add(kq, kn); /* if it is still pending: to the end of the list, after the others */
    return 1;
}

static int active_deliver(struct kq *kq, struct kevent *events, int room)
{
    int stored = 0;
    files_take(kq);
    struct knote *last = kq->last, *next;
    for (struct knote *kn = kq->first; kn && stored < room; kn = next) {
        next = kn == last ? NULL : kn->next;
        stored += active_store(kq, kn, &events[stored]);
    }
    wake_update(kq);
    return stored;
}

/* Turns what epoll has reported into events. We asked R for no more than fits, so each entry has
 * room for one event. W and the active list may stand for many events, and get the room that the
 * rest does not need. An event without room stays where it is, and comes with the next call. */
static int deliver(struct kq *kq, const struct epoll_event *ready, int n, struct kevent *events,
                   int room)
{
    int stored = 0;
    bool active = false;
    for (int i = 0; i < n; i++) {
        uint64_t tag = ready[i].data.u64;
        int spare = room - stored - (n - i - 1);
        switch (tag_kind(tag)) {
        case KIND_READ:
            stored += half_deliver(kq, &ready[i], READING, &events[stored]);
            break;
        case KIND_WRITE: /* in W, never in R */
            break;
        case KIND_WRITERS:
            stored += writers_deliver(kq, &events[stored], spare);
            break;
        case KIND_TIMER:
            stored += helper_deliver(kq, tag, EVFILT_TIMER, &events[stored]);
            break;
        case KIND_PROC:
            stored += helper_deliver(kq, tag, EVFILT_PROC, &events[stored]);
            break;
        case KIND_WAKE:
        case KIND_SIGNALS:
        case KIND_FILES:
            if (!active) /* twice would report a level knote twice */
                stored += active_deliver(kq, &events[stored], spare);
            active = true;
            break;
        }
    }
    return stored;
}

/* ---- Renewing the epolls --------------------------------------------------------------------- */

/* epoll drops a registration when the *file* is closed, not when the number is. If a dup() holds
 * the file, the registration stays, and reports. We cannot remove it, because the number that names
 * it is gone. kevent() skips these reports, but they would wake it forever. So we put a new epoll
 * in the place of the old one, and move all that is still good. */
static bool halves_move(struct kq *kq, int which, int from, int to)
{
    enum kind kind = which == READING ? KIND_READ : KIND_WRITE;
    for (int fd = 0; (size_t)fd < kq->nslots; fd++) {
        struct half_knote *h = half_find(kq, fd, which);
        if (!h)
            continue;
        uint32_t interest = half_interest(h, which);
        uint64_t tag = tag_make(kind, h->gen, fd);
        /* The old epoll knows whether the number still names the file that was registered. */
        if (epoll_change(from, EPOLL_CTL_MOD, fd, interest, tag) != 0)
            h->flags = 0;
        else if (epoll_change(to, EPOLL_CTL_ADD, fd, interest, tag) != 0)
            return false;
    }
    return true;
}

static bool helpers_move(struct kq *kq, int to, int writers)
{
    const uint64_t own[] = {tag_make(KIND_WAKE, 0, kq->wake),
                            tag_make(KIND_SIGNALS, 0, kq->signals),
                            tag_make(KIND_FILES, 0, kq->files), tag_make(KIND_WRITERS, 0, writers)};
    for (size_t i = 0; i < sizeof own / sizeof own[0]; i++)
        if (tag_fd(own[i]) >= 0 &&
            epoll_change(to, EPOLL_CTL_ADD, tag_fd(own[i]), EPOLLIN, own[i]) != 0)
            return false;
    for (size_t i = 0; i < kq->nbuckets; i++)
        for (struct knote *kn = kq->by_ident[i]; kn; kn = kn->next_ident)
            if ((kn->filter == EVFILT_TIMER || kn->filter == EVFILT_PROC) &&
                epoll_change(to, EPOLL_CTL_ADD, kn->handle, helper_interest(kn), helper_tag(kn)))
                return false;
    return true;
}

/* Both epolls are replaced when everything has moved, or not at all. If memory is out, to be woken
 * in vain for a while is better than to lose a knote. */
static void kq_renew(struct kq *kq)
{
    int readers = epoll_create1(EPOLL_CLOEXEC);
    int writers = epoll_create1(EPOLL_CLOEXEC);
    if (kq->stale_wakeup < 0)
        kq->stale_wakeup = eventfd(1, EFD_CLOEXEC | EFD_NONBLOCK);
    /* Threads that sleep in the old epoll have to come over: this wakes them all. */
    uint64_t wakeup = tag_make(KIND_WAKE, 0, kq->stale_wakeup);
    if (readers >= 0 && writers >= 0 && halves_move(kq, READING, kq->fd, readers) &&
        halves_move(kq, WRITING, kq->writers, writers) &&
        helpers_move(kq, readers, kq->writers >= 0 ? writers : -1) &&
        epoll_change(kq->fd, EPOLL_CTL_ADD, kq->stale_wakeup, EPOLLIN, wakeup) == 0) {
        if (kq->writers >= 0)
            dup3(writers, kq->writers, O_CLOEXEC);
        dup3(readers, kq->fd, O_CLOEXEC);
    }
    close_if_open(readers);
    close_if_open(writers);
    kq->stale = 0;
}

/* ---- kevent() -------------------------------------------------------------------------------- */

/* epoll_wait() with a timespec; NULL is forever. */
static int wait_ready(int epfd, struct epoll_event *ready, int max, const struct timespec *left)
{
    if (!left)
        return epoll_wait(epfd, ready, max, -1);
    if (left->tv_sec == 0 && left->tv_nsec == 0)
        return epoll_wait(epfd, ready, max, 0);
#ifdef SYS_epoll_pwait2
    const int64_t exact[2] = {left->tv_sec, left->tv_nsec}; /* as the kernel wants it */
    int n = (int)syscall(SYS_epoll_pwait2, epfd, ready, max, exact, NULL, 0);
    if (n >= 0 || (errno != ENOSYS && errno != EPERM))
        return n;
#endif
    /* An older kernel, or a sandbox: whole milliseconds, rounded up, so as not to end too early. */
    if (left->tv_sec >= INT_MAX / 1000)
        return epoll_wait(epfd, ready, max, INT_MAX);
    return epoll_wait(epfd, ready, max,
                      (int)(left->tv_sec * 1000 + (left->tv_nsec + 999999) / 1000000));
}

/* Nanoseconds on a clock that nobody sets. */
static int64_t clock_now(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000000000 + now.tv_nsec;
}

/* The end of a delay. 30 years are as good as forever, and do not overflow. */
static int64_t clock_after(const struct timespec *delay)
{
    int64_t seconds = delay->tv_sec < 1000000000 ? delay->tv_sec : 1000000000;
    return clock_now() + seconds * 1000000000 + delay->tv_nsec;
}

static struct timespec time_until(int64_t deadline)
{
    int64_t left = deadline - clock_now();
    if (left < 0)
        left = 0;
    return (struct timespec){.tv_sec = (time_t)(left / 1000000000),
                             .tv_nsec = (long)(left % 1000000000)};
}

/* Waits until there is at least one event. That takes one round, or more if all were stale. */
static int collect(struct kq *kq, struct kevent *events, int max, const struct timespec *timeout)
{
    struct epoll_event ready[MAX_BATCH];
    struct timespec left = {0, 0};
    int64_t deadline = 0;
    bool limited = timeout && (timeout->tv_sec != 0 || timeout->tv_nsec != 0);
    if (max > MAX_BATCH)
        max = MAX_BATCH;
    if (limited) {
        deadline = clock_after(timeout);
        left = *timeout;
    }
    for (;;) {
        int n = wait_ready(kq->fd, ready, max, timeout ? &left : NULL);
        if (n <= 0)
            return n;
        for (int i = 0; i < n; i++)
            if (tag_kind(ready[i].data.u64) == KIND_SIGNALS)
                signals_take(tag_fd(ready[i].data.u64));
        pthread_mutex_lock(&kq->lock);
        int stored = deliver(kq, ready, n, events, max);
        if (stored == 0 && kq->stale >= STALE_MAX)
            kq_renew(kq);
        if (stored > 0)
            kq->stale = 0;
        pthread_mutex_unlock(&kq->lock);
        if (stored > 0)
            return stored;
        if (limited)
            left = time_until(deadline);
    }
}

/* Applies the changelist. Returns the entries stored, or -1 and errno. */
static int changes(struct kq *kq, const struct kevent *list, int n, struct kevent *events, int max)
{
    int stored = 0, failed = 0;
    pthread_mutex_lock(&kq->lock);
    for (int i = 0; i < n && failed == 0; i++) {
        struct kevent change = list[i]; /* a copy: events may be the same array */
        int error = change_apply(kq, &change);
        if (error == 0 && !(change.flags & EV_RECEIPT))
            continue;
        if (stored == max) {
            failed = error;
            if (error == 0)
                break;
        } else {
            change.flags = EV_ERROR;
            change.data = error;
            events[stored++] = change;
        }
    }
    pthread_mutex_unlock(&kq->lock);
    if (failed == 0)
        return stored;
    errno = failed;
    return -1;
}

static bool time_valid(const struct timespec *t)
{
    return !t || (t->tv_sec >= 0 && t->tv_nsec >= 0 && t->tv_nsec < 1000000000);
}

static int change_and_collect(int fd, const struct kevent *changelist, int nchanges,
                              struct kevent *eventlist, int nevents, const struct timespec *timeout)
{
    if (nchanges < 0 || nevents < 0) {
        errno = EINVAL;
        return -1;
    }
    struct kq *kq = kq_get(fd);
    if (!kq) {
        errno = EBADF;
        return -1;
    }
    int n = nchanges > 0 ? changes(kq, changelist, nchanges, eventlist, nevents) : 0;
    if (n == 0 && nevents > 0) {
        if (time_valid(timeout)) {
            n = collect(kq, eventlist, nevents, timeout);
        } else {
            errno = EINVAL;
            n = -1;
        }
    }
    kq_put(kq);
    return n;
}

int kevent(int fd, const struct kevent *changelist, int nchanges, struct kevent *eventlist,
           int nevents, const struct timespec *timeout)
{
    if (!telling)
        return change_and_collect(fd, changelist, nchanges, eventlist, nevents, timeout);
    tell_begins(fd, changelist, nchanges, nevents, timeout);
    int n = change_and_collect(fd, changelist, nchanges, eventlist, nevents, timeout);
    tell_returns(fd, eventlist, n);
    return n;
}
