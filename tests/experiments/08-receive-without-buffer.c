/* ENOBUFS ends a multishot receive, and nobody requests the next.
 *
 * The only buffer is in use when a client's bytes come. The kernel completes its receive with
 * ENOBUFS, and without IORING_CQE_F_MORE: no completion will follow for this request. The bytes are
 * safe in the socket. But when a buffer is free again, and more bytes come, nothing happens: the
 * client waits forever. A server has to look at the flag, and to request a receive anew.
 *
 * Needs: linux uring
 *
 * Expect:
 *   "one":   3 bytes, more will follow
 *   "two":   No buffer space available, no more will follow
 *   "three": nothing in 100 ms, though the buffer is free; 8 bytes are unread
 *   requested anew: 8 bytes, more will follow
 */
#include "uring.h"

static void say(int fd, const char *text)
{
    if (write(fd, text, strlen(text)) != (ssize_t)strlen(text))
        err(1, "write");
}

static void tell(const char *what, struct completion completion)
{
    printf("%s ", what);
    if (completion.result < 0)
        printf("%s", strerror(-completion.result));
    else
        printf("%d bytes", completion.result);
    printf(", %s will follow\n", completion.flags & IORING_CQE_F_MORE ? "more" : "no more");
}

int main(void)
{
    static struct buffer buffer;
    struct io_uring ring = start_ring();
    struct completion first, second, third, again;
    struct pair pair = connection();
    int unread = 0;

    provide(&ring, &buffer);
    request_receive(&ring, pair.server, 0);
    say(pair.client, "one");
    first = next_completion(&ring);
    tell("\"one\":  ", first);
    say(pair.client, "two"); /* the server still has the buffer */
    second = next_completion(&ring);
    tell("\"two\":  ", second);

    give(&buffer);
    say(pair.client, "three");
    await_bytes(pair.server, 8);
    bool heard = completed(&ring, 100, &third);
    ioctl(pair.server, FIONREAD, &unread);
    printf("\"three\": %s in 100 ms, though the buffer is free; %d bytes are unread\n",
           heard ? "a completion" : "nothing", unread);

    request_receive(&ring, pair.server, 0);
    again = next_completion(&ring);
    tell("requested anew:", again);

    expect(first.result == 3 && first.flags & IORING_CQE_F_MORE, "the request goes on");
    expect(second.result == -ENOBUFS && !(second.flags & IORING_CQE_F_MORE), "the request ends");
    expect(!heard && unread == 8, "nobody hears the client");
    expect(again.result == 8, "the bytes were safe");
    return experiment_failed;
}
