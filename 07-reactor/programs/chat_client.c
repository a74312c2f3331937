/* The chat's client: standard input and the socket in one loop, so that messages appear while you
 * type.
 *
 *     build/07-reactor/chat-client --port 7100 --user ann
 *
 * (What you are typing stays in the terminal's line; a message may be shown beside it.)
 *
 * Standard input is left as it is: O_NONBLOCK would belong to the terminal, and so to the shell and
 * every other program that writes there. A read() after readiness does not block.
 *
 * A regular file is always ready, and the ways of waiting do not agree on it: poll() and select()
 * say so, epoll refuses it with EPERM, kqueue is silent at its end (kqueue(2), EVFILT_READ,
 * vnodes). So nothing waits for a file: a timer without delay reads a piece of it each turn. */
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

#include "buffer.h"
#include "chat.h"
#include "frame.h"
#include "log.h"
#include "net.h"
#include "options.h"

enum { ANSWER_MS = 5000 }; /* the time that the room has, after the end of input, to answer */

static struct {
    struct reactor *reactor;
    struct stream *room;
    const char *name;
    struct buffer typed;
    struct reactor_timer file, last; /* file: reads what is not watched */
    bool watched, ended;             /* input is; input has */
    int status;                      /* how the program will exit */
} client;

/* ----------------------------------------------------------------------------- to the room --- */

static void say(const char *bytes, size_t length)
{
    char text[CHAT_LINE_MAX + 1];
    memcpy(text, bytes, length);
    text[chat_clean(text, length)] = '\0';
    char *json = chat_json(client.name, text);
    if (!json || frame_send(client.room, json, strlen(json)) < 0)
        stream_abort(client.room);
    free(json);
}

/* Sends whole lines; of a line that is too long, pieces that do not break a character. */
static void say_lines(void)
{
    for (size_t length; (length = buffer_length(&client.typed)) > 0;) {
        const char *bytes = client.typed.bytes + client.typed.start;
        const char *end = memchr(bytes, '\n', length);
        size_t line = end ? (size_t)(end - bytes) : length, used = line + 1;
        if (line > CHAT_LINE_MAX) {
            for (line = CHAT_LINE_MAX; line > 0 && ((unsigned char)bytes[line] >> 6) == 2;)
                line--;
            if (line == 0) /* no character begins here: it is not UTF-8 */
                line = CHAT_LINE_MAX;
            used = line;
        } else if (!end && !client.ended) {
            return;
        }
        if (line > 0)
            say(bytes, line);
        buffer_use(&client.typed, used < length ? used : length);
    }
}

static void give_up(struct reactor *reactor, struct reactor_timer *timer)
{
    (void)reactor, (void)timer;
    log_warning("the server does not answer");
    client.status = 1;
    stream_abort(client.room);
}

/* Reads no more, not even for an event that has come already. */
static void leave_input(void)
{
    if (client.watched && !client.ended)
        reactor_remove(client.reactor, STDIN_FILENO);
    reactor_timer_stop(client.reactor, &client.file);
    client.ended = true;
}

static void end_input(void)
{
    leave_input();
    say_lines();
    stream_finish(client.room); /* we say no more, but still listen */
    reactor_timer_start(client.reactor, &client.last, ANSWER_MS, 0);
}

/* Reads input, unless much is unsent already: a slow room must not fill our memory. */
static void want_input(bool wanted)
{
    if (client.ended)
        return;
    if (client.watched)
        reactor_modify(client.reactor, STDIN_FILENO, wanted ? REACTOR_READ : 0);
    else if (wanted)
        reactor_timer_start(client.reactor, &client.file, 0, 0);
}

static void read_input(void)
{
    char bytes[4096];
    ssize_t length = read(STDIN_FILENO, bytes, sizeof bytes);
    if (length < 0 && (errno == EINTR || errno == EAGAIN)) {
        length = 0;
    } else if (length <= 0) {
        if (length < 0) {
            log_error("input");
            client.status = 1;
        }
        end_input();
        return;
    }
    if (buffer_add(&client.typed, bytes, (size_t)length) < 0)
        log_fatal("input");
    say_lines();
    want_input(stream_unsent(client.room) < STREAM_HIGH);
}

static void on_input(struct reactor *reactor, int fd, unsigned ready, void *argument)
{
    (void)reactor, (void)fd, (void)ready, (void)argument;
    read_input();
}

static void on_file(struct reactor *reactor, struct reactor_timer *timer)
{
    (void)reactor, (void)timer;
    read_input();
}

static void on_drain(struct stream *stream)
{
    (void)stream;
    want_input(true);
}

/* --------------------------------------------------------------------------- from the room --- */

/* A user who stops the terminal (Ctrl-S) stops us here, and the room will find that we read too
 * slowly: otherwise we would have to hold the output somewhere. */
