/* A libFuzzer target: what a stranger may send to the chat. It finds frames in the bytes, as in a
 * connection's input, and reads their content as messages. Each message must stay the same when it
 * is written and read again. See tests/fuzz/run. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "chat.h"
#include "frame.h"

static void require(bool condition)
{
    if (!condition)
        abort();
}

/* Cleaning must leave nothing to clean, and never make a text longer. */
static void check_clean(const char *text, size_t length)
{
    char *copy = malloc(length + 1);
    memcpy(copy, text, length);
    size_t once = chat_clean(copy, length);
    require(once <= length);
    for (size_t i = 0; i < once; i++)
        require((unsigned char)copy[i] >= 0x20 && copy[i] != 0x7f);
    require(chat_clean(copy, once) == once);
    free(copy);
}

static void check_message(const char *content, size_t length)
{
    struct chat_message message, again;
    if (!chat_parse(content, length, &message))
        return;
    if (message.user && message.text) {
        char *json = chat_json(message.user, message.text);
        require(json && strlen(json) <= length);
        require(chat_parse(json, strlen(json), &again));
        require(strcmp(again.user, message.user) == 0 && strcmp(again.text, message.text) == 0);
        if (chat_name_ok(message.user))
            require(strlen(message.user) <= CHAT_NAME_MAX);
        chat_free(&again);
        free(json);
        check_clean(message.text, strlen(message.text));
    }
    chat_free(&message);
}

int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length);
int LLVMFuzzerTestOneInput(const uint8_t *bytes, size_t length)
{
    const char *input = (const char *)bytes;
    check_clean(input, length);
    for (size_t i = 0; i < length;) {
        int content = frame_find(input + i, length - i);
        if (content == FRAME_BAD || content == FRAME_PARTIAL)
            break;
        require(content >= 0 && content <= FRAME_MAX);
        require(FRAME_HEADER + (size_t)content <= length - i);
        char *copy = malloc((size_t)content + 1); /* so that a sanitizer sees a read too far */
        memcpy(copy, input + i + FRAME_HEADER, (size_t)content);
        check_message(copy, (size_t)content);
        free(copy);
        i += FRAME_HEADER + (size_t)content;
    }
    return 0;
}

/* frame_send() needs these, but no test here calls it. */
int stream_send(struct stream *stream, const void *bytes, size_t length)
{
    (void)stream, (void)bytes, (void)length;
    return 0;
}

void stream_abort(struct stream *stream)
{
    (void)stream;
}
