/* Four threads with a listener each, and a hash that knows nothing of their work.
 *
 * With SO_REUSEPORT the kernel chooses a listener by a hash of the client's address and port. The
 * hash spreads clients like dice: evenly in the long run, unevenly for a hundred. And it asks
 * nobody who is busy. The clients of a thread that is busy wait for it, while the others sleep.
 * Where all threads share one listener, those that have time accept everyone.
 *
 * Here the four threads are played by one: the one that is busy does not accept.
 *
 * Needs: linux
 *
 * Expect:
 *   a listener for each of 4 threads: of 100 clients the busiest thread has <n>, the idlest <n>
 *     one of the threads is busy:     <n> of 100 clients wait, while 3 threads have nothing to do
 *   one listener for 4 threads:
 *     one of the threads is busy:     0 of 100 clients wait
 */
#include "experiment.h"

enum { THREADS = 4, CLIENTS = 100 };

/* Returns how many clients a thread accepts until nobody is left. It greets each. */
static int accept_all(int listener)
{
    int count = 0, fd;
    while ((fd = accept(listener, NULL, NULL)) >= 0) {
        if (send(fd, "x", 1, 0) != 1)
            err(1, "send");
        close(fd);
        count++;
    }
    return count;
}

/* Connects all clients and lets all threads but the busy ones accept; has: how many each accepts.
 * Returns how many clients still wait. */
static int wait_for(const int *listener, int busy, int *has)
{
    int client[CLIENTS], waiting = CLIENTS;
    for (int i = 0; i < CLIENTS; i++)
        client[i] = connect_to(port_of(listener[0]));
    for (int i = busy; i < THREADS; i++) {
        has[i] = accept_all(listener[i]);
        waiting -= has[i];
    }
    for (int i = 0; i < CLIENTS; i++)
        close(client[i]);
    for (int i = 0; i < busy; i++)
        accept_all(listener[i]); /* of no interest: so that the next ones find an empty queue */
    return waiting;
}

int main(void)
{
    int own[THREADS], has[THREADS] = {0}, most = 0, least = CLIENTS;
    for (int i = 0; i < THREADS; i++) {
        own[i] = listen_beside_others(i == 0 ? 0 : port_of(own[0]), CLIENTS);
        nonblocking(own[i]);
    }
    int waiting = wait_for(own, 0, has);
    for (int i = 0; i < THREADS; i++) {
        most = has[i] > most ? has[i] : most;
        least = has[i] < least ? has[i] : least;
    }
    printf("a listener for each of %d threads: of %d clients the busiest thread has %d, the idlest "
           "%d\n",
           THREADS, CLIENTS, most, least);
    expect(waiting == 0 && most >= CLIENTS / THREADS, "all are accepted, by the one or the other");

    waiting = wait_for(own, 1, has);
    printf(
        "  one of the threads is busy:     %d of %d clients wait, while %d threads have nothing to "
        "do\n",
        waiting, CLIENTS, THREADS - 1);
    expect(waiting > 0, "the clients of its listener wait for it");

    int shared = listen_on_loopback(CLIENTS), all[THREADS] = {shared, shared, shared, shared};
    nonblocking(shared);
    waiting = wait_for(all, 1, has);
    printf(
        "one listener for %d threads:\n  one of the threads is busy:     %d of %d clients wait\n",
        THREADS, waiting, CLIENTS);
    expect(waiting == 0, "the others accept them");
    return experiment_failed;
}
