/* Clause 6: when descriptors, threads or memory run out, connected clients go on, the process does
 * not spin, the next client waits in the backlog or is turned away, and service resumes when
 * resources return. select's FD_SETSIZE is one more such limit: never a crash. */
#include <criterion/criterion.h>
#include <stdlib.h>
#include <sys/select.h>

#include "../harness/harness.h"

SUITE(clause6_limits);

enum { CLIENTS_MAX = 1100 };

static struct client c[CLIENTS_MAX];

static bool served(const struct client *client)
{
    return client->received == client->sent && !client->eof && !client->reset;
}

static int count_served(struct client *some, int count)
{
    int n = 0;
    for (int i = 0; i < count; i++) {
        client_take(&some[i], 100);
        n += served(&some[i]);
    }
    return n;
}

static int count_waiting(const struct client *some, int count)
{
    int n = 0;
    for (int i = 0; i < count; i++)
        n += !served(&some[i]) && !some[i].eof && !some[i].reset;
    return n;
}

/* Lets all read what has come. Returns how many still wait. */
static int take_and_count_waiting(struct client *some, int count)
{
    count_served(some, count);
    return count_waiting(some, count);
}

static void ask_for_echoes(struct client *some, int count)
{
    for (int i = 0; i < count; i++) {
        some[i] = client_open();
        client_put(&some[i], 10);
    }
}

/* Returns how many have their echo when none waits any more, or when none has got it for quiet_ms:
 * the rest are in the backlog. */
static int await_echoes(struct client *some, int count, int quiet_ms)
{
    int n = 0;
    int64_t last = now_ms();
    do {
        nap(1);
        int now = count_served(some, count);
        if (now != n)
            last = now_ms();
        n = now;
    } while (count_waiting(some, count) > 0 && now_ms() < last + patient(quiet_ms));
    return n;
}

static int ask(struct client *some, int count, int quiet_ms)
{
    ask_for_echoes(some, count);
    return await_echoes(some, count, quiet_ms);
}

/* Closes clients that are served, at most so many as wanted. Returns how many. */
static int close_served(int count, int wanted)
{
    int closed = 0;
    for (int i = 0; i < count && closed < wanted; i++)
        if (c[i].fd >= 0 && served(&c[i])) {
            client_close(&c[i]);
            c[i].eof = true;
            closed++;
        }
    return closed;
}

/* Is one more client served, at once or after it was turned away a few times? */
static bool newcomer_is_served(int ms)
{
    int64_t end = now_ms() + patient(ms);
    while (now_ms() < end) {
        struct client fresh;
        if (!client_try(&fresh, 1000))
            continue;
        client_put(&fresh, 10);
        while (!fresh.eof && !fresh.reset && fresh.received < 10 && now_ms() < end)
            if (client_ready(&fresh, POLLIN, 100))
                client_take(&fresh, 10);
        bool ok = fresh.received == 10;
        client_close(&fresh);
        if (ok)
            return true;
        nap(10);
    }
    return false;
}

static void the_connected_go_on(int count)
{
    for (int i = 0; i < count; i++)
        if (c[i].fd >= 0 && served(&c[i]))
            client_echo(&c[i], 100);
}

static int by_size(const void *a, const void *b)
{
    const int64_t *x = a, *y = b;
    return (*x > *y) - (*x < *y);
}

/* Half of a connected client's echoes take at most so long. Some client must be served. */
static int echo_median_ms(void)
{
    enum { ECHOES = 9 };
    int64_t took[ECHOES];
    int i = 0;
    while (!served(&c[i]))
        i++;
    for (int k = 0; k < ECHOES; k++) {
        int64_t start = now_ms();
        client_echo(&c[i], 100);
        took[k] = now_ms() - start;
    }
    qsort(took, ECHOES, sizeof *took, by_size);
    return (int)took[ECHOES / 2];
}

