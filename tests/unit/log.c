/* common/log.h: writing a line never blocks, and the log counts the lines that it leaves out. Each
 * test has its own process, and so its own log. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#include "log.h"

enum { TEXT = 512 * 1024 };

static char text[TEXT];

/* ---- what stderr is, and what was said ---- */

static int stderr_file; /* for said() */

static void say_to_file(void)
{
    stderr_file = fileno(tmpfile());
    dup2(stderr_file, STDERR_FILENO);
}

static const char *said(void)
{
    ssize_t n = pread(stderr_file, text, sizeof text - 1, 0);
    text[n > 0 ? n : 0] = '\0';
    return text;
}

static int count(const char *word)
{
    int times = 0;
    for (const char *t = said(); (t = strstr(t, word)); t++)
        times++;
    return times;
}

enum { PATIENCE_S = 5 }; /* SIGALRM then ends a process that would sleep in write() forever */

/* stderr becomes a full pipe, in blocking mode. Returns the end to read from. */
static int say_to_full_pipe(void)
{
    static const char block[512];
    int ends[2];
    alarm(PATIENCE_S);
    cr_assert_eq(pipe(ends), 0);
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    fcntl(ends[1], F_SETFL, O_NONBLOCK);
    for (size_t size = sizeof block; size > 0;)
        if (write(ends[1], block, size) < 0)
            size /= 2;
    fcntl(ends[1], F_SETFL, 0);
    dup2(ends[1], STDERR_FILENO);
    close(ends[1]);
    return ends[0];
}

static const char *drain(int pipe)
{
    size_t length = 0;
    for (ssize_t n; (n = read(pipe, text + length, sizeof text - 1 - length)) > 0;)
        length += (size_t)n;
    text[length] = '\0';
    return text;
}

/* ---- lines ---- */

Test(log, a_line_has_the_name_and_the_reason, .timeout = 10)
{
    say_to_file();
    log_name = "05-epoll";
    log_warning("client %d turned away", 7);
    errno = EACCES;
    log_error("accept");
    log_event("client %s", "eight");
    cr_expect_str_eq(said(), "05-epoll: client 7 turned away\n"
                             "05-epoll: accept: Permission denied\n"
                             "05-epoll: client eight\n");
}

/* The reason, which stands at the end, matters most. */
Test(log, a_long_line_is_cut_and_keeps_its_end, .timeout = 10)
{
    char name[1000], long_one[5000];
    memset(name, 'n', sizeof name - 1);
    memset(long_one, 'x', sizeof long_one - 1);
    name[sizeof name - 1] = long_one[sizeof long_one - 1] = '\0';
    say_to_file();
    log_name = name;
    errno = EACCES;
    log_error("%s", long_one);
    const char *end = ": Permission denied\n", *line = said();
    size_t length = strlen(line);
    cr_assert_gt(length, 256);
    cr_expect_leq(length, 512, "%zu bytes: POSIX lets a pipe split more than 512", length);
    cr_expect_str_eq(line + length - strlen(end), end);
    cr_expect_eq(strchr(line, '\n'), line + length - 1, "more than one line");
}

static int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

static void say_here(void)
{
    log_warning("here");
}

Test(log, one_a_second_from_one_place, .timeout = 10)
{
    say_to_file();
    for (int i = 0; i < 100; i++)
        say_here();
    log_warning("there");
    errno = EACCES;
    log_error("and there");
    cr_expect_eq(count("here\n"), 2, "one line from each place: '%s'", said());
    cr_expect_eq(count("and there: "), 1);
}

/* The first call after the second has passed writes both. */
Test(log, the_next_second_has_a_line_and_the_count, .timeout = 10)
{
    long calls = 0;
    int64_t left_out = 0, call = 0;
    char expected[128];
    say_to_file();
    int64_t before = now_ms();
    say_here();
    int64_t after = now_ms();
    for (; count("here\n") < 2 && now_ms() < before + 5000; calls++) {
        left_out = call;
        call = now_ms();
        say_here();
    }
    cr_expect_geq(now_ms(), before + 1000, "after %d ms", (int)(now_ms() - before));
    cr_expect_lt(left_out, after + 1000, "not after %d ms", (int)(left_out - after));
    snprintf(expected, sizeof expected, "server: here\nserver: %ld lines left out\nserver: here\n",
             calls - 1);
    cr_expect_str_eq(said(), expected);
}

Test(log, events_are_not_limited, .timeout = 10)
{
    say_to_file();
    for (int i = 0; i < 1000; i++)
        log_event("event %d", i);
    cr_expect_eq(count("event "), 1000);
    cr_expect_eq(count("left out"), 0);
}

/* ---- a pipe that is full ---- */

Test(log, a_full_pipe_does_not_block, .timeout = 10)
{
    int pipe = say_to_full_pipe();
    for (int i = 0; i < 1000; i++) {
        log_event("event");
        log_warning("warning");
        log_error("error");
    }
    cr_expect_eq(strlen(drain(pipe)), 0, "a line got into the full pipe");
}

