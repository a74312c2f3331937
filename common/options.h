/* The command line that all servers share, and the set-up of the two signals that stop them. */
#ifndef OPTIONS_H
#define OPTIONS_H

#include <signal.h>
#include <stdbool.h>

#include "net.h"

extern const char *options_purpose; /* what --help calls the program: "A TCP echo server" */

/* An option that only this program has. An array of at most 8 ends with a NULL name. */
struct extra_option {
    const char *name;  /* without the dashes */
    bool argument;     /* does it take one? */
    const char *help;  /* its line of --help */
    const char *value; /* filled in: the argument, "" if it takes none, NULL if it was not given */
};

/* The first call of a program. Reads the shared options and the extra ones (may be NULL). Strings
 * stay argv's. Ends the process after --help and --version (status 0), and on wrong usage (two
 * lines on stderr, status 2). Opens /dev/null as descriptors 0, 1 and 2 where these are closed:
 * otherwise a client would get such a number, and everything that is printed. */
struct net_settings options_parse(int argc, char **argv, struct extra_option *extra);

/* The whole of text as a decimal number from min to max; anything else is wrong usage. */
int options_number(const char *option, const char *text, int min, int max);

/* For wrong usage: prints the second line, which points at --help, and ends with status 2. */
_Noreturn void options_try_help(void);

/* The stop signals are SIGINT and SIGTERM. Blocks both, and returns them as a set. sigprocmask(2)
 */
sigset_t stop_signals_block(void);

/* Calls handler for each of them; without SA_RESTART, so a call that sleeps returns EINTR.
 * SIG_IGN ignores them. sigaction(2) */
void stop_signals_handle(void (*handler)(int signal));

/* Is one of them blocked and waiting? sigpending(2) */
bool stop_signals_pending(void);

#endif
