#include "compare/rounds.h"

#include "compare/contender.h"
#include "numbers/random.h"
#include "record/summary.h"
#include "system/clock.h"
#include "system/interrupt.h"

#include <stdio.h>
#include <stdlib.h>

enum {
    MIN_ROUNDS = 3,    /* whatever the time says */
    MAX_ROUNDS = 60,   /* more do not make the ratios better by enough */
    LONGER = 3,        /* times its share, for a condition that is too noisy */
    STOPPING_MS = 300, /* kept back for ending a condition's servers */
    CONNECT_US = 60,   /* expected for making and ending one connection: only to share the time */
};

/* The rounds of one condition. */
struct rounds {
    struct run *run;
    int index; /* of the condition in the record */
    const struct condition *condition;
    struct condition_run *result;
    struct contender *contenders; /* one for each server of the record */
    int count;
    uint64_t until;   /* no new round after this */
    uint64_t longest; /* nor after this, if the condition is still too noisy */
};

/* The rate of an open-loop condition, the same for all servers. The capacity is found once, so that
 * the conditions of a run are per cents of the same. */
static void choose_rate(struct rounds *rounds)
{
    struct run *run = rounds->run;
    const struct condition *condition = rounds->condition;
    int reference = record_reference(run->record);
    if (condition->mode != LOAD_RATE)
        return;
    double rate = condition->rate;
    if (run->capacity <= 0 && reference >= 0 && !rounds->contenders[reference].excluded)
        run->capacity = contender_capacity(&rounds->contenders[reference], run->counted * 2);
    if (condition->rate <= 100)
        rate *= run->capacity / 100;
    rounds->result->rate = rate > 100 ? rate : 100;
}

static void show_progress(const struct rounds *rounds, int round, uint64_t started)
{
    const struct run *run = rounds->run;
    uint64_t now = clock_now();
    double left = run->deadline > now ? (double)(run->deadline - now) / 1e9 : 0;
    if (run->rounds > 0) {
        double each = round > 0 ? (double)(now - started) / 1e9 / round : 0;
        left = each * (run->rounds * (run->record->condition_count - rounds->index) - round);
    }
    char what[160];
    condition_describe(rounds->condition, what, sizeof what);
    if (run->progress)
        fprintf(stderr, "\r\033[K[%d/%d] %s: round %d, about %.0f s left", rounds->index + 1,
                run->record->condition_count, what, round + 1, left + run->later);
    else if (round == 0)
        fprintf(stderr, "[%d/%d] %s\n", rounds->index + 1, run->record->condition_count, what);
}

static bool time_for_another(const struct rounds *rounds, int round)
{
    if (interrupted)
        return false;
    if (rounds->run->rounds > 0)
        return round < rounds->run->rounds;
    if (round < MIN_ROUNDS)
        return true;
    if (round < MAX_ROUNDS && clock_now() < rounds->until)
        return true;
    rounds->result->rounds = round; /* noise_of() counts the rounds that have begun */
    return rounds->run->noise > 0 && round < LONGER * MAX_ROUNDS && clock_now() < rounds->longest &&
           noise_of(rounds->run->record, rounds->index) > rounds->run->noise;
}

static void take_turn(struct rounds *rounds, int server, int round)
{
    const struct run *run = rounds->run;
    struct turn turn = {run->warm_up, run->counted, rounds->result->rate};
    struct slice slice = {.condition = rounds->index, .server = server, .round = round};
    if (contender_turn(&rounds->contenders[server], &turn, &slice))
        record_add(run->record, &slice);
}

static void shuffle(int *order, int count, uint64_t *random)
{
    for (int i = count - 1; i > 0; i--) {
        int j = (int)(random_next(random) % (uint64_t)(i + 1));
        int swap = order[i];
        order[i] = order[j];
        order[j] = swap;
    }
}

/* Every server once in every round, in an order of its own each time. */
static void run_rounds(struct rounds *rounds)
{
    int order[64];
    uint64_t started = clock_now();
    int count = rounds->count < 64 ? rounds->count : 64;
    for (int i = 0; i < count; i++)
        order[i] = i;
    int round = 0;
    for (; time_for_another(rounds, round); round++) {
        if (record_reserve(rounds->run->record, count) != 0)
            break;
        show_progress(rounds, round, started);
        shuffle(order, count, &rounds->run->random);
        for (int i = 0; i < count && !interrupted; i++) {
            if (!rounds->contenders[order[i]].excluded)
                take_turn(rounds, order[i], round);
        }
    }
    rounds->result->rounds = round;
}

