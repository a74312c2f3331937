/*
 * layer.c - what the Linux layer (06-kqueue/linux) promises beyond the statements of statements.c:
 * that the filters of one descriptor are independent, that it scales, that threads may share it,
 * that nothing leaks, and that it clearly refuses what it cannot do.
 *
 * Like statements.c it uses only the public interface, and compiles on a BSD. There it skips the
 * tests that ask for the layer's own choices.
 */
#include "fixture.h"

#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../harness/test.h"

/* A test begins with a kqueue `kq` and a pair of AF_UNIX sockets `p`, see fixture.h. */
#define LAYER(name, text)                                                                          \
    Test(layer, name, .description = (text), .init = begin_unix, .fini = remove_files,             \
         .timeout = 60)

#ifdef KQUEUE_OVER_EPOLL
#define LAYER_ONLY()                                                                               \
    do {                                                                                           \
    } while (0)
#else
#define LAYER_ONLY() cr_skip_test("about the layer over epoll; this system has its own kqueue")
#endif

/* ---- Helpers --------------------------------------------------------------------------------- */

static int descriptors(void)
{
    int n = 0;
    for (int fd = 0; fd < 4096; fd++)
        n += fcntl(fd, F_GETFD) >= 0;
    return n;
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

/* No event comes, and the wait costs no CPU time. A wait that spins would use all of the 100 ms, or
 * its share of them on a busy machine. */
static void expect_silence(void)
{
    struct kevent ev;
    double computed = cpu_time(), start = now();
    cr_assert_eq(wait_for(kq, &ev, 1, 100), 0);
    cr_assert_lt(cpu_time() - computed, 0.05, "it spun");
    cr_assert_lt(now() - start, 5, "100 ms were over long ago");
}

/* ---- READ and WRITE of one descriptor -------------------------------------------------------- */

LAYER(filters_share_the_room, "READ and WRITE of one descriptor take turns when one event fits")
{
    int reads = 0, writes = 0;
    struct kevent ev;
    feed(p, 1, 1);
    add(kq, p.end[0], EVFILT_READ, 0);
    add(kq, p.end[0], EVFILT_WRITE, 0);
    for (int i = 0; i < 10; i++) {
        cr_assert_eq(wait_for(kq, &ev, 1, SOON), 1);
        count(&ev, 1, p.end[0], &reads, &writes);
    }
    cr_assert_eq(reads, 5);
    cr_assert_eq(writes, 5);
}

LAYER(filters_have_their_own_flags, "EV_CLEAR, EV_ONESHOT, EV_DISPATCH of one spare the other")
{
    const flags_t flags[] = {EV_CLEAR, EV_ONESHOT, EV_DISPATCH};
    const filter_t filters[] = {EVFILT_READ, EVFILT_WRITE};
    for (size_t i = 0; i < 6; i++) {
        int seen[2] = {0, 0};
        filter_t once = filters[i % 2], level = filters[1 - i % 2];
        begin_again(AF_UNIX);
        feed(p, 1, 1);
        add(kq, p.end[0], once, flags[i / 2]);
        add(kq, p.end[0], level, 0);
        for (int k = 0; k < 6; k++) {
            struct kevent ev;
            cr_assert_eq(wait_for(kq, &ev, 1, SOON), 1);
            seen[ev.filter == once]++;
        }
        cr_assert_eq(seen[1], 1, "once, not %d times", seen[1]);
        cr_assert_eq(seen[0], 5);
    }
}

LAYER(filters_are_disabled_apart, "EV_DISABLE and EV_DELETE of one filter leave the other")
{
    struct kevent ev[4];
    feed(p, 1, 1);
    add(kq, p.end[0], EVFILT_READ, 0);
    add(kq, p.end[0], EVFILT_WRITE, EV_DISABLE);
    expect_one(kq, p.end[0], EVFILT_READ);
    cr_assert_eq(apply(kq, change(p.end[0], EVFILT_WRITE, EV_ENABLE)), 0);
    cr_assert_eq(wait_for(kq, ev, 4, SOON), 2);
    cr_assert_eq(apply(kq, change(p.end[0], EVFILT_READ, EV_DELETE)), 0);
    expect_one(kq, p.end[0], EVFILT_WRITE);
}

LAYER(the_room_is_respected, "never more events than the list has room for")
{
    struct pair each[4];
    for (int i = 0; i < 4; i++) {
        each[i] = pair_new(AF_UNIX);
        feed(each[i], 1, 1);
        add(kq, each[i].end[0], EVFILT_READ, 0);
        add(kq, each[i].end[0], EVFILT_WRITE, 0);
    }
    for (count_t room = 1; room <= 8; room++) {
        for (int turn = 0; turn < 12; turn++) {
            struct kevent ev[16];
            memset(ev, 0x55, sizeof ev);
            int n = wait_for(kq, ev, room, SOON);
            cr_assert(n > 0 && n <= (int)room, "%d events for %d", n, (int)room);
            for (size_t i = (size_t)room; i < 16; i++)
                cr_assert_eq(ev[i].ident, (uintptr_t)0x5555555555555555U, "wrote beyond the end");
        }
    }
}

LAYER(dispatched_stays_disabled, "EV_ADD does not enable what EV_DISPATCH disabled, as on FreeBSD")
{
    LAYER_ONLY();
    feed(p, 1, 1);
    add(kq, p.end[0], EVFILT_READ, EV_DISPATCH);
    expect_one(kq, p.end[0], EVFILT_READ);
    add(kq, p.end[0], EVFILT_READ, 0);
    expect_none(kq);
    add(kq, p.end[0], EVFILT_READ, EV_ENABLE);
    expect_one(kq, p.end[0], EVFILT_READ);
}

LAYER(all_kinds_share_the_room, "with room for one, every kind of knote gets its turn")
{
    int seen[12] = {0};
    feed(p, 1, 1);
    struct kevent list[] = {
        tagged(p.end[0], EVFILT_READ, EV_ADD, 0),    tagged(p.end[0], EVFILT_WRITE, EV_ADD, 1),
        tagged(p.end[1], EVFILT_WRITE, EV_ADD, 2),   full(1, EVFILT_TIMER, EV_ADD, 0, 1, 3),
#ifdef EVFILT_USER
        full(1, EVFILT_USER, EV_ADD, 0, 0, 4),       full(2, EVFILT_USER, EV_ADD, 0, 0, 5),
        full(1, EVFILT_USER, 0, NOTE_TRIGGER, 0, 4), full(2, EVFILT_USER, 0, NOTE_TRIGGER, 0, 5),
#endif
    };
    count_t n = (count_t)(sizeof list / sizeof list[0]);
    cr_assert_eq(kevent(kq, list, n, NULL, 0, NULL), 0);
    for (int i = 0; i < 60; i++) {
        struct kevent ev;
        cr_assert_eq(wait_for(kq, &ev, 1, SOON), 1);
        seen[(intptr_t)ev.udata]++;
        sleep_ms(1); /* the timer's period: it is due each time */
    }
    for (int i = 0; i < (n > 4 ? 6 : 4); i++)
        cr_assert_geq(seen[i], 4, "knote %d came %d times of 60", i, seen[i]);
}

#ifdef EVFILT_USER
LAYER(user_knotes_rotate, "level USER knotes that do not fit take turns, and none comes twice")
{
    bool seen[5] = {false};
    for (int i = 0; i < 5; i++) {
        add(kq, i, EVFILT_USER, 0);
        cr_assert_eq(trigger(kq, i), 0);
    }
    struct kevent ev[8];
    cr_assert_eq(wait_for(kq, ev, 8, SOON), 5, "each once, though there is more room");
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(wait_for(kq, ev, 2, SOON), 2);
        for (int k = 0; k < 2; k++) {
            cr_assert_not(seen[ev[k].ident]);
            seen[ev[k].ident] = true;
        }
    }
}

