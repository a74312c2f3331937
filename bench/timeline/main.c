/* Draws what strace saw of a server during the conversation.
 *   timeline TITLE ACTIONS SVG CSV MARKDOWN THREAD... */
#include "timeline.h"

#include <err.h>
#include <stdlib.h>
#include <string.h>

enum { KINDS = 64 };

static FILE *create(const char *path)
{
    FILE *file = fopen(path, "w");
    if (!file)
        err(1, "%s", path);
    return file;
}

static int by_calls(const void *a, const void *b)
{
    const struct tally *one = a, *other = b;
    return one->calls > other->calls ? -1 : one->calls < other->calls;
}

static void write_table(const struct story *story, const char *csv_path, const char *md_path)
{
    struct tally tally[KINDS];
    int kinds = story_tally(story, tally, KINDS);
    long all = 0;
    FILE *csv = create(csv_path), *md = create(md_path);

    qsort(tally, (size_t)kinds, sizeof *tally, by_calls);
    fprintf(csv, "call,times,again,slept,asleep_ms\n");
    fprintf(md,
            "| call | times | in vain (EAGAIN) | slept | asleep, ms |\n|---|--:|--:|--:|--:|\n");
    for (int i = 0; i < kinds; i++) {
        const struct tally *t = &tally[i];
        fprintf(csv, "%s,%ld,%ld,%ld,%.1f\n", t->name, t->calls, t->again, t->slept,
                t->asleep * 1000);
        fprintf(md, "| `%s` | %ld | %ld | %ld | %.1f |\n", t->name, t->calls, t->again, t->slept,
                t->asleep * 1000);
        all += t->calls;
    }
    fprintf(md, "| all | %ld | | | |\n", all);
    if (fclose(csv) || fclose(md))
        err(1, "%s", csv_path);
}

/* A thread is called by what it does: the one that accepts, the one that serves B. */
static void name_lanes(struct story *story)
{
    for (int lane = 0; lane < story->lanes; lane++) {
        bool accepts = false;
        int client = -1;
        for (int i = 0; i < story->calls; i++) {
            const struct call *call = &story->call[i];
            if (call->lane != lane)
                continue;
            accepts |= !strncmp(call->name, "accept", 6);
            client = call->client >= 0 ? call->client : client;
        }
        char *name = story->lane_name[lane];
        if (story->lanes == 1)
            strcpy(name, "the server, one thread");
        else if (accepts)
            strcpy(name, "accepting thread");
        else if (client >= 0)
            snprintf(name, sizeof story->lane_name[lane], "thread for %c", 'A' + client);
        else
            strcpy(name, lane == 0 ? "main thread" : "a thread");
    }
}

/* A thread that did nothing in this time and never slept in it is not drawn. */
static void drop_empty_lanes(struct story *story)
{
    int to[LANES_MAX], lanes = 0;
    for (int lane = 0; lane < story->lanes; lane++) {
        bool used = false;
        for (int i = 0; i < story->calls && !used; i++)
            used = story->call[i].lane == lane;
        to[lane] = used ? lanes++ : -1;
    }
    for (int i = 0; i < story->calls; i++)
        story->call[i].lane = to[story->call[i].lane];
    story->lanes = lanes;
}

int main(int argc, char **argv)
{
    struct story story = {0};
    if (argc < 7)
        errx(2, "usage: timeline TITLE ACTIONS SVG CSV MARKDOWN THREAD...");
    story_read_actions(&story, argv[2]);
    for (int i = 6; i < argc; i++)
        story_read_thread(&story, argv[i]);
    story_arrange(&story);
    drop_empty_lanes(&story);
    name_lanes(&story);
    write_table(&story, argv[4], argv[5]);
    story_shorten(&story);
    FILE *svg = create(argv[3]);
    story_draw(&story, argv[1], svg);
    if (fclose(svg))
        err(1, "%s", argv[3]);
    free(story.call);
    free(story.action);
    return 0;
}
