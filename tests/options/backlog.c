/* What the contract leaves open (clause 7), and our servers do: whoever waits in the backlog at the
 * stop has been told that it is connected, so it is served. */
#include <criterion/criterion.h>
#include <signal.h>

#include "../harness/harness.h"

SUITE(backlog);

/* Linux lets one more wait than was asked for: the last one of a full queue. */
#ifdef __linux__
enum { WAITING = 2 };
#else
enum { WAITING = 1 };
#endif

Test(backlog, a_full_one_is_served_at_the_stop)
{
    struct client c[WAITING];
    server_start_with((struct start){.extra = "--backlog", .argument = "1"});
    server_pause();
    for (int i = 0; i < WAITING; i++) {
        c[i] = client_open();
        client_send(&c[i], 100);
    }
    server_signal(SIGTERM);
    server_resume();
    for (int i = 0; i < WAITING; i++) {
        client_receive_all(&c[i]);
        client_expect_eof(&c[i]);
        client_close(&c[i]);
    }
    server_must_end_well("clause 7: all clients have left", 1500);
}
