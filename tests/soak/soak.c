/* Holds thousands of connections to one server (named as in ../harness/harness.h), opens and closes
 * more, and keeps some busy. Afterwards the server's descriptors, threads and memory, and the
 * kernel's sockets, must be what they were. The first round only warms up: tables grow in it. */
#include <errno.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <unistd.h>

#include "../harness/harness.h"
#include "../harness/network.h"
#include "../harness/verdict.h"

enum { KIB = 1024, BUSY = 100, CONNECTIONS_MAX = 65536, RSS_SLACK_KIB = 1024, SPARE = 100 };

static int connections = 20000, churn = 60000;
static double minutes = 0.1;
static struct client held[CONNECTIONS_MAX];

struct figures {
    int descriptors, threads, sockets;
    long rss;
};

/* "TCP: inuse N ..." in this network. */
static int sockets_in_use(void)
{
    int count = -1;
    char line[256];
    FILE *f = fopen("/proc/net/sockstat", "r");
    while (f && fgets(line, sizeof line, f))
        if (sscanf(line, "TCP: inuse %d", &count) == 1)
            break;
    if (f)
        fclose(f);
    return count;
}

static struct figures measure(void)
{
    return (struct figures){server_descriptors(), server_threads(), sockets_in_use(),
                            server_rss_kib()};
}

static void print(const char *when, struct figures now)
{
    printf("# %-24s %5d descriptors %5d threads %5d sockets %7ld KiB\n", when, now.descriptors,
           now.threads, now.sockets, now.rss);
}

static bool is_back(struct figures before)
{
    struct figures now = measure();
    return now.descriptors <= before.descriptors && now.threads <= before.threads &&
           now.sockets <= before.sockets;
}

/* ---- the load ---- */

static void hold(int count)
{
    for (int i = 0; i < count; i++)
        held[i] = client_open();
    for (int i = 0; i < count; i++)
        client_send(&held[i], 100);
    for (int i = 0; i < count; i++)
        client_receive_all(&held[i]);
    print("while they are held", measure());
    clients_close(held, count);
}

/* Every third client leaves with RST, every third with its echo unread. */
static void open_and_close(int count)
{
    for (int i = 0; i < count; i++) {
        struct client c = client_open();
        client_send(&c, 10);
        if (i % 3 != 0)
            client_receive_all(&c);
        if (i % 3 == 1)
            client_reset(&c);
        client_close(&c);
    }
}

static void traffic(int64_t ms)
{
    int64_t end = now_ms() + ms;
    unsigned round = 1;
    clients_open(held, BUSY);
    for (; now_ms() < end; round++) {
        struct client *one = &held[round % BUSY];
        clients_echo(held, BUSY, round % 7 == 0 ? 50000 : round * 37 % 3000 + 1);
        client_put(one, round % 5 == 0 ? 2048 * KIB : 10);
        if (round % 2)
            client_receive_all(one);
        else if (round % 3)
            client_reset(one);
        client_close(one);
        *one = client_open();
    }
    clients_close(held, BUSY);
    printf("# %u rounds of traffic in %.1f s\n", round, (double)ms / 1000);
}

/* ---- the judgement ---- */

static void must_be_back(struct figures before, const char *after)
{
    AWAIT(20000, is_back(before));
    struct figures now = measure();
    print(after, now);
    must(now.descriptors <= before.descriptors, "%d descriptors after %s, %d before",
         now.descriptors, after, before.descriptors);
    must(now.threads <= before.threads, "%d threads after %s, %d before", now.threads, after,
         before.threads);
    must(now.sockets <= before.sockets, "%d sockets after %s, %d before", now.sockets, after,
         before.sockets);
    must(server_has("sanitized") || now.rss <= before.rss + RSS_SLACK_KIB,
         "%ld KiB after %s, %ld before", now.rss, after, before.rss);
}

/* As many as the limits of this process and of the server allow. */
static int as_many_as_possible(void)
{
    struct rlimit limit;
    int max = connections;
    getrlimit(RLIMIT_NOFILE, &limit);
    limit.rlim_cur = limit.rlim_max;
    setrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_cur < (rlim_t)max + SPARE)
        max = (int)limit.rlim_cur - SPARE;
    if (server_has("fd-setsize") && max > 1000)
        max = 1000;
    if (server_has("threads") && max > 8000)
        max = 8000; /* each costs a thread, and the system has only some 32,000 */
    return max;
}

static void soak(const void *unused)
{
    (void)unused;
    harness_begin();
    if (!network_of_my_own()) /* other programs' sockets would count */
        skip("may not have a network of its own: %s", strerror(errno));
    int max = as_many_as_possible();
    server_start();
    struct figures empty = measure();
    hold(max);
    open_and_close(1000);
    traffic(500);
    AWAIT(20000, is_back(empty));
    struct figures before = measure();
    print("warm", before);
    must(before.descriptors <= empty.descriptors + 2, "%d descriptors without a client",
         before.descriptors);
    open_and_close(churn);
    must_be_back(before, "opening and closing");
    traffic((int64_t)(minutes * 60000));
    must_be_back(before, "traffic");
    hold(max);
    must_be_back(before, "holding");
    if (!server_has("busy"))
        must(server_settles(), "it spins");
    server_stop();
}

static _Noreturn void usage(int status)
{
    fputs("Usage: soak [OPTION]...\n"
          "Thousands of connections to the echo server that ECHO_SERVER names.\n\n"
          "  --minutes N      keep clients busy for this long (0.1)\n"
          "  --connections N  hold this many at a time (20000, or what the limits allow)\n"
          "  --churn N        open and close this many (60000)\n",
          status ? stderr : stdout);
    exit(status);
}

int main(int argc, char **argv)
{
    static const struct option options[] = {
        {"minutes", 1, NULL, 'm'},
        {"connections", 1, NULL, 'c'},
        {"churn", 1, NULL, 'n'},
        {"help", 0, NULL, 'h'},
        {0},
    };
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (option == 'm')
            minutes = atof(optarg);
        else if (option == 'c')
            connections = atoi(optarg) < CONNECTIONS_MAX ? atoi(optarg) : CONNECTIONS_MAX;
        else if (option == 'n')
            churn = atoi(optarg);
        else
            usage(option == 'h' ? 0 : 2);
    }
    const char *name = getenv("ECHO_SERVER");
    if (!name || optind < argc)
        usage(2);
    struct trial trial;
    setvbuf(stdout, NULL, _IOLBF, 0);
    enum verdict verdict = trial_run(&trial, soak, NULL, (unsigned)(minutes * 60) + 900);
    if (verdict == VERDICT_SKIP)
        printf("ok 1 - %s # SKIP %s\n", name, trial.reason);
    else
        printf("%s 1 - %s %s\n", verdict == VERDICT_PASS ? "ok" : "not ok", name, trial.reason);
    if (verdict == VERDICT_FAIL)
        trial_show_log(&trial, "#   ");
    puts("1..1");
    return verdict == VERDICT_FAIL;
}
