/* A relay connects each client to another server, and passes every byte on, both ways. Half-close
 * and backpressure come with the streams. The relay does not understand what it passes on: it may
 * be complete only when it ends with FIN. So it passes every other end on as RST: a reset, a time
 * limit, a lack of memory. The first message, for its time limit, is the client's first byte.
 *
 *     build/07-reactor/relay --port 7102 --to-port 7101 */
#include <err.h>
#include <netdb.h>
#include <sys/socket.h>

#include "log.h"
#include "options.h"
#include "stream_server.h"

static struct stream_server server;
static struct addrinfo *target; /* the other server's addresses, to be tried in turn */

/* A stream's argument is the stream at the other end, or NULL once that is gone. */
static size_t on_data(struct stream *from, const char *bytes, size_t length)
{
    struct stream *to = stream_argument(from);
    if (!to || stream_send(to, bytes, length) < 0)
        stream_abort(from);
    else if (stream_unsent(to) >= STREAM_HIGH)
        stream_pause(from); /* until the other end has taken what we have for it */
    return length;
}

static void on_drain(struct stream *to)
{
    if (stream_argument(to))
        stream_resume(stream_argument(to));
}

static void on_end(struct stream *from, const char *rest, size_t length)
{
    (void)rest, (void)length;
    if (stream_argument(from)) /* this direction is done, the other may go on */
        stream_finish(stream_argument(from));
}

static void on_close(struct stream *stream, int error)
{
    struct stream *other = stream_argument(stream);
    if (other) {
        stream_set_argument(other, NULL);
        if (error)
            stream_abort(other);
        else
            stream_close(other, 0);
    }
}

static void on_open(struct stream *client)
{
    stream_set_argument(
        client, stream_connect(server.reactor, target, &server.handlers, &server.opened, client));
    if (!stream_argument(client)) {
        log_error("no connection for client %d", stream_fd(client));
        stream_abort(client);
        return;
    }
    /* What comes from one goes to the other, and each is paused when that one is full. */
    stream_read_while_full(client);
    stream_read_while_full(stream_argument(client));
}

int main(int argc, char **argv)
{
    server = (struct stream_server){.purpose = "Relays connections to another server",
                                    .handlers = {.on_data = on_data,
                                                 .on_end = on_end,
                                                 .on_drain = on_drain,
                                                 .on_close = on_close,
                                                 .on_silence = stream_abort},
                                    .on_open = on_open};
    struct extra_option options[] = {
        {"to-host", true, "--to-host ADDR   the other server (default: 127.0.0.1)", "127.0.0.1"},
        {"to-port", true, "--to-port N      its port (default: 7000)", "7000"},
        {0}};
    stream_server_open(&server, argc, argv, options);
    const char *host = options[0].value, *port = options[1].value;
    (void)options_number("--to-port", port, 1, 65535);
    int error = getaddrinfo(host, port, &(struct addrinfo){.ai_socktype = SOCK_STREAM}, &target);
    if (error)
        errx(1, "resolve %s: %s", host, gai_strerror(error));
    return stream_server_run(&server);
}
