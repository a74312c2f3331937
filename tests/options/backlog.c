/* The contract leaves this open (clause 7): our servers also serve the clients that wait in the
 * backlog at the stop. The kernel has told these clients that they are connected. */
#include <criterion/criterion.h>
#include <signal.h>

#include "../harness/harness.h"

SUITE(backlog);

/* Linux lets one client more wait than listen() asks for. */
#ifdef __linux__
enum { WAITING = 2 };
#else
enum { WAITING = 1 };
#endif

Test(backlog, a_full_backlog_is_served_at_the_stop)
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
