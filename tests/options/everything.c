/* 06-kqueue/everything watches a file, the time and another thread beside its clients. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../harness/harness.h"

SUITE(everything);

static char directory[64], file[128], other[128];
static off_t read_so_far; /* of the server's stderr: each line counts once */

/* Is there a line that ends with text, after those found before? */
static bool find_line(const char *text)
{
    char said[16384], ending[256];
    snprintf(ending, sizeof ending, "%s\n", text);
    ssize_t length = pread(server.errors, said, sizeof said - 1, read_so_far);
    said[length > 0 ? length : 0] = '\0';
    char *found = strstr(said, ending);
    if (found)
        read_so_far += found - said + (off_t)strlen(ending);
    return found;
}

static void expect_line_within(int ms, const char *text)
{
    bool found = false;
    AWAIT(ms, (found = found || find_line(text)));
    cr_assert(found, "not said: '%s'", text);
}

static void expect_line(const char *text)
{
    expect_line_within(3000, text);
}

/* The same, but no other line about the file may come before it. */
static void expect_next_line(const char *text)
{
    char said[1024];
    int lines = 0;
    off_t from = read_so_far;
    expect_line(text);
    size_t length = (size_t)(read_so_far - from);
    cr_assert_lt(length, sizeof said);
    cr_assert_eq(pread(server.errors, said, length, from), (ssize_t)length);
    said[length] = '\0';
    for (char *at = said; (at = strstr(at, "file:")); at++)
        lines++;
    cr_assert_eq(lines, 1, "before '%s': %s", text, said);
}

static void write_file(const char *path, int flags, const char *text)
{
    int fd = open(path, O_WRONLY | O_CREAT | flags, 0644);
    cr_assert_geq(fd, 0);
    cr_assert_eq(write(fd, text, strlen(text)), (ssize_t)strlen(text));
    close(fd);
}

/* Starts it with --watch FILE, and one more option in words. */
static void start_watching_with(const char *words)
{
    char command[256];
    snprintf(command, sizeof command, "%s %s", getenv("ECHO_SERVER"), words);
    setenv("ECHO_SERVER", command, 1);
    strcpy(directory, "/tmp/everything-XXXXXX");
    cr_assert_not_null(mkdtemp(directory));
    snprintf(file, sizeof file, "%s/file", directory);
    snprintf(other, sizeof other, "%s/other", directory);
    read_so_far = 0;
    server_start_with((struct start){.extra = "--watch", .argument = file});
}

static void start_watching(void)
{
    start_watching_with("");
}

static void end_watching(void)
{
    server_stop();
    unlink(file);
    unlink(other);
    rmdir(directory);
}

/* Its one call reports all five kinds of event. */
Test(everything, comes_out_of_one_call)
{
    start_watching_with("--stats 1");
    write_file(file, 0, "");
    expect_line("file: created");
    for (int i = 0; i < 2; i++) {
        struct client client = client_open();
        client_echo(&client, 10);
        client_close(&client);
    }
    write_file(file, O_APPEND, "x");
    expect_line("file: write extend");
    cr_assert_eq(chmod(file, 0640), 0);
    expect_line("file: attributes");
    cr_assert_eq(unlink(file), 0);
    expect_line("delete");
    for (int i = 0; i < 2; i++)
        expect_line("0 connections, 2 echoes");
    expect_line_within(5000, "the other thread has finished its work"); /* it takes 3 s */
    server_signal(SIGINT);
    server_must_end_well("Ctrl-C", 1500);
    expect_line("signal 2: the end");
    rmdir(directory);
}

Test(everything, watch_tells_what_happens_to_the_file)
{
    start_watching();
    write_file(other, 0, "not ours");
    write_file(file, 0, "");
    expect_line("file: created");
    write_file(file, O_APPEND, "more");
    expect_line("file: write extend");
    write_file(file, 0, "less");
    expect_line("file: write");
    cr_assert_eq(truncate(file, 1), 0);
    expect_line("truncate");
    chmod(file, 0600);
    expect_line("file: attributes");
    rename(file, other);
    expect_line("rename");
    write_file(file, 0, "new");
    expect_line("file: created");
    unlink(file);
    expect_line("delete");
    write_file(file, 0, "newer");
    expect_line("file: created");
    write_file(file, O_APPEND, "x"); /* it may have the old one's descriptor and inode */
    expect_line("file: write extend");
    end_watching();
}

/* Many editors save like this. The new file gets the old one's descriptor number. The server must
 * watch the new file, and must not take an event of the old file for one of the new file. */
