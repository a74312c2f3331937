/*
 * statements.c - what kqueue promises on every system, one test for each statement.
 *
 * The tests use kqueue(), kevent() and sockets, nothing else. So the same file runs on the layer of
 * 06-kqueue/linux and natively on FreeBSD, NetBSD and macOS. Where systems differ, a test accepts
 * either answer. On the layer, a test of what it cannot do is skipped with the reason.
 *
 * The number in a test's name is the statement's. The missing numbers belong to statements on which
 * the systems differ, so that nothing can be promised.
 */
#include "fixture.h"

#include <sys/stat.h>
#include <sys/wait.h>

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <time.h>
#include <unistd.h>

#include "../harness/test.h"

/* A statement begins with a kqueue `kq` and a TCP connection `p`, see fixture.h. */
#define STATEMENT(name, text)                                                                      \
    Test(statements, name, .description = (text), .init = begin_inet, .fini = remove_files,        \
         .timeout = 30)

/* ---- Helpers --------------------------------------------------------------------------------- */

/* Closes the peer so that it sends RST. */
static void reset(struct pair pair)
{
    struct linger hard = {.l_onoff = 1, .l_linger = 0};
    cr_assert_eq(setsockopt(pair.end[1], SOL_SOCKET, SO_LINGER, &hard, sizeof hard), 0);
    close(pair.end[1]);
}

/* Writes until there is no room, and none comes. (The peer's buffer takes some bytes later.) */
static void fill(int fd)
{
    static const char bytes[65536];
    struct pollfd room = {.fd = fd, .events = POLLOUT};
    do {
        while (write(fd, bytes, sizeof bytes) > 0)
            continue;
    } while (poll(&room, 1, NEVER) == 1);
}

/* Reads from one end until the other end has room again. */
static void drain(int from, int to)
{
    char bytes[65536];
    struct pollfd room = {.fd = to, .events = POLLOUT};
    while (poll(&room, 1, 0) == 0)
        if (read(from, bytes, sizeof bytes) <= 0)
            sleep_ms(1);
}

/* ---- Registration and changelist ------------------------------------------------------------- */

STATEMENT(s01_ident_and_filter_are_the_key,
          "a second EV_ADD makes no duplicate; READ and WRITE of one descriptor are two knotes")
{
    EACH_FAMILY(family)
    {
        struct kevent ev[4], list[3] = {tagged(p.end[0], EVFILT_READ, EV_ADD, 1),
                                        tagged(p.end[0], EVFILT_READ, EV_ADD, 2),
                                        tagged(p.end[0], EVFILT_WRITE, EV_ADD, 3)};
        feed(p, 5, 5);
        cr_assert_eq(kevent(kq, list, 3, NULL, 0, NULL), 0);
        int n = wait_for(kq, ev, 4, SOON);
        cr_assert_eq(n, 2, "%d events", n);
        for (int i = 0; i < 2; i++)
            cr_assert_eq(ev[i].udata, tag(ev[i].filter == EVFILT_READ ? 2 : 3));
        cr_assert_neq(ev[0].filter, ev[1].filter);
    }
}

STATEMENT(s02_add_looks_at_once, "what is pending at EV_ADD comes back from the same kevent()")
{
    EACH_FAMILY(family)
    {
        struct kevent ev, add_it = tagged(p.end[0], EVFILT_READ, EV_ADD | EV_CLEAR, 7);
        feed(p, 5, 5);
        cr_assert_eq(kevent(kq, &add_it, 1, &ev, 1, NULL), 1);
        cr_assert_eq(ev.data, 5);
        cr_assert_eq(ev.udata, tag(7));
    }
}

STATEMENT(s03_add_again_looks_again, "EV_ADD of an EV_CLEAR knote with unread data fires again")
{
    EACH_FAMILY(family)
    {
        add(kq, p.end[0], EVFILT_READ, EV_CLEAR);
        feed(p, 5, 5);
        expect_one(kq, p.end[0], EVFILT_READ);
        expect_none(kq);
        add(kq, p.end[0], EVFILT_READ, EV_CLEAR);
        expect_one(kq, p.end[0], EVFILT_READ);
    }
}

STATEMENT(s05_add_again_keeps_the_flags,
          "EV_ADD does not change a knote's EV_CLEAR; EV_DELETE and EV_ADD does")
{
    add(kq, p.end[0], EVFILT_READ, 0);
    add(kq, p.end[0], EVFILT_READ, EV_CLEAR);
    feed(p, 5, 5);
    expect_one(kq, p.end[0], EVFILT_READ);
    expect_one(kq, p.end[0], EVFILT_READ); /* still level */
    cr_assert_eq(apply(kq, change(p.end[0], EVFILT_READ, EV_DELETE)), 0);
    add(kq, p.end[0], EVFILT_READ, EV_CLEAR);
    expect_one(kq, p.end[0], EVFILT_READ);
    expect_none(kq);
}

STATEMENT(s05_add_again_keeps_oneshot_and_dispatch,
          "EV_ADD with EV_ONESHOT or EV_DISPATCH leaves a level knote level")
{
    add(kq, p.end[0], EVFILT_READ, 0);
    feed(p, 5, 5);
    add(kq, p.end[0], EVFILT_READ, EV_ONESHOT);
    expect_one(kq, p.end[0], EVFILT_READ);
    add(kq, p.end[0], EVFILT_READ, EV_DISPATCH);
    expect_one(kq, p.end[0], EVFILT_READ);
    expect_one(kq, p.end[0], EVFILT_READ);
}

STATEMENT(s08_unknown_knote_is_enoent, "EV_DELETE, EV_ENABLE or no flag: ENOENT if there is none")
{
    const flags_t flags[] = {EV_DELETE, EV_ENABLE, EV_DISABLE, 0};
    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
        cr_expect_eq(apply(kq, change(p.end[0], EVFILT_READ, flags[i])), ENOENT);
        cr_expect_eq(apply(kq, change(p.end[0], EVFILT_WRITE, flags[i])), ENOENT);
        cr_expect_eq(apply(kq, change(1, EVFILT_TIMER, flags[i])), ENOENT);
        cr_expect_eq(apply(kq, change(SIGUSR1, EVFILT_SIGNAL, flags[i])), ENOENT);
    }
    /* A descriptor's READ knote is not its WRITE knote. */
    add(kq, p.end[0], EVFILT_READ, 0);
    cr_expect_eq(apply(kq, change(p.end[0], EVFILT_WRITE, EV_DELETE)), ENOENT);
}

