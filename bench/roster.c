#include "roster.h"

#include <ctype.h>
#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum role { PLAIN, REFERENCE, CONTROL, ALONE, PEER };

struct entry {
    const char *name;    /* as shown: it has to be honest about what runs */
    const char *chapter; /* its directory, and its program in there; a peer's program */
    const char *arguments;
    enum role role;
};

static const struct entry entries[] = {
    {"01-blocking-threads", "01-blocking-threads", "", PLAIN},
    {"02-busy-poll-nonblocking", "02-busy-poll-nonblocking", "", PLAIN},
    {"03-select", "03-select", "", PLAIN},
    {"04-poll", "04-poll", "", PLAIN},
#ifdef __linux__
    {"05-epoll", "05-epoll", "", REFERENCE},
    {"05-epoll again (A/A)", "05-epoll", "", CONTROL},
    {"05-epoll (none silent)", "05-epoll", "", ALONE},
    {"05-epoll --edge-triggered", "05-epoll", " --edge-triggered", PLAIN},
    /* kqueue's interface over epoll: this row is never kqueue against epoll */
    {"06-kqueue (on epoll)", "06-kqueue", "", PLAIN},
#else
    {"06-kqueue", "06-kqueue", "", REFERENCE},
    {"06-kqueue again (A/A)", "06-kqueue", "", CONTROL},
    {"06-kqueue (none silent)", "06-kqueue", "", ALONE},
#endif
    {"07-reactor", "07-reactor", "", PLAIN},
    {"libuv", "bench/peers/libuv", "", PEER},
    {"libevent", "bench/peers/libevent", "", PEER},
    {"bufferevent (libevent)", "bench/peers/bufferevent", "", PEER},
    {"libev", "bench/peers/libev", "", PEER},
#ifdef __linux__
    {"io_uring", "bench/peers/io_uring", "", PEER},
    {"bare epoll", "bench/peers/bare", "", PEER},
#endif
};

/* How well a word of --servers fits a row. */
enum fit {
    FITS_NOT,
    FITS_INSIDE, /* "edge": one of the name's words begins with it */
    FITS_START,  /* "lib": the name begins with it, or does after the number */
    FITS_NAME,   /* "03", "select", "03-select" */
};

static bool begins_with(const char *name, const char *word, size_t length)
{
    return strncasecmp(word, name, length) == 0;
}

static bool is_whole(const char *name, const char *word, size_t length)
{
    return begins_with(name, word, length) && (name[length] == '\0' || name[length] == ' ');
}

static enum fit fit_of(const char *word, size_t length, const char *name)
{
    bool numbered = isdigit((unsigned char)name[0]) && isdigit((unsigned char)name[1]);
    const char *after = numbered ? name + 3 : name;
    if (is_whole(name, word, length) || is_whole(after, word, length) ||
        (numbered && length == 2 && begins_with(name, word, length)))
        return FITS_NAME;
    if (begins_with(name, word, length) || begins_with(after, word, length))
        return FITS_START;
    for (const char *at = after + 1; *at != '\0'; at++) {
        if (!isalnum((unsigned char)at[-1]) && begins_with(at, word, length))
            return FITS_INSIDE;
    }
    return FITS_NOT;
}

/* Of the rows that a word fits, it means those that it fits best: "poll" is not busy polling, and
 * "libev" is not libevent. */
static enum fit best_fit(const char *word, size_t length)
{
    enum fit best = FITS_NOT;
    for (size_t i = 0; i < sizeof entries / sizeof *entries && length > 0; i++) {
        enum fit fit = fit_of(word, length, entries[i].name);
        best = fit > best ? fit : best;
    }
    return best;
}

static bool is_all(const char *list)
{
    return list != NULL && strcmp(list, "all") == 0;
}

static bool listed(const char *list, const char *name)
{
    while (*list != '\0') {
        size_t length = strcspn(list, ",");
        if (length > 0 && fit_of(list, length, name) == best_fit(list, length))
            return true;
        list += length + (list[length] == ',');
    }
    return false;
}

