/* The command line, and the servers that it chooses. */
#include "compare/conditions.h"
#include "compare/options.h"
#include "compare/roster.h"
#include "compare/scenarios.h"
#include "numbers/list.h"
#include "system/interrupt.h"

#include <criterion/criterion.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

/* A list as meson writes it, in a directory of its own that stands for the build directory. */
static const char usual[] =
    "# name|heading|title|label|program|arguments|traits|colour|roles\n"
    "01-blocking-threads|01|||01-blocking-threads/01-blocking-threads||threads||tested,compared\n"
    "02-busy-poll-nonblocking|02|||02-busy/02-busy||busy||chapter,tested,compared\n"
    "03-select|03|||03-select/03-select||||tested,compared,chapter\n"
    "04-poll|04|||04-poll/04-poll||||compared,chapter\n"
    "05-epoll|05|||05-epoll/05-epoll||||chapter,tested,reference,compared\n"
    "05-epoll-edge|05 edge|||05-epoll/05-epoll-edge||edges||tested,compared\n"
    "06-kqueue (on epoll)|06|||06-kqueue/06-kqueue||||chapter,tested,compared\n"
    "07-reactor|07|||07-reactor/07-reactor||||chapter,compared\n"
    "07-reactor --backend poll|07 poll|||07-reactor/07-reactor|--backend poll|||tested\n"
    "smallest-03||||03-select/smallest-03||fd-setsize||smallest\n"
    "smallest-04||||04-poll/smallest-04||||smallest\n"
    "libuv||||bench/peers/libuv||||peer\n"
    "libevent||||bench/peers/libevent||||peer\n"
    "bufferevent (libevent)||||bench/peers/bufferevent||||peer\n"
    "libev||||bench/peers/libev||||peer\n"
    "io_uring||||bench/peers/io_uring||||peer\n"
    "go||||bench/peers/languages/goroutines||several-threads||language\n"
    "node||||bench/peers/languages/pipe.js||||language\n";

static char build[] = "/tmp/bench-options-XXXXXX";
static char list_path[64];

static void write_list(const char *text)
{
    FILE *file = fopen(list_path, "w");
    cr_assert_not_null(file);
    fputs(text, file);
    fclose(file);
}

static void make_build(void)
{
    cr_assert_not_null(mkdtemp(build));
    snprintf(list_path, sizeof list_path, "%s/servers.list", build);
    write_list(usual);
}

static void remove_build(void)
{
    unlink(list_path);
    rmdir(build);
}

static void expect_command(const struct server *server, const char *below)
{
    cr_assert_eq(strncmp(server->command, build, strlen(build)), 0, "%s", server->command);
    cr_assert_str_eq(server->command + strlen(build), below);
}

TestSuite(roster, .init = make_build, .fini = remove_build);

Test(options, all_is_every_scenario)
{
    static char *arguments[] = {"compare", "all", NULL};
    struct options options;
    cr_assert_eq(options_parse(&options, 2, arguments), 0);
    cr_assert_eq(options.scenarios.count, scenario_count);
}

/* bench/run reads some options, too, and knows whole names only. */
Test(options, no_option_is_abbreviated)
{
    static char *wrong[] = {"compare", "--ou", "results", NULL};
    static char *right[] = {"compare", "--server", "--ou", "--out=results", "--quick", NULL};
    struct options options;
    cr_assert_eq(options_parse(&options, 3, wrong), 3);
    cr_assert_eq(options_parse(&options, 5, right), 0);
    cr_assert_str_eq(options.out, "results");
    cr_assert_str_eq(options.extra[0], "--ou", "the word after --server is a program");
}

Test(roster, all_is_every_server)
{
    static struct server servers[ROSTER_MAX];
    struct options options = {.servers = "all"};
    cr_assert_eq(roster_make(&options, build, servers), 15,
                 "two copies, none that is only tested, no smallest one, no other language");
    expect_command(&servers[7], "/05-epoll/05-epoll-edge");
    expect_command(&servers[10], "/bench/peers/libuv");
    options.servers = NULL;
    cr_assert_eq(roster_make(&options, build, servers), 10, "peers come when asked for");
}

