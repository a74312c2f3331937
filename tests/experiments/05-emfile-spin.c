/* Out of descriptors, and a client that waits: the loop never sleeps again.
 *
 * The process has all the descriptors that it may have: client A got the last one. Client B
 * connects. The listener is ready, and epoll_wait() returns at once. accept4() finds no free number
 * and leaves B in the backlog, so the listener is still ready. A server that goes on like that
 * burns a core.
 *
 * The repair: stop watching the listener until a descriptor is free. Here A leaves, and B gets its
 * number. (05-epoll/server.c does not ask whether one is free: it tries again after 100 ms.)
 *
 * Needs: linux
 *
 * Expect:
 *   the listener stays watched: <n> turns in 100 ms, <n> ms of CPU time: Too many open files
 *   the listener is put aside:  1 turn in 100 ms, <n> ms of CPU time
 *   A leaves: B is accepted
 */
#include "experiment.h"

#include <sys/epoll.h>

enum { PERIOD_MS = 100 };

static int listener, epoll;
static struct pair a;
static int b; /* the client's end of B's connection */

static int control(int operation, int fd, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.fd = fd};
    return epoll_ctl(epoll, operation, fd, &event);
}

/* A is served, and B's socket has taken the last descriptor. */
static void begin(void)
{
    listener = listen_on_loopback(4);
    epoll = epoll_create1(0);
    a = connected(listener);
    b = socket(AF_INET, SOCK_STREAM, 0);
    nonblocking(listener);
    if (control(EPOLL_CTL_ADD, listener, EPOLLIN) < 0 ||
        control(EPOLL_CTL_ADD, a.server, EPOLLIN) < 0)
        err(1, "epoll_ctl");

    int lowest = dup(b); /* all numbers below this one are in use */
    struct rlimit limit;
    close(lowest);
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = (rlim_t)lowest;
    if (lowest < 0 || setrlimit(RLIMIT_NOFILE, &limit) < 0)
        err(1, "setrlimit");
}

static void end(void)
{
    close(epoll);
    close(listener);
    close(a.client);
    close(b);
    (void)descriptors();
}

static int next_ready(int timeout_ms)
{
    struct epoll_event event;
    return epoll_wait(epoll, &event, 1, timeout_ms) == 1 ? event.data.fd : -1;
}

static int accept_client(void)
{
    return accept4(listener, NULL, NULL, SOCK_NONBLOCK);
}

/* Connects B, and serves for 100 ms. Returns how often the wait reported the listener; each time
 * accept4() must have failed. */
static int serve(struct sockaddr_in address, bool put_aside)
{
    int turns = 0, refused = 0, timeout_ms = -1;
    if (connect(b, (struct sockaddr *)&address, sizeof address) < 0)
        err(1, "connect");
    for (double until = now() + PERIOD_MS / 1000.; now() < until;) {
        if (next_ready(timeout_ms) != listener)
            continue;
        turns++;
        refused += accept_client() < 0 && errno == EMFILE;
        if (put_aside) {
            control(EPOLL_CTL_MOD, listener, 0);
            timeout_ms = PERIOD_MS;
        }
    }
    expect(refused == turns, "each accept4() says EMFILE");
    return turns;
}

static int stays_watched(double *cpu)
{
    begin();
    struct sockaddr_in address = loopback(port_of(listener));
    double before = cpu_used(RUSAGE_SELF);
    scene("the listener stays watched");
    int turns = serve(address, false);
    scene_end();
    *cpu = cpu_used(RUSAGE_SELF) - before;
    close(a.server);
    end();
    return turns;
}

static int is_put_aside(double *cpu, bool *accepted)
{
    char byte;
    begin();
    struct sockaddr_in address = loopback(port_of(listener));
    double before = cpu_used(RUSAGE_SELF);
    scene("the listener is put aside");
    int turns = serve(address, true);

    shutdown(a.client, SHUT_WR); /* close() would give back a number of this process */
    bool left = next_ready(-1) == a.server && recv(a.server, &byte, 1, 0) == 0;
    close(a.server);
    control(EPOLL_CTL_MOD, listener, EPOLLIN);
    bool ready = next_ready(-1) == listener;
    int client = accept_client();
    scene_end();
    *cpu = cpu_used(RUSAGE_SELF) - before;
    *accepted = left && ready && client == a.server;
    close(client);
    end();
    return turns;
}

int main(void)
{
    double busy, calm;
    bool accepted;
    int turns = stays_watched(&busy);
    printf("the listener stays watched: %d turns in %d ms, %.1f ms of CPU time: %s\n", turns,
           PERIOD_MS, busy * 1000, strerror(EMFILE));
    int once = is_put_aside(&calm, &accepted);
    printf("the listener is put aside:  %d turn in %d ms, %.1f ms of CPU time\n", once, PERIOD_MS,
           calm * 1000);
    printf("A leaves: B is %saccepted\n", accepted ? "" : "not ");
    expect(turns > 10 && once == 1 && busy > calm, "the wait returns at once, again and again");
    expect(accepted, "B gets A's number");
    return experiment_failed;
}
