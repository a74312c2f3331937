/* What a server says on stderr must cost its clients nothing. Clients can provoke lines, and
 * perhaps nobody reads them. */
#define _GNU_SOURCE
#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/select.h>
#include <sys/socket.h>
#include <unistd.h>

#include "fault.h"

enum { DESCRIPTORS = 40, FEW = 8, HELD_MAX = FD_SETSIZE + FEW, TEXT = 256 * 1024 };

/* Clients that make the server say something each time one of them comes again. */
struct crowd {
    struct client held[HELD_MAX];
    int count, first; /* how many there are, and the first of those that leave and come again */
    int next;         /* the one that does so next */
};

static void come(struct crowd *crowd, int count, int first)
{
    *crowd = (struct crowd){.count = count, .first = first, .next = first};
    clients_open(crowd->held, count);
}

static void come_again(struct crowd *crowd, int times)
{
    for (int i = 0; i < times; i++) {
        struct client *c = &crowd->held[crowd->next++];
        client_reset(c); /* nothing stays in TIME_WAIT */
        *c = client_open();
        if (crowd->next == crowd->count)
            crowd->next = crowd->first;
    }
}

/* How many lines a text says were left out. */
static long left_out(const char *text)
{
    const char *const words = " lines left out";
    long sum = 0;
    for (const char *t = text; (t = strstr(t, words)); t++) {
        const char *number = t;
        while (number > text && isdigit((unsigned char)number[-1]))
            number--;
        sum += strtol(number, NULL, 10);
    }
    return sum;
}

/* ---- a pipe ---- */

/* Opens the pipe anew, since the server's own description has to stay blocking. */
static void fill(int pipe)
{
    static const char block[4096];
    char path[64];
    snprintf(path, sizeof path, "/proc/self/fd/%d", pipe);
    int fd = open(path, O_WRONLY | O_NONBLOCK | O_CLOEXEC);
    must(fd >= 0, "%s: %s", path, strerror(errno));
    for (size_t size = sizeof block; size > 0;)
        if (write(fd, block, size) < 0)
            size /= 2;
    close(fd);
}

/* Appends all that can be read, but for the zeros that filled the pipe. Returns the length. */
static size_t read_on(int pipe, char *text, size_t length, size_t size)
{
    char bytes[4096];
    for (ssize_t n; (n = read(pipe, bytes, sizeof bytes)) > 0;)
        for (ssize_t i = 0; i < n && length < size - 1; i++)
            if (bytes[i])
                text[length++] = bytes[i];
    text[length] = '\0';
    return length;
}

/* Starts the server with a pipe, full or empty, as its stderr. Returns its end to read from. */
static int start_with_pipe(const char *option, bool full)
{
    int ends[2];
    must(pipe2(ends, O_CLOEXEC) == 0, "pipe: %s", strerror(errno));
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    if (full)
        fill(ends[1]);
    server_start_with((struct start){.standard = {0, 0, ends[1]}, .extra = option});
    return ends[0];
}

/* The server must say that it has left out lines, min of them or more. It may say so only when we
 * read, with the next line that it has to write. */
static void must_tell(int pipe, struct crowd *crowd, long min, const char *why)
{
    static char text[TEXT];
    must_settle();
    size_t length = read_on(pipe, text, 0, sizeof text);
    for (int64_t end = now_ms() + patient(5000); left_out(text) < min && now_ms() < end; nap(1)) {
        come_again(crowd, 1);
        length = read_on(pipe, text, length, sizeof text);
    }
    must(left_out(text) >= min, "%s: at least %ld lines were left out, and it says: '%s'", why, min,
         text);
}

static void must_stop(struct crowd *crowd, struct client *bystander, const char *why)
{
    client_echo(bystander, 1000);
    server_signal(SIGTERM);
    client_expect_eof(bystander);
    client_close(bystander);
    clients_close(crowd->held, crowd->count);
    server_must_end_well(why, 1500);
}

/* Whatever its lines are about, the server writes them, serves the bystander, and then ends. */
static void must_go_on(int pipe, struct crowd *crowd, struct client *bystander, long min,
                       const char *why)
{
    client_echo(bystander, 100000);
    must_tell(pipe, crowd, min, why);
    fill(pipe);
    come_again(crowd, 100);
    must_stop(crowd, bystander, why);
    close(pipe);
}

static void full_pipe_at_the_limit(void)
{
    struct crowd crowd;
    int pipe = start_with_pipe(NULL, true);
    struct client bystander = client_open();
    client_echo(&bystander, 1000);
    limit_server(RLIMIT_NOFILE, true, DESCRIPTORS);
    come(&crowd, DESCRIPTORS, 0);
    come_again(&crowd, 300);
    must_go_on(pipe, &crowd, &bystander, 1, "out of descriptors");
}

static void full_pipe_past_the_set(void)
{
    struct crowd crowd;
    if (!server_has("fd-setsize") || !descriptors_available(HELD_MAX + 64))
        return;
    int pipe = start_with_pipe(NULL, true);
    struct client bystander = client_open();
    client_echo(&bystander, 1000);
    come(&crowd, HELD_MAX, FD_SETSIZE);
    come_again(&crowd, 300);
    must_go_on(pipe, &crowd, &bystander, 300, "past FD_SETSIZE");
}

static void full_pipe_and_verbose(void)
{
    struct crowd crowd;
    int pipe = start_with_pipe("--verbose", true);
    struct client bystander = client_open();
    client_echo(&bystander, 1000);
    come(&crowd, FEW, 0);
    come_again(&crowd, 300);
    newcomer_must_be_served(); /* so those before it have been accepted, too */
    must_go_on(pipe, &crowd, &bystander, 300, "--verbose");
}

