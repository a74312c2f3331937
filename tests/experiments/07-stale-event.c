/* An event for a number that means somebody else by now.
 *
 * A game for two. When one player is lost the game is over: the server closes both, and the next
 * two who wait take their places. Here both are lost at the same moment, so the batch has two
 * events. The first one ends the game. The kernel gives the lowest free number to each new
 * descriptor, so the next two get the numbers of the old ones. The second event was for an old
 * player, and ends the new game.
 *
 * 07-reactor runs the same game with the same handler, and nobody is thrown out: dispatch() drops
 * events for descriptors that were added since the wait.
 *
 * Needs: linux reactor
 *
 * Expect:
 *   a naive loop on epoll: a batch of 2 events ended 2 games, 0 of 2 new players are left
 *   07-reactor on epoll: a turn ended 1 game, 2 of 2 new players are left
 *   07-reactor on kqueue: a turn ended 1 game, 2 of 2 new players are left
 *   07-reactor on poll: a turn ended 1 game, 2 of 2 new players are left
 *   07-reactor on select: a turn ended 1 game, 2 of 2 new players are left
 */
#include "experiment.h"

#include "reactor.h"

#include <sys/epoll.h>

static int listener, waiting; /* how many clients wait in the backlog */
static int client[4];         /* the first two are the old players, the other two the new ones */
static int player[2], players;
static int games; /* that are over */

static int epoll;               /* the naive loop's */
static struct reactor *reactor; /* NULL: it is the naive loop that runs */

static void on_player(struct reactor *unused, int fd, unsigned ready, void *argument);

static void next_game(void)
{
    for (; players < 2 && waiting > 0; waiting--) {
        int fd = accept(listener, NULL, NULL);
        struct epoll_event event = {.events = EPOLLIN, .data.fd = fd};
        if (fd < 0 || (reactor ? reactor_add(reactor, fd, REACTOR_READ, on_player, NULL)
                               : epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event)) < 0)
            err(1, "accept");
        player[players++] = fd;
    }
}

/* No player says anything in this game, so a player who is ready is lost. That is true of the
 * player for whom the event was meant. */
static void end_game(void)
{
    games++;
    while (players > 0) {
        int fd = player[--players];
        if (reactor)
            reactor_remove(reactor, fd);
        close(fd); /* which is all that epoll needs */
    }
    next_game();
}

static void on_player(struct reactor *unused, int fd, unsigned ready, void *argument)
{
    (void)unused, (void)fd, (void)ready, (void)argument;
    end_game();
    reactor_stop(reactor); /* when this turn is over */
}

/* Starts a game while two more clients wait. Then both players are lost, before the server looks.
 */
static void begin(void)
{
    games = players = 0;
    listener = listen_on_loopback(4);
    for (int i = 0; i < 4; i++)
        client[i] = connect_to(port_of(listener));
    waiting = 4;
    next_game();
    for (int i = 0; i < 2; i++) {
        close_with_reset(client[i]);
        dup2(listener, client[i]); /* the number must not be free: real clients live elsewhere */
        await_arrival(player[i]);
    }
}

/* Closes everything. Returns how many of the new players could still speak to the server. */
static int end(void)
{
    int left = players;
    for (int i = 0; i < players; i++) {
        if (write(client[2 + i], "x", 1) != 1)
            err(1, "write");
        await_arrival(player[i]);
        if (reactor)
            reactor_remove(reactor, player[i]);
        close(player[i]);
    }
    for (int i = 0; i < 4; i++)
        close(client[i]);
    close(listener);
    return left;
}

static void naive_loop(void)
{
    struct epoll_event batch[8];
    epoll = epoll_create1(0);
    begin();
    int count = epoll_wait(epoll, batch, 8, 10000);
    for (int i = 0; i < count; i++)
        if (batch[i].data.fd == player[0] || batch[i].data.fd == player[1])
            end_game(); /* wrong on purpose: another player may have the number by now */
    int left = end();
    printf("a naive loop on epoll: a batch of %d events ended %d games, %d of 2 new players are "
           "left\n",
           count, games, left);
    expect(count == 2 && games == 2 && left == 0, "an event reaches the player who has the number");
    close(epoll);
}

static void on_reactor(const char *backend)
{
    reactor = reactor_create(backend);
    if (!reactor)
        err(1, "%s", backend);
    begin();
    if (reactor_run(reactor) < 0)
        err(1, "reactor_run");
    int left = end();
    printf("07-reactor on %s: a turn ended %d game%s, %d of 2 new players are left\n", backend,
           games, games == 1 ? "" : "s", left);
    expect(games == 1 && left == 2, "an event reaches the player for whom it was meant, or nobody");
    reactor_destroy(reactor);
}

int main(void)
{
    naive_loop();
    for (int i = 0; reactor_backend_name(i); i++)
        on_reactor(reactor_backend_name(i));
    return experiment_failed;
}
