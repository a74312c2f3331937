/* SO_REUSEADDR, set in time, too late, or not at all.
 *
 * A server that closes a connection first keeps its port in TIME_WAIT for a minute: late segments
 * of the old connection are not to reach a new one. bind() refuses such a port unless both sides
 * have agreed to share it: the old server and the new one, each before its bind().
 *
 * Expect:
 *   old server   new server   the restart
 *   not set      not set      Address already in use
 *   not set      before bind  Address already in use
 *   after bind   after bind   Address already in use
 *   before bind  not set      Address already in use
 *   before bind  before bind  works
 *   the client closed first, nothing set: works
 */
#include "experiment.h"

enum when { NEVER, BEFORE, AFTER };
static const char *const WHEN[] = {"not set", "before bind", "after bind"};

static void reuse(int fd)
{
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &(int){1}, sizeof(int));
}

/* Returns a listener, or -1 with errno when bind() says no. */
static int start(int port, enum when when)
{
    struct sockaddr_in address = loopback(port);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (when == BEFORE)
        reuse(fd);
    if (bind(fd, (struct sockaddr *)&address, sizeof address) < 0) {
        int error = errno;
        close(fd);
        errno = error;
        return -1;
    }
    if (when == AFTER)
        reuse(fd);
    if (listen(fd, 5) < 0)
        err(1, "listen");
    return fd;
}

/* A server serves one client and ends; a second one wants its port. */
static bool restart(enum when old, enum when new, bool server_closes_first)
{
    char byte;
    int first = start(0, old), port = port_of(first);
    struct pair pair = connected(first);
    close(server_closes_first ? pair.server : pair.client);
    int other = server_closes_first ? pair.client : pair.server;
    if (read(other, &byte, 1) != 0) /* the FIN has arrived */
        err(1, "read");
    close(other);
    close(first);
    int second = start(port, new);
    if (second >= 0)
        close(second);
    return second >= 0;
}

int main(void)
{
    static const enum when row[][2] = {
        {NEVER, NEVER}, {NEVER, BEFORE}, {AFTER, AFTER}, {BEFORE, NEVER}, {BEFORE, BEFORE}};
    bool worked[5];

    printf("old server   new server   the restart\n");
    for (int i = 0; i < 5; i++) {
        worked[i] = restart(row[i][0], row[i][1], true);
        printf("%-12s %-12s %s\n", WHEN[row[i][0]], WHEN[row[i][1]],
               worked[i] ? "works" : strerror(errno));
        expect(worked[i] == (i == 4), "only set before both calls of bind() it helps");
    }
    bool polite = restart(NEVER, NEVER, false);
    printf("the client closed first, nothing set: %s\n", polite ? "works" : strerror(errno));
    expect(polite, "who closes first has the TIME_WAIT");
    claim("SO_REUSEADDR may be set after bind()", "false", worked[2], 1,
          "after bind: the restart %s; before: it %s", worked[2] ? "works" : "is refused",
          worked[4] ? "works" : "is refused");
    return experiment_failed;
}
