/* The least that can be called an epoll server: wait, receive, send. Do not use it: it loses what
 * the kernel does not take at once, and it stops without waiting for its clients. What 05-epoll
 * costs more than this is the price of that care. */
#include "net.h"
#include "options.h"

#include <err.h>
#include <signal.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <unistd.h>

enum { BATCH = 256, BUFFER = 64 * 1024 };

static void watch(int epoll, int fd)
{
    struct epoll_event event = {.events = EPOLLIN, .data = {.fd = fd}};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0)
        err(1, "epoll_ctl");
}

static void leave(int signal)
{
    (void)signal;
    _exit(0);
}

int main(int argc, char **argv)
{
    static char buffer[BUFFER];
    static struct epoll_event events[BATCH];
    struct net_settings settings = options_parse(argc, argv, NULL);
    int listener = net_listen(&settings, true);
    int epoll = epoll_create1(EPOLL_CLOEXEC);
    if (listener < 0 || epoll < 0)
        return 1;
    struct sigaction action = {.sa_handler = leave};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    watch(epoll, listener);
    net_announce(listener);
    for (;;) {
        int count = epoll_wait(epoll, events, BATCH, -1);
        for (int i = 0; i < count; i++) {
            int fd = events[i].data.fd;
            int client;
            if (fd == listener) {
                while (net_accept(listener, true, &client) == NET_CLIENT)
                    watch(epoll, client);
                continue;
            }
            ssize_t n = recv(fd, buffer, sizeof buffer, 0);
            if (n <= 0 || send(fd, buffer, (size_t)n, 0) < 0)
                close(fd);
        }
    }
}