/* The rounds, and what else used the two cores meanwhile: their busy time is the kernel's count,
 * less what we know of ourselves and of the servers. */
static void measure(struct rounds *rounds)
{
    const struct machine *machine = rounds->run->machine;
    struct condition_run *result = rounds->result;
    uint64_t busy = machine_busy(machine);
    uint64_t own = clock_read(CLOCK_PROCESS_CPUTIME_ID);
    uint64_t start = clock_now();
    run_rounds(rounds);
    result->duration = (double)(clock_now() - start) / 1e9;
    double known = (double)(clock_read(CLOCK_PROCESS_CPUTIME_ID) - own);
    for (int i = 0; i < rounds->count; i++)
        known += (double)rounds->contenders[i].cpu;
    if (busy > 0 && result->duration > 0.2) {
        result->other = ((double)(machine_busy(machine) - busy) - known) / 1e9 / result->duration;
        if (result->other < 0)
            result->other = 0; /* counted in ticks: a little below nothing is nothing */
    }
}

static uint64_t expected_setup(const struct record *record, int condition)
{
    const struct condition *c = &record->conditions[condition];
    uint64_t connections = (uint64_t)(c->active + c->idle) * (uint64_t)record->server_count;
    return MILLISECONDS(STOPPING_MS) + connections * CONNECT_US * 1000;
}

/* How long a condition's rounds may take: what is left until the deadline, less the cost of making
 * and ending connections, in equal parts for this condition and those to come. */
static uint64_t share_of(const struct run *run, int condition)
{
    const struct record *record = run->record;
    uint64_t now = clock_now();
    uint64_t setup = 0;
    for (int i = condition; i < record->condition_count; i++)
        setup += expected_setup(record, i);
    if (now + setup >= run->deadline)
        return 0;
    return (run->deadline - now - setup) / (uint64_t)(record->condition_count - condition);
}

/* When connecting took longer than expected, the rounds lose that time. But they keep at least half
 * of their share, and then end later. */
static void set_ends(struct rounds *rounds, uint64_t began, uint64_t share)
{
    uint64_t setup = expected_setup(rounds->run->record, rounds->index) - MILLISECONDS(STOPPING_MS);
    uint64_t half = clock_now() + share / 2;
    rounds->until = began + setup + share;
    rounds->longest = clock_now() + LONGER * share;
    if (rounds->until < half)
        rounds->until = half;
}

/* Starts the servers and opens their connections. */
static void start(struct rounds *rounds)
{
    struct record *record = rounds->run->record;
    for (int i = 0; i < rounds->count; i++)
        rounds->contenders[i] = (struct contender){
            .server = &record->servers[i],
            .outcome = record_outcome(record, rounds->index, i),
            .condition = rounds->condition,
            .excluded = !record_takes_part(record, rounds->index, i),
        };
    for (int i = 0; i < rounds->count && !interrupted; i++) {
        if (!rounds->contenders[i].excluded)
            contender_start(&rounds->contenders[i], rounds->run->machine->server_core);
    }
    for (int i = 0; i < rounds->count && !interrupted; i++) {
        if (!rounds->contenders[i].excluded)
            contender_connect(&rounds->contenders[i]);
    }
}

void rounds_run(struct run *run, int condition)
{
    struct record *record = run->record;
    struct rounds rounds = {
        .run = run,
        .index = condition,
        .condition = &record->conditions[condition],
        .result = &record->runs[condition],
        .count = record->server_count,
        .contenders = calloc((size_t)record->server_count + 1, sizeof *rounds.contenders),
    };
    uint64_t began = clock_now(), share = share_of(run, condition);
    if (!rounds.contenders)
        return;
    start(&rounds);
    if (!interrupted)
        choose_rate(&rounds);
    set_ends(&rounds, began, share);
    if (!interrupted)
        measure(&rounds);
    if (clock_now() > rounds.until) /* the conditions to come do not lose what this one took */
        run->deadline += clock_now() - rounds.until;
    for (int i = 0; i < rounds.count; i++)
        contender_end(&rounds.contenders[i]);
    servers_stop(record->servers, rounds.count);
    free(rounds.contenders);
}
