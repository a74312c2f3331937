#include "chat.h"

#include <jansson.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

/* json: an object. Returns false if there is something of that name that is not a string. */
static bool copy_string(json_t *json, const char *name, char **copy)
{
    json_t *value = json_object_get(json, name);
    *copy = json_is_string(value) ? strdup(json_string_value(value)) : NULL;
    return !value || *copy;
}

bool chat_parse(const char *json, size_t length, struct chat_message *message)
{
    json_t *object = json_loadb(json, length, JSON_REJECT_DUPLICATES, NULL);
    bool good = json_is_object(object);
    *message = (struct chat_message){0};
    good = good && copy_string(object, "user", &message->user) &&
           copy_string(object, "text", &message->text) &&
           copy_string(object, "error", &message->error) &&
           (message->error || (message->user && message->text));
    json_decref(object);
    if (!good)
        chat_free(message);
    return good;
}

void chat_free(struct chat_message *message)
{
    free(message->user);
    free(message->text);
    free(message->error);
    *message = (struct chat_message){0};
}

static char *to_text(json_t *object)
{
    char *text = object ? json_dumps(object, JSON_COMPACT) : NULL;
    json_decref(object);
    return text;
}

char *chat_json(const char *user, const char *text)
{
    return to_text(json_pack("{ss ss}", "user", user, "text", text));
}

char *chat_error_json(const char *error)
{
    return to_text(json_pack("{ss}", "error", error));
}

/* How many bytes a UTF-8 character has that begins with this one; 0: none begins so (RFC 3629). */
static size_t utf8_length(unsigned char first)
{
    if (first < 0x80)
        return 1;
    if (first >> 5 == 6)
        return 2;
    if (first >> 4 == 14)
        return 3;
    return first >> 3 == 30 ? 4 : 0;
}

/* The length of the UTF-8 character at text, and its number; 0 if it is none. */
static size_t decode(const unsigned char *text, size_t length, uint32_t *number)
{
    static const uint32_t min[] = {0, 0, 0x80, 0x800, 0x10000};
    size_t n = utf8_length(text[0]);
    if (n == 0 || n > length)
        return 0;
    *number = n == 1 ? text[0] : text[0] & (0xffU >> (n + 1));
    for (size_t i = 1; i < n; i++) {
        if (text[i] >> 6 != 2)
            return 0;
        *number = *number << 6 | (text[i] & 0x3fU);
    }
    bool surrogate = *number >= 0xd800 && *number < 0xe000;
    return *number < min[n] || *number > 0x10ffff || surrogate ? 0 : n;
}

static bool harmless(uint32_t c)
{
    if (c < 0x20 || (c >= 0x7f && c < 0xa0)) /* C0, DEL, C1 */
        return false;
    return c != 0x61c && !(c >= 0x200e && c <= 0x200f) && !(c >= 0x2028 && c <= 0x202e) &&
           !(c >= 0x2066 && c <= 0x2069);
}

size_t chat_clean(char *text, size_t length)
{
    size_t kept = 0;
    for (size_t i = 0, n; i < length; i += n) {
        uint32_t number = 0;
        n = decode((const unsigned char *)text + i, length - i, &number);
        if (n > 0 && harmless(number)) {
            memmove(text + kept, text + i, n);
            kept += n;
        } else {
            text[kept++] = '?';
            n = n > 0 ? n : 1;
        }
    }
    return kept;
}

bool chat_name_ok(const char *name)
{
    char copy[CHAT_NAME_MAX];
    size_t length = strlen(name);
    if (length == 0 || length > sizeof copy)
        return false;
    memcpy(copy, name, length);
    return chat_clean(copy, length) == length && memcmp(copy, name, length) == 0;
}
