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
static int old[2]; /* the descriptors of the old players, A and B */
static int games;  /* that are over */

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
static void end_game(int fd)
{
    if (games == 0)
        mark("server: the event for %d (A): the game is over", fd);
    else
        mark("server: the event for %d (B), who is D by now", fd);
    games++;
    while (players > 0) {
        int lost = player[--players];
        if (reactor)
            reactor_close(reactor, lost);
        else
            close(lost); /* which is all that epoll needs */
    }
    next_game();
}

static void on_player(struct reactor *unused, int fd, unsigned ready, void *argument)
{
    (void)unused, (void)ready, (void)argument;
    end_game(fd);
    reactor_stop(reactor); /* when this turn is over */
}

/* Real clients live elsewhere, and take no number that the server could get. */
static int connect_from_elsewhere(int port)
{
    struct sockaddr_in address = loopback(port);
    int fd = socket(AF_INET, SOCK_STREAM, 0), high = fcntl(fd, F_DUPFD, 100);
    close(fd);
    if (high < 0 || connect(high, (struct sockaddr *)&address, sizeof address) < 0)
        err(1, "connect");
    return high;
}

/* Starts a game while two more clients wait. Then both players are lost, before the server looks.
 * drawn: the name of the scene, or NULL. */
static void begin(const char *drawn)
{
    games = players = 0;
    listener = listen_on_loopback(4);
    for (int i = 0; i < 4; i++)
        client[i] = connect_from_elsewhere(port_of(listener));
    waiting = 4;
    if (drawn)
        scene(drawn);
    next_game();
    for (int i = 0; i < 2; i++) {
        old[i] = player[i];
        close_with_reset(client[i]);
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
    close(client[2]);
    close(client[3]);
    close(listener);
    return left;
}

static void naive_loop(void)
{
    struct epoll_event batch[8];
    epoll = epoll_create1(0);
    begin("a naive loop");
    int count = epoll_wait(epoll, batch, 8, 10000);
    for (int i = 0; i < count; i++)
        if (batch[i].data.fd == player[0] || batch[i].data.fd == player[1])
            end_game(batch[i].data.fd); /* wrong: another player may have the number by now */
    scene_end();
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
    const char *drawn = strcmp(backend, "epoll") == 0 ? "the reactor" : NULL;
    begin(drawn);
    if (reactor_run(reactor) < 0)
        err(1, "reactor_run");
    if (games == 1)
        mark("server: the event for %d (B) is dropped: %d is new", old[1], old[1]);
    if (drawn)
        scene_end();
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
