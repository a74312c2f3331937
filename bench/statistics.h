#ifndef BENCH_STATISTICS_H
#define BENCH_STATISTICS_H

#include "record.h"

/* From slices to the figures of a table row. */

/* A median, the 95 % interval of that median (from order statistics: no assumption about the
 * shape of the noise), and the quartiles. All NAN when there are no values. */
struct estimate {
    double median;
    double low;
    double high;
    double quartile1;
    double quartile3;
};

/* Sorts `values`, and leaves out those that are not numbers. */
struct estimate estimate_of(double *values, int measured);

/* One server in one cell. Figures are medians over the slices; what is not known is NAN. */
struct summary {
    int slices;
    double cpu;             /* server CPU per echo, microseconds */
    double rate;            /* echoes per second */
    double switches;        /* of the server, per echo */
    double server_busy;     /* share of its core, 0 to 1 */
    double generator_busy;  /* likewise */
    double generator_cpu;   /* microseconds per echo */
    struct estimate versus; /* cpu / the reference's cpu in the same round */
    struct estimate faster; /* rate / the reference's rate in the same round */
    double p50;             /* microseconds, of all slices together */
    double p90;
    double p99;
    double p999;
    double maximum;
    double naive_p50; /* open loop: microseconds from when a message left */
    double naive_p99;
    double late;                /* open loop: share of the messages that left late, 0 to 1 */
    double stream;              /* fairness: MB per second on the streaming connection */
    struct estimate p99_versus; /* the slices' p99 / the reference's in the same round */
};

struct summary summary_of(const struct record *record, int cell, int server);

/* Is a ratio a difference at all? Not when it is no further from 1 than `noise`, nor when its own
 * interval contains 1. */
bool is_difference(const struct estimate *versus, double noise);

/* The noise of a cell: how far from 1 the 95 % interval of the A/A row reaches; of the ratio that
 * its table shows, which is p99's for fairness and otherwise CPU's. NAN without one. */
double noise_of(const struct record *record, int cell);

#endif
