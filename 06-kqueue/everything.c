/* Why people miss kqueue on Linux: everything that can happen comes out of one call. A client, a
 * file's change, a timer, a word from another thread, a signal.
 *
 *     build/06-kqueue/everything --watch FILE --stats 1
 *
 * It echoes with less care than server.c. Each change is a call of its own, and ends the process if
 * it is refused. Out of descriptors it asks again and again for a client. It stops at once. */
#include <err.h>
#include <errno.h>
#include <pthread.h>
#include <sys/types.h>

#include <sys/event.h>
#include <sys/time.h>
#include <unistd.h>

#include "conn.h"
#include "log.h"
#include "net.h"
#include "options.h"
#include "watch.h"

/* STATS and WORK_DONE are idents: a timer and a user event may have the same. */
enum { EVENTS_PER_WAIT = 64, STATS = 1, WORK_DONE = 1 };

static int kq, listener, open_count;
static long long echoes;
static bool stopped;
static struct conn_table conns;
static struct watch *watch; /* NULL without --watch */

static void handle(const struct kevent *event);

static void run(void)
{
    struct kevent events[EVENTS_PER_WAIT];

    while (!stopped) {
        int count = kevent(kq, NULL, 0, events, EVENTS_PER_WAIT, NULL);
        if (count < 0 && errno != EINTR)
            log_fatal("kevent");
        for (int i = 0; i < count; i++)
            handle(&events[i]);
        if (watch)
            watch_settle(watch, kq);
    }
}

/* Filters and flags have other types on NetBSD, but fit into these, too: see changes.c. */
static void change(int ident, short filter, unsigned short flags, unsigned fflags, int data)
{
    struct kevent change;
    EV_SET(&change, (uintptr_t)ident, filter, flags, fflags, data, 0);
    if (kevent(kq, &change, 1, NULL, 0, NULL) < 0)
        log_fatal("kevent");
}

static void accept_client(void)
{
    int client;
    if (net_accept(listener, true, &client) != NET_CLIENT)
        return;
    if (conn_open(&conns, client)) {
        change(client, EVFILT_READ, EV_ADD, 0, 0);
        open_count++;
    } else {
        net_turn_away(client, "out of memory");
    }
}

static void take_turn(struct conn *conn, const struct kevent *event)
{
    enum conn_next before = conn->next, next = conn_turn(conn);

    /* TCP has no messages to count: this counts how often there was something to read. */
    echoes += event->filter == EVFILT_READ && event->data > 0;
    if (next == CONN_CLOSE) {
        conn_close(conn);
        open_count--;
    } else if (next != before) {
        change(conn->fd, before == CONN_READ ? EVFILT_READ : EVFILT_WRITE, EV_DELETE, 0, 0);
        change(conn->fd, next == CONN_READ ? EVFILT_READ : EVFILT_WRITE, EV_ADD, 0, 0);
    }
}

static void handle(const struct kevent *event)
{
    struct conn *conn = conn_at(&conns, (int)event->ident); /* if the filter is about descriptors */

    switch (event->filter) {
    case EVFILT_READ:
    case EVFILT_WRITE:
        if (conn)
            take_turn(conn, event);
        else
            accept_client();
        break;
    case EVFILT_VNODE:
        watch_event(watch, event);
        break;
    case EVFILT_TIMER:
        log_event("%d connections, %lld echoes", open_count, echoes);
        break;
    case EVFILT_USER:
        log_event("the other thread has finished its work");
        break;
    case EVFILT_SIGNAL:
        log_event("signal %d: the end", (int)event->ident);
        stopped = true;
        break;
    }
}

/* Work in a thread of its own. NOTE_TRIGGER wakes the loop. On Linux the thread has to start when
 * the signals are already watched: watching blocks them, and the thread inherits that. */
static void *work(void *unused)
{
    while (sleep(3) == 0)
        change(WORK_DONE, EVFILT_USER, 0, NOTE_TRIGGER, 0);
    return unused;
}

static void watch_everything(const char *path, const char *stats)
{
    stop_signals_handle(SIG_IGN); /* otherwise they would end us, beside being reported */
    change(SIGINT, EVFILT_SIGNAL, EV_ADD, 0, 0);
    change(SIGTERM, EVFILT_SIGNAL, EV_ADD, 0, 0);
    change(listener, EVFILT_READ, EV_ADD, 0, 0);
    change(WORK_DONE, EVFILT_USER, EV_ADD | EV_CLEAR, 0, 0);
    if (stats)
        change(STATS, EVFILT_TIMER, EV_ADD, 0, 1000 * options_number("--stats", stats, 1, 86400));
    if (path)
        watch = watch_start(kq, path);
}

int main(int argc, char **argv)
{
    struct extra_option extra[] = {
        {"watch", true, "--watch FILE     say what happens to a file", NULL},
        {"stats", true, "--stats SECONDS  print connections and echoes this often", NULL},
        {0},
    };
    struct net_settings settings = options_parse(argc, argv, extra);
    pthread_t thread;

    listener = net_listen(&settings, true);
    if (listener < 0)
        return 1;
    kq = kqueue();
    if (kq < 0)
        err(1, "kqueue");
    watch_everything(extra[0].value, extra[1].value);
    if (pthread_create(&thread, NULL, work, NULL) != 0)
        errx(1, "no thread");
    if (net_announce(listener) < 0)
        return 1;
    run();
    conn_table_free(&conns);
    return 0;
}
