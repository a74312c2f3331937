/* One loop for the network, a few threads for work that blocks. Each line is the name of a host,
 * each answer "name address": getaddrinfo() may take seconds, and there is no non-blocking one.
 * Answers come in the order in which they are found.
 *
 * A client may leave while its work runs. Nobody can call a job back, so the job holds on to the
 * client: its memory stays until the last of its jobs is done. Only the loop's thread touches
 * clients, so their count of jobs needs no lock.
 *
 * The program cannot call a job back at its own end either, and does not wait for it. A client that
 * has no answer a second after the signal gets RST.
 *
 *     build/07-reactor/offload --port 7103 --slow 1000 */
#include <err.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>

#include "options.h"
#include "pool.h"
#include "stream_server.h"

enum { NAME_MAX_LENGTH = 255, JOBS_MAX = 16 /* of one client, which then has to wait */ };

static struct pool *pool;
static int slow_ms;

struct client {
    struct stream *stream; /* NULL: it has left */
    int jobs;
    bool ended; /* it will ask no more: close after the last answer */
};

struct lookup {
    struct job job; /* first, so that a job is its lookup, too */
    struct client *client;
    char name[NAME_MAX_LENGTH + 1], address[NI_MAXHOST + 32];
};

/* ------------------------------------------------------------------- in the pool's threads --- */

static void look_up(struct job *job)
{
    struct lookup *lookup = (struct lookup *)job;
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list;
    const struct timespec far_away = {slow_ms / 1000, slow_ms % 1000 * 1000000L};
    nanosleep(&far_away, NULL); /* --slow: a name server far away */
    int error = getaddrinfo(lookup->name, NULL, &hints, &list);
    if (!error) {
        error = getnameinfo(list->ai_addr, list->ai_addrlen, lookup->address,
                            sizeof lookup->address, NULL, 0, NI_NUMERICHOST);
        freeaddrinfo(list);
    }
    if (error)
        snprintf(lookup->address, sizeof lookup->address, "? (%s)", gai_strerror(error));
}

/* -------------------------------------------------------------------- in the loop's thread --- */

static void answer(struct job *job)
{
    struct lookup *lookup = (struct lookup *)job;
    struct client *client = lookup->client;
    char text[sizeof lookup->name + sizeof lookup->address + 2];
    client->jobs--;
    if (!client->stream) {
        if (client->jobs == 0)
            free(client);
    } else {
        int length = snprintf(text, sizeof text, "%s %s\n", lookup->name, lookup->address);
        if (stream_send(client->stream, text, (size_t)length) < 0)
            stream_abort(client->stream);
        if (client->ended && client->jobs == 0)
            stream_close(client->stream, 0);
        else
            stream_resume(client->stream);
    }
}

static void ask(struct stream *stream, const char *name, size_t length)
{
    struct client *client = stream_argument(stream);
    struct lookup *lookup = length <= NAME_MAX_LENGTH ? calloc(1, sizeof *lookup) : NULL;
    if (!lookup) {
        stream_abort(stream);
        return;
    }
    memcpy(lookup->name, name, length);
    lookup->client = client;
    lookup->job = (struct job){.work = look_up, .done = answer};
    if (++client->jobs == JOBS_MAX)
        stream_pause(stream);
    pool_submit(pool, &lookup->job);
}

static size_t on_data(struct stream *stream, const char *bytes, size_t length)
{
    const char *end = memchr(bytes, '\n', length);
    size_t line = end ? (size_t)(end - bytes) : length;
    if (end || line > NAME_MAX_LENGTH)
        ask(stream, bytes, line);
    return end ? line + 1 : 0;
}

static void on_end(struct stream *stream, const char *rest, size_t length)
{
    struct client *client = stream_argument(stream);
    if (length > 0)
        ask(stream, rest, length);
    client->ended = true;
    if (client->jobs == 0)
        stream_close(stream, 0);
}

static void on_close(struct stream *stream, int error)
{
    struct client *client = stream_argument(stream);
    (void)error;
    if (client && client->jobs == 0)
        free(client);
    else if (client)
        client->stream = NULL;
}

static void on_open(struct stream *stream)
{
    struct client *client = calloc(1, sizeof *client);
    stream_set_argument(stream, client);
    if (client)
        client->stream = stream;
    else
        stream_abort(stream);
}

static void stop_pool(void)
{
    pool_destroy(pool);
}

int main(int argc, char **argv)
{
    struct stream_server server = {
        .purpose = "Answers each line, a host's name, with its address",
        .handlers = {.on_data = on_data, .on_end = on_end, .on_close = on_close},
        .on_open = on_open};
    struct extra_option options[] = {
        {"workers", true, "--workers N      threads that look names up (default: 4)", "4"},
        {"slow", true, "--slow MS        let each look-up take this much longer (default: 0)", "0"},
        {0}};
    stream_server_open(&server, argc, argv, options);
    int workers = options_number("--workers", options[0].value, 1, 256);
    slow_ms = options_number("--slow", options[1].value, 0, 60000);
    pool = pool_create(server.reactor, workers);
    if (!pool)
        err(1, "workers");
    server.at_end = stop_pool;
    return stream_server_run(&server);
}
