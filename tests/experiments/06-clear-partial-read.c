/* EV_CLEAR, and a read that leaves something behind.
 *
 * With EV_CLEAR, kqueue's edge-triggered mode, a change is reported once. Ten bytes arrive, and the
 * handler reads four of them. The other six are not reported until something else happens to that
 * socket. When we add the filter once more, the kernel looks at the socket anew. So a program that
 * passes all its filters with each call never notices, and pays for all of them.
 *
 * Needs: kqueue
 *
 * Expect:
 *   without EV_CLEAR: 3 events until all 10 bytes are read
 *   with EV_CLEAR: an event with data = 10, 4 bytes read, then no event
 *   one more byte from the client: an event with data = 7, 4 bytes read, then no event
 *   EV_ADD once more: an event with data = 3
 */
#include "experiment.h"

#include <sys/event.h>

static int change(int kq, int fd, int flags)
{
    struct kevent kev;
    EV_SET(&kev, (uintptr_t)fd, EVFILT_READ, (unsigned short)flags, 0, 0, NULL);
    return kevent(kq, &kev, 1, NULL, 0, NULL);
}

/* The next event's data, or -1 if there is none. What there is to report has arrived before, so the
 * time only shows that the silence lasts. */
static long next(int kq)
{
    struct kevent kev;
    struct timespec soon = {0, 100000000};
    return kevent(kq, NULL, 0, &kev, 1, &soon) == 1 ? (long)kev.data : -1;
}

static struct pair client_with_10_bytes(int kq, int flags)
{
    struct pair pair = connection();
    if (change(kq, pair.server, flags) < 0 || write(pair.client, "0123456789", 10) != 10)
        err(1, "start");
    await_bytes(pair.server, 10);
    return pair;
}

/* One event, and a handler that reads 4 bytes for it. Returns the event's data, and in *after that
 * of the next event. */
static long handle(int kq, int fd, const char *when, long *after)
{
    char buffer[4];
    long data = next(kq);
    ssize_t got = read(fd, buffer, sizeof buffer);
    *after = next(kq);
    printf("%s: an event with data = %ld, %zd bytes read, then %s\n", when, data, got,
           *after < 0 ? "no event" : "another event");
    return data;
}

int main(void)
{
    char buffer[4];
    int kq = kqueue(), events = 0;

    struct pair level = client_with_10_bytes(kq, EV_ADD);
    while (next(kq) > 0 && read(level.server, buffer, sizeof buffer) > 0)
        events++;
    printf("without EV_CLEAR: %d events until all 10 bytes are read\n", events);
    close(level.server);

    struct pair edge = client_with_10_bytes(kq, EV_ADD | EV_CLEAR);
    long after_first, after_second;
    long first = handle(kq, edge.server, "with EV_CLEAR", &after_first);
    if (write(edge.client, "x", 1) != 1)
        err(1, "write");
    await_bytes(edge.server, 7);
    long second = handle(kq, edge.server, "one more byte from the client", &after_second);
    change(kq, edge.server, EV_ADD | EV_CLEAR);
    long again = next(kq);
    printf("EV_ADD once more: an event with data = %ld\n", again);
    expect(events == 3, "a level is reported while it lasts");
    expect(first == 10 && after_first < 0, "with EV_CLEAR the rest is not reported");
    expect(second == 7 && after_second < 0, "new bytes are reported, with all that is unread");
    expect(again == 3, "to add it again looks at the socket");
    claim("EV_CLEAR with all filters passed on each call works", "true", again == 3, 1,
          "added again, what was left unread is reported again: %s", again < 0 ? "no" : "yes");
    return experiment_failed;
}