LAYER(user_fflags, "USER: fflags combine as asked for, and survive EV_CLEAR as on FreeBSD")
{
    LAYER_ONLY();
    cr_assert_eq(apply(kq, full(1, EVFILT_USER, EV_ADD | EV_CLEAR, 0x0f, 0, 0)), 0);
    const struct {
        fflags_t change, result;
    } step[] = {{NOTE_TRIGGER, 0x0f},
                {NOTE_TRIGGER | NOTE_FFOR | 0x30, 0x3f},
                {NOTE_TRIGGER | NOTE_FFAND | 0x3c, 0x3c},
                {NOTE_TRIGGER | NOTE_FFCOPY | 0x01, 0x01},
                {NOTE_TRIGGER | NOTE_FFNOP | 0x70, 0x01}};
    for (size_t i = 0; i < sizeof step / sizeof step[0]; i++) {
        cr_assert_eq(apply(kq, full(1, EVFILT_USER, 0, step[i].change, (data_t)i, 9)), 0);
        struct kevent ev = expect_one(kq, 1, EVFILT_USER);
        cr_assert_eq(ev.fflags, step[i].result);
        cr_assert_eq(ev.data, (data_t)i);
        cr_assert_eq(ev.udata, tag(9));
        expect_none(kq);
    }
}

LAYER(user_flags, "USER: EV_ONESHOT deletes, EV_DISPATCH and EV_DISABLE withhold")
{
    struct pollfd pollable = {.fd = kq, .events = POLLIN};
    add(kq, 1, EVFILT_USER, EV_ONESHOT);
    cr_assert_eq(trigger(kq, 1), 0);
    expect_one(kq, 1, EVFILT_USER);
    cr_assert_eq(apply(kq, change(1, EVFILT_USER, EV_DELETE)), ENOENT);
    add(kq, 2, EVFILT_USER, EV_DISPATCH);
    cr_assert_eq(trigger(kq, 2), 0);
    expect_one(kq, 2, EVFILT_USER);
    expect_none(kq);
    cr_assert_eq(apply(kq, change(2, EVFILT_USER, EV_ENABLE)), 0);
    expect_one(kq, 2, EVFILT_USER); /* still triggered */
    add(kq, 3, EVFILT_USER, EV_CLEAR | EV_DISABLE);
    cr_assert_eq(trigger(kq, 3), 0);
    expect_none(kq);
    cr_assert_eq(apply(kq, change(3, EVFILT_USER, EV_ENABLE)), 0);
    expect_one(kq, 3, EVFILT_USER);
    cr_assert_eq(poll(&pollable, 1, NEVER), 0, "nothing is pending, and the kqueue is readable");
    cr_assert_eq(trigger(kq, 3), 0);
    cr_assert_eq(poll(&pollable, 1, SOON), 1);
    cr_assert_eq(apply(kq, change(3, EVFILT_USER, EV_DISABLE)), 0);
    cr_assert_eq(poll(&pollable, 1, NEVER), 0, "EV_DISABLE withholds what is pending");
    expect_none(kq);
    cr_assert_eq(apply(kq, change(3, EVFILT_USER, EV_ENABLE)), 0);
    expect_one(kq, 3, EVFILT_USER);
}

LAYER(user_and_signal_at_once, "a level USER knote beside a signal is reported once, not twice")
{
    struct kevent ev[8];
    signal(SIGUSR1, SIG_IGN);
    add(kq, 1, EVFILT_USER, 0);
    add(kq, SIGUSR1, EVFILT_SIGNAL, 0);
    cr_assert_eq(trigger(kq, 1), 0);
    kill(getpid(), SIGUSR1);
    cr_assert_eq(wait_for(kq, ev, 8, SOON), 2);
    cr_assert_neq(ev[0].filter, ev[1].filter);
    expect_one(kq, 1, EVFILT_USER);
}
#endif

/* Is the kqueue readable although kevent() finds nothing? Then kevent() must make it unreadable. */
static bool wakes_in_vain(void)
{
    struct pollfd pollable = {.fd = kq, .events = POLLIN};
    bool readable = poll(&pollable, 1, NEVER) == 1;
    expect_none(kq);
    cr_assert_eq(poll(&pollable, 1, NEVER), 0, "an outer poll() would spin");
    return readable;
}

LAYER(wakes_in_vain_once, "what a disabled knote does not report wakes an outer poll(), but once")
{
    LAYER_ONLY();
    int file = file_new("file");
    signal(SIGUSR1, SIG_IGN);
    add(kq, SIGUSR1, EVFILT_SIGNAL, EV_DISABLE);
    watch(kq, file, NOTE_WRITE);
    add(kq, p.end[0], EVFILT_READ, EV_DISABLE);
    cr_assert_not(wakes_in_vain());
    kill(getpid(), SIGUSR1);
    cr_expect(wakes_in_vain(), "the header need not mention a signal");
    cr_assert_eq(fchmod(file, 0640), 0);
    cr_expect(wakes_in_vain(), "the header need not mention a file");
    close(p.end[1]);
    cr_expect(wakes_in_vain(), "the header need not mention a hang-up");
}

