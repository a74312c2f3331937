/* What listen() makes of its argument, and when a full backlog refuses a client after all.
 *
 * listen() never fails for too long a backlog: the kernel takes net.core.somaxconn instead, and
 * says nothing. For a listening socket TCP_INFO tells the length of the queue in tcpi_unacked and
 * its limit in tcpi_sacked; `ss -ltn` shows both.
 *
 * And a client may be turned away. When the queue is full, the kernel drops a new client's first
 * segment, and the client tries again. But the queue may fill up after that segment was answered:
 * the client takes itself for connected. Its next segment is dropped, too, or, with
 * net.ipv4.tcp_abort_on_overflow, answered by RST. This usually needs a slow network. Here
 * TCP_DEFER_ACCEPT holds the connections back at this point, and the setting is changed in a
 * network namespace of our own.
 *
 * Needs: linux
 *
 * Expect:
 *   listen(10): the queue takes 10
 *   listen(65535): the queue takes <n>, and net.core.somaxconn is <n>
 *   tcp_abort_on_overflow = 0: <...>
 *   tcp_abort_on_overflow = 1: <...>
 */
#include "experiment.h"

#include <linux/tcp.h>
#include <net/if.h>
#include <sched.h>

enum { CLIENTS = 30, BACKLOG = 10 };

static int limit_of(int listener)
{
    struct tcp_info info = {0};
    socklen_t length = sizeof info;
    if (getsockopt(listener, IPPROTO_TCP, TCP_INFO, &info, &length) < 0)
        err(1, "TCP_INFO");
    return (int)info.tcpi_sacked;
}

static int limit_for(int backlog)
{
    int listener = listen_on_loopback(backlog), limit = limit_of(listener);
    close(listener);
    return limit;
}

static int setting(const char *path)
{
    int value = -1;
    FILE *file = fopen(path, "r");
    if (!file || fscanf(file, "%d", &value) != 1)
        err(1, "%s", path);
    fclose(file);
    return value;
}

/* Returns 0 or errno. User namespaces may be forbidden; root needs none. */
static int own_network(void)
{
    if (unshare(CLONE_NEWNET) < 0 && unshare(CLONE_NEWUSER | CLONE_NEWNET) < 0)
        return errno;
    struct ifreq loopback = {.ifr_name = "lo", .ifr_flags = IFF_UP};
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    if (ioctl(fd, SIOCSIFFLAGS, &loopback) < 0)
        err(1, "lo");
    close(fd);
    return 0;
}

/* Returns 0 or errno. In a container /proc/sys may be read-only. */
static int set_abort_on_overflow(int value)
{
    FILE *file = fopen("/proc/sys/net/ipv4/tcp_abort_on_overflow", "w");
    if (!file)
        return errno;
    fprintf(file, "%d", value);
    return fclose(file) == 0 ? 0 : errno; /* it writes now */
}

/* More clients than there is room for shake hands, and then all send a byte. Returns how many of
 * them have been reset when poll() first sees one, or after half a second. */
static int overflow(void)
{
    struct pollfd client[CLIENTS];
    int reset = 0, listener = listen_on_loopback(BACKLOG);
    struct sockaddr_in address = loopback(port_of(listener));
    setsockopt(listener, IPPROTO_TCP, TCP_DEFER_ACCEPT, &(int){5}, sizeof(int));
    for (int i = 0; i < CLIENTS; i++) {
        client[i] = (struct pollfd){.fd = socket(AF_INET, SOCK_STREAM, 0)};
        nonblocking(client[i].fd);
        (void)connect(client[i].fd, (struct sockaddr *)&address, sizeof address);
    }
    for (int i = 0; i < CLIENTS; i++) /* some are not connected, and will not be */
        (void)send(client[i].fd, "x", 1, MSG_NOSIGNAL);
    poll(client, CLIENTS, 500); /* it is asked for nothing, so only an error ends the wait */
    for (int i = 0; i < CLIENTS; i++) {
        reset += (client[i].revents & POLLERR) != 0;
        close_with_reset(client[i].fd);
    }
    close(listener);
    return reset;
}

int main(void)
{
    int somaxconn = setting("/proc/sys/net/core/somaxconn");
    int small = limit_for(BACKLOG), large = limit_for(65535);
    printf("listen(%d): the queue takes %d\n", BACKLOG, small);
    printf("listen(65535): the queue takes %d, and net.core.somaxconn is %d\n", large, somaxconn);
    expect(small == (somaxconn < BACKLOG ? somaxconn : BACKLOG), "it is the argument");
    expect(large == (somaxconn < 65535 ? somaxconn : 65535),
           "but not more than net.core.somaxconn");

    int error = own_network();
    for (int on = 0; on <= 1; on++) {
        printf("tcp_abort_on_overflow = %d: ", on);
        if (!error)
            error = set_abort_on_overflow(on);
        if (error) {
            printf("not shown, no network of our own: %s\n", strerror(error));
            continue;
        }
        int reset = overflow();
        printf("%d of %d clients were reset\n", reset, CLIENTS);
        expect((reset > 0) == on, "with 1 an overflow resets");
    }
    return experiment_failed;
}
