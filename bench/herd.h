#ifndef BENCH_HERD_H
#define BENCH_HERD_H

#include <stddef.h>
#include <sys/types.h>

/* Idle connections: a process of its own holds them, because one process may not have enough
 * descriptors for the herds of all servers. Each connection has echoed once before it counts. */

struct herd {
    pid_t pid; /* 0: none */
    int control;
};

/* The answer of a herd that has finished connecting. */
struct herd_state {
    int open;
    int end; /* enum load_end */
    char trouble[160];
};

/* Makes the process, which then waits. To be called before this process opens connections of its
 * own: the child would hold copies of them. 0, or -1 with errno set. */
int herd_create(struct herd *herd, int port, int count, size_t size);

/* Lets it connect until `count` connections are open, and waits until they are. May be called
 * again with a higher count. */
void herd_connect(struct herd *herd, int count, struct herd_state *state);

/* Closes all its connections. */
void herd_end(struct herd *herd);

#endif
