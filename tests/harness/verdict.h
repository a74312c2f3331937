/* Trials: tests of a program that is not made of Criterion tests. Each runs in a process of its
 * own, which ends with a verdict and a reason. */
#ifndef VERDICT_H
#define VERDICT_H

#include "fail.h"

extern const char *const verdict_names[];

/* Ends a trial that has neither passed nor failed, with the reason for it. */
#define verdict(verdict, ...) end_test(verdict, "", 0, "", " " __VA_ARGS__)

struct trial {
    int pid; /* 0: none is running */
    int reason_pipe;
    int log; /* what it and its server have written to stderr: a file without a name */
    enum verdict verdict;
    char reason[256];
};

/* Starts run(argument) in a child, which is killed after that many seconds. */
void trial_start(struct trial *trial, void (*run)(const void *), const void *argument,
                 unsigned seconds);
/* To be called with what waitpid() said about trial->pid. */
void trial_ended(struct trial *trial, int status, unsigned seconds);
/* Calls both, and waits in between. */
enum verdict trial_run(struct trial *trial, void (*run)(const void *), const void *argument,
                       unsigned seconds);
/* Copies its log to stdout, each line behind a mark; then forgets it. */
void trial_show_log(struct trial *trial, const char *mark);

#endif
