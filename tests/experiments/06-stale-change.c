/* A change that was noted for a client, and reaches another one.
 *
 * Changes that go along with the next kevent() wait for it in a list of ours. A client's send()
 * was short, so the server notes a change: watch for room. In the same turn it closes that client.
 * The next client gets the number, and with it the change. We owe it nothing, but we watch it for
 * room, and there is always room. From then on the loop never sleeps. 06-kqueue's changes_forget()
 * drops the changes that are noted for a descriptor before it is closed.
 *
 * Needs: kqueue
 *
 * Expect:
 *   the note stays in the list: 10 of 10 calls say that the silent new client is writable
 *   the note is dropped:        0 of 10 calls say that the silent new client is writable
 */
#include "experiment.h"

#include <sys/event.h>

static struct kevent changes[8];
static int change_count;

static void note(int fd, int filter, int flags)
{
    struct kevent *next = &changes[change_count++]; /* EV_SET may evaluate this more than once */
    EV_SET(next, (uintptr_t)fd, (short)filter, (unsigned short)flags, 0, 0, 0);
}

static void forget(int fd)
{
    int kept = 0;
    for (int i = 0; i < change_count; i++)
        if (changes[i].ident != (uintptr_t)fd)
            changes[kept++] = changes[i];
    change_count = kept;
}

/* Returns how many of 10 calls report the new client, which sends nothing. */
static int try(const char *what, bool drop)
{
    struct kevent event;
    struct timespec soon = {0, 10000000};
    int kq = kqueue(), listener = listen_on_loopback(2), reported = 0;
    struct pair old = connected(listener);
    int next = connect_to(port_of(listener));

    change_count = 0;
    note(old.server, EVFILT_WRITE, EV_ADD); /* its send() was short */
    if (drop)
        forget(old.server);
    close(old.server);
    int new = accept(listener, NULL, NULL);
    expect(new == old.server, "the number is used again");
    note(new, EVFILT_READ, EV_ADD);
    for (int i = 0; i < 10; i++) {
        reported += kevent(kq, changes, change_count, &event, 1, &soon) == 1;
        change_count = 0;
    }
    printf("%s %d of 10 calls say that the silent new client is writable\n", what, reported);
    close(new);
    close(next);
    close(old.client);
    close(listener);
    close(kq);
    return reported;
}

int main(void)
{
    int wrong = try("the note stays in the list:", false); /* on purpose */
    int right = try("the note is dropped:       ", true);
    expect(wrong == 10 && right == 0, "a note is for a number, not for a client");
    return experiment_failed;
}
