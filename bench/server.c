#ifdef __linux__
#define _GNU_SOURCE
#include <sys/prctl.h>
#endif

#include "server.h"

#include "clock.h"
#include "interrupt.h"
#include "machine.h"
#include "process.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

enum {
    START_MS = 5000,   /* for the "listening on" line */
    STOP_MS = 1500,    /* from SIGTERM to SIGKILL */
    BLOCK_MS = 40,     /* a server that uses more CPU than this with nothing to do never blocks */
    STARVED_MS = 1000, /* and one that gets none of it is not waited for any longer */
    SETTLE_US = 200,   /* for threads whose state is not looked at */
    LINE = 256,
    INHERITED = 1024, /* descriptors below this are closed in a server before it starts */
};

/* In the child: its own process group, so that a Ctrl-C meant for the comparison does not reach
 * it, and an end of its own when the comparison dies. */
static void become_server(struct server *server, int core, int output)
{
    char command[SERVER_COMMAND];
    char *arguments[SERVER_ARGUMENTS + 8];
    int count = 0;
    setpgid(0, 0);
#ifdef __linux__
    prctl(PR_SET_PDEATHSIG, SIGKILL);
#endif
    machine_pin(core);
    snprintf(command, sizeof command, "%s", server->command);
    char *rest = command;
    if (access(command, X_OK) == 0) { /* a path that itself contains spaces */
        arguments[count++] = command;
        rest = NULL;
    }
    for (char *word; rest != NULL && count < SERVER_ARGUMENTS && (word = strsep(&rest, " "));) {
        if (*word != '\0')
            arguments[count++] = word;
    }
    char backlog[16];
    snprintf(backlog, sizeof backlog, "%d", server->backlog > 0 ? server->backlog : 4096);
    char *common[] = {"--host", "127.0.0.1", "--port", "0", "--backlog", backlog};
    for (size_t i = 0; i < sizeof common / sizeof *common; i++)
        arguments[count++] = common[i];
    arguments[count] = NULL;
    dup2(output, STDOUT_FILENO);
    dup2(fileno(server->log), STDERR_FILENO);
    for (int fd = STDERR_FILENO + 1; fd < INHERITED; fd++)
        close(fd); /* whoever started us may have left some open, and select has so few */
    signal(SIGPIPE, SIG_DFL);
    execv(arguments[0], arguments);
    fprintf(stderr, "%s: %s\n", arguments[0], strerror(errno));
    _exit(127);
}

/* Reads the first line of its stdout; false on end of file, timeout or Ctrl-C. */
static bool read_line(int fd, char *line, size_t size)
{
    uint64_t limit = clock_now() + MILLISECONDS(START_MS);
    size_t length = 0;
    while (length + 1 < size && clock_now() < limit && !interrupted) {
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        if (poll(&wait, 1, 100) <= 0)
            continue;
        ssize_t n = read(fd, line + length, 1);
        if (n <= 0 || line[length] == '\n')
            break;
        length++;
    }
    line[length] = '\0';
    return strncmp(line, "listening on ", 13) == 0;
}

static int listening_port(const char *line)
{
    const char *colon = strrchr(line, ':');
    long port = colon != NULL ? strtol(colon + 1, NULL, 10) : 0;
    return port > 0 && port < 65536 ? (int)port : -1;
}

bool server_exists(const struct server *server)
{
    char path[SERVER_COMMAND];
    if (access(server->command, X_OK) == 0)
        return true;
    snprintf(path, sizeof path, "%s", server->command);
    path[strcspn(path, " ")] = '\0';
    return access(path, X_OK) == 0;
}

int server_start(struct server *server, int core, char *trouble, size_t size)
{
    int output[2];
    char line[LINE];
    server->spins = false;
    if (!server_exists(server)) {
        snprintf(trouble, size, "not built");
        return -1;
    }
    server->log = tmpfile();
    if (server->log == NULL || pipe(output) != 0) {
        snprintf(trouble, size, "did not start: %s", strerror(errno));
        return -1;
    }
    for (int i = 0; i < 2; i++)
        fcntl(output[i], F_SETFD, FD_CLOEXEC);
    fcntl(fileno(server->log), F_SETFD, FD_CLOEXEC);
    server->pid = fork();
    if (server->pid == 0)
        become_server(server, core, output[1]);
    close(output[1]);
    bool ready = server->pid > 0 && read_line(output[0], line, sizeof line);
    close(output[0]);
    server->port = ready ? listening_port(line) : -1;
    if (server->port > 0)
        return 0;
    if (server->pid > 0 && !server_ended(server, trouble, size)) {
        snprintf(trouble, size, "did not start: no \"listening on\" line");
        kill(server->pid, SIGKILL);
        while (waitpid(server->pid, NULL, 0) < 0 && errno == EINTR)
            continue;
        server->pid = 0;
    }
    return -1;
}