Test(clause6_limits, out_of_descriptors_and_recovery)
{
    enum { MANY = 60, LIMIT = 40, SERVED_MIN = 15, QUIET_MS = 150, SOON_MS = 50 };
    server_start_with((struct start){.descriptors = LIMIT});
    int n = 0;
    ask(c, MANY, QUIET_MS);
    AWAIT(STUCK_MS, (n = count_served(c, MANY)) >= SERVED_MIN || !server_running());
    cr_assert(server_running(), "clause 6: the server ended when descriptors ran out%s",
              server_end());
    the_connected_go_on(MANY);
    if (!server_has("busy"))
        cr_assert(server_settles(), "clause 6: it spins while descriptors are out");
    n = count_served(c, MANY);
    cr_assert(n >= SERVED_MIN && n < LIMIT, "clause 6: %d clients served with %d descriptors", n,
              LIMIT);
    int median = echo_median_ms();
    cr_assert(median < patient(SOON_MS), "clause 6: while descriptors are out, an echo takes %d ms",
              median);
    the_connected_go_on(MANY);

    int waiting = count_waiting(c, MANY), freed = close_served(MANY, 10);
    int hoped = waiting < freed ? waiting : freed;
    AWAIT(STUCK_MS, count_served(c, MANY) >= n - freed + hoped);
    int now = count_served(c, MANY);
    cr_assert(now >= n - freed + hoped,
              "clause 6: %d clients left, but only %d of %d waiting ones were served", freed,
              now - (n - freed), waiting);
    the_connected_go_on(MANY);

    close_served(MANY, MANY);
    AWAIT(STUCK_MS, close_served(MANY, MANY) == 0 && take_and_count_waiting(c, MANY) == 0);
    waiting = count_waiting(c, MANY);
    cr_assert(waiting == 0, "clause 6: %d clients wait forever", waiting);
    clients_close(c, MANY);
    bool recovered = newcomer_is_served(STUCK_MS);
    cr_assert(recovered, "clause 6: no service after all have left");
    server_dismiss();
}

/* All clients are served or turned away. If some are turned away, one more is served. */
static bool service_is_back(int count, int ms)
{
    int64_t start = now_ms();
    AWAIT(ms, take_and_count_waiting(c, count) == 0);
    if (count_waiting(c, count) > 0)
        return false;
    return count_served(c, count) == count || newcomer_is_served(ms - (int)(now_ms() - start));
}

/* No client leaves, but there are descriptors again. The server has to notice that soon. */
Test(clause6_limits, service_resumes_by_itself)
{
    enum { MANY = 8, AT_ONCE = 300, SOON_MS = 300 };
    int count = 0;
    bool soon = false;
    server_start();
    for (int round = 0; round < 3 && !soon; round++) { /* it may not get a CPU at once */
        int asking = MANY;
        server_limit_descriptors(server_descriptors());
        if (ask(c + count, asking, 200) == asking) {
            /* An accept that waits in io_uring keeps the limit from when it began. It ends, and the
             * next has the new limit, when more clients come at once than it can report. */
            count += asking;
            asking = AT_ONCE;
            server_pause();
            ask_for_echoes(c + count, asking);
            server_resume();
            if (await_echoes(c + count, asking, 200) == asking)
                cr_skip_test("the limit of descriptors does not limit this server");
        }
        server_limit_descriptors(1000);
        count += asking;
        soon = service_is_back(count, SOON_MS);
        bool back = soon || service_is_back(count, STUCK_MS);
        cr_assert(back, "clause 6: no service, though there are descriptors again");
    }
    cr_assert(soon, "clause 6: no service %d ms after there were descriptors again",
              patient(SOON_MS));
    clients_close(c, count);
    server_dismiss();
}

static void shed_or_served(int n)
{
    if (!server_has("fd-setsize")) {
        cr_assert(n == CLIENTS_MAX, "clause 6: %d of %d clients served", n, CLIENTS_MAX);
        return;
    }
    cr_assert(n >= FD_SETSIZE - 24, "clause 6: only %d clients served", n);
    cr_assert(n < FD_SETSIZE, "clause 6: %d clients, more than FD_SETSIZE allows", n);
    int waiting = count_waiting(c, CLIENTS_MAX);
    cr_assert(waiting == 0, "clause 6: %d clients are neither served nor turned away", waiting);
}

Test(clause6_limits, more_clients_than_fd_setsize)
{
    if (!descriptors_available(CLIENTS_MAX + 64))
        cr_skip_test("the limit of descriptors (ulimit -n) is too low here");
    server_start();
    int before = server_descriptors(), now = 0;
    int n = ask(c, CLIENTS_MAX, 2000);
    AWAIT(n < CLIENTS_MAX ? 200 : 0, !server_running()); /* its clients see its end before we do */
    cr_assert(server_running(), "clause 6: the server ended at %d clients", CLIENTS_MAX);
    shed_or_served(n);
    the_connected_go_on(CLIENTS_MAX);
    if (!server_has("busy"))
        cr_assert(server_settles(), "clause 6: it spins with %d clients", CLIENTS_MAX);
    close_served(CLIENTS_MAX, 100);
    bool recovered = newcomer_is_served(STUCK_MS);
    cr_assert(recovered, "clause 6: no service after 100 have left");
    the_connected_go_on(CLIENTS_MAX);
    clients_close(c, CLIENTS_MAX);
    AWAIT(STUCK_MS, (now = server_descriptors()) <= before + 2); /* it may need some of its own */
    cr_assert(now <= before + 2, "clause 4: %d descriptors open, %d before", now, before);
    server_dismiss();
}
