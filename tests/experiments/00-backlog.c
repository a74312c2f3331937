/* A hundred clients and a backlog of 10.
 *
 * The kernel finishes connections by itself and queues them for accept(). backlog bounds that
 * queue. When it is full, SYNs are dropped without a word; the client's kernel tries again after a
 * second, and again, and again. So here a short backlog refuses nobody: it makes clients wait, some
 * of them for long. (Linux queues one more than asked for. 00-backlog-limit shows a refusal.)
 *
 * Expect:
 *   backlog 10: 11 of 100 connected while the server slept
 *     then it accepts for 4 s: <n> got in, the last after <n> s, 0 were refused
 *   backlog 100: 100 of 100 connected while the server slept
 *     then it accepts for 4 s: 100 got in, the last after 0.0 s, 0 were refused
 */
#include "experiment.h"

#include <poll.h>

enum { CLIENTS = 100, PATIENCE_S = 4 };

/* How many of the clients know that they are connected. */
static int count_connected(struct pollfd *client)
{
    int connected = 0;
    poll(client, CLIENTS, 0);
    for (int i = 0; i < CLIENTS; i++)
        connected += (client[i].revents & POLLOUT) && !(client[i].revents & POLLERR);
    return connected;
}

static void start_clients(struct pollfd *client, int port)
{
    struct sockaddr_in address = loopback(port);
    for (int i = 0; i < CLIENTS; i++) {
        client[i] = (struct pollfd){.fd = socket(AF_INET, SOCK_STREAM, 0), .events = POLLOUT};
        nonblocking(client[i].fd);
        if (connect(client[i].fd, (struct sockaddr *)&address, sizeof address) < 0 &&
            errno != EINPROGRESS)
            err(1, "connect");
    }
}

static int count_refused(struct pollfd *client)
{
    int refused = 0;
    poll(client, CLIENTS, 0);
    for (int i = 0; i < CLIENTS; i++)
        refused += (client[i].revents & POLLERR) != 0;
    return refused;
}

/* Accepts until all are in or patience ends. Returns how many. *late: for how long the queue was
 * empty before the last one came. (The time that a busy machine takes to run us is not the
 * backlog's.) */
static int accept_for_a_while(int listener, double *late)
{
    struct pollfd waiting = {.fd = listener, .events = POLLIN};
    int accepted = 0;
    double empty = 0, begin = now();
    *late = 0;
    while (accepted < CLIENTS && now() - begin < PATIENCE_S) {
        double before = now();
        if (poll(&waiting, 1, 0) < 1) {
            poll(&waiting, 1, 100);
            empty += now() - before;
        } else if (accept(listener, NULL, NULL) >= 0) {
            accepted++;
            *late = empty;
        }
    }
    return accepted;
}

/* Returns how many were connected while the server slept. */
static int try_backlog(int backlog, int *in, double *late, int *refused)
{
    struct pollfd client[CLIENTS];
    int listener = listen_on_loopback(backlog);

    start_clients(client, port_of(listener));
    pause_ms(300); /* the server is busy elsewhere */
    int at_once = count_connected(client);
    printf("backlog %d: %d of %d connected while the server slept\n", backlog, at_once, CLIENTS);
    *in = accept_for_a_while(listener, late);
    *refused = count_refused(client);
    printf("  then it accepts for %d s: %d got in, the last after %.1f s, %d were refused\n",
           PATIENCE_S, *in, *late, *refused);
    expect(*refused == 0, "a full backlog refuses nobody");
    for (int i = 0; i < CLIENTS; i++)
        close_with_reset(client[i].fd);
    close(listener);
    return at_once;
}

int main(void)
{
    double late, soon;
    int some, all, refused, none;
    int few = try_backlog(10, &some, &late, &refused);
    int many = try_backlog(100, &all, &soon, &none);
    expect(few < 20 && many == CLIENTS, "the backlog bounds who is connected unaccepted");
    expect(some > few && late > 0.3, "the rest come a second later, or more");
    expect(all == CLIENTS && soon < 0.3, "with room for all nobody waits");
    claim("With a backlog of 10 some of 100 connections cannot be made", "partly",
          (few < CLIENTS) + (refused > 0), 2, "%d of %d at once, %d after %.1f s, %d refused", few,
          CLIENTS, some, late, refused);
    return experiment_failed;
}
