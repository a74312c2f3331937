/* What strace and the conversation say, as one story. */
#ifndef TIMELINE_H
#define TIMELINE_H

#include <stdbool.h>
#include <stdio.h>

enum { LANES_MAX = 16, CLIENTS = 3, NAME_MAX_ = 28, TEXT_MAX = 96 };

/* What a call, or a run of calls, is drawn as. */
enum kind {
    WORK,  /* done at once */
    WAIT,  /* the thread was asleep in it */
    BUSY,  /* a run of calls that were told EAGAIN */
    OTHER, /* a run of housekeeping: starting a thread, memory */
    ECHO,  /* a run of recv, send, recv, send for one client */
};

struct call {
    double start, end; /* seconds */
    int lane;          /* which thread */
    int client;        /* whom it serves: 0 is A; -1 nobody in particular */
    int fd;            /* its first argument, -1 if that is no number */
    int port;          /* of an accepted client; 0 */
    int count;         /* calls in the run */
    long result, bytes;
    bool again; /* -1 EAGAIN */
    bool unfinished;
    bool counts; /* an ioctl() that asks how much can be read */
    enum kind kind;
    char name[NAME_MAX_];
    char text[TEXT_MAX]; /* the label */
};

struct action {
    double time;
    int client, port;
    char text[TEXT_MAX];
};

struct story {
    struct call *call; /* ordered by start */
    int calls;
    struct action *action;
    int actions;
    int lanes;
    char lane_name[LANES_MAX][32];
    double begin, end;
};

/* How often each call was made, how often it was told EAGAIN, and how long it slept. */
struct tally {
    char name[NAME_MAX_];
    long calls, again, slept;
    double asleep;
};

/* Reads the conversation, and then a thread's file (strace -ff -ttt -T) as the next lane, unless
 * the thread had ended before. They end the program if they cannot. */
void story_read_actions(struct story *story, const char *path);
void story_read_thread(struct story *story, const char *path);

/* Puts the calls in order, leaves out what was before and after the conversation, and finds out
 * whom each serves. Then counts them (returns how many kinds), and only then shortens: runs of the
 * same become one. */
void story_arrange(struct story *story);
int story_tally(const struct story *story, struct tally *tally, int most);
void story_shorten(struct story *story);

/* Writes the picture. */
void story_draw(const struct story *story, const char *title, FILE *svg);

#endif
