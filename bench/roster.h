#ifndef BENCH_ROSTER_H
#define BENCH_ROSTER_H

#include "options.h"
#include "server.h"

/* Which servers take part: the table of this repository's, and those given by --server. */

enum { ROSTER_MOST = 32 };

/* Fills `servers` as the options ask; their executables are below `build`. The reference and its
 * twins are always there. Returns how many, or -1 after saying what is wrong. */
int roster_make(const struct options *options, const char *build, struct server *servers);

/* Does the executable of this server contain a sanitizer's runtime, or counters of coverage? */
int roster_is_sanitized(const struct server *server);

#endif