Test(everything, watch_follows_an_atomic_save)
{
    start_watching();
    write_file(file, 0, "first");
    expect_line("file: created");
    for (int i = 0; i < 5; i++) {
        write_file(other, O_TRUNC, "next");
        cr_assert_eq(rename(other, file), 0);
        expect_line("file: replaced");
        write_file(file, O_APPEND, "x");
        expect_next_line("file: write extend");
    }
    int before = server_descriptors();
    write_file(other, O_TRUNC, "last");
    rename(other, file);
    expect_line("file: replaced");
    cr_expect_eq(server_descriptors(), before, "the old file is still open");
    end_watching();
}

/* Then the path leads to another directory, which the server does not watch. It has to say so. */
Test(everything, watch_says_when_the_directory_is_gone)
{
    char moved[80];
    start_watching();
    write_file(file, 0, "first");
    expect_line("file: created");
    struct client client = client_open();
    client_echo(&client, 10);
    int before = server_descriptors();
    snprintf(moved, sizeof moved, "%s-moved", directory);
    cr_assert_eq(rename(directory, moved), 0);
    cr_assert_eq(mkdir(directory, 0700), 0);
    write_file(file, 0, "another");
    expect_line("file: its directory is gone: no longer watched");
    AWAIT(3000, server_descriptors() == before - 2);
    cr_expect_eq(server_descriptors(), before - 2, "the file and the directory are still open");
    client_echo(&client, 10);
    client_close(&client);
    end_watching();
    snprintf(file, sizeof file, "%s/file", moved);
    unlink(file);
    rmdir(moved);
}

/* The files change faster than the server looks. Not every change has a line, but the server
 * watches the last file. */
Test(everything, watch_keeps_up_with_a_rapid_succession)
{
    start_watching();
    write_file(file, 0, "first");
    expect_line("file: created");
    int before = server_descriptors();
    for (int i = 0; i < 100; i++) {
        write_file(other, O_TRUNC, "next");
        cr_assert_eq(rename(other, file), 0);
        if (i % 3 == 0)
            unlink(file);
    }
    write_file(file, 0, "last");
    bool seen = false;
    AWAIT(3000, (write_file(file, O_APPEND, "x"), seen = seen || find_line("file: write extend")));
    cr_expect(seen, "the last file is not watched");
    AWAIT(3000, server_descriptors() == before); /* it may be about to open the last file */
    cr_expect_eq(server_descriptors(), before);
    end_watching();
}

Test(everything, watching_goes_on_beside_echoes)
{
    start_watching();
    struct client client = client_open();
    write_file(file, 0, "");
    expect_line("file: created");
    client_echo(&client, 1 << 20);
    write_file(file, O_APPEND, "x");
    expect_line("file: write extend");
    client_echo(&client, 10);
    client_close(&client);
    end_watching();
}

Test(everything, stats_count_connections_and_echoes)
{
    read_so_far = 0;
    server_start_with((struct start){.extra = "--stats", .argument = "1"});
    struct client a = client_open(), b = client_open();
    for (int i = 0; i < 3; i++)
        client_echo(&a, 10);
    expect_line("2 connections, 3 echoes");
    client_close(&b);
    client_echo(&a, 10);
    expect_line("1 connections, 4 echoes");
    server_stop();
}

/* TCP has no messages: --stats counts an event with something to read as an echo. */
Test(everything, what_arrives_together_is_one_echo)
{
    read_so_far = 0;
    server_start_with((struct start){.extra = "--stats", .argument = "1"});
    struct client client = client_open();
    expect_line("1 connections, 0 echoes");
    server_pause();
    for (int i = 0; i < 3; i++)
        client_send(&client, 10);
    AWAIT(3000, client_bytes_arrived(&client));
    server_resume();
    client_receive_all(&client);
    expect_line("1 connections, 1 echoes");
    client_close(&client);
    server_stop();
}

Test(everything, help_says_what_the_statistics_are)
{
    const char *arguments[] = {"--help", NULL};
    struct outcome outcome = server_run(arguments);
    cr_expect(strstr(outcome.out, "--stats SECONDS  print connections and echoes"), "%s",
              outcome.out);
}

Test(everything, watch_needs_a_directory)
{
    const char *arguments[] = {"--port", "0", "--watch", "/nonexistent/file", NULL};
    struct outcome outcome = server_run(arguments);
    cr_expect_eq(outcome.status, 1);
    cr_expect(strstr(outcome.err, "/nonexistent/file"), "%s", outcome.err);
}
