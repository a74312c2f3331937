/* close() that does not end the registration.
 *
 * epoll watches what the descriptor stands for, not the number. While a dup(), or a forked child,
 * holds the same socket open, close() ends nothing: events go on coming, under a number that is
 * closed or belongs to another connection, and there is no way left to remove them.
 *
 * Needs: linux
 *
 * Expect:
 *   closed, no duplicate:  no event
 *   closed, a duplicate is open: an event, for the number that we closed
 *     EPOLL_CTL_DEL by that number: Bad file descriptor
 *     EPOLL_CTL_DEL by the duplicate: No such file or directory
 *     it goes on: 3 events in 3 more calls
 *   EPOLL_CTL_DEL first, then close(): no event
 */
#include "experiment.h"

#include <sys/epoll.h>

static int next(int epoll)
{
    struct epoll_event event;
    return epoll_wait(epoll, &event, 1, 50) == 1 ? event.data.fd : -1;
}

/* Watches a client, closes its connection on our side, and lets the client speak. */
static int watched(int epoll, bool duplicate, bool remove_first, struct pair *pair)
{
    struct epoll_event event = {.events = EPOLLIN};
    *pair = connection();
    event.data.fd = pair->server;
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, pair->server, &event) < 0)
        err(1, "epoll_ctl");
    int other = duplicate ? dup(pair->server) : -1;
    if (remove_first)
        epoll_ctl(epoll, EPOLL_CTL_DEL, pair->server, NULL);
    close(pair->server);
    if (send(pair->client, "x", 1, MSG_NOSIGNAL) != 1)
        err(1, "send");
    if (duplicate)
        await_arrival(other);
    return other;
}

static void report(const char *name, int got)
{
    printf("%s%s\n", name, got < 0 ? "no event" : "an event, for the number that we closed");
}

int main(void)
{
    int epoll = epoll_create1(0), again = 0;
    struct pair pair;

    watched(epoll, false, false, &pair);
    int alone = next(epoll);
    report("closed, no duplicate:  ", alone);

    int other = watched(epoll, true, false, &pair);
    int ghost = next(epoll);
    report("closed, a duplicate is open: ", ghost);
    int number = epoll_ctl(epoll, EPOLL_CTL_DEL, pair.server, NULL) < 0 ? errno : 0;
    printf("  EPOLL_CTL_DEL by that number: %s\n", strerror(number));
    int duplicate = epoll_ctl(epoll, EPOLL_CTL_DEL, other, NULL) < 0 ? errno : 0;
    printf("  EPOLL_CTL_DEL by the duplicate: %s\n", strerror(duplicate));
    for (int i = 0; i < 3; i++)
        again += next(epoll) == pair.server;
    printf("  it goes on: %d events in 3 more calls\n", again);
    close(other);

    watched(epoll, true, true, &pair);
    int removed = next(epoll);
    report("EPOLL_CTL_DEL first, then close(): ", removed);
    expect(alone < 0 && removed < 0, "the usual way, and the careful one");
    expect(ghost >= 0 && number == EBADF && duplicate == ENOENT && again == 3, "a ghost");
    claim("close() takes a descriptor out of epoll", "partly", (alone < 0) + (ghost < 0), 2,
          "alone: %s; while a dup() is open: %s", alone < 0 ? "no event" : "events",
          ghost < 0 ? "no event" : "events go on");
    return experiment_failed;
}
