/* Reading what strace and the clients wrote. */
#include "timeline.h"

#include <ctype.h>
#include <err.h>
#include <stdlib.h>
#include <string.h>

static const double SLEEPING = 0.004; /* a call that takes so long has slept */

static struct call *new_call(struct story *story)
{
    if (story->calls % 1024 == 0) {
        size_t room = (size_t)story->calls + 1024;
        story->call = realloc(story->call, room * sizeof *story->call);
        if (!story->call)
            err(1, "realloc");
    }
    struct call *call = &story->call[story->calls++];
    *call = (struct call){.client = -1, .fd = -1, .count = 1};
    return call;
}

/* "1700000000.123456 recvfrom(5, "hello", 65536, 0, NULL, NULL) = 5 <0.000031>" */
static bool parse(struct call *call, const char *line)
{
    char *end;
    call->start = call->end = strtod(line, &end);
    const char *open = strchr(end, '(');
    if (*end != ' ' || !open || !islower((unsigned char)end[1]))
        return false; /* a signal, or the end of the thread */
    size_t length = (size_t)(open - end - 1);
    if (length >= sizeof call->name)
        length = sizeof call->name - 1;
    memcpy(call->name, end + 1, length);
    if (isdigit((unsigned char)open[1]))
        call->fd = atoi(open + 1);
    const char *port = strstr(open, "htons(");
    if (port && !strncmp(call->name, "accept", 6))
        call->port = atoi(port + 6);

    call->counts = strstr(open, "FIONREAD") != NULL;

    const char *result = NULL, *took = strrchr(line, '<');
    for (const char *at = open; (at = strstr(at, " = ")); at += 3)
        result = at + 3;
    if (result)
        call->result = strtol(result, NULL, 0);
    call->again = result && strstr(result, "EAGAIN");
    call->unfinished = !result || *result == '?' || !took || !isdigit((unsigned char)took[1]);
    if (!call->unfinished)
        call->end = call->start + atof(took + 1);
    else
        call->end = 1e12; /* it never came back */
    return true;
}

void story_read_thread(struct story *story, const char *path)
{
    char line[1024];
    int before = story->calls;
    double last = 0; /* when it was last seen */
    FILE *file = fopen(path, "r");
    if (!file)
        err(1, "%s", path);
    while (fgets(line, sizeof line, file)) {
        struct call *call = new_call(story);
        call->lane = story->lanes;
        if (parse(call, line))
            last = call->end;
        else
            story->calls--;
        if (strstr(line, " +++ "))
            last = atof(line); /* exited, or killed */
    }
    fclose(file);
    if (last < story->begin) { /* it had ended: whatever a script runs to start the server, say */
        story->calls = before;
        return;
    }
    if (++story->lanes > LANES_MAX)
        errx(1, "more than %d threads", LANES_MAX);
}

void story_read_actions(struct story *story, const char *path)
{
    char line[256], name, what[TEXT_MAX];
    FILE *file = fopen(path, "r");
    if (!file)
        err(1, "%s", path);
    story->action = calloc(64, sizeof *story->action);
    while (story->action && story->actions < 64 && fgets(line, sizeof line, file)) {
        struct action *action = &story->action[story->actions];
        if (sscanf(line, "%lf %c %d %95[^\n]", &action->time, &name, &action->port, what) != 4)
            continue;
        action->client = name - 'A';
        strcpy(action->text, what);
        story->actions++;
    }
    fclose(file);
    if (!story->action || story->actions == 0)
        errx(1, "%s: the clients did nothing", path);
    story->begin = story->action[0].time - 0.003;
    story->end = story->action[story->actions - 1].time + 0.015;
}

static int by_start(const void *a, const void *b)
{
    const struct call *one = a, *other = b;
    return one->start < other->start ? -1 : one->start > other->start;
}

static int client_with_port(const struct story *story, int port)
{
    for (int i = 0; i < story->actions; i++)
        if (story->action[i].port == port && port > 0)
            return story->action[i].client;
    return -1;
}

/* A descriptor is a client's from its accept() to its close(). */
static void find_clients(struct story *story)
{
    enum { DESCRIPTORS = 1024 };
    static int owner[DESCRIPTORS];
    for (int i = 0; i < DESCRIPTORS; i++)
        owner[i] = -1;
    for (int i = 0; i < story->calls; i++) {
        struct call *call = &story->call[i];
        bool known = call->fd >= 0 && call->fd < DESCRIPTORS;
        if (call->port && call->result >= 0 && call->result < DESCRIPTORS)
            call->client = owner[call->result] = client_with_port(story, call->port);
        else if (!strcmp(call->name, "epoll_ctl"))
            call->client = -1; /* its first argument is the epoll instance */
        else if (known)
            call->client = owner[call->fd];
        if (!strcmp(call->name, "close") && known)
            owner[call->fd] = -1;
    }
}

static bool may_sleep(const struct call *call)
{
    static const char *const names[] = {"accept", "recv", "read",     "send",  "write",
                                        "poll",   "wait", "select",   "futex", "kevent",
                                        "enter",  "join", "nanosleep"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (strstr(call->name, names[i]))
            return true;
    return false;
}

void story_arrange(struct story *story)
{
    int kept = 0;
    qsort(story->call, (size_t)story->calls, sizeof *story->call, by_start);
    find_clients(story);
    for (int i = 0; i < story->calls; i++) {
        struct call call = story->call[i];
        bool slept = call.end - call.start > SLEEPING && may_sleep(&call);
        if (call.start > story->end || call.end < story->begin)
            continue;
        if (!slept && call.start < story->begin)
            continue;
        call.kind = slept ? WAIT : WORK;
        story->call[kept++] = call;
    }
    story->calls = kept;
}

int story_tally(const struct story *story, struct tally *tally, int most)
{
    int kinds = 0;
    for (int i = 0; i < story->calls; i++) {
        const struct call *call = &story->call[i];
        int k = 0;
        while (k < kinds && strcmp(tally[k].name, call->name))
            k++;
        if (k == kinds && kinds == most)
            continue;
        if (k == kinds) {
            tally[kinds] = (struct tally){0};
            strcpy(tally[kinds++].name, call->name);
        }
        double from = call->start > story->begin ? call->start : story->begin;
        double to = call->end < story->end ? call->end : story->end;
        tally[k].calls++;
        tally[k].again += call->again;
        tally[k].slept += call->kind == WAIT;
        tally[k].asleep += call->kind == WAIT ? to - from : 0;
    }
    return kinds;
}
