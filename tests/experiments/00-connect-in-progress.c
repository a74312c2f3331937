/* A non-blocking connect(): writable is not connected.
 *
 * connect() on a non-blocking socket says EINPROGRESS and goes on by itself. When it has finished,
 * the socket is writable, whether it is connected or not. SO_ERROR says which, and asking for it
 * clears it: a program that asks twice, or lets somebody else ask, takes a refused connection for a
 * good one.
 *
 * Expect:
 *                     somebody listens  nobody listens
 *   connect():        EINPROGRESS       EINPROGRESS
 *   select():         writable          writable
 *   SO_ERROR:         0                 ECONNREFUSED
 *   SO_ERROR again:   0                 0
 *   getpeername():    connected         not connected
 */
#include "experiment.h"

#include <sys/select.h>

struct attempt {
    int connect, first, second; /* what each call said: 0 or errno */
    bool writable, connected;
};

static const char *name_of(int error)
{
    return error == 0              ? "0"
           : error == EINPROGRESS  ? "EINPROGRESS"
           : error == ECONNREFUSED ? "ECONNREFUSED"
                                   : strerror(error);
}

static bool becomes_writable(int fd)
{
    fd_set writers;
    FD_ZERO(&writers);
    FD_SET(fd, &writers);
    return select(fd + 1, NULL, &writers, NULL, &(struct timeval){.tv_sec = 10}) == 1;
}

static struct attempt try(int port)
{
    struct sockaddr_in address = loopback(port);
    struct attempt attempt;
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    nonblocking(fd);
    attempt.connect = connect(fd, (struct sockaddr *)&address, sizeof address) < 0 ? errno : 0;
    attempt.writable = becomes_writable(fd);
    attempt.first = so_error(fd);
    attempt.second = so_error(fd);
    attempt.connected = is_connected(fd);
    close(fd);
    return attempt;
}

int main(void)
{
    int listener = listen_on_loopback(1), silent = socket(AF_INET, SOCK_STREAM, 0);
    struct sockaddr_in any = loopback(0);
    if (bind(silent, (struct sockaddr *)&any, sizeof any) < 0) /* a port that stays ours */
        err(1, "bind");
    struct attempt good = try(port_of(listener)), bad = try(port_of(silent));

    printf("%-17s %-17s %s\n", "", "somebody listens", "nobody listens");
    printf("%-17s %-17s %s\n", "connect():", name_of(good.connect), name_of(bad.connect));
    printf("%-17s %-17s %s\n", "select():", good.writable ? "writable" : "not writable",
           bad.writable ? "writable" : "not writable");
    printf("%-17s %-17s %s\n", "SO_ERROR:", name_of(good.first), name_of(bad.first));
    printf("%-17s %-17s %s\n", "SO_ERROR again:", name_of(good.second), name_of(bad.second));
    printf("%-17s %-17s %s\n", "getpeername():", good.connected ? "connected" : "not connected",
           bad.connected ? "connected" : "not connected");
    expect(good.connect == EINPROGRESS && bad.connect == EINPROGRESS, "connect() does not wait");
    expect(good.writable && bad.writable, "writable means that it has finished");
    expect(good.first == 0 && bad.first == ECONNREFUSED, "SO_ERROR says how");
    expect(bad.second == 0, "it says so once");
    expect(good.connected && !bad.connected, "one of them is connected");
    claim("A socket that is writable after connect() is connected", "false",
          bad.writable && bad.connected, 1, "nobody listens: writable, SO_ERROR says %s, then %s",
          name_of(bad.first), name_of(bad.second));
    return experiment_failed;
}
