/* EAGAIN can be wrong: at an urgent byte, while a signal is pending.
 *
 * The client sends one byte at a time, and after each of them the server's process is stopped and
 * continued. Now and then the stop finds it at the beginning of a recv(). An ordinary byte is
 * returned all the same. Where an urgent byte is next (SO_OOBINLINE, so it is one of the stream),
 * Linux looks for pending signals first, and says EAGAIN to a non-blocking socket. A
 * level-triggered server is told again. An edge-triggered one waits for the next edge.
 *
 * Needs: linux
 *
 * Expect:
 *   ordinary bytes: EAGAIN never, with a byte there
 *   urgent bytes:   EAGAIN <n> times, with a byte there
 */
#include "experiment.h"

#include <netinet/tcp.h>
#include <sched.h>
#include <signal.h>
#include <stdatomic.h>
#include <sys/mman.h>
#include <sys/wait.h>

enum { SENT_MIN = 2000, SENT_MAX = 1000000 };

struct tally { /* in a page that both processes see */
    atomic_int received, lies;
};

static void receive(int fd, struct tally *tally)
{
    for (;;) {
        char byte;
        int there = 0;
        struct pollfd ready = {.fd = fd, .events = POLLIN};
        poll(&ready, 1, -1);
        ioctl(fd, FIONREAD, &there);
        ssize_t got = recv(fd, &byte, 1, MSG_DONTWAIT);
        if (got == 0)
            _exit(0);
        if (got == 1)
            tally->received++;
        else if (errno == EAGAIN && there > 0)
            tally->lies++;
    }
}

/* The stop comes a little later after each byte, and then from the beginning again. */
static void stop_and_continue(pid_t process, int later)
{
    for (int i = 0; i < later; i++)
        getppid();
    kill(process, SIGSTOP);
    kill(process, SIGCONT);
}

static int lies_among(int flags)
{
    struct tally *tally =
        mmap(NULL, sizeof *tally, PROT_READ | PROT_WRITE, MAP_SHARED | MAP_ANONYMOUS, -1, 0);
    struct pair pair = connection();
    int on = 1;
    setsockopt(pair.server, SOL_SOCKET, SO_OOBINLINE, &on, sizeof on);
    setsockopt(pair.client, IPPROTO_TCP, TCP_NODELAY, &on, sizeof on);
    pid_t receiver = fork();
    if (receiver == 0) {
        close(pair.client);
        receive(pair.server, tally);
    }
    for (int sent = 0; sent < SENT_MIN || (flags && tally->lies == 0 && sent < SENT_MAX); sent++) {
        if (send(pair.client, "x", 1, flags) != 1)
            err(1, "send");
        stop_and_continue(receiver, sent % 200);
        while (tally->received <= sent)
            sched_yield();
    }
    shutdown(pair.client, SHUT_WR);
    waitpid(receiver, NULL, 0);
    close(pair.client);
    close(pair.server);
    return tally->lies;
}

int main(void)
{
    int ordinary = lies_among(0), urgent = lies_among(MSG_OOB);
    printf("ordinary bytes: EAGAIN %s, with a byte there\n", ordinary ? "sometimes" : "never");
    if (urgent == 0) {
        printf("no stop came at the right moment here\n");
        return SKIPPED;
    }
    printf("urgent bytes:   EAGAIN %d times, with a byte there\n", urgent);
    expect(ordinary == 0, "a byte that is there is returned");
    return experiment_failed;
}
