#ifndef BENCH_ROSTER_H
#define BENCH_ROSTER_H

#include "compare/options.h"
#include "system/server.h"

/* Which servers take part: those of servers.list in the build directory, which meson writes from
 * the table in meson.build, and those given by --server. */

enum { ROSTER_MAX = 32 };

/* Fills `servers` as the options ask; their executables are below `build`. The reference and its
 * copies are always there. Returns how many, or -1 after a message about the option or the list. */
int roster_make(const struct options *options, const char *build, struct server *servers);

/* Does the executable of this server contain a sanitizer's runtime, or counters of coverage? */
int roster_is_sanitized(const struct server *server);

#endif
