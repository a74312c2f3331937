/* --idle-timeout SECONDS: the server closes a connection on which no byte moves for this long. */
#include <criterion/criterion.h>

#include "../harness/harness.h"

SUITE(idle_timeout);

enum { LOTS = 256 << 20 }; /* more than the kernel takes */

static void start_with_one_second(void)
{
    server_start_with((struct start){.extra = "--idle-timeout", .argument = "1"});
}

Test(idle_timeout, closes_the_quiet_and_keeps_the_others)
{
    start_with_one_second();
    struct client quiet = client_open(), talker = client_open();
    client_echo(&quiet, 100);
    int64_t begin = now_ms(), closed = 0;
    while (now_ms() - begin < 2500) {
        client_echo(&talker, 10);
        if (closed)
            nap(100);
        else if (client_ready(&quiet, POLLIN, 20))
            closed = now_ms();
    }
    cr_assert(closed, "the quiet client is still connected");
    cr_expect_geq(closed - begin, 950, "closed too early");
    cr_expect_leq(closed - begin, 1250 + patient(400), "closed too late: after %d ms",
                  (int)(closed - begin));
    client_expect_eof(&quiet);
    client_echo(&talker, 10);
    server_dismiss();
}

Test(idle_timeout, closes_a_client_that_never_reads)
{
    start_with_one_second();
    struct client stuck = client_open();
    client_echo(&stuck, 1); /* now the server has accepted it */
    clients_push(&stuck, 1, LOTS);
    int before = server_descriptors();
    AWAIT(3000, server_descriptors() < before);
    cr_assert_eq(server_descriptors(), before - 1, "a peer that never reads stays connected");
    client_close(&stuck);
    server_dismiss();
}

/* The client reads 10 MB a second, far less than it is owed, but all the time. The server notices
 * only when a third of its send buffer is free, which is 1.3 MB if the system lets it grow. */
Test(idle_timeout, slow_but_alive_is_not_quiet)
{
    enum { EACH = 1024 * 1024 };
    start_with_one_second();
    struct client slow = client_open();
    clients_push(&slow, 1, LOTS);
    for (int i = 0; i < 25; i++) {
        nap(100);
        cr_assert(client_ready(&slow, POLLIN, 800), "nothing comes any more");
        cr_assert_gt(client_take(&slow, EACH), 0);
        client_put(&slow, EACH);
    }
    client_receive_all(&slow);
    server_dismiss();
}

Test(idle_timeout, off_by_default)
{
    server_start();
    struct client quiet = client_open();
    cr_assert_not(client_ready(&quiet, POLLIN, 1500), "closed without being asked to");
    client_echo(&quiet, 10);
    server_dismiss();
}

Test(idle_timeout, wants_a_number)
{
    const char *const wrong[] = {"0", "-1", "x", "", "1x"};
    for (size_t i = 0; i < sizeof wrong / sizeof wrong[0]; i++) {
        const char *arguments[] = {"--port", "0", "--idle-timeout", wrong[i], NULL};
        cr_expect_eq(server_run(arguments).status, 2, "--idle-timeout '%s'", wrong[i]);
    }
}
