/* The same server on libuv, as good as it gets: one buffer for all reads, since what is read is
 * handed to uv_try_write() at once; only what the kernel did not take is copied, and reading stops
 * until it is sent. (The guide's way, a malloc() and a uv_write() for each message, costs up to
 * twice the CPU.) */
#include "log.h"
#include "net.h"
#include "options.h"

#include <err.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>
#include <uv.h>

enum { HELD_MAX = 64 * 1024, STOP_MS = 1000, TICK_MS = 50 };

struct client {
    uv_tcp_t stream; /* first: a handle is its client */
    uv_write_t write;
    uv_shutdown_t shutdown;
    char *unsent; /* NULL while everything is sent */
    bool ending, fin_sent;
};

static char scratch[HELD_MAX];
static uv_loop_t *loop;
static uv_tcp_t listener;
static uv_timer_t deadline, tick;
static uv_signal_t interrupt, terminate;
static int clients, backlog_max;
static bool stopping;

static void on_closed(uv_handle_t *handle)
{
    struct client *client = (struct client *)handle;
    free(client->unsent);
    free(client);
    if (--clients == 0 && stopping)
        uv_stop(loop);
}

static void end_client(struct client *client)
{
    if (!uv_is_closing((uv_handle_t *)client))
        uv_close((uv_handle_t *)client, on_closed);
}

/* A client that is owed bytes: it gets RST. */
static void give_up(struct client *client)
{
    uv_os_fd_t fd;
    if (uv_fileno((uv_handle_t *)client, &fd) == 0)
        net_reset_on_close(fd);
    end_client(client);
}

static void give_buffer(uv_handle_t *handle, size_t suggested, uv_buf_t *buffer)
{
    (void)handle, (void)suggested;
    *buffer = uv_buf_init(scratch, sizeof scratch);
}

static void on_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *buffer);

static void on_written(uv_write_t *request, int status)
{
    struct client *client = request->data;
    free(client->unsent);
    client->unsent = NULL;
    if (status < 0 || client->ending)
        end_client(client);
    else if (uv_read_start((uv_stream_t *)client, give_buffer, on_read) < 0)
        end_client(client);
}

/* Keeps what the kernel did not take; nothing is read until it is sent. */
static void keep(struct client *client, const char *bytes, size_t size)
{
    uv_buf_t rest;
    client->unsent = malloc(size);
    if (!client->unsent) {
        give_up(client);
        return;
    }
    memcpy(client->unsent, bytes, size);
    rest = uv_buf_init(client->unsent, (unsigned)size);
    client->write.data = client;
    uv_read_stop((uv_stream_t *)client);
    if (uv_write(&client->write, (uv_stream_t *)client, &rest, 1, on_written) < 0)
        give_up(client);
}

static void on_read(uv_stream_t *stream, ssize_t count, const uv_buf_t *buffer)
{
    struct client *client = (struct client *)stream;
    if (count < 0) { /* UV_EOF too: everything owed has been handed to the kernel */
        end_client(client);
        return;
    }
    if (count == 0 || client->fin_sent)
        return;
    uv_buf_t bytes = uv_buf_init(buffer->base, (unsigned)count);
    int sent = uv_try_write(stream, &bytes, 1);
    if (sent == UV_EAGAIN)
        sent = 0;
    if (sent < 0)
        end_client(client);
    else if (sent < count)
        keep(client, bytes.base + sent, (size_t)(count - sent));
}

static struct client *new_client(void)
{
    struct client *client = calloc(1, sizeof *client);
    if (!client || uv_tcp_init(loop, &client->stream) < 0) {
        free(client);
        return NULL;
    }
    clients++;
    return client;
}

static void on_retry(uv_timer_t *timer);

