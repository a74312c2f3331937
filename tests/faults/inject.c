/* Starting the server under a fault: with strace (system calls that fail) or with preload.c (calls
 * that do less than they were asked to). */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/prctl.h>
#include <sys/socket.h>
#include <unistd.h>

#include "calls.h"
#include "fault.h"
#include "preload.h"

enum { TEXT = 1024, START_MS = 8000 };

const char *server_command, *work_directory, *preload_library;

static char log_name[TEXT]; /* strace's */
static struct preload_hits *hits;

bool has_trait(const char *trait)
{
    if (strcmp(trait, "edge") == 0)
        return strstr(server_command, "--edge-triggered") || strstr(server_command, "--clear");
    return server_has(trait);
}

long injected(void)
{
    char line[TEXT];
    long count = 0;
    if (hits)
        return hits->count;
    FILE *log = fopen(log_name, "r");
    while (log && fgets(line, sizeof line, log))
        count += strstr(line, "INJECTED)") != NULL;
    if (log)
        fclose(log);
    return count;
}

void wrap_server(const char *words)
{
    char command[3 * TEXT];
    snprintf(command, sizeof command, "%s %s", words, server_command);
    setenv("ECHO_SERVER", command, 1);
}

/* A debugged process whose parent must not be its debugger: the server stays our child. */
static void wrap_in_strace(const char *calls, const char *inject)
{
    char words[2 * TEXT];
    snprintf(log_name, sizeof log_name, "%s/strace.%d", work_directory, (int)getpid());
    unlink(log_name);
    char number[16] = "";
    const char *mark = strstr(inject, "%d");
    if (mark) /* the second one after the start */
        snprintf(number, sizeof number, "%d", calls_at_start(calls) + 2);
    /* The filter saves most of the cost, but with it signals are not injected. */
    const char *filter = strstr(inject, "signal=") ? "" : " --seccomp-bpf";
    snprintf(words, sizeof words, "%s -D -f%s -qq -o %s -e trace=%s -e inject=%s:%.*s%s%s",
             strace_path, filter, log_name, calls, calls,
             mark ? (int)(mark - inject) : (int)strlen(inject), inject, number,
             mark ? mark + 2 : "");
    wrap_server(words);
}

static void share_hits(void)
{
    char path[TEXT];
    snprintf(path, sizeof path, "%s/hits.%d", work_directory, (int)getpid());
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    must(fd >= 0 && ftruncate(fd, sizeof *hits) == 0, "cannot write %s", path);
    hits = mmap(NULL, sizeof *hits, PROT_READ | PROT_WRITE, MAP_SHARED, fd, 0);
    must(hits != MAP_FAILED, "mmap: %s", strerror(errno));
    close(fd);
    setenv("FAULT_HITS", path, 1);
}

static void preload(const char *settings)
{
    char text[TEXT];
    if (!preload_library)
        skip("no library to preload");
    if (strstr(settings, "MALLOC") && server_has("sanitized"))
        skip("a sanitizer has a malloc() of its own");
    snprintf(text, sizeof text, "%s", settings);
    for (char *each = strtok(text, " "); each; each = strtok(NULL, " ")) {
        char *value = each + strcspn(each, "=");
        must(*value == '=', "a setting without a value: %s", each);
        *value = '\0';
        setenv(each, value + 1, 1);
    }
    if (!hits)
        share_hits();
    hits->count = 0;
    hits->refuses = 0;
    hits->loses = 0;
    hits->full = 0;
    hits->holds = HOLD_NONE;
    hits->watch = 0;
    setenv("LD_PRELOAD", preload_library, 1);
}

/* The server only: whatever else this test runs must not have it preloaded. */
static void prepare(const struct fault *fault, const char *inject)
{
    if (fault->preload)
        preload(inject);
    else if (fault->calls)
        wrap_in_strace(fault->calls, inject);
}

static void unprepare(void)
{
    unsetenv("LD_PRELOAD");
}

void start_under_with(const struct fault *fault, struct start options)
{
    prepare(fault, fault->preload ? fault->preload : fault->inject);
    server_start_with(options);
    unprepare();
}

void start_under(const struct fault *fault)
{
    start_under_with(fault, (struct start){0});
}

static struct preload_hits *preloaded(void)
{
    must(hits, "nothing is preloaded");
    return hits;
}

void refuse_from_now_on(int error)
{
    preloaded()->refuses = error;
}

void lose_next_client(int error)
{
    preloaded()->loses = error;
}

void leave_no_room(bool full)
{
    preloaded()->full = full;
}

void hold_next_close(void)
{
    preloaded()->holds = HOLD_NEXT;
}

void let_close_return(void)
{
    preloaded()->holds = HOLD_NONE;
}

long watches_refused(void)
{
    return hits ? hits->watch : 0;
}

/* ---- a start that may fail, or is not the usual one ---- */

static _Noreturn void become_server(const char *options, const int standard[3])
{
    char text[2 * TEXT], *words[32];
    int n = 0;
    snprintf(text, sizeof text, "%s %s", getenv("ECHO_SERVER"), options);
    for (char *word = strtok(text, " "); word && n < 31; word = strtok(NULL, " "))
        words[n++] = word;
    words[n] = NULL;
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    signal(SIGPIPE, SIG_DFL);
    for (int fd = 0; fd <= STDERR_FILENO; fd++)
        if (standard[fd] < 0)
            close(fd);
        else
            dup2(standard[fd], fd);
    for (int fd = 3; fd < 1024; fd++)
        close(fd);
    execv(words[0], words);
    _exit(127);
}

static int errors_file(void)
{
    char path[TEXT];
    snprintf(path, sizeof path, "%s/errors.%d", work_directory, (int)getpid());
    int fd = open(path, O_RDWR | O_CREAT | O_TRUNC | O_CLOEXEC, 0600);
    must(fd >= 0, "cannot write %s", path);
    return fd;
}

/* False at the end of the file. */
static bool read_line(int fd, char *line, size_t size)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    size_t length = 0;
    ssize_t n = 1;
    while (n > 0 && length < size - 1 && (length == 0 || line[length - 1] != '\n')) {
        must(poll(&p, 1, patient(START_MS)) > 0, "it neither gets ready nor ends");
        n = read(fd, line + length, 1);
        length += n > 0;
    }
    line[length - (n > 0)] = '\0';
    return length > 0;
}

bool server_gets_ready(void)
{
    char line[128];
    if (!read_line(server.out, line, sizeof line))
        return false;
    const char *ready = "listening on 127.0.0.1:";
    must(strncmp(line, ready, strlen(ready)) == 0, "its ready line is '%s'", line);
    server.port = atoi(line + strlen(ready));
    return true;
}

void launch_server(const char *options, const int standard[3])
{
    if (server.errors >= 0)
        close(server.errors);
    server = (struct server){.out = -1, .errors = standard[STDERR_FILENO], .family = AF_INET};
    server.pid = fork();
    if (server.pid == 0)
        become_server(options, standard);
}

bool start_might_fail(const struct fault *fault, const char *inject)
{
    int out[2];
    prepare(fault, inject);
    must(pipe2(out, O_CLOEXEC) == 0, "pipe: %s", strerror(errno));
    launch_server("--port 0", (int[]){STDIN_FILENO, out[1], errors_file()});
    server.out = out[0];
    close(out[1]);
    unprepare();
    return server_gets_ready();
}
