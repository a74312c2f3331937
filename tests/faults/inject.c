/* Starting the server under a fault: with strace (system calls that fail) or with preload.c (calls
 * that do less than they were asked to). */
#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

#include "calls.h"
#include "fault.h"
#include "preload.h"

enum { TEXT = 1024 };

const char *server_command, *work_directory, *preload_library;

static char log_name[TEXT]; /* strace's */
static struct preload_hits *hits;

long injected(void)
{
    char line[TEXT];
    long count = 0;
    if (hits)
        return hits->count;
    FILE *log = fopen(log_name, "r");
    while (log && fgets(line, sizeof line, log))
        if (strstr(line, "INJECTED)"))
            count++;
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

/* With -D the server stays our child, and strace runs beside it. */
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
    hits->accept_error = 0;
    hits->loss_error = 0;
    hits->full = 0;
    hits->holds = HOLD_NONE;
    hits->watches_refused = 0;
    setenv("LD_PRELOAD", preload_library, 1);
}

/* Only the server gets the library: nothing else that this test runs may have it preloaded. */
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

bool start_might_fail(const struct fault *fault, const char *inject)
{
    prepare(fault, inject);
    server_launch((struct start){0});
    unprepare();
    return server_gets_ready();
}

static struct preload_hits *preloaded(void)
{
    must(hits, "nothing is preloaded");
    return hits;
}

void set_accept_error(int error)
{
    preloaded()->accept_error = error;
}

void lose_next_client(int error)
{
    preloaded()->loss_error = error;
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
    return hits ? hits->watches_refused : 0;
}
