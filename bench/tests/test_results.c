/* The files that are written, and the tables of the terminal. */
#include "output/probe_table.h"
#include "output/results_csv.h"
#include "output/terminal.h"
#include "system/interrupt.h"

#include <criterion/criterion.h>
#include <math.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

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
    record->condition_count = 1;
    record->conditions[0] = (struct condition){.active = 64, .idle = 1000, .size = 16};
    record->runs[0].rounds = 2;
    cr_assert_eq(record_init(record), 0);
    record->runs[0].other = 0.125;
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
                              .maximum = 700001,
                              .late = 3,
                              .stream_bytes = 1048576};
        record_add(record, &slice);
    }
    snprintf(record_outcome(record, 0, 1)->trouble, SERVER_TEXT,
             "said \"no\", then\nclosed, for good");
    snprintf(record_outcome(record, 0, 1)->stderr_tail, SERVER_TEXT, "why, \"oh\" why|because");
    struct outcome *good = record_outcome(record, 0, 0);
    good->idle_resident = 32.5;
    good->resident = 2000000;
    for (uint64_t i = 1; i <= 100; i++)
        histogram_record(&good->latency, i);
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

/* The next line has these columns, in any order, and no others. */
static const char *expect_line(const char *text, int columns, const char *const all[][2],
                               size_t count)
{
    int fields;
    text = read_record(text, line, &fields);
    cr_assert_eq(fields, columns);
    cr_assert_eq((size_t)columns, count);
    for (size_t i = 0; i < count; i++)
        cr_assert_str_eq(line[column(header, columns, all[i][0])], all[i][1], "%s", all[i][0]);
    return text;
}

Test(csv, slices_come_back_as_they_were)
{
    static struct record record;
    static struct server servers[2];
    fill(&record, servers);
    const char *text = written(results_slices, &record);
    cr_assert_eq(strncmp(text, "# kernel: Some 1.0, odd\n", 24), 0);
    int columns;
    int fields;
    text = read_record(strchr(text, '\n') + 1, header, &columns);
    static const char *const all[][2] = {{"mode", "closed"},
                                         {"active", "64"},
                                         {"idle", "1000"},
                                         {"size", "16"},
                                         {"percent", "0"},
                                         {"server", "05-epoll"},
                                         {"round", "0"},
                                         {"echoes", "1000"},
                                         {"elapsed_ns", "20000000"},
                                         {"server_cpu_ns", "4000000"},
                                         {"generator_cpu_ns", "5000000"},
                                         {"switches", "17"},
                                         {"p50_ns", "300000"},
                                         {"p90_ns", "400000"},
                                         {"p99_ns", "500000"},
                                         {"p999_ns", "600000"},
                                         {"max_ns", "700001"},
                                         {"late", "3"},
                                         {"stream_bytes", "1048576"}};
    text = expect_line(text, columns, all, sizeof all / sizeof *all);
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
    const char *text = written(results_summary, &record);
    int columns;
    int fields;
    text = read_record(strchr(text, '\n') + 1, header, &columns);
    /* the copy that gives the noise is missing, and no column of another scenario has a number */
    static const char *const all[][2] = {{"mode", "closed"},
                                         {"active", "64"},
                                         {"idle", "1000"},
                                         {"size", "16"},
                                         {"percent", "0"},
                                         {"server", "05-epoll"},
                                         {"trouble", ""},
                                         {"slices", "2"},
                                         {"cpu_us", "4.0000"},
                                         {"cpu_ratio", "1.0000"},
                                         {"cpu_ratio_low", "1.0000"},
                                         {"cpu_ratio_high", "1.0000"},
                                         {"cpu_ratio_q1", "1.0000"},
                                         {"cpu_ratio_q3", "1.0000"},
                                         {"rate", "50000.0"},
                                         {"rate_ratio", "1.0000"},
                                         {"rate_ratio_low", "1.0000"},
                                         {"rate_ratio_high", "1.0000"},
                                         {"rate_ratio_q1", "1.0000"},
                                         {"rate_ratio_q3", "1.0000"},
                                         {"p50_us", "0.050"},
                                         {"p90_us", "0.090"},
                                         {"p99_us", "0.099"},
                                         {"p999_us", "0.100"},
                                         {"max_us", "0.100"},
                                         {"switches", "0.0170"},
                                         {"server_busy", "0.2000"},
                                         {"generator_busy", "0.2500"},
                                         {"generator_cpu_us", "5.0000"},
                                         {"resident_bytes", "2000000"},
                                         {"bytes_per_idle", "32.5"},
                                         {"noise", ""},
                                         {"other_cores", "0.125"},
                                         {"target_rate", ""},
                                         {"late_share", ""},
                                         {"sent_p50_us", ""},
                                         {"sent_p99_us", ""},
                                         {"stream_mb_s", ""},
                                         {"p99_ratio", "1.0000"},
                                         {"p99_ratio_low", "1.0000"},
                                         {"p99_ratio_high", "1.0000"},
                                         {"p99_ratio_q1", "1.0000"},
                                         {"p99_ratio_q3", "1.0000"},
                                         {"stderr", ""}};
    text = expect_line(text, columns, all, sizeof all / sizeof *all);
    text = read_record(text, line, &fields);
    cr_assert_eq(fields, columns);
    cr_assert_str_eq(line[column(header, columns, "server")], "my \"own\", server");
    cr_assert_str_eq(line[column(header, columns, "trouble")],
                     "said \"no\", then\nclosed, for good");
    cr_assert_str_eq(line[column(header, columns, "p99_us")], "", "no number is not zero");
    cr_assert_str_eq(line[column(header, columns, "stderr")], "why, \"oh\" why|because");
    cr_assert_str_eq(text, "");
}

