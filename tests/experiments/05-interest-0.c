/* Interest 0 is not silence.
 *
 * A server that wants to hear nothing of a connection for a while may set its interest to 0: the
 * registration stays. But EPOLLHUP and EPOLLERR are always reported, asked for or not. So a client
 * that is lost meanwhile lets each epoll_wait() return at once, and a loop that has put it aside
 * burns a core. EPOLL_CTL_DEL helps, at the price of a call. A listener is safe: no client can
 * reset it.
 *
 * Needs: linux
 *
 * Expect:
 *   interest 0, the client has sent:         0 of 10 calls return an event
 *   interest 0, the client has finished:     0 of 10 calls return an event
 *   interest 0, the client was reset:        10 of 10 calls return an event: EPOLLERR EPOLLHUP
 *   EPOLL_CTL_DEL, the client was reset:     0 of 10 calls return an event
 *   interest 0, a listener, a client waits:  0 of 10 calls return an event
 */
#include "experiment.h"

#include <sys/epoll.h>

enum { CALLS = 10 };

static int epoll;

static void put_aside(int fd, bool remove)
{
    struct epoll_event event = {.data.fd = fd};
    event.events = EPOLLIN;
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0)
        err(1, "epoll_ctl");
    event.events = 0;
    if (epoll_ctl(epoll, remove ? EPOLL_CTL_DEL : EPOLL_CTL_MOD, fd, &event) < 0)
        err(1, "epoll_ctl");
}

/* Returns how many of some calls find an event, each with a little patience. */
static int look(const char *what)
{
    uint32_t seen = 0;
    int found = 0;
    for (int i = 0; i < CALLS; i++) {
        struct epoll_event event;
        if (epoll_wait(epoll, &event, 1, 10) == 1) {
            seen |= event.events;
            found++;
        }
    }
    printf("%-40s %d of %d calls return an event%s%s%s%s\n", what, found, CALLS, seen ? ":" : "",
           seen & EPOLLIN ? " EPOLLIN" : "", seen & EPOLLERR ? " EPOLLERR" : "",
           seen & EPOLLHUP ? " EPOLLHUP" : "");
    return found;
}

/* What a client did may still be on its way: POLLRDHUP for a FIN, nothing at all for a RST. */
static void await_end(int fd, short events)
{
    struct pollfd entry = {.fd = fd, .events = events};
    if (poll(&entry, 1, 10000) != 1)
        errx(1, "neither FIN nor RST arrives");
}

int main(void)
{
    struct pair talks = connection(), resets = connection(), removed = connection();
    epoll = epoll_create1(0);

    put_aside(talks.server, false);
    if (send(talks.client, "x", 1, 0) != 1)
        err(1, "send");
    await_arrival(talks.server);
    int sent = look("interest 0, the client has sent:");
    shutdown(talks.client, SHUT_WR);
    await_end(talks.server, POLLRDHUP);
    int finished = look("interest 0, the client has finished:");
    close(talks.server);

    put_aside(resets.server, false);
    close_with_reset(resets.client);
    await_end(resets.server, 0);
    int reset = look("interest 0, the client was reset:");
    close(resets.server);

    put_aside(removed.server, true);
    close_with_reset(removed.client);
    await_end(removed.server, 0);
    int after_del = look("EPOLL_CTL_DEL, the client was reset:");

    int listener = listen_on_loopback(1);
    put_aside(listener, false);
    connect_to(port_of(listener));
    await_arrival(listener);
    int waits = look("interest 0, a listener, a client waits:");

    expect(sent == 0 && finished == 0 && after_del == 0 && waits == 0, "silence");
    expect(reset == CALLS, "HUP and ERR without being asked");
    return experiment_failed;
}
