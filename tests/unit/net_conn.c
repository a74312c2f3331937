/* common/ by itself: what a test of a whole server could not see as closely. */
#define _GNU_SOURCE
#include <criterion/criterion.h>
#include <criterion/redirect.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <poll.h>
#include <signal.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/resource.h>
#include <sys/socket.h>
#ifdef __linux__
#include <sys/syscall.h>
#endif
#include <sys/wait.h>
#include <unistd.h>

#include "conn.h"
#include "net.h"
#include "options.h"

/* A listener, a client connected to it, and the server's end of that connection. */
struct pair {
    int listener, client, server;
};

static int connect_to(int listener)
{
    struct sockaddr_storage address = {0};
    socklen_t length = sizeof address;
    getsockname(listener, (struct sockaddr *)&address, &length);
    int fd = socket(address.ss_family, SOCK_STREAM, 0);
    cr_assert_eq(connect(fd, (struct sockaddr *)&address, length), 0);
    return fd;
}

static struct pair open_pair(void)
{
    struct net_settings settings = {.host = "127.0.0.1", .port = 0, .backlog = 16};
    struct pair pair = {.listener = net_listen(&settings, true)};
    cr_assert_geq(pair.listener, 0);
    pair.client = connect_to(pair.listener);
    cr_assert_eq(net_accept(pair.listener, true, &pair.server), NET_CLIENT);
    return pair;
}

/* Takes turns until the connection would have to wait, or is over. */
static enum conn_next turns(struct conn *conn)
{
    enum conn_next next;
    do
        next = conn_turn(conn);
    while (next != CONN_CLOSE && !conn->would_block);
    return next;
}

static void wait_readable(int fd)
{
    struct pollfd wait = {.fd = fd, .events = POLLIN};
    cr_assert_eq(poll(&wait, 1, 5000), 1);
}

Test(net, accepted_sockets_inherit_the_options, .timeout = 10)
{
    struct pair pair = open_pair();
    int on = 0;
    socklen_t length = sizeof on;
    getsockopt(pair.server, IPPROTO_TCP, TCP_NODELAY, &on, &length);
    cr_expect(on, "TCP_NODELAY");
    getsockopt(pair.server, SOL_SOCKET, SO_OOBINLINE, &on, &length);
    cr_expect(on, "SO_OOBINLINE");
    cr_expect(fcntl(pair.server, F_GETFL) & O_NONBLOCK);
    cr_expect(fcntl(pair.server, F_GETFD) & FD_CLOEXEC);
}

/* On some systems an accepted socket has its listener's flags. net_accept() sets its caller's. */
Test(net, a_blocking_client_of_a_nonblocking_listener, .timeout = 10)
{
    struct pair pair = open_pair();
    int client;
    connect_to(pair.listener);
    wait_readable(pair.listener);
    cr_assert_eq(net_accept(pair.listener, false, &client), NET_CLIENT);
    cr_expect_not(fcntl(client, F_GETFL) & O_NONBLOCK);
    cr_expect(fcntl(client, F_GETFD) & FD_CLOEXEC);
}

Test(net, listening_raises_the_limit_of_descriptors, .timeout = 10)
{
    struct rlimit limit, now;
    getrlimit(RLIMIT_NOFILE, &limit);
    if (limit.rlim_max <= 64)
        cr_skip_test("the hard limit is very low here");
    limit.rlim_cur = 64;
    setrlimit(RLIMIT_NOFILE, &limit);
    open_pair();
    getrlimit(RLIMIT_NOFILE, &now);
    cr_expect_gt(now.rlim_cur, 64);
}

