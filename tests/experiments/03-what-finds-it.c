/* FD_SET() past the end of the set: what finds it?
 *
 * AddressSanitizer asks whether a byte belongs to a variable. Behind each variable it keeps a strip
 * that belongs to none, the red zone. Descriptor 1024 lands there; 1500 and 9000 land behind it, in
 * the next variable. Between two members of a struct there is no red zone. The check of bounds and
 * _FORTIFY_SOURCE look at the number itself, so they find all. (By default the check of bounds only
 * reports. gcc's checks a set behind a pointer only with -fsanitize=bounds-strict.)
 *
 * Needs: linux asan bounds
 * Build: -O2 -U_FORTIFY_SOURCE
 * Build: -O2 -U_FORTIFY_SOURCE -fsanitize=address
 * Build: -O2 -U_FORTIFY_SOURCE -fsanitize=bounds
 * Build: -O2 -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2
 *
 * Expect:
 *   built with -O2 -U_FORTIFY_SOURCE
 *   1024: unnoticed, 1500: unnoticed, 9000: unnoticed, 1024 in a struct: unnoticed
 *   built with -O2 -U_FORTIFY_SOURCE -fsanitize=address
 *   1024: found, 1500: unnoticed, 9000: unnoticed, 1024 in a struct: unnoticed
 *   built with -O2 -U_FORTIFY_SOURCE -fsanitize=bounds
 *   1024: found, 1500: found, 9000: found, 1024 in a struct: found
 *   built with -O2 -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2
 *   1024: found, 1500: found, 9000: found, 1024 in a struct: found
 */
#include "experiment.h"

#include <sys/select.h>
#include <sys/wait.h>

/* Compilers keep the order of these or turn it round: a large neighbour follows the set anyway.
 * None is static, so a compiler must expect that other code looks at them. */
struct neighbour {
    char bytes[4096];
} one_side;
fd_set watched;
struct neighbour other_side;

struct session {
    fd_set watched;
    long is_admin;
} session;

static bool changed(const void *memory, size_t length)
{
    for (const volatile char *byte = memory; length > 0; length--)
        if (*byte++)
            return true;
    return false;
}

/* Runs in a process of its own. Its status is 0 if it lives on and another variable is changed. */
static void set_bit(volatile int descriptor, bool in_struct)
{
    if (in_struct)
        FD_SET(descriptor, &session.watched); /* wrong on purpose: not checked */
    else
        FD_SET(descriptor, &watched);
    fflush(NULL); /* such other code */
    _exit(!changed(&one_side, sizeof one_side) && !changed(&other_side, sizeof other_side) &&
          !changed(&session.is_admin, sizeof session.is_admin));
}

/* "harmless" would mean that it has shown nothing. */
static const char *what_happens(int descriptor, bool in_struct)
{
    int said[2], status;
    char byte;
    if (pipe(said) < 0)
        err(1, "pipe");
    fflush(stdout);
    pid_t child = fork();
    if (child < 0)
        err(1, "fork");
    if (child == 0) {
        dup2(said[1], 2);
        close(said[0]);
        close(said[1]);
        set_bit(descriptor, in_struct);
    }
    close(said[1]);
    bool silent = read(said[0], &byte, 1) == 0;
    for (char rest[4096]; read(said[0], rest, sizeof rest) > 0;)
        ; /* or the pipe might kill it */
    close(said[0]);
    if (waitpid(child, &status, 0) < 0)
        err(1, "waitpid");
    if (!silent)
        return "found";
    return status == 0 ? "unnoticed" : "harmless";
}

int main(void)
{
    setenv("LIBC_FATAL_STDERR_", "1", 1); /* not to the terminal */
    const char *first = what_happens(FD_SETSIZE, false), *next = what_happens(1500, false),
               *far = what_happens(9000, false), *inside = what_happens(FD_SETSIZE, true);
    printf("%d: %s, 1500: %s, 9000: %s, %d in a struct: %s\n", FD_SETSIZE, first, next, far,
           FD_SETSIZE, inside);
    expect(strcmp(first, "harmless") && strcmp(next, "harmless"), "other memory is changed");
    expect(!strcmp(next, far) && !strcmp(next, inside), "what finds one of the rest finds all");
    expect(strcmp(next, "found") || !strcmp(first, "found"),
           "the first one is the easiest to find");
#if defined(__USE_FORTIFY_LEVEL) && __USE_FORTIFY_LEVEL > 0
    expect(!strcmp(next, "found"), "the C library notices");
#endif
    return experiment_failed;
}
