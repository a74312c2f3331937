/* Two sends of one client are under way, and their bytes change places.
 *
 * The server owes a client 1 MB of A and then 1,000 B. There is room for some of the A. Meanwhile
 * the client reads, so there is room again when the server requests the send of the B: these go
 * first, and the other A follow. MSG_WAITALL has the kernel send what is left of the A, and changes
 * nothing: the kernel, too, sends it when it gets to it. Either the B wait until the A are sent, or
 * IOSQE_IO_LINK tells the kernel to begin one request after the other.
 *
 * Needs: linux uring
 *
 * Expect:
 *   side by side, and what was left is sent then: <n> A, 1000 B, <n> A
 *   side by side, with MSG_WAITALL:               <n> A, 1000 B, <n> A
 *   one after the other:                          1000000 A, 1000 B
 *   with MSG_WAITALL and IOSQE_IO_LINK:           1000000 A, 1000 B
 */
#include "uring.h"

enum { A, B, A_LENGTH = 1000000, B_LENGTH = 1000 };
enum way { SIDE_BY_SIDE, WAIT_ALL, ONE_AT_A_TIME, LINKED };

static const int length[] = {[A] = A_LENGTH, [B] = B_LENGTH};
static char bytes[2][A_LENGTH];
static int sent[2];
static struct io_uring ring;
static struct pair pair;

static struct io_uring_sqe *request(int which, int flags)
{
    return request_send(&ring, pair.server, bytes[which] + sent[which],
                        (size_t)(length[which] - sent[which]), flags, (uint64_t)which);
}

/* Sees to what is completed: a short send is followed by one of what is left. */
static void serve(enum way way)
{
    struct completion completion;
    while (completed(&ring, 1, &completion)) {
        int which = (int)completion.tag;
        if (completion.result < 0)
            errx(1, "send: %s", strerror(-completion.result));
        sent[which] += completion.result;
        if (sent[which] < length[which])
            request(which, 0);
        else if (which == A && way == ONE_AT_A_TIME)
            request(B, 0);
    }
}

/* Returns what has come. */
static int drain(char *into)
{
    int got = 0;
    for (ssize_t n; (n = recv(pair.client, into + got, 65536, MSG_DONTWAIT)) > 0;)
        got += (int)n;
    return got;
}

/* Prints the runs of equal bytes. Returns how many there are. */
static int tell(const char *name, const char *got)
{
    int runs = 0;
    printf("%-45s ", name);
    for (int i = 0, start = 0; i < A_LENGTH + B_LENGTH; i++)
        if (i + 1 == A_LENGTH + B_LENGTH || got[i + 1] != got[i]) {
            printf("%s%d %c", runs++ ? ", " : "", i + 1 - start, got[i]);
            start = i + 1;
        }
    printf("\n");
    return runs;
}

static int try(const char *name, enum way way)
{
    static char into[A_LENGTH + B_LENGTH + 65536];
    int got = 0, small = 65536, flags = way == WAIT_ALL || way == LINKED ? MSG_WAITALL : 0;
    struct pollfd room = {.events = POLLOUT};
    sent[A] = sent[B] = 0;
    ring = start_ring();
    pair = connection();
    room.fd = pair.server;
    setsockopt(pair.server, SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    struct io_uring_sqe *first = request(A, flags);
    if (way == LINKED) {
        first->flags |= IOSQE_IO_LINK;
        request(B, flags);
    }
    io_uring_submit(&ring);
    while (poll(&room, 1, 1) == 0)
        got += drain(into + got);
    if (way == SIDE_BY_SIDE || way == WAIT_ALL)
        request(B, flags);
    for (double end = now() + 20; got < A_LENGTH + B_LENGTH && now() < end;) {
        serve(way);
        got += drain(into + got);
    }
    expect(got == A_LENGTH + B_LENGTH, "all bytes come");
    io_uring_queue_exit(&ring);
    close(pair.server);
    close(pair.client);
    return tell(name, into);
}

int main(void)
{
    memset(bytes[A], 'A', A_LENGTH);
    memset(bytes[B], 'B', B_LENGTH);
    int again = try("side by side, and what was left is sent then:", SIDE_BY_SIDE);
    int all = try("side by side, with MSG_WAITALL:", WAIT_ALL);
    int alone = try("one after the other:", ONE_AT_A_TIME);
    int linked = try("with MSG_WAITALL and IOSQE_IO_LINK:", LINKED);
    expect(again == 3 && all == 3, "the B overtake the A");
    expect(alone == 2 && linked == 2, "the order is kept");
    claim("With io_uring bytes go out in the order in which their sends were requested", "false",
          (again == 2) + (all == 2), 2, "1,000 bytes overtook %d of two longer sends",
          (again > 2) + (all > 2));
    return experiment_failed;
}
