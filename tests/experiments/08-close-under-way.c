/* close() while a request for the descriptor is under way.
 *
 * The number is free at once, but the receive that waits holds the socket: the client is not told
 * that the connection has ended. The next client gets the number. When the old client speaks, the
 * receive completes, and the server takes the bytes for the new client's: all that a completion
 * brings back is the number, in user_data. A server cancels what is under way, waits until it has
 * completed, and closes then.
 *
 * Needs: linux uring
 *
 * Expect:
 *   closed at once: no FIN in 100 ms
 *   the next client gets the same number
 *   the old client says "old": a completion for this number, "old"
 *   closed after the last completion: FIN
 */
#include "uring.h"

static struct io_uring ring;
static struct buffer buffer;
static int listener;

/* Lets a client in and awaits its bytes. A completion will bring the number. */
static int let_in(void)
{
    int fd = accept(listener, NULL, NULL);
    request_receive(&ring, fd, (uint64_t)fd);
    io_uring_submit(&ring);
    return fd;
}

static bool sees_fin(int fd, int ms)
{
    char byte;
    struct pollfd entry = {.fd = fd, .events = POLLIN};
    return poll(&entry, 1, ms) == 1 && recv(fd, &byte, 1, MSG_DONTWAIT) == 0;
}

static void close_at_once(void)
{
    int old = connect_to(port_of(listener)), next = connect_to(port_of(listener));
    int number = let_in();
    close(number); /* wrong on purpose */
    bool fin = sees_fin(old, 100);
    printf("closed at once: %s in 100 ms\n", fin ? "FIN" : "no FIN");
    int same = let_in();
    printf("the next client gets %s number\n", same == number ? "the same" : "another");
    if (write(old, "old", 3) != 3)
        err(1, "write");
    struct completion completion = next_completion(&ring);
    bool mixed_up = completion.tag == (uint64_t)same && completion.result == 3;
    printf("the old client says \"old\": a completion for %s number, \"%.3s\"\n",
           mixed_up ? "this" : "another", buffer.bytes);
    expect(!fin && same == number && mixed_up, "the socket lives on, and its number is another's");
    claim("With io_uring close() ends the connection", "false", fin, 1,
          "with a receive under way the client saw %s in 100 ms", fin ? "FIN" : "no FIN");
    close(old);
    close(next);
    close(same);
}

static void close_after_the_last_completion(void)
{
    int client = connect_to(port_of(listener)), fd = let_in();
    struct io_uring_sqe *sqe = io_uring_get_sqe(&ring);
    io_uring_prep_cancel_fd(sqe, fd, 0);
    io_uring_sqe_set_data64(sqe, 0);
    struct completion first = next_completion(&ring), second = next_completion(&ring);
    expect(first.result == -ECANCELED || second.result == -ECANCELED, "the receive is cancelled");
    close(fd);
    bool fin = sees_fin(client, 10000);
    printf("closed after the last completion: %s\n", fin ? "FIN" : "no FIN");
    expect(fin, "the client is told");
    close(client);
}

int main(void)
{
    listener = listen_on_loopback(4);
    for (int good = 0; good < 2; good++) {
        ring = start_ring();
        provide(&ring, &buffer);
        if (good)
            close_after_the_last_completion();
        else
            close_at_once();
        io_uring_queue_exit(&ring);
    }
    return experiment_failed;
}
