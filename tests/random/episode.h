/* Carries out a plan against the server and holds it to the contract, from its start to its end. */
#ifndef EPISODE_H
#define EPISODE_H

#include "plan.h"

/* The step that is being carried out; plan->count: the end. Shared with the parent process. */
extern volatile int *episode_step;

/* How long a client waits for its bytes. */
extern int episode_deadline_ms;

void episode_share_step(void);
/* Ends the process, with a reason, as soon as the server breaks a promise. A struct plan. */
void episode_run(const void *plan);

#endif