Test(roster, the_smallest_servers_come_when_they_are_named)
{
    static struct server servers[ROSTER_MAX];
    struct options options = {.servers = "smallest"};
    cr_assert_eq(roster_make(&options, build, servers), 5, "both, beside the reference's three");
    expect_command(&servers[3], "/03-select/smallest-03");
    options.servers = "03,smallest-04";
    cr_assert_eq(roster_make(&options, build, servers), 5, "03 is not smallest-03");
    expect_command(&servers[0], "/03-select/03-select");
    expect_command(&servers[4], "/04-poll/smallest-04");
}

Test(roster, other_languages_come_when_they_are_named)
{
    static struct server servers[ROSTER_MAX];
    struct options options = {.servers = "languages"};
    cr_assert_eq(roster_make(&options, build, servers), 5, "both, beside the reference's three");
    expect_command(&servers[3], "/bench/peers/languages/goroutines");
    options.servers = "05-epoll,go";
    cr_assert_eq(roster_make(&options, build, servers), 4);
    cr_assert_str_eq(servers[3].name, "go");
    options.servers = "smallest,languages,libuv";
    cr_assert_eq(roster_make(&options, build, servers), 8);
}

Test(scenario, a_list_goes_to_those_that_vary_it)
{
    static struct condition conditions[CONDITION_MAX];
    struct options options = {0};
    options.idle = (struct list){2, {0, 7}};
    int count = conditions_wanted(&options, conditions);
    cr_assert_eq(count, 4, "three active tables, one of them with 0 idle, and one with 7");
    options = (struct options){.size = {1, {99}}};
    count = conditions_wanted(&options, conditions);
    cr_assert_eq(count, 5);
    for (int i = 0; i < count; i++)
        cr_assert_eq(conditions[i].size, 99, "no scenario varies it: all take it");
}

Test(options, lists)
{
    struct list list;
    cr_assert(list_parse("1,64,1000", 1, 1000, &list));
    cr_assert_eq(list.count, 3);
    cr_assert_eq(list.values[2], 1000);
    static const char *const wrong[] = {
        "", "1,", ",1", "1,,2", "0", "1x", "1;2", "1001", "+1", "1, 2", "99999999999999999999"};
    for (size_t i = 0; i < sizeof wrong / sizeof *wrong; i++)
        cr_assert(!list_parse(wrong[i], 1, 1000, &list), "\"%s\"", wrong[i]);
}

Test(scenario, a_cell_of_two_scenarios_is_measured_once)
{
    static struct condition conditions[CONDITION_MAX];
    struct options options = {0};
    cr_assert_eq(conditions_wanted(&options, conditions), 5);
    options.idle = (struct list){2, {0, 7}};
    options.scenarios = (struct list){1, {1}};
    cr_assert_eq(conditions_wanted(&options, conditions), 2);
    cr_assert_eq(conditions[1].active, 64);
    cr_assert_eq(conditions[1].idle, 7);
}

Test(scenario, what_does_not_fit_is_lowered_and_said)
{
    struct machine machine = {0, 1, 1024};
    struct condition condition = {
        .active = 1000, .idle = 10000, .active_asked = 1000, .idle_asked = 10000};
    condition_fit(&condition, &machine, 9);
    cr_assert_eq(condition.active, 960 / 9);
    cr_assert_eq(condition.idle, 960 - 960 / 9);
    cr_assert_not_null(strstr(condition.note, "descriptor limit"), "%s", condition.note);
    struct condition fits = {.active = 1, .active_asked = 1};
    condition_fit(&fits, &machine, 9);
    cr_assert_str_eq(fits.note, "");
}

Test(scenario, more_tables_than_there_is_room_for_are_refused)
{
    static struct condition conditions[CONDITION_MAX];
    struct options options = {.size = {3, {1, 2, 3}}};
    for (int i = 0; i < LIST_MAX; i++)
        options.connections.values[options.connections.count++] = i + 1;
    cr_assert_eq(conditions_wanted(&options, conditions), -1);
}

Test(roster, reference_and_twins_are_always_there)
{
    static struct server servers[ROSTER_MAX];
    struct options options = {.servers = "03,reactor"};
    options.extra[options.extra_count++] = "/some/where/mine --fast";
    int count = roster_make(&options, build, servers);
    cr_assert_eq(count, 6);
    cr_assert_str_eq(servers[0].name, "03-select");
    expect_command(&servers[0], "/03-select/03-select");
    cr_assert(servers[1].reference);
    cr_assert(servers[2].control);
    cr_assert(servers[3].no_idle);
    cr_assert_str_eq(servers[1].command, servers[2].command);
    cr_assert_str_eq(servers[1].command, servers[3].command);
    cr_assert_str_eq(servers[5].name, "mine --fast");
    cr_assert(servers[5].extra && !servers[0].extra);
}

