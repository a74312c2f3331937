/* The instrument against servers that are wrong on purpose (fake.c): each must be measured, or
 * caught, as what it is. */
#include "compare/rounds.h"
#include "load/idle_clients.h"
#include "load/load.h"
#include "load/pattern.h"
#include "output/probe_table.h"
#include "record/summary.h"
#include "system/clock.h"
#include "system/interrupt.h"
#include "system/process.h"

#include <criterion/criterion.h>
#include <errno.h>
#include <math.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

static struct server server;
static struct load load;
static struct histogram latency;

static void start(const char *mode, int connections, size_t size)
{
    char trouble[SERVER_TEXT] = "";
    const char *fake = getenv("FAKE");
    cr_assert_not_null(fake, "FAKE names the fake server; meson test sets it");
    snprintf(server.command, sizeof server.command, "%s %s", fake, mode);
    signal(SIGPIPE, SIG_IGN);
    pattern_init();
    cr_assert_eq(server_start(&server, -1, trouble, sizeof trouble), 0, "%s", trouble);
    cr_assert_eq(load_init(&load, server.port, connections, size), 0);
    cr_assert_eq(load_open(&load, connections), LOAD_DONE, "%s", load.trouble);
}

static void finish(void)
{
    load_close(&load);
    servers_stop(&server, 1);
}

static void expect_trouble(const char *mode, enum load_end end, const char *text)
{
    start(mode, 4, 64);
    enum load_end seen = load_run(&load, MILLISECONDS(300), &latency);
    cr_assert_eq(seen, end, "%s: %d %s", mode, (int)seen, load.trouble);
    cr_assert_not_null(strstr(load.trouble, text), "%s: %s", mode, load.trouble);
    finish();
}

Test(load, a_good_server_is_not_accused)
{
    uint64_t echoes = 0;
    start("split", 4, 64);
    for (int runs = 0; runs < 20 && echoes <= 4; runs++) {
        cr_assert_eq(load_run(&load, MILLISECONDS(100), &latency), LOAD_DONE, "%s", load.trouble);
        echoes += load.echoes;
    }
    cr_assert_gt(echoes, 4);
    finish();
}

Test(load, a_message_larger_than_every_buffer_comes_back)
{
    int small = 4096;
    start("gather", 1, 1 << 20); /* answers nothing before it has all */
    setsockopt(load.connections[0].fd, SOL_SOCKET, SO_SNDBUF, &small, sizeof small);
    cr_assert_eq(load_run(&load, MILLISECONDS(5), &latency), LOAD_DONE, "%s", load.trouble);
    cr_assert_geq(load.echoes, 1);
    finish();
}

Test(load, a_known_delay_is_measured)
{
    start("delay", 1, 64);
    server_settle(&server);
    uint64_t before = process_cpu(server.pid);
    cr_assert_eq(load_run(&load, MILLISECONDS(60), &latency), LOAD_DONE);
    /* the defect shows after 40 messages, and this takes 30 at most */
    double quickest = (double)histogram_percentile(&latency, 10) / 1e6;
    cr_assert(quickest >= 2 && quickest < 2.7, "%g ms", quickest);
    cr_assert_geq(histogram_percentile(&latency, 50), MILLISECONDS(2));
    cr_assert_eq(load.echoes, latency.count);
    cr_assert_leq(load.echoes, 31);
    server_settle(&server);
    uint64_t each = (process_cpu(server.pid) - before) / load.echoes;
    cr_assert(each < MILLISECONDS(1), "waiting is not work: %lu ns", (unsigned long)each);
    finish();
}

Test(load, a_known_cost_is_measured)
{
    start("burn", 1, 64);
    server_settle(&server);
    uint64_t before = process_cpu(server.pid);
    cr_assert_eq(load_run(&load, MILLISECONDS(100), &latency), LOAD_DONE, "%s", load.trouble);
    server_settle(&server);
    double each = (double)(process_cpu(server.pid) - before) / 1e3 / (double)load.echoes;
    /* 100 us of its own and a few for the kernel; counted in ticks it would be off by 4 ms */
    cr_assert(each >= 100 && each < 180, "%g us", each);
    finish();
}

Test(load, a_run_ends_quiet)
{
    start("echo", 8, 64);
    for (int i = 0; i < 20; i++) {
        cr_assert_eq(load_run(&load, MILLISECONDS(5), &latency), LOAD_DONE, "%s", load.trouble);
        cr_assert_eq(load.outstanding, 0);
        cr_assert_geq(load.elapsed, MILLISECONDS(5));
    }
    finish();
}

