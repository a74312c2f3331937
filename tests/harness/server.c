#define _GNU_SOURCE /* F_SETSIG */
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <sys/wait.h>
#include <unistd.h>

#include "harness.h"

enum { WORDS_MAX = 64, START_MS = 8000, STOP_MS = 1500, RUN_MS = 5000 };

struct server server;

static struct rlimit descriptor_limit;
static const char *host; /* the address to listen on */

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

static void kill_leftover(void)
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
    if (patient(1) == 1 && server_has("sanitized"))
        setenv("ECHO_SLOW", "4", 1);
    server = (struct server){.out = -1, .errors = -1};
    atexit(kill_leftover); /* Criterion skips .fini when a test skips itself */
    signal(SIGPIPE, SIG_IGN);
    getrlimit(RLIMIT_NOFILE, &descriptor_limit);
    struct rlimit raised = descriptor_limit;
    raised.rlim_cur = raised.rlim_max < 8192 ? raised.rlim_max : 8192;
    if (raised.rlim_cur > descriptor_limit.rlim_cur && setrlimit(RLIMIT_NOFILE, &raised) == 0)
        descriptor_limit = raised;
    must(getenv("ECHO_SERVER"), "set ECHO_SERVER to the command of the server under test");
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

/* Starts the server's command, with further words up to a NULL. */
static pid_t launch(const char *const *further, const int standard[3], unsigned descriptors)
{
    char text[1024], *words[WORDS_MAX];
    int length = snprintf(text, sizeof text, "%s", getenv("ECHO_SERVER"));
    must(length < (int)sizeof text, "ECHO_SERVER has more than %zu bytes", sizeof text - 1);
    int n = split_words(text, words, WORDS_MAX / 2);
    must(n > 0, "ECHO_SERVER is empty");
    while (*further && n < WORDS_MAX - 1)
        words[n++] = (char *)(uintptr_t)*further++;
    words[n] = NULL;
    return start_process(words, standard, descriptors);
}

void server_launch(struct start s)
{
    char port[16];
    int out[2];
    host = s.host ? s.host : "127.0.0.1";
    const char *further[] = {"--host", host, "--port", port, s.extra, s.argument, NULL};

    snprintf(port, sizeof port, "%d", s.port);
    must(pipe(out) == 0, "pipe: %s", strerror(errno));
    fcntl(out[0], F_SETFD, FD_CLOEXEC);
    if (server.out >= 0)
        close(server.out);
    if (server.errors >= 0)
        close(server.errors);
    server = (struct server){.port = s.port, .family = AF_INET, .out = out[0]};
    server.errors = s.standard[STDERR_FILENO] ? s.standard[STDERR_FILENO] : nameless_file();
    int standard[] = {DEV_NULL, out[1], server.errors};
    for (int fd = 0; fd <= STDERR_FILENO; fd++)
        if (s.standard[fd])
            standard[fd] = s.standard[fd];
    server.pid = launch(further, standard, s.descriptors);
    close(out[1]);
}

bool server_gets_ready(void)
{
    char line[256];
    int whole = read_line(server.out, line, sizeof line, patient(START_MS));
    if (whole == 0 && !*line)
        return false;
    must(whole >= 0, "command line: it neither gets ready nor ends, and says '%s'", line);
    server.port = ready_port(line, host);
    bool v6 = strchr(host, ':');
    must(server.port > 0, "command line: the ready line is '%s', not 'listening on %s%s%s:PORT'",
         line, v6 ? "[" : "", host, v6 ? "]" : "");
    server.family = strchr(line, '[') ? AF_INET6 : AF_INET;
    return true;
}

void server_start_with(struct start s)
{
    server_launch(s);
    must(server_gets_ready(), "command line: it ends without a ready line");
}

void server_start(void)
{
    server_start_with((struct start){0});
}

/* The server has no handler for them. Only clause 7's tests ask for one. */
static bool ended_by_stop_signal(void)
{
    int signal = WIFSIGNALED(server.status) ? WTERMSIG(server.status) : 0;
    return signal == SIGTERM || signal == SIGINT;
}

