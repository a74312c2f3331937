#include "compare/roster.h"

#include <ctype.h>
#include <errno.h>
#include <libgen.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

enum role { PLAIN, REFERENCE, CONTROL, NO_IDLE, PEER, LANGUAGE, SMALLEST };

struct entry {
    char name[SERVER_NAME];       /* as shown: it has to be honest about what runs */
    char command[SERVER_COMMAND]; /* the program below the build directory, and its arguments */
    enum role role;
};

static struct entry entries[ROSTER_MAX];
static int entry_count;

/* ---- the list ---- */

/* The columns of the list: meson.build explains them. */
enum column { NAME, HEADING, TITLE, LABEL, PROGRAM, ARGUMENTS, TRAITS, COLOUR, ROLES, COLUMNS };

/* Cuts a row at its bars. False: it has more or fewer columns than the list. */
static bool split(char *row, char *columns[COLUMNS])
{
    for (int i = 0; i < COLUMNS; i++) {
        columns[i] = row;
        row = strchr(row, '|');
        if (!row)
            return i == ROLES;
        *row++ = '\0';
    }
    return false;
}

/* Roles are separated by commas. */
static bool has_role(const char *roles, const char *role)
{
    size_t length = strlen(role);
    while (strncmp(roles, role, length) != 0 || (roles[length] != ',' && roles[length] != '\0')) {
        roles = strchr(roles, ',');
        if (!roles)
            return false;
        roles++;
    }
    return true;
}

/* These return NULL, or what is wrong. */

static const char *add_entry(char *columns[COLUMNS], const char *suffix, enum role role)
{
    if (entry_count == ROSTER_MAX)
        return "there are too many servers";
    struct entry *entry = &entries[entry_count++];
    int name = snprintf(entry->name, sizeof entry->name, "%s%s", columns[NAME], suffix);
    int command = snprintf(entry->command, sizeof entry->command, "%s%s%s", columns[PROGRAM],
                           columns[ARGUMENTS][0] != '\0' ? " " : "", columns[ARGUMENTS]);
    entry->role = role;
    return name < SERVER_NAME && command < SERVER_COMMAND ? NULL : "a name or command is too long";
}

static const char *add_reference(char *columns[COLUMNS])
{
    for (int i = 0; i < entry_count; i++) {
        if (entries[i].role == REFERENCE)
            return "there is a reference already";
    }
    const char *wrong = add_entry(columns, "", REFERENCE);
    if (!wrong)
        wrong = add_entry(columns, " again (A/A)", CONTROL);
    if (!wrong)
        wrong = add_entry(columns, " (none silent)", NO_IDLE);
    return wrong;
}

static const char *add_row(char *row)
{
    char *columns[COLUMNS];
    if (!split(row, columns))
        return "a row has nine columns";
    if (has_role(columns[ROLES], "reference"))
        return add_reference(columns);
    if (has_role(columns[ROLES], "smallest"))
        return add_entry(columns, "", SMALLEST);
    if (has_role(columns[ROLES], "language"))
        return add_entry(columns, "", LANGUAGE);
    if (has_role(columns[ROLES], "peer"))
        return add_entry(columns, "", PEER);
    if (has_role(columns[ROLES], "compared"))
        return add_entry(columns, "", PLAIN);
    return NULL; /* it is only tested */
}

static const char *add_rows(FILE *list, int *line)
{
    char row[1024];
    bool reference = false;
    for (*line = 1; fgets(row, sizeof row, list); ++*line) {
        row[strcspn(row, "\n")] = '\0';
        const char *wrong = row[0] == '#' ? NULL : add_row(row);
        if (wrong)
            return wrong;
    }
    for (int i = 0; i < entry_count; i++)
        reference = reference || entries[i].role == REFERENCE;
    return reference ? NULL : "no server is the reference";
}

