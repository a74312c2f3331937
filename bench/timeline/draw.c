/* The picture: time runs down, a column for each client and for each thread of the server. Every
 * call and every deed of a client has a line of its own, since most calls take microseconds and the
 * pauses milliseconds; where nothing happens for long the scale is broken, and says so. */
#include "timeline.h"

#include <stdlib.h>
#include <string.h>

enum {
    LINE = 19,   /* height of a line */
    BREAK = 26,  /* and of a pause */
    TOP = 84,    /* where the first line is */
    AXIS = 64,   /* width of the time's column */
    CLIENT = 138 /* and of a client's */
};
static const double PAUSE = 0.004;

static const char *const FILL[] = {"#cfe2ff", "#ffe3c2", "#d3f0d5"};
static const char *const INK[] = {"#1f5fbf", "#b35c00", "#1f7a34"};

struct line {
    double time;
    int y;
    bool pause;                /* a break of the scale above it */
    const struct action *deed; /* either this */
    const struct call *call;   /* or this */
};

struct picture {
    const struct story *story;
    FILE *svg;
    struct line *line;
    int lines, width, height, lane_width;
};

static bool is(const struct call *call, const char *name)
{
    return strstr(call->name, name) != NULL;
}

static void escaped(FILE *svg, const char *text)
{
    for (; *text; text++)
        if (*text == '<')
            fputs("&lt;", svg);
        else if (*text == '&')
            fputs("&amp;", svg);
        else
            fputc(*text, svg);
}

static void put(FILE *svg, int x, int y, const char *class, const char *fill, const char *text)
{
    fprintf(svg, "<text x=\"%d\" y=\"%d\" class=\"%s\" fill=\"%s\">", x, y, class, fill);
    escaped(svg, text);
    fputs("</text>\n", svg);
}

/* ----------------------------------------------------------------------------- the lines --- */

static int by_time(const void *a, const void *b)
{
    const struct line *one = a, *other = b;
    return one->time < other->time ? -1 : one->time > other->time;
}

static void lay_out(struct picture *picture)
{
    const struct story *story = picture->story;
    int n = 0, y = TOP;
    picture->line = calloc((size_t)(story->calls + story->actions), sizeof *picture->line);
    if (!picture->line)
        abort();
    for (int i = 0; i < story->actions; i++)
        if (story->action[i].text[0] != '(')
            picture->line[n++] =
                (struct line){.time = story->action[i].time, .deed = &story->action[i]};
    for (int i = 0; i < story->calls; i++) {
        const struct call *call = &story->call[i];
        /* What takes something from a client cannot have it before it returns. */
        bool takes = call->kind == WORK && (is(call, "accept") || is(call, "recv"));
        double time = takes ? call->end : call->start;
        picture->line[n++] =
            (struct line){.time = time > story->begin ? time : story->begin, .call = call};
    }
    qsort(picture->line, (size_t)n, sizeof *picture->line, by_time);
    for (int i = 0; i < n; i++) {
        struct line *line = &picture->line[i];
        line->pause = i > 0 && line->time - picture->line[i - 1].time > PAUSE;
        if (line->pause)
            y += BREAK;
        line->y = y;
        /* Those asleep since before the beginning share the first line. */
        if (line->time > story->begin || i + 1 == n || picture->line[i + 1].time > story->begin)
            y += LINE;
    }
    picture->lines = n;
    picture->height = y + 20 + 2 * LINE;
}

/* Where a moment is: the top of the first line that is not before it. */
static int y_of(const struct picture *picture, double time)
{
    for (int i = 0; i < picture->lines; i++)
        if (picture->line[i].time >= time)
            return picture->line[i].y;
    return picture->height - 20 - 2 * LINE;
}

static int lane_x(const struct picture *picture, int lane)
{
    return AXIS + CLIENTS * CLIENT + 12 + lane * picture->lane_width;
}

static int client_x(int client)
{
    return AXIS + client * CLIENT;
}

/* ------------------------------------------------------------------------------- the parts --- */