STATEMENT(s08_closed_descriptor_is_ebadf, "a change to a closed descriptor: EBADF")
{
    add(kq, p.end[0], EVFILT_READ, 0);
    pair_close(p);
    const flags_t flags[] = {EV_ADD, EV_DELETE, EV_ENABLE, 0};
    for (size_t i = 0; i < sizeof flags / sizeof flags[0]; i++) {
        cr_expect_eq(apply(kq, change(p.end[0], EVFILT_READ, flags[i])), EBADF);
        cr_expect_eq(apply(kq, change(p.end[1], EVFILT_WRITE, flags[i])), EBADF);
        cr_expect_eq(apply(kq, change(p.end[1], EVFILT_VNODE, flags[i])), EBADF);
    }
    close(kq);
    struct kevent ev;
    cr_expect_eq(wait_for(kq, &ev, 1, 0), -1);
    cr_expect_eq(errno, EBADF);
}

STATEMENT(s08_unknown_filter_is_einval, "a filter that does not exist: EINVAL")
{
    cr_expect_eq(apply(kq, change(p.end[0], (filter_t)-100, EV_ADD)), EINVAL);
}

STATEMENT(s10_a_failing_change_is_an_entry,
          "a failing change is answered with EV_ERROR and errno, and later changes are applied")
{
    EACH_FAMILY(family)
    {
        struct kevent ev[4], list[2] = {change(p.end[0], EVFILT_WRITE, EV_DELETE),
                                        change(p.end[0], EVFILT_READ, EV_ADD)};
        cr_assert_eq(kevent(kq, list, 2, ev, 4, NULL), 1);
        cr_assert(ev[0].flags & EV_ERROR);
        cr_assert_eq(ev[0].data, ENOENT);
        cr_assert_eq(ev[0].ident, (uintptr_t)p.end[0]);
        cr_assert_eq(ev[0].filter, EVFILT_WRITE);
        feed(p, 1, 1);
        expect_one(kq, p.end[0], EVFILT_READ);
    }
}

STATEMENT(s11_without_room_the_list_stops,
          "with nevents 0 a failing change is -1 and errno, and the rest is not applied")
{
    struct kevent list[3] = {change(p.end[0], EVFILT_READ, EV_ADD),
                             change(p.end[0], EVFILT_WRITE, EV_DELETE),
                             change(p.end[1], EVFILT_WRITE, EV_ADD)};
    errno = 0;
    cr_assert_eq(kevent(kq, list, 3, NULL, 0, NULL), -1);
    cr_assert_eq(errno, ENOENT);
    expect_none(kq); /* end[1] would be writable */
    feed(p, 1, 1);
    expect_one(kq, p.end[0], EVFILT_READ); /* what came before was applied */
}

STATEMENT(s12_errors_come_alone_and_at_once,
          "if there is an error entry, kevent() returns at once with only those")
{
    struct kevent ev[4], bad = change(p.end[0], EVFILT_WRITE, EV_DELETE);
    double start = now();
    cr_assert_eq(kevent(kq, &bad, 1, ev, 4, NULL), 1); /* would wait forever */
    cr_assert_lt(now() - start, 1.0);
    add(kq, p.end[0], EVFILT_READ, EV_CLEAR);
    feed(p, 5, 5);
    cr_assert_eq(kevent(kq, &bad, 1, ev, 4, NULL), 1);
    cr_assert(ev[0].flags & EV_ERROR);
    expect_one(kq, p.end[0], EVFILT_READ); /* not mixed in, and not lost */
}

STATEMENT(s14_receipts, "EV_RECEIPT: an entry for each change, data 0, and no event is taken")
{
    feed(p, 5, 5);
    struct kevent ev[4], list[2] = {change(p.end[0], EVFILT_READ, EV_ADD | EV_CLEAR | EV_RECEIPT),
                                    change(p.end[0], EVFILT_WRITE, EV_ADD | EV_CLEAR | EV_RECEIPT)};
    cr_assert_eq(kevent(kq, list, 2, ev, 4, NULL), 2);
    for (int i = 0; i < 2; i++) {
        cr_expect(ev[i].flags & EV_ERROR);
        cr_expect_eq(ev[i].data, 0);
        cr_expect_eq(ev[i].filter, list[i].filter);
    }
    cr_assert_eq(wait_for(kq, ev, 4, SOON), 2);
}

STATEMENT(s16_changes_before_events, "changes are applied before events are collected")
{
    struct timespec none = {0, 0};
    struct kevent ev[4], list[2] = {change(p.end[0], EVFILT_READ, EV_DELETE),
                                    tagged(p.end[0], EVFILT_READ, EV_ADD, 9)};
    add(kq, p.end[0], EVFILT_READ, 0);
    feed(p, 5, 5);
    cr_assert_eq(kevent(kq, list, 2, ev, 4, NULL), 1, "DELETE and ADD in one list");
    cr_assert_eq(ev[0].udata, tag(9));
    cr_assert_eq(kevent(kq, list, 1, ev, 4, &none), 0, "a pending event, deleted in this call");
}

