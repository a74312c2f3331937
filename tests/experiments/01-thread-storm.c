/* A loop that starts a thread, and leaves the accept() to it.
 *
 * Until a thread has accepted, the listener is as ready as before. So the loop, which has only
 * started a thread, is told again, and starts the next one. The threads race for the clients. Those
 * that come too late sleep in accept(), perhaps forever. (The first article's second server.)
 *
 * Expect:
 *   the thread accepts, and starts at once: 10 clients, <n> threads, <n> of them left in accept()
 *   the thread accepts, and starts late:    10 clients, 100 threads, 90 of them left in accept()
 *   the loop accepts, then the thread:      10 clients, 10 threads, 0 of them left in accept()
 */
#include "experiment.h"

#include <pthread.h>
#include <stdatomic.h>

enum { CLIENTS = 10, THREADS_MAX = 100 };

static pthread_rwlock_t gate = PTHREAD_RWLOCK_INITIALIZER; /* shut: no thread starts */
static atomic_int served;

static void *serve(void *argument)
{
    int listener = (int)(intptr_t)argument;
    pthread_rwlock_rdlock(&gate);
    pthread_rwlock_unlock(&gate);
    if (listener < 0 || accept(listener, NULL, NULL) >= 0)
        served++;
    return NULL;
}

/* Returns how many threads it has started when all clients are accepted, or there are too many. */
static int loop(int listener, bool accepts)
{
    struct pollfd entry = {.fd = listener, .events = POLLIN};
    int threads = 0;
    while (threads < THREADS_MAX && poll(&entry, 1, 100) == 1) {
        pthread_t thread;
        if (accepts && accept(listener, NULL, NULL) < 0)
            err(1, "accept");
        void *argument = (void *)(intptr_t)(accepts ? -1 : listener);
        int error = pthread_create(&thread, NULL, serve, argument);
        if (error)
            errx(1, "pthread_create: %s", strerror(error));
        pthread_detach(thread);
        threads++;
    }
    return threads;
}

/* Returns how many threads were started. */
static int run(const char *name, bool accepts, bool late)
{
    int listener = listen_on_loopback(CLIENTS);
    served = 0;
    for (int i = 0; i < CLIENTS; i++)
        connect_to(port_of(listener));
    if (late)
        pthread_rwlock_wrlock(&gate);
    int threads = loop(listener, accepts);
    if (late)
        pthread_rwlock_unlock(&gate);
    for (double end = now() + 10; served < CLIENTS && now() < end; pause_ms(1))
        ;
    printf("%-39s %d clients, %d threads, %d of them left in accept()\n", name, CLIENTS, threads,
           threads - served);
    expect(served == CLIENTS, "everybody is served");
    return threads; /* the listener stays open: closing it would not wake them */
}

int main(void)
{
    int some = run("the thread accepts, and starts at once:", false, false);
    int many = run("the thread accepts, and starts late:", false, true);
    int enough = run("the loop accepts, then the thread:", true, true);
    expect(some >= CLIENTS && many == THREADS_MAX && enough == CLIENTS,
           "a thread for each time that the loop was told");
    claim("A callback may start a thread for the accept()", "false", many == CLIENTS, 1,
          "%d clients: %d threads, %d when they start late", CLIENTS, some, many);
    return experiment_failed;
}
