/* What the system tells of the server: proc(5) and sock_diag(7), where it has them. */
#ifdef __linux__
#define _GNU_SOURCE /* prlimit() */
#include <linux/inet_diag.h>
#include <linux/netlink.h>
#include <linux/rtnetlink.h>
#include <linux/sock_diag.h>
#include <linux/sockios.h>
#include <linux/tcp.h>
#endif
#include <dirent.h>
#include <errno.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#include "harness.h"

static void proc_path(char *path, size_t size, const char *what)
{
#ifdef __linux__
    snprintf(path, size, "/proc/%d/%s", (int)server.pid, what);
#else
    (void)path, (void)size;
    skip("no /proc/PID/%s on this system", what);
#endif
}

/* The number after a name in one of its files; -1 if there is none. */
static long proc_number(const char *file, const char *name)
{
    char path[64], line[256];
    long number = -1;
    proc_path(path, sizeof path, file);
    FILE *f = fopen(path, "r");
    while (f && fgets(line, sizeof line, f))
        if (strncmp(line, name, strlen(name)) == 0)
            number = strtol(line + strlen(name), NULL, 10);
    if (f)
        fclose(f);
    return number;
}

long server_rss_kib(void)
{
    long exact = proc_number("smaps_rollup", "Rss:"); /* VmRSS is rounded, per CPU */
    return exact >= 0 ? exact : proc_number("status", "VmRSS:");
}

int server_threads(void)
{
    return (int)proc_number("status", "Threads:");
}

void server_limit_descriptors(int limit)
{
#ifdef __linux__
    struct rlimit now;
    prlimit(server.pid, RLIMIT_NOFILE, NULL, &now);
    now.rlim_cur = (rlim_t)limit;
    int failed = prlimit(server.pid, RLIMIT_NOFILE, &now, NULL);
    must(!failed, "prlimit: %s", strerror(errno));
#else
    (void)limit;
    skip("this system does not change another process's limits");
#endif
}

int server_descriptors(void)
{
    char path[64];
    int count = 0;
    proc_path(path, sizeof path, "fd");
    DIR *directory = opendir(path);
    if (!directory)
        skip("%s: %s", path, strerror(errno));
    for (struct dirent *entry; (entry = readdir(directory));)
        count += entry->d_name[0] != '.';
    closedir(directory);
    return count;
}

#ifdef __linux__
struct answer {
    struct nlmsghdr header;
    struct inet_diag_msg server_end;
    char attributes[2048];
};

/* Asks for the server's end of a connection, which is found by its two addresses. Returns how long
 * the answer is, or -1. */
static ssize_t look_up(const struct client *client, struct answer *answer)
{
    struct sockaddr_in us = {0}, it = {0};
    socklen_t length = sizeof us;
    struct {
        struct nlmsghdr header;
        struct inet_diag_req_v2 body;
    } request = {.header = {.nlmsg_len = sizeof request,
                            .nlmsg_type = SOCK_DIAG_BY_FAMILY,
                            .nlmsg_flags = NLM_F_REQUEST},
                 .body = {.sdiag_family = AF_INET,
                          .sdiag_protocol = IPPROTO_TCP,
                          .idiag_ext = 1 << (INET_DIAG_INFO - 1)}};

    getsockname(client->fd, (struct sockaddr *)&us, &length);
    getpeername(client->fd, (struct sockaddr *)&it, &length);
    if (us.sin_family != AF_INET)
        return -1;
    request.body.id = (struct inet_diag_sockid){.idiag_sport = it.sin_port,
                                                .idiag_dport = us.sin_port,
                                                .idiag_src[0] = it.sin_addr.s_addr,
                                                .idiag_dst[0] = us.sin_addr.s_addr,
                                                .idiag_cookie = {~0u, ~0u}};
    ssize_t received = -1;
    int fd = socket(AF_NETLINK, SOCK_DGRAM | SOCK_CLOEXEC, NETLINK_SOCK_DIAG);
    if (fd >= 0 && send(fd, &request, sizeof request, 0) == sizeof request)
        received = recv(fd, answer, sizeof *answer, MSG_DONTWAIT); /* it is there */
    close(fd);
    return received;
}

/* Attributes follow the answer's fixed part, each with its length before it. */
static bool find_info(const char *at, const char *end, struct tcp_info *info)
{
    struct rtattr attribute;
    for (; end - at >= (ptrdiff_t)sizeof attribute; at += RTA_ALIGN(attribute.rta_len)) {
        memcpy(&attribute, at, sizeof attribute);
        if (attribute.rta_len < sizeof attribute || attribute.rta_len > end - at)
            return false;
        size_t size = attribute.rta_len - sizeof attribute;
        if (attribute.rta_type != INET_DIAG_INFO)
            continue;
        memcpy(info, at + sizeof attribute, size < sizeof *info ? size : sizeof *info);
        return size >= offsetof(struct tcp_info, tcpi_bytes_received); /* Linux 4.1 */
    }
    return false;
}
#endif

