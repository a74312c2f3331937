/* The changes that a server sends along with its wait, in the worst case. The servers under test
 * are built with worst_case.h. */
#include <criterion/criterion.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>

#include "../harness/harness.h"

SUITE(kqueue_changes);

enum { PIECE = 100, MESSAGE = 3 * PIECE }; /* send() takes a piece of a message at a time */

static void start(int refused)
{
    char number[16];
    snprintf(number, sizeof number, "%d", refused);
    setenv("WORST_INTERRUPTED", "1", 1);
    setenv("WORST_SENT", "100", 1);
    setenv("WORST_REFUSED", number, 1);
    server_start();
}

/* Clause 4: only the client's own fault ends its connection. A message goes out in pieces, so the
 * server waits for room. Then it deletes the WRITE filter, and a signal interrupts that very call.
 * Deleting the filter again would be an error, for which the server would close the client. */
Test(kqueue_changes, a_signal_interrupts_the_wait_that_brings_them)
{
    struct client c[2];
    start(0);
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

enum { MANY = 8, STOP_MS = 1000 };

/* Clause 6: when the kernel has no memory for one client, the other clients go on. The server finds
 * `many` clients and the signal in one batch. Its list of changes fills several times, while it
 * accepts them and while it takes their turns. The kernel refuses to watch one of them. */
static void refuse_one(int many, int lost)
{
    struct client c[MANY];
    int last = lost == many - 1 ? 0 : many - 1;
    start(lost + 2); /* the first is the listener's */
    server_pause();
    clients_open(c, many);
    for (int i = 0; i < many; i++) {
        client_send(&c[i], MESSAGE);
        AWAIT(3000, client_bytes_arrived(&c[i]));
    }
    int64_t begin = now_ms();
    server_signal(SIGTERM);
    server_resume();
    for (int i = 0; i < many; i++)
        if (i != lost) {
            client_receive_all(&c[i]);
            client_expect_eof(&c[i]);
        }
    AWAIT(3000, (client_take(&c[lost], 1), c[lost].reset || c[lost].eof));
    cr_assert(c[lost].reset, "clause 2: client %d of %d is owed bytes, and gets no RST", lost,
              many);
    for (int i = 0; i < many; i++)
        if (i != last)
            client_close(&c[i]);
    bool ended = server_ended_within(200);
    cr_assert(!ended || now_ms() - begin >= STOP_MS,
              "clause 7: it does not wait for the last of %d clients (%d was refused)", many, lost);
    client_close(&c[last]);
    server_must_end_well("clause 6: one client is refused", 1500);
}

Test(kqueue_changes, one_of_a_full_list_is_refused_at_the_stop)
{
    for (int lost = 0; lost < MANY; lost++)
        refuse_one(MANY, lost);
}

/* Two clients' changes leave room for one turn. So the list is full when the second client's turn
 * begins, and the kernel refuses that client's change. */
Test(kqueue_changes, the_one_whose_turn_it_is_is_refused)
{
    refuse_one(2, 0);
    refuse_one(2, 1);
}

/* Clause 7: the filter of the signals stays, and reports a second one while the server waits for
 * its clients. That must neither end the wait nor begin it again. */
Test(kqueue_changes, the_second_signal_is_ignored)
{
    start(0);
    struct client client = client_open();
    client_echo(&client, MESSAGE);
    int64_t begin = now_ms();
    server_signal(SIGTERM);
    client_expect_eof(&client);
    nap(600);
    server_signal(SIGTERM);
    server_must_end_well("clause 7: a second signal", (int)(begin + 1500 - now_ms()));
    cr_assert(now_ms() - begin >= STOP_MS, "clause 7: the second signal ends the wait");
    client_close(&client);
}
