/* select() says "ready", and accept() sleeps all the same.
 *
 * Two threads share a listener, and select() tells both that a client waits: it was true when they
 * were told. One of them accepts. Nothing is left for the other one: on a blocking listener it
 * sleeps in accept() until another client connects, and serves nobody meanwhile.
 *
 * Expect:
 *   blocking:     both are told, one accepts; the other sleeps until a second client comes
 *   non-blocking: both are told, one accepts; the other hears EAGAIN at once
 */
#include "experiment.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/select.h>

enum { PATIENCE_MS = 300, LONG_MS = 10000 };

static int listener, client, reason; /* of the other one's accept(): what it returned, and errno */
static double waited;
static atomic_bool told, taken, accepting, returned;

static bool ready(void)
{
    fd_set set;
    FD_ZERO(&set);
    FD_SET(listener, &set);
    return select(listener + 1, &set, NULL, NULL, &(struct timeval){.tv_sec = 10}) == 1;
}

/* Returns whether the flag is set in time. */
static bool await(atomic_bool *flag, int ms)
{
    for (; !*flag && ms > 0; ms--)
        pause_ms(1);
    return *flag;
}

static void *other(void *unused)
{
    told = ready();
    if (!await(&taken, LONG_MS))
        return unused;
    double begin = now();
    accepting = true;
    client = accept(listener, NULL, NULL);
    reason = errno;
    waited = now() - begin;
    returned = true;
    return unused;
}

/* Returns whether accept() slept, though select() had said ready. */
static bool sleeps(const char *name, bool blocks)
{
    pthread_t thread;
    listener = listen_on_loopback(2);
    if (!blocks)
        nonblocking(listener);
    told = taken = accepting = returned = false;
    int first = connect_to(port_of(listener)), second = -1;

    if (pthread_create(&thread, NULL, other, NULL))
        errx(1, "no thread");
    bool both = ready() && await(&told, LONG_MS);
    int ours = accept(listener, NULL, NULL);
    taken = true;
    expect(both && ours >= 0 && await(&accepting, LONG_MS), "both are told, and one accepts");
    if (!await(&returned, blocks ? PATIENCE_MS : LONG_MS))
        second = connect_to(port_of(listener)); /* without this it would sleep forever */
    pthread_join(thread, NULL);

    bool slept = second >= 0 && client >= 0 && waited * 1000 >= PATIENCE_MS;
    bool refused = client < 0 && (reason == EAGAIN || reason == EWOULDBLOCK);
    printf("%-13s both are told, one accepts; the other %s\n", name,
           slept     ? "sleeps until a second client comes"
           : refused ? "hears EAGAIN at once"
                     : "gets something else");
    expect(blocks ? slept : refused && second < 0, "nothing is left for the other");
    close(first);
    close(ours);
    if (second >= 0)
        close(second);
    if (client >= 0)
        close(client);
    close(listener);
    return slept;
}

int main(void)
{
    bool blocked = sleeps("blocking:", true);
    sleeps("non-blocking:", false);
    claim("An accept() that select announced will not block", "false", !blocked, 1,
          "two were told, one accepted, the other one's accept() was asleep after %d ms",
          PATIENCE_MS);
    return experiment_failed;
}
