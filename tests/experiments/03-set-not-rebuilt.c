/* The set that select() has answered is not the set that was asked.
 *
 * select() clears every bit that is not ready. A program that passes the same set again has lost
 * the clients that had nothing to say. On Linux the timeout is overwritten, too, with what was left
 * of it: passed again, it gets shorter each time, and in the end select() never sleeps.
 *
 * Needs: linux
 *
 * Expect:
 *   A speaks:            select() = 1, A is ready
 *   B speaks, same set:  select() = 0, nobody, and B is not even asked for any more
 *   B speaks, a new set: select() = 1, B is ready
 *   the timeout, set once to 10 ms: select() returned <n> times in 0.2 s
 *   the timeout, set each time:     select() returned <n> times in 0.2 s
 */
#include "experiment.h"

#include <sys/select.h>

static int ask(fd_set *set, int highest)
{
    return select(highest + 1, set, NULL, NULL, &(struct timeval){.tv_usec = 50000});
}

static long count_returns(bool set_once)
{
    struct timeval timeout = {.tv_usec = 10000};
    long returns = 0;
    for (double begin = now(); now() - begin < 0.2; returns++) {
        if (!set_once)
            timeout = (struct timeval){.tv_usec = 10000};
        select(0, NULL, NULL, NULL, &timeout);
    }
    return returns;
}

int main(void)
{
    struct pair a = connection(), b = connection();
    fd_set set;
    int highest = b.client > b.server ? b.client : b.server;

    if (write(a.client, "a", 1) != 1)
        err(1, "write");
    await_arrival(a.server);
    FD_ZERO(&set);
    FD_SET(a.server, &set);
    FD_SET(b.server, &set);
    int ready = ask(&set, highest);
    printf("A speaks:            select() = %d, %s is ready\n", ready,
           FD_ISSET(a.server, &set) ? "A" : "nobody");

    char byte;
    if (read(a.server, &byte, 1) != 1 || write(b.client, "b", 1) != 1)
        err(1, "echo");
    await_arrival(b.server);
    int lost = ask(&set, highest); /* wrong on purpose: the set is the last answer */
    printf("B speaks, same set:  select() = %d, nobody, and B is not even asked for any more\n",
           lost);

    FD_ZERO(&set);
    FD_SET(a.server, &set);
    FD_SET(b.server, &set);
    int found = ask(&set, highest);
    printf("B speaks, a new set: select() = %d, %s is ready\n", found,
           FD_ISSET(b.server, &set) ? "B" : "nobody");
    expect(ready == 1 && lost == 0 && found == 1, "the set has to be rebuilt");

    long spinning = count_returns(true), sleeping = count_returns(false);
    printf("the timeout, set once to 10 ms: select() returned %ld times in 0.2 s\n", spinning);
    printf("the timeout, set each time:     select() returned %ld times in 0.2 s\n", sleeping);
    expect(spinning > 100 * sleeping, "the timeout has to be set again");
    claim("poll is select without the limit", "partly", 1 + (lost != 0), 2,
          "select() overwrites its set: the old one finds %d, a new one %d", lost, found);
    return experiment_failed;
}