/* What a call means, for who has not met it. */
static void explain(const struct call *call, char *text, size_t room)
{
    char who = (char)('A' + (call->client >= 0 ? call->client : 0));
    if (call->kind == BUSY)
        snprintf(text, room, "asks again and again");
    else if (call->kind == OTHER)
        snprintf(text, room, "housekeeping");
    else if (call->kind == ECHO)
        snprintf(text, room, "%ld bytes from %c and back", call->bytes, who);
    else if (is(call, "accept") && call->again)
        snprintf(text, room, "nobody else is waiting");
    else if (is(call, "accept") && call->result >= 0)
        snprintf(text, room, "%c gets descriptor %ld", who, call->result);
    else if (is(call, "ioctl"))
        snprintf(text, room, call->counts ? "asks how much there is" : "housekeeping");
    else if (is(call, "ctl"))
        snprintf(text, room, "changes what is watched");
    else if (is(call, "wait") || is(call, "poll") || is(call, "select") || is(call, "kevent"))
        snprintf(text, room, call->result > 0 ? "%ld ready" : "nobody is ready", call->result);
    else if (is(call, "recv") && call->again)
        snprintf(text, room, "nothing more from %c", who);
    else if (is(call, "recv") && call->result == 0)
        snprintf(text, room, "%c has said its last", who);
    else if (is(call, "recv") && call->client >= 0)
        snprintf(text, room, "%ld bytes from %c", call->result, who);
    else if (is(call, "send") && call->client >= 0)
        snprintf(text, room, "%ld bytes to %c", call->result, who);
    else if (is(call, "close") && call->client >= 0)
        snprintf(text, room, "done with %c", who);
}

/* The call and its result; how long it slept; and, where there is room, what that means. */
static void write_label(const struct picture *picture, const struct call *call, int x, int y,
                        int width)
{
    bool narrow = picture->lane_width < 300;
    bool whole = call->start > picture->story->begin && call->end < picture->story->end;
    char text[TEXT_MAX + 48], meaning[TEXT_MAX] = "";
    size_t fits = (size_t)(width - 8) * 10 / 66;

    snprintf(text, sizeof text, "%s", call->text);
    if (call->kind == WAIT && (call->end > picture->story->end || strlen(text) > fits))
        snprintf(text, sizeof text, "%s", call->name);
    if (call->kind == OTHER && strlen(text) > fits)
        snprintf(text, sizeof text, "%d other calls", call->count);
    if (strlen(text) > fits)
        strcpy(text + fits - 1, "…");
    put(picture->svg, x + 5, y, "c", call->kind == BUSY ? "#7a1710" : "#222", text);
    if (narrow)
        return;
    if (call->end < picture->story->end)
        explain(call, meaning, sizeof meaning);
    if (call->kind == WAIT && whole)
        snprintf(text, sizeof text, "asleep for %.0f ms, then %s", (call->end - call->start) * 1000,
                 meaning);
    else if (call->kind == WAIT)
        snprintf(text, sizeof text, "asleep%s%s", *meaning ? ", then " : "", meaning);
    else
        snprintf(text, sizeof text, "%s", meaning);
    put(picture->svg, x + width - 6, y, "m", "#444", text);
}

static void draw_call(const struct picture *picture, const struct line *line)
{
    const struct call *call = line->call;
    int x = lane_x(picture, call->lane), width = picture->lane_width - 8, height = LINE - 2;
    const char *fill = call->client >= 0 ? FILL[call->client] : "#e6e6e6";
    const char *edge = call->client >= 0 ? INK[call->client] : "#8a8a8a";

    if (call->kind == WAIT || call->kind == BUSY) {
        int bottom = y_of(picture, call->end) - 2;
        height = bottom > line->y + height ? bottom - line->y : height;
        fill = call->kind == WAIT ? "url(#asleep)" : "#ffc9c9";
        edge = call->kind == BUSY ? "#b42318" : call->client >= 0 ? edge : "#9a9a9a";
    }
    fprintf(picture->svg,
            "<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" rx=\"3\" fill=\"%s\" "
            "stroke=\"%s\"/>\n",
            x, line->y, width, height, fill, edge);
    write_label(picture, call, x, line->y + 13, width);
}

static void draw_deed(const struct picture *picture, const struct line *line)
{
    const struct action *deed = line->deed;
    int x = client_x(deed->client) + 4;
    fprintf(picture->svg,
            "<rect x=\"%d\" y=\"%d\" width=\"%d\" height=\"%d\" rx=\"8\" fill=\"%s\" "
            "stroke=\"%s\"/>\n",
            x, line->y, CLIENT - 8, LINE - 2, FILL[deed->client], INK[deed->client]);
    put(picture->svg, x + 8, line->y + 13, "d", "#222", deed->text);
}

