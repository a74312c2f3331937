/* One thread waits, and another thread adds a descriptor that is ready.
 *
 * select() and poll() copy their question when they are called. The other thread changes the
 * program's memory, and the kernel does not look there again: the wait sleeps on until something
 * else wakes it, here a pipe. Then select() writes its answer over the new bit, and poll() finds
 * the new entry at its next call. epoll's interest set is in the kernel, and epoll_ctl() changes it
 * there, so the wait returns at once. Any thread may call it.
 *
 * Needs: linux
 *
 * Expect:
 *   select(), a bit set in its set:      sleeps on, and the next call has lost the bit
 *   poll(), an entry added to its array: sleeps on, and the next call reports it
 *   epoll_wait(), EPOLL_CTL_ADD:         returns at once, and reports it
 *   epoll_wait(), EPOLL_CTL_MOD:         returns at once, and reports it
 */
#include "experiment.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/epoll.h>
#include <sys/select.h>
#include <sys/syscall.h>

enum way { SELECT, POLL, EPOLL_ADD, EPOLL_MOD };
enum { WAKE = 1, ADDED = 2 }; /* what a wait reports */

static int wake[2]; /* a pipe, watched from the beginning */
static int added;   /* a socket that is ready, and nobody reads from it */
static fd_set set;
static struct pollfd entry[2];
static int epoll;
static enum way way;
static atomic_int waiter; /* the thread's number, when it is about to wait */
static atomic_int reported;

static int wait_once(void)
{
    struct epoll_event event = {0};
    switch (way) {
    case SELECT:
        select((added > wake[0] ? added : wake[0]) + 1, &set, NULL, NULL, NULL);
        return (FD_ISSET(wake[0], &set) ? WAKE : 0) | (FD_ISSET(added, &set) ? ADDED : 0);
    case POLL:
        poll(entry, 2, -1);
        return (entry[0].revents ? WAKE : 0) | (entry[1].revents ? ADDED : 0);
    default:
        epoll_wait(epoll, &event, 1, -1);
        return event.data.fd == added ? ADDED : WAKE;
    }
}

static void control(int operation, int fd, uint32_t events)
{
    struct epoll_event event = {.events = events, .data.fd = fd};
    if (epoll_ctl(epoll, operation, fd, &event) < 0)
        err(1, "epoll_ctl");
}

static void add(void)
{
    if (way == SELECT)
        FD_SET(added, &set);
    else if (way == POLL)
        entry[1].fd = added;
    else
        control(way == EPOLL_ADD ? EPOLL_CTL_ADD : EPOLL_CTL_MOD, added, EPOLLIN);
}

static bool asleep(int thread)
{
    char path[64], line[256] = "";
    snprintf(path, sizeof path, "/proc/self/task/%d/stat", thread);
    FILE *file = fopen(path, "r");
    bool found = file && fgets(line, sizeof line, file) && strrchr(line, ')');
    if (file)
        fclose(file);
    return found && strrchr(line, ')')[2] == 'S';
}

static void *wait_in_thread(void *unused)
{
    waiter = (int)syscall(SYS_gettid);
    reported = wait_once();
    return unused;
}

/* Another thread waits, and we add the descriptor. If nothing comes of that, the pipe ends the
 * wait. Returns what the wait reported. */
static int add_during_wait(enum way chosen, int patience_ms)
{
    pthread_t thread;
    way = chosen;
    waiter = reported = 0;
    if (pthread_create(&thread, NULL, wait_in_thread, NULL))
        errx(1, "no thread");
    while (reported == 0 && !asleep(waiter))
        pause_ms(1);
    add();
    for (int ms = 0; reported == 0 && ms < patience_ms; ms++)
        pause_ms(1);
    if (reported == 0 && write(wake[1], "x", 1) != 1)
        err(1, "write");
    pthread_join(thread, NULL);
    return reported;
}

/* Returns whether the call after that reports the descriptor. */
static bool sleeps_on(const char *name, enum way chosen)
{
    char byte;
    int first = add_during_wait(chosen, 100), next = wait_once();
    printf("%-36s %s, and the next call %s\n", name, first == WAKE ? "sleeps on" : "returns",
           next & ADDED ? "reports it" : "has lost the bit");
    expect(first == WAKE && read(wake[0], &byte, 1) == 1, "the kernel has copied the question");
    return next & ADDED;
}

static bool returns(const char *name, enum way chosen)
{
    bool at_once = add_during_wait(chosen, 10000) == ADDED;
    printf("%-36s %s\n", name, at_once ? "returns at once, and reports it" : "sleeps on");
    expect(at_once, "epoll_ctl() changes what the other thread waits for");
    return at_once;
}

int main(void)
{
    struct pair pair = connection();
    added = pair.server;
    epoll = epoll_create1(0);
    if (pipe(wake) < 0 || write(pair.client, "x", 1) != 1)
        err(1, "start");
    await_bytes(added, 1);

    FD_SET(wake[0], &set);
    entry[0] = (struct pollfd){.fd = wake[0], .events = POLLIN};
    entry[1] = (struct pollfd){.fd = -1, .events = POLLIN};
    bool by_select = sleeps_on("select(), a bit set in its set:", SELECT);
    bool by_poll = sleeps_on("poll(), an entry added to its array:", POLL);
    expect(!by_select && by_poll, "select() writes its answer over the question");

    control(EPOLL_CTL_ADD, wake[0], EPOLLIN);
    bool by_add = returns("epoll_wait(), EPOLL_CTL_ADD:", EPOLL_ADD);
    control(EPOLL_CTL_MOD, added, 0);
    bool by_mod = returns("epoll_wait(), EPOLL_CTL_MOD:", EPOLL_MOD);
    claim("A thread in epoll_wait() does not see what another thread adds", "false",
          !by_add + !by_mod, 2, "the wait returns at once: %d of 2 times", by_add + by_mod);
    return experiment_failed;
}
