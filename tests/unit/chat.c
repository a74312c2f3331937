/* The chat's messages: which bytes are one, and which of them may reach a terminal. */
#include "chat.h"

#include <criterion/criterion.h>
#include <stdlib.h>
#include <string.h>

static bool parses(const char *json)
{
    struct chat_message message;
    char *copy = malloc(strlen(json) + 1); /* without a '\0': a sanitizer sees a read too far */
    memcpy(copy, json, strlen(json));
    bool good = chat_parse(copy, strlen(json), &message);
    if (good)
        chat_free(&message);
    free(copy);
    return good;
}

Test(chat, parse)
{
    cr_expect(parses("{\"user\":\"ann\",\"text\":\"hello\"}"));
    cr_expect(parses("{\"text\":\"\",\"user\":\"\",\"more\":[1,2]}"));
    cr_expect(parses("{\"error\":\"no\"}"));
    const char *bad[] = {"",
                         "[1]",
                         "5",
                         "null",
                         "\"user\"",
                         "{}",
                         "{\"user\":\"ann\"}",
                         "{\"user\":5,\"text\":\"x\"}",
                         "{\"user\":\"ann\",\"text\":null}",
                         "{\"user\":\"ann\",\"text\":\"x\",\"error\":1}",
                         "{\"user\":\"ann\",\"user\":\"bob\",\"text\":\"x\"}",
                         "{\"user\":\"ann\",\"text\":\"x\"} {}",
                         "{\"user\":\"ann\",\"text\":\"\xff\"}",
                         "{\"user\":\"ann\",\"text\":\"\\u0000\"}",
                         "{\"user\":\"ann\",\"text\":\"x\""};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++)
        cr_expect(!parses(bad[i]), "%s", bad[i]);
}

Test(chat, the_same_back)
{
    struct chat_message message;
    const char *text = "\"quoted\" \\ \n \x1b[31m \xc3\xa9 \xf0\x9f\x98\x80";
    char *json = chat_json("ann", text);
    cr_assert(chat_parse(json, strlen(json), &message));
    cr_expect_str_eq(message.user, "ann");
    cr_expect_str_eq(message.text, text);
    chat_free(&message);
    free(json);
    cr_expect_null(chat_json("ann", "\xff"));
}

static void expect_clean(const char *text, const char *expected)
{
    char *copy = strdup(text);
    copy[chat_clean(copy, strlen(copy))] = '\0';
    cr_expect_str_eq(copy, expected);
    free(copy);
}

Test(chat, clean)
{
    expect_clean("plain, \xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80",
                 "plain, \xc3\xa9\xe2\x82\xac\xf0\x9f\x98\x80");
    expect_clean("\x1b[2J\a\r\n\t\x7f", "?[2J?????");
    expect_clean("C1 \xc2\x9b"
                 "31m",
                 "C1 ?31m");
    expect_clean("turned \xe2\x80\xae", "turned ?");
    expect_clean("\xd8\x9c\xe2\x80\x8e\xe2\x80\x8f\xe2\x80\xaa\xe2\x81\xa6\xe2\x81\xa9", "??????");
    expect_clean("\xff\xc3", "??");
    expect_clean("overlong \xc0\xaf", "overlong ??");
    expect_clean("surrogate \xed\xa0\x80", "surrogate ???");
    expect_clean("too high \xf4\x90\x80\x80", "too high ????");
}

Test(chat, names)
{
    cr_expect(chat_name_ok("ann"));
    cr_expect(chat_name_ok("J\xc3\xbcrgen"));
    cr_expect(chat_name_ok("12345678901234567890123456789012"));
    cr_expect(!chat_name_ok("123456789012345678901234567890123"));
    cr_expect(!chat_name_ok(""));
    cr_expect(!chat_name_ok("a\nb"));
    cr_expect(!chat_name_ok("\x1b[31m"));
}