void server_resume(struct server *server)
{
    if (server->pid > 0 && server->spins)
        kill(server->pid, SIGCONT);
}

#ifdef __linux__
/* Patient while it uses no CPU: on a busy machine it may have work to do and not get to it. */
static bool comes_to(struct server *server, enum process_state wanted)
{
    uint64_t before = process_cpu(server->pid);
    uint64_t limit = clock_now() + MILLISECONDS(STARVED_MS);
    while (process_state(server->pid) != wanted) {
        if (process_cpu(server->pid) - before > MILLISECONDS(BLOCK_MS) || clock_now() > limit)
            return false;
        clock_sleep(20000);
    }
    return true;
}
#endif

void server_settle(struct server *server)
{
    if (server->pid <= 0)
        return;
    clock_sleep(SETTLE_US * 1000ULL);
#ifdef __linux__
    if (!server->spins && comes_to(server, PROCESS_BLOCKED))
        return;
    server->spins = true;
    kill(server->pid, SIGSTOP);
    comes_to(server, PROCESS_STOPPED);
#else
    /* Without a view of its state every server is held between its turns. */
    server->spins = true;
    kill(server->pid, SIGSTOP);
    clock_sleep(SETTLE_US * 1000ULL);
#endif
}

bool server_ended(struct server *server, char *trouble, size_t size)
{
    int status;
    if (server->pid <= 0)
        return true;
    /* a connection may break a moment before its process can be waited for */
    for (int tries = 0; waitpid(server->pid, &status, WNOHANG) != server->pid; tries++) {
        if (tries == 50)
            return false;
        clock_sleep(MILLISECONDS(1));
    }
    server->pid = 0;
    if (WIFSIGNALED(status))
        snprintf(trouble, size, "killed by signal %d (%s)", WTERMSIG(status),
                 strsignal(WTERMSIG(status)));
    else if (WEXITSTATUS(status) == 127)
        snprintf(trouble, size, "could not be run");
    else
        snprintf(trouble, size, "ended with exit code %d", WEXITSTATUS(status));
    return true;
}

void server_said(struct server *server, char *text, size_t size)
{
    text[0] = '\0';
    if (server->log == NULL)
        return;
    int fd = fileno(server->log);
    off_t length = lseek(fd, 0, SEEK_END);
    off_t from = length > (off_t)size - 1 ? length - (off_t)size + 1 : 0;
    ssize_t n = pread(fd, text, size - 1, from);
    text[n > 0 ? n : 0] = '\0';
    for (char *c = text; *c != '\0'; c++) {
        if (!isprint((unsigned char)*c))
            *c = *c == '\n' && c[1] != '\0' ? '|' : ' ';
    }
}

static int running(struct server *servers, int count)
{
    int left = 0;
    for (int i = 0; i < count; i++) {
        pid_t pid = servers[i].pid > 0 ? waitpid(servers[i].pid, NULL, WNOHANG) : 0;
        if (pid > 0 || (pid < 0 && errno == ECHILD)) /* ended; or nobody of ours at all */
            servers[i].pid = 0;
        left += servers[i].pid > 0;
    }
    return left;
}

static void signal_all(struct server *servers, int count, int signal)
{
    for (int i = 0; i < count; i++) {
        if (servers[i].pid > 0)
            kill(servers[i].pid, signal);
    }
}

void servers_stop(struct server *servers, int count)
{
    signal_all(servers, count, SIGTERM);
    signal_all(servers, count, SIGCONT);
    uint64_t limit = clock_now() + MILLISECONDS(STOP_MS);
    while (running(servers, count) > 0 && clock_now() < limit)
        clock_sleep(MILLISECONDS(2));
    signal_all(servers, count, SIGKILL);
    while (running(servers, count) > 0)
        clock_sleep(MILLISECONDS(1));
    for (int i = 0; i < count; i++) {
        if (servers[i].log != NULL)
            fclose(servers[i].log);
        servers[i].log = NULL;
    }
}
