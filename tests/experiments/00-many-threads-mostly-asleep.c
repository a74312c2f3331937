/* What a thousand sleeping threads cost: address space and a little memory, but no time.
 *
 * A thread that is blocked in recv() is on no run queue, so the scheduler never meets it. When its
 * bytes come, the socket's wait queue names the one thread to wake; the rest are not asked.
 *
 * Expect:
 *   1000 threads asleep in recv() for a second: <n> us of CPU, <n> context switches
 *   one echo among 1 threads:    <n> us
 *   one echo among 1000 threads: <n> us
 */
#include "experiment.h"

#include <pthread.h>

enum { THREADS = 1000, ECHOES = 100, TRIES = 20 };

static void *serve(void *argument)
{
    int fd = (int)(intptr_t)argument;
    char byte;
    while (recv(fd, &byte, 1, 0) == 1)
        if (send(fd, &byte, 1, MSG_NOSIGNAL) != 1)
            break;
    return NULL;
}

/* Starts a thread that serves; returns the client's end. */
static int start(pthread_attr_t *attributes)
{
    int ends[2];
    pthread_t thread;
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) < 0)
        err(1, "socketpair");
    int error = pthread_create(&thread, attributes, serve, (void *)(intptr_t)ends[1]);
    if (error) {
        errno = error;
        skip("not so many threads may be started here");
    }
    return ends[0];
}

/* Microseconds for an echo, the minimum of some tries: others may want the processor, too. */
static double echo_time(int fd)
{
    char byte = 'x';
    double min = 0;
    for (int try = 0; try < TRIES; try++) {
        double begin = now();
        for (int i = 0; i < ECHOES; i++)
            if (send(fd, &byte, 1, 0) != 1 || recv(fd, &byte, 1, 0) != 1)
                err(1, "echo");
        double each = (now() - begin) / ECHOES * 1e6;
        min = try == 0 || each < min ? each : min;
    }
    return min;
}

static long switches(void)
{
    struct rusage usage;
    getrusage(RUSAGE_SELF, &usage);
    return usage.ru_nvcsw + usage.ru_nivcsw;
}

int main(void)
{
    static int client[THREADS];
    pthread_attr_t attributes;

    if (descriptors() < 2 * THREADS + 20)
        skip("needs 2020 descriptors");
    pthread_attr_init(&attributes);
    pthread_attr_setdetachstate(&attributes, PTHREAD_CREATE_DETACHED);
    client[0] = start(&attributes);
    double alone = echo_time(client[0]);
    for (int i = 1; i < THREADS; i++)
        client[i] = start(&attributes);
    pause_ms(200);

    double cpu = cpu_used(RUSAGE_SELF);
    long before = switches();
    pause_ms(1000);
    cpu = cpu_used(RUSAGE_SELF) - cpu;
    long after = switches() - before;
    double among = echo_time(client[THREADS - 1]);

    printf("%d threads asleep in recv() for a second: %.0f us of CPU, %ld context switches\n",
           THREADS, cpu * 1e6, after);
    printf("one echo among 1 threads:    %.1f us\n", alone);
    printf("one echo among %d threads: %.1f us\n", THREADS, among);
    expect(cpu < 0.02 && after < 50, "sleeping threads use no CPU");
    expect(among < 5 * alone + 50, "the kernel wakes the one thread, whatever the number");
    claim("Blocked threads waste the processor in context switches", "false",
          cpu > 0.02 || after > 50, 1, "%d threads, one second: %.0f us of CPU, %ld switches",
          THREADS, cpu * 1e6, after);
    claim("To read thread 1000's message one must check 1 to 999", "false", among > 10 * alone, 1,
          "an echo: %.0f us alone, %.0f us among 1000", alone, among);
    return experiment_failed;
}