struct owed server_owes(const struct client *client)
{
    struct owed owed = {0};
#ifdef __linux__
    struct answer answer = {0};
    struct tcp_info info = {0};
    int on_its_way = 0;
    ssize_t length = look_up(client, &answer);
    if (length <= 0 || answer.header.nlmsg_type != SOCK_DIAG_BY_FAMILY ||
        !find_info(answer.attributes, (char *)&answer + length, &info))
        skip("this system does not tell what is in a socket's buffers");
    ioctl(client->fd, SIOCOUTQ, &on_its_way);
    owed.unread = (long)answer.server_end.idiag_rqueue;
    owed.held = (long)client->sent - on_its_way - owed.unread -
                (long)answer.server_end.idiag_wqueue - (long)info.tcpi_bytes_acked;
#else
    (void)client;
    skip("this system does not tell what is in a socket's buffers");
#endif
    return owed;
}

const char *server_has_read(const struct client *client)
{
#ifdef __linux__
    struct answer answer = {0};
    if (look_up(client, &answer) > 0 && answer.header.nlmsg_type == SOCK_DIAG_BY_FAMILY)
        return answer.server_end.idiag_rqueue > 0 ? ": the server leaves bytes unread"
                                                  : ": the server has read all that they sent";
#else
    (void)client;
#endif
    return "";
}

double server_cpu_ms(void)
{
#ifdef __APPLE__
    skip("no clock of another process's CPU time on this system");
    return 0;
#else
    clockid_t clock;
    struct timespec used;
    if (clock_getcpuclockid(server.pid, &clock) != 0 || clock_gettime(clock, &used) != 0)
        return 0;
    return (double)used.tv_sec * 1e3 + (double)used.tv_nsec / 1e6;
#endif
}

/* The time that the host has taken from the processors of this virtual machine: proc(5), steal. */
static int64_t stolen_ms(void)
{
    long long ticks = 0;
    FILE *file = fopen("/proc/stat", "r");
    if (file && fscanf(file, "cpu %*d %*d %*d %*d %*d %*d %*d %lld", &ticks) != 1)
        ticks = 0;
    if (file)
        fclose(file);
    return ticks * 1000 / sysconf(_SC_CLK_TCK);
}

int64_t server_queued_ms(void)
{
    long long queued = 0;
#ifdef __linux__
    char path[64];
    proc_path(path, sizeof path, "schedstat");
    FILE *file = fopen(path, "r");
    if (file && fscanf(file, "%*d %lld", &queued) != 1)
        queued = 0;
    if (file)
        fclose(file);
#endif
    return queued / 1000000 + stolen_ms();
}

/* Threads that run or wait for a CPU, and how often each has gone to sleep until now. */
struct awake {
    int count;
    struct {
        long id, sleeps;
    } thread[16]; /* one is enough to spin */
};

#ifdef __linux__
/* Reads a thread's file, proc_pid_status(5): its state, and how often it has gone to sleep. */
static bool is_runnable(FILE *status, long *sleeps)
{
    char line[256], state = '?';
    while (fgets(line, sizeof line, status)) {
        sscanf(line, "State: %c", &state);
        sscanf(line, "voluntary_ctxt_switches: %ld", sleeps);
    }
    return state == 'R';
}
#endif

static struct awake find_awake_threads(void)
{
    struct awake awake = {0};
#ifdef __linux__
    char path[320];
    proc_path(path, sizeof path, "task");
    DIR *directory = opendir(path);
    for (struct dirent *entry; awake.count < 16 && directory && (entry = readdir(directory));) {
        long sleeps = 0, id = atol(entry->d_name);
        snprintf(path, sizeof path, "/proc/%d/task/%ld/status", (int)server.pid, id);
        FILE *status = id > 0 ? fopen(path, "r") : NULL;
        if (status && is_runnable(status, &sleeps)) {
            awake.thread[awake.count].id = id;
            awake.thread[awake.count++].sleeps = sleeps;
        }
        if (status)
            fclose(status);
    }
    if (directory)
        closedir(directory);
#endif
    return awake;
}

/* Is there a thread that was awake then, is now, and has not slept in between? (On a busy machine a
 * thread may wait for a CPU each time we look: it does so after each sleep.) */
static bool kept_awake(const struct awake *then, const struct awake *now)
{
    for (int i = 0; i < then->count; i++)
        for (int k = 0; k < now->count; k++)
            if (then->thread[i].id == now->thread[k].id &&
                then->thread[i].sleeps == now->thread[k].sleeps)
                return true;
    return false;
}

bool server_sleeps(void)
{
#ifdef __linux__
    return find_awake_threads().count == 0;
#else
    return false;
#endif
}

bool server_settles(void)
{
    bool settled = false;
    for (int64_t end = now_ms() + patient(STUCK_MS); !settled && now_ms() < end;) {
        double before = server_cpu_ms();
        int64_t start = now_ms();
        struct awake then = find_awake_threads();
        int awake = 0;
        for (int i = 0; i < 5; i++) {
            nap(50);
            struct awake now = find_awake_threads();
            awake += kept_awake(&then, &now);
            then = now;
        }
        settled = awake <= 1 && server_cpu_ms() - before < 0.02 * (double)(now_ms() - start);
    }
    return settled;
}
