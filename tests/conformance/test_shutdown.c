/* Clause 7: SIGINT or SIGTERM: stop accepting, echo what has arrived, send FIN, wait at most 1 s
 * for the clients, exit 0. */
#include <criterion/criterion.h>
#include <errno.h>
#include <signal.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../harness/harness.h"

SUITE(clause7_shutdown);

/* What setpriority() takes for a process. */
#ifdef __FreeBSD__
typedef int priority_of;
#else
typedef id_t priority_of;
#endif

enum { SOON_MS = 700, STOP_MAX_MS = 1500 };

Test(clause7_shutdown, sigterm_without_clients)
{
    server_start();
    server_signal(SIGTERM);
    server_must_end_well("clause 7: there is no client", SOON_MS);
}

Test(clause7_shutdown, sigint_without_clients)
{
    server_start();
    server_signal(SIGINT);
    server_must_end_well("clause 7: there is no client", SOON_MS);
}

/* The clients get what they are owed, then EOF, soon after the signal, and not only after the
 * second that the server would wait. Then they leave, and it has nothing to wait for. */
static void clients_see_fin_and_leave(struct client *c, int count, int64_t signalled)
{
    for (int i = 0; i < count; i++) {
        client_receive_all(&c[i]);
        client_expect_eof(&c[i]);
    }
    int64_t took = now_ms() - signalled;
    cr_assert(took < patient(SOON_MS), "clause 7: FIN comes only after %d ms", (int)took);
    clients_close(c, count);
    server_must_end_well("clause 7: all clients have left", SOON_MS);
}

static int64_t signal_at(int signal)
{
    server_signal(signal);
    return now_ms();
}

static void stop_with_idle_clients(int signal)
{
    enum { MANY = 20 };
    struct client c[MANY];
    server_start();
    clients_open(c, MANY);
    clients_echo(c, MANY / 2, 5000);
    client_echo(&c[MANY - 1], 1); /* so the ones before are accepted too */
    clients_see_fin_and_leave(c, MANY, signal_at(signal));
}

Test(clause7_shutdown, sigterm_with_idle_clients)
{
    stop_with_idle_clients(SIGTERM);
}

Test(clause7_shutdown, sigint_with_idle_clients)
{
    stop_with_idle_clients(SIGINT);
}

/* A server goes through its table to tell its clients, and finds some lost. It must not skip those
 * that take their places in the table. */
Test(clause7_shutdown, lost_clients_hide_nobody)
{
    enum { MANY = 8 };
    struct client owed[MANY], idle[MANY];
    server_start();
    for (int i = 0; i < MANY; i++) {
        owed[i] = client_open_small();
        idle[i] = client_open();
        client_echo(&idle[i], 100);
    }
    clients_push(owed, MANY, 16 << 20);
    server_pause();
    for (int i = 0; i < MANY; i++)
        client_reset(&owed[i]);
    int64_t signalled = signal_at(SIGTERM);
    server_resume();
    clients_see_fin_and_leave(idle, MANY, signalled);
}

/* The bytes wait in the server's kernel when the signal comes: they have arrived. The clients are
 * more than one wait reports. */
Test(clause7_shutdown, what_has_arrived_comes_back)
{
    enum { MANY = 400 };
    static struct client c[MANY];
    server_start();
    clients_open(c, MANY);
    clients_echo(c, MANY, 100);
    server_pause();
    server_signal(SIGTERM); /* the server hears it with the bytes */
    for (int i = 0; i < MANY; i++)
        client_send(&c[i], 1 + (size_t)i % 20 * 1500);
    for (int i = 19; i < MANY; i += 20) /* a busy kernel delivers late, but in this order */
        AWAIT(3000, client_bytes_arrived(&c[i]));
    server_resume();
    clients_see_fin_and_leave(c, MANY, now_ms());
}