/* 1 ns is asked for; the answer takes 2 ms, and rates divide by that. */
Test(load, time_is_measured_and_not_assumed)
{
    start("delay", 1, 64);
    cr_assert_eq(load_run(&load, 1, &latency), LOAD_DONE, "%s", load.trouble);
    cr_assert_eq(load.echoes, 1);
    cr_assert_geq(load.elapsed, MILLISECONDS(2));
    finish();
}

Test(load, a_dropped_byte_is_caught)
{
    expect_trouble("drop", LOAD_WRONG, "wrong echo: byte 32 of a message");
}

Test(load, two_swapped_bytes_are_caught)
{
    expect_trouble("swap", LOAD_WRONG, "wrong echo: byte");
}

Test(load, a_byte_too_many_is_caught)
{
    expect_trouble("extra", LOAD_WRONG, "more bytes came back than were sent");
}

Test(load, bytes_of_another_client_are_caught)
{
    expect_trouble("old", LOAD_WRONG, "wrong echo: byte 0");
}

Test(load, a_stall_is_caught)
{
    expect_trouble("stall", LOAD_STALLED, "stalled: 4 of 4 connections");
}

static void interrupt_later(int signal)
{
    (void)signal;
    interrupted = 1;
}

Test(load, an_interrupt_is_not_taken_for_a_stall)
{
    sigaction(SIGALRM, &(struct sigaction){.sa_handler = interrupt_later}, NULL);
    ualarm(300000, 0);
    expect_trouble("stall", LOAD_INTERRUPTED, "interrupted");
}

Test(load, a_closed_connection_is_caught)
{
    expect_trouble("close", LOAD_TURNED_AWAY, "closed a connection that was owed an answer");
}

Test(load, those_turned_away_are_counted)
{
    static struct idle_state state;
    start("refuse", 4, 64);
    struct idle_clients idle;
    cr_assert_eq(idle_clients_create(&idle, server.port, 30, 64), 0);
    idle_clients_connect(&idle, 30, &state);
    cr_assert_eq(state.end, (int)LOAD_TURNED_AWAY, "%s", state.trouble);
    cr_assert_eq(state.open, 6, "%d", state.open);
    idle_clients_end(&idle);
    finish();
}

#ifdef __linux__ /* elsewhere nothing tells the state, and every server is held */

Test(server, that_never_blocks_is_held)
{
    start("spin", 1, 64);
    server_settle(&server);
    cr_assert(server.spins);
    cr_assert_eq(process_state(server.pid), PROCESS_STOPPED);
    uint64_t before = process_cpu(server.pid);
    clock_sleep(MILLISECONDS(20));
    cr_assert_eq(process_cpu(server.pid), before);
    server_resume(&server);
    cr_assert_eq(load_run(&load, MILLISECONDS(5), &latency), LOAD_DONE, "%s", load.trouble);
    finish();
}

Test(server, that_blocks_is_left_alone)
{
    start("echo", 1, 64);
    server_settle(&server);
    cr_assert(!server.spins);
    cr_assert_eq(process_state(server.pid), PROCESS_BLOCKED);
    finish();
}

#endif

Test(server, that_works_on_after_its_answer_is_waited_for)
{
    start("after", 1, 64);
    server_settle(&server);
    uint64_t before = process_cpu(server.pid);
    cr_assert_eq(load_run(&load, 1, &latency), LOAD_DONE, "%s", load.trouble);
    cr_assert_eq(load.echoes, 1);
    server_settle(&server);
    cr_assert(!server.spins);
    uint64_t cost = process_cpu(server.pid) - before;
    cr_assert(cost >= MILLISECONDS(5) && cost < MILLISECONDS(6), "%lu", (unsigned long)cost);
    finish();
}

Test(server, may_go_on_writing_to_its_stdout)
{
    char trouble[SERVER_TEXT] = "";
    start("chatty", 4, 64);
    uint64_t echoes = 0;
    for (int i = 0; i < 100 && echoes <= 40; i++) {
        cr_assert_eq(load_run(&load, MILLISECONDS(50), &latency), LOAD_DONE, "%s", load.trouble);
        echoes += (uint64_t)load.echoes;
    }
    cr_assert_gt(echoes, 40);
    cr_assert(!server_ended(&server, trouble, sizeof trouble), "%s", trouble);
    finish();
}

static void expect_no_start(const char *mode, const char *text, const char *said_text)
{
    char trouble[SERVER_TEXT] = "";
    char said[SERVER_TEXT] = "";
    snprintf(server.command, sizeof server.command, "%s %s", getenv("FAKE"), mode);
    cr_assert_eq(server_start(&server, -1, trouble, sizeof trouble), -1);
    cr_assert_str_eq(trouble, text);
    cr_assert_eq(server.pid, 0, "left running");
    server_stderr_tail(&server, said, sizeof said);
    cr_assert_not_null(strstr(said, said_text), "%s", said);
    servers_stop(&server, 1);
}

