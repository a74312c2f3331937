/* A handler that sleeps, and everybody waits.
 *
 * A reactor's handlers run in one thread, one after the other. A handler that sleeps, in a database
 * call, in getaddrinfo(), in a long computation, holds up every client, on every backend. Here one
 * client asks a database that takes a second, and ten others ask for one byte meanwhile. The remedy
 * is a thread for such work, 07-reactor/reactor/pool.h: the loop goes on.
 *
 * Nothing is timed: the ten are counted before the database answers.
 *
 * Needs: reactor
 *
 * Expect:
 *   the handler asks the database itself: meanwhile 0 of 10 others were answered, afterwards 10
 *   it lets a thread of the pool ask: meanwhile 10 of 10 others were answered, afterwards 10
 */
#include "experiment.h"

#include "pool.h"
#include "reactor.h"

#include <pthread.h>

enum { CLIENTS = 10, PATIENCE_MS = 20000 };

static struct pair patient, client[CLIENTS];
static int asked[2], answered[2]; /* two pipes: from us to the database, and back */
static bool in_a_thread;
static struct pool *pool;
static int meanwhile, afterwards; /* how many of the ten had their answer */

static void ask_the_database(struct job *job)
{
    char byte = '?';
    (void)job;
    if (write(asked[1], &byte, 1) != 1 || read(answered[0], &byte, 1) != 1) /* sleeps for long */
        err(1, "database");
}

static void answer(struct job *job)
{
    (void)job;
    if (write(patient.server, "!", 1) != 1)
        err(1, "answer");
}

static void on_patient(struct reactor *reactor, int fd, unsigned ready, void *argument)
{
    struct job *job = malloc(sizeof *job);
    (void)ready, (void)argument;
    reactor_remove(reactor, fd);
    if (!job)
        err(1, "job");
    *job = (struct job){.work = ask_the_database, .done = answer};
    if (in_a_thread) {
        pool_submit(pool, job); /* and it will free the job */
    } else {
        ask_the_database(job); /* wrong on purpose: the loop sleeps with it */
        answer(job);
        free(job);
    }
}

static void echo(struct reactor *reactor, int fd, unsigned ready, void *argument)
{
    char byte;
    (void)reactor, (void)ready, (void)argument;
    if (read(fd, &byte, 1) != 1 || write(fd, &byte, 1) != 1)
        err(1, "echo");
}

/* How many of the ten have been answered, within that time. */
static int count_answers(int ms)
{
    int count = 0;
    for (double end = now() + ms / 1000.; count < CLIENTS && now() < end; pause_ms(5)) {
        count = 0;
        for (int i = 0; i < CLIENTS; i++)
            count += poll(&(struct pollfd){client[i].client, POLLIN, 0}, 1, 0) == 1;
    }
    return count;
}

static void stop(void *reactor)
{
    reactor_stop(reactor);
}

/* Runs in a thread of its own, as the clients and the database. */
static void *outside(void *reactor)
{
    char byte = 'x';
    if (write(patient.client, &byte, 1) != 1 || read(asked[0], &byte, 1) != 1)
        err(1, "question");
    for (int i = 0; i < CLIENTS; i++)
        if (write(client[i].client, "x", 1) != 1)
            err(1, "write");
    meanwhile = count_answers(in_a_thread ? PATIENCE_MS : 1000);
    if (write(answered[1], &byte, 1) != 1)
        err(1, "answer");
    await_arrival(patient.client);
    afterwards = count_answers(PATIENCE_MS);
    reactor_post(reactor, stop, reactor);
    return NULL;
}

static void serve(const char *how)
{
    struct reactor *reactor = reactor_create(NULL);
    pthread_t thread;

    pool = pool_create(reactor, 1);
    if (!reactor || !pool || pipe(asked) < 0 || pipe(answered) < 0)
        err(1, "start");
    patient = connection();
    reactor_add(reactor, patient.server, REACTOR_READ, on_patient, NULL);
    for (int i = 0; i < CLIENTS; i++) {
        client[i] = connection();
        reactor_add(reactor, client[i].server, REACTOR_READ, echo, NULL);
    }
    pthread_create(&thread, NULL, outside, reactor);
    if (reactor_run(reactor) < 0)
        err(1, "reactor_run");
    pthread_join(thread, NULL);
    pool_destroy(pool);
    reactor_destroy(reactor);
    printf("%s: meanwhile %d of %d others were answered, afterwards %d\n", how, meanwhile, CLIENTS,
           afterwards);
}

int main(void)
{
    serve("the handler asks the database itself");
    expect(meanwhile == 0 && afterwards == CLIENTS, "all wait for the one");
    int blocked = meanwhile;
    in_a_thread = true;
    serve("it lets a thread of the pool ask");
    expect(meanwhile == CLIENTS && afterwards == CLIENTS, "nobody waits");
    claim("A loop must not block; work for longer belongs into a thread", "true",
          blocked == 0 && meanwhile == CLIENTS, 1, "answered meanwhile: %d of %d, with a thread %d",
          blocked, CLIENTS, meanwhile);
    return experiment_failed;
}