STATEMENT(s16_one_array_for_both_lists, "the same array may hold the changes and take the events")
{
    feed(p, 5, 5);
    struct kevent both[4] = {tagged(p.end[0], EVFILT_READ, EV_ADD, 1),
                             tagged(p.end[0], EVFILT_WRITE, EV_ADD, 2),
                             tagged(p.end[1], EVFILT_WRITE, EV_ADD, 3)};
    cr_assert_eq(kevent(kq, both, 3, both, 4, NULL), 3);
    /* An entry overwrites only a change that the kernel has already read. */
    struct kevent mixed[3] = {change(p.end[1], EVFILT_READ, EV_DELETE),
                              change(p.end[0], EVFILT_READ, EV_DELETE | EV_RECEIPT),
                              change(p.end[0], EVFILT_WRITE, EV_DELETE | EV_RECEIPT)};
    cr_assert_eq(kevent(kq, mixed, 3, mixed, 3, NULL), 3);
    cr_assert_eq(mixed[0].data, ENOENT);
    cr_assert_eq(mixed[1].data, 0);
    cr_assert_eq(mixed[2].data, 0);
    expect_one(kq, p.end[1], EVFILT_WRITE);
}

STATEMENT(s17_no_room_no_wait, "nevents 0 returns at once whatever the timeout")
{
    struct timespec limit = {.tv_sec = 5, .tv_nsec = 0};
    double start = now();
    cr_assert_eq(kevent(kq, NULL, 0, NULL, 0, &limit), 0);
    cr_assert_eq(kevent(kq, NULL, 0, NULL, 0, NULL), 0);
    cr_assert_lt(now() - start, 2.0);
}

static void *write_later(void *arg)
{
    sleep_ms(NEVER); /* the test waits in kevent() by now; if not, it shows less */
    ssize_t n = write(*(int *)arg, "x", 1);
    return n == 1 ? arg : NULL;
}

STATEMENT(s18_timeouts, "NULL waits forever, {0,0} only looks, anything else is a limit")
{
    struct kevent ev;
    pthread_t thread;
    add(kq, p.end[0], EVFILT_READ, 0);
    double start = now();
    cr_assert_eq(wait_for(kq, &ev, 1, 0), 0);
    cr_assert_lt(now() - start, 0.5);
    start = now();
    cr_assert_eq(wait_for(kq, &ev, 1, 40), 0);
    cr_assert_gt(now() - start, 0.039);
    cr_assert_lt(now() - start, 2.0);
    cr_assert_eq(pthread_create(&thread, NULL, write_later, &p.end[1]), 0);
    cr_assert_eq(kevent(kq, NULL, 0, &ev, 1, NULL), 1);
    pthread_join(thread, NULL);
}

STATEMENT(s18_bad_timeouts, "a negative time, or a nanosecond count of a second or more: EINVAL")
{
    const struct timespec bad[] = {{-1, 0}, {0, -1}, {0, 1000000000}};
    for (size_t i = 0; i < 3; i++) {
        struct kevent ev;
        errno = 0;
        cr_expect_eq(kevent(kq, NULL, 0, &ev, 1, &bad[i]), -1);
        cr_expect_eq(errno, EINVAL);
    }
}

/* ---- Delivery -------------------------------------------------------------------------------- */

STATEMENT(s21_level, "without a flag, an event is reported on every call while it holds")
{
    EACH_FAMILY(family)
    {
        add(kq, p.end[0], EVFILT_READ, 0);
        expect_none(kq);
        feed(p, 5, 5);
        for (int i = 0; i < 3; i++)
            cr_assert_eq(expect_one(kq, p.end[0], EVFILT_READ).data, 5);
        eat(p, 2);
        cr_assert_eq(expect_one(kq, p.end[0], EVFILT_READ).data, 3);
        eat(p, 3);
        expect_none(kq);
    }
}

STATEMENT(s22_clear, "EV_CLEAR: once, and again on new activity, with the total in data")
{
    EACH_FAMILY(family)
    {
        add(kq, p.end[0], EVFILT_READ, EV_CLEAR);
        feed(p, 5, 5);
        cr_assert_eq(expect_one(kq, p.end[0], EVFILT_READ).data, 5);
        expect_none(kq);
        feed(p, 3, 8);
        cr_assert_eq(expect_one(kq, p.end[0], EVFILT_READ).data, 8);
    }
}

STATEMENT(s23_clear_and_a_partial_read, "EV_CLEAR: a partial read is not new activity")
{
    EACH_FAMILY(family)
    {
        add(kq, p.end[0], EVFILT_READ, EV_CLEAR);
        feed(p, 10, 10);
        expect_one(kq, p.end[0], EVFILT_READ);
        eat(p, 4);
        expect_none(kq);
    }
}

STATEMENT(s24_checked_again_at_retrieval, "write 5, read 5, kevent: nothing")
{
    EACH_FAMILY(family)
    {
        const flags_t flags[] = {0, EV_CLEAR, EV_DISPATCH};
        for (size_t i = 0; i < 3; i++) {
            begin_again(family);
            add(kq, p.end[0], EVFILT_READ, flags[i]);
            feed(p, 5, 5);
            eat(p, 5);
            expect_none(kq);
        }
    }
}

STATEMENT(s26_oneshot_deletes, "EV_ONESHOT: one event, then the knote is gone")
{
    EACH_FAMILY(family)
    {
        add(kq, p.end[0], EVFILT_READ, EV_ONESHOT);
        feed(p, 5, 5);
        expect_one(kq, p.end[0], EVFILT_READ);
        feed(p, 5, 10);
        expect_none(kq);
        cr_assert_eq(apply(kq, change(p.end[0], EVFILT_READ, EV_DELETE)), ENOENT);
        add(kq, p.end[0], EVFILT_READ, 0);
        expect_one(kq, p.end[0], EVFILT_READ);
    }
}

STATEMENT(s27_dispatch_disables, "EV_DISPATCH: one event, then disabled until EV_ENABLE")
{
    EACH_FAMILY(family)
    {
        add(kq, p.end[0], EVFILT_READ, EV_DISPATCH);
        for (int i = 1; i <= 3; i++) {
            feed(p, 5, 5 * i);
            cr_assert_eq(expect_one(kq, p.end[0], EVFILT_READ).data, 5 * i);
            expect_none(kq);
            cr_assert_eq(apply(kq, change(p.end[0], EVFILT_READ, EV_ENABLE)), 0);
        }
        expect_one(kq, p.end[0], EVFILT_READ); /* still unread */
    }
}

