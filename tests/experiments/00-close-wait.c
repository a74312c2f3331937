/* CLOSE_WAIT: the client has closed, and the server has not.
 *
 * A client's FIN puts the server's end into the state CLOSE_WAIT, and recv() returns 0. The kernel
 * now waits for the server's own close(). No timer ends that wait, and each such socket keeps its
 * descriptor. A server that forgets to close runs out of them, though no client is left: here
 * there are 11, and serving a client takes two for a moment, since the client lives in the same
 * process. `ss -tn state close-wait` shows such sockets from outside.
 *
 * Needs: linux
 *
 * Expect:
 *   it closes at the end of file: 20 of 20 clients served
 *   it forgets to close: 10 of 20 clients served, then: Too many open files
 *   the sockets of these clients: 10 in CLOSE_WAIT
 *   it closes them at last: the next client is served
 */
#include "experiment.h"

#include <netinet/tcp.h>

enum { CLIENTS = 20, FREE = 11 };

static bool in_close_wait(int fd)
{
    struct tcp_info info;
    socklen_t length = sizeof info;
    if (getsockopt(fd, IPPROTO_TCP, TCP_INFO, &info, &length) < 0)
        err(1, "TCP_INFO");
    return info.tcpi_state == TCP_CLOSE_WAIT;
}

/* Leaves this process only so many numbers. */
static void limit_descriptors(void)
{
    struct rlimit limit;
    int number[FREE];
    for (int i = 0; i < FREE; i++)
        number[i] = dup(0);
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = (rlim_t)number[FREE - 1] + 1;
    if (number[FREE - 1] < 0 || setrlimit(RLIMIT_NOFILE, &limit) < 0)
        err(1, "setrlimit");
    for (int i = 0; i < FREE; i++)
        close(number[i]);
}

/* The client says a byte, hears it and closes; the server has seen the end. */
static void serve(struct pair pair)
{
    char byte = 'x';
    if (write(pair.client, &byte, 1) != 1 || recv(pair.server, &byte, 1, 0) != 1 ||
        send(pair.server, &byte, 1, 0) != 1 || read(pair.client, &byte, 1) != 1)
        err(1, "echo");
    close(pair.client);
    if (recv(pair.server, &byte, 1, 0) != 0)
        errx(1, "no end of file");
}

/* One client after the other. Returns how many were served; forgotten: the sockets, or NULL for a
 * server that closes them. The first client for whom there is no descriptor stays in waiting. */
static int serve_all(int listener, int *forgotten, int *waiting)
{
    for (int served = 0; served < CLIENTS; served++) {
        struct pair pair = {.client = connect_to(port_of(listener))};
        pair.server = accept(listener, NULL, NULL);
        if (pair.server < 0) {
            *waiting = pair.client;
            return served;
        }
        serve(pair);
        if (forgotten)
            forgotten[served] = pair.server;
        else
            close(pair.server);
    }
    return CLIENTS;
}

int main(void)
{
    int forgotten[CLIENTS], waiting = -1, left = 0, listener = listen_on_loopback(1);

    limit_descriptors();
    int served = serve_all(listener, NULL, &waiting);
    printf("it closes at the end of file: %d of %d clients served\n", served, CLIENTS);
    expect(served == CLIENTS, "each close() gives a descriptor back");

    served = serve_all(listener, forgotten, &waiting);
    int reason = errno;
    printf("it forgets to close: %d of %d clients served, then: %s\n", served, CLIENTS,
           served < CLIENTS ? strerror(reason) : "none is missing");
    for (int i = 0; i < served; i++)
        left += in_close_wait(forgotten[i]);
    printf("the sockets of these clients: %d in CLOSE_WAIT\n", left);
    expect(served == FREE - 1 && reason == EMFILE && left == served, "nobody else can close them");

    for (int i = 0; i < served; i++)
        close(forgotten[i]);
    nonblocking(listener);
    int next = accept(listener, NULL, NULL);
    printf("it closes them at last: the next client is %sserved\n", next < 0 ? "not " : "");
    expect(next >= 0, "the descriptors are free again");
    claim("A socket in CLOSE_WAIT waits for its client", "false", left == 0, 1,
          "%d clients have closed, and %d sockets are in CLOSE_WAIT", served, left);
    if (next >= 0)
        serve((struct pair){.server = next, .client = waiting});
    return experiment_failed;
}
