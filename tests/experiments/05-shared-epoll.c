/* Several threads that wait on one epoll, and bytes that change places.
 *
 * As long as there is something to read, level-triggered epoll tells every thread that asks. So two
 * of them may read from one connection, one after the other, and nothing orders what they send.
 * Here the first is held up between its recv() and its send(), until the second has sent.
 * EPOLLONESHOT keeps other threads off a connection until its thread arms it again. If that thread
 * forgets it, no thread hears of the connection again.
 *
 * Needs: linux
 *
 * Expect:
 *   level-triggered:               the client says AB, and hears BA
 *   EPOLLONESHOT:                  the client says AB, and hears AB
 *   EPOLLONESHOT, not armed again: the client says AB, and hears A
 */
#include "experiment.h"

#include <pthread.h>
#include <stdatomic.h>
#include <sys/epoll.h>

static int epoll;
static struct epoll_event watched;
static bool arms_again;
static atomic_bool second_sent, stopping;

static void serve(int fd)
{
    char byte;
    if (recv(fd, &byte, 1, MSG_DONTWAIT) != 1)
        return; /* the other one was faster */
    /* With EPOLLONESHOT no other thread can come: a moment is enough to show it. */
    int patience_ms = watched.events & EPOLLONESHOT ? 200 : 10000;
    for (int ms = 0; byte == 'A' && !second_sent && ms < patience_ms; ms++)
        pause_ms(1);
    if (send(fd, &byte, 1, 0) != 1)
        err(1, "send");
    second_sent = byte == 'B';
    if (arms_again && epoll_ctl(epoll, EPOLL_CTL_MOD, fd, &watched) < 0)
        err(1, "epoll_ctl");
}

static void *work(void *unused)
{
    struct epoll_event event;
    while (!stopping)
        if (epoll_wait(epoll, &event, 1, 20) == 1)
            serve(event.data.fd);
    return unused;
}

static bool hears(const char *name, uint32_t events, bool again, const char *expected)
{
    struct pair pair = connection();
    struct timeval patience = {.tv_sec = 10}, moment = {.tv_usec = 300000};
    pthread_t thread[2];
    char answer[3] = "";

    epoll = epoll_create1(0);
    watched = (struct epoll_event){.events = events, .data.fd = pair.server};
    arms_again = again;
    second_sent = stopping = false;
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, pair.server, &watched) < 0 ||
        write(pair.client, "AB", 2) != 2)
        err(1, "start");
    await_bytes(pair.server, 2);
    setsockopt(pair.client, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
    for (int i = 0; i < 2; i++)
        pthread_create(&thread[i], NULL, work, NULL);
    for (int i = 0; i < 2 && recv(pair.client, answer + i, 1, 0) == 1; i++)
        if (events & EPOLLONESHOT && !again) /* nothing more is to come */
            setsockopt(pair.client, SOL_SOCKET, SO_RCVTIMEO, &moment, sizeof moment);
    stopping = true;
    for (int i = 0; i < 2; i++)
        pthread_join(thread[i], NULL);
    printf("%-30s the client says AB, and hears %s\n", name, answer);
    close(pair.client);
    close(pair.server);
    close(epoll);
    return !strcmp(answer, expected);
}

int main(void)
{
    expect(hears("level-triggered:", EPOLLIN, false, "BA"), "bytes change places");
    expect(hears("EPOLLONESHOT:", EPOLLIN | EPOLLONESHOT, true, "AB"), "one thread at a time");
    expect(hears("EPOLLONESHOT, not armed again:", EPOLLIN | EPOLLONESHOT, false, "A"),
           "a connection that is not armed again is forgotten");
    return experiment_failed;
}
