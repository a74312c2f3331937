/* A random client against one server, which the environment names as for the conformance suite
 * (../harness/harness.h). A plan that fails is cut down as long as it still fails. */
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../harness/harness.h"
#include "../harness/verdict.h"
#include "episode.h"

enum { STEPS = 500, EPISODE_SECONDS = 120 };

static int seconds = 10, shrink_seconds = 30, steps = STEPS;
static uint64_t seed;
static const char *replay;
static bool broken; /* the server is broken, and the client must find that out */

static bool fails(const struct plan *plan, struct trial *trial)
{
    *episode_step = 0;
    return trial_run(trial, episode_run, plan, EPISODE_SECONDS) == VERDICT_FAIL;
}

/* Replaces *plan by a shorter one if that fails, too. Frees the other of the two. */
static bool keeps_failing(struct plan *plan, struct plan shorter)
{
    struct trial trial;
    bool failed = shorter.count < plan->count && fails(&shorter, &trial);
    if (shorter.count < plan->count)
        close(trial.log);
    plan_free(failed ? plan : &shorter);
    if (failed)
        *plan = shorter;
    return failed;
}

/* Leaves out whole connections, then smaller and smaller pieces, from the back, until every step
 * that is left matters. */
static void shrink(struct plan *plan, int failed_at)
{
    int64_t end = now_ms() + (int64_t)shrink_seconds * 1000;
    uint32_t last =
        1u << plan->step[failed_at < plan->count ? failed_at : plan->count - 1].connection;
    episode_deadline_ms = 1000; /* a failing trial may take this long */
    if (failed_at < plan->count)
        keeps_failing(plan, plan_without(plan, failed_at + 1, plan->count - failed_at - 1));
    keeps_failing(plan, plan_without_idle_steps(plan));
    keeps_failing(plan, plan_without_connections(plan, ~last));
    for (int size = CONNECTIONS / 2; size > 0 && now_ms() < end; size /= 2)
        for (int from = 0; from < CONNECTIONS && now_ms() < end; from += size)
            keeps_failing(plan, plan_without_connections(plan, ((1u << size) - 1) << from));
    for (int size = plan->count / 2; size > 0 && now_ms() < end;) {
        bool any = false;
        for (int from = plan->count - size; from >= 0 && now_ms() < end; from -= size)
            any |= keeps_failing(plan, plan_without(plan, from, size));
        if (size > 1 || !any)
            size /= 2;
        if (size > plan->count / 2 && plan->count > 1)
            size = plan->count / 2;
    }
}

static void report(struct plan *plan, struct trial *trial)
{
    uint64_t from = plan->seed;
    if (broken) {
        printf("ok 1 - %s: caught, seed %llu, step %d: %s\n", getenv("ECHO_SERVER"),
               (unsigned long long)from, *episode_step, trial->reason);
        return;
    }
    printf("not ok 1 - %s\n", getenv("ECHO_SERVER"));
    if (from)
        printf("# seed %llu, step %d of %d: %s\n", (unsigned long long)from, *episode_step,
               plan->count, trial->reason);
    else
        printf("# step %d of %d: %s\n", *episode_step, plan->count, trial->reason);
    trial_show_log(trial, "#   ");
    if (!from)
        return;
    shrink(plan, *episode_step);
    printf("# these %d steps are enough; put them into a file, and give it to --replay:\n",
           plan->count);
    plan_print(plan, stdout);
}

static bool replay_file(void)
{
    struct trial trial;
    FILE *file = strcmp(replay, "-") == 0 ? stdin : fopen(replay, "r");
    if (!file) {
        perror(replay);
        exit(2);
    }
    struct plan plan = plan_read(file);
    bool failed = fails(&plan, &trial);
    if (failed)
        report(&plan, &trial);
    else
        printf("ok 1 - %s # %s, %d steps\n", getenv("ECHO_SERVER"), verdict_names[trial.verdict],
               plan.count);
    plan_free(&plan);
    if (file != stdin)
        fclose(file);
    return !failed;
}

static bool explore(void)
{
    int64_t start = now_ms(), end = start + (int64_t)seconds * 1000;
    long episodes = 0;
    printf("# seed %llu\n", (unsigned long long)seed);
    for (uint64_t s = seed; episodes == 0 || now_ms() < end; s++, episodes++) {
        struct trial trial;
        struct plan plan = plan_make(s, steps);
        bool failed = fails(&plan, &trial), skipped = trial.verdict == VERDICT_SKIP;
        if (failed)
            report(&plan, &trial);
        else
            close(trial.log);
        plan_free(&plan);
        if (skipped) { /* the next episode would be skipped, too */
            printf("ok 1 - %s # SKIP %s\n1..1\n", getenv("ECHO_SERVER"), trial.reason);
            exit(0);
        }
        if (failed)
            return false;
    }
    printf("%s 1 - %s: %ld episodes of %d steps in %d s, seeds from %llu\n",
           broken ? "not ok" : "ok", getenv("ECHO_SERVER"), episodes, steps,
           (int)((now_ms() - start) / 1000), (unsigned long long)seed);
    return true;
}

static _Noreturn void usage(int status)
{
    fputs("Usage: random-client [OPTION]...\n"
          "A random client against the echo server that ECHO_SERVER names.\n\n"
          "  --seconds N    run for this long (10)\n"
          "  --seed N       the first episode's seed, then N + 1 and so on (any)\n"
          "  --steps N      the steps of an episode (500)\n"
          "  --shrink N     cut a failing episode down for this many seconds (30)\n"
          "  --broken       the server is broken: not to find that out is a failure\n"
          "  --replay FILE  run the steps in this file instead (-: standard input)\n",
          status ? stderr : stdout);
    exit(status);
}

static void read_options(int argc, char **argv)
{
    static const struct option options[] = {
        {"seconds", 1, NULL, 's'}, {"seed", 1, NULL, 'S'},
        {"steps", 1, NULL, 'n'},   {"shrink", 1, NULL, 'k'},
        {"replay", 1, NULL, 'r'},  {"broken", 0, NULL, 'b'},
        {"help", 0, NULL, 'h'},    {0},
    };
    seed = (uint64_t)time(NULL) * 1000003u % 1000000000u;
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (option == 's')
            seconds = atoi(optarg);
        else if (option == 'S')
            seed = strtoull(optarg, NULL, 10);
        else if (option == 'n')
            steps = atoi(optarg);
        else if (option == 'k')
            shrink_seconds = atoi(optarg);
        else if (option == 'b')
            broken = true;
        else if (option == 'r')
            replay = optarg;
        else
            usage(option == 'h' ? 0 : 2);
    }
    if (optind < argc || steps < 1 || !getenv("ECHO_SERVER"))
        usage(2);
    if (seed == 0)
        seed = 1; /* 0 stands for a plan without a seed */
}

int main(int argc, char **argv)
{
    setvbuf(stdout, NULL, _IOLBF, 0);
    read_options(argc, argv);
    episode_share_step();
    bool good = replay ? replay_file() : explore();
    puts("1..1");
    return good == broken;
}