STATEMENT(s29_disable_hides, "EV_DISABLE hides, EV_ENABLE reports what happened meanwhile")
{
    EACH_FAMILY(family)
    {
        const flags_t flags[] = {0, EV_CLEAR};
        for (size_t i = 0; i < 2; i++) {
            begin_again(family);
            add(kq, p.end[0], EVFILT_READ, flags[i]);
            cr_assert_eq(apply(kq, tagged(p.end[0], EVFILT_READ, EV_DISABLE, 1)), 0);
            feed(p, 5, 5);
            expect_none(kq);
            cr_assert_eq(apply(kq, tagged(p.end[0], EVFILT_READ, EV_ENABLE, 2)), 0);
            struct kevent ev = expect_one(kq, p.end[0], EVFILT_READ);
            cr_assert_eq(ev.data, 5);
            cr_assert_eq(ev.udata, tag(2));
        }
    }
}

STATEMENT(s29_pending_is_withheld, "what was pending when EV_DISABLE came is not reported")
{
    EACH_FAMILY(family)
    {
        add(kq, p.end[0], EVFILT_READ, 0);
        add(kq, p.end[0], EVFILT_WRITE, EV_DISABLE);
        feed(p, 5, 5);
        cr_assert_eq(apply(kq, change(p.end[0], EVFILT_READ, EV_DISABLE)), 0);
        expect_none(kq);
        shutdown(p.end[1], SHUT_WR); /* not even the end of input */
        expect_none(kq);
    }
}

STATEMENT(s29_disable_hides_the_end, "a disabled knote does not tell that the peer is gone")
{
    const int families[] = {AF_INET, AF_UNIX};
    for (size_t i = 0; i < 2; i++) {
        begin_again(families[i]);
        add(kq, p.end[0], EVFILT_READ, EV_DISABLE);
        add(kq, p.end[0], EVFILT_WRITE, EV_DISABLE);
        reset(p);
        expect_none(kq);
        expect_none(kq);
        cr_assert_eq(apply(kq, change(p.end[0], EVFILT_READ, EV_ENABLE)), 0);
        cr_assert(expect_one(kq, p.end[0], EVFILT_READ).flags & EV_EOF);
    }
}

STATEMENT(s30_level_knotes_rotate, "more ready than room: (1 2)(3 4)(1 2), none is left out")
{
    struct pair each[4];
    struct kevent ev[3][2];
    for (int i = 0; i < 4; i++) {
        each[i] = pair_new(i % 2 == 0 ? AF_INET : AF_UNIX);
        feed(each[i], 1, 1);
        add(kq, each[i].end[0], EVFILT_READ, 0);
    }
    for (int i = 0; i < 3; i++)
        cr_assert_eq(wait_for(kq, ev[i], 2, SOON), 2);
    for (int i = 0; i < 2; i++)
        for (int k = 0; k < 2; k++)
            cr_assert_neq(ev[0][i].ident, ev[1][k].ident, "the second call brings the same ones");
    cr_assert(ev[2][0].ident == ev[0][0].ident || ev[2][0].ident == ev[0][1].ident);
    cr_assert(ev[2][1].ident == ev[0][0].ident || ev[2][1].ident == ev[0][1].ident);
}

STATEMENT(s30_none_is_lost, "EV_CLEAR knotes that found no room come with the next calls")
{
    struct pair each[5];
    bool seen[5] = {false};
    for (int i = 0; i < 5; i++) {
        each[i] = pair_new(AF_INET);
        feed(each[i], 1, 1);
        cr_assert_eq(apply(kq, tagged(each[i].end[0], EVFILT_READ, EV_ADD | EV_CLEAR, i)), 0);
    }
    for (int got = 0; got < 5;) {
        struct kevent ev[2];
        int n = wait_for(kq, ev, 2, SOON);
        cr_assert_gt(n, 0);
        for (int i = 0; i < n; i++) {
            intptr_t which = (intptr_t)ev[i].udata;
            cr_assert_not(seen[which], "twice");
            seen[which] = true;
        }
        got += n;
    }
    expect_none(kq);
}

STATEMENT(s31_many_triggers_one_event, "several triggers between two calls are one event")
{
    EACH_FAMILY(family)
    {
        add(kq, p.end[0], EVFILT_READ, EV_CLEAR);
        for (int i = 1; i <= 4; i++)
            feed(p, 2, 2 * i);
        cr_assert_eq(expect_one(kq, p.end[0], EVFILT_READ).data, 8);
        expect_none(kq);
    }
}

STATEMENT(s32_close_removes, "close() removes the knotes; a reused number starts afresh")
{
    EACH_FAMILY(family)
    {
        struct pair q = pair_new(family);
        add(kq, p.end[0], EVFILT_READ, 0);
        add(kq, p.end[0], EVFILT_WRITE, 0);
        feed(p, 5, 5);
        close(p.end[0]);
        expect_none(kq);
        cr_assert_eq(apply(kq, change(p.end[0], EVFILT_READ, EV_DELETE)), EBADF);
        cr_assert_eq(dup2(q.end[0], p.end[0]), p.end[0]);
        feed(q, 5, 5);
        expect_none(kq);
        cr_assert_eq(apply(kq, change(p.end[0], EVFILT_READ, EV_ENABLE)), ENOENT);
        cr_assert_eq(apply(kq, change(p.end[0], EVFILT_WRITE, EV_ENABLE)), ENOENT);
        cr_assert_eq(apply(kq, change(p.end[0], EVFILT_WRITE, EV_DELETE)), ENOENT);
        cr_assert_eq(apply(kq, tagged(p.end[0], EVFILT_READ, EV_ADD | EV_CLEAR, 77)), 0);
        cr_assert_eq(expect_one(kq, p.end[0], EVFILT_READ).udata, tag(77));
        expect_none(kq); /* the new knote has its own EV_CLEAR: nothing is left of the old one */
    }
}

STATEMENT(s32_close_removes_despite_a_dup, "close() removes the knotes though a dup() stays open")
{
    EACH_FAMILY(family)
    {
        add(kq, p.end[0], EVFILT_READ, 0);
        add(kq, p.end[0], EVFILT_WRITE, 0);
        cr_assert_geq(dup(p.end[0]), 0);
        feed(p, 5, 5);
        close(p.end[0]);
        expect_none(kq);
        cr_assert_eq(apply(kq, change(p.end[0], EVFILT_READ, EV_DELETE)), EBADF);
        expect_none(kq);
    }
}

