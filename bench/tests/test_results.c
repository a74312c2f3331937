/* What is written, and what is understood of the command line. */
#include "csv.h"
#include "interrupt.h"
#include "report.h"
#include "roster.h"
#include "scenario.h"
#include "table.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <unistd.h>

volatile sig_atomic_t interrupted;

/* A reader of RFC 4180, written from the RFC and not from the writer: splits one record of `text`
 * into fields, returns where the next one begins. */
static const char *read_record(const char *text, char fields[][256], int *count)
{
    *count = 0;
    for (;;) {
        char *out = fields[(*count)++];
        if (*text == '"') {
            for (text++; *text != '\0' && (*text != '"' || text[1] == '"'); text++) {
                text += *text == '"';
                *out++ = *text;
            }
            text++;
        }
        while (*text != '\0' && *text != ',' && *text != '\n')
            *out++ = *text++;
        *out = '\0';
        if (*text != ',')
            return *text == '\0' ? text : text + 1;
        text++;
    }
}

static void fill(struct record *record, struct server *servers)
{
    snprintf(servers[0].name, sizeof servers[0].name, "05-epoll");
    snprintf(servers[1].name, sizeof servers[1].name, "my \"own\", server");
    servers[0].reference = true;
    record->servers = servers;
    record->server_count = 2;
    record->cell_count = 1;
    record->cells[0] = (struct cell){.active = 64, .idle = 1000, .size = 16};
    record->facts[0].rounds = 2;
    cr_assert_eq(record_init(record), 0);
    record->facts[0].other = 0.125;
    cr_assert_eq(record_reserve(record, 4), 0);
    for (int round = 0; round < 2; round++) {
        struct slice slice = {.round = round,
                              .echoes = 1000,
                              .elapsed = 20000000,
                              .server_cpu = 4000000,
                              .generator_cpu = 5000000,
                              .switches = round == 0 ? 17 : -1,
                              .p50 = 300000,
                              .p90 = 400000,
                              .p99 = 500000,
                              .p999 = 600000,
                              .maximum = 700001};
        record_add(record, &slice);
    }
    snprintf(record_outcome(record, 0, 1)->trouble, SERVER_SAID,
             "said \"no\", then\nclosed, for good");
    record_outcome(record, 0, 0)->idle_resident = 32.5;
}

static char *written(void (*write)(FILE *, const struct provenance *, const struct record *),
                     const struct record *record)
{
    struct provenance provenance = {0};
    provenance_add(&provenance, "kernel", "%s", "Some 1.0, odd");
    char *text = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&text, &size);
    write(file, &provenance, record);
    fclose(file);
    return text;
}

static int column(char header[][256], int count, const char *name)
{
    for (int i = 0; i < count; i++) {
        if (strcmp(header[i], name) == 0)
            return i;
    }
    cr_assert(false, "no column %s", name);
    return -1;
}

static char header[64][256];
static char line[64][256];

Test(csv, slices_come_back_as_they_were)
{
    static struct record record;
    static struct server servers[2];
    fill(&record, servers);
    const char *text = written(csv_slices, &record);
    cr_assert_eq(strncmp(text, "# kernel: Some 1.0, odd\n", 24), 0);
    int columns;
    int fields;
    text = read_record(strchr(text, '\n') + 1, header, &columns);
    cr_assert_eq(columns, 19);
    text = read_record(text, line, &fields);
    cr_assert_eq(fields, columns);
    cr_assert_str_eq(line[column(header, columns, "server")], "05-epoll");
    cr_assert_str_eq(line[column(header, columns, "elapsed_ns")], "20000000");
    cr_assert_str_eq(line[column(header, columns, "switches")], "17");
    cr_assert_str_eq(line[column(header, columns, "max_ns")], "700001");
    text = read_record(text, line, &fields);
    cr_assert_eq(fields, columns);
    cr_assert_str_eq(line[column(header, columns, "round")], "1");
    cr_assert_str_eq(line[column(header, columns, "switches")], "", "unknown is empty");
    cr_assert_str_eq(text, "");
}

