#include "numbers/estimate.h"

#include <math.h>
#include <stdlib.h>

static int ascending(const void *a, const void *b)
{
    double x = *(const double *)a;
    double y = *(const double *)b;
    return (x > y) - (x < y);
}

static double at_rank(const double *sorted, int count, double rank)
{
    if (rank < 0)
        rank = 0;
    if (rank > count - 1)
        rank = count - 1;
    int below = (int)rank;
    int above = below + 1 < count ? below + 1 : below;
    double part = rank - below;
    return sorted[below] * (1 - part) + sorted[above] * part;
}

struct estimate estimate_of(double *values, int measured)
{
    int count = 0;
    for (int i = 0; i < measured; i++) {
        if (isfinite(values[i]))
            values[count++] = values[i];
    }
    if (count == 0)
        return (struct estimate){NAN, NAN, NAN, NAN, NAN};
    qsort(values, (size_t)count, sizeof *values, ascending);
    /* of n values, the number below the true median is binomial(n, 1/2) */
    double reach = 0.98 * sqrt(count);
    return (struct estimate){
        .median = at_rank(values, count, (count - 1) / 2.0),
        .low = at_rank(values, count, floor(count / 2.0 - reach - 0.5)),
        .high = at_rank(values, count, ceil(count / 2.0 + reach - 0.5)),
        .quartile1 = at_rank(values, count, (count - 1) / 4.0),
        .quartile3 = at_rank(values, count, (count - 1) * 3 / 4.0),
    };
}

bool estimate_differs(const struct estimate *ratio, double noise)
{
    if (!isfinite(ratio->median) || (ratio->low <= 1 && ratio->high >= 1))
        return false;
    return !isfinite(noise) || fabs(ratio->median - 1) > noise;
}