Test(server, that_cannot_start_says_why)
{
    expect_no_start("fail", "ended with exit code 1", "Permission denied");
    expect_no_start("usage", "ended with exit code 2", "");
}

/* The limit of processes does not hold for root, so the test becomes the user nobody. */
Test(server, that_gets_no_process_is_said_to)
{
    char trouble[SERVER_TEXT] = "unset";
    char expected[SERVER_TEXT];
    struct rlimit usual, none;
    if (geteuid() == 0 && setuid(65534) != 0)
        cr_skip_test("root, and cannot become anybody else");
    snprintf(server.command, sizeof server.command, "/bin/sh");
    cr_assert_eq(getrlimit(RLIMIT_NPROC, &usual), 0);
    none = (struct rlimit){0, usual.rlim_max};
    cr_assert_eq(setrlimit(RLIMIT_NPROC, &none), 0);
    cr_assert_eq(server_start(&server, -1, trouble, sizeof trouble), -1);
    setrlimit(RLIMIT_NPROC, &usual); /* a sanitizer starts a thread to look for leaks */
    snprintf(expected, sizeof expected, "did not start: %s", strerror(EAGAIN));
    cr_assert_str_eq(trouble, expected);
    cr_assert_eq(server.pid, 0);
    servers_stop(&server, 1);
}

Test(server, that_prints_something_else_is_not_taken_for_ready)
{
    expect_no_start("dumb", "did not start: no \"listening on\" line", "");
}

Test(server, in_trouble_is_noted_once_with_its_last_words)
{
    static struct table table;
    char trouble[SERVER_TEXT] = "";
    table_begin(&table, "name", "Title", "column");
    snprintf(server.name, sizeof server.name, "bad");
    snprintf(server.command, sizeof server.command, "%s fail", getenv("FAKE"));
    for (int i = 0; i < 2; i++) {
        cr_assert_eq(server_start(&server, -1, trouble, sizeof trouble), -1);
        table_trouble(&table, &server, trouble);
        servers_stop(&server, 1);
    }
    cr_assert_str_eq(table.note, "bad: ended with exit code 1; on stderr: "
                                 "fake: bind 127.0.0.1:80: Permission denied ");
}

static bool last_is_alone;

/* A whole condition, with one good server and one of each kind of bad ones. */
static struct record *run_whole(struct run run, const char *const *modes, int count, int idle)
{
    static struct record record;
    static struct server servers[8];
    static const struct machine machine = {-1, -1, 20000};
    memset(&record, 0, sizeof record);
    memset(servers, 0, sizeof servers);
    run.machine = &machine;
    run.record = &record;
    run.warm_up = run.warm_up > 0 ? run.warm_up : MILLISECONDS(2);
    run.counted = MILLISECONDS(10);
    pattern_init();
    for (int i = 0; i < count; i++) {
        snprintf(servers[i].command, sizeof servers[i].command, "%s %s", getenv("FAKE"), modes[i]);
        snprintf(servers[i].name, sizeof servers[i].name, "%s", modes[i]);
    }
    servers[0].reference = true;
    servers[count - 1].control = count == 2 && strcmp(modes[0], modes[1]) == 0;
    servers[count - 1].no_idle = last_is_alone;
    record.servers = servers;
    record.server_count = count;
    record.condition_count = 1;
    record.conditions[0] = (struct condition){.active = 4, .idle = idle, .size = 64};
    cr_assert_eq(record_init(&record), 0);
    rounds_run(&run, 0);
    return &record;
}

static struct record *whole_cell(const char *const *modes, int count, int idle, int rounds)
{
    return run_whole((struct run){.rounds = rounds}, modes, count, idle);
}

Test(run, one_bad_server_does_not_stop_the_others)
{
    static const char *const modes[] = {"split", "crash", "swap", "fail"};
    struct record *record = whole_cell(modes, 4, 0, 3);
    cr_assert_str_eq(record_outcome(record, 0, 0)->trouble, "");
    cr_assert_eq(summary_of(record, 0, 0).slices, 3);
    const struct outcome *crash = record_outcome(record, 0, 1);
    cr_assert_not_null(strstr(crash->trouble, "killed by signal 6"), "%s", crash->trouble);
    cr_assert_not_null(strstr(crash->stderr_tail, "a last word"), "%s", crash->stderr_tail);
    cr_assert_not_null(strstr(record_outcome(record, 0, 2)->trouble, "wrong echo"));
    cr_assert_str_eq(record_outcome(record, 0, 3)->trouble, "ended with exit code 1");
    for (int i = 0; i < 4; i++)
        cr_assert_eq(record->servers[i].pid, 0, "left running: %s", modes[i]);
}

