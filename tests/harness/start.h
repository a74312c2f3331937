/* Starts a process under test, reads its ready line, and has patience with it. */
#ifndef START_H
#define START_H

#include <stdint.h>
#include <sys/types.h>

/* ---- time ---- */

int64_t now_ms(void);
int patient(int ms); /* ms, times ECHO_SLOW if the environment has that */
void nap(int ms);

/* Waits until the condition holds, at most ms (made patient); check the condition after it. */
#define AWAIT(ms, condition)                                                                       \
    for (int64_t await_end = now_ms() + patient(ms); !(condition) && now_ms() < await_end;)        \
    nap(1)

/* ---- the start ---- */

enum { CLOSED = -1, DEV_NULL = -2 }; /* instead of a descriptor */

/* Runs the program words[0] with these words, up to a NULL, in a child. It gets a clean slate, as
 * from a shell: no signal is blocked, SIGPIPE is as usual, and its only descriptors are 0, 1 and 2,
 * from standard. (Each of these is above 2 here, or has its place already.) descriptors: its limit
 * of them, as in setrlimit(2); 0: ours. */
pid_t start_process(char *const *words, const int standard[3], unsigned descriptors);

/* Cuts a text at its blanks into words with a NULL behind them, together at most max; more fail the
 * test. Returns how many words there are. */
int split_words(char *text, char **words, int max);

/* ---- the ready line ---- */

/* Reads one line, without its end, within ms. Returns 1, or 0 at the end of the file, or -1 if it
 * takes too long. After 0 or -1, line holds what came before. */
int read_line(int fd, char *line, size_t size, int ms);
/* Returns the port in "listening on HOST:PORT", with brackets around an IPv6 address; 0 for any
 * other line. Host "localhost" may be either address. */
int ready_port(const char *line, const char *host);

#endif