STATEMENT(s33_a_dup_is_its_own, "a dup'ed descriptor, registered, gives its own event")
{
    struct kevent ev[4];
    int copy = dup(p.end[0]);
    add(kq, p.end[0], EVFILT_READ, 0);
    add(kq, copy, EVFILT_READ, 0);
    feed(p, 5, 5);
    cr_assert_eq(wait_for(kq, ev, 4, SOON), 2);
    cr_assert_neq(ev[0].ident, ev[1].ident);
}

/* After the last event it may stay readable until a kevent() finds nothing: only then do the BSDs
 * look at the knotes. */
STATEMENT(s34_a_kqueue_is_pollable, "a kqueue is readable while events are pending")
{
    int outer = kqueue_new();
    struct pollfd pollable = {.fd = kq, .events = POLLIN};
    add(kq, p.end[0], EVFILT_READ, 0);
    add(outer, kq, EVFILT_READ, 0);
    cr_assert_eq(poll(&pollable, 1, NEVER), 0);
    expect_none(outer);
    feed(p, 1, 1);
    cr_assert_eq(poll(&pollable, 1, SOON), 1);
    cr_assert_geq(expect_one(outer, kq, EVFILT_READ).data, 1);
    eat(p, 1);
    expect_none(kq);
    cr_assert_eq(poll(&pollable, 1, NEVER), 0, "readable, though kevent() has just found nothing");
    add(kq, p.end[0], EVFILT_WRITE, 0);
    cr_assert_eq(poll(&pollable, 1, SOON), 1, "WRITE counts as well");
}

STATEMENT(s34_a_child_has_no_kqueue, "a kqueue is not inherited by fork()")
{
#ifdef KQUEUE_OVER_EPOLL
    cr_skip_test("Linux's fork() copies every descriptor; the header forbids the child to use it");
#endif
    int status = 0;
    pid_t child = fork();
    cr_assert_geq(child, 0);
    if (child == 0)
        _exit(fcntl(kq, F_GETFD) < 0 && errno == EBADF ? 0 : 1);
    cr_assert_eq(waitpid(child, &status, 0), child);
    cr_assert(WIFEXITED(status));
    cr_assert_eq(WEXITSTATUS(status), 0, "the child has its descriptor");
}

/* ---- Sockets --------------------------------------------------------------------------------- */

STATEMENT(s35_data_counts_bytes, "READ: data is the number of bytes that can be read")
{
    const int families[] = {AF_INET, ipv6_or_none(), AF_UNIX};
    for (size_t i = 0; i < 3; i++) {
        if (families[i] == 0)
            continue;
        begin_again(families[i]);
        add(kq, p.end[0], EVFILT_READ, 0);
        feed(p, 17, 17);
        cr_assert_eq(expect_one(kq, p.end[0], EVFILT_READ).data, 17);
    }
}

STATEMENT(s35_data_counts_bytes_in_a_pipe, "READ of a pipe: the same")
{
    int end[2];
    cr_assert_eq(pipe(end), 0);
    add(kq, end[0], EVFILT_READ, 0);
    cr_assert_eq(write(end[1], "seven", 5), 5);
    cr_assert_eq(expect_one(kq, end[0], EVFILT_READ).data, 5);
    close(end[1]);
    struct kevent ev = expect_one(kq, end[0], EVFILT_READ);
    cr_assert(ev.flags & EV_EOF);
    cr_assert_eq(ev.data, 5);
}

STATEMENT(s35_data_counts_connections, "READ of a listener: data is the connections that wait")
{
    EACH_FAMILY(family)
    {
        int listener = listener_new(family);
        struct kevent ev;
        cr_assert_geq(listener, 0);
        nonblocking(listener);
        add(kq, listener, EVFILT_READ, 0);
        expect_none(kq);
        for (int i = 0; i < 3; i++)
            connect_to(listener);
        for (int i = 0; i < 200; i++) { /* the last may still be on its way */
            ev = expect_one(kq, listener, EVFILT_READ);
            if (ev.data == 3)
                break;
            sleep_ms(5);
        }
        cr_assert_eq(ev.data, 3);
        close(accept(listener, NULL, NULL));
        cr_assert_eq(expect_one(kq, listener, EVFILT_READ).data, 2);
        close(accept(listener, NULL, NULL));
        close(accept(listener, NULL, NULL));
        expect_none(kq);
    }
}

/* Waits until the filter says EV_EOF. Before the end arrives, it may report bytes or room alone. */
static struct kevent expect_eof(int queue, int fd, filter_t filter)
{
    struct kevent ev;
    for (int i = 0; i < 200; i++) {
        ev = expect_one(queue, fd, filter);
        if (ev.flags & EV_EOF)
            break;
        sleep_ms(5);
    }
    cr_assert(ev.flags & EV_EOF);
    cr_assert_eq(ev.flags & EV_ERROR, 0);
    return ev;
}

STATEMENT(s37_eof_comes_with_the_data, "the peer's shutdown: EV_EOF together with the unread count")
{
    EACH_FAMILY(family)
    {
        add(kq, p.end[0], EVFILT_READ, 0);
        feed(p, 5, 5);
        shutdown(p.end[1], SHUT_WR);
        cr_assert_eq(expect_eof(kq, p.end[0], EVFILT_READ).data, 5);
        eat(p, 5);
        for (int i = 0; i < 2; i++) {
            struct kevent ev = expect_one(kq, p.end[0], EVFILT_READ);
            cr_assert(ev.flags & EV_EOF);
            cr_assert_eq(ev.data, 0);
        }
    }
}

STATEMENT(s37_eof_once_with_clear, "EV_CLEAR reports the end once")
{
    EACH_FAMILY(family)
    {
        add(kq, p.end[0], EVFILT_READ, EV_CLEAR);
        shutdown(p.end[1], SHUT_WR);
        expect_eof(kq, p.end[0], EVFILT_READ);
        expect_none(kq);
    }
}

