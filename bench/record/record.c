#include "record/record.h"

#include <math.h>
#include <stdlib.h>

int record_init(struct record *record)
{
    size_t count = (size_t)record->condition_count * (size_t)record->server_count;
    record->outcomes = calloc(count + 1, sizeof *record->outcomes);
    for (size_t i = 0; record->outcomes && i < count; i++)
        record->outcomes[i].idle_resident = NAN;
    for (int i = 0; i < record->condition_count; i++) {
        record->runs[i].other = -1;
        record->runs[i].rate = NAN;
    }
    return record->outcomes ? 0 : -1;
}

void record_free(struct record *record)
{
    free(record->outcomes);
    free(record->slices);
}

int record_reserve(struct record *record, int more)
{
    int needed = record->slice_count + more;
    if (needed <= record->slice_capacity)
        return 0;
    int capacity = needed * 2;
    struct slice *grown = realloc(record->slices, (size_t)capacity * sizeof *grown);
    if (!grown)
        return -1;
    record->slices = grown;
    record->slice_capacity = capacity;
    return 0;
}

void record_add(struct record *record, const struct slice *slice)
{
    if (record->slice_count < record->slice_capacity)
        record->slices[record->slice_count++] = *slice;
}

struct outcome *record_outcome(const struct record *record, int condition, int server)
{
    return &record->outcomes[(size_t)condition * (size_t)record->server_count + (size_t)server];
}

bool record_takes_part(const struct record *record, int condition, int server)
{
    return !record->servers[server].no_idle || record->conditions[condition].idle > 0;
}

int record_contenders(const struct record *record, int condition)
{
    int count = 0;
    for (int i = 0; i < record->server_count; i++)
        count += record_takes_part(record, condition, i);
    return count;
}

int record_reference(const struct record *record)
{
    for (int i = 0; i < record->server_count; i++) {
        if (record->servers[i].reference)
            return i;
    }
    return -1;
}

int record_control(const struct record *record)
{
    for (int i = 0; i < record->server_count; i++) {
        if (record->servers[i].control)
            return i;
    }
    return -1;
}