static void draw_time(const struct picture *picture, const struct line *line)
{
    char text[32];
    if (line->pause) {
        int y = line->y - BREAK / 2 - 1;
        fprintf(picture->svg, "<path d=\"M%d %dH%d\" stroke=\"#bbb\" stroke-dasharray=\"2 5\"/>\n",
                AXIS - 8, y, picture->width - 10);
        put(picture->svg, 10, y + 4, "p", "#777", "pause");
    }
    snprintf(text, sizeof text, "%.1f", (line->time - picture->story->begin) * 1000);
    fprintf(picture->svg, "<text x=\"%d\" y=\"%d\" class=\"t\" fill=\"#777\">%s</text>\n",
            AXIS - 12, line->y + 13, text);
}

static void arrow(const struct picture *picture, int client, int y_client, int lane, int y_server,
                  bool to_server)
{
    int left = client_x(client) + CLIENT - 4, right = lane_x(picture, lane);
    fprintf(picture->svg,
            "<path d=\"M%d %dL%d %d\" stroke=\"%s\" fill=\"none\" opacity=\".6\" "
            "marker-end=\"url(#%c)\"/>\n",
            to_server ? left : right, to_server ? y_client : y_server, to_server ? right : left,
            to_server ? y_server : y_client, INK[client], 'A' + client);
}

static bool takes(const struct call *call, const char *deed)
{
    if (!strncmp(deed, "connects", 8))
        return call->port && call->result >= 0;
    if (!strncmp(call->name, "recv", 4) || !strncmp(call->name, "read", 4) || call->kind == ECHO)
        return strncmp(deed, "says", 4) ? call->result == 0 && call->kind != ECHO
                                        : call->result > 0;
    return false;
}

/* From what a client does to the call that takes it. */
static void draw_arrow_there(const struct picture *picture, const struct line *line)
{
    const struct action *deed = line->deed;
    for (int i = 0; i < picture->lines; i++) {
        const struct call *call = picture->line[i].call;
        if (!call || call->client != deed->client || call->unfinished || call->again ||
            call->end < deed->time || !takes(call, deed->text))
            continue;
        int y = picture->line[i].y, end = y_of(picture, call->end);
        if (call->kind == WAIT && end > y + LINE)
            y = end - LINE;
        arrow(picture, deed->client, line->y + LINE / 2, call->lane, y + LINE / 2, true);
        return;
    }
}

/* From the call that sends to the client who hears it: the last one before. */
static void draw_arrow_back(const struct picture *picture, const struct line *line)
{
    const struct action *deed = line->deed;
    bool end = strstr(deed->text, "the end") != NULL;
    const struct line *last = NULL;
    for (int i = 0; i < picture->lines && picture->line[i].time < deed->time; i++) {
        const struct call *call = picture->line[i].call;
        if (!call || call->client != deed->client)
            continue;
        bool sends = call->kind == ECHO || !strncmp(call->name, "send", 4) ||
                     !strncmp(call->name, "write", 5);
        bool ends = !strncmp(call->name, "close", 5) || !strncmp(call->name, "shut", 4);
        if (end ? ends : sends)
            last = &picture->line[i];
    }
    if (last)
        arrow(picture, deed->client, line->y + LINE / 2, last->call->lane, last->y + LINE / 2,
              false);
}

/* ----------------------------------------------------------------------------- the picture --- */

