/* An edge that was not drained is not told again.
 *
 * The client sends 4096 bytes; the handler reads 1024 for each event. Level-triggered, epoll goes
 * on reporting until nothing is left. Edge-triggered it reports that bytes arrived, and they
 * arrived once. The rest waits until something else happens to that socket.
 *
 * Needs: linux
 *
 * Expect:
 *   level-triggered: 4 events, 4096 of 4096 bytes echoed
 *   edge-triggered:  1 event, 1024 of 4096 bytes echoed, then silence
 *   one more byte from the client: 1 event, 2048 of 4097
 *   EPOLL_CTL_MOD with the same events: 1 event, 3072 of 4097
 */
#include "experiment.h"

#include <sys/epoll.h>

static int echoed;

/* Waits until nothing is reported any more; one recv() for each event. Returns how many. */
static int serve(int epoll)
{
    struct epoll_event event;
    char buffer[1024];
    int events = 0;
    while (epoll_wait(epoll, &event, 1, 100) == 1) {
        ssize_t got = recv(event.data.fd, buffer, sizeof buffer, MSG_DONTWAIT);
        if (got > 0 && send(event.data.fd, buffer, (size_t)got, 0) == got)
            echoed += (int)got;
        events++;
    }
    return events;
}

static int watch(int epoll, int operation, int fd, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.fd = fd};
    return epoll_ctl(epoll, operation, fd, &event);
}

static struct pair start(const char *name, int *epoll, uint32_t events)
{
    char bytes[4096];
    struct pair pair = connection();
    *epoll = epoll_create1(0);
    echoed = 0;
    for (size_t i = 0; i < sizeof bytes; i++)
        bytes[i] = "abcd"[i / 1024];
    scene(name);
    if (watch(*epoll, EPOLL_CTL_ADD, pair.server, events) < 0 ||
        write(pair.client, bytes, sizeof bytes) != sizeof bytes)
        err(1, "start");
    await_bytes(pair.server, sizeof bytes);
    return pair;
}

int main(void)
{
    int epoll;
    struct pair pair = start("level-triggered", &epoll, EPOLLIN);
    int level = serve(epoll);
    scene_end();
    close(pair.client);
    close(pair.server);
    close(epoll);
    printf("level-triggered: %d events, %d of 4096 bytes echoed\n", level, echoed);
    expect(level == 4 && echoed == 4096, "a level is reported while it lasts");

    pair = start("edge-triggered", &epoll, EPOLLIN | EPOLLET);
    int edge = serve(epoll), echoed_by_edge = echoed;
    mark("kernel: the rest waits: no new edge");
    if (write(pair.client, "x", 1) != 1)
        err(1, "write");
    await_bytes(pair.server, 3073);
    int more = serve(epoll);
    scene_end();
    printf("edge-triggered:  %d event, %d of 4096 bytes echoed, then silence\n", edge,
           echoed_by_edge);
    expect(edge == 1 && echoed_by_edge == 1024, "an edge is reported once");
    printf("one more byte from the client: %d event, %d of 4097\n", more, echoed);
    watch(epoll, EPOLL_CTL_MOD, pair.server, EPOLLIN | EPOLLET);
    int modified = serve(epoll);
    printf("EPOLL_CTL_MOD with the same events: %d event, %d of 4097\n", modified, echoed);
    expect(more == 1 && modified == 1 && echoed == 3072, "new bytes are a new edge");
    claim("Edge-triggered tells once", "partly", (edge == 1) + (more == 0) + (modified == 0), 3,
          "left alone: %d; after a new byte: %d more; after EPOLL_CTL_MOD: %d more", edge, more,
          modified);
    return experiment_failed;
}
