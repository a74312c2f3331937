/* The changes that a server sends along with its wait, in the worst case: see worst_case.h, which
 * the servers under test are built with. */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdlib.h>

#include "../harness/harness.h"

SUITE(kqueue_changes);

enum { PIECE = 100, MESSAGE = 3 * PIECE }; /* of a message only a piece is sent at a time */

static void start(const char *refused)
{
    setenv("WORST_INTERRUPTED", "1", 1);
    setenv("WORST_SENT", "100", 1);
    setenv("WORST_REFUSED", refused, 1);
    server_start();
}

/* Clause 4: nothing that is not the client's fault ends its connection. A message goes out in
 * pieces, so the server waits for room, and then no longer: it deletes the WRITE filter, and a
 * signal interrupts that very call. To delete it once more would be an error, for which the server
 * would close the client. */
Test(kqueue_changes, a_signal_interrupts_the_wait_that_brings_them)
{
    struct client c[2];
    start("0");
    clients_open(c, 2);
    for (int i = 0; i < 10; i++)
        client_echo(&c[i % 2], MESSAGE);
    for (int i = 0; i < 2; i++) {
        client_shut(&c[i]);
        client_expect_eof(&c[i]);
        client_close(&c[i]);
    }
    server_stop();
}

/* Clause 6: without memory for one client, the others go on. The server finds as many clients as
 * its list has room for, and the signal, in one batch. So it takes the turn of the first client
 * while the list is full, and the first change in the list, the one to watch this very client, is
 * refused. */
Test(kqueue_changes, one_of_a_full_list_is_refused_at_the_stop)
{
    enum { MANY = 64 /* EVENTS_PER_WAIT of server.c */, LAST = MANY - 1, STOP_MS = 1000 };
    struct client c[MANY];
    start("2"); /* the first is the listener's */
    server_pause();
    clients_open(c, MANY);
    for (int i = 0; i < MANY; i++) {
        client_send(&c[i], MESSAGE);
        AWAIT(3000, client_has_arrived(&c[i]));
    }
    int64_t begin = now_ms();
    server_signal(SIGTERM);
    server_resume();
    for (int i = 1; i < MANY; i++) {
        client_receive_all(&c[i]);
        client_expect_eof(&c[i]);
    }
    AWAIT(3000, (client_take(&c[0], 1), c[0].reset || c[0].eof));
    cr_assert(c[0].reset, "clause 2: it is owed bytes, and gets no RST");
    clients_close(c, LAST);
    bool ended = server_ended_within(200);
    cr_assert(!ended || now_ms() - begin >= STOP_MS, "clause 7: it does not wait for the last one");
    client_close(&c[LAST]);
    server_must_end_well("clause 6: one client is refused", 1500);
}
