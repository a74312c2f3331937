#define _GNU_SOURCE
#include "calls.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "fault.h"

enum { KINDS = 256, NAME = 32, TEXT = 1024 };

const char *strace_path;

static struct kind {
    char name[NAME];
    int by_loader, at_start;
} kinds[KINDS];
static int kind_count;

static struct kind *find(const char *name, size_t length)
{
    for (int i = 0; i < kind_count; i++)
        if (strlen(kinds[i].name) == length && strncmp(kinds[i].name, name, length) == 0)
            return &kinds[i];
    return NULL;
}

static struct kind *find_or_add(const char *name, size_t length)
{
    struct kind *kind = find(name, length);
    if (kind || kind_count == KINDS || length == 0 || length >= NAME)
        return kind;
    kind = &kinds[kind_count++];
    *kind = (struct kind){0};
    memcpy(kind->name, name, length);
    return kind;
}

/* Returns the next of the named kinds that the server makes; NULL after the last. */
static const struct kind *next_of(const char **calls)
{
    while (**calls) {
        const char *name = *calls + (**calls == '?');
        size_t length = strcspn(name, ",");
        *calls = name + length + (name[length] == ',');
        const struct kind *kind = find(name, length);
        if (kind)
            return kind;
    }
    return NULL;
}

bool makes_calls(const char *calls)
{
    return next_of(&calls);
}

int calls_at_start(const char *calls)
{
    int sum = 0;
    for (const struct kind *kind; (kind = next_of(&calls));)
        sum += kind->at_start;
    return sum;
}

int calls_of_loader(const char *calls)
{
    int sum = 0;
    for (const struct kind *kind; (kind = next_of(&calls));)
        sum += kind->by_loader;
    return sum;
}

/* Does the server's own code begin here, with one of these? The loader needs none of them. */
static bool own_code(const char *call)
{
    static const char *const first[] = {
        "rt_sigaction(SIGPIPE", "socket(",        "epoll_create1(", "eventfd2(", "pipe2(",
        "signalfd4(",           "timerfd_create("};
    for (size_t i = 0; i < sizeof first / sizeof *first; i++)
        if (strncmp(call, first[i], strlen(first[i])) == 0)
            return true;
    return false;
}

/* Each line is "PID NAME(ARGUMENTS...". */
static void read_log(const char *path)
{
    char line[TEXT];
    bool own = false, ready = false;
    FILE *log = fopen(path, "r");
    while (log && fgets(line, sizeof line, log)) {
        const char *name = line + strspn(line, "0123456789 ");
        struct kind *kind =
            find_or_add(name, strspn(name, "abcdefghijklmnopqrstuvwxyz_0123456789"));
        own = own || own_code(name);
        if (kind && !ready) {
            kind->at_start++;
            kind->by_loader += !own;
        }
        ready = ready || strstr(name, "write(1, \"listening"); /* the start's last call */
    }
    if (log)
        fclose(log);
}

static void record_calls(const void *log)
{
    char words[TEXT];
    snprintf(words, sizeof words, "%s -D -f -qq -o %s", strace_path, (const char *)log);
    harness_begin();
    wrap_server(words);
    server_start();
    struct client c = client_open();
    client_echo(&c, 1000);
    client_close(&c);
    server_stop();
}

/* Returns strace's path; NULL if PATH has none, or if it may not trace. */
static const char *find_strace(void)
{
    static char path[TEXT];
    char command[2 * TEXT];
    const char *each = getenv("PATH");
    for (size_t length; each && *each; each += length + (each[length] == ':')) {
        length = strcspn(each, ":");
        snprintf(path, sizeof path, "%.*s/strace", (int)length, each);
        snprintf(command, sizeof command, "'%s' -D -f -qq -o '%s/true' true 2>/dev/null", path,
                 work_directory);
        if (access(path, X_OK) == 0)
            return system(command) == 0 ? path : NULL;
    }
    return NULL;
}

bool learn_calls(void)
{
    char log[TEXT];
    struct trial trial;
    strace_path = find_strace();
    if (!strace_path)
        return true;
    snprintf(log, sizeof log, "%s/calls", work_directory);
    bool works = trial_run(&trial, record_calls, log, 60) == VERDICT_PASS;
    if (!works) {
        printf("not ok 1 - works without a fault: %s\n", trial.reason);
        trial_show_log(&trial, "#   ");
        return false;
    }
    close(trial.log);
    read_log(log);
    return true;
}
