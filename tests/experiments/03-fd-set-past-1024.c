/* FD_SET() past the end of the set.
 *
 * With glibc an fd_set is an array of 1024 bits, and FD_SET(1024, &set) sets the first bit behind
 * it: of whatever lies there. Nothing notices, unless the program was built with _FORTIFY_SOURCE,
 * which makes the C library check, and end the program: better, but still the end of the server.
 *
 * Needs: linux
 * Build: -O2 -U_FORTIFY_SOURCE
 * Build: -O2 -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2
 *
 * Expect:
 *   built with -O2 -U_FORTIFY_SOURCE
 *   before: is_admin = 0
 *   after FD_SET(1024, &watched): is_admin = 1
 *   the server goes on
 *   built with -O2 -U_FORTIFY_SOURCE -D_FORTIFY_SOURCE=2
 *   before: is_admin = 0
 *   *** bit out of range 0 - FD_SETSIZE on fd_set ***: terminated
 *   killed by signal 6 (Aborted)
 */
#include "experiment.h"

#include <sys/select.h>
#include <sys/wait.h>

struct session {
    fd_set watched;
    long is_admin;
};

static void serve(volatile int descriptor)
{
    static struct session session;
    volatile long *is_admin = &session.is_admin; /* look into the memory each time */

    printf("before: is_admin = %ld\n", *is_admin);
    fflush(stdout);
    FD_SET(descriptor, &session.watched); /* wrong on purpose: the number is not checked */
    printf("after FD_SET(%d, &watched): is_admin = %ld\n", descriptor, *is_admin);
    fflush(stdout);
    _exit(*is_admin == 1 ? 0 : 1);
}

int main(void)
{
    int status;
    dup2(2, 1); /* the C library's last words go to stderr: keep them in order */
    setenv("LIBC_FATAL_STDERR_", "1", 1);
    fflush(stdout);
    if (fork() == 0)
        serve(FD_SETSIZE);
    wait(&status);
    if (WIFSIGNALED(status))
        printf("killed by signal %d (%s)\n", WTERMSIG(status), strsignal(WTERMSIG(status)));
    else
        printf("the server goes on\n");
#if defined(__USE_FORTIFY_LEVEL) && __USE_FORTIFY_LEVEL > 0
    expect(WIFSIGNALED(status), "the C library notices");
#else
    expect(WIFEXITED(status) && WEXITSTATUS(status) == 0, "the neighbour is overwritten");
    claim("A descriptor past 1024 is refused", "false", WIFSIGNALED(status), 1,
          "FD_SET(%d): the memory behind the set is %s", FD_SETSIZE,
          WIFEXITED(status) && WEXITSTATUS(status) == 0 ? "overwritten" : "as it was");
#endif
    return experiment_failed;
}
