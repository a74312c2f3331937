/* See preload.h. */
#define _GNU_SOURCE
#include "preload.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <stddef.h>
#include <stdlib.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/socket.h>
#include <sys/syscall.h>
#include <time.h>
#include <unistd.h>

enum { DESCRIPTORS = 4096 };

static struct preload_hits *hits, nowhere;
static long receive_max, send_max, again_every, close_fails, watch_fails;
static long malloc_every, malloc_at;
static atomic_uint calls[DESCRIPTORS]; /* recv() and send(), by descriptor */
static atomic_bool accepting;
static atomic_int failed_listener = -1; /* whose accept() has failed */

static long setting(const char *name)
{
    const char *text = getenv(name);
    return text ? strtol(text, NULL, 10) : 0;
}

__attribute__((constructor)) static void read_settings(void)
{
    const char *path = getenv("FAULT_HITS");
    int fd = path ? open(path, O_RDWR | O_CLOEXEC) : -1;
    void *page = MAP_FAILED;
    if (fd >= 0) {
        page = mmap(NULL, sizeof *hits, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
        syscall(SYS_close, fd);
    }
    hits = page == MAP_FAILED ? &nowhere : page;
    receive_max = setting("FAULT_RECV");
    send_max = setting("FAULT_SEND");
    again_every = setting("FAULT_EAGAIN");
    close_fails = setting("FAULT_CLOSE");
    watch_fails = setting("FAULT_WATCH");
    malloc_every = setting("FAULT_MALLOC");
    malloc_at = setting("FAULT_MALLOC_AT");
}

/* What is left of length after the cut. */
static size_t cut(size_t length, long max)
{
    if (max <= 0 || length <= (size_t)max)
        return length;
    hits->count++;
    return (size_t)max;
}

static int says_again(int fd)
{
    if (again_every <= 0 || fd < 0 || fd >= DESCRIPTORS)
        return 0;
    if (++calls[fd] % (unsigned)again_every != 0)
        return 0;
    hits->count++;
    errno = EAGAIN;
    return 1;
}

ssize_t recv(int fd, void *bytes, size_t length, int flags)
{
    if (says_again(fd))
        return -1;
    return syscall(SYS_recvfrom, fd, bytes, cut(length, receive_max), flags, NULL, NULL);
}

/* Acts as if earlier bytes still filled the send buffer. poll() does not know that, so a server
 * asks again at once. We slow it down, but only now and then, because 03 and 04 look at the signals
 * once in a thousand turns. A blocking send() sleeps until a signal comes. */
static int no_room(int fd)
{
    enum { SLOW_MS = 1, AT_ONCE = 32 };
    if (!hits->full)
        return 0;
    hits->count++;
    if (fcntl(fd, F_GETFL) & O_NONBLOCK) {
        if (hits->count % AT_ONCE == 0)
            poll(NULL, 0, SLOW_MS);
        errno = EAGAIN;
    } else {
        poll(NULL, 0, -1);
        errno = EINTR;
    }
    return 1;
}

ssize_t send(int fd, const void *bytes, size_t length, int flags)
{
    if (no_room(fd) || says_again(fd))
        return -1;
    return syscall(SYS_sendto, fd, bytes, cut(length, send_max), flags, NULL, 0);
}

/* Acts as if the network had ended this client before accept(): its RST has arrived, say. */
static int lose(int client, int error)
{
    const struct linger at_once = {.l_onoff = 1, .l_linger = 0};
    setsockopt(client, SOL_SOCKET, SO_LINGER, &at_once, sizeof at_once);
    hits->count++; /* first: the client looks at it once it is closed */
    syscall(SYS_close, client);
    errno = error;
    return -1;
}

int accept4(int fd, struct sockaddr *address, socklen_t *length, int flags)
{
    accepting = 1;
    if (hits->accept_error) {
        hits->count++;
        failed_listener = fd;
        errno = hits->accept_error;
        return -1;
    }
    int client = (int)syscall(SYS_accept4, fd, address, length, flags);
    int lost = client < 0 ? 0 : atomic_exchange(&hits->loss_error, 0);
    return lost ? lose(client, lost) : client;
}

/* Only EPOLL_CTL_ADD needs memory: the kernel does not refuse the other two operations for that. */
int epoll_ctl(int epoll, int operation, int fd, struct epoll_event *event)
{
    if (operation == EPOLL_CTL_ADD && fd == failed_listener &&
        hits->watches_refused < watch_fails) {
        hits->watches_refused++;
        errno = ENOMEM;
        return -1;
    }
    return (int)syscall(SYS_epoll_ctl, epoll, operation, fd, event);
}

static void hold_up(void)
{
    const struct timespec moment = {.tv_nsec = 1000000};
    int before = errno, next = HOLD_NEXT;
    if (!atomic_compare_exchange_strong(&hits->holds, &next, HOLD_ON))
        return;
    hits->count++;
    while (hits->holds == HOLD_ON)
        nanosleep(&moment, NULL);
    errno = before;
}

int close(int fd)
{
    int result = (int)syscall(SYS_close, fd);
    hold_up();
    if (result < 0 && errno == EBADF && fd >= 0 && close_fails)
        abort(); /* closed twice: in between, another connection may have got the number */
    if (result == 0 && close_fails && accepting) {
        hits->count++;
        errno = EINTR;
        return -1;
    }
    return result;
}

#if defined __GLIBC__ && !defined __SANITIZE_ADDRESS__
void *__libc_malloc(size_t size);
void *__libc_calloc(size_t count, size_t size);
void *__libc_realloc(void *old, size_t size);

static int memory_is_out(void)
{
    static atomic_long requests;
    if (malloc_at <= 0 && (malloc_every <= 0 || !accepting))
        return 0;
    long request = ++requests;
    if (malloc_at > 0 ? request != malloc_at : request % malloc_every != 0)
        return 0;
    hits->count++;
    errno = ENOMEM;
    return 1;
}

void *malloc(size_t size)
{
    return memory_is_out() ? NULL : __libc_malloc(size);
}

void *calloc(size_t count, size_t size)
{
    return memory_is_out() ? NULL : __libc_calloc(count, size);
}

void *realloc(void *old, size_t size)
{
    return memory_is_out() ? NULL : __libc_realloc(old, size);
}
#endif
