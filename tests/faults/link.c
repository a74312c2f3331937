/* Bad links, in a network of this test's own, which ends with the test. There, even loopback can be
 * slow, lose packets, or be cut. */
#define _GNU_SOURCE
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../harness/network.h"
#include "fault.h"

enum { MANY = 4 };

static bool run(const char *format, ...) __attribute__((format(printf, 1, 2)));
static bool run(const char *format, ...)
{
    char line[512];
    va_list arguments;
    va_start(arguments, format);
    int length = vsnprintf(line, sizeof line, format, arguments);
    va_end(arguments);
    snprintf(line + length, sizeof line - (size_t)length, " >/dev/null");
    return system(line) == 0;
}

static void own_network(const char *tool)
{
    if (!run("PATH=$PATH:/usr/sbin:/sbin; command -v ip >/dev/null && command -v %s", tool))
        skip("no %s here", tool);
    if (!network_of_my_own())
        skip("may not make a network: %s", strerror(errno));
    setenv("PATH", "/usr/sbin:/sbin:/usr/bin:/bin", 1);
    must(run("ip link set lo mtu 1500"), "cannot set up the new network");
}

/* The first number after a word in what a command prints. */
static long number_from(const char *command, const char *word)
{
    char line[512];
    long number = 0;
    FILE *f = popen(command, "r");
    while (f && fgets(line, sizeof line, f)) {
        const char *at = strstr(line, word);
        if (at && number == 0)
            number = strtol(at + strlen(word), NULL, 10);
    }
    if (f)
        pclose(f);
    return number;
}

void slow_link(const struct fault *fault)
{
    enum { EACH = 40000, TOOK_MIN_MS = 300 }; /* both ways 320 kB: 640 ms */
    struct client c[MANY];
    (void)fault;
    own_network("tc");
    if (!run("tc qdisc add dev lo root tbf rate 4mbit burst 8k latency 200ms"))
        skip("this kernel has no tbf");
    server_start();
    clients_open(c, MANY);
    int64_t start = now_ms();
    double cpu = server_cpu_ms();
    clients_echo(c, MANY, EACH);
    int64_t took = now_ms() - start;
    cpu = server_cpu_ms() - cpu;
    must(took > TOOK_MIN_MS, "the link was not slow: %d ms", (int)took);
    must(number_from("tc -s qdisc show dev lo", "overlimits ") > 0, "the link was not slow");
    if (!server_has("busy"))
        must(cpu < 0.3 * (double)took, "%.0f ms of CPU in %d", cpu, (int)took);
    for (int i = 0; i < MANY; i++) {
        client_shut(&c[i]);
        client_expect_eof(&c[i]);
    }
    clients_close(c, MANY);
    must_settle();
    server_stop();
}

static bool nft(const char *rule)
{
    return run("nft add rule ip bad in %s", rule);
}

/* Packets are dropped where they come in. A sender learns of a drop on the way out: Linux gives up
 * a new connection when its SYN-ACK could not even be sent. A bad link tells nobody. */
static void firewall(void)
{
    if (!run("nft add table ip bad") ||
        !run("nft add chain ip bad in '{ type filter hook input priority 0; }'"))
        skip("no nftables in this kernel");
}

void lossy_link(const struct fault *fault)
{
    struct client c[MANY];
    long lost = 0;
    (void)fault;
    own_network("nft");
    firewall();
    /* By count, and not at random: no packet is lost so often in a row that TCP is silent for
     * seconds. */
    if (!nft("numgen inc mod 20 0 counter drop"))
        skip("this kernel's nftables cannot count");
    server_start();
    clients_open(c, MANY);
    for (int round = 0; round < 60 && lost < 5; round++) {
        clients_echo(c, MANY, 30000);
        lost = number_from("nft list chain ip bad in", "packets ");
    }
    must(lost > 0, "nothing was lost");
    for (int i = 0; i < MANY; i++) {
        client_shut(&c[i]);
        client_expect_eof(&c[i]);
    }
    clients_close(c, MANY);
    must_settle();
    server_stop();
}

static int own_port(const struct client *client)
{
    struct sockaddr_in a = {0};
    socklen_t length = sizeof a;
    getsockname(client->fd, (struct sockaddr *)&a, &length);
    return ntohs(a.sin_port);
}

static void cut_link(const struct client *client)
{
    int port = own_port(client);
    must(run("nft add rule ip bad in tcp sport %d counter drop", port) &&
             run("nft add rule ip bad in tcp dport %d counter drop", port),
         "cannot add a rule");
}

static void mend_link(void)
{
    must(number_from("nft list chain ip bad in", "packets ") > 0, "nothing was cut off");
    must(run("nft flush chain ip bad in"), "nft flush");
}

/* One client's cable is pulled while the server owes it much, and put back. The second time it
 * stays out. The other clients must not notice, and the server must end in time. */
void dead_link(const struct fault *fault)
{
    struct client dead, c[MANY];
    (void)fault;
    own_network("nft");
    firewall();
    server_start();
    clients_open(c, MANY);
    dead = client_open_small();
    clients_push(&dead, 1, 4 << 20);
    cut_link(&dead);
    client_take(&dead, 1 << 20);
    clients_echo(c, MANY, 100000);
    must_settle();
    mend_link();
    client_receive_all(&dead);

    clients_push(&dead, 1, dead.sent + (4 << 20));
    cut_link(&dead);
    client_take(&dead, 1 << 20);
    clients_echo(c, MANY, 100000);
    server_signal(SIGTERM);
    for (int i = 0; i < MANY; i++)
        client_expect_eof(&c[i]);
    clients_close(c, MANY);
    server_must_end_well("a client is out of reach, 1 s is enough", 1500);
    mend_link();
    client_close(&dead);
}

void must_offer(const char *option)
{
    const char *const help[] = {"--help", NULL};
    if (!strstr(server_run(help).out, option))
        verdict(VERDICT_NONE, "it has no %s", option);
}

/* Two peers are out of reach: the server owes nothing to one, and much to the other. It gets no
 * byte from either, and has to close both connections, and no other. */
void dead_link_and_idle_timeout(const struct fault *fault)
{
    (void)fault;
    must_offer("--idle-timeout");
    own_network("nft");
    firewall();
    server_start_with((struct start){.extra = "--idle-timeout", .argument = "2"});
    struct client owed = client_open_small();
    client_echo(&owed, 1);
    clients_push(&owed, 1, 4 << 20);
    must_settle(); /* by now 06 has opened one more, to watch for room */
    int with_one = server_descriptors(), now;
    cut_link(&owed);
    struct client idle = client_open();
    client_echo(&idle, 1000);
    cut_link(&idle);
    struct client talker = client_open();
    client_echo(&talker, 1000);
    for (int64_t end = now_ms() + patient(8000);
         (now = server_descriptors()) > with_one && now_ms() < end; nap(50))
        client_echo(&talker, 1000);
    must(now == with_one, "%d descriptors open, %d with one client", now, with_one);
    must(!client_ready(&idle, POLLIN, 0), "the link was not dead");
    client_echo(&talker, 1000);
    client_shut(&talker);
    client_expect_eof(&talker);
    mend_link();

    client_close(&talker);
    client_close(&idle);
    client_close(&owed);
    must_settle();
    server_stop();
}
