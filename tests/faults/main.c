/* Runs the table of faults against one server, named by the environment as for the conformance
 * suite (../harness/harness.h), and says in TAP (testanything.org) or as a table what came of
 * it. FAULTS_PRELOAD names the library of preload.c. */
#define _GNU_SOURCE
#include <errno.h>
#include <fnmatch.h>
#include <ftw.h>
#include <getopt.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

#include "calls.h"
#include "fault.h"

enum { JOBS_MAX = 16, FAULTS_MAX = 128, SECONDS = 60 };

static const char *only = "*";
static int jobs = 4;
static bool as_table, broken; /* broken: the server has a defect, and each check must find it */
static unsigned seconds = SECONDS;

static struct trial trials[FAULTS_MAX];
static bool shown[FAULTS_MAX], over[FAULTS_MAX];

static const struct design *by_design(const struct fault *fault)
{
    for (const struct design *d = fault->design; d->trait; d++)
        if (server_has(d->trait))
            return d;
    return NULL;
}

static void run_fault(const void *argument)
{
    const struct fault *fault = argument;
    const struct design *design = by_design(fault);
    harness_begin();
    if (fault->trait && !server_has(fault->trait))
        verdict(VERDICT_NONE, "it has no %s", fault->trait);
    if (fault->calls && !strace_path)
        skip("no strace, or it may not trace");
    if (fault->calls && !makes_calls(fault->calls))
        verdict(VERDICT_NONE, "it never makes this call");
    if (!design)
        fault->check(fault);
    else
        design->check(fault);
    if (design)
        verdict(VERDICT_DESIGN, "%s", design->why);
}

/* ---- the report ---- */

static const char *before_reason(enum verdict verdict)
{
    if (verdict == VERDICT_FAIL)
        return "\n#";
    return verdict == VERDICT_DESIGN ? " # by design:" : "";
}

static void show(int i)
{
    static int number;
    struct trial *t = &trials[i];
    if (as_table) {
        printf("%s\t%s\t%s\n", faults[i].name, verdict_names[t->verdict], t->reason);
    } else if (t->verdict == VERDICT_NONE) {
        printf("# %s: %s\n", faults[i].name, t->reason);
    } else {
        printf("%s %d - %s", t->verdict == VERDICT_FAIL ? "not ok" : "ok", ++number,
               faults[i].name);
        if (t->verdict == VERDICT_SKIP)
            printf(" # SKIP");
        if (*t->reason)
            printf("%s %s", before_reason(t->verdict), t->reason);
        printf("\n");
        if (t->verdict == VERDICT_FAIL)
            trial_show_log(t, "#   ");
    }
    fflush(stdout);
}

/* Shows what is over, in the table's order. */
static void show_finished(int count)
{
    for (int i = 0; i < count && over[i]; i++) {
        if (!shown[i] && fnmatch(only, faults[i].name, 0) == 0)
            show(i);
        shown[i] = true;
    }
}

/* A check that fails has done its work. */
static void reverse_verdict(struct trial *t)
{
    char reason[sizeof t->reason];
    bool caught = t->verdict == VERDICT_FAIL;
    snprintf(reason, sizeof reason, caught ? "# caught: %.200s" : "the defect was not found %.200s",
             t->reason);
    t->verdict = caught ? VERDICT_PASS : VERDICT_FAIL;
    memcpy(t->reason, reason, sizeof reason);
}

static void wait_for_one(void)
{
    int status;
    pid_t pid = wait(&status);
    for (int i = 0; i < FAULTS_MAX; i++)
        if (trials[i].pid == pid && pid > 0) {
            trial_ended(&trials[i], status, seconds);
            if (broken && trials[i].verdict != VERDICT_SKIP)
                reverse_verdict(&trials[i]);
            over[i] = true;
        }
}

static int run_all(void)
{
    int running = 0, failed = 0, count = 0;
    for (; faults[count].name; count++) {
        if (fnmatch(only, faults[count].name, 0) != 0) {
            over[count] = true;
            continue;
        }
        if (running == jobs) {
            wait_for_one();
            running--;
        }
        trial_start(&trials[count], run_fault, &faults[count], seconds);
        running++;
        show_finished(count);
    }
    for (; running > 0; running--) {
        wait_for_one();
        show_finished(count);
    }
    for (int i = 0; i < count; i++)
        failed += trials[i].verdict == VERDICT_FAIL;
    return failed;
}

/* ---- the command line ---- */

static int remove_one(const char *path, const struct stat *status, int type, struct FTW *at)
{
    (void)status, (void)type, (void)at;
    return remove(path);
}

static void usage(void)
{
    puts("Usage: faults [OPTION]...\n"
         "Injects each fault into a server of its own, started by the command in ECHO_SERVER.\n\n"
         "  --only PATTERN  only faults whose names match, as in 'accept*' ($FAULTS_ONLY, or all)\n"
         "  --jobs N        N faults at a time (4)\n"
         "  --broken        the server has a defect: a fault that does not find it fails\n"
         "  --table         print lines of name, verdict and reason, separated by tabs\n"
         "  --list          print the names, and run nothing");
}

static void read_options(int argc, char **argv)
{
    static const struct option options[] = {
        {"only", 1, NULL, 'o'},
        {"jobs", 1, NULL, 'j'},
        {"table", 0, NULL, 't'},
        {"list", 0, NULL, 'l'},
        {"broken", 0, NULL, 'b'},
        {"help", 0, NULL, 'h'},
        {0},
    };
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (option == 'o')
            only = optarg;
        else if (option == 'j')
            jobs = atoi(optarg);
        else if (option == 't')
            as_table = true;
        else if (option == 'b')
            broken = true;
        else if (option == 'h' || option == 'l') {
            for (int i = 0; option == 'l' && faults[i].name; i++)
                puts(faults[i].name);
            if (option == 'h')
                usage();
            exit(0);
        } else {
            exit(2);
        }
    }
    jobs = jobs < 1 ? 1 : jobs > JOBS_MAX ? JOBS_MAX : jobs;
}

static void set_up(void)
{
    static char directory[] = "/tmp/faults-XXXXXX";
    server_command = getenv("ECHO_SERVER");
    if (!server_command || !mkdtemp(directory)) {
        fprintf(stderr, "faults: %s\n", server_command ? strerror(errno) : "set ECHO_SERVER");
        exit(2);
    }
    server_command = strdup(server_command);
    work_directory = directory;
    preload_library = getenv("FAULTS_PRELOAD");
    /* The leak check does not work under strace, and the sanitizer wants to be loaded first. */
    setenv("ASAN_OPTIONS", "detect_leaks=0:verify_asan_link_order=0", 1);
    seconds = server_has("sanitized") ? 3 * SECONDS : SECONDS;
}

int main(int argc, char **argv)
{
    if (argc > 4 && strcmp(argv[1], "--as") == 0)
        run_as(argv + 2);
    if (getenv("FAULTS_ONLY"))
        only = getenv("FAULTS_ONLY");
    read_options(argc, argv);
    set_up();
    bool works = learn_calls();
    int failed = works ? run_all() : 1;
    nftw(work_directory, remove_one, 4, FTW_DEPTH | FTW_PHYS);
    int count = !works;
    for (int i = 0; works && faults[i].name; i++)
        count += trials[i].verdict != VERDICT_NONE && fnmatch(only, faults[i].name, 0) == 0;
    if (!as_table)
        printf("1..%d\n", count);
    return failed > 0;
}
