/* What the random client does: a plan is a list of steps, made from a seed before it is carried
 * out, and it does not depend on what happens. So a plan that fails can be cut down, and fails
 * again. */
#ifndef PLAN_H
#define PLAN_H

#include <stdint.h>
#include <stdio.h>

/* Each step but the last four is for one connection, by number; where that is closed, or open
 * already, or has no more to send, the step does nothing. */
enum step_kind {
    STEP_CONNECT,    /* argument 1: with little room in its kernel buffers */
    STEP_SEND,       /* as much of so many bytes as goes without waiting */
    STEP_FLOOD,      /* megabytes, as long as it is taken: until both kernels are full, and so
                        the server has to keep bytes and must not read more */
    STEP_URGENT,     /* one byte, with MSG_OOB */
    STEP_READ,       /* at most so many bytes, without waiting */
    STEP_SETTLE,     /* wait until everything has come back */
    STEP_HALF_CLOSE, /* no more is sent; at the next settling, EOF must come */
    STEP_SHOUT,      /* send so much and close at once: the echo finds nobody */
    STEP_CLOSE,      /* perhaps with bytes unread: then the kernel sends RST */
    STEP_RESET,      /* leave with RST */
    STEP_FREEZE,     /* the server sleeps: then events come in batches */
    STEP_THAW,       /* and goes on */
    STEP_NAP,        /* nobody does anything for so many milliseconds */
    STEP_LOOK,       /* does the server keep within its bounds? */
    STEP_KINDS
};

struct step {
    uint8_t kind;
    uint8_t who;
    uint32_t argument;
};

struct plan {
    uint64_t seed; /* 0: it is not made from one as it stands */
    int count;
    struct step *step; /* the plan's own */
};

enum { CONNECTIONS = 32 };

struct plan plan_make(uint64_t seed, int steps);
struct plan plan_without(const struct plan *plan, int from, int count);
struct plan plan_without_connections(const struct plan *plan, uint32_t who); /* a bit for each */
struct plan plan_without_idle_steps(const struct plan *plan); /* those that do nothing */
void plan_free(struct plan *plan);
void plan_print(const struct plan *plan, FILE *to);
struct plan plan_read(FILE *from); /* what plan_print() wrote; ends the process if it is not that */

#endif
