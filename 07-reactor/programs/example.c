/* A tick each second, and the length of each line you type, until the end of input. */
#include <stdio.h>
#include <unistd.h>

#include "reactor.h"

static void on_tick(struct reactor *reactor, struct reactor_timer *timer)
{
    printf("tick at %lld ms\n", (long long)(reactor_now_ms(reactor) - *(int64_t *)timer->argument));
}

static void on_input(struct reactor *reactor, int fd, unsigned ready, void *argument)
{
    char line[512];
    ssize_t length = read(fd, line, sizeof line); /* it is ready, so this does not sleep */
    (void)ready, (void)argument;
    if (length > 0)
        printf("%zd bytes\n", length);
    else
        reactor_stop(reactor);
}

int main(void)
{
    struct reactor *reactor = reactor_create(NULL);
    int64_t start = reactor ? reactor_now_ms(reactor) : 0;
    struct reactor_timer timer = {.handler = on_tick, .argument = &start};
    if (!reactor || reactor_timer_start(reactor, &timer, 1000, 1000) < 0 ||
        reactor_add(reactor, STDIN_FILENO, REACTOR_READ, on_input, NULL) < 0 ||
        reactor_run(reactor) < 0) {
        perror("reactor");
        return 1;
    }
    reactor_destroy(reactor);
    return 0;
}
