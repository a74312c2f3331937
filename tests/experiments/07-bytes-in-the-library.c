/* Bytes that are in a library already, while the wait looks for them in the kernel.
 *
 * A library for TLS, for compression or for lines reads from the socket into a buffer of its own,
 * as much as there is, and hands out one record at a time. Here two records arrive together, and
 * the program takes one for each time that the wait reports the socket. The first read moves both
 * into the library, so the kernel has nothing left to report, level-triggered or not. The remedy is
 * to ask the library before each wait: OpenSSL's question is SSL_pending(), ours is pending().
 *
 * Expect:
 *   reads no further than a record  2 of 2 records; left: 0 bytes in the library, 0 in the kernel
 *   reads all that there is         1 of 2 records; left: 6 bytes in the library, 0 in the kernel
 *   the same, pending() is asked    2 of 2 records; left: 0 bytes in the library, 0 in the kernel
 */
#include "experiment.h"

#include <sys/select.h>

/* The library. A record is a length of one byte, and so many bytes. */
enum { AHEAD = 4096 };

struct records {
    int fd;
    bool reads_ahead;
    unsigned char buffer[AHEAD];
    size_t length; /* what has been read, and not been handed out */
};

/* Is a whole record in the buffer? */
static bool pending(const struct records *records)
{
    return records->length > 0 && records->length > records->buffer[0];
}

/* How many bytes to ask the kernel for. */
static size_t wanted(const struct records *records)
{
    if (records->reads_ahead)
        return AHEAD - records->length;
    return records->length == 0 ? 1 : records->buffer[0] + 1U - records->length;
}

/* Reads until there is a record, or nothing more to read, and hands out one. Returns whether. */
static bool next_record(struct records *records)
{
    while (!pending(records)) {
        ssize_t got = recv(records->fd, records->buffer + records->length, wanted(records), 0);
        if (got <= 0)
            return false;
        records->length += (size_t)got;
    }
    size_t size = records->buffer[0] + 1U;
    records->length -= size;
    memmove(records->buffer, records->buffer + size, records->length);
    return true;
}

/* The program, whose loop ends when it would sleep. */
static bool readable(int fd)
{
    fd_set readers;
    FD_ZERO(&readers);
    FD_SET(fd, &readers);
    return select(fd + 1, &readers, NULL, NULL, &(struct timeval){0}) == 1;
}

static int serve(const char *name, bool reads_ahead, bool asks)
{
    static const char sent[] = "\005hello\005world";
    struct pair pair = connection();
    struct records records = {.fd = pair.server, .reads_ahead = reads_ahead};
    int count = 0, in_kernel;

    nonblocking(pair.server);
    scene(name);
    if (write(pair.client, sent, sizeof sent - 1) != sizeof sent - 1)
        err(1, "write");
    await_bytes(pair.server, sizeof sent - 1);
    while ((asks && pending(&records)) || readable(pair.server))
        count += next_record(&records);
    mark("server: %d of 2 records, %zu bytes in the library", count, records.length);
    scene_end();
    if (ioctl(pair.server, FIONREAD, &in_kernel) < 0)
        err(1, "FIONREAD");
    printf("%-31s %d of 2 records; left: %zu bytes in the library, %d in the kernel\n", name, count,
           records.length, in_kernel);
    expect(in_kernel == 0, "nothing is left in the kernel");
    close(pair.client);
    close(pair.server);
    return count;
}

int main(void)
{
    int in_kernel = serve("reads no further than a record", false, false);
    int in_library = serve("reads all that there is", true, false);
    int asked = serve("the same, pending() is asked", true, true);
    expect(in_kernel == 2 && asked == 2, "both records arrive");
    expect(in_library == 1, "the second one is where no wait looks");
    claim("As long as a record is unread, a level-triggered wait returns at once", "partly",
          (in_kernel == 2) + (in_library == 2), 2,
          "left in the kernel: %d of 2 records; in a library's buffer: %d", in_kernel, in_library);
    return experiment_failed;
}
