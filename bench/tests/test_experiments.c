/* The scenarios with tables of their own, with programs of ours in the place of the real ones. */
#include "experiment.h"
#include "interrupt.h"
#include "pattern.h"

#include <criterion/criterion.h>
#include <limits.h>
#include <signal.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

volatile sig_atomic_t interrupted;

static char directory[64]; /* the build, and the results */
static struct options options = {.out = directory, .quick = true};
static struct machine machine = {-1, -1, 20000};
static struct provenance provenance;
static struct server servers[4];
static struct experiment facts = {
    .options = &options,
    .machine = &machine,
    .provenance = &provenance,
    .servers = servers,
    .build = directory,
};

static void begin(void)
{
    snprintf(directory, sizeof directory, "/tmp/bench-experiments-XXXXXX");
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

/* A program of the build that is a line of shell. */
__attribute__((format(printf, 2, 3))) static void make_program(const char *name, const char *format,
                                                               ...)
{
    char path[PATH_MAX];
    va_list arguments;
    snprintf(path, sizeof path, "%s/%s", directory, name);
    for (char *slash = strchr(path + 1, '/'); slash != NULL; slash = strchr(slash + 1, '/')) {
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

/* The whole file that an experiment has written. */
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

/* That the run ends at all is half of the test. */
static void expect_scale_to_note(const char *mode, const char *note)
{
    begin();
    make_program("07-reactor/07-reactor", "exec '%s' %s\n", getenv("FAKE"), mode);
    cr_assert_eq(experiment_scale(&facts), 0);
    const char *text = result("scale");
    cr_assert_not_null(strstr(text, note), "%s", text);
    cr_assert_null(strstr(text, "\n07-reactor,"), "a row of dashes: %s", text);
    end();
}

Test(scale, a_server_that_dies_is_noted_with_its_last_words)
{
    expect_scale_to_note("crash", "# note: 07-reactor --threads 1: killed by signal 6");
    expect_scale_to_note("crash", "a last word");
}

Test(scale, a_wrong_server_is_noted)
{
    expect_scale_to_note("swap", "# note: 07-reactor --threads 1: wrong echo");
}

Test(scale, a_server_that_does_not_start_is_noted)
{
    expect_scale_to_note("fail",
                         "# note: 07-reactor --threads 1: ended with exit code 1; on stderr");
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

/* In test_options.c it is seen that those of --server are marked so. */
Test(backlog, a_server_that_was_added_takes_part)
{
    begin();
    snprintf(servers[0].name, sizeof servers[0].name, "04-poll");
    snprintf(servers[1].name, sizeof servers[1].name, "mine");
    servers[1].extra = true;
    for (int i = 0; i < 2; i++)
        snprintf(servers[i].command, sizeof servers[i].command, "%s echo", getenv("FAKE"));
    facts.server_count = 2;
    cr_assert_eq(experiment_backlog(&facts), 0);
    const char *text = result("backlog");
    cr_assert_not_null(strstr(text, "\nmine,10,free,"), "%s", text);
    cr_assert_null(strstr(text, "\n04-poll,"), "nobody asked for it: %s", text);
    end();
}
