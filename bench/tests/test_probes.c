/* The probes, with programs of ours in the place of the real ones. */
#ifdef __linux__
#define _GNU_SOURCE
#endif

#include "compare/scenarios.h"
#include "load/pattern.h"
#include "output/progress.h"
#include "probes/probe.h"
#include "system/interrupt.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

static char directory[64]; /* the build, and the results */
static struct machine machine = {-1, -1, 20000};
static struct provenance provenance;
static struct server servers[4];
static struct probe probe = {
    .machine = &machine,
    .servers = servers,
    .quick = true,
    .build = directory,
    .destination = {.directory = directory, .provenance = &provenance},
};

static void begin(void)
{
    snprintf(directory, sizeof directory, "/tmp/bench-probes-XXXXXX");
    cr_assert_not_null(mkdtemp(directory));
    cr_assert_not_null(getenv("FAKE"), "FAKE names the fake server; meson test sets it");
    signal(SIGPIPE, SIG_IGN);
    pattern_init();
}

static void end(void)
{
    char command[PATH_MAX];
    snprintf(command, sizeof command, "rm -rf '%s'", directory);
    cr_assert_eq(system(command), 0);
}

/* Puts a line of shell in the place of a program. */
__attribute__((format(printf, 2, 3))) static void make_program(const char *name, const char *format,
                                                               ...)
{
    char path[PATH_MAX];
    va_list arguments;
    snprintf(path, sizeof path, "%s/%s", directory, name);
    for (char *slash = strchr(path + 1, '/'); slash; slash = strchr(slash + 1, '/')) {
        *slash = '\0';
        mkdir(path, 0777);
        *slash = '/';
    }
    FILE *file = fopen(path, "w");
    cr_assert_not_null(file, "%s", path);
    fputs("#!/bin/sh\n", file);
    va_start(arguments, format);
    vfprintf(file, format, arguments);
    va_end(arguments);
    fclose(file);
    chmod(path, 0755);
}

/* The whole file that a probe has written. */
static const char *result(const char *name)
{
    static char text[65536];
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s.csv", directory, name);
    FILE *file = fopen(path, "r");
    cr_assert_not_null(file, "no %s", path);
    text[fread(text, 1, sizeof text - 1, file)] = '\0';
    fclose(file);
    return text;
}

/* Half of the test is that the run ends at all. */
static void expect_scale_to_note(const char *mode, const char *note)
{
    begin();
    make_program("07-reactor/07-reactor-threads", "exec '%s' %s\n", getenv("FAKE"), mode);
    cr_assert_eq(probe_scale(&probe), 0);
    const char *text = result("scale");
    cr_assert_not_null(strstr(text, note), "%s", text);
    cr_assert_null(strstr(text, "\n07-reactor,"), "a row of dashes: %s", text);
    end();
}

Test(scale, a_server_that_dies_is_noted_with_its_last_words)
{
    expect_scale_to_note("crash", "# note: 07-reactor-threads --threads 1: killed by signal 6");
    expect_scale_to_note("crash", "a last word");
}

Test(scale, a_wrong_server_is_noted)
{
    expect_scale_to_note("swap", "# note: 07-reactor-threads --threads 1: wrong echo");
}

Test(scale, a_server_that_does_not_start_is_noted)
{
    expect_scale_to_note(
        "fail", "# note: 07-reactor-threads --threads 1: ended with exit code 1; on stderr");
}

Test(scale, the_last_count_of_threads_is_that_of_the_cores)
{
    static const char *const expected[] = {"1",       "1 2",     "1 2 3",   "1 2 4",    "1 2 4 5",
                                           "1 2 4 6", "1 2 4 7", "1 2 4 8", "1 2 4 8 9"};
    for (int cores = 1; cores <= 9; cores++) {
        char seen[64] = "1";
        for (int threads = 1; (threads = scale_next(threads, cores)) > 0;)
            snprintf(seen + strlen(seen), sizeof seen - strlen(seen), " %d", threads);
        cr_assert_str_eq(seen, expected[cores - 1]);
    }
}

