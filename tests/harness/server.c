#ifdef __linux__
#define _GNU_SOURCE
#include <sys/prctl.h>
#endif
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "harness.h"

enum { WORDS_MAX = 32, START_MS = 5000, STOP_MS = 1500, RUN_MS = 5000 };

struct server server;

static struct rlimit descriptor_limit;
static int slowness = 1;

/* ---- time ---- */

int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int patient(int ms)
{
    return ms * slowness;
}

void nap(int ms)
{
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};
    nanosleep(&t, NULL);
}

/* ---- the process ---- */

bool server_has(const char *trait)
{
    const char *traits = getenv("ECHO_TRAITS");
    size_t length = strlen(trait);
    for (const char *t = traits ? traits : ""; *t; t += strcspn(t, ","), t += *t == ',')
        if (strcspn(t, ",") == length && strncmp(t, trait, length) == 0)
            return true;
    return false;
}

bool descriptors_available(unsigned many)
{
    return descriptor_limit.rlim_cur >= many;
}

static void show_errors(void)
{
    char text[1500];
    ssize_t n = pread(server.errors, text, sizeof text, 0);
    if (n > 0)
        fprintf(stderr, "---- the server's stderr:\n%.*s----\n", (int)n, text);
}

static void leave_nothing_running(void)
{
    if (server.pid > 0) { /* the test has failed or was skipped half-way */
        kill(server.pid, SIGKILL);
        waitpid(server.pid, NULL, 0);
        show_errors();
    }
    server.pid = 0;
}

void harness_begin(void)
{
    const char *slow = getenv("ECHO_SLOW");
    slowness = slow && atoi(slow) > 1 ? atoi(slow) : server_has("sanitized") ? 4 : 1;
    server = (struct server){.out = -1, .errors = -1};
    atexit(leave_nothing_running); /* Criterion skips .fini when a test skips itself */
    signal(SIGPIPE, SIG_IGN);
    getrlimit(RLIMIT_NOFILE, &descriptor_limit);
    struct rlimit raised = descriptor_limit;
    raised.rlim_cur = raised.rlim_max < 8192 ? raised.rlim_max : 8192;
    if (raised.rlim_cur > descriptor_limit.rlim_cur && setrlimit(RLIMIT_NOFILE, &raised) == 0)
        descriptor_limit = raised;
    must(getenv("ECHO_SERVER"), "set ECHO_SERVER to the command of the server under test");
}

/* The server's words, then the further ones, up to their NULL. */
static void command_line(char **words, char *text, size_t size, const char *const *further)
{
    int n = 0;
    snprintf(text, size, "%s", getenv("ECHO_SERVER"));
    for (char *word = strtok(text, " "); word && n < WORDS_MAX / 2; word = strtok(NULL, " "))
        words[n++] = word;
    must(n > 0, "ECHO_SERVER is empty");
    while (*further && n < WORDS_MAX - 1)
        words[n++] = (char *)(uintptr_t)*further++;
    words[n] = NULL;
}

/* In the child: a clean slate, as a shell would give it. Above all, SIGPIPE must be as usual:
 * if the server inherited our SIG_IGN, one that forgets about it would look fine. */
