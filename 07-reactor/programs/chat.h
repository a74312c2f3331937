/* The chat's messages: JSON in frames. {"user": U, "text": T} from a member, and to all members;
 * an empty user is the room itself; {"error": E} comes before the end. */
#ifndef CHAT_H
#define CHAT_H

#include <stdbool.h>
#include <stddef.h>

enum { CHAT_NAME_MAX = 32, CHAT_LINE_MAX = 8 * 1024 };

struct chat_message {
    char *user, *text, *error; /* each of them NULL if it is not there */
};

/* False if the bytes are not JSON, or not an object in which these three, if present, are strings,
 * and either error, or both user and text, are present. Free it with chat_free() if true. */
bool chat_parse(const char *json, size_t length, struct chat_message *message);
void chat_free(struct chat_message *message);

/* The JSON of a message, to be freed; NULL if memory is out, or a string is not UTF-8. */
char *chat_json(const char *user, const char *text);
char *chat_error_json(const char *error);

/* A name has 1 to CHAT_NAME_MAX bytes, and nothing that chat_clean() would change. Names that look
 * alike (letters of two alphabets, spaces of no width) are different names all the same. */
bool chat_name_ok(const char *name);

/* Makes bytes fit to be shown on a terminal, in place: what is not UTF-8, and control characters
 * (with which others could move the cursor, colour the screen, or worse), become '?'; so do the
 * marks that turn the direction of writing. Returns the new length, which is never more. */
size_t chat_clean(char *text, size_t length);

#endif