Test(net, accept_tells_its_failures_apart, .timeout = 10, .init = cr_redirect_stderr)
{
    struct pair pair = open_pair();
    int client, no_socket = open("/dev/null", O_RDONLY);
    cr_expect_eq(net_accept(pair.listener, true, &client), NET_TRY_AGAIN);
    cr_expect_eq(net_accept(no_socket, true, &client), NET_EXHAUSTED, "ENOTSOCK");
    cr_expect_eq(net_accept(pair.client, true, &client), NET_EXHAUSTED, "EINVAL: not listening");

    int second = connect_to(pair.listener);
    wait_readable(pair.listener);
    struct rlimit limit = {(rlim_t)second + 1, (rlim_t)second + 1};
    setrlimit(RLIMIT_NOFILE, &limit);
    cr_expect_eq(net_accept(pair.listener, true, &client), NET_EXHAUSTED, "EMFILE");
    close(no_socket);
    cr_expect_eq(net_accept(pair.listener, true, &client), NET_CLIENT,
                 "the client no longer waits");
}

/* How often the file, which is stderr, contains the text. */
static int times_said(FILE *file, const char *what)
{
    char text[1024] = "";
    int times = 0;
    if (pread(fileno(file), text, sizeof text - 1, 0) < 0)
        return -1;
    for (const char *t = text; (t = strstr(t, what)); t++)
        times++;
    return times;
}

Test(net, exhaustion_is_logged_once_until_a_client_gets_in, .timeout = 10)
{
    FILE *said = tmpfile();
    struct pair pair = open_pair();
    int client, spare = dup(0), second = connect_to(pair.listener);
    struct rlimit limit = {(rlim_t)second + 1, (rlim_t)second + 1};
    connect_to(pair.listener);
    wait_readable(pair.listener);
    dup2(fileno(said), STDERR_FILENO);
    setrlimit(RLIMIT_NOFILE, &limit);
    for (int i = 0; i < 3; i++)
        cr_expect_eq(net_accept(pair.listener, true, &client), NET_EXHAUSTED);
    cr_expect_eq(times_said(said, "accept"), 1);
    close(spare);
    cr_expect_eq(net_accept(pair.listener, true, &client), NET_CLIENT);
    sleep(1); /* two such lines are at least a second apart: log.h */
    for (int i = 0; i < 3; i++)
        cr_expect_eq(net_accept(pair.listener, true, &client), NET_EXHAUSTED);
    cr_expect_eq(times_said(said, "accept"), 2);
}

#ifdef __linux__
static int next_error; /* the next error of accept4(); 0: the kernel answers */
static bool replaced;

int accept4(int fd, struct sockaddr *address, socklen_t *length, int flags)
{
    replaced = true;
    errno = next_error;
    next_error = 0;
    return errno ? -1 : (int)syscall(SYS_accept4, fd, address, length, flags);
}

/* A loop that asks all the time, as in chapter 02, often hears that no client waits. These answers
 * must not count against the clients behind one that is lost. */
Test(net, each_failure_is_counted_by_itself, .timeout = 10, .init = cr_redirect_stderr)
{
    struct pair pair = open_pair();
    int client;
    while (net_accept(pair.listener, true, &client) == NET_TRY_AGAIN)
        continue;
    if (!replaced)
        cr_skip_test("accept4() is not called here");
    next_error = ECONNABORTED;
    cr_expect_eq(net_accept(pair.listener, true, &client), NET_LOST);
    int lost = 0;
    do
        next_error = ECONNABORTED;
    while (net_accept(pair.listener, true, &client) == NET_LOST && ++lost < 1000);
    cr_expect_lt(lost, 1000, "clause 6: no spinning");
}

/* An error may belong to a lost client, or pass by itself, or mean that the system is out of
 * something. The server answers each kind differently. */
Test(net, each_error_of_accept_has_its_answer, .timeout = 10, .init = cr_redirect_stderr)
{
    static const struct {
        int error;
        enum net_accepted answer;
    } cases[] = {
        {EINTR, NET_TRY_AGAIN},   {EAGAIN, NET_TRY_AGAIN},   {ECONNABORTED, NET_LOST},
        {EPROTO, NET_LOST},       {ENOPROTOOPT, NET_LOST},   {EOPNOTSUPP, NET_LOST},
        {ENETDOWN, NET_LOST},     {ENETUNREACH, NET_LOST},   {EHOSTDOWN, NET_LOST},
        {EHOSTUNREACH, NET_LOST}, {ENONET, NET_LOST},        {EMFILE, NET_EXHAUSTED},
        {ENFILE, NET_EXHAUSTED},  {ENOBUFS, NET_EXHAUSTED},  {ENOMEM, NET_EXHAUSTED},
        {EPERM, NET_EXHAUSTED},   {ENOTSOCK, NET_EXHAUSTED}, {EINVAL, NET_EXHAUSTED},
    };
    struct pair pair = open_pair();
    int client;
    if (!replaced)
        cr_skip_test("accept4() is not called here");
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        next_error = cases[i].error;
        cr_expect_eq(net_accept(pair.listener, true, &client), cases[i].answer, "%s",
                     strerror(cases[i].error));
    }
}
#endif

