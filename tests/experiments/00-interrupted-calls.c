/* EINTR: a signal came while the call slept. "Call again" is the answer for most calls, but not for
 * connect() and close().
 *
 * An interrupted connect() goes on without its caller. POSIX lets a second one fail, with EALREADY
 * while it does and EISCONN afterwards; Linux says so of a non-blocking socket only, and a blocking
 * one waits on. What works everywhere: wait until the socket is writable, then ask for SO_ERROR.
 * Before that SO_ERROR says nothing: it is 0 as long as connect() goes on.
 *
 * An interrupted close() has given the descriptor back on Linux, whatever it answers: a second one
 * closes what another thread has opened in the meantime. (On a socket Linux never answers EINTR,
 * not even when the wait that SO_LINGER asks for is interrupted, as here. A file system may:
 * close(2).)
 *
 * Needs: linux
 *
 * Expect:
 *   connect() while the backlog is full: Interrupted system call
 *   once more, non-blocking: Operation already in progress, SO_ERROR: Success
 *   there is room: writable after <n> s, SO_ERROR: Success; it is connected
 *   close() that waits for up to 10 s, interrupted after <n> s: Success
 *   the number is free: a file that is opened gets it
 *   close() once more: Success, and the file is closed
 */
#include "experiment.h"

#include <signal.h>
#include <sys/time.h>

static void on_alarm(int signal)
{
    (void)signal;
}

/* SIGALRM again and again, so that one of them meets the call; 0 stops it. */
static void alarm_every_ms(int ms)
{
    const struct timeval time = {.tv_usec = ms * 1000};
    setitimer(ITIMER_REAL, &(struct itimerval){time, time}, NULL);
}

static int connect_again(int fd, int listener)
{
    struct sockaddr_in address = loopback(port_of(listener));
    return connect(fd, (struct sockaddr *)&address, sizeof address) < 0 ? errno : 0;
}

static void interrupt_connect(void)
{
    int listener = listen_on_loopback(0), first = connect_to(port_of(listener));
    int fd = socket(AF_INET, SOCK_STREAM, 0);

    alarm_every_ms(50);
    int interrupted = connect_again(fd, listener);
    alarm_every_ms(0);
    printf("connect() while the backlog is full: %s\n", strerror(interrupted));
    nonblocking(fd);
    int again = connect_again(fd, listener), early = so_error(fd);
    printf("once more, non-blocking: %s, SO_ERROR: %s\n", strerror(again), strerror(early));

    double begin = now();
    close(accept(listener, NULL, NULL));
    struct pollfd writable = {.fd = fd, .events = POLLOUT};
    poll(&writable, 1, 20000);
    int error = so_error(fd);
    bool connected = is_connected(fd);
    printf("there is room: writable after %.1f s, SO_ERROR: %s; it is %sconnected\n", now() - begin,
           strerror(error), connected ? "" : "not ");
    expect(interrupted == EINTR && again == EALREADY && early == 0 && error == 0 && connected,
           "the interrupted connect() goes on by itself");
    close(first);
    close(fd);
    close(listener);
}

/* More than the peer takes, so that a close() with SO_LINGER has to wait. The client has the lowest
 * number that there is: open() will take it as soon as it is free. */
static struct pair with_unsent_bytes(void)
{
    struct pair pair = connection();
    int lowest = dup(pair.client);
    close(pair.client);
    pair.client = lowest;
    char bytes[65536] = {0};
    while (send(pair.client, bytes, sizeof bytes, MSG_DONTWAIT) > 0)
        continue;
    setsockopt(pair.client, SOL_SOCKET, SO_LINGER, &(struct linger){1, 10}, sizeof(struct linger));
    return pair;
}

static void interrupt_close(void)
{
    struct pair pair = with_unsent_bytes();
    double begin = now();
    alarm_every_ms(50);
    int error = close(pair.client) < 0 ? errno : 0;
    alarm_every_ms(0);
    double took = now() - begin;
    printf("close() that waits for up to 10 s, interrupted after %.2f s: %s\n", took,
           strerror(error));

    int other = open("/dev/null", O_RDONLY); /* as another thread might */
    printf("the number is free: a file that is opened %s it\n",
           other == pair.client ? "gets" : "does not get");
    int again = close(pair.client) < 0 ? errno : 0;
    bool closed = fcntl(other, F_GETFD) < 0 && errno == EBADF;
    printf("close() once more: %s, and the file is %s\n", strerror(again),
           closed ? "closed" : "still open");
    expect(took > 0.049 && took < 5, "it waits, until a signal ends that");
    expect(other == pair.client && again == 0 && closed, "the second close() closes another file");
    close(pair.server);
}

int main(void)
{
    const struct sigaction action = {.sa_handler = on_alarm}; /* without SA_RESTART */
    sigaction(SIGALRM, &action, NULL);
    interrupt_connect();
    interrupt_close();
    return experiment_failed;
}
