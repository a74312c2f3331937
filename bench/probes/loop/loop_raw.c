/* The system calls themselves: select, poll, and epoll on Linux or kqueue on the BSDs. select gets
 * sets of our own, as large as need be: the kernel takes them, only the C library's type ends at
 * 1024. */
#include "loop.h"

#include <poll.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#ifdef __linux__
#include <sys/epoll.h>
#else
#include <sys/types.h>

#include <sys/event.h>
#endif

enum { BATCH = 1024, WORD = 8 * (int)sizeof(unsigned long) };

static loop_handler *handle;
static bool stopped;
static void (*turn)(void);
static int watched;

static struct pollfd *polled;
static unsigned long *wanted, *ready; /* bits by descriptor */
static int *number_of;                /* by descriptor */
static int highest;

static void poll_turn(void)
{
    int left = poll(polled, (nfds_t)watched, -1);
    for (int i = 0; i < watched && left > 0; i++) {
        if (polled[i].revents != 0) {
            left--;
            handle(i);
        }
    }
}

static void select_turn(void)
{
    size_t words = (size_t)(highest / WORD + 1);
    memcpy(ready, wanted, words * sizeof *ready);
    int left = select(highest + 1, (fd_set *)(void *)ready, NULL, NULL, NULL);
    for (size_t word = 0; word < words && left > 0; word++) {
        for (unsigned long bits = ready[word]; bits != 0; bits &= bits - 1) {
            left--;
            handle(number_of[(int)word * WORD + __builtin_ctzl(bits)]);
        }
    }
}

static int queue = -1; /* the kernel's, which remembers who is watched */

#ifdef __linux__

static int queue_create(const char *backend)
{
    return strcmp(backend, "epoll") == 0 ? epoll_create1(EPOLL_CLOEXEC) : -1;
}

static void queue_turn(void)
{
    static struct epoll_event events[BATCH];
    int count = epoll_wait(queue, events, BATCH, -1);
    for (int i = 0; i < count; i++)
        handle((int)events[i].data.u32);
}

static void queue_change(bool watch, int number, int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data = {.u32 = (unsigned)number}};
    epoll_ctl(queue, watch ? EPOLL_CTL_ADD : EPOLL_CTL_DEL, fd, &event);
}

#else

static int queue_create(const char *backend)
{
    return strcmp(backend, "kqueue") == 0 ? kqueue() : -1;
}

static void queue_turn(void)
{
    static struct kevent events[BATCH];
    int count = kevent(queue, NULL, 0, events, BATCH, NULL);
    for (int i = 0; i < count; i++)
        handle(number_of[events[i].ident]);
}

static void queue_change(bool watch, int number, int fd)
{
    struct kevent change;
    (void)number;
    EV_SET(&change, (uintptr_t)fd, EVFILT_READ, watch ? EV_ADD : EV_DELETE, 0, 0, 0);
    kevent(queue, &change, 1, NULL, 0, NULL);
}

#endif

bool loop_create(const char *backend, int max, loop_handler *handler)
{
    size_t descriptors = (size_t)max * 2 + 64;
    handle = handler;
    polled = calloc((size_t)max, sizeof *polled);
    wanted = calloc(descriptors / WORD + 2, sizeof *wanted);
    ready = calloc(descriptors / WORD + 2, sizeof *ready);
    number_of = calloc(descriptors, sizeof *number_of);
    if (!polled || !wanted || !ready || !number_of)
        return false;
    if (strcmp(backend, "poll") == 0)
        turn = poll_turn;
    else if (strcmp(backend, "select") == 0)
        turn = select_turn;
    else if ((queue = queue_create(backend)) >= 0)
        turn = queue_turn;
    return turn;
}

static void set_bit(int fd, bool on)
{
    unsigned long bit = 1UL << (fd % WORD);
    wanted[fd / WORD] = on ? wanted[fd / WORD] | bit : wanted[fd / WORD] & ~bit;
}

void loop_watch(int number, int fd)
{
    polled[number] = (struct pollfd){.fd = fd, .events = POLLIN};
    number_of[fd] = number;
    set_bit(fd, true);
    highest = fd > highest ? fd : highest;
    watched = number + 1;
    if (turn == queue_turn)
        queue_change(true, number, fd);
}

void loop_restart(int number, int fd)
{
    polled[number].fd = -1;
    set_bit(fd, false);
    if (turn == queue_turn) {
        queue_change(false, number, fd);
        queue_change(true, number, fd);
    }
    set_bit(fd, true);
    polled[number].fd = fd;
}

void loop_run(void)
{
    for (stopped = false; !stopped;)
        turn();
}

void loop_stop(void)
{
    stopped = true;
}
