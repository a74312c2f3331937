#ifndef BENCH_CONNECTION_H
#define BENCH_CONNECTION_H

#include "load/load.h"

#include <stdint.h>

/* One connection of the load generator: opened, sent on, and every byte that comes back compared.
 * load.c runs closed loops with it, open_loop.c the open one. */

/* Opens connection `number` and sends its first message. */
void connection_open(struct load *load, int number);

/* Sends the next message of a connection that has none outstanding. */
void connection_begin(struct load *load, struct connection *c, uint64_t due, uint64_t now);

/* Takes what has arrived, and goes on as load->mode says. Sets *now when something has arrived. */
void connection_serve(struct load *load, struct connection *c, uint64_t *now);

/* Runs until every outstanding message is answered, or something is wrong. */
enum load_end load_drive(struct load *load);

/* Ends the run, and says why. */
void load_fail(struct load *load, enum load_end end, const char *trouble);
void load_say_stalled(struct load *load);

#endif