/* More than clause 5 allows in one go: the server has to keep count of what is left. */
Test(clause7_shutdown, all_that_has_arrived_comes_back)
{
    server_start();
    struct client c = client_open();
    client_echo(&c, 16 << 20); /* lets the kernel's buffers grow until it fits */
    server_pause();
    client_send(&c, 400000);
    AWAIT(3000, client_bytes_arrived(&c));
    if (!client_bytes_arrived(&c))
        cr_skip_test("the server's kernel does not take that much");
    server_signal(SIGTERM);
    server_resume();
    clients_see_fin_and_leave(&c, 1, now_ms());
}

Test(clause7_shutdown, what_has_arrived_before_a_fin_comes_back)
{
    server_start();
    struct client c = client_open();
    client_echo(&c, 100);
    server_pause();
    client_send(&c, 30000);
    client_shut(&c);
    server_signal(SIGTERM);
    server_resume();
    clients_see_fin_and_leave(&c, 1, now_ms());
}

/* A connection that the kernel has made and the server has not taken may be served or not, but
 * its client must learn, and must not keep the server. */
Test(clause7_shutdown, client_in_the_backlog)
{
    struct client c[2];
    server_start();
    c[0] = client_open();
    client_echo(&c[0], 100);
    server_pause();
    c[1] = client_open();
    client_send(&c[1], 100);
    server_signal(SIGTERM);
    server_resume();
    int open = clients_drain(c, 2, SOON_MS);
    cr_assert(open == 0, "clause 7: %d clients do not learn that the server stops", open);
    cr_assert(c[0].eof, "clause 2: RST instead of EOF");
    clients_close(c, 2);
    server_must_end_well("clause 7: all clients have left", SOON_MS);
}

/* All clients stream. Each gets back a beginning of what it sent, then EOF. It gets no RST, which
 * would have destroyed bytes on their way. */
Test(clause7_shutdown, under_traffic)
{
    enum { MANY = 60 };
    static struct client c[MANY];
    int gone = 0, reset = 0, unread = 0;
    server_start();
    clients_open(c, MANY);
    clients_echo(c, MANY, 100000);
    int64_t stop = now_ms() + 200, end = stop + patient(STOP_MAX_MS), signalled = 0;
    while (gone < MANY && now_ms() < end) {
        if (!signalled && now_ms() >= stop) {
            server_signal(SIGTERM);
            signalled = now_ms();
        }
        for (int i = 0; i < MANY; i++) {
            if (c[i].fd < 0)
                continue;
            client_put(&c[i], 65536);
            client_take(&c[i], 131072);
            if (!c[i].eof && !c[i].reset)
                continue;
            reset += c[i].reset;
            unread += c[i].received == 0;
            gone++;
            client_close(&c[i]);
        }
    }
    cr_assert(gone == MANY, "clause 7: %d of %d clients saw no EOF", MANY - gone, MANY);
    cr_assert(reset == 0, "clause 7: %d of %d clients saw RST, not EOF", reset, MANY);
    cr_assert(unread == 0);
    server_must_end_well("clause 7: under traffic", (int)(end - now_ms()));
}

/* Runs in a child until it is killed. Sends, so that everything is full at all times, or throws
 * away what comes. */
static pid_t flood(const struct client *c, int count, bool sends)
{
    static char bytes[60000];
    pid_t pid = fork();
    cr_assert(pid >= 0, "fork: %s", strerror(errno)); /* kill(-1) would end everything */
    if (pid > 0)
        return pid;
    alarm(60); /* if its test dies */
    for (int i = 0;; i = (i + 1) % count)
        if (sends)
            (void)!send(c[i].fd, bytes, sizeof bytes, 0);
        else
            (void)!recv(c[i].fd, bytes, sizeof bytes, 0);
}

/* How long the server has had a CPU; the time, where the system does not tell. */
static double cpu_had_ms(void)
{
#ifdef __APPLE__
    return (double)now_ms();
#else
    return server_cpu_ms();
#endif
}

