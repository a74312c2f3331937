/* What poll() says about connections that end, one way or the other.
 *
 * POLLHUP needs both directions to be closed. A client that leaves closes one: then poll() says
 * POLLIN, and read() says 0. And POLLHUP, POLLERR and POLLNVAL come unasked, so that a descriptor
 * watched for nothing is not silent: a loop that only stops asking will spin. (select() says none
 * of this: because of one closed descriptor it fails for all.)
 *
 * Needs: linux
 *
 * Expect:
 *   the client                     watched for IN|OUT|RDHUP  watched for nothing
 *   is silent                      OUT                       -
 *   half-closes                    IN|OUT|RDHUP              -
 *   closes                         IN|OUT|RDHUP              -
 *   resets                         IN|OUT|RDHUP|ERR|HUP      ERR|HUP
 *   half-closes, and so do we      IN|OUT|RDHUP|HUP          HUP
 *   and we have closed our end     NVAL                      NVAL
 *   is a file                      IN|OUT                    -
 *   select() with the closed one in a set: Bad file descriptor
 */
#include "experiment.h"

#include <sys/select.h>

static int look(int fd, short events)
{
    struct pollfd entry = {.fd = fd, .events = events};
    poll(&entry, 1, 0);
    return entry.revents;
}

static const char *names(int events)
{
    static const struct {
        int bit;
        const char *name;
    } all[] = {{POLLIN, "IN"},   {POLLOUT, "OUT"}, {POLLRDHUP, "RDHUP"},
               {POLLERR, "ERR"}, {POLLHUP, "HUP"}, {POLLNVAL, "NVAL"}};
    static char text[2][64];
    static int turn;
    char *to = text[turn ^= 1];
    *to = 0;
    for (int i = 0; i < 6; i++)
        if (events & all[i].bit) {
            strcat(to, *to ? "|" : "");
            strcat(to, all[i].name);
        }
    return *to ? to : "-";
}

static int report(const char *what, int fd)
{
    int asked = look(fd, POLLIN | POLLOUT | POLLRDHUP), unasked = look(fd, 0);
    printf("%-30s %-25s %s\n", what, names(asked), names(unasked));
    return asked | unasked << 16;
}

static bool select_fails(int closed, int open)
{
    struct timeval at_once = {0};
    fd_set set;
    FD_ZERO(&set);
    FD_SET(closed, &set);
    FD_SET(open, &set);
    int ready = select((closed > open ? closed : open) + 1, &set, NULL, NULL, &at_once);
    bool fails = ready < 0 && errno == EBADF;
    printf("select() with the closed one in a set: %s\n", fails ? strerror(EBADF) : "works");
    return fails;
}

int main(void)
{
    struct pair silent = connection(), half = connection(), closed = connection(),
                reset = connection(), both = connection(), gone = connection();
    FILE *file = tmpfile();

    printf("%-30s %-25s %s\n", "the client", "watched for IN|OUT|RDHUP", "watched for nothing");
    report("is silent", silent.server);
    shutdown(half.client, SHUT_WR);
    await_arrival(half.server);
    int after_half = report("half-closes", half.server);
    close(closed.client);
    await_arrival(closed.server);
    int after_close = report("closes", closed.server);
    close_with_reset(reset.client);
    await_arrival(reset.server);
    int after_reset = report("resets", reset.server);
    shutdown(both.client, SHUT_WR);
    await_arrival(both.server);
    shutdown(both.server, SHUT_WR);
    int after_both = report("half-closes, and so do we", both.server);
    close(gone.server);
    int after_our_close = report("and we have closed our end", gone.server);
    if (file)
        report("is a file", fileno(file));
    expect(select_fails(gone.server, closed.server), "select() fails for all of them");

    expect((after_close & POLLIN) && !(after_close & POLLHUP), "a client's close is no POLLHUP");
    expect(!(after_half & POLLHUP), "and neither is half of one");
    expect(after_both & POLLHUP, "closed in both directions it is");
    expect(after_reset & POLLHUP << 16, "a reset is, and comes unasked");
    expect(after_our_close & POLLNVAL, "a closed descriptor is a bug of ours");
    claim("HUP means that the client has closed", "false", (after_close & POLLHUP) != 0, 1,
          "after the client's close(): %s", names(after_close & 0xffff));
    claim("Interest 0 silences a descriptor", "partly",
          !(after_half >> 16) + !(after_close >> 16) + !(after_reset >> 16), 3,
          "after a close: %s; after a reset: %s", names(after_close >> 16),
          names(after_reset >> 16));
    return experiment_failed;
}
