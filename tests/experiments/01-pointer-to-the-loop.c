/* The loop's variable, handed to a thread by its address.
 *
 *     int client = accept(...);
 *     pthread_create(&thread, NULL, serve, &client);      wrong
 *
 * The thread reads the variable when it gets to run. If the loop has accepted the next client by
 * then, the next one is served twice, and the first one never. It works in every test with one
 * client.
 *
 * Expect:
 *   by address, threads that start at once: <n> of 20 clients answered
 *   by address, threads that start late:    1 of 20 clients answered
 *   by value,   threads that start late:    20 of 20 clients answered
 */
#include "experiment.h"

#include <pthread.h>

enum { CLIENTS = 20 };

static pthread_rwlock_t gate = PTHREAD_RWLOCK_INITIALIZER; /* shut: no thread starts */

static void *serve(int client)
{
    char byte;
    if (recv(client, &byte, 1, 0) == 1)
        send(client, &byte, 1, MSG_NOSIGNAL);
    return NULL;
}

static void *by_address(void *argument)
{
    pthread_rwlock_rdlock(&gate);
    pthread_rwlock_unlock(&gate);
    return serve(*(int *)argument); /* wrong: whose client is that by now? */
}

static void *by_value(void *argument)
{
    pthread_rwlock_rdlock(&gate);
    pthread_rwlock_unlock(&gate);
    return serve((int)(intptr_t)argument);
}

static int count_answers(const int *client)
{
    int answered = 0;
    for (int i = 0; i < CLIENTS; i++) {
        struct pollfd wait = {.fd = client[i], .events = POLLIN};
        answered += poll(&wait, 1, answered == i ? 200 : 0) == 1;
        close(client[i]);
    }
    return answered;
}

static int try(const char *name, void *(*start)(void *), bool late)
{
    static int client_fd; /* the loop's variable; static, since threads outlive this function */
    int client[CLIENTS], listener = listen_on_loopback(CLIENTS);
    pthread_t thread;

    for (int i = 0; i < CLIENTS; i++)
        if (write(client[i] = connect_to(port_of(listener)), "x", 1) != 1)
            err(1, "write");
    if (late) /* so does a busy machine, now and then */
        pthread_rwlock_wrlock(&gate);
    for (int i = 0; i < CLIENTS; i++) {
        client_fd = accept(listener, NULL, NULL);
        void *argument = start == by_address ? &client_fd : (void *)(intptr_t)client_fd;
        if (pthread_create(&thread, NULL, start, argument))
            errx(1, "pthread_create");
        pthread_detach(thread);
    }
    if (late)
        pthread_rwlock_unlock(&gate);
    int answered = count_answers(client);
    printf("%s %d of %d clients answered\n", name, answered, CLIENTS);
    close(listener);
    return answered;
}

int main(void)
{
    try("by address, threads that start at once:", by_address, false);
    int wrong = try("by address, threads that start late:   ", by_address, true);
    int right = try("by value,   threads that start late:   ", by_value, true);
    expect(wrong == 1, "all threads look at the last client");
    expect(right == CLIENTS, "each client has a thread");
    return experiment_failed;
}
