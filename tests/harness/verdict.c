#include "verdict.h"

#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

const char *const verdict_names[] = {"pass", "FAIL", "skipped", "by design", "none"};
enum { VERDICTS = sizeof verdict_names / sizeof *verdict_names };

static int reason_pipe = -1; /* in a child: where the reason goes */

/* The reader of a table wants the reason alone; the line that failed is in the log. */
_Noreturn void end_test(enum verdict verdict, const char *file, int line, const char *condition,
                        const char *format, ...)
{
    char reason[sizeof(((struct trial *)0)->reason)];
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(reason, sizeof reason, format, arguments);
    va_end(arguments);
    const char *said = reason[1] ? reason + 1 : condition;
    (void)!write(reason_pipe, said, strlen(said));
    if (verdict == VERDICT_FAIL)
        fprintf(stderr, "%s:%d: %s\n", file, line, said);
    exit((int)verdict);
}

void trial_start(struct trial *trial, void (*run)(const void *), const void *argument,
                 unsigned seconds)
{
    char name[] = "/tmp/trial-XXXXXX";
    int ends[2];
    *trial = (struct trial){.log = mkstemp(name)};
    unlink(name);
    if (trial->log < 0 || pipe(ends) < 0) {
        perror("no trial possible");
        exit(1);
    }
    fflush(NULL);
    trial->pid = fork();
    if (trial->pid == 0) {
        alarm(seconds);
        signal(SIGCHLD, SIG_DFL);
        dup2(trial->log, STDERR_FILENO);
        close(trial->log);
        close(ends[0]);
        reason_pipe = ends[1];
        run(argument);
        exit(VERDICT_PASS);
    }
    close(ends[1]);
    trial->reason_pipe = ends[0];
}

void trial_ended(struct trial *trial, int status, unsigned seconds)
{
    ssize_t n = read(trial->reason_pipe, trial->reason, sizeof trial->reason - 1);
    trial->reason[n > 0 ? n : 0] = '\0';
    close(trial->reason_pipe);
    trial->pid = 0;
    bool known = WIFEXITED(status) && WEXITSTATUS(status) < VERDICTS; /* not a sanitizer's, say */
    trial->verdict = known ? (enum verdict)WEXITSTATUS(status) : VERDICT_FAIL;
    if (WIFSIGNALED(status) && WTERMSIG(status) == SIGALRM)
        snprintf(trial->reason, sizeof trial->reason, "not over after %u s", seconds);
    else if (WIFSIGNALED(status))
        snprintf(trial->reason, sizeof trial->reason, "the test died of signal %d",
                 WTERMSIG(status));
}

enum verdict trial_run(struct trial *trial, void (*run)(const void *), const void *argument,
                       unsigned seconds)
{
    int status = 0;
    trial_start(trial, run, argument, seconds);
    waitpid(trial->pid, &status, 0);
    trial_ended(trial, status, seconds);
    return trial->verdict;
}

void trial_show_log(struct trial *trial, const char *mark)
{
    char line[512];
    FILE *log = fdopen(trial->log, "r");
    if (!log)
        return;
    rewind(log);
    while (fgets(line, sizeof line, log))
        printf("%s%s", mark, line);
    fclose(log);
}
