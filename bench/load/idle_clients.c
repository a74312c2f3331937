#ifdef __linux__
#define _GNU_SOURCE
#include <sys/prctl.h>
#endif

#include "load/idle_clients.h"

#include "load/load.h"
#include "system/interrupt.h"

#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#ifndef MSG_NOSIGNAL
#define MSG_NOSIGNAL 0 /* macOS: main ignores SIGPIPE */
#endif

/* The process of the idle clients. It waits for a number, connects so many, and answers, until the
 * other side closes. */
static void hold(int control, int port, int count, size_t size)
{
    struct load load;
    int failed = load_init(&load, port, count, size) != 0 ? errno : 0;
    for (;;) {
        struct idle_state state = {0};
        int wanted;
        if (recv(control, &wanted, sizeof wanted, MSG_WAITALL) != (ssize_t)sizeof wanted)
            break;
        state.end = failed ? LOAD_NO_SOCKET : load_open(&load, wanted);
        state.open = failed ? 0 : load.open;
        snprintf(state.trouble, sizeof state.trouble, "%s",
                 failed ? strerror(failed) : load.trouble);
        if (send(control, &state, sizeof state, 0) != (ssize_t)sizeof state)
            break;
    }
    _exit(0); /* the kernel closes all connections, by RST */
}

int idle_clients_create(struct idle_clients *clients, int port, int count, size_t size)
{
    int ends[2];
    if (socketpair(AF_UNIX, SOCK_STREAM, 0, ends) != 0)
        return -1;
    for (int i = 0; i < 2; i++)
        fcntl(ends[i], F_SETFD, FD_CLOEXEC);
    clients->pid = fork();
    if (clients->pid == 0) {
        close(ends[0]);
        setpgid(0, 0); /* Ctrl-C is the parent's business */
#ifdef __linux__
        prctl(PR_SET_PDEATHSIG, SIGKILL);
#endif
        hold(ends[1], port, count, size);
    }
    close(ends[1]);
    clients->control = ends[0];
    if (clients->pid < 0) {
        close(ends[0]);
        clients->pid = 0;
        return -1;
    }
    return 0;
}

void idle_clients_connect(struct idle_clients *clients, int count, struct idle_state *state)
{
    memset(state, 0, sizeof *state);
    ssize_t n = send(clients->control, &count, sizeof count, MSG_NOSIGNAL);
    /* their process has a watchdog of its own, so this ends */
    if (n == (ssize_t)sizeof count) {
        do
            n = recv(clients->control, state, sizeof *state, MSG_WAITALL);
        while (n < 0 && errno == EINTR && !interrupted);
    }
    if (n != (ssize_t)sizeof *state) {
        state->end = interrupted ? LOAD_INTERRUPTED : LOAD_NO_SOCKET;
        snprintf(state->trouble, sizeof state->trouble, "the idle connections were lost");
    }
}

void idle_clients_end(struct idle_clients *clients)
{
    if (clients->pid <= 0)
        return;
    close(clients->control);
    kill(clients->pid, SIGKILL);
    while (waitpid(clients->pid, NULL, 0) < 0 && errno == EINTR)
        continue;
    clients->pid = 0;
}