STATEMENT(s38_the_peers_fin_is_not_eof_on_write, "WRITE has no EV_EOF after the peer's FIN")
{
    EACH_FAMILY(family)
    {
        struct pollfd fin = {.fd = p.end[0], .events = POLLIN};
        add(kq, p.end[0], EVFILT_WRITE, 0);
        shutdown(p.end[1], SHUT_WR);
        cr_assert_eq(poll(&fin, 1, SOON), 1);
        cr_assert_eq(expect_one(kq, p.end[0], EVFILT_WRITE).flags & EV_EOF, 0);
        close(p.end[1]);
        sleep_ms(NEVER); /* the peer sends nothing more that a test could wait for */
        cr_assert_eq(expect_one(kq, p.end[0], EVFILT_WRITE).flags & EV_EOF, 0);
    }
}

STATEMENT(s38_a_reset_is_eof_on_write, "WRITE says EV_EOF after an RST")
{
    EACH_FAMILY(family)
    {
        add(kq, p.end[0], EVFILT_WRITE, 0);
        cr_assert_eq(expect_one(kq, p.end[0], EVFILT_WRITE).flags & EV_EOF, 0);
        reset(p);
        expect_eof(kq, p.end[0], EVFILT_WRITE);
    }
}

STATEMENT(s38_own_shutdown_is_eof_on_write, "WRITE says EV_EOF after our own shutdown(SHUT_WR)")
{
#ifdef KQUEUE_OVER_EPOLL
    cr_skip_test("epoll has no event for one's own shutdown(SHUT_WR): it stays plain EPOLLOUT");
#endif
    EACH_FAMILY(family)
    {
        add(kq, p.end[0], EVFILT_WRITE, 0);
        shutdown(p.end[0], SHUT_WR);
        expect_eof(kq, p.end[0], EVFILT_WRITE);
    }
}

STATEMENT(s38_unix_close_is_eof_on_write, "WRITE of an AF_UNIX socket says EV_EOF: the peer closed")
{
    begin_again(AF_UNIX);
    add(kq, p.end[0], EVFILT_WRITE, 0);
    cr_assert_eq(expect_one(kq, p.end[0], EVFILT_WRITE).flags & EV_EOF, 0);
    close(p.end[1]);
    expect_eof(kq, p.end[0], EVFILT_WRITE);
}

STATEMENT(s39_a_reset_is_eof_on_read, "after an RST READ says EV_EOF, and recv() what happened")
{
    EACH_FAMILY(family)
    {
        char byte;
        add(kq, p.end[0], EVFILT_READ, 0);
        reset(p);
        expect_eof(kq, p.end[0], EVFILT_READ);
        cr_assert_eq(recv(p.end[0], &byte, 1, 0), -1);
        cr_assert_eq(errno, ECONNRESET);
    }
}

STATEMENT(s39_a_reset_has_its_errno, "after an RST fflags is ECONNRESET")
{
#if defined(KQUEUE_OVER_EPOLL)
    cr_skip_test("asking Linux for the error takes it away from recv(); the layer leaves it there");
#elif defined(__NetBSD__)
    cr_skip_test("NetBSD may report the end before it records the error");
#endif
    add(kq, p.end[0], EVFILT_READ, 0);
    reset(p);
    cr_assert_eq(expect_eof(kq, p.end[0], EVFILT_READ).fflags, (fflags_t)ECONNRESET);
}

/* Starts to connect to a port without a listener. Returns -1 if the refusal came at once. */
static int connect_refused(int family)
{
    struct sockaddr_storage addr;
    socklen_t size = sizeof addr;
    int listener = listener_new(family);
    cr_assert_geq(listener, 0);
    cr_assert_eq(getsockname(listener, (struct sockaddr *)(void *)&addr, &size), 0);
    close(listener);
    int fd = socket(family, SOCK_STREAM, 0);
    nonblocking(fd);
    cr_assert_eq(connect(fd, (struct sockaddr *)(void *)&addr, size), -1);
    if (errno == EINPROGRESS)
        return fd;
    close(fd);
    return -1;
}

STATEMENT(s40_a_refused_connect, "a refused connect(): WRITE with EV_EOF, never EV_ERROR")
{
    EACH_FAMILY(family)
    {
        int error = 0, fd = connect_refused(family);
        socklen_t size = sizeof error;
        if (fd < 0)
            cr_skip_test("this system refuses at once");
        add(kq, fd, EVFILT_WRITE, 0);
        expect_eof(kq, fd, EVFILT_WRITE);
        cr_assert_eq(getsockopt(fd, SOL_SOCKET, SO_ERROR, &error, &size), 0);
        cr_assert_eq(error, ECONNREFUSED);
    }
}

STATEMENT(s40_a_refused_connect_has_its_errno, "a refused connect(): fflags is ECONNREFUSED")
{
#ifdef KQUEUE_OVER_EPOLL
    cr_skip_test("asking Linux for the error takes it away from SO_ERROR; the layer leaves it");
#endif
    int fd = connect_refused(AF_INET);
    if (fd < 0)
        cr_skip_test("this system refuses at once");
    add(kq, fd, EVFILT_WRITE, 0);
    cr_assert_eq(expect_eof(kq, fd, EVFILT_WRITE).fflags, (fflags_t)ECONNREFUSED);
}

STATEMENT(s41_write_data_is_free_space, "WRITE: data is the free space; silent while it is full")
{
    EACH_FAMILY(family)
    {
        add(kq, p.end[0], EVFILT_WRITE, 0);
        data_t empty = expect_one(kq, p.end[0], EVFILT_WRITE).data;
        cr_assert_geq(empty, 1024);
        fill(p.end[0]);
        expect_none(kq);
        drain(p.end[1], p.end[0]);
        cr_assert_geq(expect_one(kq, p.end[0], EVFILT_WRITE).data, 1);
    }
}