Test(csv, summary_comes_back_with_its_odd_names_and_its_gaps)
{
    static struct record record;
    static struct server servers[2];
    fill(&record, servers);
    const char *text = written(csv_summary, &record);
    int columns;
    int fields;
    text = read_record(strchr(text, '\n') + 1, header, &columns);
    text = read_record(text, line, &fields);
    cr_assert_eq(fields, columns);
    cr_assert_str_eq(line[column(header, columns, "idle")], "1000");
    cr_assert_str_eq(line[column(header, columns, "cpu_us")], "4.0000");
    cr_assert_str_eq(line[column(header, columns, "cpu_ratio")], "1.0000");
    cr_assert_str_eq(line[column(header, columns, "rate")], "50000.0");
    cr_assert_str_eq(line[column(header, columns, "bytes_per_idle")], "32.5");
    cr_assert_str_eq(line[column(header, columns, "other_cores")], "0.125");
    text = read_record(text, line, &fields);
    cr_assert_eq(fields, columns);
    cr_assert_str_eq(line[column(header, columns, "server")], "my \"own\", server");
    cr_assert_str_eq(line[column(header, columns, "trouble")],
                     "said \"no\", then\nclosed, for good");
    cr_assert_str_eq(line[column(header, columns, "p99_us")], "", "no number is not zero");
    cr_assert_str_eq(text, "");
}

/* A table written through memory of its own, and read back. */
Test(csv, a_table_comes_back)
{
    static struct table table;
    struct options options = {.out = "/tmp"};
    struct provenance provenance = {0};
    struct experiment facts = {.options = &options, .provenance = &provenance};
    char name[64];
    char path[96];
    snprintf(name, sizeof name, "bench-table-%d", (int)getpid());
    snprintf(path, sizeof path, "/tmp/%s.csv", name);
    table_begin(&table, name, "A title", "server,bytes,words");
    table_note(&table, "first %s", "line");
    table_note(&table, "second line");
    table_text(&table, "my \"own\", server");
    table_number(&table, NAN, 1);
    table_text(&table, "%s", "x, y");
    table_text(&table, "b");
    table_number(&table, 1234.56, 1);
    table_text(&table, "%s", "");
    cr_assert_eq(table_finish(&table, &facts), 0);
    char text[1024] = "";
    FILE *file = fopen(path, "r");
    cr_assert_not_null(file);
    cr_assert_gt(fread(text, 1, sizeof text - 1, file), 0);
    fclose(file);
    unlink(path);
    const char *start = "# title: A title\n# note: first line\n# note: second line\n";
    cr_assert_eq(strncmp(text, start, strlen(start)), 0, "%s", text);
    int fields;
    const char *rest = read_record(text + strlen(start), header, &fields);
    cr_assert_eq(fields, 3);
    rest = read_record(rest, line, &fields);
    cr_assert_str_eq(line[0], "my \"own\", server");
    cr_assert_str_eq(line[1], "");
    cr_assert_str_eq(line[2], "x, y");
    rest = read_record(rest, line, &fields);
    cr_assert_str_eq(line[1], "1234.6");
    cr_assert_str_eq(rest, "");
}

Test(csv, a_table_that_is_too_long_loses_its_end_and_nothing_else)
{
    static struct table table;
    table_begin(&table, "long", "Long", "a,b");
    for (int i = 0; i < 2 * TABLE_ROWS + 7; i++)
        table_text(&table, "%d", i);
    cr_assert_eq(table.used, 2 * TABLE_ROWS);
    cr_assert_str_eq(table.cells[TABLE_ROWS - 1][1], "397");
}

static char *reported(struct record *record, double other)
{
    char *text = NULL;
    size_t size = 0;
    FILE *file = open_memstream(&text, &size);
    record->facts[0].other = other;
    report_cell(file, record, 0, false);
    fclose(file);
    return text;
}

Test(report, rates_are_not_compared_beside_busy_neighbours)
{
    static struct record record;
    static struct server servers[2];
    fill(&record, servers);
    cr_assert_not_null(strstr(reported(&record, 0.19), "    50000  1.00"));
    const char *busy = reported(&record, 0.21);
    cr_assert_not_null(strstr(busy, "    50000     -"), "%s", busy);
    cr_assert_not_null(strstr(busy, "rates are not compared"), "%s", busy);
}

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

Test(roster, reference_and_control_are_always_there)
{
    static struct server servers[ROSTER_MOST];
    struct options options = {.servers = "03,reactor"};
    options.extra[options.extra_count++] = "/some/where/mine --fast";
    int count = roster_make(&options, "/b", servers);
    cr_assert_eq(count, 5);
    cr_assert_str_eq(servers[0].name, "03-select");
    cr_assert_str_eq(servers[0].command, "/b/03-select/03-select");
    cr_assert(servers[1].reference);
    cr_assert(servers[2].control);
    cr_assert_str_eq(servers[1].command, servers[2].command);
    cr_assert_str_eq(servers[4].name, "mine --fast");
    options.servers = "03,nonsense";
    cr_assert_eq(roster_make(&options, "/b", servers), -1);
}
