/* Real limits, which the server meets while it runs; and a server that is stopped for a while. */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <grp.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include "calls.h"
#include "fault.h"

enum { MANY = 30, THREADS = 11, STRANGER = 640000 /* and up: users who run nothing else */ };

void limit_server(int resource, bool limited, unsigned long now)
{
    struct rlimit limit;
    must(prlimit(server.pid, (enum __rlimit_resource)resource, NULL, &limit) == 0, "prlimit: %s",
         strerror(errno));
    limit.rlim_cur = limited ? (rlim_t)now : limit.rlim_max;
    if (prlimit(server.pid, (enum __rlimit_resource)resource, &limit, NULL) != 0)
        skip("may not set the server's limits: %s", strerror(errno));
}

/* How many have all their bytes by now; the rest wait, or have ended. */
static int count_served(struct client *c, int count)
{
    int served = 0;
    for (int i = 0; i < count; i++) {
        if (!ended(&c[i]))
            client_take(&c[i], 1000);
        served += !ended(&c[i]) && c[i].received == c[i].sent;
    }
    return served;
}

static void ask(struct client *c, int count)
{
    clients_open(c, count);
    for (int i = 0; i < count; i++)
        client_put(&c[i], 100);
}

static int count_ended(const struct client *c, int count)
{
    int n = 0;
    for (int i = 0; i < count; i++)
        n += ended(&c[i]);
    return n;
}

static void stop_well(struct client *c, int count)
{
    newcomer_must_be_served();
    clients_close(c, count);
    must_settle();
    server_stop();
}

void out_of_descriptors(const struct fault *fault)
{
    struct client first, c[MANY];
    (void)fault;
    server_start();
    first = client_open();
    client_echo(&first, 1000);
    int full = server_descriptors() + 10, served = 0, lost = 0;
    limit_server(RLIMIT_NOFILE, true, (unsigned long)full);
    ask(c, MANY);
    AWAIT(5000, (served = count_served(c, MANY)) >= 5 && server_descriptors() == full);
    must(server_descriptors() == full, "it never had all %d descriptors in use", full);
    client_echo(&first, 100000);
    must_settle();
    served = count_served(c, MANY);
    must(served >= 5 && served <= 10, "%d served with 10 descriptors left", served);
    limit_server(RLIMIT_NOFILE, false, 0);
    AWAIT(5000, (served = count_served(c, MANY)) + (lost = count_ended(c, MANY)) == MANY);
    must(served + lost == MANY, "%d of %d still wait, though there are descriptors again",
         MANY - served - lost, MANY);
    client_echo(&first, 1000);
    client_close(&first);
    stop_well(c, MANY);
}

/* root has no limit of threads, so the server runs as another user. */
_Noreturn void run_as(char **arguments)
{
    uid_t user = (uid_t)atoi(arguments[0]);
    rlim_t threads = (rlim_t)atoi(arguments[1]);
    char **command = arguments + 2;
    int program = open(command[0], O_RDONLY | O_CLOEXEC); /* this user may not reach its path */
    if (program >= 0 && setgroups(0, NULL) == 0 && setresgid(user, user, user) == 0 &&
        setresuid(user, user, user) == 0 &&
        setrlimit(RLIMIT_NPROC, &(struct rlimit){threads, threads}) == 0) {
        prctl(PR_SET_PDEATHSIG, SIGKILL); /* the change of user has cleared it */
        fexecve(program, command, environ);
    }
    perror(command[0]);
    _exit(127);
}

/* In a container, root may have no other users to become. */
static bool may_become(uid_t user)
{
    int status = 1;
    pid_t pid = fork();
    if (pid == 0)
        _exit(setgroups(0, NULL) != 0 || setresgid(user, user, user) != 0 ||
              setresuid(user, user, user) != 0);
    return pid > 0 && waitpid(pid, &status, 0) == pid && status == 0;
}

void out_of_threads(const struct fault *fault)
{
    char words[1024], self[512];
    struct client first, c[MANY];
    uid_t user = STRANGER + (uid_t)getpid();
    (void)fault;
    if (geteuid() != 0 || !may_become(user))
        skip("may not run the server as a user of its own");
    if (server_has("sanitized"))
        skip("a sanitizer has threads of its own");
    ssize_t length = readlink("/proc/self/exe", self, sizeof self - 1);
    self[length > 0 ? length : 0] = '\0';
    snprintf(words, sizeof words, "%s --as %d %d", self, (int)user, 2 + THREADS);
    wrap_server(words);
    server_start();
    first = client_open();
    client_echo(&first, 1000);
    ask(c, MANY);
    int served = 0, lost = 0;
    AWAIT(5000, (served = count_served(c, MANY)) + (lost = count_ended(c, MANY)) == MANY);
    must(served == THREADS - 1 && served + lost == MANY,
         "%d served and %d turned away, with %d threads left", served, lost, THREADS - 1);
    client_echo(&first, 100000);
    must_settle();
    clients_close(c, MANY);
    AWAIT(5000, server_threads() <= 3);
    ask(c, 5);
    AWAIT(5000, (served = count_served(c, 5)) == 5);
    must(served == 5, "%d of 5 served, though there are threads again", served);
    client_echo(&first, 1000);
    client_close(&first);
    stop_well(c, 5);
}

