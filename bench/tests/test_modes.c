/* The load generator's other ways: open loop, a new connection for each message, a stream. */
#include "load/load.h"
#include "load/pattern.h"
#include "system/clock.h"
#include "system/interrupt.h"
#include "system/server.h"

#include <criterion/criterion.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

static struct server server;
static struct load load;
static struct histogram latency;
static struct histogram sent_latency;

static void start(const char *mode, int connections, enum load_mode load_mode, double rate)
{
    char trouble[SERVER_TEXT] = "";
    snprintf(server.command, sizeof server.command, "%s %s", getenv("FAKE"), mode);
    signal(SIGPIPE, SIG_IGN);
    pattern_init();
    cr_assert_eq(server_start(&server, -1, trouble, sizeof trouble), 0, "%s", trouble);
    cr_assert_eq(load_init(&load, server.port, connections, 64), 0);
    cr_assert_eq(load_open(&load, connections), LOAD_DONE, "%s", load.trouble);
    load.mode = load_mode;
    load.rate = rate;
    load.sent_latency = &sent_latency;
}

static void finish(void)
{
    load_close(&load);
    servers_stop(&server, 1);
}

static double percentile(const struct histogram *histogram, double percent)
{
    return (double)histogram_percentile(histogram, percent) / 1e6;
}

/* The server stands still for 100 ms after every 400 ms: a fifth of the time. A client that asks at
 * fixed times meets that with one question of five. A client that waits for the last answer asks 4
 * questions in that time, and thousands in the rest. */
Test(rate, the_open_loop_shows_a_stall_that_the_closed_loop_hides)
{
    start("freeze", 4, LOAD_CLOSED, 0);
    cr_assert_eq(load_run(&load, MILLISECONDS(1200), &latency), LOAD_DONE, "%s", load.trouble);
    cr_assert_geq(latency.maximum, MILLISECONDS(95), "it did stall: %g",
                  (double)latency.maximum / 1e6);
    cr_assert_lt(percentile(&latency, 99), 20, "%g ms", percentile(&latency, 99));

    histogram_clear(&latency);
    histogram_clear(&sent_latency);
    load.mode = LOAD_RATE;
    load.rate = 2000;
    cr_assert_eq(load_run(&load, MILLISECONDS(1200), &latency), LOAD_DONE, "%s", load.trouble);
    double seen = percentile(&latency, 99);
    cr_assert(seen > 75 && seen < 200, "p99 is near 95 ms by construction: %g", seen);
    cr_assert_gt(percentile(&latency, 85), 10, "%g ms", percentile(&latency, 85));
    cr_assert_lt(percentile(&sent_latency, 99), 60, "counted from when they left: %g ms",
                 percentile(&sent_latency, 99));
    cr_assert_gt(load.late, 200, "those held up are reported: %lu", (unsigned long)load.late);
    finish();
}

Test(rate, the_schedule_is_kept)
{
    start("echo", 8, LOAD_RATE, 1000);
    load.rate = 100; /* "echo" serves 40 messages, and 8 of them are gone */
    cr_assert_eq(load_run(&load, MILLISECONDS(250), &latency), LOAD_DONE, "%s", load.trouble);
    cr_assert_eq(load.echoes, 26, "%lu", (unsigned long)load.echoes);
    cr_assert_eq(latency.count, 26);
    cr_assert(load.elapsed >= MILLISECONDS(249) && load.elapsed < MILLISECONDS(400), "%lu",
              (unsigned long)load.elapsed);
    cr_assert_eq(load.outstanding, 0);
    finish();
}

/* 2 ms for each message, one at a time: 500 a second at best, and 1000 are due. */
Test(rate, what_cannot_leave_on_time_is_counted_and_measured)
{
    start("delay", 1, LOAD_RATE, 1000);
    cr_assert_eq(load_run(&load, MILLISECONDS(100), &latency), LOAD_DONE, "%s", load.trouble);
    cr_assert_eq(load.echoes, 101);
    cr_assert_gt(load.late, 90);
    cr_assert_gt(percentile(&latency, 99), 90, "the queue grows: %g", percentile(&latency, 99));
    cr_assert_lt(percentile(&sent_latency, 50), 10, "each alone is quick: %g",
                 percentile(&sent_latency, 50));
    finish();
}

static void expect(const char *mode, enum load_end end, const char *text)
{
    start(mode, 4, LOAD_RATE, 2000);
    enum load_end seen = load_run(&load, MILLISECONDS(300), &latency);
    cr_assert_eq(seen, end, "%s: %d %s", mode, (int)seen, load.trouble);
    cr_assert_not_null(strstr(load.trouble, text), "%s: %s", mode, load.trouble);
    finish();
}

Test(rate, a_wrong_byte_is_caught)
{
    expect("swap", LOAD_WRONG, "wrong echo: byte");
}

Test(rate, a_stall_for_good_is_caught)
{
    expect("stall", LOAD_STALLED, "stalled: 4 of 4 connections");
}

Test(rate, a_closed_connection_is_caught)
{
    expect("close", LOAD_TURNED_AWAY, "closed a connection");
}

static int source_port(void)
{
    struct sockaddr_in address;
    socklen_t length = sizeof address;
    cr_assert_eq(getsockname(load.connections[0].fd, (struct sockaddr *)&address, &length), 0);
    return ntohs(address.sin_port);
}

Test(churn, every_message_has_a_connection_of_its_own)
{
    start("once", 2, LOAD_CHURN, 0); /* "once" breaks off at the second message */
    int before = source_port();
    cr_assert_eq(load_run(&load, MILLISECONDS(20), &latency), LOAD_DONE, "%s", load.trouble);
    cr_assert_neq(source_port(), before);
    cr_assert_gt(load.echoes, 4);
    cr_assert_eq(latency.count, load.echoes);
    cr_assert_eq(load.open, 2);
    cr_assert_eq(load_run(&load, MILLISECONDS(5), NULL), LOAD_DONE, "again: %s", load.trouble);
    finish();
}

Test(fairness, the_stream_is_counted_apart)
{
    start("split", 3, LOAD_FAIR, 0);
    cr_assert_eq(load_run(&load, MILLISECONDS(100), &latency), LOAD_DONE, "%s", load.trouble);
    cr_assert_gt(load.stream_bytes, 0);
    cr_assert_eq(load.stream_bytes % PATTERN_LONGEST, 0);
    cr_assert_gt(load.echoes, 2);
    cr_assert_eq(latency.count, load.echoes, "none of them the stream's");
    finish();
}

Test(fairness, the_stream_is_no_small_message)
{
    start("split", 1, LOAD_FAIR, 0); /* no other connection beside it */
    cr_assert_eq(load_run(&load, MILLISECONDS(20), &latency), LOAD_DONE, "%s", load.trouble);
    cr_assert_gt(load.stream_bytes, 0);
    cr_assert_eq(load.echoes, 0);
    cr_assert_eq(latency.count, 0);
    finish();
}

#ifdef __linux__

/* Every descriptor that a server starts with is one client less for select. */
Test(server, gets_none_of_our_descriptors)
{
    char path[64];
    cr_assert_eq(dup2(STDIN_FILENO, 200), 200);
    start("echo", 1, LOAD_CLOSED, 0);
    snprintf(path, sizeof path, "/proc/%d/fd/200", (int)server.pid);
    cr_assert_neq(access(path, F_OK), 0);
    finish();
}

#endif
