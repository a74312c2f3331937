/* 06-kqueue/everything: each of the five kinds of event comes out of its one call. */
#include <criterion/criterion.h>
#include <fcntl.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../programs/program.h"

static struct program program;

/* Awaits a line that begins so. Others may come before it: the timer's above all. */
static void expect(const char *beginning)
{
    char line[128];
    int64_t end = now_ms() + patient(10000);
    while (read_line(program.out, line, sizeof line, (int)(end - now_ms())) == 1)
        if (strncmp(line, beginning, strlen(beginning)) == 0)
            return;
    cr_assert_fail("not said: '%s'", beginning);
}

Test(everything, comes_out_of_one_call, .timeout = 60)
{
    char path[] = "/tmp/kqueue-everything-XXXXXX";
    int file = mkstemp(path);
    cr_assert_geq(file, 0);
    program = program_start_server("EVERYTHING", path);
    for (int i = 0; i < 2; i++) {
        int client = dial(&program);
        expect("a client, one of 1 that wait");
        expect_eof(client);
        close(client);
    }
    cr_assert_eq(write(file, "x", 1), 1);
    expect("the file: written");
    cr_assert_eq(fchmod(file, 0640), 0);
    expect("the file: attributes");
    cr_assert_eq(unlink(path), 0);
    expect("the file: gone");
    close(file);
    for (int i = 0; i < 2; i++)
        expect("a second has passed");
    expect("the other thread has something");
    kill(program.pid, SIGINT);
    expect("Ctrl-C");
    cr_expect_eq(program_end(&program, 5000), 0);
}
