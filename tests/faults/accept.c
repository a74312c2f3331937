/* What accept() may say, and what a server must make of it: accept(2), "ERRORS" and "Error
 * handling". */
#include <errno.h>
#include <string.h>
#include <unistd.h>

#include "fault.h"

enum { WAITING = 3, SAMPLE_MS = 80 };

/* The network has ended one waiting connection. That one is lost; the next may be fine. */
static const int network_errors[] = {ECONNABORTED, EPROTO,    ENOPROTOOPT, EOPNOTSUPP,   ENETDOWN,
                                     ENETUNREACH,  EHOSTDOWN, ENONET,      EHOSTUNREACH, 0};
/* "Ask again": a server may do so for a while. */
static const int again_errors[] = {EAGAIN, EINTR, 0};
/* These concern all clients, and will not be over at once. */
static const int lasting_errors[] = {EMFILE, ENFILE,          ENOBUFS,   ENOMEM,   EPERM,  EACCES,
                                     ENOSYS, EINVAL,          EBADF,     ENOTSOCK, EFAULT, EIO,
                                     ENOSR,  ESOCKTNOSUPPORT, ETIMEDOUT, 0};

/* Returns how long the next client waits for its echo after accept() has lost one. */
static int next_after_a_loss(struct client *first, int error)
{
    long before = injected();
    lose_next_client(error);
    struct client lost;
    bool open = client_try(&lost, 5000); /* or it is reset as soon as that */
    must(!open || exchange(&lost, 1, 100, false) == 1, "%s: the client was not lost",
         strerror(error));
    must(injected() == before + 1, "%s: the client was lost in another way", strerror(error));
    int64_t start = now_ms();
    struct client next = client_open();
    client_echo(&next, 100);
    int waited = (int)(now_ms() - start);
    client_echo(first, 1000);
    client_close(&lost);
    client_close(&next);
    return waited;
}

/* A server that takes a network error for exhaustion makes the next client wait. This machine may
 * be busy, but not each time. */
void only_that_client_is_lost(const struct fault *fault)
{
    enum { TRIES = 3, SOON_MS = 50 };
    start_under(fault);
    struct client first = client_open();
    client_echo(&first, 1000);
    for (const int *error = network_errors; *error; error++) {
        int waited = next_after_a_loss(&first, *error);
        for (int i = 1; i < TRIES && waited > patient(SOON_MS); i++)
            waited = next_after_a_loss(&first, *error);
        must(waited <= patient(SOON_MS), "%s: the next client waits for %d ms", strerror(*error),
             waited);
    }
    client_shut(&first);
    client_expect_eof(&first);
    client_close(&first);
    must_settle();
    server_stop();
}

/* The lines on stderr until now. */
static int count_lines(void)
{
    char text[4096];
    int lines = 0;
    off_t at = 0;
    for (ssize_t n; (n = pread(server.errors, text, sizeof text, at)) > 0; at += n)
        for (ssize_t i = 0; i < n; i++)
            lines += text[i] == '\n';
    return lines;
}

/* One client is connected, and more wait. burst: calls that the server may make at once, before it
 * takes the error for one that lasts. Returns how long they still waited once accept() worked. */
static int fail_for_a_while(struct client *first, int error, long burst)
{
    struct client waiting[WAITING];
    long before = injected();
    int64_t start = now_ms();
    set_accept_error(error);
    clients_open(waiting, WAITING);
    for (int i = 0; i < WAITING; i++)
        client_put(&waiting[i], 10);
    client_echo(first, 3000);
    AWAIT(5000, injected() > before);
    must(injected() > before, "%s: accept() was not called", strerror(error));
    double cpu = server_cpu_ms();
    int64_t sampled = now_ms();
    nap(SAMPLE_MS);
    cpu = server_cpu_ms() - cpu;
    int64_t now = now_ms();
    long calls = injected() - before, calls_max = burst + (long)(now - start) / 10;
    if (!server_has("busy")) {
        must(calls <= calls_max, "%s: accept() failed %ld times in %d ms", strerror(error), calls,
             (int)(now - start));
        must(cpu <= 0.05 * patient((int)(now - sampled)), "%s: %.0f ms of CPU in %d ms",
             strerror(error), cpu, (int)(now - sampled));
    }
    set_accept_error(0);
    for (int i = 0; i < WAITING; i++)
        client_receive_all(&waiting[i]);
    int waited = (int)(now_ms() - now);
    clients_close(waiting, WAITING);
    return waited;
}

/* Each error, one after the other. When it is over, the waiting clients are served soon, on
 * average: this machine may be busy now and then. */
static void fail_with_each(struct client *first, const int *errors, long burst)
{
    enum { SOON_MS = 300, GRACE = 2 };
    int waited = 0;
    for (int i = 0; errors[i]; i++) {
        waited += fail_for_a_while(first, errors[i], burst);
        must(waited <= patient(SOON_MS) * (i + 1 + GRACE),
             "%s: accept() works again, and clients still wait: %d ms for %d errors",
             strerror(errors[i]), waited, i + 1);
    }
}

/* Connected clients go on, and waiting ones are served when it is over. Meanwhile the server
 * neither spins nor floods its log. */
void any_error_from_now_on(const struct fault *fault)
{
    enum { FEW = 5, BURST = 100, LINES_A_SECOND = 4 };
    start_under(fault);
    int64_t start = now_ms();
    struct client first = client_open();
    client_echo(&first, 1000);
    fail_with_each(&first, lasting_errors, FEW);
    fail_with_each(&first, network_errors, BURST);
    fail_with_each(&first, again_errors, BURST);
    int seconds = (int)(now_ms() - start) / 1000 + 1, lines = count_lines();
    must(lines <= LINES_A_SECOND * seconds, "%d lines on stderr in %d s", lines, seconds);
    client_shut(&first);
    client_expect_eof(&first);
    client_close(&first);
    must_settle();
    server_stop();
}
