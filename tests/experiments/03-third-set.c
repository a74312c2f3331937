/* select()'s third set is not for errors, on Unix.
 *
 * It is for urgent data. A connection that was reset is readable: recv() says what is the matter.
 * A program that watches for errors in the third set watches for something else. (On Windows it
 * also tells of a connect() that has failed.)
 *
 * Expect:
 *   reset by its client: readable yes, third set no; recv(): Connection reset by peer
 *   an urgent byte:      readable no, third set yes
 */
#include "experiment.h"

#include <sys/select.h>

static void look(int fd, bool *readable, bool *third)
{
    fd_set reading, other;
    FD_ZERO(&reading);
    FD_ZERO(&other);
    FD_SET(fd, &reading);
    FD_SET(fd, &other);
    if (select(fd + 1, &reading, NULL, &other, &(struct timeval){10, 0}) < 0)
        err(1, "select");
    *readable = FD_ISSET(fd, &reading);
    *third = FD_ISSET(fd, &other);
}

static const char *yes(bool so)
{
    return so ? "yes" : "no";
}

int main(void)
{
    struct pair reset = connection(), urgent = connection();
    bool readable, third, wrong;
    char byte;

    close_with_reset(reset.client);
    look(reset.server, &readable, &third);
    ssize_t got = recv(reset.server, &byte, 1, 0);
    printf("reset by its client: readable %s, third set %s; recv(): %s\n", yes(readable),
           yes(third), got < 0 ? strerror(errno) : "no error");
    expect(readable && !third && got < 0, "an error makes it readable, and no more");
    wrong = !third;

    send(urgent.client, "!", 1, MSG_OOB);
    look(urgent.server, &readable, &third);
    printf("an urgent byte:      readable %s, third set %s\n", yes(readable), yes(third));
    expect(!readable && third, "the third set is for urgent data");
    claim("The third set is for errors", "false", !wrong, 1,
          "a reset connection is readable and not in it, one with an urgent byte is");
    return experiment_failed;
}
