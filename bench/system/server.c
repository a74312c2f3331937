#ifdef __linux__
#define _GNU_SOURCE
#include <sys/prctl.h>
#endif

#include "system/server.h"

#include "system/clock.h"
#include "system/interrupt.h"
#include "system/machine.h"
#include "system/process.h"

#include <ctype.h>
#include <errno.h>
#include <fcntl.h>
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

/* In the child. A process group of its own keeps a Ctrl-C meant for the comparison away from it;
 * when the comparison dies, the kernel ends it. */
static void become_server(struct server *server, int core)
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
    for (char *word; rest && count < SERVER_ARGUMENTS && (word = strsep(&rest, " "));) {
        if (*word != '\0')
            arguments[count++] = word;
    }
    char backlog[16];
    snprintf(backlog, sizeof backlog, "%d", server->backlog > 0 ? server->backlog : 4096);
    char *common[] = {"--host", "127.0.0.1", "--port", "0", "--backlog", backlog};
    for (size_t i = 0; i < sizeof common / sizeof *common; i++)
        arguments[count++] = common[i];
    arguments[count] = NULL;
    dup2(fileno(server->output), STDOUT_FILENO);
    dup2(fileno(server->log), STDERR_FILENO);
    for (int fd = STDERR_FILENO + 1; fd < INHERITED; fd++)
        close(fd); /* our parent may have left some open, and select has only 1,024 */
    signal(SIGPIPE, SIG_DFL);
    execv(arguments[0], arguments);
    fprintf(stderr, "%s: %s\n", arguments[0], strerror(errno));
    _exit(127);
}

/* Is the first line of its stdout there? */
static bool read_line(const struct server *server, char *line, size_t size)
{
    ssize_t n = pread(fileno(server->output), line, size - 1, 0);
    line[n > 0 ? n : 0] = '\0';
    char *end = strchr(line, '\n');
    if (end)
        *end = '\0';
    return end;
}

static int listening_port(const char *line)
{
    bool ready = strncmp(line, "listening on ", 13) == 0;
    const char *colon = ready ? strrchr(line, ':') : NULL;
    long port = colon ? strtol(colon + 1, NULL, 10) : 0;
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

/* Files without a name. stdout is a file, too, and not a pipe: we read its first line only, and a
 * server that writes more must not block on a full pipe or die of SIGPIPE. */
static int open_files(struct server *server)
{
    server->log = tmpfile();
    server->output = tmpfile();
    if (!server->log || !server->output)
        return -1;
    fcntl(fileno(server->log), F_SETFD, FD_CLOEXEC);
    fcntl(fileno(server->output), F_SETFD, FD_CLOEXEC);
    return 0;
}

static void close_files(struct server *server)
{
    if (server->log)
        fclose(server->log);
    if (server->output)
        fclose(server->output);
    server->log = server->output = NULL;
}

/* Has it ended by now? Then `trouble` says how. */
static bool has_ended(struct server *server, char *trouble, size_t size)
{
    int status;
    if (server->pid <= 0)
        return true;
    if (waitpid(server->pid, &status, WNOHANG) != server->pid)
        return false;
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

/* Waits for the ready line and takes the port from it. */
static int become_ready(struct server *server, char *trouble, size_t size)
{
    char line[LINE];
    uint64_t limit = clock_now() + MILLISECONDS(START_MS);
    bool whole;
    while (!(whole = read_line(server, line, sizeof line)) && clock_now() < limit && !interrupted) {
        if (has_ended(server, trouble, size))
            return -1;
        clock_sleep(MILLISECONDS(1));
    }
    server->port = whole ? listening_port(line) : -1;
    if (server->port > 0)
        return 0;
    if (server_ended(server, trouble, size))
        return -1;
    snprintf(trouble, size, "did not start: no \"listening on\" line");
    kill(server->pid, SIGKILL);
    while (waitpid(server->pid, NULL, 0) < 0 && errno == EINTR)
        continue;
    server->pid = 0;
    return -1;
}

int server_start(struct server *server, int core, char *trouble, size_t size)
{
    server->spins = false;
    if (!server_exists(server)) {
        snprintf(trouble, size, "not built");
        return -1;
    }
    if (open_files(server) != 0) {
        snprintf(trouble, size, "did not start: %s", strerror(errno));
        return -1;
    }
    server->pid = fork();
    if (server->pid == 0)
        become_server(server, core);
    if (server->pid < 0) {
        snprintf(trouble, size, "did not start: %s", strerror(errno));
        server->pid = 0;
        return -1;
    }
    return become_ready(server, trouble, size);
}

void server_resume(struct server *server)
{
    if (server->pid > 0 && server->spins)
        kill(server->pid, SIGCONT);
}

#ifdef __linux__
/* Waits while the server uses no CPU: on a busy machine it may have work and get no core for it. */
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
    /* a connection may break a moment before its process can be waited for */
    for (int tries = 0; tries < 50; tries++) {
        if (has_ended(server, trouble, size))
            return true;
        clock_sleep(MILLISECONDS(1));
    }
    return false;
}

void server_stderr_tail(struct server *server, char *text, size_t size)
{
    text[0] = '\0';
    if (!server->log)
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
        if (pid > 0 || (pid < 0 && errno == ECHILD)) /* it has ended, or is no child of ours */
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
        close_files(&servers[i]);
    }
}
