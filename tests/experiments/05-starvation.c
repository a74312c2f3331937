/* "Read until EAGAIN", and a client that never lets it come.
 *
 * Edge-triggered handlers have to go on until EAGAIN. A server that does so in one go belongs to
 * the fastest client: as long as that one sends, no other client gets a turn. Here it sends for
 * half a second, while another client asks for one byte. One turn each, round and round, costs
 * nothing.
 *
 * Needs: linux
 *
 * Expect:
 *   until EAGAIN in one go: the other client waited up to <n> ms
 *   one recv() for each:    the other client waited up to <n> ms
 */
#include "experiment.h"

#include <pthread.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/wait.h>

enum { PIECE = 1024, WORK = 20, SECONDS_10TH = 5 };

static void check(const char *bytes, ssize_t length) /* what a server does with what it reads */
{
    static volatile unsigned sum;
    unsigned s = sum;
    for (int round = 0; round < WORK; round++)
        for (ssize_t i = 0; i < length; i++)
            s = s * 31 + (unsigned char)bytes[i];
    sum = s;
}

/* Starts a process that sends as fast as the kernel takes it. */
static pid_t start_fast_client(int fd)
{
    static const char bytes[64 * PIECE];
    pid_t pid = fork();
    if (pid != 0)
        return pid;
    alarm(5);
    while (write(fd, bytes, sizeof bytes) > 0)
        ;
    _exit(0);
}

struct other {
    int fd;
    double end, longest;
    int answers;
};

/* The other client: a byte there and back, again and again. */
static void *ask(void *argument)
{
    struct other *other = argument;
    char byte = 'x';
    while (now() < other->end) {
        double start = now();
        bool answered = write(other->fd, &byte, 1) == 1 && read(other->fd, &byte, 1) == 1;
        double waited = now() - start;
        other->longest = waited > other->longest ? waited : other->longest;
        if (!answered)
            break;
        other->answers++;
        pause_ms(1);
    }
    return NULL;
}

/* Reads, until EAGAIN or once; answers the other client. */
static void handle(int fd, bool echo, bool until_eagain, double end)
{
    char buffer[PIECE];
    ssize_t got;
    do {
        got = recv(fd, buffer, sizeof buffer, MSG_DONTWAIT);
        check(buffer, got);
        if (got > 0 && echo && send(fd, buffer, (size_t)got, MSG_NOSIGNAL) < 0)
            return;
    } while (got > 0 && until_eagain && now() < end);
}

static struct other try(const char *name, bool until_eagain)
{
    struct pair fast = connection(), slow = connection();
    struct epoll_event event[2] = {{EPOLLIN, {.fd = fast.server}}, {EPOLLIN, {.fd = slow.server}}};
    double end = now() + SECONDS_10TH / 10.;
    struct other other = {slow.client, end, 0, 0};
    int epoll = epoll_create1(0);
    pthread_t thread;

    epoll_ctl(epoll, EPOLL_CTL_ADD, fast.server, &event[0]);
    epoll_ctl(epoll, EPOLL_CTL_ADD, slow.server, &event[1]);
    pid_t child = start_fast_client(fast.client);
    pthread_create(&thread, NULL, ask, &other);
    while (now() < end) {
        int count = epoll_wait(epoll, event, 2, 50);
        for (int i = 0; i < count; i++)
            handle(event[i].data.fd, event[i].data.fd == slow.server, until_eagain, end);
    }
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
    close(slow.server);
    pthread_join(thread, NULL);
    printf("%s the other client waited up to %.1f ms\n", name, other.longest * 1000);
    return other;
}

/* Beside busy programs one answer may take long in either way, but not each of them. */
int main(void)
{
    struct other starved = try("until EAGAIN in one go:", true);
    struct other fair = try("one recv() for each:   ", false);
    expect(starved.longest > 0.05 && fair.answers > 4 * starved.answers,
           "the fast one keeps the loop to itself");
    return experiment_failed;
}
