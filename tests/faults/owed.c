/* The server gives up clients while it owes them bytes. After FIN a client would take what it has
 * got for all, so it must get RST. */
#include <signal.h>

#include "fault.h"

enum { OWED = 1000 };

/* Returns a client whose bytes the server has read and cannot send back. (If they were unread, the
 * kernel would send RST at close() in any case.) */
static struct client open_owed(void)
{
    struct client c = client_open();
    long before = injected();
    leave_no_room(true);
    client_send(&c, OWED);
    AWAIT(5000, injected() > before);
    must(injected() > before, "the server never tried to send");
    return c;
}

static void must_get_reset(struct client *c, const char *which)
{
    must(clients_drain(c, 1, 3000) == 0, "%s: neither RST nor FIN", which);
    must(c->reset, "%s: FIN after byte %d of %d", which, (int)c->received, (int)c->sent);
    client_close(c);
}

void owed_at_the_deadline(const struct fault *fault)
{
    start_under(fault);
    struct client content = client_open();
    client_echo(&content, OWED);
    struct client owed = open_owed(), half_closed = open_owed();
    client_shut(&half_closed);
    server_signal(SIGTERM);
    client_expect_eof(&content);
    server_must_end_well("two clients wait for their echo, 1 s is enough", 1500);
    must_get_reset(&owed, "a client that is owed bytes");
    must_get_reset(&half_closed, "a client that is owed bytes and has sent FIN");
    must(!client_ready(&content, 0, 0), "RST for a client that has got everything");
    client_close(&content);
}

void owed_at_the_idle_timeout(const struct fault *fault)
{
    must_offer("--idle-timeout");
    start_under_with(fault, (struct start){.extra = "--idle-timeout", .argument = "1"});
    struct client owed = open_owed();
    must_get_reset(&owed, "a client that is owed bytes");
    leave_no_room(false);
    newcomer_must_be_served();
    must_settle();
    server_stop();
}
