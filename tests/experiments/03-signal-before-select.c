/* A signal that comes between the question and the wait.
 *
 * A signal handler sets a flag, and the loop asks for the flag before it waits. If the signal comes
 * after the question and before select(), the handler has run and nothing is left to interrupt the
 * wait: select() sleeps until some client speaks, which may be forever. Here it has a timeout of
 * 200 ms in place of that, and the program sends itself the signal at just that moment.
 *
 * With pselect() the signal is blocked all the time, and let in by the wait alone, in one step with
 * falling asleep.
 *
 * Expect:
 *   select(): the signal came, and it slept on for <n> ms, until the timeout
 *   pselect(): it returned at once: Interrupted system call
 */
#include "experiment.h"

#include <signal.h>
#include <sys/select.h>

enum { TIMEOUT_MS = 200 };

static volatile sig_atomic_t stop;

static void on_signal(int signal)
{
    (void)signal;
    stop = 1;
}

static bool stop_requested(void)
{
    mark("server: stopping? %s", stop ? "Yes" : "No");
    return stop;
}

int main(void)
{
    const struct sigaction action = {.sa_handler = on_signal};
    struct timeval timeout = {.tv_usec = 1000L * TIMEOUT_MS};
    struct timespec long_timeout = {.tv_sec = 10};
    int listener = listen_on_loopback(1), result = 0;
    pid_t self = getpid();
    fd_set readers;
    sigset_t none, sigterm;

    sigaction(SIGTERM, &action, NULL);
    FD_ZERO(&readers);
    FD_SET(listener, &readers);
    double begin = now();
    scene("select()");
    if (!stop_requested()) {
        kill(self, SIGTERM); /* on_signal() has run when this returns */
        result = select(listener + 1, &readers, NULL, NULL, &timeout);
    }
    bool stopping = stop_requested();
    scene_end();
    double slept = now() - begin;
    printf("select(): the signal came, and it slept on for %.0f ms, until the timeout\n",
           slept * 1000);
    expect(result == 0 && stopping && slept > TIMEOUT_MS * 0.9 / 1000, "the signal wakes nobody");

    stop = 0;
    FD_SET(listener, &readers);
    sigemptyset(&none);
    sigemptyset(&sigterm);
    sigaddset(&sigterm, SIGTERM);
    scene("pselect()");
    sigprocmask(SIG_BLOCK, &sigterm, NULL);
    if (!stop_requested()) {
        kill(self, SIGTERM);
        mark("kernel: SIGTERM is blocked, and waits");
        result = pselect(listener + 1, &readers, NULL, NULL, &long_timeout, &none);
    }
    int error = errno;
    stopping = stop_requested();
    scene_end();
    printf("pselect(): it returned at once: %s\n", result < 0 ? strerror(error) : "no error");
    expect(result < 0 && error == EINTR && stopping, "the signal ends the wait");
    return experiment_failed;
}
