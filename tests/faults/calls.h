/* Finds out which system calls a server makes, by running it once under strace. */
#ifndef CALLS_H
#define CALLS_H

#include <stdbool.h>

extern const char *strace_path;    /* NULL: it is missing, or it may not trace */
extern const char *work_directory; /* for the files of one run */
extern const char *preload_library;

/* Runs the server once, with a client. False if even that does not work. */
bool learn_calls(void);

/* "?name,?name", as in struct fault. Does the server ever make one of them? */
bool makes_calls(const char *calls);
/* How many of them it makes before it is ready; and how many of those come before its own code,
 * from the program's loader. */
int calls_at_start(const char *calls);
int calls_of_loader(const char *calls);

#endif