/* A table written through memory of its own, and read back. */
Test(csv, a_table_comes_back)
{
    static struct table table;
    struct provenance provenance = {0};
    struct destination to = {.directory = "/tmp", .provenance = &provenance};
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
    cr_assert_eq(table_finish(&table, &to), 0);
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
    record->runs[0].other = other;
    terminal_condition(file, record, 0, false);
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

Test(report, the_reference_without_silent_clients_has_a_row_only_beside_some)
{
    static struct record record;
    static struct server servers[2];
    fill(&record, servers);
    servers[1].no_idle = true;
    record_outcome(&record, 0, 1)->stderr_tail[0] = '\0';
    cr_assert_not_null(strstr(reported(&record, 0), "my \"own\""));
    cr_assert_not_null(strstr(written(results_summary, &record), "my \"\"own\"\""));
    record.conditions[0].idle = 0;
    cr_assert_null(strstr(reported(&record, 0), "my \"own\""));
    cr_assert_null(strstr(written(results_summary, &record), "my \"\"own\"\""));
}

static const char *value_of(const struct provenance *provenance, const char *key)
{
    for (int i = 0; i < provenance->count; i++) {
        if (strcmp(provenance->facts[i].key, key) == 0)
            return provenance->facts[i].value;
    }
    return "";
}

/* A version belongs to a result whose servers need it, and to no other. */
Test(provenance, languages_have_their_versions)
{
    static const struct server servers[] = {{.name = "05-epoll"}, {.name = "asyncio"}};
    struct provenance provenance = {0};
    provenance_add_languages(&provenance, servers, 2);
    cr_assert_eq(provenance.count, 1);
    const char *version = value_of(&provenance, "asyncio");
    cr_assert(strstr(version, "Python 3."), "%s", version);
}

/* Without a single command, as on a machine that lacks what the commands ask. */
Test(provenance, what_a_machine_lacks_is_unknown_and_no_message)
{
    struct machine machine = {-1, -1, 20000};
    struct provenance provenance;
    char said[256] = "";
    FILE *file = tmpfile();
    int before = dup(STDERR_FILENO);
    cr_assert(file && before >= 0);
    dup2(fileno(file), STDERR_FILENO);
    setenv("PATH", "/nonexistent", 1);
    provenance_collect(&provenance, &machine);
    dup2(before, STDERR_FILENO);
    cr_assert_str_eq(value_of(&provenance, "processor"), "unknown");
    cr_assert_str_eq(value_of(&provenance, "congestion control"), "unknown");
    rewind(file);
    cr_assert_eq(fread(said, 1, sizeof said - 1, file), 0, "%s", said);
    fclose(file);
    close(before);
}
