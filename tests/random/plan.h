/* What the random client does. A plan is a list of steps, made from a seed before the first step
 * runs, and it does not depend on what happens. So a plan that fails fails again, and can be cut
 * down. */
#ifndef PLAN_H
#define PLAN_H

#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>

/* A step that does not make sense now does nothing: one for a closed connection, say, or one that
 * opens an open connection. */
enum step_kind {
    /* for one connection */
    STEP_CONNECT,    /* argument 1: with small kernel buffers */
    STEP_SEND,       /* so many bytes, or as many as send() takes without waiting */
    STEP_FLOOD,      /* megabytes, until the buffers of both ends are full: then the server has to
                        keep bytes and must not read more */
    STEP_URGENT,     /* one byte, with MSG_OOB */
    STEP_READ,       /* at most so many bytes, without waiting */
    STEP_SETTLE,     /* wait until everything has come back */
    STEP_HALF_CLOSE, /* send no more; EOF must come at the next settling */
    STEP_SHOUT,      /* send so much and close at once: the echo comes too late */
    STEP_CLOSE,      /* perhaps with bytes unread: then the kernel sends RST */
    STEP_RESET,      /* leave with RST */
    /* for all */
    STEP_FREEZE, /* stop the server: then events come in batches */
    STEP_THAW,   /* let it go on */
    STEP_NAP,    /* do nothing for so many milliseconds */
    STEP_LOOK,   /* does the server keep within its bounds? */
    STEP_KINDS
};

struct step {
    uint8_t kind;
    uint8_t connection;
    uint32_t argument;
};

struct plan {
    uint64_t seed; /* 0: the plan was cut down, or read from a file */
    int count;
    struct step *step; /* the plan's own */
};

enum { CONNECTIONS = 32 };

bool step_is_for_all(const struct step *step);

struct plan plan_make(uint64_t seed, int steps);
struct plan plan_without(const struct plan *plan, int from, int count);
struct plan plan_without_connections(const struct plan *plan, uint32_t bits); /* one for each */
struct plan plan_without_idle_steps(const struct plan *plan); /* steps that do nothing */
void plan_free(struct plan *plan);
void plan_print(const struct plan *plan, FILE *to);
struct plan plan_read(FILE *from); /* what plan_print() wrote; anything else ends the process */

#endif