bool server_running(void)
{
    if (server.pid > 0 && waitpid(server.pid, &server.status, WNOHANG) == server.pid) {
        server.pid = 0;
        if (server.status != 0 && !ended_by_stop_signal())
            show_errors();
    }
    return server.pid > 0;
}

void server_signal(int signal)
{
    if (server_running())
        kill(server.pid, signal);
}

/* Notices that the server has stopped. It must not have ended. */
static bool has_stopped(int wait_options)
{
    int status;
    bool changed = waitpid(server.pid, &status, WUNTRACED | wait_options) == server.pid;
    if (changed && !WIFSTOPPED(status))
        server.pid = 0;
    must(server.pid > 0, "the server has ended instead of stopping");
    return changed;
}

void server_pause(void)
{
    server_signal(SIGSTOP);
    must(server.pid > 0, "the server has ended");
    has_stopped(0);
}

void server_resume(void)
{
    kill(server.pid, SIGCONT);
}

/* F_SETSIG: the kernel sends this signal to the server when something arrives for the client. */
static void stop_at_arrival(const struct client *client, bool on)
{
#ifdef F_SETSIG
    int flags = fcntl(client->fd, F_GETFL);
    fcntl(client->fd, F_SETOWN, (int)server.pid);
    fcntl(client->fd, F_SETSIG, SIGSTOP);
    fcntl(client->fd, F_SETFL, on ? flags | O_ASYNC : flags & ~O_ASYNC);
#else
    (void)client, (void)on;
#endif
}

/* The first that has nothing to read, or count. */
static int first_silent(const struct client *clients, int count)
{
    int i = 0;
    while (i < count && client_ready(&clients[i], POLLIN, 0))
        i++;
    return i;
}

void server_resume_until_heard(const struct client *clients, int count)
{
    int silent;
    bool paused = true;
    int64_t end = now_ms() + patient(STUCK_MS);
    while ((silent = first_silent(clients, count)) < count) {
        must(now_ms() < end, "clause 1: no byte of an echo came");
        for (int i = 0; paused && i < count; i++)
            stop_at_arrival(&clients[i], !client_ready(&clients[i], POLLIN, 0));
        if (paused)
            server_resume();
        client_ready(&clients[silent], POLLIN, 1);
        paused = has_stopped(WNOHANG);
    }
    for (int i = 0; i < count; i++)
        stop_at_arrival(&clients[i], false);
    if (!paused)
        server_pause();
}

bool server_ended_within(int ms)
{
    AWAIT(ms, !server_running());
    return !server_running();
}

/* The time in which it waits for a CPU on a busy machine does not count. Neither does the time in
 * which the machine itself stood still, as a virtual one may: our naps take long then, too. */
void server_must_end_well(const char *clause, int ms)
{
    enum { STALL_MS = 50 };
    int64_t last = now_ms(), end = last + patient(ms), queued = server_queued_ms();
    while (server_running() && now_ms() < end + server_queued_ms() - queued) {
        nap(1);
        int64_t took = now_ms() - last;
        end += took > STALL_MS ? took : 0;
        last += took;
    }
    must(!server_running(), "%s: still running after %d ms", clause, patient(ms));
    must(!WIFSIGNALED(server.status), "%s: killed by signal %d", clause, WTERMSIG(server.status));
    must(WEXITSTATUS(server.status) == 0, "%s: exit status %d", clause, WEXITSTATUS(server.status));
}

const char *server_end(void)
{
    static char said[100];
    AWAIT(100, !server_running()); /* its sockets are closed a moment before it has ended */
    if (server.pid > 0 || server.status == 0 || ended_by_stop_signal())
        return "";
    if (WIFSIGNALED(server.status))
        snprintf(said, sizeof said, ": the server was killed by signal %d (%s)",
                 WTERMSIG(server.status), strsignal(WTERMSIG(server.status)));
    else
        snprintf(said, sizeof said, ": the server ended with status %d",
                 WEXITSTATUS(server.status));
    return said;
}

static void must_not_have_ended(void)
{
    must(server_running(), "clause 4: the server has ended by itself%s", server_end());
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
    pid_t pid = launch(arguments, (int[]){DEV_NULL, out, errors}, 0), ended = 0;

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

/* Usually the name is the command's first word, but "python3 echo.py" is called echo.py. */
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
