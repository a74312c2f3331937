/* A thousand threads with stacks of 8 MiB: how much memory is that?
 *
 * A stack is address space until it is touched. A thread that sleeps in recv() has touched a few
 * pages. But a handler with a large buffer on its stack, or a deep recursion, touches them all, and
 * what was touched stays: the stack is not given back while the thread lives.
 *
 * Needs: linux
 *
 * Expect:
 *   1000 threads asleep:         <n> MB of addresses, <n> MB of memory
 *   each has touched 1 MB of it: <n> MB of addresses, <n> MB of memory
 */
#include "experiment.h"

#include <pthread.h>
#include <semaphore.h>

enum { THREADS = 1000, STACK = 8 << 20, TOUCHED = 1 << 20 };

static sem_t started, touch, touched, leave;

static void touch_stack(void)
{
    char buffer[TOUCHED];
    volatile char *byte = buffer;
    for (int i = 0; i < TOUCHED; i += 4096)
        byte[i] = 1;
}

static void *run(void *argument)
{
    sem_post(&started);
    sem_wait(&touch);
    touch_stack();
    sem_post(&touched);
    sem_wait(&leave);
    return argument;
}

static long from_proc(const char *file, const char *name) /* megabytes */
{
    char line[256];
    long kb = 0;
    FILE *f = fopen(file, "r");
    while (f && fgets(line, sizeof line, f))
        if (!strncmp(line, name, strlen(name)))
            kb = atol(line + strlen(name) + 1);
    if (f)
        fclose(f);
    return kb / 1024;
}

static void wait_for_all(sem_t *each, int threads)
{
    for (int i = 0; i < threads; i++)
        sem_wait(each);
}

static long grown(const char *name, long before)
{
    return from_proc("/proc/self/status", name) - before;
}

int main(void)
{
    pthread_attr_t attributes;
    pthread_t thread;

    if (from_proc("/proc/meminfo", "MemAvailable") < 2048)
        skip("needs 2 GB of free memory");
    sem_init(&started, 0, 0);
    sem_init(&touch, 0, 0);
    sem_init(&touched, 0, 0);
    sem_init(&leave, 0, 0);
    pthread_attr_init(&attributes);
    pthread_attr_setstacksize(&attributes, STACK);
    long size = grown("VmSize", 0), resident = grown("VmRSS", 0);
    for (int i = 0; i < THREADS; i++)
        if (pthread_create(&thread, &attributes, run, NULL))
            skip("1000 threads may not be started here");
    wait_for_all(&started, THREADS);
    long addresses = grown("VmSize", size), asleep = grown("VmRSS", resident);
    printf("%d threads asleep:         %ld MB of addresses, %ld MB of memory\n", THREADS, addresses,
           asleep);
    for (int i = 0; i < THREADS; i++)
        sem_post(&touch);
    wait_for_all(&touched, THREADS);
    long awake = grown("VmRSS", resident);
    printf("each has touched 1 MB of it: %ld MB of addresses, %ld MB of memory\n",
           grown("VmSize", size), awake);
    expect(addresses >= 7900 && asleep < 100, "a stack is addresses, not memory");
    expect(awake > 900, "until it is touched");
    claim("Each thread takes 8 MB", "partly", (addresses >= 7900) + (asleep >= 7900), 2,
          "1000 threads: %ld MB of addresses, %ld MB of memory", addresses, asleep);
    return experiment_failed;
}
