/* A buffer is given back before the send from it has completed.
 *
 * A client does not read, so the send of its echo waits for room. The kernel has only the address
 * of the bytes: it reads them when there is room. A server that gives the buffer back as soon as it
 * has requested the send lets the kernel fill it with the next client's bytes. The first client
 * gets these. The buffer is ours to give back when the send has completed.
 *
 * Needs: linux uring
 *
 * Expect:
 *   given back at once:                   Alice sent "alice's", and got "bobby's"
 *   given back when the send is complete: Alice sent "alice's", and got "alice's"
 */
#include "uring.h"

enum { LENGTH = 7, ALICE = 1, BOB, ECHO };

/* Fills the socket with zeros, until nothing more can be sent. Returns how many. */
static int fill(int fd)
{
    static const char zeros[65536];
    int filled = 0;
    for (int refused = 0; refused < 20; refused++) {
        for (ssize_t n; (n = send(fd, zeros, sizeof zeros, MSG_DONTWAIT)) > 0; refused = 0)
            filled += (int)n;
        pause_ms(5);
    }
    return filled;
}

/* Reads so many bytes. Meanwhile there is room, and the kernel goes on with the send. */
static void read_all(struct io_uring *ring, int fd, char *into, int length)
{
    struct completion completion;
    for (int got = 0; got < length;) {
        ssize_t n = recv(fd, into + got, (size_t)(length - got), MSG_DONTWAIT);
        if (n > 0)
            got += (int)n;
        else
            completed(ring, 1, &completion);
    }
}

static bool try(const char *name, bool at_once)
{
    static struct buffer buffer;
    struct io_uring ring = start_ring();
    struct pair alice = connection(), bob = connection();
    provide(&ring, &buffer);
    request_receive(&ring, alice.server, ALICE);
    int zeros = fill(alice.server);
    if (write(alice.client, "alice's", LENGTH) != LENGTH)
        err(1, "write");
    struct completion completion = next_completion(&ring);
    expect(completion.tag == ALICE && completion.result == LENGTH, "Alice's bytes come");
    request_send(&ring, alice.server, buffer.bytes, LENGTH, 0, ECHO);
    if (at_once)
        give(&buffer); /* wrong on purpose: the send has not completed */
    request_receive(&ring, bob.server, BOB);
    if (write(bob.client, "bobby's", LENGTH) != LENGTH)
        err(1, "write");
    completion = next_completion(&ring);
    expect(completion.tag == BOB && completion.result == (at_once ? LENGTH : -ENOBUFS),
           "Bob's bytes come if there is a buffer");
    char *got = calloc((size_t)(zeros + LENGTH + 1), 1);
    if (!got)
        err(1, "calloc");
    read_all(&ring, alice.client, got, zeros + LENGTH);
    const char *echo = got + zeros;
    printf("%-37s Alice sent \"alice's\", and got \"%s\"\n", name, echo);
    bool good = strcmp(echo, "alice's") == 0;
    free(got);
    io_uring_queue_exit(&ring);
    close(alice.server);
    close(alice.client);
    close(bob.server);
    close(bob.client);
    return good;
}

int main(void)
{
    bool early = try("given back at once:", true);
    bool late = try("given back when the send is complete:", false);
    expect(!early && late, "the kernel reads the bytes when there is room");
    return experiment_failed;
}
