/* A protocol in twenty lines: the server answers each line with "[time] line".
 *
 *     build/07-reactor/stamp --port 7101 */
#include <stdio.h>
#include <string.h>
#include <time.h>

#include "stream_server.h"

static void answer(struct stream *stream, const char *line, size_t length)
{
    char stamp[32];
    time_t now = time(NULL);
    size_t n = strftime(stamp, sizeof stamp, "[%a %b %e %H:%M:%S %Y] ", localtime(&now));
    if (stream_send(stream, stamp, n) < 0 || stream_send(stream, line, length) < 0 ||
        stream_send(stream, "\n", 1) < 0)
        stream_abort(stream); /* out of memory: better no answer than half of one */
}

static size_t on_data(struct stream *stream, const char *bytes, size_t length)
{
    const char *end = memchr(bytes, '\n', length);
    if (!end)
        return 0; /* it comes back, with more */
    answer(stream, bytes, (size_t)(end - bytes));
    return (size_t)(end - bytes) + 1;
}

static void on_end(struct stream *stream, const char *rest, size_t length)
{
    if (length > 0) /* a last line without its end */
        answer(stream, rest, length);
    stream_close(stream, 0);
}

int main(int argc, char **argv)
{
    struct stream_server server = {.purpose = "Answers each line with the time and the line",
                                   .handlers = {.on_data = on_data, .on_end = on_end}};
    stream_server_open(&server, argc, argv, NULL);
    return stream_server_run(&server);
}
