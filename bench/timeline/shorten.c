/* Making one block of what would only repeat itself, and giving each block its label. */
#include "timeline.h"

#include <stdlib.h>
#include <string.h>

static bool starts(const struct call *call, const char *with)
{
    return !strncmp(call->name, with, strlen(with));
}

/* What has to do with clients and waiting is drawn call by call; the rest is housekeeping. */
static bool interesting(const struct call *call)
{
    static const char *const names[] = {"accept",   "recv", "read",   "send",   "write",
                                        "close",    "shut", "epoll",  "poll",   "ppoll",
                                        "select",   "psel", "kevent", "clone",  "ioctl",
                                        "io_uring", "fork", "signal", "eventfd"};
    if (call->kind == WAIT)
        return true;
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (starts(call, names[i]))
            return true;
    return false;
}

static bool echoes(const struct call *call)
{
    return call->kind == WORK && call->client >= 0 && call->result > 0 &&
           (starts(call, "recv") || starts(call, "send") || starts(call, "read") ||
            starts(call, "write"));
}

/* The calls of one lane, in order: index of the one after i, or story->calls. */
static int next_in_lane(const struct story *story, int i)
{
    int lane = story->call[i].lane;
    for (i++; i < story->calls && story->call[i].lane != lane; i++)
        ;
    return i;
}

typedef bool belongs(const struct call *first, const struct call *call);

static bool is_again(const struct call *first, const struct call *call)
{
    (void)first;
    return call->again && call->kind == WORK;
}

static bool is_housekeeping(const struct call *first, const struct call *call)
{
    (void)first;
    return !interesting(call);
}

static bool is_echo(const struct call *first, const struct call *call)
{
    return echoes(call) && call->client == first->client;
}

/* Adds up the run that begins at i in its first call; the others are marked with count 0. */
static void merge(struct story *story, int i, int calls, enum kind kind, belongs *same)
{
    struct call *first = &story->call[i];
    int seen = 1;
    first->kind = kind;
    if (kind == BUSY)
        first->client = -1; /* it asked everybody */
    first->bytes = starts(first, "recv") || starts(first, "read") ? first->result : 0;
    for (int j = next_in_lane(story, i); seen < calls; j = next_in_lane(story, j)) {
        struct call *call = &story->call[j];
        if (!same(first, call))
            return;
        first->end = call->end;
        first->count++;
        if (starts(call, "recv") || starts(call, "read"))
            first->bytes += call->result;
        call->count = 0;
        seen++;
    }
}

static void merge_runs(struct story *story, enum kind kind, int least, belongs *same)
{
    for (int i = 0; i < story->calls; i++) {
        struct call *first = &story->call[i];
        int run = 0;
        if (first->count != 1 || first->kind != WORK || !same(first, first))
            continue;
        for (int j = i;
             j < story->calls && story->call[j].count == 1 && same(first, &story->call[j]);
             j = next_in_lane(story, j))
            run++;
        if (run >= least)
            merge(story, i, run, kind, same);
    }
}

static void label(struct call *call)
{
    char *text = call->text;
    size_t room = sizeof call->text;
    if (call->kind == BUSY)
        snprintf(text, room, "%d times: nothing (EAGAIN)", call->count);
    else if (call->kind == OTHER && call->count == 1)
        snprintf(text, room, "%s", call->name);
    else if (call->kind == OTHER)
        snprintf(text, room, "%s + %d more", call->name, call->count - 1);
    else if (call->kind == ECHO)
        snprintf(text, room, "recv, send: %d times", call->count / 2);
    else if (call->unfinished)
        snprintf(text, room, "%s", call->name);
    else if (call->again)
        snprintf(text, room, "%s = EAGAIN", call->name);
    else
        snprintf(text, room, "%s = %ld", call->name, call->result);
}

void story_shorten(struct story *story)
{
    int kept = 0;
    merge_runs(story, BUSY, 3, is_again);
    merge_runs(story, OTHER, 1, is_housekeeping);
    merge_runs(story, ECHO, 6, is_echo);
    for (int i = 0; i < story->calls; i++)
        if (story->call[i].count > 0) {
            story->call[kept] = story->call[i];
            label(&story->call[kept++]);
        }
    story->calls = kept;
}
