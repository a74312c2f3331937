/* A chat room. What one member says goes to all of them, as one frame of JSON (frame.h, chat.h).
 * The first frame gives its sender's name; an empty text only enters. A member that breaks the
 * protocol, or reads too slowly, is told so and has to leave: the others never wait.
 *
 *     build/07-reactor/chat-server --port 7100 */
#include <errno.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "chat.h"
#include "frame.h"
#include "stream_server.h"

enum {
    BACKLOG_MAX = 256 * 1024, /* unsent bytes of a member, at most, before it has to go */
    LEAVE_MS = 10000,         /* the time that a leaving member has to read what it was sent */
    SILENT_LEAVE_MS = 1000,   /* the same after a silence: such a member may not read at all */
};

static struct stream_server server;

struct member {
    char name[CHAT_NAME_MAX + 1]; /* empty: not yet in the room */
};

static void dismiss(struct stream *stream, const char *why, int within_ms)
{
    char *json = chat_error_json(why);
    if (json)
        frame_send(stream, json, strlen(json));
    free(json);
    stream_close(stream, within_ms);
}

/* Sends to all members. A member that is too slow is told so, behind all that it has not read. */
static void broadcast(const char *json)
{
    size_t length = strlen(json);
    for (struct stream *s = server.streams.first; s; s = stream_next(s)) {
        struct member *member = stream_argument(s);
        if (!member || !member->name[0])
            continue;
        if (stream_unsent(s) + FRAME_HEADER + length > BACKLOG_MAX)
            dismiss(s, "you read too slowly", LEAVE_MS);
        else if (frame_send(s, json, length) < 0 && errno != EPIPE) /* EPIPE: it is leaving */
            stream_abort(s);
    }
}

static void announce(const char *name, const char *what)
{
    char text[CHAT_NAME_MAX + 32];
    snprintf(text, sizeof text, "%s %s", name, what);
    char *json = chat_json("", text);
    if (json)
        broadcast(json);
    free(json);
}

static bool name_is_taken(const char *name)
{
    for (struct stream *s = server.streams.first; s; s = stream_next(s)) {
        struct member *member = stream_argument(s);
        if (member && strcmp(member->name, name) == 0)
            return true;
    }
    return false;
}

/* Returns what is wrong with the message, or NULL: then it has been dealt with. */
static const char *handle(struct member *member, const struct chat_message *message)
{
    if (message->error || !chat_name_ok(message->user))
        return "that is not a valid name";
    if (!member->name[0]) {
        if (name_is_taken(message->user))
            return "that name is taken";
        strcpy(member->name, message->user);
        announce(member->name, "has joined");
    } else if (strcmp(message->user, member->name) != 0) {
        return "that is not your name";
    }
    if (!message->text[0])
        return NULL;
    char *json = chat_json(message->user, message->text);
    bool fits = json && strlen(json) <= FRAME_MAX;
    if (fits)
        broadcast(json);
    free(json);
    return fits ? NULL : "that message is too long";
}

static size_t on_data(struct stream *stream, const char *bytes, size_t length)
{
    struct chat_message message;
    int content = frame_find(bytes, length);
    if (content == FRAME_PARTIAL)
        return 0;
    const char *wrong = "a frame has at most 65536 bytes";
    if (content >= 0)
        wrong = "that is not {\"user\":\"...\",\"text\":\"...\"}";
    if (content >= 0 && chat_parse(bytes + FRAME_HEADER, (size_t)content, &message)) {
        wrong = handle(stream_argument(stream), &message);
        chat_free(&message);
    }
    if (wrong)
        dismiss(stream, wrong, LEAVE_MS);
    return content < 0 ? length : FRAME_HEADER + (size_t)content;
}

static void on_end(struct stream *stream, const char *rest, size_t length)
{
    (void)rest, (void)length;
    stream_close(stream, LEAVE_MS);
}

static void on_close(struct stream *stream, int error)
{
    struct member *member = stream_argument(stream);
    (void)error;
    stream_set_argument(stream, NULL);
    if (member && member->name[0])
        announce(member->name, "has left");
    free(member);
}

static void on_silence(struct stream *stream)
{
    dismiss(stream, "you have said nothing for too long", SILENT_LEAVE_MS);
}

static void on_open(struct stream *stream)
{
    struct member *member = calloc(1, sizeof *member);
    stream_set_argument(stream, member);
    stream_set_marks(stream, STREAM_LOW, BACKLOG_MAX + STREAM_HIGH); /* see broadcast() */
    if (!member)
        stream_abort(stream);
}

int main(int argc, char **argv)
{
    server = (struct stream_server){.purpose = "A chat room",
                                    .handlers = {.on_data = on_data,
                                                 .on_end = on_end,
                                                 .on_close = on_close,
                                                 .on_silence = on_silence},
                                    .on_open = on_open};
    stream_server_open(&server, argc, argv, NULL);
    return stream_server_run(&server);
}
