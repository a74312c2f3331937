/* A hundred clients: memory of a server with threads, and of one with a loop.
 *
 * What a server needs for a connection is mostly what it decides to keep for it: a buffer in every
 * connection costs a loop more than a small stack costs a thread. Both chapters keep nothing for
 * a silent client, so what is left is the stack's pages, and what the kernel needs for a thread.
 *
 * Needs: linux
 * Servers: 01-blocking-threads 05-epoll
 *
 * Expect:
 *   01-blocking-threads: <n> kB, with 100 clients <n> kB; kernel stacks <n> kB more
 *   05-epoll: <n> kB, with 100 clients <n> kB; kernel stacks <n> kB more
 */
#include "experiment.h"
#include "server.h"

enum { CLIENTS = 100 };

struct memory {
    long before, after, kernel;
};

static struct memory measure(const char *path)
{
    struct server server = start_server(path);
    int client[CLIENTS];
    char byte;

    pause_ms(50);
    struct memory m = {.before = kb_of_process(server.pid, "VmRSS:")};
    long stacks = kb_of_process(0, "KernelStack:");
    for (int i = 0; i < CLIENTS; i++) {
        client[i] = connect_to(server.port);
        if (write(client[i], "1", 1) != 1 || read(client[i], &byte, 1) != 1)
            err(1, "echo");
    }
    m.after = kb_of_process(server.pid, "VmRSS:");
    m.kernel = kb_of_process(0, "KernelStack:") - stacks;
    m.kernel = m.kernel < 0 ? 0 : m.kernel;
    printf("%s: %ld kB, with %d clients %ld kB; kernel stacks %ld kB more\n", name_of(path),
           m.before, CLIENTS, m.after, m.kernel);
    for (int i = 0; i < CLIENTS; i++)
        close(client[i]);
    stop_server(&server);
    return m;
}

int main(int argc, char **argv)
{
    if (argc < 3)
        errx(2, "needs the paths of two servers");
    struct memory threads = measure(argv[1]), loop = measure(argv[2]);
    long more = threads.after - threads.before + threads.kernel, less = loop.after - loop.before;
    expect(more > 4 * (less > 0 ? less : 1), "a thread costs more than an entry in a table");
    claim("100 clients: 14 MB with threads, 5 MB with a loop", "partly",
          (more > less) + (threads.after >= 10000) + (loop.after >= 4000), 3,
          "%.1f MB and %.1f MB, in C; the threads' kernel stacks are %.1f MB more",
          (double)threads.after / 1024, (double)loop.after / 1024, (double)threads.kernel / 1024);
    return experiment_failed;
}
