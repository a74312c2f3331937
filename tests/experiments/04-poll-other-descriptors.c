/* What epoll can wait for beside sockets, poll() and select() can, too.
 *
 * eventfd(), timerfd_create(), signalfd() and inotify_init() make descriptors of Linux's own, out
 * of a count, a time, a signal, a change of a file. They are not epoll's: each becomes readable,
 * and any of the three calls says so.
 *
 * Needs: linux
 *
 * Expect:
 *   nothing has happened           poll -, select -, epoll -
 *   eventfd, after a write()       poll IN, select IN, epoll IN
 *   timerfd, when the time is over poll IN, select IN, epoll IN
 *   signalfd, after raise()        poll IN, select IN, epoll IN
 *   inotify, after a file is made  poll IN, select IN, epoll IN
 */
#include "experiment.h"

#include <signal.h>
#include <sys/epoll.h>
#include <sys/eventfd.h>
#include <sys/inotify.h>
#include <sys/select.h>
#include <sys/signalfd.h>
#include <sys/timerfd.h>

enum { KINDS = 4 };

static bool polled(int fd)
{
    struct pollfd entry = {.fd = fd, .events = POLLIN};
    return poll(&entry, 1, 0) == 1 && entry.revents == POLLIN;
}

static bool selected(int fd)
{
    fd_set set;
    FD_ZERO(&set);
    FD_SET(fd, &set);
    return select(fd + 1, &set, NULL, NULL, &(struct timeval){0}) == 1 && FD_ISSET(fd, &set);
}

static bool epolled(int fd)
{
    struct epoll_event event = {.events = EPOLLIN}, got;
    int epoll = epoll_create1(0);
    if (epoll < 0 || epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0)
        err(1, "epoll");
    bool ready = epoll_wait(epoll, &got, 1, 0) == 1 && got.events == EPOLLIN;
    close(epoll);
    return ready;
}

static const char *in(bool ready)
{
    return ready ? "IN" : "-";
}

/* Prints what each call says of these descriptors. All three must say the same. */
static void look(const char *when, const int *fd, int count, bool wanted)
{
    bool by_poll = wanted, by_select = wanted, by_epoll = wanted;
    for (int i = 0; i < count; i++) {
        if (polled(fd[i]) != wanted)
            by_poll = !wanted;
        if (selected(fd[i]) != wanted)
            by_select = !wanted;
        if (epolled(fd[i]) != wanted)
            by_epoll = !wanted;
    }
    printf("%-30s poll %s, select %s, epoll %s\n", when, in(by_poll), in(by_select), in(by_epoll));
    expect(by_poll == wanted && by_select == wanted && by_epoll == wanted, "all three agree");
}

static sigset_t only_sigusr1(void)
{
    sigset_t set;
    sigemptyset(&set);
    sigaddset(&set, SIGUSR1);
    return set;
}

static void make_a_file_in(const char *directory)
{
    char path[64];
    snprintf(path, sizeof path, "%s/file", directory);
    int file = open(path, O_CREAT | O_WRONLY, 0600);
    if (file < 0)
        err(1, "%s", path);
    close(file);
    unlink(path);
}

int main(void)
{
    char directory[] = "/tmp/other-descriptors-XXXXXX";
    sigset_t usr1 = only_sigusr1();
    sigprocmask(SIG_BLOCK, &usr1, NULL);
    int count = eventfd(0, 0), timer = timerfd_create(CLOCK_MONOTONIC, 0);
    int signals = signalfd(-1, &usr1, 0), files = inotify_init();
    const int all[KINDS] = {count, timer, signals, files};
    for (int i = 0; i < KINDS; i++)
        if (all[i] < 0)
            err(1, "a descriptor");
    if (!mkdtemp(directory) || inotify_add_watch(files, directory, IN_CREATE) < 0)
        err(1, "%s", directory);
    look("nothing has happened", all, KINDS, false);

    uint64_t one = 1;
    const struct itimerspec soon = {.it_value = {.tv_nsec = 1000000}};
    if (write(count, &one, sizeof one) != sizeof one || timerfd_settime(timer, 0, &soon, NULL) < 0)
        err(1, "eventfd, timerfd");
    raise(SIGUSR1);
    make_a_file_in(directory);
    await_arrival(timer);
    look("eventfd, after a write()", &count, 1, true);
    look("timerfd, when the time is over", &timer, 1, true);
    look("signalfd, after raise()", &signals, 1, true);
    look("inotify, after a file is made", &files, 1, true);
    rmdir(directory);
    return experiment_failed;
}