Test(net, what_fails_again_and_again_is_exhaustion, .timeout = 10)
{
    struct pair pair = open_pair();
    int client, again = 0;
    while (again < 1000 && net_accept(pair.listener, true, &client) == NET_TRY_AGAIN)
        again++;
    cr_expect_eq(net_accept(pair.listener, true, &client), NET_EXHAUSTED, "clause 6: no spinning");
    cr_expect(again >= 16 && again < 1000, "%d times in a row", again);
    connect_to(pair.listener);
    wait_readable(pair.listener);
    cr_expect_eq(net_accept(pair.listener, true, &client), NET_CLIENT);
    cr_expect_eq(net_accept(pair.listener, true, &client), NET_TRY_AGAIN, "counted anew");
}

Test(net, a_full_disk_is_reported_when_announcing, .timeout = 10, .init = cr_redirect_stderr)
{
    struct pair pair = open_pair();
    char text[512] = "";
    if (!freopen("/dev/full", "w", stdout))
        cr_skip_test("no /dev/full on this system");
    cr_expect_eq(net_announce(pair.listener), -1);
    fflush(stderr);
    cr_expect_not_null(fgets(text, sizeof text, cr_get_redirected_stderr()));
    cr_expect(strstr(text, "stdout"), "said: %s", text);
}

static void parse_number(const char *text)
{
    cr_redirect_stderr();
    options_number("--port", text, 0, 65535);
    _exit(0);
}

#define NOT_A_NUMBER(name, text)                                                                   \
    Test(options_number, name, .exit_code = 2)                                                     \
    {                                                                                              \
        parse_number(text);                                                                        \
    }

NOT_A_NUMBER(empty, "")
NOT_A_NUMBER(letters, "abc")
NOT_A_NUMBER(tail, "80x")
NOT_A_NUMBER(blank_first, " 80")
NOT_A_NUMBER(negative, "-1")
NOT_A_NUMBER(plus, "+1")
NOT_A_NUMBER(too_large, "65536")
NOT_A_NUMBER(far_too_large, "99999999999999999999")

Test(options_number, good_ones)
{
    cr_expect_eq(options_number("--port", "0", 0, 65535), 0);
    cr_expect_eq(options_number("--port", "65535", 0, 65535), 65535);
    cr_expect_eq(options_number("--port", "007", 0, 65535), 7);
}

Test(conn, echoes_and_then_holds_nothing, .timeout = 10)
{
    struct pair pair = open_pair();
    struct conn_table table = {0};
    struct conn *conn = conn_open(&table, pair.server);
    char answer[16];
    cr_expect_eq(send(pair.client, "hello", 5, 0), 5);
    wait_readable(pair.server);
    cr_expect_eq(conn_turn(conn), CONN_READ);
    cr_expect_null(conn->unsent);
    cr_expect_eq(recv(pair.client, answer, sizeof answer, MSG_WAITALL | MSG_DONTWAIT), 5);
    cr_expect_arr_eq(answer, "hello", 5);
    cr_expect_eq(conn_turn(conn), CONN_READ);
    cr_expect(conn->would_block);
}

/* Clauses 2 and 3: the server does not read from a client that does not read, and owes it
 * everything, even after its FIN. */