/* ---- Timers, signals, processes, files ------------------------------------------------------- */

#ifdef NOTE_SECONDS /* NetBSD has had it since 10 */
LAYER(timer_units, "TIMER: NOTE_SECONDS, NOTE_USECONDS and NOTE_NSECONDS are what they say")
{
    const struct {
        fflags_t unit;
        data_t data;
        double lasts; /* seconds */
    } times[] = {{NOTE_USECONDS, 60000, 0.06},
                 {NOTE_NSECONDS, 60000000, 0.06},
                 {0, 60, 0.06},
                 {NOTE_SECONDS, 1, 1}};
    for (size_t i = 0; i < sizeof times / sizeof times[0]; i++) {
        const flags_t once = EV_ADD | EV_ONESHOT;
        double start = now(), lasts = times[i].lasts;
        cr_assert_eq(apply(kq, full(1, EVFILT_TIMER, once, times[i].unit, times[i].data, 0)), 0);
        expect_one(kq, 1, EVFILT_TIMER);
        double took = now() - start;
        cr_assert(took >= lasts - 0.005 && took < lasts + 1, "%zu took %g s", i, took);
    }
}
#endif

LAYER(timer_restarts, "TIMER: EV_ADD of a running timer restarts it with the new time")
{
    LAYER_ONLY();
    struct pollfd pollable = {.fd = kq, .events = POLLIN};
    cr_assert_eq(timer(kq, 1, EV_ADD, 5), 0);
    cr_assert_eq(poll(&pollable, 1, SOON), 1, "it has expired");
    cr_assert_eq(timer(kq, 1, EV_ADD, 60000), 0);
    expect_none(kq); /* the old expirations are dropped */
    cr_assert_eq(timer(kq, 1, EV_ADD, 5), 0);
    expect_one(kq, 1, EVFILT_TIMER);
}

LAYER(timer_disabled, "TIMER: a disabled timer goes on counting; EV_DISPATCH disables it")
{
    LAYER_ONLY();
    cr_assert_eq(timer(kq, 1, EV_ADD | EV_DISPATCH, 5), 0);
    expect_one(kq, 1, EVFILT_TIMER);
    expect_silence(); /* for 20 expirations */
    cr_assert_eq(apply(kq, change(1, EVFILT_TIMER, EV_ENABLE)), 0);
    struct kevent ev;
    cr_assert_eq(wait_for(kq, &ev, 1, 0), 1, "at once");
    cr_assert_geq(ev.data, 5);
}

