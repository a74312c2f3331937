/* What close() does with bytes that the client has not taken, and what SO_LINGER changes.
 *
 * By default close() returns at once, and the kernel goes on sending. SO_LINGER has a switch and a
 * number of seconds. {1, 0} throws the bytes away and sends RST. {1, n} lets close() wait until the
 * client's kernel has acknowledged everything, for n seconds at most. If the time is over close()
 * reports no error, and the kernel goes on sending as by default. On Linux close() waits on a
 * non-blocking socket as well, and so does an event loop that calls it.
 *
 * Needs: linux
 *
 * Expect:
 *   SO_LINGER              close()  meanwhile the client  and in the end it got
 *   off                    <n> s    read nothing          all, then end of file
 *   {1, 0}                 <n> s    read nothing          a part, then ECONNRESET
 *   {1, 10}                <n> s    began to read         all, then end of file
 *   {1, 10}, non-blocking  <n> s    began to read         all, then end of file
 *   {1, 1}                 <n> s    read nothing          all, then end of file
 */
#include "experiment.h"

#include <pthread.h>
#include <stdatomic.h>

enum { SHORT_MS = 200, LONG_MS = 10000 };

static char bytes[64 * 1024 * 1024]; /* more than the kernel takes */
static atomic_bool closed;

struct client {
    int fd, patience_ms;
    bool close_was_first, reset;
    long got;
};

/* Reads to the end, once close() has returned, or after some time without that. */
static void *read_late(void *argument)
{
    static char received[sizeof bytes];
    struct client *client = argument;
    ssize_t got;
    for (int ms = 0; !closed && ms < client->patience_ms; ms++)
        pause_ms(1);
    client->close_was_first = closed;
    while ((got = recv(client->fd, received, sizeof received, MSG_WAITALL)) > 0)
        client->got += got;
    client->reset = got < 0;
    return NULL;
}

struct outcome {
    bool waits, all, reset;
    int error; /* of close() */
    double took;
};

static struct outcome try(const char *name, struct linger linger, bool nonblocks, int patience_ms)
{
    struct pair pair = connection();
    struct client client = {.fd = pair.client, .patience_ms = patience_ms};
    struct outcome outcome;
    pthread_t thread;

    setsockopt(pair.server, SOL_SOCKET, SO_LINGER, &linger, sizeof linger);
    long owed = send(pair.server, bytes, sizeof bytes, MSG_DONTWAIT);
    if (nonblocks)
        nonblocking(pair.server);
    closed = false;
    if (pthread_create(&thread, NULL, read_late, &client))
        errx(1, "no thread");
    double begin = now();
    outcome.error = close(pair.server) < 0 ? errno : 0;
    outcome.took = now() - begin;
    closed = true;
    pthread_join(thread, NULL);
    close(pair.client);
    outcome.waits = !client.close_was_first;
    outcome.all = client.got == owed;
    outcome.reset = client.reset;
    printf("%-22s %.2f s   %-21s %s, then %s\n", name, outcome.took,
           outcome.waits ? "began to read" : "read nothing", outcome.all ? "all" : "a part",
           outcome.reset ? "ECONNRESET" : "end of file");
    expect(outcome.error == 0, "close() reports no error");
    return outcome;
}

int main(void)
{
    const struct linger off = {0, 0}, reset = {1, 0}, seconds = {1, 10}, second = {1, 1};
    printf("SO_LINGER              close()  meanwhile the client  and in the end it got\n");
    struct outcome o = try("off", off, false, LONG_MS);
    expect(!o.waits && o.all && !o.reset, "the kernel sends after close() has returned");
    o = try("{1, 0}", reset, false, LONG_MS);
    expect(!o.waits && !o.all && o.reset, "the bytes are thrown away");
    o = try("{1, 10}", seconds, false, SHORT_MS);
    expect(o.waits && o.all && !o.reset, "close() waits");
    o = try("{1, 10}, non-blocking", seconds, true, SHORT_MS);
    expect(o.waits && o.all && !o.reset, "close() waits all the same");
    claim("Calls on a non-blocking socket never wait", "false", !o.waits, 1,
          "with SO_LINGER {1, 10} close() waited %.1f s, until the client read", o.took);
    o = try("{1, 1}", second, false, LONG_MS);
    expect(!o.waits && o.took > 0.9 && o.all && !o.reset, "after a second it waits no longer");
    claim("With SO_LINGER close() says whether the bytes have arrived", "false", o.error != 0, 1,
          "after %.1f s the client had not read, and close() said: %s", o.took, strerror(o.error));
    return experiment_failed;
}
