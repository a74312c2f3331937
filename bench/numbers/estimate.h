#ifndef BENCH_ESTIMATE_H
#define BENCH_ESTIMATE_H

#include <stdbool.h>

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

/* Is this ratio a difference at all? It is none when it is no further from 1 than `noise`, or when
 * its own interval contains 1. */
bool estimate_differs(const struct estimate *ratio, double noise);

#endif
