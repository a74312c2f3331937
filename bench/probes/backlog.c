/* 100 threads connect at the same moment: to a server with a short backlog and to one with a long
 * backlog, and each of these once while it is free and once while it is busy for 50 ms. When the
 * backlog is full, Linux does not refuse a client. It drops the client's SYN, and the client's
 * kernel sends another one after a second. */

#include "probes/probe.h"

#include "output/probe_table.h"
#include "output/progress.h"
#include "system/clock.h"
#include "system/interrupt.h"

#include <arpa/inet.h>
#include <netinet/in.h>
#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

enum { THREADS = 100, BUSY_MS = 50, AT_ONCE_MS = 500, GIVE_UP_S = 8 };

struct client {
    pthread_t thread;
    int gate; /* a pipe: closing its other end starts all of them */
    int port;
    double milliseconds; /* until its first byte came back; negative: it never did */
};

static int first_echo(int port)
{
    struct sockaddr_in to = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    struct timeval limit = {.tv_sec = GIVE_UP_S};
    struct linger reset = {.l_onoff = 1, .l_linger = 0};
    char byte = 'x';
    to.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &limit, sizeof limit);
    setsockopt(fd, SOL_SOCKET, SO_RCVTIMEO, &limit, sizeof limit);
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &reset, sizeof reset);
    int failed = connect(fd, (struct sockaddr *)&to, sizeof to) != 0 ||
                 send(fd, &byte, 1, 0) != 1 || recv(fd, &byte, 1, 0) != 1;
    close(fd);
    return failed ? -1 : 0;
}

static void *run_client(void *argument)
{
    struct client *client = argument;
    char nothing;
    if (read(client->gate, &nothing, 1) != 0)
        return NULL;
    uint64_t start = clock_now();
    client->milliseconds = first_echo(client->port) == 0 ? (double)(clock_now() - start) / 1e6 : -1;
    return NULL;
}

/* All at once; returns how many threads there were. */
static int connect_all(struct client *clients, struct server *server, bool busy)
{
    int gate[2];
    int count = 0;
    if (pipe(gate) != 0)
        return 0;
    for (; count < THREADS; count++) {
        clients[count] = (struct client){.gate = gate[0], .port = server->port, .milliseconds = -1};
        if (pthread_create(&clients[count].thread, NULL, run_client, &clients[count]) != 0)
            break;
    }
    clock_sleep(MILLISECONDS(20)); /* they are all at the gate */
    if (busy)
        kill(server->pid, SIGSTOP);
    close(gate[1]);
    if (busy) {
        clock_sleep(MILLISECONDS(BUSY_MS));
        kill(server->pid, SIGCONT);
    }
    for (int i = 0; i < count; i++)
        pthread_join(clients[i].thread, NULL);
    close(gate[0]);
    return count;
}

static void one_case(struct table *table, struct probe *probe, struct server *server, int backlog,
                     bool busy)
{
    static struct client clients[THREADS];
    char trouble[SERVER_TEXT] = "";
    int at_once = 0;
    int later = 0;
    double slowest = 0;
    progress_say("backlog: %s --backlog %d%s", server->name, backlog, busy ? ", busy" : "");
    server->backlog = backlog;
    bool started = probe_start(probe, table, server);
    server->backlog = 0;
    if (!started)
        return;
    int count = connect_all(clients, server, busy);
    for (int i = 0; i < count; i++) {
        double time = clients[i].milliseconds;
        at_once += time >= 0 && time < AT_ONCE_MS;
        later += time >= AT_ONCE_MS;
        slowest = time > slowest ? time : slowest;
    }
    if (server_ended(server, trouble, sizeof trouble))
        table_trouble(table, server, trouble);
    servers_stop(server, 1);
    table_text(table, "%s", server->name);
    table_text(table, "%d", backlog);
    table_text(table, "%s", busy ? "busy for 50 ms" : "free");
    table_text(table, "%d", at_once);
    table_text(table, "%d", later);
    table_text(table, "%d", count - at_once - later);
    table_number(table, slowest, 1);
}

/* By default one server with a thread for accepting, and one with a loop; otherwise those that the
 * command line names. A server of --server always takes part. */
static bool is_crowded(const struct probe *probe, const struct server *server)
{
    if (server_is_copy(server))
        return false;
    return probe->servers_named || server->reference || server->extra ||
           strncmp(server->name, "01", 2) == 0;
}

double probe_backlog_seconds(const struct probe *probe)
{
    int servers = 0;
    for (int i = 0; i < probe->server_count; i++)
        servers += is_crowded(probe, &probe->servers[i]);
    return servers * 2.6; /* a little over a second with the short backlog, twice */
}

int probe_backlog(struct probe *probe)
{
    static struct table table;
    static const int backlogs[] = {10, 4096};
    table_begin(&table, "backlog", "100 threads connecting at once",
                "server,backlog,server_is,answered_at_once,after_another_try,never,slowest_ms");
    table_note(&table,
               "Answered: the first byte came back. At once: within %d ms. A client that finds "
               "the backlog full tries again by itself, for the first time after a second.",
               AT_ONCE_MS);
    table_note(&table, "net.core.somaxconn caps what listen() is asked for.");
    for (int s = 0; s < probe->server_count; s++) {
        for (int i = 0; i < 4 && !interrupted && is_crowded(probe, &probe->servers[s]); i++)
            one_case(&table, probe, &probe->servers[s], backlogs[i % 2], i >= 2);
    }
    return table_finish(&table, &probe->destination);
}
