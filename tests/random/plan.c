#include "plan.h"

#include <stdlib.h>
#include <string.h>

static const char *const names[STEP_KINDS] = {
    "connect", "send",  "flood", "urgent", "read", "settle", "half-close",
    "shout",   "close", "reset", "freeze", "thaw", "nap",    "look",
};

/* splitmix64: every seed is a good one. */
static uint64_t next(uint64_t *state)
{
    uint64_t x = *state += 0x9E3779B97F4A7C15u;
    x = (x ^ x >> 30) * 0xBF58476D1CE4E5B9u;
    x = (x ^ x >> 27) * 0x94D049BB133111EBu;
    return x ^ x >> 31;
}

bool step_is_for_all(const struct step *step)
{
    return step->kind == STEP_FREEZE || step->kind == STEP_THAW || step->kind == STEP_NAP ||
           step->kind == STEP_LOOK;
}

static uint32_t below(uint64_t *state, uint32_t bound)
{
    return (uint32_t)(next(state) % bound);
}

/* Small, around the size of a buffer, or large, each as often. */
static uint32_t random_size(uint64_t *state)
{
    switch (below(state, 6)) {
    case 0:
        return 1 + below(state, 16);
    case 1:
        return 1 + below(state, 2000);
    case 2:
        return (1u << (9 + below(state, 9))) - 2 + below(state, 5);
    case 3:
        return 1 + below(state, 70000);
    case 4:
        return 1 + below(state, 300000);
    default:
        return 1 + below(state, 3000000);
    }
}

static struct step random_step(uint64_t *state)
{
    /* How many of 100 steps, in the order of the kinds. */
    static const uint32_t weight[STEP_KINDS] = {18, 28, 3, 2, 20, 11, 4, 4, 2, 2, 2, 2, 1, 1};
    uint32_t pick = below(state, 100);
    struct step step = {.kind = STEP_CONNECT, .connection = (uint8_t)below(state, CONNECTIONS)};
    while (pick >= weight[step.kind])
        pick -= weight[step.kind++];
    if (step.kind == STEP_CONNECT)
        step.argument = below(state, 4) == 0;
    if (step.kind == STEP_SEND || step.kind == STEP_READ || step.kind == STEP_SHOUT)
        step.argument = random_size(state);
    if (step.kind == STEP_NAP)
        step.argument = 1 + below(state, 20);
    return step;
}

static struct plan empty(int room)
{
    struct plan plan = {.step = calloc((size_t)room + 1, sizeof *plan.step)};
    if (!plan.step)
        abort();
    return plan;
}

struct plan plan_make(uint64_t seed, int steps)
{
    uint64_t state = seed;
    struct plan plan = empty(steps);
    plan.seed = seed;
    while (plan.count < steps)
        plan.step[plan.count++] = random_step(&state);
    return plan;
}

struct plan plan_without(const struct plan *plan, int from, int count)
{
    struct plan rest = empty(plan->count - count);
    rest.count = plan->count - count;
    memcpy(rest.step, plan->step, (size_t)from * sizeof *rest.step);
    memcpy(rest.step + from, plan->step + from + count,
           (size_t)(rest.count - from) * sizeof *rest.step);
    return rest;
}

struct plan plan_without_connections(const struct plan *plan, uint32_t bits)
{
    struct plan rest = empty(plan->count);
    for (int i = 0; i < plan->count; i++)
        if (!(bits >> plan->step[i].connection & 1) || step_is_for_all(&plan->step[i]))
            rest.step[rest.count++] = plan->step[i];
    return rest;
}

/* Keeps track of what is open, half-closed and frozen, as episode.c does. */
static bool does_something(const struct step *s, bool *open, bool *shut, bool *frozen)
{
    bool was_open = *open, was_shut = *shut, was_frozen = *frozen;
    if (s->kind == STEP_FREEZE || s->kind == STEP_THAW) {
        *frozen = s->kind == STEP_FREEZE;
        return *frozen != was_frozen;
    }
    if (step_is_for_all(s))
        return true;
    if (s->kind == STEP_CONNECT) {
        *shut = was_open && was_shut;
        *open = true;
        return !was_open;
    }
    if (!was_open)
        return false;
    *frozen = was_frozen && s->kind != STEP_SETTLE;
    *open = !(s->kind == STEP_CLOSE || s->kind == STEP_RESET || s->kind == STEP_SHOUT ||
              (s->kind == STEP_SETTLE && was_shut));
    *shut = was_shut || s->kind == STEP_HALF_CLOSE;
    return !was_shut || (s->kind != STEP_SEND && s->kind != STEP_FLOOD && s->kind != STEP_URGENT &&
                         s->kind != STEP_HALF_CLOSE);
}

struct plan plan_without_idle_steps(const struct plan *plan)
{
    bool open[CONNECTIONS] = {0}, shut[CONNECTIONS] = {0}, frozen = false;
    struct plan rest = empty(plan->count);
    for (int i = 0; i < plan->count; i++) {
        const struct step *s = &plan->step[i];
        if (does_something(s, &open[s->connection], &shut[s->connection], &frozen))
            rest.step[rest.count++] = *s;
    }
    return rest;
}

void plan_free(struct plan *plan)
{
    free(plan->step);
    *plan = (struct plan){0};
}

void plan_print(const struct plan *plan, FILE *to)
{
    for (int i = 0; i < plan->count; i++) {
        const struct step *s = &plan->step[i];
        fprintf(to, "%s %u %u\n", names[s->kind], (unsigned)s->connection, (unsigned)s->argument);
    }
}

static struct step parse(const char *line)
{
    char name[32];
    unsigned connection, argument;
    struct step step = {0};
    if (sscanf(line, "%31s %u %u", name, &connection, &argument) == 3 && connection < CONNECTIONS)
        for (; step.kind < STEP_KINDS; step.kind++)
            if (strcmp(name, names[step.kind]) == 0) {
                step.connection = (uint8_t)connection;
                step.argument = argument;
                return step;
            }
    fprintf(stderr, "not a step: %s", line);
    exit(2);
}

struct plan plan_read(FILE *from)
{
    char line[128];
    struct plan plan = {0};
    while (fgets(line, sizeof line, from)) {
        if (line[0] == '#' || line[0] == '\n')
            continue;
        struct step *step = realloc(plan.step, ((size_t)plan.count + 1) * sizeof *step);
        if (!step)
            abort();
        plan.step = step;
        plan.step[plan.count++] = parse(line);
    }
    return plan;
}
