/*
 * layer.c - what the Linux layer (06-kqueue/linux) promises beyond the statements of statements.c:
 * that the filters of one descriptor are independent, that it scales, that threads may share it,
 * that nothing leaks, and that it refuses clearly what it can not do.
 *
 * Like the other file it uses the public interface alone, and compiles on a BSD; there the tests
 * that ask for the layer's own choices are skipped.
 */
#include <sys/types.h>

#include <sys/event.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <sys/time.h>
#include <sys/wait.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../harness/test.h"

typedef __typeof__(((struct kevent *)0)->filter) filter_t;
typedef __typeof__(((struct kevent *)0)->flags) flags_t;
typedef __typeof__(((struct kevent *)0)->fflags) fflags_t;
typedef __typeof__(((struct kevent *)0)->data) data_t;
typedef __typeof__(((struct kevent *)0)->udata) udata_t;
#ifdef __NetBSD__
typedef size_t count_t;
#else
typedef int count_t;
#endif

#define LAYER(name, text) Test(layer, name, .description = (text), .timeout = 60)

#ifdef KQUEUE_OVER_EPOLL
#define LAYER_ONLY()                                                                               \
    do {                                                                                           \
    } while (0)
#else
#define LAYER_ONLY() cr_skip_test("about the layer over epoll; this system has its own kqueue")
#endif

/* ---- Helpers --------------------------------------------------------------------------------- */

static void sleep_ms(int ms)
{
    nanosleep(&(struct timespec){.tv_nsec = ms * 1000000L}, NULL);
}

static struct kevent full(intptr_t ident, filter_t filter, flags_t flags, fflags_t fflags,
                          data_t data, intptr_t udata)
{
    struct kevent ev;
    memset(&ev, 0, sizeof(ev));
    EV_SET(&ev, (uintptr_t)ident, filter, flags, fflags, data, (udata_t)udata);
    return ev;
}

static struct kevent change(intptr_t ident, filter_t filter, flags_t flags)
{
    return full(ident, filter, flags, 0, 0, ident);
}

static int apply(int kq, struct kevent ev)
{
    return kevent(kq, &ev, 1, NULL, 0, NULL) < 0 ? errno : 0;
}

static int wait_for(int kq, struct kevent *events, count_t n, long ms)
{
    struct timespec limit = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000};
    return kevent(kq, NULL, 0, events, n, &limit);
}

static double seconds(clockid_t clock)
{
    struct timespec t;
    clock_gettime(clock, &t);
    return (double)t.tv_sec + (double)t.tv_nsec / 1e9;
}

static int descriptors(void)
{
    int n = 0;
    for (int fd = 0; fd < 4096; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
}

static void socket_pair(int end[2])
{
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, end), 0);
    cr_assert_eq(fcntl(end[0], F_SETFL, O_NONBLOCK), 0);
}

/* Counts the events of each filter in the list, and checks that they are this descriptor's. */
static void count(const struct kevent *ev, int n, int fd, int *reads, int *writes)
{
    for (int i = 0; i < n; i++) {
        cr_assert_eq(ev[i].ident, (uintptr_t)fd);
        *reads += ev[i].filter == EVFILT_READ;
        *writes += ev[i].filter == EVFILT_WRITE;
    }
}

/* ---- READ and WRITE of one descriptor -------------------------------------------------------- */

LAYER(filters_share_the_room, "READ and WRITE of one descriptor take turns when one event fits")
{
    int kq = kqueue(), end[2], reads = 0, writes = 0;
    struct kevent ev;
    socket_pair(end);
    cr_assert_eq(write(end[1], "x", 1), 1);
    cr_assert_eq(apply(kq, change(end[0], EVFILT_READ, EV_ADD)), 0);
    cr_assert_eq(apply(kq, change(end[0], EVFILT_WRITE, EV_ADD)), 0);
    for (int i = 0; i < 10; i++) {
        cr_assert_eq(wait_for(kq, &ev, 1, 1000), 1);
        count(&ev, 1, end[0], &reads, &writes);
    }
    cr_assert_eq(reads, 5);
    cr_assert_eq(writes, 5);
}

LAYER(filters_have_their_own_manners, "EV_CLEAR, EV_ONESHOT, EV_DISPATCH of one spare the other")
{
    const flags_t manners[] = {EV_CLEAR, EV_ONESHOT, EV_DISPATCH};
    const filter_t filters[] = {EVFILT_READ, EVFILT_WRITE};
    for (size_t i = 0; i < 6; i++) {
        int kq = kqueue(), end[2], seen[2] = {0, 0};
        filter_t once = filters[i % 2], level = filters[1 - i % 2];
        socket_pair(end);
        cr_assert_eq(write(end[1], "x", 1), 1);
        cr_assert_eq(apply(kq, change(end[0], once, (flags_t)(EV_ADD | manners[i / 2]))), 0);
        cr_assert_eq(apply(kq, change(end[0], level, EV_ADD)), 0);
        for (int k = 0; k < 6; k++) {
            struct kevent ev;
            cr_assert_eq(wait_for(kq, &ev, 1, 1000), 1);
            seen[ev.filter == once]++;
        }
        cr_assert_eq(seen[1], 1, "once, not %d times", seen[1]);
        cr_assert_eq(seen[0], 5);
        close(end[0]);
        close(end[1]);
        close(kq);
    }
}

LAYER(filters_are_disabled_apart, "EV_DISABLE and EV_DELETE of one filter leave the other")
{
    int kq = kqueue(), end[2];
    struct kevent ev[4];
    socket_pair(end);
    cr_assert_eq(write(end[1], "x", 1), 1);
    cr_assert_eq(apply(kq, change(end[0], EVFILT_READ, EV_ADD)), 0);
    cr_assert_eq(apply(kq, change(end[0], EVFILT_WRITE, EV_ADD | EV_DISABLE)), 0);
    cr_assert_eq(wait_for(kq, ev, 4, 1000), 1);
    cr_assert_eq(ev[0].filter, EVFILT_READ);
    cr_assert_eq(apply(kq, change(end[0], EVFILT_WRITE, EV_ENABLE)), 0);
    cr_assert_eq(wait_for(kq, ev, 4, 1000), 2);
    cr_assert_eq(apply(kq, change(end[0], EVFILT_READ, EV_DELETE)), 0);
    cr_assert_eq(wait_for(kq, ev, 4, 1000), 1);
    cr_assert_eq(ev[0].filter, EVFILT_WRITE);
}

LAYER(the_room_is_respected, "never more events than the list has room for")
{
    int kq = kqueue(), end[4][2];
    for (int i = 0; i < 4; i++) {
        socket_pair(end[i]);
        cr_assert_eq(write(end[i][1], "x", 1), 1);
        cr_assert_eq(apply(kq, change(end[i][0], EVFILT_READ, EV_ADD)), 0);
        cr_assert_eq(apply(kq, change(end[i][0], EVFILT_WRITE, EV_ADD)), 0);
    }
    for (count_t room = 1; room <= 8; room++) {
        for (int turn = 0; turn < 12; turn++) {
            struct kevent ev[16];
            memset(ev, 0x55, sizeof(ev));
            int n = wait_for(kq, ev, room, 1000);
            cr_assert(n > 0 && n <= (int)room, "%d events for %d", n, (int)room);
            for (size_t i = (size_t)room; i < 16; i++)
                cr_assert_eq(ev[i].ident, (uintptr_t)0x5555555555555555U, "wrote beyond the end");
        }
    }
}

LAYER(dispatched_stays_disabled, "EV_ADD does not enable what EV_DISPATCH disabled, as on FreeBSD")
{
    LAYER_ONLY();
    int kq = kqueue(), end[2];
    struct kevent ev;
    socket_pair(end);
    cr_assert_eq(write(end[1], "x", 1), 1);
    cr_assert_eq(apply(kq, change(end[0], EVFILT_READ, EV_ADD | EV_DISPATCH)), 0);
    cr_assert_eq(wait_for(kq, &ev, 1, 1000), 1);
    cr_assert_eq(apply(kq, change(end[0], EVFILT_READ, EV_ADD)), 0);
    cr_assert_eq(wait_for(kq, &ev, 1, 20), 0);
    cr_assert_eq(apply(kq, change(end[0], EVFILT_READ, EV_ADD | EV_ENABLE)), 0);
    cr_assert_eq(wait_for(kq, &ev, 1, 1000), 1);
}

