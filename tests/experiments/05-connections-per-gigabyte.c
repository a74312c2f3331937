/* "100,000 connections per gigabyte": which number is that?
 *
 * It is the default of fs.file-max, a tenth of memory at a kilobyte a file. epoll's own limit,
 * fs.epoll.max_user_watches, is another: 4 % of memory. And what a connection takes is a third:
 * measured here as the growth of the kernel's slab, per idle connection, watch included.
 *
 * Needs: linux alone
 *
 * Expect:
 *   the rule of fs.file-max: <n> files for each GB of memory
 *   fs.epoll.max_user_watches: <n> watches for each GB of memory
 *   measured: <n> bytes for an idle TCP socket and its watch, <n> of them in a GB
 */
#include "experiment.h"
#include "server.h"

#include <sys/epoll.h>

enum { CONNECTIONS = 4000 };

int main(void)
{
    double gb = (double)kb_of_process(0, "MemTotal:") / 1048576;
    FILE *file = fopen("/proc/sys/fs/epoll/max_user_watches", "r");
    long watches = 0;
    if (!file || fscanf(file, "%ld", &watches) != 1)
        skip("no /proc/sys/fs/epoll/max_user_watches");
    fclose(file);
    if (descriptors() < 2 * CONNECTIONS + 50)
        skip("needs 8050 descriptors");

    int epoll = epoll_create1(0), listener = listen_on_loopback(5);
    long before = kb_of_process(0, "Slab:");
    for (int i = 0; i < CONNECTIONS; i++) {
        struct pair pair = connected(listener);
        struct epoll_event event = {.events = EPOLLIN, .data.fd = pair.server};
        if (epoll_ctl(epoll, EPOLL_CTL_ADD, pair.server, &event) < 0)
            err(1, "epoll_ctl");
    }
    double each = (double)(kb_of_process(0, "Slab:") - before) * 1024 / (2. * CONNECTIONS);
    double rule = 1048576 / 10., per_gb = (1 << 30) / each;

    printf("the rule of fs.file-max: %.0f files for each GB of memory\n", rule);
    printf("fs.epoll.max_user_watches: %.0f watches for each GB of memory\n", (double)watches / gb);
    printf("measured: %.0f bytes for an idle TCP socket and its watch, %.0f of them in a GB\n",
           each, per_gb);
    expect(each > 500 && each < 20000, "a socket takes some kilobytes");
    expect((double)watches / gb > 1.2 * rule, "epoll's own limit is another number");
    claim("1 GB: 100,000 connections, 2 GB: 200,000", "false",
          (per_gb > 80000 && per_gb < 125000) +
              ((double)watches / gb > 80000 && (double)watches / gb < 125000),
          2, "limit of watches: %.0f per GB; by the memory of an idle socket: %.0f",
          (double)watches / gb, per_gb);
    return experiment_failed;
}