Test(conn, half_close_with_bytes_unsent, .timeout = 20)
{
    struct pair pair = open_pair();
    struct conn_table table = {0};
    struct conn *conn = conn_open(&table, pair.server);
    static char chunk[256 * 1024];
    size_t sent = 0, back = 0;

    fcntl(pair.client, F_SETFL, O_NONBLOCK);
    for (int full = 0; full < 3;) { /* until both directions are full */
        ssize_t n = send(pair.client, chunk, sizeof chunk, 0);
        if (n > 0)
            sent += (size_t)n;
        full = n > 0 ? 0 : full + 1;
        turns(conn);
    }
    cr_assert_eq(conn->next, CONN_WRITE);
    cr_assert_not_null(conn->unsent);
    shutdown(pair.client, SHUT_WR);
    while (conn->next != CONN_CLOSE) {
        ssize_t n = recv(pair.client, chunk, sizeof chunk, 0);
        if (n > 0)
            back += (size_t)n;
        conn_turn(conn);
    }
    conn_close(conn);
    fcntl(pair.client, F_SETFL, 0);
    for (ssize_t n; (n = recv(pair.client, chunk, sizeof chunk, 0)) != 0;) {
        cr_assert_gt(n, 0, "RST instead of FIN");
        back += (size_t)n;
    }
    cr_expect_eq(back, sent);
}

/* Clause 7: what has arrived is echoed, then FIN, and what comes later is thrown away. */
Test(conn, stop_echoes_what_has_arrived_and_no_more, .timeout = 10)
{
    struct pair pair = open_pair();
    struct conn_table table = {0};
    struct conn *conn = conn_open(&table, pair.server);
    char answer[16];
    send(pair.client, "before", 6, 0);
    wait_readable(pair.server);
    conn_stop(conn);
    send(pair.client, "after", 5, 0);
    cr_expect_eq(turns(conn), CONN_READ);
    cr_expect_eq(recv(pair.client, answer, sizeof answer, MSG_WAITALL), 6, "then EOF");
    cr_expect_arr_eq(answer, "before", 6);
    shutdown(pair.client, SHUT_WR);
    wait_readable(pair.server);
    cr_expect_eq(turns(conn), CONN_CLOSE);
    conn_close(conn);
    cr_expect_eq(recv(pair.client, answer, 1, 0), 0, "FIN, not RST");
}

/* The same, with more bytes than one turn echoes. */
Test(conn, stop_echoes_more_than_one_turn, .timeout = 10)
{
    enum { LENGTH = 3 * CONN_HELD_MAX };
    struct pair pair = open_pair();
    struct conn_table table = {0};
    struct conn *conn = conn_open(&table, pair.server);
    static char bytes[LENGTH];
    int room = 4 * LENGTH, arrived = 0;

    setsockopt(pair.server, SOL_SOCKET, SO_RCVBUF, &room, sizeof room);
    cr_assert_eq(send(pair.client, bytes, LENGTH, 0), LENGTH);
    while (arrived < LENGTH) {
        wait_readable(pair.server);
        ioctl(pair.server, FIONREAD, &arrived);
    }
    conn_stop(conn);
    cr_expect_eq(turns(conn), CONN_READ);
    cr_expect_eq(recv(pair.client, bytes, LENGTH, MSG_WAITALL), LENGTH);
    cr_expect_eq(recv(pair.client, bytes, 1, 0), 0, "then EOF");
}

Test(conn, stop_of_an_idle_one_sends_fin_at_once, .timeout = 10)
{
    struct pair pair = open_pair();
    struct conn_table table = {0};
    struct conn *conn = conn_open(&table, pair.server);
    char byte;
    conn_stop(conn);
    cr_expect_eq(conn_turn(conn), CONN_READ);
    cr_expect_eq(recv(pair.client, &byte, 1, 0), 0);
}

Test(conn, reset_closes, .timeout = 10)
{
    struct pair pair = open_pair();
    struct conn_table table = {0};
    struct conn *conn = conn_open(&table, pair.server);
    struct linger hard = {1, 0};
    setsockopt(pair.client, SOL_SOCKET, SO_LINGER, &hard, sizeof hard);
    close(pair.client);
    wait_readable(pair.server);
    cr_expect_eq(conn_turn(conn), CONN_CLOSE);
}

