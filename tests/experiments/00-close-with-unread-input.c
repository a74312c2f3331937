/* close() with unread input destroys what was sent.
 *
 * A server has sent all it owes and closes. If the client had sent one more byte that was not read,
 * the kernel answers with RST in place of FIN (RFC 1122, 4.2.2.13), and throws away what it has not
 * delivered yet. That is why a server that stops reads on until the client's FIN.
 *
 * Expect:
 *   a byte was left unread: the client got <n> of <n> bytes, then: Connection reset by peer
 *   nothing left unread: the client got <n> of <n> bytes, then: end of file
 */
#include "experiment.h"

static char bytes[64 * 1024 * 1024]; /* more than the kernel takes */

/* Reads to the end, or to the reset. */
static long drain(int fd, bool *reset)
{
    long total = 0;
    ssize_t got;
    while ((got = recv(fd, bytes, sizeof bytes, MSG_WAITALL)) > 0)
        total += got;
    *reset = got < 0;
    return total;
}

static void server_closes(bool reads_first)
{
    struct pair pair = connection();
    bool reset;
    char byte;

    scene(reads_first ? "nothing left unread" : "one byte was left unread");
    if (write(pair.client, "x", 1) != 1)
        err(1, "write");
    await_bytes(pair.server, 1);
    long owed = send(pair.server, bytes, sizeof bytes, MSG_DONTWAIT);
    if (reads_first && read(pair.server, &byte, 1) != 1)
        err(1, "read");
    int closed = close(pair.server);
    if (!reads_first)
        mark("kernel: drops what has not arrived");
    long got = drain(pair.client, &reset);
    scene_end();
    expect(closed == 0, "close() says nothing of it");
    printf("%s: the client got %ld of %ld bytes, then: %s\n",
           reads_first ? "nothing left unread" : "a byte was left unread", got, owed,
           reset ? strerror(ECONNRESET) : "end of file");
    if (reads_first)
        expect(got == owed && !reset, "everything arrives");
    else
        expect(got < owed && reset, "bytes are destroyed");
    if (!reads_first) {
        claim("write() only copies to the kernel's buffer, and nobody tells of delivery", "true",
              got < owed, 1, "send() took %ld bytes, close() no error, %ld arrived", owed, got);
        claim("A server that closes cleanly still delivers what it sent", "false", got == owed, 1,
              "one byte unread: %ld of %ld bytes arrive", got, owed);
    }
    close(pair.client);
}

int main(void)
{
    server_closes(false);
    server_closes(true);
    return experiment_failed;
}