static void on_client(uv_stream_t *server, int status)
{
    if (status < 0) {
        log_warning("accept: %s", uv_strerror(status));
        return;
    }
    struct client *client = new_client();
    if (!client) { /* libuv has this client already, and accepts no other one until we take it */
        uv_timer_start(&tick, on_retry, TICK_MS, 0);
        return;
    }
    if (log_verbose)
        log_event("client %d", clients);
    if (uv_accept(server, (uv_stream_t *)client) < 0 ||
        uv_read_start((uv_stream_t *)client, give_buffer, on_read) < 0)
        end_client(client);
}

static void on_retry(uv_timer_t *timer)
{
    (void)timer;
    on_client((uv_stream_t *)&listener, 0);
}

/* libuv may leave some waiting clients for its next round, and after the stop there is none. */
static void admit_all_who_wait(void)
{
    uv_os_fd_t server;
    if (uv_fileno((uv_handle_t *)&listener, &server) < 0)
        return;
    for (int i = 0, fd; i < backlog_max; i++) {
        enum net_accepted got = net_accept(server, true, &fd);
        if (got == NET_LOST)
            continue;
        struct client *client = got == NET_CLIENT ? new_client() : NULL;
        if (!client) {
            if (got == NET_CLIENT)
                close(fd);
            return; /* closing the listener turns the rest away */
        }
        if (uv_tcp_open(&client->stream, fd) < 0 ||
            uv_read_start((uv_stream_t *)client, give_buffer, on_read) < 0)
            end_client(client);
    }
}

static void give_up_if_owed(uv_handle_t *handle, void *argument)
{
    struct client *client = (struct client *)handle;
    (void)argument;
    if (handle->type == UV_TCP && handle != (uv_handle_t *)&listener && client->unsent)
        give_up(client);
}

static void on_deadline(uv_timer_t *timer)
{
    (void)timer;
    uv_walk(loop, give_up_if_owed, NULL);
    uv_stop(loop);
}

static void send_fin(uv_handle_t *handle, void *argument)
{
    struct client *client = (struct client *)handle;
    (void)argument;
    if (handle->type != UV_TCP || handle == (uv_handle_t *)&listener || uv_is_closing(handle) ||
        client->unsent || client->fin_sent)
        return;
    client->fin_sent = true;
    uv_shutdown(&client->shutdown, (uv_stream_t *)handle, NULL);
}

/* libuv does not say what has arrived; a client that is quiet a tick after the signal gets the FIN.
 */
static void on_tick(uv_timer_t *timer)
{
    (void)timer;
    uv_walk(loop, send_fin, NULL);
}

static void on_signal(uv_signal_t *handle, int number)
{
    (void)handle, (void)number;
    if (stopping)
        return;
    admit_all_who_wait();
    stopping = true;
    uv_close((uv_handle_t *)&listener, NULL);
    if (clients == 0)
        uv_stop(loop);
    uv_timer_start(&deadline, on_deadline, STOP_MS - 2 * TICK_MS, 0);
    uv_timer_start(&tick, on_tick, TICK_MS, TICK_MS);
}

int main(int argc, char **argv)
{
    struct net_settings settings = options_parse(argc, argv, NULL);
    int fd = net_listen(&settings, true);
    backlog_max = net_backlog_max(settings.backlog);
    if (fd < 0)
        return 1;
    loop = uv_default_loop();
    uv_timer_init(loop, &deadline);
    uv_timer_init(loop, &tick);
    uv_signal_init(loop, &interrupt);
    uv_signal_init(loop, &terminate);
    uv_signal_start(&interrupt, on_signal, SIGINT);
    uv_signal_start(&terminate, on_signal, SIGTERM);
    uv_tcp_init(loop, &listener);
    int error = uv_tcp_open(&listener, fd);
    if (error == 0)
        error = uv_listen((uv_stream_t *)&listener, settings.backlog, on_client);
    if (error < 0)
        errx(1, "listen: %s", uv_strerror(error));
    net_announce(fd);
    uv_run(loop, UV_RUN_DEFAULT);
    return 0;
}