void full_pipe_harms_nobody(const struct fault *fault)
{
    (void)fault;
    full_pipe_at_the_limit();
    full_pipe_past_the_set();
    full_pipe_and_verbose();
}

void pipe_without_reader(const struct fault *fault)
{
    struct crowd crowd;
    (void)fault;
    close(start_with_pipe("--verbose", false));
    come(&crowd, FEW, 0);
    come_again(&crowd, 100);
    clients_echo(crowd.held, FEW, 1000);
    clients_close(crowd.held, FEW);
    newcomer_must_be_served();
    must_settle();
    server_stop();
}

/* ---- a terminal ---- */

/* The clients fill it: a line at a time, until there is room for less than a line. */
void full_terminal_harms_nobody(const struct fault *fault)
{
    enum { LINES = 1000 }; /* more than it has room for */
    const char *const why = "a terminal";
    struct crowd crowd;
    (void)fault;
    int reader = posix_openpt(O_RDWR | O_NOCTTY | O_CLOEXEC);
    if (reader < 0 || grantpt(reader) < 0 || unlockpt(reader) < 0)
        skip("no terminal: %s", strerror(errno));
    const char *name = ptsname(reader);
    int terminal = name ? open(name, O_RDWR | O_NOCTTY | O_CLOEXEC) : -1;
    if (terminal < 0) /* /dev/pts may be missing, or not belong to /dev/ptmx */
        skip("no terminal: %s: %s", name ? name : "no name", strerror(errno));
    fcntl(reader, F_SETFL, O_NONBLOCK);
    server_start_with((struct start){.standard = {0, 0, terminal}, .extra = "--verbose"});
    struct client bystander = client_open();
    client_echo(&bystander, 1000);
    come(&crowd, FEW, 0);
    come_again(&crowd, LINES);
    client_echo(&bystander, 100000);
    newcomer_must_be_served();
    must_tell(reader, &crowd, 1, why);
    come_again(&crowd, LINES);
    must_stop(&crowd, &bystander, why);
    close(reader);
}

/* ---- a file, which takes everything ---- */

/* Each second that the run touches may have a line, and one before it that says how many were left
 * out. */
void few_lines_a_second(const struct fault *fault)
{
    enum { RUN_MS = 1200 };
    static char text[TEXT];
    struct crowd crowd;
    (void)fault;
    server_start();
    struct client bystander = client_open();
    client_echo(&bystander, 1000);
    limit_server(RLIMIT_NOFILE, true, DESCRIPTORS);
    int64_t start = now_ms();
    come(&crowd, DESCRIPTORS, 0);
    while (now_ms() < start + RUN_MS)
        come_again(&crowd, 10);
    client_echo(&bystander, 1000);
    client_close(&bystander);
    clients_close(crowd.held, crowd.count);
    must_settle();
    server_stop();
    int max = 2 * ((int)(now_ms() - start) / 1000 + 2), lines = 0;
    ssize_t n = pread(server.errors, text, sizeof text - 1, 0);
    text[n > 0 ? n : 0] = '\0';
    for (const char *t = text; (t = strchr(t, '\n')); t++)
        lines++;
    must(lines <= max, "%d lines in %d ms", lines, (int)(now_ms() - start));
    must(left_out(text) > 0, "%d lines, and none left out: '%s'", lines, text);
}

/* ---- no stderr at all, nor stdout, nor stdin ---- */

/* A server without stdout cannot say its port, so we choose one. While our socket is bound to it,
 * no other program gets it, except one that also sets SO_REUSEADDR and listens: the server. */
static int reserve_port(int *port)
{
    struct sockaddr_in a = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    socklen_t length = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), on = 1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on);
    must(bind(fd, (struct sockaddr *)&a, length) == 0 &&
             getsockname(fd, (struct sockaddr *)&a, &length) == 0,
         "no port: %s", strerror(errno));
    *port = ntohs(a.sin_port);
    return fd;
}

static void must_have_standard_descriptors(unsigned closed)
{
    for (int fd = 0; fd <= STDERR_FILENO; fd++) {
        char path[64], is[64];
        snprintf(path, sizeof path, "/proc/%d/fd/%d", (int)server.pid, fd);
        ssize_t n = readlink(path, is, sizeof is - 1);
        is[n > 0 ? n : 0] = '\0';
        must(strcmp(is, "/dev/null") == 0, "closed %#x: descriptor %d is '%s'", closed, fd, is);
    }
}

static void start_without(unsigned closed, int port)
{
    struct start options = {.extra = "--verbose", .port = port};
    for (int fd = 0; fd <= STDERR_FILENO; fd++)
        options.standard[fd] = closed & 1u << fd ? CLOSED : DEV_NULL;
    server_launch(options);
}

/* The first client gets its echo and nothing else: what the server says of others must not reach
 * it. */
void no_standard_descriptors(const struct fault *fault)
{
    (void)fault;
    for (unsigned closed = 1; closed < 8; closed++) {
        struct client first, others[FEW];
        bool connected = false;
        int port, reserved = reserve_port(&port);
        start_without(closed, port);
        AWAIT(8000, (connected = client_try(&first, 1000)) || !server_running());
        must(connected, "closed %#x: it %s", closed,
             server_running() ? "does not listen" : "has ended");
        close(reserved);
        client_echo(&first, 100);
        clients_open(others, FEW);
        clients_echo(others, FEW, 100);
        clients_close(others, FEW);
        must_have_standard_descriptors(closed);
        client_echo(&first, 100);
        client_shut(&first);
        client_expect_eof(&first);
        client_close(&first);
        server_stop();
    }
}
