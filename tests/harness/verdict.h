/* How one check ends: each runs in a process of its own, which ends with a verdict and a reason. */
#ifndef VERDICT_H
#define VERDICT_H

#include <stddef.h>

enum verdict {
    VERDICT_PASS,
    VERDICT_FAIL,
    VERDICT_SKIP,   /* this machine lacks a right or a tool */
    VERDICT_DESIGN, /* passed, but differs from the other servers by design */
    VERDICT_NONE,   /* does not apply: the server never does that */
};

extern const char *const verdict_names[];

/* Ends this process. The reason begins with a blank, which is not part of it; if nothing follows,
 * the condition is the reason. */
_Noreturn void verdict(enum verdict verdict, const char *condition, const char *format, ...)
    __attribute__((format(printf, 3, 4)));

/* A check that runs in a child: its verdict, its reason, and, in log, what it and its server have
 * written to stderr. */
struct trial {
    int pid; /* 0: none is running */
    int reason_pipe;
    int log; /* a file without a name */
    enum verdict verdict;
    char reason[256];
};

/* Starts run(argument) in a child, which is killed after that many seconds. */
void trial_start(struct trial *trial, void (*run)(const void *), const void *argument,
                 unsigned seconds);
/* To be called with what waitpid() said about trial->pid. */
void trial_ended(struct trial *trial, int status, unsigned seconds);
/* Both of them, and the waiting. */
enum verdict trial_run(struct trial *trial, void (*run)(const void *), const void *argument,
                       unsigned seconds);
/* Copies its log to stdout, each line behind a mark; then forgets it. */
void trial_show_log(struct trial *trial, const char *mark);

#endif
