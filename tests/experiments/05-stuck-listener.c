/* An edge-triggered listener, and one accept() for each event.
 *
 * Twenty clients connect while the server is busy. To an edge-triggered listener that is one edge.
 * A server that accepts one client leaves nineteen. They believe that they are connected, and wait.
 *
 * Needs: linux
 *
 * Expect:
 *   edge-triggered, one accept(): 1 of 20 clients accepted
 *   edge-triggered, until EAGAIN: 20 of 20 clients accepted
 *   level-triggered, one accept(): 20 of 20 clients accepted
 */
#include "experiment.h"

#include <netinet/tcp.h>
#include <sys/epoll.h>

enum { CLIENTS = 20 };

/* connect() may return a moment before the listener has the client. For a listener tcpi_unacked is
 * the number of waiting clients. */
static void await_clients(int listener)
{
    struct tcp_info info = {0};
    socklen_t length = sizeof info;
    for (double end = now() + 10; info.tcpi_unacked < CLIENTS; pause_ms(1))
        if (getsockopt(listener, IPPROTO_TCP, TCP_INFO, &info, &length) < 0 || now() > end)
            errx(1, "the clients do not arrive");
}

static int serve(int epoll, int listener, bool until_eagain)
{
    struct epoll_event event;
    int accepted = 0;
    while (epoll_wait(epoll, &event, 1, 100) == 1) {
        int client;
        do {
            client = accept(listener, NULL, NULL);
            accepted += client >= 0;
        } while (client >= 0 && until_eagain);
    }
    return accepted;
}

static int try(const char *name, uint32_t events, bool until_eagain)
{
    int listener = listen_on_loopback(CLIENTS), client[CLIENTS], epoll = epoll_create1(0);
    struct epoll_event event = {.events = events, .data.fd = listener};

    nonblocking(listener);
    for (int i = 0; i < CLIENTS; i++)
        client[i] = connect_to(port_of(listener));
    await_clients(listener);
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event) < 0)
        err(1, "epoll_ctl");
    int accepted = serve(epoll, listener, until_eagain);
    printf("%s %d of %d clients accepted\n", name, accepted, CLIENTS);
    for (int i = 0; i < CLIENTS; i++)
        close(client[i]);
    close(listener);
    close(epoll);
    return accepted;
}

int main(void)
{
    int once = try("edge-triggered, one accept():", EPOLLIN | EPOLLET, false);
    int drained = try("edge-triggered, until EAGAIN:", EPOLLIN | EPOLLET, true);
    int level = try("level-triggered, one accept():", EPOLLIN, false);
    expect(once == 1 && drained == CLIENTS && level == CLIENTS, "nineteen wait for an edge");
    return experiment_failed;
}