LAYER(all_kinds_share_the_room, "with room for one, every kind of knote gets its turn")
{
    int kq = kqueue(), end[2], seen[12] = {0};
    socket_pair(end);
    cr_assert_eq(write(end[1], "x", 1), 1);
    struct kevent list[] = {
        full(end[0], EVFILT_READ, EV_ADD, 0, 0, 0),  full(end[0], EVFILT_WRITE, EV_ADD, 0, 0, 1),
        full(end[1], EVFILT_WRITE, EV_ADD, 0, 0, 2), full(1, EVFILT_TIMER, EV_ADD, 0, 1, 3),
#ifdef EVFILT_USER
        full(1, EVFILT_USER, EV_ADD, 0, 0, 4),       full(2, EVFILT_USER, EV_ADD, 0, 0, 5),
        full(1, EVFILT_USER, 0, NOTE_TRIGGER, 0, 4), full(2, EVFILT_USER, 0, NOTE_TRIGGER, 0, 5),
#endif
    };
    count_t n = (count_t)(sizeof(list) / sizeof(list[0]));
    cr_assert_eq(kevent(kq, list, n, NULL, 0, NULL), 0);
    for (int i = 0; i < 60; i++) {
        struct kevent ev;
        cr_assert_eq(wait_for(kq, &ev, 1, 1000), 1);
        seen[(intptr_t)ev.udata]++;
        sleep_ms(1);
    }
    for (int i = 0; i < (n > 4 ? 6 : 4); i++)
        cr_assert_geq(seen[i], 4, "knote %d came %d times of 60", i, seen[i]);
}

#ifdef EVFILT_USER
LAYER(user_knotes_rotate, "level USER knotes that do not fit take turns, and none comes twice")
{
    int kq = kqueue();
    bool seen[5] = {false};
    for (int i = 0; i < 5; i++) {
        cr_assert_eq(apply(kq, change(i, EVFILT_USER, EV_ADD)), 0);
        cr_assert_eq(apply(kq, full(i, EVFILT_USER, 0, NOTE_TRIGGER, 0, i)), 0);
    }
    struct kevent ev[8];
    cr_assert_eq(wait_for(kq, ev, 8, 1000), 5, "each once, though there is more room");
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(wait_for(kq, ev, 2, 1000), 2);
        for (int k = 0; k < 2; k++) {
            cr_assert_not(seen[ev[k].ident]);
            seen[ev[k].ident] = true;
        }
    }
}

LAYER(user_fflags, "USER: fflags combine as asked for, and survive EV_CLEAR as on FreeBSD")
{
    LAYER_ONLY();
    int kq = kqueue();
    struct kevent ev;
    cr_assert_eq(apply(kq, full(1, EVFILT_USER, EV_ADD | EV_CLEAR, 0x0f, 0, 0)), 0);
    const struct {
        fflags_t change, result;
    } step[] = {{NOTE_TRIGGER, 0x0f},
                {NOTE_TRIGGER | NOTE_FFOR | 0x30, 0x3f},
                {NOTE_TRIGGER | NOTE_FFAND | 0x3c, 0x3c},
                {NOTE_TRIGGER | NOTE_FFCOPY | 0x01, 0x01},
                {NOTE_TRIGGER | NOTE_FFNOP | 0x70, 0x01}};
    for (size_t i = 0; i < sizeof(step) / sizeof(step[0]); i++) {
        cr_assert_eq(apply(kq, full(1, EVFILT_USER, 0, step[i].change, (data_t)i, 9)), 0);
        cr_assert_eq(wait_for(kq, &ev, 1, 1000), 1);
        cr_assert_eq(ev.fflags, step[i].result);
        cr_assert_eq(ev.data, (data_t)i);
        cr_assert_eq(ev.udata, (udata_t)9);
        cr_assert_eq(wait_for(kq, &ev, 1, 0), 0);
    }
}

LAYER(user_manners, "USER: EV_ONESHOT deletes, EV_DISPATCH and EV_DISABLE withhold")
{
    int kq = kqueue();
    struct kevent ev;
    cr_assert_eq(apply(kq, change(1, EVFILT_USER, EV_ADD | EV_ONESHOT)), 0);
    cr_assert_eq(apply(kq, full(1, EVFILT_USER, 0, NOTE_TRIGGER, 0, 0)), 0);
    cr_assert_eq(wait_for(kq, &ev, 1, 1000), 1);
    cr_assert_eq(apply(kq, change(1, EVFILT_USER, EV_DELETE)), ENOENT);
    cr_assert_eq(apply(kq, change(2, EVFILT_USER, EV_ADD | EV_DISPATCH)), 0);
    cr_assert_eq(apply(kq, full(2, EVFILT_USER, 0, NOTE_TRIGGER, 0, 0)), 0);
    cr_assert_eq(wait_for(kq, &ev, 1, 1000), 1);
    cr_assert_eq(wait_for(kq, &ev, 1, 0), 0);
    cr_assert_eq(apply(kq, change(2, EVFILT_USER, EV_ENABLE)), 0);
    cr_assert_eq(wait_for(kq, &ev, 1, 1000), 1, "still triggered");
    cr_assert_eq(apply(kq, change(3, EVFILT_USER, EV_ADD | EV_CLEAR | EV_DISABLE)), 0);
    cr_assert_eq(apply(kq, full(3, EVFILT_USER, 0, NOTE_TRIGGER, 0, 0)), 0);
    cr_assert_eq(wait_for(kq, &ev, 1, 0), 0);
    cr_assert_eq(apply(kq, change(3, EVFILT_USER, EV_ENABLE)), 0);
    cr_assert_eq(wait_for(kq, &ev, 1, 1000), 1);
    cr_assert_eq(ev.ident, 3U);
    struct pollfd p = {.fd = kq, .events = POLLIN};
    cr_assert_eq(poll(&p, 1, 20), 0, "with nothing pending the kqueue is not readable");
    cr_assert_eq(apply(kq, full(3, EVFILT_USER, 0, NOTE_TRIGGER, 0, 0)), 0);
    cr_assert_eq(poll(&p, 1, 20), 1);
    cr_assert_eq(apply(kq, change(3, EVFILT_USER, EV_DISABLE)), 0);
    cr_assert_eq(poll(&p, 1, 20), 0, "EV_DISABLE withholds what is pending");
    cr_assert_eq(wait_for(kq, &ev, 1, 0), 0);
    cr_assert_eq(apply(kq, change(3, EVFILT_USER, EV_ENABLE)), 0);
    cr_assert_eq(wait_for(kq, &ev, 1, 1000), 1);
}

LAYER(user_and_signal_at_once, "a level USER knote beside a signal is reported once, not twice")
{
    int kq = kqueue();
    struct kevent ev[8];
    signal(SIGUSR1, SIG_IGN);
    cr_assert_eq(apply(kq, change(1, EVFILT_USER, EV_ADD)), 0);
    cr_assert_eq(apply(kq, change(SIGUSR1, EVFILT_SIGNAL, EV_ADD)), 0);
    cr_assert_eq(apply(kq, full(1, EVFILT_USER, 0, NOTE_TRIGGER, 0, 0)), 0);
    kill(getpid(), SIGUSR1);
    cr_assert_eq(wait_for(kq, ev, 8, 1000), 2);
    cr_assert_neq(ev[0].filter, ev[1].filter);
    cr_assert_eq(wait_for(kq, ev, 8, 1000), 1);
    cr_assert_eq(ev[0].filter, EVFILT_USER);
}
#endif

/* Readable, although kevent() finds nothing? Then kevent() must take that away. */
static bool wakes_in_vain(int kq)
{
    struct pollfd p = {.fd = kq, .events = POLLIN};
    struct kevent ev;
    bool readable = poll(&p, 1, 20) == 1;
    cr_assert_eq(wait_for(kq, &ev, 1, 0), 0);
    cr_assert_eq(poll(&p, 1, 20), 0, "an outer poll() would spin");
    return readable;
}

LAYER(wakes_in_vain_once, "what a disabled knote does not report wakes an outer poll(), but once")
{
    LAYER_ONLY();
    int kq = kqueue(), end[2];
    char path[] = "/tmp/kqueue-test-XXXXXX";
    int file = mkstemp(path);
    cr_assert_geq(file, 0);
    unlink(path);
    signal(SIGUSR1, SIG_IGN);
    socket_pair(end);
    cr_assert_eq(apply(kq, change(SIGUSR1, EVFILT_SIGNAL, EV_ADD | EV_DISABLE)), 0);
    cr_assert_eq(apply(kq, full(file, EVFILT_VNODE, EV_ADD | EV_CLEAR, NOTE_WRITE, 0, 0)), 0);
    cr_assert_eq(apply(kq, change(end[0], EVFILT_READ, EV_ADD | EV_DISABLE)), 0);
    cr_assert_not(wakes_in_vain(kq));
    kill(getpid(), SIGUSR1);
    cr_expect(wakes_in_vain(kq), "a signal: then the header says too much");
    cr_assert_eq(fchmod(file, 0640), 0);
    cr_expect(wakes_in_vain(kq), "a file");
    close(end[1]);
    cr_expect(wakes_in_vain(kq), "a hang-up");
}

