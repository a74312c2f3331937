/* Forty milliseconds for two bytes.
 *
 * Nagle's algorithm (RFC 896) holds a small segment back while an earlier one is unacknowledged.
 * The receiver delays its acknowledgement, hoping to send it along with a reply (RFC 1122). A
 * client that writes its request in two pieces gets both: its second piece waits for an
 * acknowledgement that waits for the second piece.
 *
 * Expect:
 *   write, write, read:   <n> ms for each, <n> of 20 took over 30 ms
 *   with TCP_NODELAY:     <n> ms for each, 0 of 20 took over 30 ms
 *   one write, then read: <n> ms for each, 0 of 20 took over 30 ms
 */
#include "experiment.h"

#include <netinet/tcp.h>
#include <pthread.h>

enum { ROUNDS = 20 };

/* Answers each two bytes with two, and one byte with nothing. */
static void *serve(void *argument)
{
    int fd = (int)(intptr_t)argument;
    char bytes[2];
    while (recv(fd, bytes, sizeof bytes, MSG_WAITALL) == sizeof bytes)
        if (write(fd, bytes, sizeof bytes) < 0)
            break;
    close(fd);
    return NULL;
}

/* Returns how many of the rounds were slow. */
static int measure(const char *name, bool in_two, bool nodelay)
{
    struct pair pair = connection();
    pthread_t server;
    char reply[2];
    int slow = 0;

    if (nodelay)
        setsockopt(pair.client, IPPROTO_TCP, TCP_NODELAY, &(int){1}, sizeof(int));
    pthread_create(&server, NULL, serve, (void *)(intptr_t)pair.server);
    double begin = now();
    for (int i = 0; i < ROUNDS; i++) {
        double start = now();
        ssize_t done = in_two ? write(pair.client, "a", 1) + write(pair.client, "b", 1)
                              : write(pair.client, "ab", 2);
        if (done != 2 || recv(pair.client, reply, 2, MSG_WAITALL) != 2)
            err(1, "client");
        slow += now() - start > 0.03;
    }
    printf("%-21s %.2f ms for each, %d of %d took over 30 ms\n", name,
           (now() - begin) / ROUNDS * 1000, slow, ROUNDS);
    close(pair.client);
    pthread_join(server, NULL);
    return slow;
}

int main(void)
{
    expect(measure("write, write, read:", true, false) > ROUNDS / 2, "most of them wait");
    expect(measure("with TCP_NODELAY:", true, true) < ROUNDS / 4, "nobody waits");
    expect(measure("one write, then read:", false, false) < ROUNDS / 4, "nobody waits");
    return experiment_failed;
}
