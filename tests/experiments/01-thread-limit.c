/* The thread that cannot be started.
 *
 * pthread_create() fails with EAGAIN at the first of several limits: RLIMIT_NPROC (all processes
 * and threads of a user), the pids controller of a cgroup, kernel.threads-max, address space. None
 * of them is 1024 by itself. A client without a thread has to be turned away; it does not "block".
 * The limit here is RLIMIT_NPROC, of a user who has nothing else running.
 *
 * Needs: linux
 *
 * Expect:
 *   limit 64: <n> threads, then: Resource temporarily unavailable
 *   limit 2000: <n> threads, then: Resource temporarily unavailable
 *   those that run go on: yes
 */
#include "experiment.h"

#include <pthread.h>
#include <sys/wait.h>

enum { UNUSED_USER = 54321, THREADS_MAX = 4000 };

static int work_done;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

static void *sleep_forever(void *argument)
{
    for (;;) {
        pause_ms(10);
        pthread_mutex_lock(&lock);
        work_done++;
        pthread_mutex_unlock(&lock);
    }
    return argument;
}

/* Runs in a process of its own, which takes its threads along when it ends. */
static int threads_under(rlim_t limit, int *error)
{
    pthread_attr_t attributes;
    pthread_t thread;
    int threads = 0;

    if (setrlimit(RLIMIT_NPROC, &(struct rlimit){limit, limit}) < 0 || setgid(UNUSED_USER) < 0 ||
        setuid(UNUSED_USER) < 0)
        _exit(SKIPPED); /* in a container, root may have no other users to become */
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, 64 * 1024);
    do
        *error = pthread_create(&thread, &attributes, sleep_forever, NULL);
    while (!*error && ++threads < THREADS_MAX);
    return threads;
}

static int try_limit(rlim_t limit, bool last)
{
    int ends[2], threads = 0, status;

    if (pipe(ends) < 0)
        err(1, "pipe");
    fflush(stdout);
    if (fork() == 0) {
        int error;
        threads = threads_under(limit, &error);
        printf("limit %d: %d threads, then: %s\n", (int)limit, threads, strerror(error));
        if (last) {
            pause_ms(50);
            pthread_mutex_lock(&lock);
            printf("those that run go on: %s\n", work_done ? "yes" : "no");
        }
        fflush(stdout);
        _exit(write(ends[1], &threads, sizeof threads) < 0 || error != EAGAIN);
    }
    wait(&status);
    if (WIFEXITED(status) && WEXITSTATUS(status) == SKIPPED)
        skip("may not become a user who has no other threads");
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0 ||
        read(ends[0], &threads, sizeof threads) < 0)
        errx(1, "no limit was met");
    close(ends[0]);
    close(ends[1]);
    return threads;
}

int main(void)
{
    if (getuid() != 0)
        skip("only root can become a user who has no other threads");
    int few = try_limit(64, false);
    int many = try_limit(2000, true);
    expect(few > 32 && few < 64, "the limit counts the process itself, too");
    claim("With 1024 threads the 1025th client blocks", "false", many <= 1024, 1,
          "%d threads under a limit of 2000; the next one fails at once", many);
    return experiment_failed;
}
