#ifndef BENCH_IDLE_CLIENTS_H
#define BENCH_IDLE_CLIENTS_H

#include "load/load.h"

#include <stddef.h>
#include <sys/types.h>

/* Idle connections: a process of its own holds them, because one process may not have enough
 * descriptors for the idle clients of all servers. Each connection has echoed once before it
 * counts. */

struct idle_clients {
    pid_t pid; /* 0: none */
    int control;
};

/* The answer of the process when it has finished connecting. */
struct idle_state {
    int open;
    enum load_end end;
    char trouble[LOAD_TROUBLE];
};

/* Makes the process, which then waits. To be called before this process opens connections of its
 * own: the child would hold copies of them. 0, or -1 with errno set. */
int idle_clients_create(struct idle_clients *clients, int port, int count, size_t size);

/* Lets it connect until `count` connections are open, and waits until they are. May be called
 * again with a higher count. */
void idle_clients_connect(struct idle_clients *clients, int count, struct idle_state *state);

/* Closes all its connections. */
void idle_clients_end(struct idle_clients *clients);

#endif
