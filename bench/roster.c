#include "roster.h"

#include <libgen.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum role { PLAIN, REFERENCE, CONTROL, PEER };

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
    {"05-epoll --edge-triggered", "05-epoll", " --edge-triggered", PLAIN},
    /* kqueue's interface over epoll: this row is never kqueue against epoll */
    {"06-kqueue (on epoll)", "06-kqueue", "", PLAIN},
#else
    {"06-kqueue", "06-kqueue", "", REFERENCE},
    {"06-kqueue again (A/A)", "06-kqueue", "", CONTROL},
#endif
    {"07-reactor", "07-reactor", "", PLAIN},
    {"libuv", "bench/peers/libuv", "", PEER},
    {"libevent", "bench/peers/libevent", "", PEER},
    {"bufferevent (libevent)", "bench/peers/bufferevent", "", PEER},
    {"libev", "bench/peers/libev", "", PEER},
#ifdef __linux__
    {"io_uring", "bench/peers/io_uring", "", PEER},
#endif
};

/* "03", "select", "03-select" and "edge" all find their rows. */
static bool matches(const char *word, size_t length, const char *name)
{
    for (; strlen(name) >= length; name++) {
        if (strncasecmp(word, name, length) == 0)
            return true;
    }
    return false;
}

static bool is_all(const char *list)
{
    return list != NULL && strcmp(list, "all") == 0;
}

static bool listed(const char *list, const char *name)
{
    while (*list != '\0') {
        size_t length = strcspn(list, ",");
        if (length > 0 && matches(list, length, name))
            return true;
        list += length + (list[length] == ',');
    }
    return false;
}

/* A word of --servers that finds nothing is a mistake, not an empty comparison. */
static bool all_found(const char *list)
{
    while (*list != '\0') {
        size_t length = strcspn(list, ",");
        bool found = false;
        for (size_t i = 0; i < sizeof entries / sizeof *entries; i++)
            found = found || (length > 0 && matches(list, length, entries[i].name));
        if (!found) {
            fprintf(stderr, "compare: no such server: %.*s\n", (int)length, list);
            return false;
        }
        list += length + (list[length] == ',');
    }
    return true;
}

static void add_extra(struct server *server, const char *command)
{
    char path[SERVER_COMMAND];
    *server = (struct server){0};
    snprintf(server->command, sizeof server->command, "%s", command);
    snprintf(path, sizeof path, "%s", command);
    char *space = strchr(path, ' ');
    char arguments[SERVER_NAME] = "";
    if (space != NULL) {
        snprintf(arguments, sizeof arguments, "%s", space);
        *space = '\0';
    }
    snprintf(server->name, sizeof server->name, "%.24s%.*s", basename(path), SERVER_NAME - 26,
             arguments);
}

/* Peers come when they are asked for, the reference and its twin always. */
static bool takes_part(const struct entry *entry, const char *list)
{
    if (entry->role == REFERENCE || entry->role == CONTROL || is_all(list))
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
                                  .control = entry->role == CONTROL};
        snprintf(server->name, sizeof server->name, "%s", entry->name);
        if (entry->role == PEER)
            snprintf(server->command, sizeof server->command, "%s/%s", build, entry->chapter);
        else
            snprintf(server->command, sizeof server->command, "%s/%s/%s%s", build, entry->chapter,
                     entry->chapter, entry->arguments);
    }
    for (int i = 0; i < options->extra_count && count < ROSTER_MOST; i++)
        add_extra(&servers[count++], options->extra[i]);
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
                    contains(data, got, "__ubsan_handle"));
    free(data);
    return found;
}
