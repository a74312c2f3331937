/* What is understood of the command line. */
#include "interrupt.h"
#include "options.h"
#include "roster.h"
#include "scenario.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <string.h>

volatile sig_atomic_t interrupted;

#ifdef __linux__
#define EXPECTED_KQUEUE "[06-kqueue (on epoll)]"
#else
#define EXPECTED_KQUEUE ""
#endif

Test(options, all_is_every_scenario_and_every_server)
{
    static struct server servers[ROSTER_MOST];
    static char *arguments[] = {"compare", "all", "--servers", "all", NULL};
    struct options options;
    cr_assert_eq(options_parse(&options, 4, arguments), 0);
    cr_assert_eq(options.scenarios.count, scenario_count);
    int count = roster_make(&options, "/b", servers);
    bool libuv = false;
    for (int i = 0; i < count; i++)
        libuv = libuv || strcmp(servers[i].command, "/b/bench/peers/libuv") == 0;
    cr_assert(libuv);
    options.servers = NULL;
    cr_assert_lt(roster_make(&options, "/b", servers), count, "peers come when asked for");
}

Test(scenario, a_list_goes_to_those_that_vary_it)
{
    static struct cell cells[CELL_MOST];
    struct options options = {0};
    options.idle = (struct list){2, {0, 7}};
    int count = scenario_cells(&options, cells);
    cr_assert_eq(count, 4, "three active tables, one of them with 0 idle, and one with 7");
    options = (struct options){.size = {1, {99}}};
    count = scenario_cells(&options, cells);
    cr_assert_eq(count, 5);
    for (int i = 0; i < count; i++)
        cr_assert_eq(cells[i].size, 99, "nobody varies it: all take it");
}

Test(options, lists)
{
    struct list list;
    cr_assert(options_list("1,64,1000", 1, 1000, &list));
    cr_assert_eq(list.count, 3);
    cr_assert_eq(list.values[2], 1000);
    static const char *const wrong[] = {
        "", "1,", ",1", "1,,2", "0", "1x", "1;2", "1001", "+1", "1, 2", "99999999999999999999"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        cr_assert(!options_list(wrong[i], 1, 1000, &list), "\"%s\"", wrong[i]);
}

Test(scenario, a_cell_of_two_scenarios_is_measured_once)
{
    static struct cell cells[CELL_MOST];
    struct options options = {0};
    cr_assert_eq(scenario_cells(&options, cells), 5);
    options.idle = (struct list){2, {0, 7}};
    options.scenarios = (struct list){1, {1}};
    cr_assert_eq(scenario_cells(&options, cells), 2);
    cr_assert_eq(cells[1].active, 64);
    cr_assert_eq(cells[1].idle, 7);
}

Test(scenario, what_does_not_fit_is_lowered_and_said)
{
    struct machine machine = {0, 1, 1024};
    struct cell cell = {.active = 1000, .idle = 10000, .active_asked = 1000, .idle_asked = 10000};
    scenario_fit(&cell, &machine, 9);
    cr_assert_eq(cell.active, 960 / 9);
    cr_assert_eq(cell.idle, 960 - 960 / 9);
    cr_assert_not_null(strstr(cell.note, "descriptor limit"), "%s", cell.note);
    struct cell fits = {.active = 1, .active_asked = 1};
    scenario_fit(&fits, &machine, 9);
    cr_assert_str_eq(fits.note, "");
}

Test(scenario, more_tables_than_there_is_room_for_are_refused)
{
    static struct cell cells[CELL_MOST];
    struct options options = {.size = {3, {1, 2, 3}}};
    for (int i = 0; i < LIST_MOST; i++)
        options.connections.values[options.connections.count++] = i + 1;
    cr_assert_eq(scenario_cells(&options, cells), -1);
}

Test(roster, reference_and_twins_are_always_there)
{
    static struct server servers[ROSTER_MOST];
    struct options options = {.servers = "03,reactor"};
    options.extra[options.extra_count++] = "/some/where/mine --fast";
    int count = roster_make(&options, "/b", servers);
    cr_assert_eq(count, 6);
    cr_assert_str_eq(servers[0].name, "03-select");
    cr_assert_str_eq(servers[0].command, "/b/03-select/03-select");
    cr_assert(servers[1].reference);
    cr_assert(servers[2].control);
    cr_assert(servers[3].alone);
    cr_assert_str_eq(servers[1].command, servers[2].command);
    cr_assert_str_eq(servers[1].command, servers[3].command);
    cr_assert_str_eq(servers[5].name, "mine --fast");
    cr_assert(servers[5].extra && !servers[0].extra);
}

/* Beside the reference and its twins. */
static void expect_servers(const char *list, const char *names)
{
    static struct server servers[ROSTER_MOST];
    struct options options = {.servers = list};
    char seen[512] = "";
    int count = roster_make(&options, "/b", servers);
    for (int i = 0; i < count; i++) {
        size_t length = strlen(seen);
        if (!servers[i].reference && !server_is_twin(&servers[i]))
            snprintf(seen + length, sizeof seen - length, "[%.39s]", servers[i].name);
    }
    cr_assert_str_eq(count < 0 ? "mistake" : seen, names, "%s", list);
}

Test(roster, a_word_means_the_rows_that_it_fits_best)
{
    expect_servers("poll", "[04-poll]");
    expect_servers("libev", "[libev]");
    expect_servers("libevent", "[libevent]");
    expect_servers("lib", "[libuv][libevent][libev]");
    expect_servers("buffer,URING", "[bufferevent (libevent)][io_uring]");
    expect_servers("busy,01", "[01-blocking-threads][02-busy-poll-nonblocking]");
    expect_servers("07-reactor,kqueue", EXPECTED_KQUEUE "[07-reactor]");
    expect_servers("03,nonsense", "mistake");
    expect_servers("", "mistake");
    expect_servers("03,", "mistake");
}

/* What belongs to a row is found by its name. */
Test(roster, no_two_rows_have_one_name)
{
    static struct server servers[ROSTER_MOST];
    static const char *const extra[] = {"/old/mine",
                                        "/new/mine",
                                        "/newer/mine",
                                        "/old/mine --fast",
                                        "/new/mine --fast",
                                        "/old/07-reactor",
                                        "/a/quite-a-long-name-for-a-server",
                                        "/b/quite-a-long-name-for-a-server"};
    static const char *const names[] = {"mine",
                                        "mine (2)",
                                        "mine (3)",
                                        "mine --fast",
                                        "mine (2) --fast",
                                        "07-reactor (2)",
                                        "quite-a-long-name-for-a-",
                                        "quite-a-long-name-fo (2)"};
    struct options options = {.extra_count = 8};
    memcpy(options.extra, extra, sizeof extra);
    int count = roster_make(&options, "/b", servers);
    for (int i = 0; i < 8; i++)
        cr_assert_str_eq(servers[count - 8 + i].name, names[i]);
}