/* The calls themselves take half as long as the others; of libev and libevent there is nothing. */
Test(loop, the_reactor_is_shown_on_each_of_its_backends)
{
#ifdef __linux__
    static const char *const expected[] = {"\ndescriptors,loop,backend,seconds,against_raw_epoll,",
                                           "\n10,raw,epoll,1.000,1.00,",
                                           "\n10,reactor,epoll,2.000,2.00,",
                                           "\n10,reactor,kqueue (on epoll),2.000,2.00,1.00,,,\n",
                                           "\n10,raw,poll,2.000,2.00,1.00,0.61,1.49,1.00\n",
                                           "\n9900,reactor,select,"};
    static const char none[] = "raw,kqueue";
    static const char raw[] = "kqueue";
#else
    static const char *const expected[] = {
        "\ndescriptors,loop,backend,seconds,against_raw_kqueue,", "\n10,raw,kqueue,1.000,1.00,",
        "\n10,reactor,kqueue,2.000,2.00,1.00,,,\n",
        "\n10,raw,poll,2.000,2.00,1.00,0.61,1.49,1.00\n", "\n9900,reactor,select,"};
    static const char none[] = "raw,epoll";
    static const char raw[] = "epoll";
#endif
    begin();
    make_program("bench/probes/loop/loop-raw", "[ $2 != %s ] && echo 0.2 0.1\n", raw);
    make_program("bench/probes/loop/loop-reactor", "echo 0.4 0.2\n");
    cr_assert_eq(probe_loop(&probe), 0);
    const char *text = result("loop");
    for (size_t i = 0; i < sizeof expected / sizeof *expected; i++)
        cr_assert_not_null(strstr(text, expected[i]), "%s\n%s", expected[i], text);
    cr_assert_null(strstr(text, none), "%s", text);
    end();
}

/* What stderr shows on a terminal. */
static const char *on_terminal(void (*show)(void))
{
    static char text[1024];
    int terminal = posix_openpt(O_RDWR | O_NOCTTY);
    int before = dup(STDERR_FILENO);
    if (terminal < 0 || grantpt(terminal) != 0 || unlockpt(terminal) != 0)
        cr_skip_test("no terminal: %s", strerror(errno));
    const char *name = ptsname(terminal);
    int mine = name ? open(name, O_RDWR | O_NOCTTY) : -1;
    if (mine < 0) /* /dev/pts may be missing */
        cr_skip_test("no terminal: %s", strerror(errno));
    dup2(mine, STDERR_FILENO);
    show();
    fputc('#', stderr); /* a terminal hands its output over piece by piece; this marks the end */
    dup2(before, STDERR_FILENO);
    size_t length = 0;
    while (length == 0 || text[length - 1] != '#') {
        ssize_t n = read(terminal, text + length, sizeof text - 1 - length);
        cr_assert_gt(n, 0);
        length += (size_t)n;
    }
    text[length - 1] = '\0';
    close(mine);
    close(terminal);
    close(before);
    return text;
}

static void show_first(void)
{
    progress_expect(100.2, 50);
    progress_say("first: %d", 1);
}

static void show_overdue(void)
{
    progress_expect(0, 50);
    progress_say("second");
}

static void show_skipped(void)
{
    progress_say("skipped\n");
}

Test(progress, tells_the_time_of_this_probe_and_of_those_to_come)
{
    cr_assert_not_null(strstr(on_terminal(show_first), "first: 1, about 150 s left"));
    cr_assert_not_null(strstr(on_terminal(show_overdue), "second, about 50 s left"));
    cr_assert_null(strstr(on_terminal(show_skipped), "left"));
}

Test(progress, every_probe_is_counted_in)
{
    static struct server some[8];
    probe.servers = some;
    for (int i = 0; i < scenario_count; i++) {
        if (!scenarios[i].probe)
            continue;
        struct list named = {1, {i}};
        probe.server_count = 8;
        some[0].reference = true;
        probe.quick = false;
        double full = scenarios_seconds(&named, &probe, 0);
        cr_assert_gt(full, 1, "%s: %g", scenarios[i].name, full);
        cr_assert_eq(scenarios_seconds(&named, &probe, i), full);
        cr_assert_eq(scenarios_seconds(&named, &probe, i + 1), 0);
        probe.quick = true;
        cr_assert_leq(scenarios_seconds(&named, &probe, 0), full, "%s", scenarios[i].name);
    }
    probe.quick = false;
    cr_assert_eq(scenarios_seconds(&(struct list){0}, &probe, 0), 0,
                 "none of those that run by default has a probe");
}

/* test_options.c tests that --server marks a server so. */
Test(backlog, a_server_that_was_added_takes_part)
{
    begin();
    snprintf(servers[0].name, sizeof servers[0].name, "04-poll");
    snprintf(servers[1].name, sizeof servers[1].name, "mine");
    servers[1].extra = true;
    for (int i = 0; i < 2; i++)
        snprintf(servers[i].command, sizeof servers[i].command, "%s echo", getenv("FAKE"));
    probe.server_count = 2;
    cr_assert_eq(probe_backlog(&probe), 0);
    const char *text = result("backlog");
    cr_assert_not_null(strstr(text, "\nmine,10,free,"), "%s", text);
    cr_assert_null(strstr(text, "\n04-poll,"), "the command line does not name it: %s", text);
    end();
}
