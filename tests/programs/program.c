#define _GNU_SOURCE
#include "program.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "../harness/fail.h"

enum { PATIENCE_MS = 20000, WORDS_MAX = 24 };

struct program program_start(const char *variable, const char *options, const char *input)
{
    int in[2] = {-1, -1}, out[2];
    static char backend[] = "--backend";
    char text[512], *words[WORDS_MAX] = {getenv(variable)};
    must(words[0], "%s must name the program", variable);
    signal(SIGPIPE, SIG_IGN);
    setenv("ASAN_OPTIONS", "exitcode=99", 0); /* none of our programs ends with this status */
    must(pipe(out) == 0, "pipe: %s", strerror(errno));
    if (input)
        in[0] = open(input, O_RDONLY);
    else
        must(pipe(in) == 0, "pipe: %s", strerror(errno));
    must(in[0] >= 0, "%s: %s", input, strerror(errno));
    snprintf(text, sizeof text, "%s", options);
    int n = 1 + split_words(text, words + 1, WORDS_MAX - 3);
    if (getenv("REACTOR_BACKEND")) {
        words[n] = backend;
        words[n + 1] = getenv("REACTOR_BACKEND");
    }
    pid_t pid = start_process(words, (int[]){in[0], out[1], STDERR_FILENO}, 0);
    close(in[0]);
    close(out[1]);
    fcntl(in[1], F_SETFD, FD_CLOEXEC);
    fcntl(out[0], F_SETFD, FD_CLOEXEC);
    return (struct program){.pid = pid, .in = in[1], .out = out[0]};
}

struct program program_start_server(const char *variable, const char *options)
{
    struct program server = program_start(variable, options, "/dev/null");
    char line[128];
    read_line(server.out, line, sizeof line, PATIENCE_MS);
    server.port = ready_port(line, "127.0.0.1");
    must(server.port > 0, "the server said '%s', not that it listens", line);
    return server;
}

int program_end(struct program *program, int within_ms)
{
    int status = 0, got = 0;
    bool killed = false;
    for (int64_t end = now_ms() + within_ms;
         (got = waitpid(program->pid, &status, WNOHANG)) == 0;) {
        if (now_ms() > end && !killed) {
            kill(program->pid, SIGKILL);
            killed = true;
        }
        nap(1);
    }
    close(program->in);
    close(program->out);
    return killed || !WIFEXITED(status) ? -1 : WEXITSTATUS(status);
}

int program_stop(struct program *server)
{
    kill(server->pid, SIGTERM);
    return program_end(server, 5000);
}

long program_rss_kib(const struct program *program)
{
    char path[64], line[128];
    long kib = -1;
    snprintf(path, sizeof path, "/proc/%d/status", (int)program->pid);
    FILE *file = fopen(path, "r");
    while (file && fgets(line, sizeof line, file))
        sscanf(line, "VmRSS: %ld", &kib);
    if (file)
        fclose(file);
    return kib;
}

int try_dial(const struct program *server)
{
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)server->port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    if (connect(fd, (struct sockaddr *)&address, sizeof address) < 0) {
        int error = errno;
        close(fd);
        errno = error;
        return -1;
    }
    fcntl(fd, F_SETFL, O_NONBLOCK);
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    return fd;
}

int dial(const struct program *server)
{
    int fd = try_dial(server);
    must(fd >= 0, "connect: %s", strerror(errno));
    return fd;
}

void put(int fd, const void *bytes, size_t length)
{
    for (size_t sent = 0; sent < length;) {
        ssize_t n = send(fd, (const char *)bytes + sent, length - sent, 0);
        struct pollfd ready = {.fd = fd, .events = POLLOUT};
        if (n > 0)
            sent += (size_t)n;
        else
            must(errno == EAGAIN && poll(&ready, 1, PATIENCE_MS) == 1, "send: %s", strerror(errno));
    }
}

size_t take(int fd, void *bytes, size_t length, int ms)
{
    size_t got = 0;
    struct pollfd ready = {.fd = fd, .events = POLLIN};
    for (int64_t end = now_ms() + ms; got < length;) {
        ssize_t n = read(fd, (char *)bytes + got, length - got);
        if (n == 0)
            errno = 0;
        if (n == 0 || (n < 0 && errno != EAGAIN))
            break;
        got += n > 0 ? (size_t)n : 0;
        if (n < 0)
            must(now_ms() < end && poll(&ready, 1, (int)(end - now_ms())) == 1,
                 "%zu of %zu bytes came in time", got, length);
    }
    return got;
}

void take_text(int fd, const char *expected)
{
    char text[4096] = "";
    size_t n = take(fd, text, strlen(expected), PATIENCE_MS);
    must(n == strlen(expected), "'%s' and then the end, not '%s'", text, expected);
    must(strcmp(text, expected) == 0, "'%s', not '%s'", text, expected);
}

void expect_eof(int fd)
{
    char byte;
    errno = 0;
    must(take(fd, &byte, 1, PATIENCE_MS) == 0, "a byte, not the end");
    must(errno != ECONNRESET, "RST, not FIN");
}

size_t expect_reset(int fd)
{
    char bytes[65536];
    size_t got = 0, n;
    errno = 0;
    while ((n = take(fd, bytes, sizeof bytes, PATIENCE_MS)) == sizeof bytes)
        got += n;
    must(errno == ECONNRESET, "FIN, not RST, after %zu bytes", got + n);
    return got + n;
}

void reset(int fd)
{
    setsockopt(fd, SOL_SOCKET, SO_LINGER, &(struct linger){1, 0}, sizeof(struct linger));
    close(fd);
}

int sockets_of(const struct program *program)
{
    char path[320], target[16];
    int count = 0;
    snprintf(path, sizeof path, "/proc/%d/fd", (int)program->pid);
    DIR *directory = opendir(path);
    if (!directory)
        return -1;
    for (struct dirent *entry; (entry = readdir(directory));) {
        snprintf(path, sizeof path, "/proc/%d/fd/%s", (int)program->pid, entry->d_name);
        if (readlink(path, target, sizeof target) > 7)
            count += memcmp(target, "socket:", 7) == 0;
    }
    closedir(directory);
    return count;
}
