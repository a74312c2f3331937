/* What is kept for clients that never read, and by whom.
 *
 * The clients send and send. The server keeps its promise: at most 64 KiB unsent for each, and
 * meanwhile it does not read. But its kernel receives on until the receive buffer is full, and
 * holds the echo in the send buffer. Both grow by themselves, to megabytes, and are in no figure of
 * the process. You bound them by setting their sizes: by SO_RCVBUF and SO_SNDBUF on the listener,
 * from which the connections inherit (the kernel doubles the number, for its own bookkeeping), or
 * for all programs by net.ipv4.tcp_rmem and tcp_wmem. Our server has no option for that, so we
 * borrow its descriptors.
 *
 * Needs: linux
 * Servers: 02-busy-poll-nonblocking
 *
 * Expect:
 *   buffers as they are: 8 clients sent <n> kB each, until nothing more went
 *     the server keeps <n> kB for each, no more than 128: yes
 *     its kernel keeps <n> kB for each, no more than 512: no
 *   buffers of 64 kB: 8 clients sent <n> kB each, until nothing more went
 *     the server keeps <n> kB for each, no more than 128: yes
 *     its kernel keeps <n> kB for each, no more than 512: yes
 */
#include "experiment.h"
#include "server.h"

#include <linux/sock_diag.h>
#include <sys/syscall.h>

enum {
    CLIENTS = 8,
    BUFFER_KB = 64,
    SERVER_KB = 2 * 64,       /* its memory is counted in pages, and not to the last one */
    KERNEL_KB = 8 * BUFFER_KB /* two buffers, both doubled, and a last segment that is too large */
};

/* The clients' ends of the connections, then the server's. */
static struct pollfd ends[2 * CLIENTS];

/* A descriptor of the server's as one of ours, or -1 if it has none of that number. */
static int borrow(struct server *server, int number)
{
    int fd = -1;
    errno = ENOSYS;
#ifdef SYS_pidfd_getfd
    int process = (int)syscall(SYS_pidfd_open, server->pid, 0);
    if (process >= 0) {
        fd = (int)syscall(SYS_pidfd_getfd, process, number, 0);
        int error = errno;
        close(process);
        errno = error;
    }
#endif
    if (fd < 0 && errno != EBADF) {
        stop_server(server);
        skip("descriptors of another process cannot be had here (pidfd_getfd)");
    }
    return fd;
}

static bool is_listener(int fd)
{
    int answer = 0;
    getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &answer, &(socklen_t){sizeof answer});
    return answer;
}

static bool is_peer(int fd, int client)
{
    struct sockaddr_in peer = {0};
    getpeername(fd, (struct sockaddr *)&peer, &(socklen_t){sizeof peer});
    return ntohs(peer.sin_port) == port_of(client);
}

/* The server's end of that connection; with -1 its listener. */
static int servers_end(struct server *server, int client)
{
    for (int number = 0; number < 256; number++) {
        int fd = borrow(server, number);
        if (fd >= 0 && (client < 0 ? is_listener(fd) : is_peer(fd, client)))
            return fd;
        if (fd >= 0)
            close(fd);
    }
    errx(1, "the server has no such socket");
}

static void bound_buffers(struct server *server)
{
    int listener = servers_end(server, -1), size = BUFFER_KB * 1024;
    setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &size, sizeof size);
    setsockopt(listener, SOL_SOCKET, SO_SNDBUF, &size, sizeof size);
    close(listener);
}

static void connect_clients(struct server *server)
{
    for (int i = 0; i < CLIENTS; i++) {
        char byte = 'x';
        int client = connect_to(server->port);
        if (write(client, &byte, 1) != 1 || read(client, &byte, 1) != 1)
            err(1, "echo");
        ends[i] = (struct pollfd){.fd = client, .events = POLLOUT};
        ends[CLIENTS + i] = (struct pollfd){.fd = servers_end(server, client), .events = POLLOUT};
    }
}

/* Sends until no end has had room for some time, or more is sent than any buffer takes. Returns how
 * many kB. */
static long send_until_stuck(void)
{
    static const char bytes[65536];
    long total = 0;
    double end = now() + 20;
    for (int quiet = 0; quiet < 20 && total < 96L * 1024 * 1024 * CLIENTS;) {
        quiet = poll(ends, 2 * CLIENTS, 10) == 0 ? quiet + 1 : 0;
        for (int i = 0; i < CLIENTS; i++) {
            ssize_t sent = send(ends[i].fd, bytes, sizeof bytes, MSG_DONTWAIT | MSG_NOSIGNAL);
            total += sent > 0 ? sent : 0;
        }
        if (now() > end)
            errx(1, "after 20 s there is still room");
    }
    return total / 1024;
}

/* What is in the receive buffers and the send buffers of the server's ends; kB. */
static long kept_by_kernel(void)
{
    long total = 0;
    for (int i = CLIENTS; i < 2 * CLIENTS; i++) {
        uint32_t memory[SK_MEMINFO_VARS];
        if (getsockopt(ends[i].fd, SOL_SOCKET, SO_MEMINFO, memory, &(socklen_t){sizeof memory}) < 0)
            err(1, "SO_MEMINFO");
        total += memory[SK_MEMINFO_RMEM_ALLOC] + memory[SK_MEMINFO_WMEM_QUEUED];
    }
    return total / 1024;
}

static void measure(const char *path, bool bounded)
{
    struct server server = start_server(path);
    if (bounded)
        bound_buffers(&server);
    connect_clients(&server);
    long before = kb_of_process(server.pid, "VmRSS:");
    long sent = send_until_stuck() / CLIENTS;
    long own = (kb_of_process(server.pid, "VmRSS:") - before) / CLIENTS;
    long kernels = kept_by_kernel() / CLIENTS;

    printf("buffers %s: %d clients sent %ld kB each, until nothing more went\n",
           bounded ? "of 64 kB" : "as they are", CLIENTS, sent);
    printf("  the server keeps %ld kB for each, no more than %d: %s\n", own, SERVER_KB,
           own <= SERVER_KB ? "yes" : "no");
    printf("  its kernel keeps %ld kB for each, no more than %d: %s\n", kernels, KERNEL_KB,
           kernels <= KERNEL_KB ? "yes" : "no");
    expect(own <= SERVER_KB, "the server keeps its promise");
    expect((kernels <= KERNEL_KB) == bounded, "the kernel keeps what it is allowed to");
    for (int i = 2 * CLIENTS; i-- > 0;)
        close_with_reset(ends[i].fd);
    stop_server(&server);
}

int main(int argc, char **argv)
{
    if (argc < 2)
        errx(2, "needs the path of a server");
    measure(argv[1], false);
    measure(argv[1], true);
    return experiment_failed;
}