#ifdef KQUEUE_OVER_EPOLL
static data_t clock_ms(void)
{
    struct timespec t;
    clock_gettime(CLOCK_REALTIME, &t);
    return (data_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
}

LAYER(timer_absolute, "TIMER: NOTE_ABSTIME is a point in time, and is reported once")
{
    data_t then = clock_ms() + 50;
    cr_assert_eq(timer(kq, 1, EV_ADD, 60000), 0);
    cr_assert_eq(apply(kq, full(1, EVFILT_TIMER, EV_ADD, NOTE_ABSTIME, then, 0)), 0);
    expect_one(kq, 1, EVFILT_TIMER);
    cr_assert_geq(clock_ms(), then, "not before");
    struct kevent ev;
    cr_assert_eq(wait_for(kq, &ev, 1, 80), 0);
    cr_assert_eq(apply(kq, full(1, EVFILT_TIMER, EV_ADD, NOTE_ABSTIME, 1, 0)), 0, "long past");
    expect_one(kq, 1, EVFILT_TIMER);
}
#endif

LAYER(sub_millisecond_timeouts, "a timeout of 200 us is neither 0 nor a whole tick of 10 ms")
{
    LAYER_ONLY();
    struct kevent ev;
    struct timespec limit = {.tv_sec = 0, .tv_nsec = 200000};
    double start = now();
    for (int i = 0; i < 50; i++)
        cr_assert_eq(kevent(kq, NULL, 0, &ev, 1, &limit), 0);
    double took = now() - start;
    cr_assert(took >= 0.01 && took < 0.5, "50 times 200 us took %g s", took);
}

LAYER(two_kqueues_one_signal, "a signal that two kqueues watch is reported by both")
{
    int both[2] = {kq, kqueue_new()};
    signal(SIGUSR1, SIG_IGN);
    for (int i = 0; i < 2; i++)
        add(both[i], SIGUSR1, EVFILT_SIGNAL, 0);
    for (int round = 0; round < 3; round++) {
        kill(getpid(), SIGUSR1);
        for (int i = 0; i < 2; i++) {
            struct kevent ev; /* room for one: more would hide an old event */
            cr_assert_eq(wait_for(both[(i + round) % 2], &ev, 1, SOON), 1);
            cr_assert_eq(ev.data, 1);
        }
    }
    /* The first EV_DELETE must not unblock what the other still watches. */
    cr_assert_eq(apply(both[0], change(SIGUSR1, EVFILT_SIGNAL, EV_DELETE)), 0);
    kill(getpid(), SIGUSR1);
    expect_one(both[1], SIGUSR1, EVFILT_SIGNAL);
}

LAYER(signals_are_unblocked_again, "EV_DELETE gives the signal mask back as it was")
{
    sigset_t mask;
    signal(SIGUSR1, SIG_IGN);
    add(kq, SIGUSR1, EVFILT_SIGNAL, 0);
    add(kq, SIGUSR1, EVFILT_SIGNAL, 0); /* twice counts once */
    cr_assert_eq(apply(kq, change(SIGUSR1, EVFILT_SIGNAL, EV_DELETE)), 0);
    sigprocmask(SIG_BLOCK, NULL, &mask);
    cr_assert_eq(sigismember(&mask, SIGUSR1), 0);
    sigemptyset(&mask);
    sigaddset(&mask, SIGUSR2);
    sigprocmask(SIG_BLOCK, &mask, NULL);
    add(kq, SIGUSR2, EVFILT_SIGNAL, 0);
    cr_assert_eq(apply(kq, change(SIGUSR2, EVFILT_SIGNAL, EV_DELETE)), 0);
    sigprocmask(SIG_BLOCK, NULL, &mask);
    cr_assert_eq(sigismember(&mask, SIGUSR2), 1, "the program's own block stays");
}

LAYER(signal_disabled_and_oneshot, "SIGNAL: EV_DISABLE withholds and counts, EV_ONESHOT deletes")
{
    signal(SIGUSR1, SIG_IGN);
    add(kq, SIGUSR1, EVFILT_SIGNAL, EV_DISABLE);
    for (int i = 0; i < 2; i++) {
        kill(getpid(), SIGUSR1);
        expect_none(kq);
    }
    cr_assert_eq(apply(kq, change(SIGUSR1, EVFILT_SIGNAL, EV_ENABLE)), 0);
    cr_assert_eq(expect_one(kq, SIGUSR1, EVFILT_SIGNAL).data, 2);
    signal(SIGUSR2, SIG_IGN);
    add(kq, SIGUSR2, EVFILT_SIGNAL, EV_ONESHOT);
    kill(getpid(), SIGUSR2);
    expect_one(kq, SIGUSR2, EVFILT_SIGNAL);
    cr_assert_eq(apply(kq, change(SIGUSR2, EVFILT_SIGNAL, EV_DELETE)), ENOENT);
}

/* A child that exits with 7 as soon as it can read something from p. */
static pid_t child_new(void)
{
    pid_t child = fork();
    cr_assert_geq(child, 0);
    if (child == 0) {
        struct pollfd told = {.fd = p.end[0], .events = POLLIN};
        close(p.end[1]); /* so it ends with its parent, too */
        poll(&told, 1, -1);
        _exit(7);
    }
    return child;
}

static void watch_process(pid_t process, flags_t flags)
{
    int error = apply(kq, full(process, EVFILT_PROC, (flags_t)(EV_ADD | flags), NOTE_EXIT, 0, 3));
    if (error == ENOTSUP)
        cr_skip_test("this kernel has no pidfd_open()");
    cr_assert_eq(error, 0, "%s", strerror(error));
}

LAYER(process_exit, "PROC NOTE_EXIT: once, with the wait status, which waitpid() still gets")
{
    int status = 0;
    pid_t child = child_new();
    watch_process(child, 0);
    expect_none(kq);
    feed(p, 1, 1);
    struct kevent ev = expect_one(kq, child, EVFILT_PROC);
    cr_assert(ev.fflags & NOTE_EXIT);
    cr_assert_eq(ev.udata, tag(3));
    cr_assert_eq(waitpid(child, &status, 0), child);
#ifndef __APPLE__ /* macOS reports it only for NOTE_EXITSTATUS */
    cr_assert_eq(ev.data, status);
#endif
    cr_assert_eq(WEXITSTATUS(status), 7);
    expect_none(kq);
    cr_assert_eq(apply(kq, full(child, EVFILT_PROC, EV_ADD, NOTE_EXIT, 0, 3)), ESRCH);
}

LAYER(process_killed, "PROC NOTE_EXIT: a signal's status, too")
{
    LAYER_ONLY();
    int status = 0;
    pid_t child = child_new();
    watch_process(child, 0);
    kill(child, SIGKILL);
    struct kevent ev = expect_one(kq, child, EVFILT_PROC);
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert_eq(ev.data, status);
    cr_assert_eq(WTERMSIG(status), SIGKILL);
}

static void watch_tagged(int fd, flags_t flags, fflags_t fflags, intptr_t udata)
{
    cr_assert_eq(apply(kq, full(fd, EVFILT_VNODE, (flags_t)(EV_ADD | flags), fflags, 0, udata)), 0);
}

LAYER(vnode_other_wishes, "VNODE: EV_ADD of a knote that is there changes what it is asked for")
{
    int fd = file_new("file");
    watch_tagged(fd, EV_CLEAR, NOTE_WRITE, 1);
    watch_tagged(fd, EV_CLEAR, NOTE_ATTRIB, 2);
    cr_assert_eq(chmod("file", 0640), 0);
    struct kevent ev = expect_one(kq, fd, EVFILT_VNODE);
    cr_assert(ev.fflags & NOTE_ATTRIB);
    cr_assert_eq(ev.udata, tag(2));
}

LAYER(vnode_two_descriptors, "VNODE: two descriptors of one file, each with its own wishes")
{
    int a = file_new("file"), b = open("file", O_RDWR);
    struct kevent ev[4];
    watch_tagged(a, EV_CLEAR, NOTE_WRITE, 1);
    watch_tagged(b, EV_CLEAR, NOTE_WRITE | NOTE_DELETE, 2);
    cr_assert_eq(write(b, "x", 1), 1);
    cr_assert_eq(wait_for(kq, ev, 4, SOON), 2);
    unlink("file");
    ev[0] = expect_one(kq, b, EVFILT_VNODE);
    cr_assert_eq(ev[0].udata, tag(2));
    cr_assert(ev[0].fflags & NOTE_DELETE);
    cr_assert_eq(apply(kq, change(b, EVFILT_VNODE, EV_DELETE)), 0);
    cr_assert_eq(write(b, "y", 1), 1);
    cr_assert_eq(expect_one(kq, a, EVFILT_VNODE).udata, tag(1), "the first goes on");
}

LAYER(vnode_closed, "VNODE: a closed descriptor's knote is gone, also when the number is reused")
{
    int fd = file_new("file"), other = open("file", O_WRONLY);
    watch_tagged(fd, 0, NOTE_WRITE, 1);
    close(fd);
    cr_assert_eq(write(other, "x", 1), 1);
    expect_none(kq);
    cr_assert_eq(apply(kq, change(fd, EVFILT_VNODE, EV_DELETE)), EBADF);
    cr_assert_eq(file_new("second"), fd, "the number is free again");
    cr_assert_eq(apply(kq, change(fd, EVFILT_VNODE, EV_ENABLE)), ENOENT);
    watch_tagged(fd, 0, NOTE_WRITE, 2);
    cr_assert_eq(write(other, "x", 1), 1);
    expect_none(kq);
    cr_assert_eq(write(fd, "x", 1), 1);
    for (int i = 0; i < 2; i++) /* without EV_CLEAR it repeats */
        cr_assert_eq(expect_one(kq, fd, EVFILT_VNODE).udata, tag(2));
}

LAYER(vnode_closed_while_pending, "VNODE: what was pending when the descriptor was closed is gone")
{
    const char *name[] = {"first", "second"};
    int fd[2];
    struct kevent ev;
    for (int i = 0; i < 2; i++) {
        fd[i] = file_new(name[i]);
        watch(kq, fd[i], NOTE_WRITE);
        cr_assert_eq(write(fd[i], "x", 1), 1);
    }
    cr_assert_eq(wait_for(kq, &ev, 1, SOON), 1);
    int other = ev.ident == (uintptr_t)fd[0] ? 1 : 0;
    close(fd[other]);
    expect_none(kq);
    /* Without EV_CLEAR it is pending as long as the descriptor is open, and no longer. */
    int level = open(name[other], O_RDWR);
    watch_tagged(level, 0, NOTE_WRITE, 0);
    cr_assert_eq(write(level, "x", 1), 1);
    expect_one(kq, level, EVFILT_VNODE);
    close(level);
    expect_none(kq);
}

/* Some file systems, such as ext4, give a new file the inode number of the one just removed. Then a
 * different file has the same descriptor, device and inode. */
LAYER(vnode_removed_and_made_anew, "VNODE: a new file in the old one's place is watched, too")
{
    for (int i = 0; i < 4; i++) {
        int fd = file_new("file");
        watch(kq, fd, NOTE_WRITE | NOTE_DELETE);
        cr_assert_eq(write(fd, "x", 1), 1);
        cr_assert_eq(expect_one(kq, fd, EVFILT_VNODE).fflags & NOTE_DELETE, 0, "file %d", i);
        unlink("file");
        if (i % 2 == 0) /* and once without taking the event */
            cr_assert(expect_one(kq, fd, EVFILT_VNODE).fflags & NOTE_DELETE);
        close(fd);
    }
}

/* Linux keeps 16,384 events for an inotify instance, and drops later ones. */
LAYER(vnode_more_than_fits, "VNODE: much happens to two files, then something to a third: not lost")
{
    const char *name[] = {"first", "second", "third"};
    int fd[3];
    struct kevent ev[4];
    for (int i = 0; i < 3; i++) {
        fd[i] = file_new(name[i]);
        watch(kq, fd[i], NOTE_WRITE | NOTE_DELETE);
    }
    for (int i = 0; i < 20000; i++)
        cr_assert_eq(pwrite(fd[i % 2], "x", 1, 0), 1);
    unlink("third");
    cr_assert_eq(wait_for(kq, ev, 4, SOON), 3);
    for (int i = 0; i < 3; i++)
        if (ev[i].ident == (uintptr_t)fd[2])
            cr_assert(ev[i].fflags & NOTE_DELETE);
}

#ifdef EVFILT_USER
LAYER(file_and_trigger_at_once, "a file's change that comes along with a trigger is not lost")
{
    int seen = 0, fd = file_new("file");
    struct kevent ev[4];
    add(kq, 1, EVFILT_USER, EV_CLEAR);
    watch(kq, fd, NOTE_WRITE);
    cr_assert_eq(trigger(kq, 1), 0);
    cr_assert_eq(write(fd, "x", 1), 1);
    while (seen < 2) {
        int n = wait_for(kq, ev, 4, SOON);
        cr_assert_gt(n, 0, "%d of 2 events", seen);
        seen += n;
    }
    cr_assert_eq(seen, 2);
}
#endif

/* ---- fork() ---------------------------------------------------------------------------------- */

/* A child that only holds its parent's open descriptors, for some seconds at most. */
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

static void end_child(pid_t child)
{
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
}

LAYER(forked_timer, "a deleted timer does not wake a parent whose child still holds it")
{
    cr_assert_eq(timer(kq, 1, EV_ADD, 10), 0);
    pid_t child = bystander();
    cr_assert_eq(apply(kq, change(1, EVFILT_TIMER, EV_DELETE)), 0);
    expect_silence();
    end_child(child);
}

LAYER(forked_process,
      "an exit that was reported does not wake again, though a child holds its descriptors")
{
    pid_t first = child_new();
    watch_process(first, 0);
    pid_t second = bystander(); /* it holds what watches the first */
    feed(p, 1, 1);
    expect_one(kq, first, EVFILT_PROC);
    expect_silence();
    waitpid(first, NULL, 0);
    expect_silence();
    end_child(second);
}

LAYER(disabled_process, "PROC: a disabled knote is silent, also when its process was waited for")
{
    alarm(10); /* this test has run forever before */
    pid_t child = child_new();
    watch_process(child, EV_DISABLE);
    feed(p, 1, 1);
    expect_silence();
    cr_assert_eq(waitpid(child, NULL, 0), child);
    expect_silence();
}

LAYER(forked_child_lets_go, "a child that closes its parent's kqueue does no harm")
{
    int status = -1, fd = file_new("file");
    signal(SIGUSR1, SIG_IGN);
    add(kq, SIGUSR1, EVFILT_SIGNAL, 0);
    watch(kq, fd, NOTE_WRITE);
    pid_t child = fork();
    if (child == 0) {
        close(kq);
        _exit(kqueue() < 0);
    }
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert_eq(status, 0);
    kill(getpid(), SIGUSR1);
    expect_one(kq, SIGUSR1, EVFILT_SIGNAL); /* the signal is still seen */
    cr_assert_eq(write(fd, "x", 1), 1);
    expect_one(kq, fd, EVFILT_VNODE); /* the file is still watched */
}

/* ---- Closed descriptors ---------------------------------------------------------------------- */

LAYER(short_connections, "300 connections, closed without EV_DELETE: each number works again")
{
    int before = descriptors();
    for (int i = 0; i < 300; i++) {
        int reads = 0, writes = 0;
        struct kevent ev[4], list[2];
        p = pair_new(AF_UNIX);
        list[0] = tagged(p.end[0], EVFILT_READ, EV_ADD | (i % 3 == 0 ? EV_CLEAR : 0), i);
        list[1] = tagged(p.end[0], EVFILT_WRITE, EV_ADD | (i % 2 == 0 ? EV_DISABLE : 0), i);
        feed(p, 1, 1);
        cr_assert_eq(kevent(kq, list, 2, NULL, 0, NULL), 0);
        int n = wait_for(kq, ev, 4, SOON);
        cr_assert_eq(n, i % 2 == 0 ? 1 : 2, "connection %d: %d events", i, n);
        count(ev, n, p.end[0], &reads, &writes);
        for (int k = 0; k < n; k++)
            cr_assert_eq(ev[k].udata, tag(i));
        pair_close(p);
    }
    expect_none(kq);
    cr_assert_leq(descriptors(), before + 1, "W, and nothing else");
}

LAYER(closed_and_now_a_file, "a socket's number that names a regular file now has no knote")
{
    for (int i = 0; i < 2; i++) {
        p = pair_new(AF_UNIX);
        add(kq, p.end[0], EVFILT_READ, 0);
        close(p.end[0]);
        int file = file_new("file");
        cr_assert_eq(file, p.end[0]);
        int error = apply(kq, change(file, EVFILT_READ, i == 0 ? EV_DELETE : EV_ADD));
#ifdef KQUEUE_OVER_EPOLL
        cr_assert_eq(error, i == 0 ? ENOENT : ENOTSUP, "%s", strerror(error));
#else
        cr_assert_eq(error, i == 0 ? ENOENT : 0, "%s", strerror(error));
#endif
        close(file);
        close(p.end[1]);
    }
}

LAYER(leftover_of_a_dup, "a closed descriptor whose dup() lives neither reports nor spins")
{
    feed(p, 1, 1);
    cr_assert_eq(apply(kq, tagged(p.end[0], EVFILT_READ, EV_ADD, 1)), 0);
    cr_assert_eq(apply(kq, tagged(p.end[0], EVFILT_WRITE, EV_ADD, 1)), 0);
    /* The timer must still run at the end, even on a busy machine: the rest takes 150 ms. */
    cr_assert_eq(apply(kq, full(1, EVFILT_TIMER, EV_ADD, 0, 600, 7)), 0);
    struct pair healthy = pair_new(AF_UNIX);
    add(kq, healthy.end[0], EVFILT_READ, EV_DISABLE);
    add(kq, healthy.end[0], EVFILT_WRITE, EV_DISABLE);
    cr_assert_geq(dup(p.end[0]), 0);
    close(p.end[0]);
    expect_silence();
    /* The other knotes have moved along. */
    cr_assert_eq(apply(kq, change(healthy.end[0], EVFILT_READ, EV_ENABLE)), 0);
    cr_assert_eq(apply(kq, change(healthy.end[0], EVFILT_WRITE, EV_ENABLE)), 0);
    expect_one(kq, healthy.end[0], EVFILT_WRITE);
    close(healthy.end[0]);
    /* The number is used again, and the old file is still ready. */
    struct pair fresh = pair_new(AF_UNIX);
    cr_assert_eq(fresh.end[0], p.end[0]);
    cr_assert_eq(apply(kq, tagged(fresh.end[0], EVFILT_READ, EV_ADD, 2)), 0);
    expect_none(kq);
    feed(fresh, 2, 2);
    struct kevent ev = expect_one(kq, fresh.end[0], EVFILT_READ);
    cr_assert_eq(ev.udata, tag(2));
    cr_assert_eq(ev.data, 2);
    eat(fresh, 2);
    cr_assert_eq(expect_one(kq, 1, EVFILT_TIMER).udata, tag(7), "the timer has moved along");
}

LAYER(leftover_and_reuse, "the leftover of a dup() does not speak for the number's next owner")
{
    feed(p, 1, 1);
    cr_assert_eq(apply(kq, tagged(p.end[0], EVFILT_READ, EV_ADD, 1)), 0);
    cr_assert_geq(dup(p.end[0]), 0);
    close(p.end[0]);
    struct pair fresh = pair_new(AF_UNIX);
    cr_assert_eq(fresh.end[0], p.end[0]);
    cr_assert_eq(apply(kq, tagged(fresh.end[0], EVFILT_READ, EV_ADD, 2)), 0);
    expect_none(kq); /* the new socket has nothing to read */
    feed(fresh, 2, 2);
    struct kevent ev = expect_one(kq, fresh.end[0], EVFILT_READ);
    cr_assert_eq(ev.udata, tag(2));
    cr_assert_eq(ev.data, 2);
}

LAYER(leftover_and_a_stranger, "removing a leftover does not register a number's new owner")
{
    struct pair q = pair_new(AF_UNIX);
    cr_assert_eq(apply(kq, tagged(p.end[0], EVFILT_READ, EV_ADD, 1)), 0);
    cr_assert_eq(apply(kq, tagged(q.end[0], EVFILT_READ, EV_ADD, 2)), 0);
    cr_assert_geq(dup(q.end[0]), 0);
    close(p.end[0]);
    struct pair stranger = pair_new(AF_UNIX); /* takes p's number, and is never registered */
    cr_assert_eq(stranger.end[0], p.end[0]);
    feed(stranger, 1, 1);
    feed(q, 1, 1);
    close(q.end[0]);
    expect_none(kq);
}

LAYER(leftover_comes_back, "a leftover's file can be registered again, under its old number")
{
    cr_assert_eq(apply(kq, tagged(p.end[0], EVFILT_READ, EV_ADD, 1)), 0);
    int copy = dup(p.end[0]);
    close(p.end[0]);
    cr_assert_eq(apply(kq, change(p.end[0], EVFILT_READ, EV_DELETE)), EBADF);
    cr_assert_eq(dup2(copy, p.end[0]), p.end[0]);
    cr_assert_eq(apply(kq, tagged(p.end[0], EVFILT_READ, EV_ADD, 2)), 0);
    feed(p, 1, 1);
    cr_assert_eq(expect_one(kq, p.end[0], EVFILT_READ).udata, tag(2));
}

static void *wait_for_one(void *arg)
{
    struct kevent ev;
    return wait_for(*(int *)arg, &ev, 1, 5000) == 1 && ev.filter == EVFILT_READ ? arg : NULL;
}

/* With EV_CLEAR each write wakes one thread. The last write removes the leftover, while the other
 * two threads sleep. */
LAYER(leftover_and_sleepers, "threads asleep in kevent() see what is added after a leftover's end")
{
    struct pair fresh = pair_new(AF_UNIX);
    pthread_t thread[3];
    cr_assert_eq(apply(kq, tagged(p.end[0], EVFILT_READ, EV_ADD | EV_CLEAR, 1)), 0);
    for (int i = 0; i < 3; i++)
        cr_assert_eq(pthread_create(&thread[i], NULL, wait_for_one, &kq), 0);
    sleep_ms(NEVER); /* all three sleep by now; if not, the test shows less */
    cr_assert_geq(dup(p.end[0]), 0);
    close(p.end[0]);
    for (int i = 0; i < 17; i++) {
        cr_assert_eq(write(p.end[1], "x", 1), 1);
        sleep_ms(5); /* the woken thread sleeps again by now */
    }
    feed(fresh, 1, 1);
    add(kq, fresh.end[0], EVFILT_READ, 0);
    for (int i = 0; i < 3; i++) {
        void *result = NULL;
        pthread_join(thread[i], &result);
        cr_assert_not_null(result, "thread %d slept on", i);
    }
}

LAYER(kqueues_do_not_leak, "close() of a kqueue: its helpers go with the next kqueue()")
{
    signal(SIGUSR1, SIG_IGN);
    close(kq);
    int before = descriptors();
    for (int i = 0; i < 200; i++) {
        begin_again(AF_UNIX); /* after close() of the one before */
        add(kq, p.end[0], EVFILT_READ, 0);
        add(kq, p.end[0], EVFILT_WRITE, 0);
        add(kq, SIGUSR1, EVFILT_SIGNAL, 0);
        cr_assert_eq(timer(kq, 1, EV_ADD, 1000), 0);
        cr_assert_eq(timer(kq, 2, EV_ADD, 1000), 0);
    }
    begin_again(AF_UNIX);
    cr_assert_leq(descriptors(), before + 3, "%d before, %d now", before, descriptors());
}

LAYER(knotes_do_not_leak, "EV_DELETE gives a timer's or a process's descriptor back")
{
    int before = descriptors();
    bool pidfd = apply(kq, full(getpid(), EVFILT_PROC, EV_ADD, NOTE_EXIT, 0, 0)) == 0;
    if (pidfd)
        cr_assert_eq(apply(kq, full(getpid(), EVFILT_PROC, EV_DELETE, 0, 0, 0)), 0);
    for (int i = 0; i < 100; i++) {
        cr_assert_eq(timer(kq, i, EV_ADD, 1000), 0);
        cr_assert_eq(timer(kq, i, EV_DELETE, 0), 0);
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
    int before[64];
    for (int fd = 0; fd < 64; fd++)
        before[fd] = fcntl(fd, F_GETFD);
    kq = kqueue_new(); /* all its descriptors are new */
    add(kq, p.end[0], EVFILT_WRITE, 0);
    signal(SIGUSR1, SIG_IGN);
    add(kq, SIGUSR1, EVFILT_SIGNAL, 0);
    cr_assert_eq(timer(kq, 1, EV_ADD, 1000), 0);
    for (int fd = 0; fd < 64; fd++)
        if (before[fd] < 0 && fcntl(fd, F_GETFD) >= 0)
            cr_assert_eq(fcntl(fd, F_GETFD), FD_CLOEXEC, "descriptor %d", fd);
}

/* ---- Size ------------------------------------------------------------------------------------ */

/* Returns how many descriptors the test may use: as many as it wants, or as the system allows. 200
 * more remain for everything else. */
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
    int first = -1;
    begin_again(AF_UNIX);
    for (int i = 0; i < n; i++) {
        int fd = fcntl(p.end[0], F_DUPFD, 100);
        cr_assert_geq(fd, 0, "%s", strerror(errno));
        if (first < 0)
            first = fd;
        add(kq, fd, EVFILT_READ, 0);
        add(kq, i, EVFILT_USER, 0);
    }
    double start = cpu_time();
    for (int i = 0; i < rounds; i++) {
        apply(kq, change(first + i % n, EVFILT_READ, EV_DISABLE));
        apply(kq, change(first + i % n, EVFILT_READ, EV_DELETE));
        apply(kq, change(first + i % n, EVFILT_READ, EV_ADD));
    }
    double middle = cpu_time();
    for (int i = 0; i < rounds; i++) {
        apply(kq, change(i % n, EVFILT_USER, EV_DISABLE));
        apply(kq, change(i % n, EVFILT_USER, EV_DELETE));
        apply(kq, change(i % n, EVFILT_USER, EV_ADD));
    }
    double cost[2] = {middle - start, cpu_time() - middle};
    for (int i = 0; i < 2; i++)
        best[i] = cost[i] < best[i] ? cost[i] : best[i];
    for (int i = 0; i < n; i++)
        close(first + i);
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
    int n = many_descriptors(N), total = 0;
    feed(p, 1, 1);
    for (int i = 0; i < n; i++)
        add(kq, dup(p.end[0]), EVFILT_READ, EV_CLEAR);
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

enum { THREADS = 18, ROUNDS = 200 };

static void *churn(void *arg)
{
    intptr_t self = (intptr_t)arg;
    for (int i = 0; i < ROUNDS; i++) {
        int end[2];
        struct kevent ev[3];
        if (socketpair(AF_UNIX, SOCK_STREAM, 0, end) < 0 || write(end[1], "x", 1) != 1)
            return NULL;
        apply(kq, change(end[0], EVFILT_READ, self % 2 == 0 ? EV_ADD : EV_ADD | EV_CLEAR));
        apply(kq, change(end[0], EVFILT_WRITE, EV_ADD | EV_DISPATCH));
#ifdef EVFILT_USER
        apply(kq, change(self, EVFILT_USER, EV_ADD | EV_CLEAR));
        trigger(kq, self);
#endif
        timer(kq, self, EV_ADD | EV_ONESHOT, 1);
        if (wait_for(kq, ev, 3, 1) < 0)
            return NULL;
        apply(kq, change(end[0], EVFILT_READ, EV_DISABLE));
        if (i % 2 == 0)
            apply(kq, change(end[0], EVFILT_READ, EV_DELETE));
        close(end[0]);
        close(end[1]);
    }
    return arg;
}

/* Runs the body in each thread. It returns its argument, or NULL if something went wrong. */
static void run_in_threads(void *(*body)(void *))
{
    pthread_t thread[THREADS];
    for (intptr_t i = 0; i < THREADS; i++)
        cr_assert_eq(pthread_create(&thread[i], NULL, body, (void *)(i + 1)), 0);
    for (int i = 0; i < THREADS; i++) {
        void *result = NULL;
        pthread_join(thread[i], &result);
        cr_assert_not_null(result, "thread %d", i);
    }
}

LAYER(threads, "18 threads add, delete, trigger and wait on one kqueue at the same time")
{
    run_in_threads(churn);
    /* All sockets are closed, and all triggers are taken: silence must follow. */
    struct kevent ev[64];
    for (int i = 0; wait_for(kq, ev, 64, NEVER) > 0; i++)
        cr_assert_lt(i, 10, "the knotes of closed sockets still report");
}

#ifdef EVFILT_USER
/* Together the threads must get every trigger's knote exactly once. */
static int taken[64];
static bool stop;

static void *take(void *arg)
{
    struct kevent ev[4];
    while (!__atomic_load_n(&stop, __ATOMIC_SEQ_CST)) {
        int n = wait_for(kq, ev, 4, 20);
        for (int i = 0; i < n; i++)
            __atomic_add_fetch(&taken[ev[i].ident], 1, __ATOMIC_SEQ_CST);
    }
    return arg;
}

LAYER(threads_share_the_events, "an EV_CLEAR event reaches one thread of several, and is not lost")
{
    pthread_t thread[6];
    for (intptr_t i = 0; i < 64; i++)
        add(kq, i, EVFILT_USER, EV_CLEAR);
    for (int i = 0; i < 6; i++)
        cr_assert_eq(pthread_create(&thread[i], NULL, take, NULL), 0);
    for (int round = 1; round <= 20; round++) {
        for (intptr_t i = 0; i < 64; i++)
            cr_assert_eq(trigger(kq, i), 0);
        for (int i = 0; i < 64; i++)
            for (int ms = 0; __atomic_load_n(&taken[i], __ATOMIC_SEQ_CST) < round; ms++) {
                cr_assert_lt(ms, 5000, "trigger %d of round %d was lost", i, round);
                sleep_ms(1);
            }
    }
    __atomic_store_n(&stop, true, __ATOMIC_SEQ_CST);
    for (int i = 0; i < 6; i++)
        pthread_join(thread[i], NULL);
    for (int i = 0; i < 64; i++)
        cr_assert_eq(taken[i], 20, "%d came %d times", i, taken[i]);
}
#endif

static void *own_kqueue(void *arg)
{
    for (int i = 0; i < 50; i++) {
        int own = kqueue(), end[2];
        struct kevent ev;
        if (own < 0 || socketpair(AF_UNIX, SOCK_STREAM, 0, end) < 0)
            return NULL;
        bool good = write(end[1], "x", 1) == 1 &&
                    apply(own, change(end[0], EVFILT_READ, EV_ADD)) == 0 &&
                    wait_for(own, &ev, 1, 5000) == 1 && ev.ident == (uintptr_t)end[0];
        close(end[0]);
        close(end[1]);
        close(own);
        if (!good)
            return NULL;
    }
    return arg;
}

LAYER(threads_with_their_own_kqueues, "18 threads make, use and close kqueues of their own")
{
    run_in_threads(own_kqueue);
}

/* ---- Refusals -------------------------------------------------------------------------------- */

#ifdef KQUEUE_OVER_EPOLL
LAYER(refusals, "the layer refuses what it cannot do: ENOTSUP or EINVAL, as the header says")
{
    int null = open("/dev/null", O_RDWR), file = file_new("file");
    const struct {
        struct kevent change;
        int error;
    } refused[] = {
        {full(p.end[0], EVFILT_AIO, EV_ADD, 0, 0, 0), ENOTSUP},
        {full(p.end[0], EVFILT_READ, EV_ADD, NOTE_LOWAT, 100, 0), ENOTSUP},
        {full(p.end[0], EVFILT_WRITE, EV_ADD, NOTE_LOWAT, 100, 0), ENOTSUP},
        {full(file, EVFILT_READ, EV_ADD, 0, 0, 0), ENOTSUP},
        {full(file, EVFILT_WRITE, EV_ADD, 0, 0, 0), ENOTSUP},
        {full(null, EVFILT_READ, EV_ADD, 0, 0, 0), ENOTSUP},
        {full(null, EVFILT_VNODE, EV_ADD, NOTE_WRITE, 0, 0), EINVAL},
        {full(getpid(), EVFILT_PROC, EV_ADD, NOTE_EXIT | 1, 0, 0), ENOTSUP},
        {full(getpid(), EVFILT_PROC, EV_ADD, 0, 0, 0), ENOTSUP},
        {full(0, EVFILT_PROC, EV_ADD, NOTE_EXIT, 0, 0), ESRCH},
        {full(p.end[0], -100, EV_ADD, 0, 0, 0), EINVAL},
        {full(p.end[0], 0, EV_ADD, 0, 0, 0), EINVAL},
        {full(p.end[0], EVFILT_READ, EV_ADD | EV_ENABLE | EV_DISABLE, 0, 0, 0), EINVAL},
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
    for (size_t i = 0; i < sizeof refused / sizeof refused[0]; i++) {
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
    cr_expect_eq(kevent(p.end[0], NULL, 0, NULL, 0, NULL), -1);
    cr_expect_eq(errno, EBADF);
}
#endif

LAYER(receipts_without_room, "EV_RECEIPT without room stops the list, and is no error")
{
    LAYER_ONLY();
    struct kevent ev[2];
    struct kevent list[3] = {change(p.end[0], EVFILT_READ, EV_ADD | EV_RECEIPT),
                             change(p.end[0], EVFILT_WRITE, EV_ADD | EV_RECEIPT),
                             change(p.end[1], EVFILT_WRITE, EV_ADD | EV_RECEIPT)};
    cr_assert_eq(kevent(kq, list, 3, ev, 1, NULL), 1);
    cr_assert_eq(apply(kq, change(p.end[1], EVFILT_WRITE, EV_DELETE)), ENOENT);
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
    int peers[8];
    struct kevent ev;
    pthread_t thread;
    for (int i = 0; i < 8; i++) { /* epoll reports a hang-up even of a disabled knote */
        struct pair each = pair_new(AF_UNIX);
        peers[i] = each.end[1];
        add(kq, each.end[0], EVFILT_READ, EV_DISABLE);
    }
    cr_assert_eq(pthread_create(&thread, NULL, hang_up, peers), 0);
    double start = now();
    cr_assert_eq(wait_for(kq, &ev, 1, 150), 0);
    double took = now() - start;
    cr_assert(took >= 0.149 && took < 0.45, "150 ms took %g s", took);
    pthread_join(thread, NULL);
}

static void interrupted(int signo)
{
    (void)signo;
}

LAYER(a_handler_interrupts, "a signal handler ends the wait with EINTR")
{
    struct kevent ev;
    struct sigaction action;
    memset(&action, 0, sizeof action);
    action.sa_handler = interrupted;
    sigaction(SIGALRM, &action, NULL);
    /* On a busy machine the first may come before kevent() waits, but not all that follow. */
    const struct timeval period = {.tv_sec = 0, .tv_usec = 30000};
    setitimer(ITIMER_REAL, &(struct itimerval){.it_interval = period, .it_value = period}, NULL);
    errno = 0;
    cr_assert_eq(wait_for(kq, &ev, 1, 5000), -1);
    cr_assert_eq(errno, EINTR);
}
