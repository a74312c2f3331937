/* What comes of a receive that is cancelled, and a cancel that comes too late.
 *
 * A cancel is a request, too, with a completion of its own. If the receive still waits, it
 * completes with ECANCELED. If bytes came before, the receive has completed: the cancel finds
 * nothing, and the bytes are in a completion that the server has not looked at yet. A multishot
 * receive can bring both, the bytes and then ECANCELED. A server that drops whatever comes after
 * its cancel loses these bytes: they are no longer in the socket.
 *
 * Needs: linux uring
 *
 * Expect:
 *   nothing came:          the receive brings Operation canceled; the cancel finds it
 *   bytes came:            the receive brings 5 bytes; the cancel: No such file or directory
 *   bytes came, multishot: the receive brings 5 bytes, Operation canceled; the cancel finds it
 *   unread in the sockets: 0 bytes
 */
#include "uring.h"

enum { RECEIVE, CANCEL, LENGTH = 5 };

struct outcome {
    int bytes, found;
    bool cancelled;
};

static int unread;

static void request_once(struct io_uring *ring, int fd, char *into)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
    io_uring_prep_recv(sqe, fd, into, LENGTH, 0);
    io_uring_sqe_set_data64(sqe, RECEIVE);
}

static void request_cancel(struct io_uring *ring)
{
    struct io_uring_sqe *sqe = io_uring_get_sqe(ring);
    io_uring_prep_cancel64(sqe, RECEIVE, 0);
    io_uring_sqe_set_data64(sqe, CANCEL);
}

/* Looks at the completions of both requests, until both have their last one. */
static struct outcome outcome_of(struct io_uring *ring)
{
    struct outcome outcome = {0};
    for (int last = 0; last < 2;) {
        struct completion completion = next_completion(ring);
        last += !(completion.flags & IORING_CQE_F_MORE);
        if (completion.tag == CANCEL)
            outcome.found = completion.result;
        else if (completion.result > 0)
            outcome.bytes += completion.result;
        else
            outcome.cancelled = completion.result == -ECANCELED;
    }
    return outcome;
}

static struct outcome try(const char *name, bool bytes_came, bool multishot)
{
    static struct buffer buffer;
    static char into[LENGTH];
    struct io_uring ring = start_ring();
    struct pair pair = connection();
    int left = 0;

    provide(&ring, &buffer);
    if (multishot)
        request_receive(&ring, pair.server, RECEIVE);
    else
        request_once(&ring, pair.server, into);
    io_uring_submit(&ring);
    if (bytes_came) {
        if (write(pair.client, "hello", LENGTH) != LENGTH)
            err(1, "write");
        await_arrival(pair.server);
        io_uring_get_events(&ring); /* the kernel completes it, and we do not look */
    }
    request_cancel(&ring);
    struct outcome outcome = outcome_of(&ring);
    ioctl(pair.server, FIONREAD, &left);
    unread += left;
    printf("%-22s the receive brings ", name);
    if (outcome.bytes)
        printf("%d bytes", outcome.bytes);
    if (outcome.cancelled)
        printf("%s%s", outcome.bytes ? ", " : "", strerror(ECANCELED));
    if (outcome.found < 0)
        printf("; the cancel: %s\n", strerror(-outcome.found));
    else
        printf("; the cancel finds it\n");
    io_uring_queue_exit(&ring);
    close(pair.server);
    close(pair.client);
    return outcome;
}

int main(void)
{
    struct outcome waits = try("nothing came:", false, false);
    struct outcome late = try("bytes came:", true, false);
    struct outcome both = try("bytes came, multishot:", true, true);
    printf("unread in the sockets: %d bytes\n", unread);
    expect(unread == 0, "the bytes have left the sockets");
    claim("After a cancel io_uring brings no more bytes", "false", !late.bytes + !both.bytes, 2,
          "%d bytes came after two cancels", late.bytes + both.bytes);
    expect(waits.bytes == 0 && waits.cancelled && waits.found >= 0, "a cancel ends what waits");
    expect(late.bytes == LENGTH && !late.cancelled && late.found == -ENOENT, "a cancel too late");
    expect(both.bytes == LENGTH && both.cancelled && both.found >= 0, "bytes, and then the end");
    return experiment_failed;
}
