#ifndef BENCH_SUMMARY_H
#define BENCH_SUMMARY_H

#include "numbers/estimate.h"
#include "record/record.h"

/* From slices to the figures of one row of a table. A new figure is one function in summary.c and
 * one field here. */

/* One server in one condition. Figures are medians over the slices; what is not known is NAN. */
struct summary {
    int slices;
    double cpu;                 /* server CPU per echo, microseconds */
    double rate;                /* echoes per second */
    double switches;            /* of the server, per echo */
    double server_busy;         /* share of its core, 0 to 1 */
    double generator_busy;      /* likewise */
    double generator_cpu;       /* microseconds per echo */
    struct estimate cpu_ratio;  /* cpu / the reference's cpu in the same round */
    struct estimate rate_ratio; /* rate / the reference's rate in the same round */
    double p50;                 /* microseconds, of all slices together */
    double p90;
    double p99;
    double p999;
    double maximum;
    double sent_p50; /* open loop: microseconds from when a message left */
    double sent_p99;
    double late;               /* open loop: share of the messages that left late, 0 to 1 */
    double stream;             /* fairness: MB per second on the streaming connection */
    struct estimate p99_ratio; /* the slices' p99 / the reference's in the same round */
};

struct summary summary_of(const struct record *record, int condition, int server);

/* The noise of a condition: how far from 1 the 95 % interval of the A/A row reaches. It is that of
 * the ratio which the table shows: p99's for fairness, and CPU's otherwise. NAN without such a row.
 */
double noise_of(const struct record *record, int condition);

#endif
