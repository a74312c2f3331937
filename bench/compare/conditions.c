#include "compare/conditions.h"

#include "compare/scenarios.h"

#include <stddef.h>
#include <stdio.h>

enum {
    SPARE_DESCRIPTORS = 64,       /* for everything that is not a connection */
    CONNECTION_BYTES = 16 * 1024, /* kernel memory for both ends, generously */
    THREAD_BYTES = 48 * 1024,     /* and for a server with a thread for each */
};

/* *count becomes -1 and stays -1 when there are too many. */
static void add_condition(struct condition *conditions, int *count,
                          const struct condition *condition)
{
    if (*count < 0)
        return;
    for (int i = 0; i < *count; i++) {
        const struct condition *c = &conditions[i];
        if (c->active == condition->active && c->idle == condition->idle &&
            c->size == condition->size && c->mode == condition->mode && c->rate == condition->rate)
            return; /* two scenarios share it: measured once */
    }
    if (*count == CONDITION_MAX) {
        *count = -1;
        return;
    }
    conditions[*count] = *condition;
    conditions[*count].active_asked = condition->active;
    conditions[(*count)++].idle_asked = condition->idle;
}

/* Does a wanted scenario vary this list? `offset`: the list's place in struct scenario. */
static bool some_vary(const struct options *options, size_t offset)
{
    for (int i = 0; i < scenario_count; i++) {
        const struct list *own = (const void *)((const char *)&scenarios[i] + offset);
        if (scenario_wanted(&options->scenarios, i) && own->count > 1)
            return true;
    }
    return false;
}

/* A list of the command line goes to the wanted scenarios that vary just that; if none does, it
 * goes to all of them. */
static const struct list *chosen(const struct options *options, const struct scenario *scenario,
                                 size_t offset, const struct list *asked)
{
    const struct list *own = (const void *)((const char *)scenario + offset);
    bool applies = own->count > 1 || !some_vary(options, offset);
    return asked->count > 0 && applies ? asked : own;
}

static void add_scenario(struct condition *conditions, int *count, const struct scenario *scenario,
                         const struct options *options)
{
    const struct list *active =
        chosen(options, scenario, offsetof(struct scenario, connections), &options->connections);
    const struct list *idle =
        chosen(options, scenario, offsetof(struct scenario, idle), &options->idle);
    const struct list *size =
        chosen(options, scenario, offsetof(struct scenario, size), &options->size);
    const struct list *rate =
        chosen(options, scenario, offsetof(struct scenario, rate), &options->rate);
    const struct list none = {1, {0}};
    if (scenario->mode != LOAD_RATE)
        rate = &none;
    for (int z = 0; z < size->count; z++) {
        for (int i = 0; i < idle->count; i++) {
            for (int a = 0; a < active->count; a++) {
                for (int r = 0; r < rate->count; r++)
                    add_condition(conditions, count,
                                  &(struct condition){.mode = scenario->mode,
                                                      .active = active->values[a],
                                                      .idle = idle->values[i],
                                                      .size = size->values[z],
                                                      .rate = rate->values[r]});
            }
        }
    }
}

int conditions_wanted(const struct options *options, struct condition *conditions)
{
    int count = 0;
    for (int i = 0; i < scenario_count; i++) {
        if (scenario_wanted(&options->scenarios, i) && scenarios[i].connections.count > 0)
            add_scenario(conditions, &count, &scenarios[i], options);
    }
    return count;
}

void condition_fit(struct condition *condition, const struct machine *machine, int servers)
{
    long usable = machine->descriptors - SPARE_DESCRIPTORS;
    const char *why = "descriptor limit";
    if ((long)condition->active * servers > usable)
        condition->active = (int)(usable / servers); /* the generator holds those of all servers */
    if ((long)condition->active + condition->idle > usable)
        condition->idle = (int)(usable - condition->active);
    uint64_t memory = machine_memory_available() / 4 * 3;
    uint64_t each = (uint64_t)servers * CONNECTION_BYTES + THREAD_BYTES;
    if (memory > 0 && (uint64_t)(condition->idle + condition->active) * each > memory) {
        uint64_t fit = memory / each;
        why = "memory";
        condition->idle = fit > (uint64_t)condition->active ? (int)fit - condition->active : 0;
    }
    if (condition->active < 1)
        condition->active = 1;
    if (condition->active != condition->active_asked || condition->idle != condition->idle_asked)
        snprintf(condition->note, sizeof condition->note,
                 "asked for %d active and %d idle: this machine's %s (%ld descriptors a process) "
                 "allows fewer",
                 condition->active_asked, condition->idle_asked, why, machine->descriptors);
}