static void draw_frame(const struct picture *picture, const char *title)
{
    const struct story *story = picture->story;
    FILE *svg = picture->svg;
    fprintf(svg,
            "<svg xmlns=\"http://www.w3.org/2000/svg\" viewBox=\"0 0 %d %d\" width=\"%d\" "
            "height=\"%d\">\n<title>%s</title>\n",
            picture->width, picture->height, picture->width, picture->height, title);
    fputs("<style>text{font:12px sans-serif}.c,.t{font:11px monospace}.t{text-anchor:end}"
          ".h{font:bold 13px sans-serif}.p{font:italic 11px sans-serif}"
          ".d{font:11.5px sans-serif}.m{font:italic 11.5px "
          "sans-serif;text-anchor:end}</style>\n<defs>\n"
          "<pattern id=\"asleep\" width=\"7\" height=\"7\" patternUnits=\"userSpaceOnUse\" "
          "patternTransform=\"rotate(45)\"><rect width=\"7\" height=\"7\" fill=\"#fafafa\"/>"
          "<rect width=\"2\" height=\"7\" fill=\"#e4e4e4\"/></pattern>\n",
          svg);
    for (int i = 0; i < CLIENTS; i++)
        fprintf(svg,
                "<marker id=\"%c\" markerWidth=\"8\" markerHeight=\"8\" refX=\"7\" refY=\"4\" "
                "orient=\"auto\"><path d=\"M1 1L7 4L1 7z\" fill=\"%s\"/></marker>\n",
                'A' + i, INK[i]);
    fprintf(svg,
            "</defs>\n<rect x=\".5\" y=\".5\" width=\"%d\" height=\"%d\" rx=\"8\" fill=\"#fff\" "
            "stroke=\"#ccc\"/>\n",
            picture->width - 1, picture->height - 1);
    put(svg, 14, 24, "h", "#111", title);
    put(svg, 14, 68, "p", "#777", "ms");
    for (int i = 0; i < CLIENTS; i++) {
        char name[] = "client A";
        name[7] = (char)('A' + i);
        put(svg, client_x(i) + 12, 68, "h", INK[i], name);
        fprintf(svg, "<path d=\"M%d %dV%d\" stroke=\"%s\" opacity=\".35\"/>\n",
                client_x(i) + CLIENT / 2, TOP - 8, picture->height - 20 - LINE, INK[i]);
    }
    for (int i = 0; i < story->lanes; i++)
        put(svg, lane_x(picture, i) + 4, 68, "h", "#111", story->lane_name[i]);
}

static void draw_legend(const struct picture *picture)
{
    FILE *svg = picture->svg;
    int y = picture->height - 18;
    fprintf(svg,
            "<rect x=\"14\" y=\"%d\" width=\"22\" height=\"13\" rx=\"3\" fill=\"url(#asleep)\" "
            "stroke=\"#9a9a9a\"/>\n",
            y - 11);
    put(svg, 42, y, "d", "#444", "the thread is asleep in this call");
    fprintf(svg,
            "<rect x=\"232\" y=\"%d\" width=\"22\" height=\"13\" rx=\"3\" fill=\"#e6e6e6\" "
            "stroke=\"#8a8a8a\"/>\n",
            y - 11);
    put(svg, 260, y, "d", "#444", "a call; its colour is that of the client it is for");
    fprintf(svg,
            "<rect x=\"540\" y=\"%d\" width=\"22\" height=\"13\" rx=\"3\" fill=\"#ffc9c9\" "
            "stroke=\"#b42318\"/>\n",
            y - 11);
    put(svg, 568, y, "d", "#444", "calls in vain; the processor is busy");
}

void story_draw(const struct story *story, const char *title, FILE *svg)
{
    struct picture picture = {.story = story, .svg = svg};
    picture.lane_width = story->lanes == 1 ? 372 : story->lanes == 2 ? 230 : 142;
    picture.width = AXIS + CLIENTS * CLIENT + 16 + story->lanes * picture.lane_width;
    lay_out(&picture);
    draw_frame(&picture, title);
    put(svg, 14, 44, "d", "#555",
        "Time runs down, a line for each call and each thing a client does; pauses are shortened. "
        "After = is what the call returned.");
    for (int i = 0; i < picture.lines; i++) {
        if (picture.line[i].time > story->begin)
            draw_time(&picture, &picture.line[i]);
        if (picture.line[i].call)
            draw_call(&picture, &picture.line[i]);
        else
            draw_deed(&picture, &picture.line[i]);
    }
    for (int i = 0; i < picture.lines; i++)
        if (picture.line[i].deed) {
            if (!strncmp(picture.line[i].deed->text, "hears", 5))
                draw_arrow_back(&picture, &picture.line[i]);
            else
                draw_arrow_there(&picture, &picture.line[i]);
        }
    draw_legend(&picture);
    fputs("</svg>\n", svg);
    free(picture.line);
}