Test(log, what_was_left_out_is_counted_and_told_once, .timeout = 10)
{
    int pipe = say_to_full_pipe();
    for (int i = 0; i < 7; i++)
        log_event("event");
    drain(pipe);
    log_event("first");
    cr_expect_str_eq(drain(pipe), "server: 7 lines left out\nserver: first\n");
    log_event("second");
    cr_expect_str_eq(drain(pipe), "server: second\n");
}

/* A warning that the pipe did not take does not use up this second. */
Test(log, what_was_not_written_does_not_count_as_said, .timeout = 10)
{
    int pipe = say_to_full_pipe();
    say_here();
    drain(pipe);
    say_here();
    cr_expect_str_eq(drain(pipe), "server: 1 lines left out\nserver: here\n");
}

static void *say_many(void *argument)
{
    for (int i = 0; i < 2000; i++)
        log_event("thread %d, line %d.", (int)(intptr_t)argument, i);
    return NULL;
}

static void say_in_threads(void)
{
    pthread_t threads[8];
    for (int i = 0; i < 8; i++)
        cr_assert_eq(pthread_create(&threads[i], NULL, say_many, (void *)(intptr_t)i), 0);
    for (int i = 0; i < 8; i++)
        pthread_join(threads[i], NULL);
}

Test(log, threads_do_not_lose_count, .timeout = 20)
{
    int pipe = say_to_full_pipe();
    say_in_threads();
    drain(pipe);
    log_event("after");
    cr_expect_str_eq(drain(pipe), "server: 16000 lines left out\nserver: after\n");
}

Test(log, lines_of_threads_stay_whole, .timeout = 20)
{
    int lines = 0, next[8] = {0};
    say_to_file();
    say_in_threads();
    for (const char *t = said(); *t; t = strchr(t, '\n') + 1, lines++) {
        int thread = -1, line = -1;
        char end = 0;
        sscanf(t, "server: thread %d, line %d%c", &thread, &line, &end);
        cr_assert(thread >= 0 && thread < 8 && end == '.', "'%.40s'", t);
        cr_assert_eq(line, next[thread]++, "thread %d: line %d", thread, line);
    }
    cr_expect_eq(lines, 16000);
}

/* ---- the caller keeps its errno, whatever stderr is ---- */

static bool keeps_errno(void)
{
    bool kept = true;
    for (int error = 0; error < 100; error++) {
        errno = error;
        log_event("event");
        kept = kept && errno == error;
        log_warning("warning");
        kept = kept && errno == error;
        log_error("error");
        kept = kept && errno == error;
    }
    return kept;
}

Test(log, errno_is_kept, .timeout = 10)
{
    say_to_file();
    cr_expect(keeps_errno(), "a file");
    int pipe = say_to_full_pipe();
    cr_expect(keeps_errno(), "a full pipe");
    signal(SIGPIPE, SIG_IGN); /* as net_listen() does */
    close(pipe);
    cr_expect(keeps_errno(), "a pipe without a reader");
    close(STDERR_FILENO);
    cr_expect(keeps_errno(), "closed");
}

/* ---- the end of the process ---- */

/* A child logs so many lines, which are left out. The parent empties the pipe, and the child ends
 * with end(). Returns its exit status; text holds what it said. */
static int said_at_the_end(int lines, void (*end)(void))
{
    int pipe_end = say_to_full_pipe(), ready[2], go[2], status = -1;
    char byte;
    cr_assert_eq(pipe(ready), 0);
    cr_assert_eq(pipe(go), 0);
    pid_t child = fork();
    if (child == 0) {
        alarm(PATIENCE_S);
        log_open();
        for (int i = 0; i < lines; i++)
            log_event("event");
        close(go[1]);
        (void)!write(ready[1], "", 1);
        (void)!read(go[0], &byte, 1); /* until the parent closes it */
        end();
    }
    cr_assert_eq(read(ready[0], &byte, 1), 1);
    drain(pipe_end);
    close(go[1]);
    waitpid(child, &status, 0);
    drain(pipe_end);
    char *others = strstr(text, "=="); /* a sanitizer's report may follow */
    if (others)
        *others = '\0';
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void end_well(void)
{
    exit(0);
}

static void end_badly(void)
{
    errno = EACCES;
    log_fatal("epoll_wait");
}

Test(log, the_end_tells_what_was_left_out, .timeout = 10)
{
    cr_expect_eq(said_at_the_end(5, end_well), 0);
    cr_expect_str_eq(text, "server: 5 lines left out\n");
}

Test(log, the_end_says_nothing_if_nothing_was, .timeout = 10)
{
    cr_expect_eq(said_at_the_end(0, end_well), 0);
    cr_expect_str_eq(text, "");
}

Test(log, fatal_is_the_last_line, .timeout = 10)
{
    cr_expect_eq(said_at_the_end(3, end_badly), 1);
    cr_expect_str_eq(text, "server: 3 lines left out\nserver: epoll_wait: Permission denied\n");
}