/* ---- Timers, signals, processes, files ------------------------------------------------------- */

#ifdef NOTE_SECONDS /* NetBSD has had it since 10 */
LAYER(timer_units, "TIMER: NOTE_SECONDS, NOTE_USECONDS and NOTE_NSECONDS are what they say")
{
    int kq = kqueue();
    struct kevent ev;
    const struct {
        fflags_t unit;
        data_t data;
    } times[] = {{NOTE_USECONDS, 60000}, {NOTE_NSECONDS, 60000000}, {0, 60}, {NOTE_SECONDS, 1}};
    for (size_t i = 0; i < 4; i++) {
        double start = seconds(CLOCK_MONOTONIC), lasts = times[i].unit == NOTE_SECONDS ? 1 : 0.06;
        cr_assert_eq(
            apply(kq, full(1, EVFILT_TIMER, EV_ADD | EV_ONESHOT, times[i].unit, times[i].data, 0)),
            0);
        cr_assert_eq(wait_for(kq, &ev, 1, 5000), 1);
        double took = seconds(CLOCK_MONOTONIC) - start;
        cr_assert(took >= lasts - 0.005 && took < lasts + 1, "%zu took %g s", i, took);
    }
}
#endif

LAYER(timer_restarts, "TIMER: EV_ADD of a running timer restarts it with the new time")
{
    LAYER_ONLY();
    int kq = kqueue();
    struct kevent ev;
    cr_assert_eq(apply(kq, full(1, EVFILT_TIMER, EV_ADD, 0, 5, 0)), 0);
    sleep_ms(30);
    cr_assert_eq(apply(kq, full(1, EVFILT_TIMER, EV_ADD, 0, 60000, 0)), 0);
    cr_assert_eq(wait_for(kq, &ev, 1, 30), 0, "the old expirations are dropped");
    cr_assert_eq(apply(kq, full(1, EVFILT_TIMER, EV_ADD, 0, 5, 0)), 0);
    cr_assert_eq(wait_for(kq, &ev, 1, 1000), 1);
}

LAYER(timer_disabled, "TIMER: a disabled timer goes on counting; EV_DISPATCH disables it")
{
    LAYER_ONLY();
    int kq = kqueue();
    struct kevent ev;
    cr_assert_eq(apply(kq, full(1, EVFILT_TIMER, EV_ADD | EV_DISPATCH, 0, 5, 0)), 0);
    cr_assert_eq(wait_for(kq, &ev, 1, 1000), 1);
    double start = seconds(CLOCK_PROCESS_CPUTIME_ID);
    cr_assert_eq(wait_for(kq, &ev, 1, 100), 0);
    cr_assert_lt(seconds(CLOCK_PROCESS_CPUTIME_ID) - start, 0.05, "it spun");
    cr_assert_eq(apply(kq, change(1, EVFILT_TIMER, EV_ENABLE)), 0);
    cr_assert_eq(wait_for(kq, &ev, 1, 0), 1);
    cr_assert_geq(ev.data, 5);
}

