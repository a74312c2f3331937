/* The table of faults, and what its checks share. A fault is injected into a server under test, and
 * its check looks from the client's side: who must still be served, who may be lost, and that the
 * fault did happen. */
#ifndef FAULT_H
#define FAULT_H

#include <stdbool.h>

#include "../harness/harness.h"
#include "../harness/verdict.h"

struct fault {
    const char *name;
    void (*check)(const struct fault *fault);

    /* System calls that strace tampers with: names with commas between them, each with a "?" before
     * it, since not every processor has all of them; and what is to happen to which of them, as in
     * strace(1), --inject. "%d": how many of them the server makes while it starts. */
    const char *calls, *inject;
    const char *preload; /* settings for preload.c, as NAME=VALUE, separated by blanks */
    const char *trait;   /* does not apply to servers without this trait */

    /* A difference by design: servers with this trait get another check, for this reason. */
    struct design {
        const char *trait, *why;
        void (*check)(const struct fault *fault);
    } design[3];
};

extern const struct fault faults[]; /* ends with a NULL name */

/* ---- the server under the fault (inject.c) ---- */

extern const char *server_command; /* as in ECHO_SERVER */

void start_under(const struct fault *fault); /* starts the server with the fault */
void start_under_with(const struct fault *fault, struct start options);
/* The same, if it might not get ready: true if it has. inject instead of the fault's own. */
bool start_might_fail(const struct fault *fault, const char *inject);

/* These need a server with the preloaded library. */
void set_accept_error(int error); /* accept() fails with it from now on; 0: it works again */
void lose_next_client(int error); /* accept() fails once, and that client is reset */
void leave_no_room(bool full);    /* send() finds no room from now on; false: it does again */
void hold_next_close(void);       /* it closes, and does not return */
void let_close_return(void);
long watches_refused(void); /* how often epoll_ctl() refused the listener: FAULT_WATCH */

long injected(void); /* how often the fault has happened until now */
/* Puts a command before the server's, which is to exec it. */
void wrap_server(const char *words);
/* The driver's --as UID THREADS COMMAND...: runs a command as another user, with a limit. */
_Noreturn void run_as(char **arguments);

/* ---- clients that may be lost (exchange.c) ---- */

/* Each client sends length bytes and waits until they are back or its connection has ended; silence
 * is a failure. poke: in silence, each sends one more byte. Returns how many have ended. */
int exchange(struct client *clients, int count, size_t length, bool poke);
bool ended(const struct client *client);
/* Limits a resource (setrlimit(2)) of the running server, or restores its limit. */
void limit_server(int resource, bool limited, unsigned long now);
/* One more client is served, within some seconds, though perhaps not at the first try. */
void newcomer_must_be_served(void);
/* Ends the test if the server's --help does not have this option. */
void must_offer(const char *option);
/* The server must not use the processor while nothing happens (unless by design). */
void must_settle(void);

/* ---- checks ---- */

/* checks.c */
void nobody_notices(const struct fault *fault);
void nobody_notices_at_all_sizes(const struct fault *fault);
void some_are_lost(const struct fault *fault);
void some_are_reset(const struct fault *fault);
void all_are_lost(const struct fault *fault);
void late_until_more_comes(const struct fault *fault);
void shortage_ends(const struct fault *fault);
void accept_fails_from_now_on(const struct fault *fault);
void watching_again_fails(const struct fault *fault);
void start_fails_well(const struct fault *fault);
void no_descriptor_is_lost(const struct fault *fault);
void number_is_not_mistaken(const struct fault *fault);
/* accept.c */
void only_that_client_is_lost(const struct fault *fault);
void any_error_from_now_on(const struct fault *fault);
/* owed.c */
void owed_at_the_deadline(const struct fault *fault);
void owed_at_the_idle_timeout(const struct fault *fault);
/* lines.c */
void full_pipe_harms_nobody(const struct fault *fault);
void full_terminal_harms_nobody(const struct fault *fault);
void pipe_without_reader(const struct fault *fault);
void few_lines_a_second(const struct fault *fault);
void no_standard_descriptors(const struct fault *fault);
/* limits.c */
void out_of_descriptors(const struct fault *fault);
void out_of_threads(const struct fault *fault);
void out_of_address_space(const struct fault *fault);
void out_of_memory_now_and_then(const struct fault *fault);
void queue_overflows(const struct fault *fault);
void stopped_in_mid_stream(const struct fault *fault);
/* link.c */
void slow_link(const struct fault *fault);
void lossy_link(const struct fault *fault);
void dead_link(const struct fault *fault);
void dead_link_and_idle_timeout(const struct fault *fault);

#endif
