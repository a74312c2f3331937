/* The system calls themselves: select, poll and, on Linux, epoll. select gets sets of our own, as
 * large as need be: the kernel takes them, only the C library's type ends at 1024. */
#include "loop.h"

#include <poll.h>
#include <stdlib.h>
#include <string.h>
#include <sys/select.h>
#ifdef __linux__
#include <sys/epoll.h>
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

#ifdef __linux__
static int epoll = -1;

static void epoll_turn(void)
{
    static struct epoll_event events[BATCH];
    int count = epoll_wait(epoll, events, BATCH, -1);
    for (int i = 0; i < count; i++)
        handle((int)events[i].data.u32);
}

static void epoll_change(int operation, int number, int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data = {.u32 = (unsigned)number}};
    epoll_ctl(epoll, operation, fd, &event);
}
#endif

bool loop_create(const char *backend, int most, loop_handler *handler)
{
    size_t descriptors = (size_t)most * 2 + 64;
    handle = handler;
    polled = calloc((size_t)most, sizeof *polled);
    wanted = calloc(descriptors / WORD + 2, sizeof *wanted);
    ready = calloc(descriptors / WORD + 2, sizeof *ready);
    number_of = calloc(descriptors, sizeof *number_of);
    if (polled == NULL || wanted == NULL || ready == NULL || number_of == NULL)
        return false;
    if (strcmp(backend, "poll") == 0)
        turn = poll_turn;
    else if (strcmp(backend, "select") == 0)
        turn = select_turn;
#ifdef __linux__
    else if (strcmp(backend, "epoll") == 0 && (epoll = epoll_create1(EPOLL_CLOEXEC)) >= 0)
        turn = epoll_turn;
#endif
    return turn != NULL;
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
#ifdef __linux__
    if (turn == epoll_turn)
        epoll_change(EPOLL_CTL_ADD, number, fd);
#endif
}

void loop_restart(int number, int fd)
{
    polled[number].fd = -1;
    set_bit(fd, false);
#ifdef __linux__
    if (turn == epoll_turn) {
        epoll_change(EPOLL_CTL_DEL, number, fd);
        epoll_change(EPOLL_CTL_ADD, number, fd);
    }
#endif
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