/* Some client is always ready: a server that hears signals only while it sleeps would hear none. */
Test(clause7_shutdown, in_a_flood)
{
    enum { MANY = 40, FLOODS = 4, HEARS_MS = STUCK_MS + 1000, TURNS_MS = 500 };
    struct client c[MANY];
    pid_t child[FLOODS];
    server_start();
    clients_open(c, MANY);
    for (int i = 0; i < FLOODS; i++)
        child[i] = flood(c, MANY, i % 2 == 0);
    /* With this priority the server cannot keep up, and never sleeps. */
    setpriority(PRIO_PROCESS, (priority_of)server.pid, 10);
    nap(500);
    double before = cpu_had_ms();
    server_signal(SIGTERM);
    bool ended = server_ended_within(HEARS_MS);
    /* On a busy machine the server may not have had the CPU time for its turns by then. */
    AWAIT(4 * HEARS_MS, !server_running() || cpu_had_ms() - before > TURNS_MS);
    ended = ended || !server_running();
    for (int i = 0; i < FLOODS; i++) {
        kill(child[i], SIGKILL);
        waitpid(child[i], NULL, 0);
    }
    cr_assert(ended, "clause 7: in a flood the signal is not heard");
    server_must_end_well("clause 7: in a flood", 0);
    for (int i = 0; i < MANY; i++)
        close(c[i].fd);
}

/* The server waits, but not forever: one client keeps its connection open after the FIN. */
Test(clause7_shutdown, client_that_stays)
{
    server_start();
    struct client c = client_open();
    client_echo(&c, 100);
    int64_t end = now_ms() + patient(STOP_MAX_MS);
    server_signal(SIGTERM);
    client_expect_eof(&c);
    server_must_end_well("clause 7: a client stays, 1 s is enough", (int)(end - now_ms()));
    client_close(&c);
}

/* The server sleeps while it waits: what has told it to stop must not wake it again and again. */
Test(clause7_shutdown, waiting_for_a_client_costs_no_cpu)
{
    enum { PART = 200, LIMIT = PART / 10 }; /* of its second */
    if (server_has("busy"))
        cr_skip_test("this server burns CPU by design");
    server_start();
    struct client c = client_open();
    client_echo(&c, 100);
    server_signal(SIGTERM);
    client_expect_eof(&c);
    double before = server_cpu_ms();
    nap(PART);
    double used = server_cpu_ms() - before;
    cr_assert(server_running(), "clause 7: it does not wait for a client");
    cr_assert(used < LIMIT, "clause 7: %.0f ms of CPU in %d ms of waiting for a client", used,
              PART);
    client_close(&c);
    server_must_end_well("clause 7: all clients have left", SOON_MS);
}

/* The worst client has megabytes to send and to get, and never reads. */
Test(clause7_shutdown, client_that_never_reads)
{
    server_start();
    struct client c[2] = {client_open_small(), client_open()};
    clients_push(c, 1, 16 << 20);
    client_echo(&c[1], 1000);
    int64_t end = now_ms() + patient(STOP_MAX_MS);
    server_signal(SIGTERM);
    client_expect_eof(&c[1]);
    server_must_end_well("clause 7: a client does not read, 1 s is enough", (int)(end - now_ms()));
    clients_close(c, 2);
}

/* A slow client reads only 0.3 s after the signal, and still gets everything. */
Test(clause7_shutdown, slow_client_is_waited_for)
{
    server_start();
    struct client c = client_open_small();
    clients_push(&c, 1, 150000); /* less than both kernels hold, so that all of it arrives */
    AWAIT(3000, client_bytes_arrived(&c));
    server_signal(SIGTERM);
    nap(300);
    clients_see_fin_and_leave(&c, 1, now_ms());
}

/* The server owes nothing any more: its kernel has the bytes, and has to send most of them yet. The
 * client leaves, in order, and reads only then. */
Test(clause7_shutdown, what_is_on_its_way_comes_back)
{
    server_start();
    struct client c = client_open_unread(100000);
    server_signal(SIGTERM);
    nap(100); /* it sends its FIN now, behind the bytes */
    client_shut(&c);
    server_must_end_well("clause 7: its client has left", SOON_MS);
    client_receive_all(&c);
    client_expect_eof(&c);
    client_close(&c);
}

