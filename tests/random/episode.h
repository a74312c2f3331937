/* Carries out a plan against a server, and holds the server to the contract from start to end. */
#ifndef EPISODE_H
#define EPISODE_H

#include "plan.h"

/* The number of the current step; plan->count: the end. Shared with the parent process. */
extern volatile int *episode_step;

/* How long a client waits for its bytes. */
extern int episode_deadline_ms;

void episode_share_step(void);
/* Takes a struct plan. Ends the process, with a reason, as soon as the server breaks a promise. */
void episode_run(const void *plan);

#endif
