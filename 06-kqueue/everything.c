/* Why people miss kqueue on Linux: one loop, one call, and everything that can happen comes out of
 * it: a client, a file's change, a signal, a timer, a word from another thread.
 *
 *     06-kqueue/everything FILE
 *
 * Connect to the port it prints, write to FILE, press Ctrl-C. */
#include <err.h>
#include <errno.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <sys/types.h>

#include <fcntl.h>
#include <netinet/in.h>
#include <sys/event.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <unistd.h>

static int kq;

/* Filters and flags have other types on NetBSD, but fit into these, too: see server.c. */
static void change(uintptr_t ident, short filter, unsigned short flags, unsigned fflags, int data)
{
    struct kevent change;
    EV_SET(&change, ident, filter, flags, fflags, data, 0);
    if (kevent(kq, &change, 1, NULL, 0, NULL) < 0)
        err(1, "kevent");
}

/* Work that takes its time, elsewhere. NOTE_TRIGGER wakes the loop when it is done. */
static void *work(void *unused)
{
    while (sleep(3) == 0)
        change(1, EVFILT_USER, 0, NOTE_TRIGGER, 0);
    return unused;
}

static int open_listener(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t length = sizeof address;
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK); /* and port 0: any that is free */
    if (fd < 0 || bind(fd, (struct sockaddr *)&address, length) < 0 || listen(fd, 16) < 0 ||
        fcntl(fd, F_SETFL, O_NONBLOCK) < 0 ||
        getsockname(fd, (struct sockaddr *)&address, &length) < 0)
        err(1, "listen");
    printf("listening on 127.0.0.1:%d\n", ntohs(address.sin_port));
    fflush(stdout);
    return fd;
}

/* It has come, and that is all. It may also have left again: then accept() must not wait. */
static void greet(int listener)
{
    int client = accept(listener, NULL, NULL);
    if (client < 0)
        warn("accept");
    else
        close(client);
}

static void handle(const struct kevent *event)
{
    int count = (int)event->data;
    switch (event->filter) {
    case EVFILT_READ:
        printf("a client, one of %d that wait\n", count);
        greet((int)event->ident);
        break;
    case EVFILT_VNODE:
        printf("the file:%s%s%s\n", event->fflags & NOTE_WRITE ? " written" : "",
               event->fflags & NOTE_ATTRIB ? " attributes" : "",
               event->fflags & (NOTE_DELETE | NOTE_RENAME) ? " gone" : "");
        break;
    case EVFILT_TIMER:
        printf("a second has passed, %d time(s)\n", count);
        break;
    case EVFILT_USER:
        printf("the other thread has something\n");
        break;
    }
    fflush(stdout);
}

int main(int argc, char **argv)
{
    const struct sigaction ignore = {.sa_handler = SIG_IGN};
    pthread_t thread;
    struct kevent event = {0};

    if (argc != 2)
        errx(2, "usage: everything FILE");
    int file = open(argv[1], O_RDONLY);
    if (file < 0)
        err(1, "%s", argv[1]);
    kq = kqueue();
    if (kq < 0)
        err(1, "kqueue");
    sigaction(SIGINT, &ignore, NULL); /* else it would end us, beside being reported */
    change(SIGINT, EVFILT_SIGNAL, EV_ADD, 0, 0);
    change((uintptr_t)open_listener(), EVFILT_READ, EV_ADD, 0, 0);
    change((uintptr_t)file, EVFILT_VNODE, EV_ADD | EV_CLEAR,
           NOTE_WRITE | NOTE_ATTRIB | NOTE_DELETE | NOTE_RENAME, 0);
    change(1, EVFILT_TIMER, EV_ADD, 0, 1000);
    change(1, EVFILT_USER, EV_ADD | EV_CLEAR, 0, 0); /* not the same 1 as the timer's */
    errno = pthread_create(&thread, NULL, work, NULL);
    if (errno != 0)
        err(1, "pthread_create");

    while (event.filter != EVFILT_SIGNAL) {
        int count = kevent(kq, NULL, 0, &event, 1, NULL);
        if (count < 0 && errno != EINTR)
            err(1, "kevent");
        if (count == 1)
            handle(&event);
    }
    printf("Ctrl-C\n");
    return 0;
}