static void become(char **words, int out, int errors, const struct start *start)
{
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
#ifdef __linux__
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* no server outlives its test */
#endif
    int nothing = open("/dev/null", O_RDONLY);
    dup2(nothing, STDIN_FILENO);
    dup2(out, STDOUT_FILENO);
    dup2(errors, STDERR_FILENO);
    for (int fd = 3; fd < 4096; fd++)
        close(fd);
    if (start->descriptors) {
        struct rlimit limit = {.rlim_cur = start->descriptors, .rlim_max = start->descriptors};
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    if (start->closed) {
        close(STDIN_FILENO);
        close(STDERR_FILENO);
    }
    execv(words[0], words);
    fprintf(stderr, "cannot run %s: %s\n", words[0], strerror(errno));
    _exit(127);
}

static int nameless_file(void)
{
    char name[] = "/tmp/conformance-XXXXXX";
    int fd = mkstemp(name);
    must(fd >= 0, "mkstemp: %s", strerror(errno));
    unlink(name);
    fcntl(fd, F_SETFD, FD_CLOEXEC);
    return fd;
}

static pid_t launch(const char *const *further, int out, int errors, const struct start *start)
{
    char text[1024], *words[WORDS_MAX];
    command_line(words, text, sizeof text, further);
    pid_t pid = fork();
    if (pid == 0)
        become(words, out, errors, start);
    must(pid > 0, "fork: %s", strerror(errno));
    return pid;
}

/* One line from the server's stdout, without its end; what is there if it takes too long. */
static void read_line(char *line, size_t size)
{
    size_t n = 0;
    struct pollfd p = {.fd = server.out, .events = POLLIN};
    int64_t end = now_ms() + patient(START_MS);
    while (n < size - 1 && now_ms() < end && poll(&p, 1, (int)(end - now_ms())) > 0) {
        if (read(server.out, line + n, 1) != 1 || line[n] == '\n')
            break;
        n++;
    }
    line[n] = '\0';
}

static void expect_ready_line(const char *host)
{
    char line[256], expected[256];
    read_line(line, sizeof line);
    const char *colon = strrchr(line, ':');
    server.port = colon ? atoi(colon + 1) : 0;
    if (strcmp(host, "localhost") == 0) /* which may have two addresses */
        host = strchr(line, '[') ? "::1" : "127.0.0.1";
    server.family = strchr(host, ':') ? AF_INET6 : AF_INET;
    snprintf(expected, sizeof expected,
             server.family == AF_INET6 ? "listening on [%s]:%d" : "listening on %s:%d", host,
             server.port);
    if (strcmp(line, expected) != 0)
        show_errors();
    must(strcmp(line, expected) == 0, "command line: the ready line is '%s', not '%s'", line,
         expected);
    must(server.port > 0, "command line: '%s' names no port", line);
}

void server_start_with(struct start s)
{
    char port[16];
    int out[2];
    const char *host = s.host ? s.host : "127.0.0.1";
    const char *further[] = {"--host", host, "--port", port, s.extra, s.argument, NULL};

    snprintf(port, sizeof port, "%d", s.port);
    must(pipe(out) == 0, "pipe: %s", strerror(errno));
    fcntl(out[0], F_SETFD, FD_CLOEXEC);
    if (server.out >= 0)
        close(server.out);
    if (server.errors >= 0)
        close(server.errors);
    server = (struct server){.out = out[0], .errors = nameless_file()};
    server.pid = launch(further, out[1], server.errors, &s);
    close(out[1]);
    expect_ready_line(host);
}

void server_start(void)
{
    server_start_with((struct start){0});
}

bool server_running(void)
{
    if (server.pid > 0 && waitpid(server.pid, &server.status, WNOHANG) == server.pid) {
        server.pid = 0;
        if (server.status != 0)
            show_errors();
    }
    return server.pid > 0;
}

void server_signal(int signal)
{
    if (server_running())
        kill(server.pid, signal);
}

void server_pause(void)
{
    int status;
    server_signal(SIGSTOP);
    must(server.pid > 0, "the server has ended");
    if (waitpid(server.pid, &status, WUNTRACED) == server.pid && !WIFSTOPPED(status))
        server.pid = 0;
    must(server.pid > 0, "the server has ended instead of stopping");
}

void server_resume(void)
{
    kill(server.pid, SIGCONT);
}

bool server_ended_within(int ms)
{
    AWAIT(ms, !server_running());
    return !server_running();
}

void server_must_end_well(const char *clause, int ms)
{
    must(server_ended_within(ms), "%s: still running after %d ms", clause, patient(ms));
    must(!WIFSIGNALED(server.status), "%s: killed by signal %d", clause, WTERMSIG(server.status));
    must(WEXITSTATUS(server.status) == 0, "%s: exit status %d", clause, WEXITSTATUS(server.status));
}

static void must_not_have_ended(void)
{
    must(server_running(), "clause 4: the server has ended by itself, status %#x",
         (unsigned)server.status);
}

void server_stop(void)
{
    must_not_have_ended();
    server_signal(SIGTERM);
    server_must_end_well("clause 7, SIGTERM", STOP_MS);
}

void server_dismiss(void)
{
    must_not_have_ended();
    server_signal(SIGTERM);
    if (!server_ended_within(STOP_MS)) {
        kill(server.pid, SIGKILL);
        waitpid(server.pid, &server.status, 0);
        server.pid = 0;
    }
    /* A sanitizer that has found something ends its process with a status, or with abort(). */
    bool by_us = WIFSIGNALED(server.status) &&
                 (WTERMSIG(server.status) == SIGTERM || WTERMSIG(server.status) == SIGKILL);
    must(!server_has("sanitized") || server.status == 0 || by_us,
         "sanitizer: the server ended with status %#x", (unsigned)server.status);
}

size_t server_has_printed(char *text, size_t size)
{
    fcntl(server.out, F_SETFL, O_NONBLOCK); /* a child of the server's may still hold it open */
    ssize_t n = read(server.out, text, size - 1);
    text[n > 0 ? n : 0] = '\0';
    return strlen(text);
}

static void read_all(int fd, char *text, size_t size)
{
    ssize_t n = pread(fd, text, size - 1, 0);
    text[n > 0 ? n : 0] = '\0';
}

struct outcome server_run(const char *const *arguments)
{
    struct outcome o = {.status = -1};
    int out = nameless_file(), errors = nameless_file(), status;
    pid_t pid = launch(arguments, out, errors, &(struct start){0}), ended = 0;

    AWAIT(RUN_MS, (ended = waitpid(pid, &status, WNOHANG)) != 0);
    if (ended == 0) {
        kill(pid, SIGKILL);
        waitpid(pid, &status, 0);
    }
    if (WIFEXITED(status))
        o.status = WEXITSTATUS(status);
    read_all(out, o.out, sizeof o.out);
    read_all(errors, o.err, sizeof o.err);
    close(out);
    close(errors);
    return o;
}

/* Its command's first word as a rule, but "python3 echo.py" is called echo.py. */
bool server_is_called(const char *name, size_t length)
{
    const char *word = getenv("ECHO_SERVER");
    for (size_t size; *word; word += size + strspn(word + size, " ")) {
        size = strcspn(word, " ");
        const char *last = word + size;
        while (last > word && last[-1] != '/')
            last--;
        if ((size_t)(word + size - last) == length && strncmp(last, name, length) == 0)
            return true;
    }
    return false;
}