/* Beside the reference and its copies. */
static void expect_servers(const char *list, const char *names)
{
    static struct server servers[ROSTER_MAX];
    struct options options = {.servers = list};
    char seen[512] = "";
    int count = roster_make(&options, build, servers);
    for (int i = 0; i < count; i++) {
        size_t length = strlen(seen);
        if (!servers[i].reference && !server_is_copy(&servers[i]))
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
    expect_servers("07-reactor,kqueue", "[06-kqueue (on epoll)][07-reactor]");
    expect_servers("03,nonsense", "mistake");
    expect_servers("", "mistake");
    expect_servers("03,", "mistake");
}

/* What belongs to a row is found by its name. */
Test(roster, no_two_rows_have_one_name)
{
    static struct server servers[ROSTER_MAX];
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
    int count = roster_make(&options, build, servers);
    for (int i = 0; i < 8; i++)
        cr_assert_str_eq(servers[count - 8 + i].name, names[i]);
}

/* ---- the list itself ---- */

/* Returns the message about a list, after its path; "" for a good one. */
static const char *said_of(const char *text)
{
    static char said[512];
    static struct server servers[ROSTER_MAX];
    struct options options = {0};
    write_list(text);
    FILE *shown = tmpfile();
    int before = dup(STDERR_FILENO);
    cr_assert(shown && before >= 0);
    dup2(fileno(shown), STDERR_FILENO);
    int count = roster_make(&options, build, servers);
    dup2(before, STDERR_FILENO);
    rewind(shown);
    said[fread(said, 1, sizeof said - 1, shown)] = '\0';
    fclose(shown);
    cr_assert_eq(count < 0, said[0] != '\0', "%d: %s", count, said);
    const char *path = strstr(said, list_path);
    return path ? path + strlen(list_path) : said;
}

#define REFERENCE_ROW "05||||05/05||||reference\n"

Test(roster, a_server_is_a_row_of_the_list)
{
    static struct server servers[ROSTER_MAX];
    struct options options = {0};
    write_list("# columns\n"
               "08-mine|08|||08-mine/08-mine|--fast 1|||compared\n"
               "09|09|||09/09||||tested,comparedly\n" REFERENCE_ROW);
    cr_assert_eq(roster_make(&options, build, servers), 4);
    cr_assert_str_eq(servers[0].name, "08-mine");
    expect_command(&servers[0], "/08-mine/08-mine --fast 1");
    cr_assert_str_eq(servers[2].name, "05 again (A/A)");
    cr_assert_str_eq(servers[3].name, "05 (none silent)");
}

Test(roster, what_is_wrong_with_the_list_is_said)
{
    cr_assert_str_eq(said_of(usual), "");
    cr_assert_str_eq(said_of("a|b\n" REFERENCE_ROW), ":1: a row has nine columns\n");
    cr_assert_str_eq(said_of(REFERENCE_ROW "a||||b/c||||compared|x\n"),
                     ":2: a row has nine columns\n");
    cr_assert_str_eq(said_of("a||||b/c||||compared\n"), ":2: no server is the reference\n");
    cr_assert_str_eq(said_of(REFERENCE_ROW REFERENCE_ROW), ":2: there is a reference already\n");
    cr_assert_str_eq(
        said_of(REFERENCE_ROW "its-name-is-longer-than-40-characters-are||||b||||peer\n"),
        ":2: a name or command is too long\n");
}

Test(roster, more_rows_than_there_is_room_for_are_refused)
{
    char text[2048] = REFERENCE_ROW;
    for (int i = 3; i < ROSTER_MAX; i++)
        strcat(text, "a||||b/c||||compared\n");
    cr_assert_str_eq(said_of(text), "");
    strcat(text, "a||||b/c||||compared\n");
    cr_assert_str_eq(said_of(text), ":31: there are too many servers\n");
}

Test(roster, without_a_list_there_is_no_comparison)
{
    static struct server servers[ROSTER_MAX];
    struct options options = {0};
    unlink(list_path);
    cr_assert_eq(roster_make(&options, build, servers), -1);
}