static unsigned long address_space(void)
{
    char path[64];
    unsigned long pages = 0;
    snprintf(path, sizeof path, "/proc/%d/statm", (int)server.pid);
    FILE *f = fopen(path, "r");
    must(f && fscanf(f, "%lu", &pages) == 1, "no %s", path);
    fclose(f);
    return pages * (unsigned long)sysconf(_SC_PAGESIZE);
}

/* All clients send at once. The server can send little at a time and has to keep the rest, up to
 * 64 KiB for each, and the heap has room for a few of them only. */
void out_of_address_space(const struct fault *fault)
{
    enum { FEW = 24 };
    struct client first, c[FEW];
    if (server_has("sanitized"))
        skip("a sanitizer needs all the address space there is");
    start_under(fault);
    first = client_open();
    client_echo(&first, 1000);
    limit_server(RLIMIT_AS, true, address_space());
    server_pause();
    clients_open(c, FEW);
    for (int i = 0; i < FEW; i++)
        client_put(&c[i], 60000);
    server_resume();
    int lost = exchange(c, FEW, 0, false);
    must(lost > 0, "memory was never out");
    client_echo(&first, 10000);
    must_settle();
    limit_server(RLIMIT_AS, false, 0);
    for (int i = 0; i < FEW; i++)
        if (!ended(&c[i]))
            client_echo(&c[i], 10000);
    client_echo(&first, 1000);
    client_close(&first);
    stop_well(c, FEW);
}

/* Each client gets what it sent or learns that it has been lost. A client that has got a part must
 * see RST: after FIN it would take the part for all. (A client that is turned away before the
 * server has read a byte may get FIN.) */
void out_of_memory_now_and_then(const struct fault *fault)
{
    struct client c[MANY];
    int lost = 0, served = 0;
    start_under(fault);
    for (int round = 0; round < 3; round++) {
        clients_open(c, MANY);
        lost += exchange(c, MANY, 100, false);
        served += MANY - count_ended(c, MANY);
        for (int i = 0; i < MANY; i++)
            must(!c[i].eof || c[i].received == 0, "FIN after %d of 100 bytes", (int)c[i].received);
        clients_close(c, MANY);
    }
    if (injected() == 0)
        verdict(VERDICT_NONE, "it asks for no memory");
    must(lost > 0 && served > 0, "%d lost, %d served", lost, served);
    must_settle();
    server_stop();
}

/* The number under a name in /proc/net/netstat, whose lines come in pairs: names, numbers. */
static long netstat(const char *name)
{
    char names[4096], numbers[4096];
    long found = -1;
    FILE *f = fopen("/proc/net/netstat", "r");
    while (f && found < 0 && fgets(names, sizeof names, f) && fgets(numbers, sizeof numbers, f)) {
        char *n, *v, *each = strtok_r(names, " \n", &n), *number = strtok_r(numbers, " \n", &v);
        while (each && number && strcmp(each, name) != 0) {
            each = strtok_r(NULL, " \n", &n);
            number = strtok_r(NULL, " \n", &v);
        }
        if (each && number)
            found = atol(number);
    }
    if (f)
        fclose(f);
    return found;
}

/* The server sleeps while more clients come than may wait. TCP tries again: all get in, late. */
void queue_overflows(const struct fault *fault)
{
    struct client c[MANY];
    int64_t end;
    int connected = 0;
    (void)fault;
    server_start_with((struct start){.extra = "--backlog", .argument = "4"});
    server_pause();
    long before = netstat("ListenOverflows");
    for (int i = 0; i < MANY; i++)
        if (!client_try(&c[i], 1))
            c[i].fd = -1;
        else
            connected++;
    must(connected > 0 && connected < MANY, "%d of %d got in at once", connected, MANY);
    must(netstat("ListenOverflows") > before, "the queue did not overflow");
    server_resume();
    for (int i = 0; i < MANY; i++)
        for (end = now_ms() + patient(8000); c[i].fd < 0 && now_ms() < end;)
            if (!client_try(&c[i], 3000))
                c[i].fd = -1;
    int lost = exchange(c, MANY, 3000, false);
    must(lost == 0, "%d of %d clients lost", lost, MANY);
    stop_well(c, MANY);
}

void stopped_in_mid_stream(const struct fault *fault)
{
    enum { FEW = 4, LENGTH = 2 << 20, STOPS = 8 };
    struct client c[FEW];
    (void)fault;
    server_start();
    for (int i = 0; i < FEW; i++)
        c[i] = client_open_small();
    for (int stop = 1; stop <= STOPS; stop++) {
        clients_push(c, FEW, (uint64_t)stop * LENGTH / STOPS / 2); /* now it owes bytes to each */
        server_pause();
        for (int i = 0; i < FEW; i++) {
            client_take(&c[i], 50000);
            client_put(&c[i], (size_t)i * 7000);
        }
        server_resume();
        clients_echo(c, FEW, LENGTH / STOPS / 2);
    }
    for (int i = 0; i < FEW; i++) {
        client_shut(&c[i]);
        client_expect_eof(&c[i]);
    }
    stop_well(c, FEW);
}