STATEMENT(s41_write_of_a_pipe, "WRITE of a pipe: fires while there is room")
{
    int end[2];
    cr_assert_eq(pipe(end), 0);
    nonblocking(end[0]);
    nonblocking(end[1]);
    add(kq, end[1], EVFILT_WRITE, 0);
    cr_assert_geq(expect_one(kq, end[1], EVFILT_WRITE).data, 512);
    fill(end[1]);
    expect_none(kq);
    drain(end[0], end[1]);
    expect_one(kq, end[1], EVFILT_WRITE);
}

/* ---- Timers, signals, user events, files ----------------------------------------------------- */

/* These two sleep. On a busy machine they sleep longer than they ask for, and the timer has then
 * expired more often, never less. */
STATEMENT(s46_timers_repeat, "a timer counts milliseconds, repeats, and reports once per call")
{
    enum { PERIOD = 40 };
    double start = now();
    cr_assert_eq(timer(kq, 1, EV_ADD, PERIOD), 0);
    data_t reported = expect_one(kq, 1, EVFILT_TIMER).data;
    cr_assert_geq(reported, 1);
    double first = now() - start;
    cr_assert_gt(first, 0.035);
    cr_assert_lt(first, 1.0);
    sleep_ms(4 * PERIOD + 5);
    struct kevent ev = expect_one(kq, 1, EVFILT_TIMER);
    cr_assert_geq(ev.data, 4, "expirations add up");
    reported += ev.data + expect_one(kq, 1, EVFILT_TIMER).data;
    double periods = (now() - start) * 1000 / PERIOD;
    cr_assert_lt((double)reported, periods + 1, "EV_CLEAR is implied: none is reported twice");
    cr_assert_eq(timer(kq, 1, EV_DELETE, 0), 0);
    cr_assert_eq(wait_for(kq, &ev, 1, 2 * PERIOD + 5), 0);
    cr_assert_eq(timer(kq, 1, EV_DELETE, 0), ENOENT);
}

STATEMENT(s46_timers_once, "EV_ONESHOT: the timer fires once and is gone")
{
    enum { PERIOD = 10 };
    cr_assert_eq(timer(kq, 1, EV_ADD | EV_ONESHOT, PERIOD), 0);
    sleep_ms(4 * PERIOD); /* however late the test looks */
    cr_assert_eq(expect_one(kq, 1, EVFILT_TIMER).data, 1);
    expect_none(kq); /* NEVER is longer than the period */
    cr_assert_eq(timer(kq, 1, EV_DELETE, 0), ENOENT);
}

STATEMENT(s46_timers_have_their_own_idents, "timer 5 and descriptor 5 are two things")
{
    add(kq, p.end[0], EVFILT_READ, 0);
    cr_assert_eq(timer(kq, p.end[0], EV_ADD, 20), 0);
    expect_one(kq, p.end[0], EVFILT_TIMER);
    cr_assert_eq(apply(kq, change(p.end[0], EVFILT_READ, EV_DELETE)), 0);
    expect_one(kq, p.end[0], EVFILT_TIMER);
    close(p.end[0]);
    expect_one(kq, p.end[0], EVFILT_TIMER);
}

STATEMENT(s49_ignored_signals_are_seen, "SIG_IGN first, then EV_ADD: the signal is an event")
{
    signal(SIGHUP, SIG_IGN);
    signal(SIGUSR1, SIG_IGN);
    add(kq, SIGHUP, EVFILT_SIGNAL, 0);
    add(kq, SIGUSR1, EVFILT_SIGNAL, 0);
    expect_none(kq);
    kill(getpid(), SIGHUP);
    cr_assert_eq(expect_one(kq, SIGHUP, EVFILT_SIGNAL).data, 1);
    expect_none(kq); /* EV_CLEAR is implied */
    kill(getpid(), SIGUSR1);
    cr_assert_eq(expect_one(kq, SIGUSR1, EVFILT_SIGNAL).data, 1);
    cr_assert_eq(apply(kq, change(SIGUSR1, EVFILT_SIGNAL, EV_DELETE)), 0);
    kill(getpid(), SIGUSR1);
    expect_none(kq);
}

STATEMENT(s49_a_signal_interrupts_the_wait, "a signal from outside wakes a waiting kevent()")
{
    signal(SIGTERM, SIG_IGN);
    add(kq, SIGTERM, EVFILT_SIGNAL, 0);
    pid_t me = getpid(), child = fork();
    cr_assert_geq(child, 0);
    if (child == 0) {
        sleep_ms(NEVER); /* see write_later() */
        kill(me, SIGTERM);
        _exit(0);
    }
    expect_one(kq, SIGTERM, EVFILT_SIGNAL);
}

STATEMENT(s49_signals_are_counted, "data is the number of signals since the last report")
{
#ifdef KQUEUE_OVER_EPOLL
    cr_skip_test("equal signals that wait in a signalfd merge into one");
#endif
    signal(SIGUSR1, SIG_IGN);
    add(kq, SIGUSR1, EVFILT_SIGNAL, 0);
    for (int i = 0; i < 3; i++)
        kill(getpid(), SIGUSR1);
    cr_assert_eq(expect_one(kq, SIGUSR1, EVFILT_SIGNAL).data, 3);
}

static volatile sig_atomic_t handled;

static void handler(int signo)
{
    (void)signo;
    handled = 1;
}

STATEMENT(s49_beside_the_handler, "the filter runs beside the disposition: a handler runs, too")
{
#ifdef KQUEUE_OVER_EPOLL
    cr_skip_test("a signalfd needs the signal blocked, so no handler runs while it is watched");
#endif
    sigaction(SIGUSR1, &(struct sigaction){.sa_handler = handler}, NULL);
    add(kq, SIGUSR1, EVFILT_SIGNAL, 0);
    kill(getpid(), SIGUSR1);
    cr_assert_eq(handled, 1);
    expect_one(kq, SIGUSR1, EVFILT_SIGNAL);
}

#ifdef EVFILT_USER
static void *trigger_later(void *arg)
{
    sleep_ms(NEVER); /* see write_later() */
    return trigger(kq, 1) == 0 ? arg : NULL;
}
#endif