#ifdef KQUEUE_OVER_EPOLL
LAYER(timer_absolute, "TIMER: NOTE_ABSTIME is a point in time, and is reported once")
{
    int kq = kqueue();
    struct kevent ev;
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    data_t ms = (data_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
    cr_assert_eq(apply(kq, full(1, EVFILT_TIMER, EV_ADD, 0, 60000, 0)), 0);
    cr_assert_eq(apply(kq, full(1, EVFILT_TIMER, EV_ADD, NOTE_ABSTIME, ms + 50, 0)), 0);
    cr_assert_eq(wait_for(kq, &ev, 1, 10), 0);
    cr_assert_eq(wait_for(kq, &ev, 1, 1000), 1);
    cr_assert_eq(wait_for(kq, &ev, 1, 80), 0);
    cr_assert_eq(apply(kq, full(1, EVFILT_TIMER, EV_ADD, NOTE_ABSTIME, 1, 0)), 0, "long past");
    cr_assert_eq(wait_for(kq, &ev, 1, 1000), 1);
}
#endif

LAYER(sub_millisecond_timeouts, "a timeout of 200 us is neither 0 nor a whole tick of 10 ms")
{
    LAYER_ONLY();
    int kq = kqueue();
    struct kevent ev;
    struct timespec limit = {.tv_sec = 0, .tv_nsec = 200000};
    double start = seconds(CLOCK_MONOTONIC);
    for (int i = 0; i < 50; i++)
        cr_assert_eq(kevent(kq, NULL, 0, &ev, 1, &limit), 0);
    double took = seconds(CLOCK_MONOTONIC) - start;
    cr_assert(took >= 0.01 && took < 0.5, "50 times 200 us took %g s", took);
}

LAYER(two_kqueues_one_signal, "a signal that two kqueues watch is reported by both")
{
    int kq[2] = {kqueue(), kqueue()};
    struct kevent ev;
    signal(SIGUSR1, SIG_IGN);
    for (int i = 0; i < 2; i++)
        cr_assert_eq(apply(kq[i], change(SIGUSR1, EVFILT_SIGNAL, EV_ADD)), 0);
    for (int round = 0; round < 3; round++) {
        kill(getpid(), SIGUSR1);
        for (int i = 0; i < 2; i++) {
            cr_assert_eq(wait_for(kq[(i + round) % 2], &ev, 1, 1000), 1);
            cr_assert_eq(ev.data, 1);
        }
    }
    /* The first EV_DELETE must not unblock what the other still watches. */
    cr_assert_eq(apply(kq[0], change(SIGUSR1, EVFILT_SIGNAL, EV_DELETE)), 0);
    kill(getpid(), SIGUSR1);
    cr_assert_eq(wait_for(kq[1], &ev, 1, 1000), 1);
}

LAYER(signals_are_unblocked_again, "EV_DELETE gives the signal mask back as it was")
{
    int kq = kqueue();
    sigset_t mask;
    signal(SIGUSR1, SIG_IGN);
    cr_assert_eq(apply(kq, change(SIGUSR1, EVFILT_SIGNAL, EV_ADD)), 0);
    cr_assert_eq(apply(kq, change(SIGUSR1, EVFILT_SIGNAL, EV_ADD)), 0, "twice counts once");
    cr_assert_eq(apply(kq, change(SIGUSR1, EVFILT_SIGNAL, EV_DELETE)), 0);
    sigprocmask(SIG_BLOCK, NULL, &mask);
    cr_assert_eq(sigismember(&mask, SIGUSR1), 0);
    sigemptyset(&mask);
    sigaddset(&mask, SIGUSR2);
    sigprocmask(SIG_BLOCK, &mask, NULL);
    cr_assert_eq(apply(kq, change(SIGUSR2, EVFILT_SIGNAL, EV_ADD)), 0);
    cr_assert_eq(apply(kq, change(SIGUSR2, EVFILT_SIGNAL, EV_DELETE)), 0);
    sigprocmask(SIG_BLOCK, NULL, &mask);
    cr_assert_eq(sigismember(&mask, SIGUSR2), 1, "the program's own block stays");
}

LAYER(signal_disabled_and_oneshot, "SIGNAL: EV_DISABLE withholds and counts, EV_ONESHOT deletes")
{
    int kq = kqueue();
    struct kevent ev;
    signal(SIGUSR1, SIG_IGN);
    cr_assert_eq(apply(kq, change(SIGUSR1, EVFILT_SIGNAL, EV_ADD | EV_DISABLE)), 0);
    for (int i = 0; i < 2; i++) {
        kill(getpid(), SIGUSR1);
        cr_assert_eq(wait_for(kq, &ev, 1, 20), 0);
    }
    cr_assert_eq(apply(kq, change(SIGUSR1, EVFILT_SIGNAL, EV_ENABLE)), 0);
    cr_assert_eq(wait_for(kq, &ev, 1, 1000), 1);
    cr_assert_eq(ev.data, 2);
    signal(SIGUSR2, SIG_IGN);
    cr_assert_eq(apply(kq, change(SIGUSR2, EVFILT_SIGNAL, EV_ADD | EV_ONESHOT)), 0);
    kill(getpid(), SIGUSR2);
    cr_assert_eq(wait_for(kq, &ev, 1, 1000), 1);
    cr_assert_eq(apply(kq, change(SIGUSR2, EVFILT_SIGNAL, EV_DELETE)), ENOENT);
}

LAYER(process_exit, "PROC NOTE_EXIT: once, with the wait status, which waitpid() still gets")
{
    int kq = kqueue(), status = 0;
    struct kevent ev;
    pid_t child = fork();
    if (child == 0) {
        sleep_ms(50);
        _exit(7);
    }
    int error = apply(kq, full(child, EVFILT_PROC, EV_ADD, NOTE_EXIT, 0, 3));
    if (error == ENOTSUP)
        cr_skip_test("this kernel has no pidfd_open()");
    cr_assert_eq(error, 0);
    cr_assert_eq(wait_for(kq, &ev, 1, 5), 0);
    cr_assert_eq(wait_for(kq, &ev, 1, 5000), 1);
    cr_assert_eq(ev.ident, (uintptr_t)child);
    cr_assert(ev.fflags & NOTE_EXIT);
    cr_assert_eq(ev.udata, (udata_t)3);
    cr_assert_eq(waitpid(child, &status, 0), child);
#ifndef __APPLE__ /* there only NOTE_EXITSTATUS brings it */
    cr_assert_eq(ev.data, status);
#endif
    cr_assert_eq(WEXITSTATUS(status), 7);
    cr_assert_eq(wait_for(kq, &ev, 1, 5), 0);
    cr_assert_eq(apply(kq, full(child, EVFILT_PROC, EV_ADD, NOTE_EXIT, 0, 3)), ESRCH);
}

LAYER(process_killed, "PROC NOTE_EXIT: a signal's status, too")
{
    LAYER_ONLY();
    int kq = kqueue(), status = 0;
    struct kevent ev;
    pid_t child = fork();
    if (child == 0) {
        pause();
        _exit(0);
    }
    int error = apply(kq, full(child, EVFILT_PROC, EV_ADD, NOTE_EXIT, 0, 0));
    kill(child, SIGKILL);
    if (error == ENOTSUP)
        cr_skip_test("this kernel has no pidfd_open()");
    cr_assert_eq(wait_for(kq, &ev, 1, 5000), 1);
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert_eq(ev.data, status);
    cr_assert_eq(WTERMSIG(status), SIGKILL);
}

LAYER(vnode_other_wishes, "VNODE: EV_ADD of a knote that is there changes what it is asked for")
{
    int kq = kqueue();
    char path[] = "/tmp/kqueue-test-XXXXXX";
    int fd = mkstemp(path);
    struct kevent ev;
    cr_assert_eq(apply(kq, full(fd, EVFILT_VNODE, EV_ADD | EV_CLEAR, NOTE_WRITE, 0, 1)), 0);
    cr_assert_eq(apply(kq, full(fd, EVFILT_VNODE, EV_ADD | EV_CLEAR, NOTE_ATTRIB, 0, 2)), 0);
    cr_assert_eq(chmod(path, 0640), 0);
    cr_assert_eq(wait_for(kq, &ev, 1, 1000), 1);
    cr_assert(ev.fflags & NOTE_ATTRIB);
    cr_assert_eq(ev.udata, (udata_t)2);
    unlink(path);
}

LAYER(vnode_two_descriptors, "VNODE: two descriptors of one file, each with its own wishes")
{
    int kq = kqueue();
    char path[] = "/tmp/kqueue-test-XXXXXX";
    int a = mkstemp(path), b = open(path, O_RDWR);
    struct kevent ev[4];
    cr_assert_eq(apply(kq, full(a, EVFILT_VNODE, EV_ADD | EV_CLEAR, NOTE_WRITE, 0, 1)), 0);
    const fflags_t both = NOTE_WRITE | NOTE_DELETE;
    cr_assert_eq(apply(kq, full(b, EVFILT_VNODE, EV_ADD | EV_CLEAR, both, 0, 2)), 0);
    cr_assert_eq(write(b, "x", 1), 1);
    cr_assert_eq(wait_for(kq, ev, 4, 1000), 2);
    unlink(path);
    cr_assert_eq(wait_for(kq, ev, 4, 1000), 1);
    cr_assert_eq(ev[0].udata, (udata_t)2);
    cr_assert(ev[0].fflags & NOTE_DELETE);
    cr_assert_eq(apply(kq, change(b, EVFILT_VNODE, EV_DELETE)), 0);
    cr_assert_eq(write(b, "y", 1), 1);
    cr_assert_eq(wait_for(kq, ev, 4, 1000), 1, "the first goes on");
    cr_assert_eq(ev[0].udata, (udata_t)1);
}

LAYER(vnode_closed, "VNODE: a closed descriptor's knote is gone, also when the number is reused")
{
    int kq = kqueue();
    char path[] = "/tmp/kqueue-test-XXXXXX", second[] = "/tmp/kqueue-test-XXXXXX";
    int fd = mkstemp(path), other = open(path, O_WRONLY);
    struct kevent ev;
    cr_assert_eq(apply(kq, full(fd, EVFILT_VNODE, EV_ADD, NOTE_WRITE, 0, 1)), 0);
    close(fd);
    cr_assert_eq(write(other, "x", 1), 1);
    cr_assert_eq(wait_for(kq, &ev, 1, 20), 0);
    cr_assert_eq(apply(kq, change(fd, EVFILT_VNODE, EV_DELETE)), EBADF);
    cr_assert_eq(mkstemp(second), fd, "the number is free again");
    cr_assert_eq(apply(kq, change(fd, EVFILT_VNODE, EV_ENABLE)), ENOENT);
    cr_assert_eq(apply(kq, full(fd, EVFILT_VNODE, EV_ADD, NOTE_WRITE, 0, 2)), 0);
    cr_assert_eq(write(other, "x", 1), 1);
    cr_assert_eq(wait_for(kq, &ev, 1, 20), 0);
    cr_assert_eq(write(fd, "x", 1), 1);
    for (int i = 0; i < 2; i++) { /* without EV_CLEAR it repeats */
        cr_assert_eq(wait_for(kq, &ev, 1, 1000), 1);
        cr_assert_eq(ev.udata, (udata_t)2);
    }
    unlink(path);
    unlink(second);
}

static int watch_file(int kq, int fd, fflags_t fflags)
{
    return apply(kq, full(fd, EVFILT_VNODE, EV_ADD | EV_CLEAR, fflags, 0, fd));
}

LAYER(vnode_closed_while_pending, "VNODE: what was pending when the descriptor was closed is gone")
{
    int kq = kqueue(), fd[2];
    char path[2][32] = {"/tmp/kqueue-test-XXXXXX", "/tmp/kqueue-test-XXXXXX"};
    struct kevent ev[4];
    for (int i = 0; i < 2; i++) {
        fd[i] = mkstemp(path[i]);
        cr_assert_eq(watch_file(kq, fd[i], NOTE_WRITE), 0);
        cr_assert_eq(write(fd[i], "x", 1), 1);
    }
    cr_assert_eq(wait_for(kq, ev, 1, 1000), 1);
    int other = ev[0].ident == (uintptr_t)fd[0] ? 1 : 0;
    close(fd[other]);
    cr_assert_eq(wait_for(kq, ev, 4, 20), 0);
    /* Without EV_CLEAR it is pending for ever, but not longer than the descriptor is open. */
    int level = open(path[other], O_RDWR);
    cr_assert_eq(apply(kq, full(level, EVFILT_VNODE, EV_ADD, NOTE_WRITE, 0, 0)), 0);
    cr_assert_eq(write(level, "x", 1), 1);
    cr_assert_eq(wait_for(kq, ev, 4, 1000), 1);
    close(level);
    cr_assert_eq(wait_for(kq, ev, 4, 20), 0);
    unlink(path[0]);
    unlink(path[1]);
}

/* Some file systems, ext4 for one, give a new file the inode number of the one just removed. Then
 * descriptor, device and inode are all the same, and it is another file nevertheless. */
LAYER(vnode_removed_and_made_anew, "VNODE: a new file in the old one's place is watched, too")
{
    int kq = kqueue();
    char path[] = "/tmp/kqueue-test-XXXXXX";
    struct kevent ev;
    close(mkstemp(path));
    for (int i = 0; i < 4; i++) {
        int fd = open(path, O_RDWR | O_CREAT, 0600);
        cr_assert_eq(watch_file(kq, fd, NOTE_WRITE | NOTE_DELETE), 0);
        cr_assert_eq(write(fd, "x", 1), 1);
        cr_assert_eq(wait_for(kq, &ev, 1, 1000), 1, "file %d is not watched", i);
        cr_assert_eq(ev.fflags & NOTE_DELETE, 0);
        unlink(path);
        if (i % 2 == 0) { /* and once without taking the event */
            cr_assert_eq(wait_for(kq, &ev, 1, 1000), 1);
            cr_assert(ev.fflags & NOTE_DELETE);
        }
        close(fd);
    }
}

/* Linux keeps 16,384 events for an inotify instance, and drops what comes then. */
LAYER(vnode_more_than_fits, "VNODE: much happens to two files, then something to a third: not lost")
{
    int kq = kqueue(), fd[3];
    char path[3][32] = {"/tmp/kqueue-test-XXXXXX", "/tmp/kqueue-test-XXXXXX",
                        "/tmp/kqueue-test-XXXXXX"};
    struct kevent ev[4];
    for (int i = 0; i < 3; i++) {
        fd[i] = mkstemp(path[i]);
        cr_assert_eq(watch_file(kq, fd[i], NOTE_WRITE | NOTE_DELETE), 0);
    }
    for (int i = 0; i < 20000; i++)
        cr_assert_eq(pwrite(fd[i % 2], "x", 1, 0), 1);
    unlink(path[2]);
    cr_assert_eq(wait_for(kq, ev, 4, 1000), 3);
    for (int i = 0; i < 3; i++)
        if (ev[i].ident == (uintptr_t)fd[2])
            cr_assert(ev[i].fflags & NOTE_DELETE);
    unlink(path[0]);
    unlink(path[1]);
}

#ifdef EVFILT_USER
LAYER(file_and_trigger_at_once, "a file's change that comes along with a trigger is not lost")
{
    int kq = kqueue(), seen = 0;
    char path[] = "/tmp/kqueue-test-XXXXXX";
    struct kevent ev[4];
    int fd = mkstemp(path);
    cr_assert_eq(apply(kq, change(1, EVFILT_USER, EV_ADD | EV_CLEAR)), 0);
    cr_assert_eq(watch_file(kq, fd, NOTE_WRITE), 0);
    cr_assert_eq(apply(kq, full(1, EVFILT_USER, 0, NOTE_TRIGGER, 0, 1)), 0);
    cr_assert_eq(write(fd, "x", 1), 1);
    while (seen < 2) {
        int n = wait_for(kq, ev, 4, 1000);
        cr_assert_gt(n, 0, "%d of 2 events", seen);
        seen += n;
    }
    cr_assert_eq(seen, 2);
    unlink(path);
}
#endif

/* ---- fork() ---------------------------------------------------------------------------------- */

/* A child that does nothing but hold what its parent had open, for some seconds at most. */
static pid_t bystander(void)
{
    pid_t child = fork();
    cr_assert_geq(child, 0);
    if (child == 0) {
        alarm(3);
        pause();
        _exit(0);
    }
    return child;
}

static void expect_silence(int kq)
{
    struct kevent ev;
    double start = seconds(CLOCK_PROCESS_CPUTIME_ID), begin = seconds(CLOCK_MONOTONIC);
    cr_assert_eq(wait_for(kq, &ev, 1, 100), 0);
    cr_assert_lt(seconds(CLOCK_PROCESS_CPUTIME_ID) - start, 0.05, "it spun");
    cr_assert_lt(seconds(CLOCK_MONOTONIC) - begin, 5, "100 ms were over long ago");
}

static void end_child(pid_t child)
{
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
}

LAYER(forked_timer, "a deleted timer does not wake a parent whose child still holds it")
{
    int kq = kqueue();
    cr_assert_eq(apply(kq, full(1, EVFILT_TIMER, EV_ADD, 0, 10, 0)), 0);
    pid_t child = bystander();
    cr_assert_eq(apply(kq, change(1, EVFILT_TIMER, EV_DELETE)), 0);
    expect_silence(kq);
    end_child(child);
}

/* Watches a child that ends at once. Returns it, or skips the test. */
static pid_t watch_child(int kq, flags_t flags)
{
    pid_t child = fork();
    if (child == 0) {
        sleep_ms(20);
        _exit(7);
    }
    int error = apply(kq, full(child, EVFILT_PROC, flags, NOTE_EXIT, 0, 0));
    if (error == ENOTSUP)
        cr_skip_test("this kernel has no pidfd_open()");
    cr_assert_eq(error, 0);
    return child;
}

LAYER(forked_process, "an exit that was reported wakes nobody again, whoever else has been forked")
{
    int kq = kqueue();
    struct kevent ev;
    pid_t first = watch_child(kq, EV_ADD), second = bystander();
    cr_assert_eq(wait_for(kq, &ev, 1, 5000), 1);
    expect_silence(kq);
    waitpid(first, NULL, 0);
    expect_silence(kq);
    end_child(second);
}

LAYER(disabled_process, "PROC: a disabled knote is silent, also when its process was waited for")
{
    int kq = kqueue();
    alarm(10); /* it has been seen to go on for ever */
    pid_t child = watch_child(kq, EV_ADD | EV_DISABLE);
    expect_silence(kq);
    cr_assert_eq(waitpid(child, NULL, 0), child);
    expect_silence(kq);
}

LAYER(forked_child_lets_go, "a child that closes its parent's kqueue does no harm")
{
    int kq = kqueue(), status = -1;
    char path[] = "/tmp/kqueue-test-XXXXXX";
    struct kevent ev;
    int fd = mkstemp(path);
    signal(SIGUSR1, SIG_IGN);
    cr_assert_eq(apply(kq, change(SIGUSR1, EVFILT_SIGNAL, EV_ADD)), 0);
    cr_assert_eq(watch_file(kq, fd, NOTE_WRITE), 0);
    pid_t child = fork();
    if (child == 0) {
        close(kq);
        _exit(kqueue() < 0);
    }
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert_eq(status, 0);
    kill(getpid(), SIGUSR1);
    cr_assert_eq(wait_for(kq, &ev, 1, 1000), 1, "the signal is not seen any more");
    cr_assert_eq(ev.filter, EVFILT_SIGNAL);
    cr_assert_eq(write(fd, "x", 1), 1);
    cr_assert_eq(wait_for(kq, &ev, 1, 1000), 1, "the file is not watched any more");
    cr_assert_eq(ev.filter, EVFILT_VNODE);
    unlink(path);
}

/* ---- Closed descriptors ---------------------------------------------------------------------- */

LAYER(short_connections, "300 connections, closed without EV_DELETE: each number works again")
{
    int kq = kqueue(), before = descriptors();
    for (int i = 0; i < 300; i++) {
        int end[2], reads = 0, writes = 0;
        struct kevent ev[4], list[2];
        socket_pair(end);
        list[0] = full(end[0], EVFILT_READ, EV_ADD | (i % 3 == 0 ? EV_CLEAR : 0), 0, 0, i);
        list[1] = full(end[0], EVFILT_WRITE, EV_ADD | (i % 2 == 0 ? EV_DISABLE : 0), 0, 0, i);
        cr_assert_eq(write(end[1], "x", 1), 1);
        cr_assert_eq(kevent(kq, list, 2, NULL, 0, NULL), 0);
        int n = wait_for(kq, ev, 4, 1000);
        cr_assert_eq(n, i % 2 == 0 ? 1 : 2, "connection %d: %d events", i, n);
        count(ev, n, end[0], &reads, &writes);
        for (int k = 0; k < n; k++)
            cr_assert_eq(ev[k].udata, (udata_t)(intptr_t)i);
        close(end[0]);
        close(end[1]);
    }
    struct kevent ev;
    cr_assert_eq(wait_for(kq, &ev, 1, 20), 0);
    cr_assert_leq(descriptors(), before + 1, "W, and nothing else");
}

LAYER(closed_and_now_a_file, "a socket's number that names a regular file now has no knote")
{
    int kq = kqueue(), end[2];
    char path[] = "/tmp/kqueue-test-XXXXXX";
    for (int i = 0; i < 2; i++) {
        socket_pair(end);
        cr_assert_eq(apply(kq, change(end[0], EVFILT_READ, EV_ADD)), 0);
        close(end[0]);
        int file = i == 0 ? mkstemp(path) : open(path, O_RDWR);
        cr_assert_eq(file, end[0]);
        int error = apply(kq, change(file, EVFILT_READ, i == 0 ? EV_DELETE : EV_ADD));
#ifdef KQUEUE_OVER_EPOLL
        cr_assert_eq(error, i == 0 ? ENOENT : ENOTSUP, "%s", strerror(error));
#else
        cr_assert_eq(error, i == 0 ? ENOENT : 0, "%s", strerror(error));
#endif
        close(file);
        close(end[1]);
    }
    unlink(path);
}

LAYER(leftover_of_a_dup, "a closed descriptor whose dup() lives neither reports nor spins")
{
    int kq = kqueue(), end[2], fresh[2];
    struct kevent ev[4];
    socket_pair(end);
    cr_assert_eq(write(end[1], "x", 1), 1);
    cr_assert_eq(apply(kq, full(end[0], EVFILT_READ, EV_ADD, 0, 0, 1)), 0);
    cr_assert_eq(apply(kq, full(end[0], EVFILT_WRITE, EV_ADD, 0, 0, 1)), 0);
    cr_assert_eq(apply(kq, full(1, EVFILT_TIMER, EV_ADD, 0, 400, 7)), 0);
    int healthy[2];
    socket_pair(healthy);
    cr_assert_eq(apply(kq, change(healthy[0], EVFILT_READ, EV_ADD | EV_DISABLE)), 0);
    cr_assert_eq(apply(kq, change(healthy[0], EVFILT_WRITE, EV_ADD | EV_DISABLE)), 0);
    int copy = dup(end[0]), number = end[0];
    close(end[0]);
    double start = seconds(CLOCK_PROCESS_CPUTIME_ID);
    cr_assert_eq(wait_for(kq, ev, 4, 200), 0);
    cr_assert_lt(seconds(CLOCK_PROCESS_CPUTIME_ID) - start, 0.1, "it spun");
    /* The other knotes have moved along. */
    cr_assert_eq(apply(kq, change(healthy[0], EVFILT_READ, EV_ENABLE)), 0);
    cr_assert_eq(apply(kq, change(healthy[0], EVFILT_WRITE, EV_ENABLE)), 0);
    cr_assert_eq(wait_for(kq, ev, 4, 100), 1);
    cr_assert_eq(ev[0].ident, (uintptr_t)healthy[0]);
    cr_assert_eq(ev[0].filter, EVFILT_WRITE);
    close(healthy[0]);
    /* The number is used again, and the old file is still ready. */
    socket_pair(fresh);
    cr_assert_eq(fresh[0], number);
    cr_assert_eq(apply(kq, full(number, EVFILT_READ, EV_ADD, 0, 0, 2)), 0);
    cr_assert_eq(wait_for(kq, ev, 4, 50), 0);
    cr_assert_eq(write(fresh[1], "yy", 2), 2);
    cr_assert_eq(wait_for(kq, ev, 4, 100), 1);
    cr_assert_eq(ev[0].udata, (udata_t)2);
    cr_assert_eq(ev[0].data, 2);
    char bytes[2];
    cr_assert_eq(read(fresh[0], bytes, 2), 2);
    cr_assert_eq(wait_for(kq, ev, 4, 1000), 1);
    cr_assert_eq(ev[0].udata, (udata_t)7, "the timer has moved along");
    close(copy);
}

LAYER(leftover_and_reuse, "the leftover of a dup() does not speak for the number's next owner")
{
    int kq = kqueue(), end[2], fresh[2];
    struct kevent ev[4];
    socket_pair(end);
    cr_assert_eq(write(end[1], "x", 1), 1);
    cr_assert_eq(apply(kq, full(end[0], EVFILT_READ, EV_ADD, 0, 0, 1)), 0);
    int copy = dup(end[0]), number = end[0];
    close(end[0]);
    socket_pair(fresh);
    cr_assert_eq(fresh[0], number);
    cr_assert_eq(apply(kq, full(number, EVFILT_READ, EV_ADD, 0, 0, 2)), 0);
    cr_assert_eq(wait_for(kq, ev, 4, 50), 0, "the new socket has nothing to read");
    cr_assert_eq(write(fresh[1], "yy", 2), 2);
    cr_assert_eq(wait_for(kq, ev, 4, 1000), 1);
    cr_assert_eq(ev[0].udata, (udata_t)2);
    cr_assert_eq(ev[0].data, 2);
    close(copy);
}

LAYER(leftover_and_a_stranger, "removing a leftover does not register a number's new owner")
{
    int kq = kqueue(), a[2], b[2], stranger[2];
    struct kevent ev[4];
    socket_pair(a);
    socket_pair(b);
    cr_assert_eq(apply(kq, full(a[0], EVFILT_READ, EV_ADD, 0, 0, 1)), 0);
    cr_assert_eq(apply(kq, full(b[0], EVFILT_READ, EV_ADD, 0, 0, 2)), 0);
    int copy = dup(b[0]), number = a[0];
    close(a[0]);
    socket_pair(stranger); /* takes a's number, and is never registered */
    cr_assert_eq(stranger[0], number);
    cr_assert_eq(write(stranger[1], "x", 1), 1);
    cr_assert_eq(write(b[1], "x", 1), 1);
    close(b[0]);
    cr_assert_eq(wait_for(kq, ev, 4, 50), 0);
    close(copy);
}

LAYER(leftover_comes_back, "a leftover's file can be registered again, under its old number")
{
    int kq = kqueue(), end[2];
    struct kevent ev[4];
    socket_pair(end);
    cr_assert_eq(apply(kq, full(end[0], EVFILT_READ, EV_ADD, 0, 0, 1)), 0);
    int copy = dup(end[0]);
    close(end[0]);
    cr_assert_eq(apply(kq, change(end[0], EVFILT_READ, EV_DELETE)), EBADF);
    cr_assert_eq(dup2(copy, end[0]), end[0]);
    cr_assert_eq(apply(kq, full(end[0], EVFILT_READ, EV_ADD, 0, 0, 2)), 0);
    cr_assert_eq(write(end[1], "x", 1), 1);
    cr_assert_eq(wait_for(kq, ev, 4, 1000), 1);
    cr_assert_eq(ev[0].udata, (udata_t)2);
    close(copy);
}

static void *wait_for_one(void *arg)
{
    struct kevent ev;
    return wait_for(*(int *)arg, &ev, 1, 5000) == 1 && ev.filter == EVFILT_READ ? arg : NULL;
}

/* With EV_CLEAR a write wakes one of them. The last removes the leftover, and the others sleep. */
LAYER(leftover_and_sleepers, "threads asleep in kevent() see what is added after a leftover's end")
{
    int kq = kqueue(), end[2], fresh[2];
    pthread_t thread[3];
    socket_pair(end);
    socket_pair(fresh);
    cr_assert_eq(apply(kq, full(end[0], EVFILT_READ, EV_ADD | EV_CLEAR, 0, 0, 1)), 0);
    for (int i = 0; i < 3; i++)
        cr_assert_eq(pthread_create(&thread[i], NULL, wait_for_one, &kq), 0);
    sleep_ms(50);
    int copy = dup(end[0]);
    close(end[0]);
    for (int i = 0; i < 17; i++) {
        cr_assert_eq(write(end[1], "x", 1), 1);
        sleep_ms(5);
    }
    cr_assert_eq(write(fresh[1], "x", 1), 1);
    cr_assert_eq(apply(kq, change(fresh[0], EVFILT_READ, EV_ADD)), 0);
    for (int i = 0; i < 3; i++) {
        void *result = NULL;
        pthread_join(thread[i], &result);
        cr_assert_not_null(result, "thread %d slept on", i);
    }
    close(copy);
}

LAYER(kqueues_do_not_leak, "close() of a kqueue: its helpers go with the next kqueue()")
{
    signal(SIGUSR1, SIG_IGN);
    int first = kqueue();
    close(first);
    int before = descriptors();
    for (int i = 0; i < 200; i++) {
        int kq = kqueue(), end[2];
        cr_assert_geq(kq, 0);
        socket_pair(end);
        cr_assert_eq(apply(kq, change(end[0], EVFILT_READ, EV_ADD)), 0);
        cr_assert_eq(apply(kq, change(end[0], EVFILT_WRITE, EV_ADD)), 0);
        cr_assert_eq(apply(kq, change(SIGUSR1, EVFILT_SIGNAL, EV_ADD)), 0);
        cr_assert_eq(apply(kq, full(1, EVFILT_TIMER, EV_ADD, 0, 1000, 0)), 0);
        cr_assert_eq(apply(kq, full(2, EVFILT_TIMER, EV_ADD, 0, 1000, 0)), 0);
        close(end[0]);
        close(end[1]);
        close(kq);
    }
    int kq = kqueue();
    cr_assert_leq(descriptors(), before + 3, "%d before, %d now", before, descriptors());
    close(kq);
}

LAYER(knotes_do_not_leak, "EV_DELETE gives a timer's or a process's descriptor back")
{
    int kq = kqueue();
    int before = descriptors();
    bool pidfd = apply(kq, full(getpid(), EVFILT_PROC, EV_ADD, NOTE_EXIT, 0, 0)) == 0;
    if (pidfd)
        cr_assert_eq(apply(kq, full(getpid(), EVFILT_PROC, EV_DELETE, 0, 0, 0)), 0);
    for (int i = 0; i < 100; i++) {
        cr_assert_eq(apply(kq, full(i, EVFILT_TIMER, EV_ADD, 0, 1000, 0)), 0);
        cr_assert_eq(apply(kq, full(i, EVFILT_TIMER, EV_DELETE, 0, 0, 0)), 0);
        if (pidfd) {
            struct kevent ev = full(getpid(), EVFILT_PROC, EV_ADD, NOTE_EXIT, 0, 0);
            cr_assert_eq(apply(kq, ev), 0);
            ev.flags = EV_DELETE;
            cr_assert_eq(apply(kq, ev), 0);
        }
    }
    cr_assert_eq(descriptors(), before);
}

LAYER(close_on_exec, "the kqueue and its helpers are close-on-exec")
{
    LAYER_ONLY();
    int before[64], kq;
    for (int fd = 0; fd < 64; fd++)
        before[fd] = fcntl(fd, F_GETFD);
    int end[2];
    kq = kqueue();
    socket_pair(end);
    cr_assert_eq(apply(kq, change(end[0], EVFILT_WRITE, EV_ADD)), 0);
    signal(SIGUSR1, SIG_IGN);
    cr_assert_eq(apply(kq, change(SIGUSR1, EVFILT_SIGNAL, EV_ADD)), 0);
    cr_assert_eq(apply(kq, full(1, EVFILT_TIMER, EV_ADD, 0, 1000, 0)), 0);
    for (int fd = 0; fd < 64; fd++)
        if (before[fd] < 0 && fcntl(fd, F_GETFD) >= 0 && fd != end[0] && fd != end[1])
            cr_assert_eq(fcntl(fd, F_GETFD), FD_CLOEXEC, "descriptor %d", fd);
}

/* ---- Size ------------------------------------------------------------------------------------ */

/* As many descriptors as wanted, or as the system allows, beside 200 for everything else. */
static int many_descriptors(int wanted)
{
    enum { ELSE = 200, TOO_FEW = 9000 };
    struct rlimit limit;
    rlim_t needed = (rlim_t)(wanted + ELSE);
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    limit.rlim_cur = limit.rlim_max < needed ? limit.rlim_max : needed;
    if (setrlimit(RLIMIT_NOFILE, &limit) < 0) { /* macOS: 10240 with some settings */
        limit.rlim_cur = TOO_FEW + ELSE;
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    cr_assert_eq(getrlimit(RLIMIT_NOFILE, &limit), 0);
    if (limit.rlim_cur < TOO_FEW + ELSE)
        cr_skip_test("this system allows %ld descriptors", (long)limit.rlim_cur);
    if (limit.rlim_cur >= needed)
        return wanted;
    int allowed = (int)limit.rlim_cur - ELSE;
    fprintf(stderr, "with %d descriptors instead of %d: the system allows no more\n", allowed,
            wanted);
    return allowed;
}

#ifdef EVFILT_USER
/* Registers n descriptors and n USER knotes; stores the seconds of `rounds` changes to each. */
static void cost_with(int n, int rounds, double best[2])
{
    int kq = kqueue(), end[2], first = -1;
    socket_pair(end);
    for (int i = 0; i < n; i++) {
        int fd = fcntl(end[0], F_DUPFD, 100);
        cr_assert_geq(fd, 0, "%s", strerror(errno));
        if (first < 0)
            first = fd;
        cr_assert_eq(apply(kq, change(fd, EVFILT_READ, EV_ADD)), 0);
        cr_assert_eq(apply(kq, change(i, EVFILT_USER, EV_ADD)), 0);
    }
    double start = seconds(CLOCK_PROCESS_CPUTIME_ID);
    for (int i = 0; i < rounds; i++) {
        apply(kq, change(first + i % n, EVFILT_READ, EV_DISABLE));
        apply(kq, change(first + i % n, EVFILT_READ, EV_DELETE));
        apply(kq, change(first + i % n, EVFILT_READ, EV_ADD));
    }
    double middle = seconds(CLOCK_PROCESS_CPUTIME_ID);
    for (int i = 0; i < rounds; i++) {
        apply(kq, change(i % n, EVFILT_USER, EV_DISABLE));
        apply(kq, change(i % n, EVFILT_USER, EV_DELETE));
        apply(kq, change(i % n, EVFILT_USER, EV_ADD));
    }
    double cost[2] = {middle - start, seconds(CLOCK_PROCESS_CPUTIME_ID) - middle};
    for (int i = 0; i < 2; i++)
        best[i] = cost[i] < best[i] ? cost[i] : best[i];
    for (int i = 0; i < n; i++)
        close(first + i);
    close(end[0]);
    close(end[1]);
    close(kq);
}

LAYER(size_does_not_matter, "a change costs the same with 1,000 and with 19,000 knotes of a kind")
{
    int n = many_descriptors(19000);
    double few[2] = {1e9, 1e9}, many[2] = {1e9, 1e9};
    for (int i = 0; i < 3; i++) {
        cost_with(1000, n, few);
        cost_with(n, n, many);
    }
    /* A linear search would make it 19 times as much; caches alone may make it twice. */
    cr_assert_lt(many[0], 4 * few[0], "READ: 1,000 %g s, %d %g s", few[0], n, many[0]);
    cr_assert_lt(many[1], 5 * few[1], "USER: 1,000 %g s, %d %g s", few[1], n, many[1]);
}
#endif

LAYER(nineteen_thousand_events, "19,000 ready descriptors are all reported, each once a turn")
{
    enum { N = 19000 };
    static unsigned char seen[N + 200];
    int n = many_descriptors(N), kq = kqueue(), end[2], total = 0;
    socket_pair(end);
    cr_assert_eq(write(end[1], "x", 1), 1);
    for (int i = 0; i < n; i++)
        cr_assert_eq(apply(kq, change(dup(end[0]), EVFILT_READ, EV_ADD | EV_CLEAR)), 0);
    for (;;) {
        static struct kevent ev[1024];
        int got = wait_for(kq, ev, 1024, 0);
        if (got <= 0)
            break;
        for (int i = 0; i < got; i++)
            cr_assert_eq(seen[ev[i].ident]++, 0, "twice");
        total += got;
    }
    cr_assert_eq(total, n);
}

/* ---- Threads --------------------------------------------------------------------------------- */

#define THREADS 18

static struct {
    int kq;
    int rounds;
    volatile bool stop;
} shared;

static void *churn(void *arg)
{
    intptr_t self = (intptr_t)arg;
    for (int i = 0; i < shared.rounds; i++) {
        int end[2];
        struct kevent ev[3];
        if (socketpair(AF_UNIX, SOCK_STREAM, 0, end) < 0 || write(end[1], "x", 1) != 1)
            return NULL;
        apply(shared.kq, change(end[0], EVFILT_READ, self % 2 == 0 ? EV_ADD : EV_ADD | EV_CLEAR));
        apply(shared.kq, change(end[0], EVFILT_WRITE, EV_ADD | EV_DISPATCH));
#ifdef EVFILT_USER
        apply(shared.kq, change(self, EVFILT_USER, EV_ADD | EV_CLEAR));
        apply(shared.kq, full(self, EVFILT_USER, 0, NOTE_TRIGGER, 0, self));
#endif
        apply(shared.kq, full(self, EVFILT_TIMER, EV_ADD | EV_ONESHOT, 0, 1, self));
        if (wait_for(shared.kq, ev, 3, 1) < 0)
            return NULL;
        apply(shared.kq, change(end[0], EVFILT_READ, EV_DISABLE));
        if (i % 2 == 0)
            apply(shared.kq, change(end[0], EVFILT_READ, EV_DELETE));
        close(end[0]);
        close(end[1]);
    }
    return arg;
}

LAYER(threads, "18 threads add, delete, trigger and wait on one kqueue at the same time")
{
    pthread_t thread[THREADS];
    shared.kq = kqueue();
    shared.rounds = 200;
    for (intptr_t i = 0; i < THREADS; i++)
        cr_assert_eq(pthread_create(&thread[i], NULL, churn, (void *)(i + 1)), 0);
    for (int i = 0; i < THREADS; i++) {
        void *result = NULL;
        pthread_join(thread[i], &result);
        cr_assert_not_null(result);
    }
    /* All sockets are closed and all triggers were taken or are taken now: silence follows. */
    struct kevent ev[64];
    for (int i = 0; wait_for(shared.kq, ev, 64, 20) > 0; i++)
        cr_assert_lt(i, 10, "the knotes of closed sockets still report");
}

#ifdef EVFILT_USER
/* Each thread takes what it gets; together they must get every trigger's knote exactly once. */
static int taken[64];

static void *take(void *arg)
{
    struct kevent ev[4];
    while (!__atomic_load_n(&shared.stop, __ATOMIC_SEQ_CST)) {
        int n = wait_for(shared.kq, ev, 4, 20);
        for (int i = 0; i < n; i++)
            __atomic_add_fetch(&taken[ev[i].ident], 1, __ATOMIC_SEQ_CST);
    }
    return arg;
}

LAYER(threads_share_the_events, "an EV_CLEAR event reaches one thread of several, and is not lost")
{
    pthread_t thread[6];
    shared.kq = kqueue();
    shared.stop = false;
    for (intptr_t i = 0; i < 64; i++)
        cr_assert_eq(apply(shared.kq, change(i, EVFILT_USER, EV_ADD | EV_CLEAR)), 0);
    for (int i = 0; i < 6; i++)
        cr_assert_eq(pthread_create(&thread[i], NULL, take, NULL), 0);
    for (int round = 1; round <= 20; round++) {
        for (intptr_t i = 0; i < 64; i++)
            cr_assert_eq(apply(shared.kq, full(i, EVFILT_USER, 0, NOTE_TRIGGER, 0, i)), 0);
        for (int i = 0; i < 64; i++)
            for (int ms = 0; __atomic_load_n(&taken[i], __ATOMIC_SEQ_CST) < round; ms++) {
                cr_assert_lt(ms, 5000, "trigger %d of round %d was lost", i, round);
                sleep_ms(1);
            }
    }
    __atomic_store_n(&shared.stop, true, __ATOMIC_SEQ_CST);
    for (int i = 0; i < 6; i++)
        pthread_join(thread[i], NULL);
    for (int i = 0; i < 64; i++)
        cr_assert_eq(taken[i], 20, "%d came %d times", i, taken[i]);
}
#endif

static void *own_kqueue(void *arg)
{
    for (int i = 0; i < 50; i++) {
        int kq = kqueue(), end[2];
        struct kevent ev;
        if (kq < 0 || socketpair(AF_UNIX, SOCK_STREAM, 0, end) < 0)
            return NULL;
        bool good = write(end[1], "x", 1) == 1 &&
                    apply(kq, change(end[0], EVFILT_READ, EV_ADD)) == 0 &&
                    wait_for(kq, &ev, 1, 5000) == 1 && ev.ident == (uintptr_t)end[0];
        close(end[0]);
        close(end[1]);
        close(kq);
        if (!good)
            return NULL;
    }
    return arg;
}

LAYER(threads_with_their_own_kqueues, "18 threads make, use and close kqueues of their own")
{
    pthread_t thread[THREADS];
    for (int i = 0; i < THREADS; i++)
        cr_assert_eq(pthread_create(&thread[i], NULL, own_kqueue, &shared), 0);
    for (int i = 0; i < THREADS; i++) {
        void *result = NULL;
        pthread_join(thread[i], &result);
        cr_assert_not_null(result);
    }
}

/* ---- Refusals -------------------------------------------------------------------------------- */

#ifdef KQUEUE_OVER_EPOLL
LAYER(refusals, "what the layer can not do is refused: ENOTSUP or EINVAL, as the header says")
{
    int kq = kqueue(), end[2], null = open("/dev/null", O_RDWR);
    char path[] = "/tmp/kqueue-test-XXXXXX";
    int file = mkstemp(path);
    unlink(path);
    socket_pair(end);
    const struct {
        struct kevent change;
        int error;
    } refused[] = {
        {full(end[0], EVFILT_AIO, EV_ADD, 0, 0, 0), ENOTSUP},
        {full(end[0], EVFILT_READ, EV_ADD, NOTE_LOWAT, 100, 0), ENOTSUP},
        {full(end[0], EVFILT_WRITE, EV_ADD, NOTE_LOWAT, 100, 0), ENOTSUP},
        {full(file, EVFILT_READ, EV_ADD, 0, 0, 0), ENOTSUP},
        {full(file, EVFILT_WRITE, EV_ADD, 0, 0, 0), ENOTSUP},
        {full(null, EVFILT_READ, EV_ADD, 0, 0, 0), ENOTSUP},
        {full(null, EVFILT_VNODE, EV_ADD, NOTE_WRITE, 0, 0), EINVAL},
        {full(getpid(), EVFILT_PROC, EV_ADD, NOTE_EXIT | 1, 0, 0), ENOTSUP},
        {full(getpid(), EVFILT_PROC, EV_ADD, 0, 0, 0), ENOTSUP},
        {full(0, EVFILT_PROC, EV_ADD, NOTE_EXIT, 0, 0), ESRCH},
        {full(end[0], -100, EV_ADD, 0, 0, 0), EINVAL},
        {full(end[0], 0, EV_ADD, 0, 0, 0), EINVAL},
        {full(end[0], EVFILT_READ, EV_ADD | EV_ENABLE | EV_DISABLE, 0, 0, 0), EINVAL},
        {full(1, EVFILT_TIMER, EV_ADD, 0, -1, 0), EINVAL},
        {full(1, EVFILT_TIMER, EV_ADD, NOTE_SECONDS | NOTE_USECONDS, 1, 0), EINVAL},
        {full(1, EVFILT_TIMER, EV_ADD, 0x100, 1, 0), EINVAL},
        {full(SIGKILL, EVFILT_SIGNAL, EV_ADD, 0, 0, 0), EINVAL},
        {full(SIGSTOP, EVFILT_SIGNAL, EV_ADD, 0, 0, 0), EINVAL},
        {full(0, EVFILT_SIGNAL, EV_ADD, 0, 0, 0), EINVAL},
        {full(65, EVFILT_SIGNAL, EV_ADD, 0, 0, 0), EINVAL},
        {full(-1, EVFILT_READ, EV_ADD, 0, 0, 0), EBADF},
        {full(1000000000, EVFILT_READ, EV_ADD, 0, 0, 0), EBADF},
        {full(-1, EVFILT_VNODE, EV_ADD, NOTE_WRITE, 0, 0), EBADF},
    };
    for (size_t i = 0; i < sizeof(refused) / sizeof(refused[0]); i++) {
        struct kevent ev;
        int error = apply(kq, refused[i].change);
        cr_expect_eq(error, refused[i].error, "%zu: %s", i, strerror(error));
        /* A refused change leaves nothing behind. */
        struct kevent again = refused[i].change;
        again.flags = EV_DELETE;
        again.fflags = 0;
        cr_expect_neq(apply(kq, again), 0, "%zu", i);
        cr_expect_eq(wait_for(kq, &ev, 1, 0), 0, "%zu", i);
    }
    errno = 0;
    cr_expect_eq(kevent(kq, NULL, -1, NULL, 0, NULL), -1);
    cr_expect_eq(errno, EINVAL);
    errno = 0;
    cr_expect_eq(kevent(end[0], NULL, 0, NULL, 0, NULL), -1);
    cr_expect_eq(errno, EBADF);
}
#endif

LAYER(receipts_without_room, "EV_RECEIPT without room stops the list, and is no error")
{
    LAYER_ONLY();
    int kq = kqueue(), end[2];
    struct kevent ev[2];
    socket_pair(end);
    struct kevent list[3] = {change(end[0], EVFILT_READ, EV_ADD | EV_RECEIPT),
                             change(end[0], EVFILT_WRITE, EV_ADD | EV_RECEIPT),
                             change(end[1], EVFILT_WRITE, EV_ADD | EV_RECEIPT)};
    cr_assert_eq(kevent(kq, list, 3, ev, 1, NULL), 1);
    cr_assert_eq(apply(kq, change(end[1], EVFILT_WRITE, EV_DELETE)), ENOENT);
    cr_assert_eq(kevent(kq, list, 3, NULL, 0, NULL), 0);
}

static void *hang_up(void *arg)
{
    int *peers = arg;
    for (int i = 0; i < 8; i++) {
        sleep_ms(60);
        close(peers[i]);
    }
    return NULL;
}

LAYER(the_limit_is_the_limit, "wake-ups that bring no event do not prolong the wait")
{
    int kq = kqueue(), peers[8];
    struct kevent ev;
    pthread_t thread;
    for (int i = 0; i < 8; i++) { /* epoll reports a hang-up even of a disabled knote */
        int end[2];
        socket_pair(end);
        peers[i] = end[1];
        cr_assert_eq(apply(kq, change(end[0], EVFILT_READ, EV_ADD | EV_DISABLE)), 0);
    }
    cr_assert_eq(pthread_create(&thread, NULL, hang_up, peers), 0);
    double start = seconds(CLOCK_MONOTONIC);
    cr_assert_eq(wait_for(kq, &ev, 1, 150), 0);
    double took = seconds(CLOCK_MONOTONIC) - start;
    cr_assert(took >= 0.149 && took < 0.45, "150 ms took %g s", took);
    pthread_join(thread, NULL);
}

static void interrupted(int signo)
{
    (void)signo;
}

LAYER(a_handler_interrupts, "a signal handler ends the wait with EINTR")
{
    int kq = kqueue();
    struct kevent ev;
    struct sigaction action;
    memset(&action, 0, sizeof(action));
    action.sa_handler = interrupted;
    sigaction(SIGALRM, &action, NULL);
    struct itimerval once;
    memset(&once, 0, sizeof(once));
    once.it_value.tv_usec = 50000;
    setitimer(ITIMER_REAL, &once, NULL);
    errno = 0;
    cr_assert_eq(wait_for(kq, &ev, 1, 5000), -1);
    cr_assert_eq(errno, EINTR);
}