/* False: it could not, and has said why. */
static bool read_list(const char *build)
{
    char path[PATH_MAX];
    int line;
    snprintf(path, sizeof path, "%s/servers.list", build);
    FILE *list = fopen(path, "r");
    if (!list) {
        fprintf(stderr, "compare: %s: %s (meson setup writes it)\n", path, strerror(errno));
        return false;
    }
    entry_count = 0;
    const char *wrong = add_rows(list, &line);
    fclose(list);
    if (wrong)
        fprintf(stderr, "compare: %s:%d: %s\n", path, line, wrong);
    return !wrong;
}

/* ---- the choice ---- */

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

/* "languages" stands for all of them. */
static enum fit fit_of_entry(const char *word, size_t length, const struct entry *entry)
{
    if (entry->role == LANGUAGE && is_whole("languages", word, length))
        return FITS_NAME;
    return fit_of(word, length, entry->name);
}

/* Of the rows that a word fits, it means those that it fits best: "poll" is not busy polling, and
 * "libev" is not libevent. */
static enum fit best_fit(const char *word, size_t length)
{
    enum fit best = FITS_NOT;
    for (int i = 0; i < entry_count && length > 0; i++) {
        enum fit fit = fit_of_entry(word, length, &entries[i]);
        best = fit > best ? fit : best;
    }
    return best;
}

static bool is_all(const char *list)
{
    return list && strcmp(list, "all") == 0;
}

static bool listed(const char *list, const struct entry *entry)
{
    while (*list != '\0') {
        size_t length = strcspn(list, ",");
        if (length > 0 && fit_of_entry(list, length, entry) == best_fit(list, length))
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
    if (space) {
        snprintf(arguments, sizeof arguments, "%s", space);
        *space = '\0';
    }
    const char *base = basename(path);
    snprintf(server->name, sizeof server->name, "%.24s%.*s", base, SERVER_NAME - 26, arguments);
    for (int n = 2; n < 10 && is_taken(servers, count, server->name); n++)
        snprintf(server->name, sizeof server->name, "%.20s (%d)%.*s", base, n, SERVER_NAME - 26,
                 arguments);
}

/* Peers come when they are asked for, the reference and its copies always. Two roles do not belong
 * to "all", and are compared only when the command line names them: the smallest servers, which
 * lose bytes, and those in other languages, which few machines can run. */
static bool takes_part(const struct entry *entry, const char *list)
{
    if (entry->role == REFERENCE || entry->role == CONTROL || entry->role == NO_IDLE)
        return true;
    if (is_all(list))
        return entry->role != SMALLEST && entry->role != LANGUAGE;
    return list ? listed(list, entry) : entry->role == PLAIN;
}

int roster_make(const struct options *options, const char *build, struct server *servers)
{
    int count = 0;
    if (!read_list(build))
        return -1;
    if (options->servers && !is_all(options->servers) && !all_found(options->servers))
        return -1;
    for (int i = 0; i < entry_count; i++) {
        const struct entry *entry = &entries[i];
        if (!takes_part(entry, options->servers))
            continue;
        struct server *server = &servers[count++];
        *server = (struct server){.reference = entry->role == REFERENCE,
                                  .control = entry->role == CONTROL,
                                  .no_idle = entry->role == NO_IDLE};
        memcpy(server->name, entry->name, sizeof server->name);
        snprintf(server->command, sizeof server->command, "%s/%s", build, entry->command);
    }
    for (int i = 0; i < options->extra_count && count < ROSTER_MAX; i++)
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
    if (!file)
        return 0;
    fseek(file, 0, SEEK_END);
    long size = ftell(file);
    rewind(file);
    char *data = size > 0 ? malloc((size_t)size) : NULL;
    size_t got = data ? fread(data, 1, (size_t)size, file) : 0;
    fclose(file);
    bool found =
        got > 0 && (contains(data, got, "__asan_init") || contains(data, got, "__tsan_init") ||
                    contains(data, got, "__ubsan_handle") || contains(data, got, "__gcov_"));
    free(data);
    return found;
}
