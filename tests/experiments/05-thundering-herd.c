/* Eight processes that wait for clients at one port, and how many of them a client wakes.
 *
 * Each epoll that watches a listener has a callback on its wait queue, and a client calls them
 * all: eight wake up, one accepts. Some of the rest find out inside epoll_wait(), which looks again
 * and sleeps on. Those that are nearly as fast as the first get EAGAIN from accept().
 * With EPOLLEXCLUSIVE the kernel stops at the first on the queue whose process sleeps: while there
 * is little to do, always the same. With SO_REUSEPORT each has a listener of its own, and a hash
 * chooses. A process that sleeps in accept() is woken alone, and next time queues behind the rest.
 *
 * Each client comes when all are asleep again. So a process that was woken, in vain or not, has
 * gone to sleep once more, and the kernel counts that: voluntary_ctxt_switches in /proc/PID/status.
 *
 * Needs: linux
 *
 * Expect:
 *   epoll, one listener: a client wakes 8 of 8; the busiest accepts <...>
 *   EPOLLEXCLUSIVE:      a client wakes 1 of 8; the busiest accepts nearly all
 *   SO_REUSEPORT:        a client wakes 1 of 8; the busiest accepts <...>
 *   blocking accept():   a client wakes 1 of 8; the busiest accepts an eighth
 */
#include "experiment.h"

#include <signal.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/mman.h>
#include <sys/wait.h>

enum { WORKERS = 8, CLIENTS = 100, NEARLY_ALL = 95, AN_EIGHTH = 15 };
enum { DRAWN = 4, LATE_MS = 50 }; /* for a picture: fewer processes, and one client */
enum how { ONE_LISTENER, EXCLUSIVE, REUSEPORT, BLOCKING };

/* By each worker; the memory is shared. */
static atomic_int *accepted, *returned; /* clients; calls of epoll_wait() */

struct worker {
    pid_t pid;
    int listener;
    long switches; /* how often it has gone to sleep */
};

/* Waits late_ms before accept(), so that no process accepts before the others have looked. */
static void work(int number, int listener, enum how how, int late_ms)
{
    struct epoll_event event = {.events = EPOLLIN | (how == EXCLUSIVE ? EPOLLEXCLUSIVE : 0),
                                .data.fd = listener};
    int epoll = epoll_create1(0);

    alarm(30); /* nothing is left behind if the parent fails */
    if (how != BLOCKING && epoll_ctl(epoll, EPOLL_CTL_ADD, listener, &event) < 0)
        err(1, "epoll_ctl");
    for (;;) {
        if (how != BLOCKING && epoll_wait(epoll, &event, 1, -1) < 1)
            continue;
        returned[number]++;
        if (late_ms > 0)
            pause_ms(late_ms);
        int client = accept(listener, NULL, NULL);
        if (client < 0)
            continue; /* another one was faster */
        close(client);
        accepted[number]++;
    }
}

/* Returns how often the process has gone to sleep, once it sleeps. */
static long await_sleep(pid_t pid)
{
    char path[64], line[256];
    snprintf(path, sizeof path, "/proc/%d/status", (int)pid);
    for (double end = now() + 10; now() < end; pause_ms(1)) {
        char state = '?';
        long switches = -1;
        FILE *file = fopen(path, "r");
        while (file && fgets(line, sizeof line, file)) {
            (void)sscanf(line, "State: %c", &state);
            (void)sscanf(line, "voluntary_ctxt_switches: %ld", &switches);
        }
        if (file)
            fclose(file);
        if (state == 'S' && switches >= 0)
            return switches;
    }
    errx(1, "process %d does not go to sleep", (int)pid);
}

/* How many have gone to sleep again since the last time. */
static int await_all_asleep(struct worker *worker, int workers)
{
    int woken = 0;
    for (int i = 0; i < workers; i++) {
        long switches = await_sleep(worker[i].pid);
        woken += switches > worker[i].switches;
        worker[i].switches = switches;
    }
    return woken;
}

static int sum_of(const atomic_int *count)
{
    int sum = 0;
    for (int i = 0; i < WORKERS; i++)
        sum += count[i];
    return sum;
}

