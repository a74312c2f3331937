/* SO_REUSEADDR, set in time, too late, or not at all.
 *
 * A server that closes a connection first keeps its port in TIME_WAIT for a minute: late segments
 * of the old connection are not to reach a new one. bind() refuses such a port unless both sides
 * have agreed to share it. The new server agrees by its own option, so it has to set it before
 * bind(). For the old one the connection agrees: it inherited the option when the client connected,
 * so the old listener must have had it by then.
 *
 * Expect:
 *   old server     new server   the restart
 *   not set        not set      Address already in use
 *   not set        before bind  Address already in use
 *   before bind    not set      Address already in use
 *   before bind    after bind   Address already in use
 *   before bind    before bind  works
 *   after bind     after bind   Address already in use
 *   after bind     before bind  works
 *   after connect  before bind  Address already in use
 *   the client closed first, nothing set: works
 */
#include "experiment.h"

enum when { NEVER, BEFORE, AFTER, CONNECTED };
static const char *const WHEN[] = {"not set", "before bind", "after bind", "after connect"};

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
    if (old == CONNECTED)
        reuse(first);
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
    static const struct {
        enum when old, new;
        bool works;
    } row[] = {{NEVER, NEVER, false},  {NEVER, BEFORE, false},    {BEFORE, NEVER, false},
               {BEFORE, AFTER, false}, {BEFORE, BEFORE, true},    {AFTER, AFTER, false},
               {AFTER, BEFORE, true},  {CONNECTED, BEFORE, false}};
    bool too_late = false, in_time = false;

    printf("old server     new server   the restart\n");
    for (size_t i = 0; i < sizeof row / sizeof row[0]; i++) {
        bool works = restart(row[i].old, row[i].new, true);
        printf("%-14s %-12s %s\n", WHEN[row[i].old], WHEN[row[i].new],
               works ? "works" : strerror(errno));
        expect(works == row[i].works, "the new one before bind(), the old one before a client");
        if (row[i].old == BEFORE && row[i].new == AFTER)
            too_late = works;
        if (row[i].old == BEFORE && row[i].new == BEFORE)
            in_time = works;
    }
    bool polite = restart(NEVER, NEVER, false);
    printf("the client closed first, nothing set: %s\n", polite ? "works" : strerror(errno));
    expect(polite, "the side that closes first has the TIME_WAIT");
    claim("SO_REUSEADDR may be set after bind()", "false", too_late, 1,
          "by the new server after bind: the restart %s; before: it %s",
          too_late ? "works" : "is refused", in_time ? "works" : "is refused");
    return experiment_failed;
}