enum { OWED = 2, NEARLY_OWED = 2, ALL = OWED + NEARLY_OWED };

/* Stops a server that owes each client something. It holds bytes for the first two, and more of the
 * second's bytes wait unread in its kernel. The last two send their last bytes while it is paused.
 * It reads them when it is about to stop, and its kernel does not take all of their echo. */
static void stop_while_owing(struct client *c)
{
    server_start();
    for (int i = 0; i < OWED; i++)
        c[i] = client_open_owed();
    clients_open_nearly_owed(c + OWED, NEARLY_OWED);
    server_pause();
    server_signal(SIGTERM);
    for (int i = 1; i < ALL; i++)
        client_send(&c[i], i < OWED ? 25000 : 8000);
    for (int i = 0; i < ALL; i++) {
        AWAIT(STUCK_MS, client_bytes_arrived(&c[i]));
        cr_assert(client_bytes_arrived(&c[i]), "the server's kernel does not take so much");
    }
    server_resume();
}

/* The clients read within the second. */
Test(clause7_shutdown, what_the_server_holds_comes_back)
{
    static const char *const owed[ALL] = {"what it held", "what it had not read",
                                          "what it read last", "what it read last"};
    struct client c[ALL];
    stop_while_owing(c);
    nap(300);
    for (int i = 0; i < ALL; i++) {
        clients_drain(&c[i], 1, STUCK_MS);
        cr_assert(c[i].received == c[i].sent,
                  "clause 7: at the stop, %s is lost: byte %llu of %llu", owed[i],
                  (unsigned long long)c[i].received, (unsigned long long)c[i].sent);
    }
    clients_see_fin_and_leave(c, ALL, now_ms());
}

/* The clients do not read within the second. What the server still holds then is lost, and it must
 * say so: after EOF they would take what has come for all. (Its kernel may have made room
 * meanwhile: then all does come.) */
Test(clause7_shutdown, given_up_clients_see_a_reset)
{
    struct client c[ALL];
    stop_while_owing(c);
    int64_t end = now_ms() + patient(STOP_MAX_MS);
    for (int i = 0; i < ALL; i += 2)
        client_shut(&c[i]);
    server_must_end_well("clause 7: clients do not read, 1 s is enough", (int)(end - now_ms()));
    for (int i = 0; i < ALL; i++) {
        clients_drain(&c[i], 1, STUCK_MS);
        cr_assert(!c[i].eof || c[i].received == c[i].sent,
                  "clause 2: EOF after byte %llu of %llu, as if that were all",
                  (unsigned long long)c[i].received, (unsigned long long)c[i].sent);
        cr_assert(c[i].eof || c[i].reset, "clause 7: the server has ended, but no client knows");
    }
    clients_close(c, ALL);
}

Test(clause7_shutdown, new_clients_are_refused)
{
    struct client late;
    server_start();
    struct client c = client_open();
    client_echo(&c, 100);
    server_signal(SIGTERM);
    client_expect_eof(&c);
    bool connected = client_try(&late, 1000);
    int error = errno;
    cr_assert(!connected, "clause 7: it still accepts after its FIN");
    cr_assert(error == ECONNREFUSED || error == ECONNRESET,
              "clause 7: a new client waits in vain instead of being refused");
    client_close(&c);
    server_must_end_well("clause 7: all clients have left", STOP_MAX_MS);
}

/* The server's FIN came first, so the port is in TIME_WAIT: bind() needs SO_REUSEADDR. */
Test(clause7_shutdown, immediate_restart_on_the_same_port)
{
    enum { MANY = 5 };
    struct client c[MANY];
    server_start();
    int port = server.port;
    for (int i = 0; i < 2; i++) {
        clients_open(c, MANY);
        clients_echo(c, MANY, 100);
        clients_see_fin_and_leave(c, MANY, signal_at(SIGTERM));
        server_start_with((struct start){.port = port});
        cr_assert(server.port == port);
    }
    server_stop();
}
