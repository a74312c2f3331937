/* Four listeners on one port, and one of them is closed.
 *
 * With SO_REUSEPORT a hash of a client's address and port chooses the listener whose queue it waits
 * in, and it stays there. So close() of one listener resets the clients in its queue, although
 * three others listen on the same port. A server that ends one of its threads must first accept
 * those that wait there; a client that arrives in between is lost all the same. With the setting
 * net.ipv4.tcp_migrate_req of Linux 5.14 the kernel moves them to another listener.
 * See socket(7), and Documentation/networking/ip-sysctl.rst of the kernel.
 *
 * Needs: linux
 *
 * Expect:
 *   40 clients wait for accept() at 4 listeners of one port, and one listener is closed
 *   as it is:                         <n> clients are reset, the others accept <n>
 *   accept() until EAGAIN, and close: 0 clients are reset, the others accept <n>, it accepted <n>
 *   tcp_migrate_req is 1:             <...>
 */
#include "experiment.h"

#include <net/if.h>
#include <sched.h>

enum { LISTENERS = 4, CLIENTS = 40 };

struct outcome {
    int reset, others,
        closed; /* clients: reset; accepted by the other listeners, by the closed one */
};

/* Accepts all that wait, and says "x" to each. Returns how many. */
static int accept_all(int listener)
{
    int count = 0, fd;
    while ((fd = accept(listener, NULL, NULL)) >= 0) {
        if (send(fd, "x", 1, 0) == 1)
            count++;
        close(fd);
    }
    return count;
}

static bool is_reset(int client)
{
    struct pollfd entry = {.fd = client, .events = POLLIN};
    char byte;
    if (poll(&entry, 1, 10000) != 1)
        errx(1, "a client hears nothing");
    return recv(client, &byte, 1, 0) < 0 && errno == ECONNRESET;
}

static struct outcome close_one(bool accepts_first)
{
    int listener[LISTENERS], client[CLIENTS];
    struct outcome outcome = {0};
    for (int i = 0; i < LISTENERS; i++) {
        listener[i] = listen_beside_others(i == 0 ? 0 : port_of(listener[0]), CLIENTS);
        nonblocking(listener[i]);
    }
    for (int i = 0; i < CLIENTS; i++)
        client[i] = connect_to(port_of(listener[0]));
    if (accepts_first)
        outcome.closed = accept_all(listener[0]);
    close(listener[0]);
    for (int i = 1; i < LISTENERS; i++) {
        outcome.others += accept_all(listener[i]);
        close(listener[i]);
    }
    for (int i = 0; i < CLIENTS; i++) {
        outcome.reset += is_reset(client[i]);
        close(client[i]);
    }
    return outcome;
}

/* In a network of this process's own, where the setting is nobody else's. Returns false, and why in
 * errno, where this is not allowed, or the kernel is older. */
static bool may_migrate(void)
{
    if (unshare(CLONE_NEWNET) < 0)
        return false;
    struct ifreq up = {.ifr_name = "lo", .ifr_flags = IFF_UP};
    int fd = socket(AF_INET, SOCK_DGRAM, 0);
    if (fd < 0 || ioctl(fd, SIOCSIFFLAGS, &up) < 0)
        return false;
    close(fd);
    int file = open("/proc/sys/net/ipv4/tcp_migrate_req", O_WRONLY | O_CLOEXEC);
    bool good = file >= 0 && write(file, "1", 1) == 1;
    if (file >= 0)
        close(file);
    return good;
}

int main(void)
{
    printf("%d clients wait for accept() at %d listeners of one port, and one listener is closed\n",
           CLIENTS, LISTENERS);
    struct outcome o = close_one(false);
    printf("as it is:                         %d clients are reset, the others accept %d\n",
           o.reset, o.others);
    expect(o.reset > 0 && o.reset + o.others == CLIENTS, "those in its queue are reset");
    o = close_one(true);
    printf(
        "accept() until EAGAIN, and close: %d clients are reset, the others accept %d, it accepted "
        "%d\n",
        o.reset, o.others, o.closed);
    expect(o.reset == 0 && o.closed > 0 && o.closed + o.others == CLIENTS, "none is lost");
    printf("tcp_migrate_req is 1:             ");
    if (!may_migrate()) {
        printf("not tried: %s\n", strerror(errno));
        return experiment_failed;
    }
    o = close_one(false);
    printf("%d clients are reset, the others accept %d\n", o.reset, o.others);
    expect(o.reset == 0 && o.others == CLIENTS, "they are moved to the other listeners");
    return experiment_failed;
}