/* A word of --servers that finds nothing is a mistake, not an empty comparison. */
static bool all_found(const char *list)
{
    for (bool more = true; more;) {
        size_t length = strcspn(list, ",");
        if (best_fit(list, length) == FITS_NOT) {
            fprintf(stderr, "compare: no such server: '%.*s'\nTry 'bench/run --help'.\n",
                    (int)length, list);
            return false;
        }
        more = list[length] == ',';
        list += length + more;
    }
    return true;
}

static bool is_taken(const struct server *servers, int count, const char *name)
{
    for (int i = 0; i < count; i++) {
        if (strcmp(servers[i].name, name) == 0)
            return true;
    }
    return false;
}

/* A row's figures are found by its name, so the second of a name is called "mine (2)". */
static void add_extra(struct server *servers, int count, const char *command)
{
    struct server *server = &servers[count];
    char path[SERVER_COMMAND];
    *server = (struct server){.extra = true};
    snprintf(server->command, sizeof server->command, "%s", command);
    snprintf(path, sizeof path, "%s", command);
    char *space = strchr(path, ' ');
    char arguments[SERVER_NAME] = "";
    if (space != NULL) {
        snprintf(arguments, sizeof arguments, "%s", space);
        *space = '\0';
    }
    const char *base = basename(path);
    snprintf(server->name, sizeof server->name, "%.24s%.*s", base, SERVER_NAME - 26, arguments);
    for (int n = 2; n < 10 && is_taken(servers, count, server->name); n++)
        snprintf(server->name, sizeof server->name, "%.20s (%d)%.*s", base, n, SERVER_NAME - 26,
                 arguments);
}

/* Peers come when they are asked for, the reference and its twins always. */
static bool takes_part(const struct entry *entry, const char *list)
{
    if (entry->role == REFERENCE || entry->role == CONTROL || entry->role == ALONE || is_all(list))
        return true;
    return list != NULL ? listed(list, entry->name) : entry->role == PLAIN;
}

int roster_make(const struct options *options, const char *build, struct server *servers)
{
    int count = 0;
    if (options->servers != NULL && !is_all(options->servers) && !all_found(options->servers))
        return -1;
    for (size_t i = 0; i < sizeof entries / sizeof *entries; i++) {
        const struct entry *entry = &entries[i];
        if (!takes_part(entry, options->servers))
            continue;
        struct server *server = &servers[count++];
        *server = (struct server){.reference = entry->role == REFERENCE,
                                  .control = entry->role == CONTROL,
                                  .alone = entry->role == ALONE};
        snprintf(server->name, sizeof server->name, "%s", entry->name);
        if (entry->role == PEER)
            snprintf(server->command, sizeof server->command, "%s/%s", build, entry->chapter);
        else
            snprintf(server->command, sizeof server->command, "%s/%s/%s%s", build, entry->chapter,
                     entry->chapter, entry->arguments);
    }
    for (int i = 0; i < options->extra_count && count < ROSTER_MOST; i++)
        add_extra(servers, count++, options->extra[i]);
    return count;
}

static bool contains(const char *data, size_t size, const char *text)
{
    size_t length = strlen(text);
    for (size_t i = 0; i + length <= size; i++) {
        if (data[i] == text[0] && memcmp(data + i, text, length) == 0)
            return true;
    }
    return false;
}

int roster_is_sanitized(const struct server *server)
{
    char path[SERVER_COMMAND];
    snprintf(path, sizeof path, "%s", server->command);
    path[strcspn(path, " ")] = '\0';
    FILE *file = fopen(path, "rb");
    if (file == NULL)
        return 0;
    fseek(file, 0, SEEK_END);
    long size = ftell(file);
    rewind(file);
    char *data = size > 0 ? malloc((size_t)size) : NULL;
    size_t got = data != NULL ? fread(data, 1, (size_t)size, file) : 0;
    fclose(file);
    bool found =
        got > 0 && (contains(data, got, "__asan_init") || contains(data, got, "__tsan_init") ||
                    contains(data, got, "__ubsan_handle") || contains(data, got, "__gcov_"));
    free(data);
    return found;
}
