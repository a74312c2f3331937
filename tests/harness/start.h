/* Starts a process under test, reads what it says first, and has patience with it. */
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

/* Runs the program words[0] with these words, which end with a NULL, in a child: with a clean
 * slate, as a shell would give it, and with these as its descriptors 0, 1 and 2 and no others. Each
 * of them is above 2, or the same number there. descriptors: its limit of them; 0: as it is. */
pid_t start_process(char *const *words, const int standard[3], unsigned descriptors);

/* Cuts a text at its blanks into words, of which the last is NULL, and which are at most max with
 * that. Returns how many there are without it. */
int split_words(char *text, char **words, int max);

/* ---- what it says first ---- */

/* Reads one line, without its end, within ms. Returns 1; 0 at the end of the file; -1 if it took
 * too long. What came until then is in line. */
int read_line(int fd, char *line, size_t size, int ms);
/* The port in "listening on HOST:PORT", with brackets around an IPv6 address; 0 if the line is
 * another one. Host "localhost" may be either address. */
int ready_port(const char *line, const char *host);

#endif