static void start(struct worker *worker, int workers, enum how how, int late_ms)
{
    int port = 0;
    for (int i = 0; i < WORKERS; i++)
        accepted[i] = returned[i] = 0;
    for (int i = 0; i < workers; i++) {
        bool own = i == 0 || how == REUSEPORT;
        worker[i].listener = own ? listen_beside_others(port, CLIENTS) : worker[0].listener;
        port = port_of(worker[i].listener);
        if (how != BLOCKING)
            nonblocking(worker[i].listener);
    }
    for (int i = 0; i < workers; i++) {
        worker[i].pid = fork();
        if (worker[i].pid < 0)
            err(1, "fork");
        if (worker[i].pid == 0)
            work(i, worker[i].listener, how, late_ms);
    }
}

static void stop(struct worker *worker, int workers, enum how how)
{
    for (int i = 0; i < workers; i++) {
        kill(worker[i].pid, SIGKILL);
        waitpid(worker[i].pid, NULL, 0);
        if (i == 0 || how == REUSEPORT)
            close(worker[i].listener);
    }
}

static void await_accepted(int clients)
{
    for (double end = now() + 10; sum_of(accepted) < clients; pause_ms(1))
        if (now() > end)
            errx(1, "nobody accepts");
}

/* Connects clients, one by one. Returns how many processes they woke, all in all. */
static int connect_all(struct worker *worker)
{
    int woken = 0;
    await_all_asleep(worker, WORKERS);
    for (int i = 1; i <= CLIENTS; i++) {
        int client = connect_to(port_of(worker[0].listener));
        await_accepted(i);
        woken += await_all_asleep(worker, WORKERS);
        close(client);
    }
    return woken;
}

static void run(const char *name, enum how how, int expected, int min, int max)
{
    struct worker worker[WORKERS] = {0};
    int busiest = 0;
    start(worker, WORKERS, how, 0);
    int woken = (connect_all(worker) + CLIENTS / 2) / CLIENTS;
    stop(worker, WORKERS, how);
    for (int i = 0; i < WORKERS; i++)
        busiest = accepted[i] > busiest ? accepted[i] : busiest;
    const char *share = busiest >= NEARLY_ALL  ? "nearly all"
                        : busiest <= AN_EIGHTH ? "an eighth"
                                               : "some";
    printf("%-20s a client wakes %d of %d; the busiest accepts %s\n", name, woken, WORKERS, share);
    expect(woken == expected, "so many wake up");
    expect(busiest >= min && busiest <= max, "the busiest accepts so many");
}

/* One client, for the picture. Each process that is woken leaves epoll_wait() here, because the
 * first one lets LATE_MS pass before it accepts. */
static void draw(const char *name, enum how how, int min, int max)
{
    struct worker worker[DRAWN] = {0};
    start(worker, DRAWN, how, LATE_MS);
    await_all_asleep(worker, DRAWN);
    struct sockaddr_in address = loopback(port_of(worker[0].listener));
    int client = socket(AF_INET, SOCK_STREAM, 0);
    scene(name);
    if (connect(client, (struct sockaddr *)&address, sizeof address) < 0)
        err(1, "connect");
    await_accepted(1);
    pause_ms(4 * LATE_MS); /* all are asleep again */
    scene_end();
    int woken = sum_of(returned);
    close(client);
    stop(worker, DRAWN, how);
    expect(woken >= min && woken <= max, "so many leave epoll_wait()");
}

int main(void)
{
    accepted = mmap(NULL, sizeof *accepted * 2 * WORKERS, PROT_READ | PROT_WRITE,
                    MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    if (accepted == MAP_FAILED)
        err(1, "mmap");
    returned = accepted + WORKERS;
    draw("one listener, many epolls", ONE_LISTENER, 2, DRAWN);
    draw("EPOLLEXCLUSIVE", EXCLUSIVE, 1, 1);
    run("epoll, one listener:", ONE_LISTENER, WORKERS, 1, CLIENTS);
    run("EPOLLEXCLUSIVE:", EXCLUSIVE, 1, NEARLY_ALL, CLIENTS);
    run("SO_REUSEPORT:", REUSEPORT, 1, 1, CLIENTS / 2);
    run("blocking accept():", BLOCKING, 1, 1, AN_EIGHTH);
    return experiment_failed;
}