/* 100 us of CPU for each echo. With those of the warm-up it would look like four times that. */
Test(run, a_slice_has_the_cpu_of_its_own_echoes_alone)
{
    static const char *const modes[] = {"burn"};
    struct run run = {.rounds = 3, .warm_up = MILLISECONDS(30)};
    struct record *record = run_whole(run, modes, 1, 0);
    double cpu = summary_of(record, 0, 0).cpu;
    cr_assert(cpu >= 100 && cpu < 180, "%g us", cpu);
}

Test(run, every_round_has_each_server_once_in_an_order_of_its_own)
{
    enum { ROUNDS = 12 };
    static const char *const modes[] = {"split", "burn"};
    int first[2] = {0};
    struct record *record = whole_cell(modes, 2, 0, ROUNDS);
    cr_assert_eq(record->slice_count, 2 * ROUNDS);
    for (int round = 0; round < ROUNDS; round++) {
        const struct slice *slices = &record->slices[2 * round];
        cr_assert_eq(slices[0].round, round);
        cr_assert_eq(slices[1].round, round);
        cr_assert_eq(slices[0].server + slices[1].server, 1, "each once");
        first[slices[0].server]++;
    }
    cr_assert(first[0] > 0 && first[1] > 0, "%d %d", first[0], first[1]);
}

/* Measures how long rounds take that have half a second, and three times that when they are noisier
 * than asked for. */
static double seconds_with(double noise)
{
    static const char *const modes[] = {"split", "split"};
    struct run run = {.noise = noise, .deadline = clock_now() + MILLISECONDS(800)};
    struct record *record = run_whole(run, modes, 2, 0);
    cr_assert_str_eq(record_outcome(record, 0, 1)->trouble, "");
    return record->runs[0].duration;
}

Test(run, a_noisy_table_gets_more_rounds)
{
    double wanted_exact = seconds_with(1e-9);
    double wanted_anything = seconds_with(1e9);
    double not_wanted = seconds_with(0);
    cr_assert_geq(wanted_exact, 2 * wanted_anything, "%f %f", wanted_exact, wanted_anything);
    cr_assert_geq(wanted_exact, 2 * not_wanted, "%f %f", wanted_exact, not_wanted);
}

Test(run, the_time_left_counts_what_comes_after_the_tables)
{
    static const char *const modes[] = {"split"};
    char text[1024] = "";
    FILE *shown = tmpfile();
    int before = dup(STDERR_FILENO);
    dup2(fileno(shown), STDERR_FILENO);
    run_whole((struct run){.rounds = 3, .progress = true, .later = 5000}, modes, 1, 0);
    dup2(before, STDERR_FILENO);
    close(before);
    cr_assert_gt(pread(fileno(shown), text, sizeof text - 1, 0), 0);
    fclose(shown);
    cr_assert_not_null(strstr(text, "about 500"), "%s", text);
}

Test(run, turning_clients_away_is_shown_with_their_number)
{
    static const char *const modes[] = {"split", "refuse"};
    struct record *record = whole_cell(modes, 2, 20, 3);
    cr_assert_str_eq(record_outcome(record, 0, 0)->trouble, "");
    cr_assert_str_eq(record_outcome(record, 0, 1)->trouble, "10 clients, then turned away");
}

/* "refuse" takes ten clients: 4 are served, 24 would not be. */
Test(run, the_reference_without_silent_clients_has_none)
{
    static const char *const modes[] = {"split", "refuse"};
    last_is_alone = true;
    struct record *record = whole_cell(modes, 2, 20, 3);
    cr_assert_str_eq(record_outcome(record, 0, 1)->trouble, "");
    cr_assert_eq(summary_of(record, 0, 1).slices, 3);
    cr_assert(isnan(record_outcome(record, 0, 1)->idle_resident));
    record = whole_cell(modes, 2, 0, 3);
    cr_assert_str_eq(record_outcome(record, 0, 1)->trouble, "");
    cr_assert_eq(summary_of(record, 0, 1).slices, 0, "beside nobody it would be the reference");
}

Test(run, an_interrupt_keeps_what_was_measured_and_ends_every_child)
{
    static const char *const modes[] = {"split"};
    sigaction(SIGALRM, &(struct sigaction){.sa_handler = interrupt_later}, NULL);
    ualarm(500000, 0); /* an hour of rounds, stopped after half a second */
    struct record *record = whole_cell(modes, 1, 0, 100000);
    cr_assert_geq(record->slice_count, 1);
    cr_assert_lt(record->runs[0].rounds, 1000);
    cr_assert_eq(record->servers[0].pid, 0);
}
