/* An event whose pointer leads to freed memory.
 *
 * epoll_wait() returns a batch. Two clients are in it; the first one's handler closes the second
 * (a chat server that throws a client out), and frees what belongs to it. The second event is still
 * in the batch, with a pointer to what was freed. The address sanitizer sees it each time; without
 * it the program goes on with whatever is in that memory by then. 07-reactor's dispatch() drops
 * such events.
 *
 * Needs: linux asan
 * Build: -g -fsanitize=address
 *
 * Expect:
 *   built with -g -fsanitize=address
 *   the batch: 2 events, for A and for B
 *   A's handler closes B and frees it
 *   the next event of the batch is B's
 *   AddressSanitizer: heap-use-after-free
 */
#include "experiment.h"

#include <sys/epoll.h>
#include <sys/wait.h>

struct client {
    struct pair pair;
    const char *name;
    struct client *other;
};

static struct client *new_client(int epoll, const char *name)
{
    struct client *client = calloc(1, sizeof *client);
    if (!client)
        err(1, "calloc");
    *client = (struct client){.pair = connection(), .name = name};
    struct epoll_event event = {.events = EPOLLIN, .data.ptr = client};
    if (epoll_ctl(epoll, EPOLL_CTL_ADD, client->pair.server, &event) < 0 ||
        write(client->pair.client, "x", 1) != 1)
        err(1, "start");
    return client;
}

/* Each of the two throws the other one out. */
static void handle(struct client *client)
{
    printf("%s's handler closes %s and frees it\n", client->name, client->other->name);
    close(client->other->pair.server);
    free(client->other);
}

static void naive_loop(void)
{
    struct epoll_event event[8];
    int epoll = epoll_create1(0);
    struct client *a = new_client(epoll, "A"), *b = new_client(epoll, "B");

    a->other = b;
    b->other = a;
    await_arrival(a->pair.server);
    await_arrival(b->pair.server); /* both have spoken: one batch */
    int count = epoll_wait(epoll, event, 8, 1000);
    printf("the batch: %d events, for A and for B\n", count);
    for (int i = 0; i < count; i++) {
        if (i == 1)
            printf("the next event of the batch is B's\n");
        fflush(stdout);
        handle(event[i].data.ptr); /* wrong on purpose: it may be freed by now */
    }
}

int main(void)
{
    char line[512];
    int ends[2], status;
    bool found = false;

    if (pipe(ends) < 0)
        err(1, "pipe");
    if (fork() == 0) { /* the sanitizer ends the process; and its report is long */
        dup2(ends[1], 2);
        close(ends[1]);
        naive_loop();
        _exit(0);
    }
    close(ends[1]);
    FILE *report = fdopen(ends[0], "r");
    while (report && fgets(line, sizeof line, report))
        if (strstr(line, "heap-use-after-free"))
            found = true;
    wait(&status);
    if (found)
        printf("AddressSanitizer: heap-use-after-free\n");
    expect(found, "the sanitizer sees the use of freed memory");
    return experiment_failed;
}
