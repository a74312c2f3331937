/* Which clock notices a dead peer: keep-alive an idle one, TCP_USER_TIMEOUT one that is owed bytes.
 *
 * Once connected, each peer drops all that arrives before its TCP sees it, by a filter on its
 * socket: nothing is acknowledged, no FIN and no RST comes, as if a cable were cut. Only the last
 * peer lives, and does not read. Keep-alive is set to a first probe after 1 s of silence, and to 2
 * of them, 1 s apart: 3 s. It sends none while bytes are unacknowledged, and it goes on beyond
 * those 2 where a TCP_USER_TIMEOUT is set, too, and lasts longer.
 *
 * Needs: linux
 *
 * Expect:
 *   idle, nothing set:                                   open after 5 s
 *   idle, keep-alive:                                    ETIMEDOUT within 5 s
 *   idle, TCP_USER_TIMEOUT of 2 s:                       open after 5 s
 *   idle, keep-alive, TCP_USER_TIMEOUT of 60 s:          open after 5 s
 *   bytes owed, nothing set:                             open after 5 s
 *   bytes owed, keep-alive:                              open after 5 s
 *   bytes owed, TCP_USER_TIMEOUT of 2 s:                 ETIMEDOUT within 5 s
 *   bytes owed, TCP_USER_TIMEOUT of 2 s, the peer lives: ETIMEDOUT within 5 s
 */
#include "experiment.h"

#include <linux/filter.h>
#include <net/if.h>
#include <netinet/tcp.h>
#include <sched.h>

enum { CASES = 8, WATCHED_S = 5 };

struct watched {
    const char *name;
    bool keep_alive, owed, lives;
    int user_timeout_s; /* 0: not set */
    int due_s;          /* when it should end; 0: not while we watch */
    struct pair pair;
    int error;
    double ended_s;
};

static struct watched watched[CASES] = {
    {.name = "idle, nothing set:"},
    {.name = "idle, keep-alive:", .keep_alive = true, .due_s = 3},
    {.name = "idle, TCP_USER_TIMEOUT of 2 s:", .user_timeout_s = 2},
    {.name = "idle, keep-alive, TCP_USER_TIMEOUT of 60 s:",
     .keep_alive = true,
     .user_timeout_s = 60},
    {.name = "bytes owed, nothing set:", .owed = true},
    {.name = "bytes owed, keep-alive:", .owed = true, .keep_alive = true},
    {.name = "bytes owed, TCP_USER_TIMEOUT of 2 s:", .owed = true, .user_timeout_s = 2, .due_s = 2},
    {.name = "bytes owed, TCP_USER_TIMEOUT of 2 s, the peer lives:",
     .owed = true,
     .lives = true,
     .user_timeout_s = 2,
     .due_s = 2},
};

static bool drop_all_that_arrives(int fd)
{
    struct sock_filter nothing_passes = BPF_STMT(BPF_RET | BPF_K, 0);
    struct sock_fprog program = {.len = 1, .filter = &nothing_passes};
    return setsockopt(fd, SOL_SOCKET, SO_ATTACH_FILTER, &program, sizeof program) == 0;
}

static bool may_filter(void)
{
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    bool may = drop_all_that_arrives(fd);
    close(fd);
    return may;
}

/* Some kernels let only the network's administrator filter TCP. Any user may be that in a network
 * namespace. */
static bool network_of_my_own(void)
{
    struct ifreq up = {.ifr_name = "lo", .ifr_flags = IFF_UP | IFF_RUNNING};
    if (unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0)
        return false;
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    bool done = ioctl(fd, SIOCSIFFLAGS, &up) == 0;
    close(fd);
    return done;
}

static void set(int fd, int level, int option, int value)
{
    if (setsockopt(fd, level, option, &value, sizeof value) < 0)
        err(1, "setsockopt");
}

static void begin(struct watched *w)
{
    static char bytes[65536];
    w->pair = connection();
    int fd = w->pair.server;
    nonblocking(fd);
    if (w->keep_alive) {
        set(fd, SOL_SOCKET, SO_KEEPALIVE, 1);
        set(fd, IPPROTO_TCP, TCP_KEEPIDLE, 1);
        set(fd, IPPROTO_TCP, TCP_KEEPINTVL, 1);
        set(fd, IPPROTO_TCP, TCP_KEEPCNT, 2);
    }
    if (w->user_timeout_s)
        set(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, w->user_timeout_s * 1000);
    if (!w->lives && !drop_all_that_arrives(w->pair.client))
        err(1, "SO_ATTACH_FILTER");
    while (w->owed && send(fd, bytes, sizeof bytes, 0) > 0)
        ; /* more than the peer has room for */
}

/* No peer says anything, so a connection that is ready has ended. */
static void watch(double start)
{
    struct pollfd entries[CASES];
    for (int i = 0; i < CASES; i++)
        entries[i] = (struct pollfd){.fd = watched[i].pair.server, .events = POLLIN};
    for (double left = WATCHED_S; left > 0;) {
        left = start + WATCHED_S - now();
        poll(entries, CASES, left > 0 ? (int)(left * 1000) + 1 : 0);
        for (int i = 0; i < CASES; i++) {
            char byte;
            if (!entries[i].revents)
                continue;
            watched[i].error = recv(entries[i].fd, &byte, 1, 0) < 0 ? errno : -1;
            watched[i].ended_s = now() - start;
            entries[i].fd = -1;
        }
    }
}

static void tell(const struct watched *w)
{
    if (w->error)
        printf("%-52s %s within %d s\n", w->name,
               w->error == ETIMEDOUT ? "ETIMEDOUT" : strerror(w->error), WATCHED_S);
    else
        printf("%-52s open after %d s\n", w->name, WATCHED_S);
    expect(w->error == (w->due_s ? ETIMEDOUT : 0), "only the clock that counts ends it");
    expect(!w->error || w->ended_s > w->due_s - 0.1, "not before its time");
}

int main(void)
{
    if (!may_filter() && !(network_of_my_own() && may_filter()))
        skip("may neither filter TCP here nor make a network where it may");
    double start = now();
    for (int i = 0; i < CASES; i++)
        begin(&watched[i]);
    watch(start);
    for (int i = 0; i < CASES; i++)
        tell(&watched[i]);
    return experiment_failed;
}