STATEMENT(s50_a_trigger_wakes_a_waiter, "NOTE_TRIGGER from another thread wakes a waiting one")
{
#ifndef EVFILT_USER
    cr_skip_test("this system has no EVFILT_USER");
#else
    pthread_t thread;
    void *result = NULL;
    struct kevent ev;
    add(kq, 1, EVFILT_USER, EV_CLEAR);
    expect_none(kq);
    cr_assert_eq(pthread_create(&thread, NULL, trigger_later, &kq), 0);
    cr_assert_eq(kevent(kq, NULL, 0, &ev, 1, NULL), 1);
    cr_assert_eq(ev.filter, EVFILT_USER);
    pthread_join(thread, &result);
    cr_assert_not_null(result);
    expect_none(kq); /* EV_CLEAR */
    for (int i = 0; i < 3; i++)
        cr_assert_eq(trigger(kq, 1), 0);
    expect_one(kq, 1, EVFILT_USER); /* statement 31 */
    expect_none(kq);
#endif
}

#define NOTE_SOME (NOTE_DELETE | NOTE_WRITE | NOTE_EXTEND | NOTE_ATTRIB | NOTE_LINK | NOTE_RENAME)

STATEMENT(s52_files_write, "VNODE: a write is NOTE_WRITE, a longer file NOTE_EXTEND")
{
    int file = file_new("file");
    watch(kq, file, NOTE_SOME);
    expect_none(kq);
    cr_assert_eq(write(file, "seven", 5), 5);
    fflags_t what = expect_one(kq, file, EVFILT_VNODE).fflags;
    cr_assert(what & NOTE_WRITE);
    cr_assert(what & NOTE_EXTEND);
    expect_none(kq);
    cr_assert_eq(pwrite(file, "S", 1, 0), 1);
    cr_assert(expect_one(kq, file, EVFILT_VNODE).fflags & NOTE_WRITE);
    cr_assert_eq(chmod("file", 0640), 0);
    cr_assert(expect_one(kq, file, EVFILT_VNODE).fflags & NOTE_ATTRIB);
}

STATEMENT(s52_files_grow_after_another_change,
          "VNODE: what else happens before the file grows does not hide NOTE_EXTEND")
{
    int file = file_new("file");
    watch(kq, file, NOTE_SOME);
    cr_assert_eq(chmod("file", 0640), 0);
    cr_assert_eq(write(file, "x", 1), 1);
    fflags_t what = expect_one(kq, file, EVFILT_VNODE).fflags;
    cr_expect(what & NOTE_ATTRIB);
    cr_expect(what & NOTE_WRITE);
    cr_expect(what & NOTE_EXTEND, "after chmod()");
    cr_assert_eq(rename("file", "other"), 0);
    cr_assert_eq(write(file, "x", 1), 1);
    what = expect_one(kq, file, EVFILT_VNODE).fflags;
    cr_expect(what & NOTE_RENAME);
    cr_expect(what & NOTE_EXTEND, "after rename()");
}

STATEMENT(s52_only_files, "VNODE of a socket or a pipe, which are not files: EINVAL")
{
    int end[2];
    cr_assert_eq(pipe(end), 0);
    const int others[] = {p.end[0], end[0], end[1]};
    for (size_t i = 0; i < 3; i++) {
        struct kevent add_it = full(others[i], EVFILT_VNODE, EV_ADD | EV_CLEAR, NOTE_SOME, 0, 0);
        cr_expect_eq(apply(kq, add_it), EINVAL);
        cr_expect_eq(apply(kq, change(others[i], EVFILT_VNODE, EV_DELETE)), ENOENT);
    }
}

STATEMENT(s52_files_rename_and_unlink, "VNODE follows the open file: rename, then unlink")
{
    int file = file_new("file");
    watch(kq, file, NOTE_SOME);
    cr_assert_eq(rename("file", "other"), 0);
    cr_assert(expect_one(kq, file, EVFILT_VNODE).fflags & NOTE_RENAME);
    cr_assert_eq(write(file, "x", 1), 1);
    fflags_t what = expect_one(kq, file, EVFILT_VNODE).fflags;
    cr_assert(what & NOTE_WRITE, "under its new name");
    cr_assert_eq(what & NOTE_RENAME, 0, "the rename is reported twice");
    cr_assert_eq(unlink("other"), 0);
    cr_assert(expect_one(kq, file, EVFILT_VNODE).fflags & NOTE_DELETE);
}

STATEMENT(s52_files_atomic_save, "VNODE: a rename over the file is NOTE_DELETE on the old one")
{
    int file = file_new("file");
    watch(kq, file, NOTE_SOME);
    int fresh = open("other", O_RDWR | O_CREAT, 0600);
    cr_assert_eq(rename("other", "file"), 0);
    cr_assert(expect_one(kq, file, EVFILT_VNODE).fflags & NOTE_DELETE);
    close(fresh);
    close(file);
    file = open("file", O_RDWR); /* what a program does next */
    watch(kq, file, NOTE_SOME);
    cr_assert_eq(write(file, "x", 1), 1);
    cr_assert(expect_one(kq, file, EVFILT_VNODE).fflags & NOTE_WRITE);
}

STATEMENT(s54_directories, "VNODE of a directory: NOTE_WRITE on create, rename and delete inside")
{
    int file = file_new("file");
    int directory = open(".", O_RDONLY);
    cr_assert_geq(directory, 0);
    watch(kq, directory, NOTE_WRITE);
    cr_assert_eq(write(file, "x", 1), 1);
    expect_none(kq); /* a child's content is not the directory's */
    close(open("other", O_WRONLY | O_CREAT, 0600));
    cr_assert(expect_one(kq, directory, EVFILT_VNODE).fflags & NOTE_WRITE);
    cr_assert_eq(rename("other", "file"), 0);
    cr_assert(expect_one(kq, directory, EVFILT_VNODE).fflags & NOTE_WRITE);
    cr_assert_eq(unlink("file"), 0);
    cr_assert(expect_one(kq, directory, EVFILT_VNODE).fflags & NOTE_WRITE);
}