Test(conn_table, finds_by_descriptor_and_reuses_slots)
{
    struct conn_table table = {0};
    int fds[300];
    for (int i = 0; i < 300; i++) {
        fds[i] = dup(0);
        cr_assert_not_null(conn_open(&table, fds[i]));
    }
    cr_expect_null(conn_at(&table, 0));
    cr_expect_null(conn_at(&table, fds[299] + 1));
    for (int i = 0; i < 300; i++)
        cr_expect_eq(conn_at(&table, fds[i])->fd, fds[i]);
    conn_close(conn_at(&table, fds[7]));
    cr_expect_null(conn_at(&table, fds[7]));
    cr_expect_eq(dup(0), fds[7], "the lowest number free");
    cr_expect_not_null(conn_open(&table, fds[7]));
    conn_table_free(&table);
    cr_expect_eq(fcntl(fds[0], F_GETFD), -1);
}

Test(net, a_deadline_is_none_or_ahead_or_over)
{
    int64_t now = net_now_ms();
    cr_expect_eq(net_ms_left(0), -1, "none: forever");
    cr_expect_eq(net_ms_left(now), 0);
    cr_expect_eq(net_ms_left(now - 5000), 0, "never less than 0");
    int left = net_ms_left(now + 60000);
    cr_expect(left > 50000 && left <= 60000, "%d ms", left);
}

Test(net, a_client_that_is_turned_away_is_closed_and_logged, .timeout = 10)
{
    FILE *said = tmpfile();
    struct pair pair = open_pair();
    char byte;
    dup2(fileno(said), STDERR_FILENO);
    net_turn_away(pair.server, "no room");
    cr_expect_eq(times_said(said, "turned away: no room"), 1);
    cr_expect_eq(fcntl(pair.server, F_GETFD), -1);
    cr_expect_eq(recv(pair.client, &byte, 1, 0), 0);
}

Test(conn, release_leaves_the_descriptor_to_the_caller, .timeout = 10)
{
    struct pair pair = open_pair();
    struct conn_table table = {0};
    struct conn *conn = conn_open(&table, pair.server);
    cr_assert_not_null(conn);
    cr_expect_eq(conn_release(conn), pair.server);
    cr_expect_null(conn_at(&table, pair.server));
    cr_expect_neq(fcntl(pair.server, F_GETFD), -1, "it is open");
    conn_table_free(&table);
}

/* ---- options.h: the stop signals ---- */

static volatile sig_atomic_t handled;

static void on_stop_signal(int signal)
{
    handled = signal;
}

Test(options, a_blocked_stop_signal_is_pending)
{
    sigset_t signals = stop_signals_block();
    cr_expect(sigismember(&signals, SIGINT) == 1 && sigismember(&signals, SIGTERM) == 1);
    cr_expect_not(stop_signals_pending());
    raise(SIGTERM); /* which would end this process */
    cr_expect(stop_signals_pending());
    int got;
    sigwait(&signals, &got);
    cr_expect_eq(got, SIGTERM);
    cr_expect_not(stop_signals_pending());
    raise(SIGINT);
    cr_expect(stop_signals_pending());
}

Test(options, a_handled_stop_signal_interrupts_a_call, .timeout = 10)
{
    int ends[2];
    char byte;
    cr_assert_eq(pipe(ends), 0);
    stop_signals_handle(on_stop_signal);
    raise(SIGINT);
    cr_expect_eq(handled, SIGINT);
    handled = 0;
    raise(SIGINT); /* which would end this process, if the handler were gone */
    cr_expect_eq(handled, SIGINT);
    pid_t parent = getpid(), child = fork();
    if (child == 0) { /* a signal that comes too early interrupts nothing: repeat it */
        for (int i = 0; i < 500; i++) {
            usleep(10000);
            kill(parent, SIGTERM);
        }
        _exit(0);
    }
    cr_expect_eq(read(ends[0], &byte, 1), -1);
    cr_expect_eq(errno, EINTR, "no SA_RESTART");
    cr_expect_eq(handled, SIGTERM);
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
}
