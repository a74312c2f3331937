#include "record/condition.h"

#include <stdio.h>

/* 10000 as "10,000" */
static const char *grouped(int number, char *text, size_t size)
{
    if (number >= 1000000)
        snprintf(text, size, "%d,%03d,%03d", number / 1000000, number / 1000 % 1000, number % 1000);
    else if (number >= 1000)
        snprintf(text, size, "%d,%03d", number / 1000, number % 1000);
    else
        snprintf(text, size, "%d", number);
    return text;
}

void condition_describe(const struct condition *condition, char *text, size_t size)
{
    char active[32];
    char idle[32];
    char bytes[32];
    char end[64] = "";
    grouped(condition->active, active, sizeof active);
    grouped(condition->idle, idle, sizeof idle);
    grouped(condition->size, bytes, sizeof bytes);
    const char *plural = condition->active == 1 ? "" : "s";
    if (condition->mode == LOAD_RATE)
        snprintf(end, sizeof end,
                 condition->rate <= 100 ? ", open loop at %d %% of capacity"
                                        : ", open loop at %d a second",
                 condition->rate);
    if (condition->mode == LOAD_CHURN)
        snprintf(end, sizeof end, ": connect, echo, close");
    if (condition->mode == LOAD_FAIR)
        snprintf(text, size, "%d connection%s with %s-byte messages beside one stream",
                 condition->active - 1, condition->active == 2 ? "" : "s", bytes);
    else if (condition->idle == 0)
        snprintf(text, size, "%s active connection%s, %s-byte messages%s", active, plural, bytes,
                 end);
    else
        snprintf(text, size, "%s active beside %s idle connections, %s-byte messages%s", active,
                 idle, bytes, end);
}