static void show(const struct chat_message *message)
{
    char *field[] = {message->user, message->text, message->error};
    for (int i = 0; i < 3; i++) /* what others wrote must not control our terminal */
        if (field[i])
            field[i][chat_clean(field[i], strlen(field[i]))] = '\0';
    if (message->error) {
        log_event("%s", message->error);
        client.status = 1;
    } else if (message->user[0]) {
        printf("%s: %s\n", message->user, message->text);
    } else {
        printf("* %s\n", message->text);
    }
    if (fflush(stdout) == EOF || ferror(stdout))
        log_fatal("output");
}

static size_t on_data(struct stream *stream, const char *bytes, size_t length)
{
    struct chat_message message;
    int content = frame_find(bytes, length);
    if (content == FRAME_PARTIAL)
        return 0;
    if (content < 0 || !chat_parse(bytes + FRAME_HEADER, (size_t)content, &message)) {
        log_warning("the peer is not a chat server");
        client.status = 1;
        stream_abort(stream);
        return length;
    }
    show(&message);
    chat_free(&message);
    return FRAME_HEADER + (size_t)content;
}

static void on_close(struct stream *stream, int error)
{
    (void)stream;
    if (client.status == 0 && (error || !client.ended)) {
        errno = error; /* 0: it has sent FIN */
        log_error("the server has closed the connection");
        client.status = 1;
    }
    leave_input(); /* otherwise the rest of this turn might send to a stream that is freed */
    reactor_timer_stop(client.reactor, &client.last);
    reactor_stop(client.reactor);
}

/* ----------------------------------------------------------------------------- the program --- */

/* Waits for the connection: there is nothing else to do yet. */
static int dial(const struct net_settings *settings)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list;
    char port[16];
    int fd = -1;
    snprintf(port, sizeof port, "%d", settings->port);
    int error = getaddrinfo(settings->host, port, &hints, &list);
    if (error)
        errx(1, "resolve %s: %s", settings->host, gai_strerror(error));
    for (struct addrinfo *a = list; a && fd < 0; a = a->ai_next) {
        fd = socket(a->ai_family, a->ai_socktype, a->ai_protocol);
        if (fd >= 0 && connect(fd, a->ai_addr, a->ai_addrlen) < 0) {
            error = errno;
            close(fd);
            errno = error;
            fd = -1;
        }
    }
    if (fd < 0 || fcntl(fd, F_SETFL, O_NONBLOCK) < 0)
        err(1, "connect %s:%s", settings->host, port);
    freeaddrinfo(list);
    return fd;
}

static void open_input(void)
{
    struct stat input;
    client.file.handler = on_file;
    client.last.handler = give_up;
    if (fstat(STDIN_FILENO, &input) < 0 || !S_ISREG(input.st_mode)) {
        client.watched =
            reactor_add(client.reactor, STDIN_FILENO, REACTOR_READ, on_input, NULL) == 0;
        /* /dev/null, say, cannot be watched either, and is always ready, too. Each system has its
         * own errno for that. */
        if (!client.watched && (errno == ENOMEM || errno == ENOSPC))
            err(1, "input");
    }
    want_input(true);
}

int main(int argc, char **argv)
{
    static const struct stream_handlers handlers = {
        .on_data = on_data, .on_drain = on_drain, .on_close = on_close};
    struct extra_option extra[] = {
        {"backend", true, "--backend NAME   epoll, kqueue, poll or select (default: the best)",
         NULL},
        {"user", true, "--user NAME      your name in the room (default: $USER)", getenv("USER")},
        {0}};
    options_purpose = "A member of a chat room; --host and --port say which";
    struct net_settings settings = options_parse(argc, argv, extra);
    client.name = extra[1].value ? extra[1].value : "guest";
    if (!chat_name_ok(client.name)) {
        warnx("--user: '%s' is not a valid name (1 to %d bytes)", client.name, CHAT_NAME_MAX);
        options_try_help();
    }
    signal(SIGPIPE, SIG_IGN); /* the other end of either is gone: that is an error to be told */
    client.reactor = reactor_create(extra[0].value);
    if (!client.reactor && extra[0].value && errno == EINVAL) {
        warn("--backend %s", extra[0].value);
        options_try_help();
    }
    int fd = dial(&settings);
    if (client.reactor)
        client.room = stream_open(client.reactor, fd, &handlers, NULL, NULL);
    if (!client.room)
        err(1, "reactor");
    say("", 0); /* enters the room */
    open_input();
    if (reactor_run(client.reactor) < 0)
        log_fatal(reactor_backend(client.reactor));
    reactor_destroy(client.reactor);
    free(client.typed.bytes);
    return client.status;
}
