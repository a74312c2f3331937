#include "table.h"

#include "clock.h"
#include "csv.h"
#include "interrupt.h"

#include <ctype.h>
#include <errno.h>
#include <limits.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

enum { EXCERPT = 160 };

static char *next_cell(struct table *table)
{
    static char nowhere[TABLE_CELL]; /* a table that is too long loses its end */
    int row = table->used / table->columns;
    if (row >= TABLE_ROWS)
        return nowhere;
    return table->cells[row][table->used++ % table->columns];
}

void table_text(struct table *table, const char *format, ...)
{
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(next_cell(table), TABLE_CELL, format, arguments);
    va_end(arguments);
}

void table_number(struct table *table, double number, int decimals)
{
    if (isfinite(number))
        table_text(table, "%.*f", decimals, number);
    else
        table_text(table, "%s", "");
}

void table_note(struct table *table, const char *format, ...)
{
    size_t length = strlen(table->note);
    if (length > 0 && length + 1 < TABLE_NOTE)
        table->note[length++] = '\n';
    va_list arguments;
    va_start(arguments, format);
    vsnprintf(table->note + length, TABLE_NOTE - length, format, arguments);
    va_end(arguments);
}

void table_trouble(struct table *table, struct server *server, const char *what)
{
    char ended[128];
    char end[EXCERPT];
    if (interrupted)
        return;
    if (server->pid > 0 && server_ended(server, ended, sizeof ended))
        what = ended;
    server_said(server, end, sizeof end);
    /* what does not fit begins with a whole line */
    const char *line = strlen(end) == sizeof end - 1 ? strchr(end, '|') : NULL;
    const char *said = line != NULL ? line + 1 : end;
    char note[2 * SERVER_SAID];
    snprintf(note, sizeof note, "%s: %s%s%s", server->name, what,
             said[0] != '\0' ? "; on stderr: " : "", said);
    if (strstr(table->note, note) == NULL) /* the same trouble with other numbers of clients */
        table_note(table, "%s", note);
}

void table_begin(struct table *table, const char *name, const char *title, const char *columns)
{
    memset(table, 0, sizeof *table);
    table->name = name;
    table->title = title;
    table->columns = 1;
    for (const char *c = columns; *c != '\0'; c++)
        table->columns += *c == ',';
    for (; *columns != '\0'; columns += *columns == ',') {
        int length = (int)strcspn(columns, ",");
        table_text(table, "%.*s", length, columns);
        columns += length;
    }
}

static bool is_number(const char *text)
{
    return isdigit((unsigned char)*text) || *text == '\0' ||
           (*text == '-' && isdigit((unsigned char)text[1]));
}

static size_t width_of(const struct table *table, int column, int rows)
{
    size_t width = 0;
    for (int row = 0; row < rows; row++) {
        size_t length = strlen(table->cells[row][column]);
        width = length > width ? length : width;
    }
    return width;
}

static void print_row(const struct table *table, int row, const size_t *widths)
{
    for (int column = 0; column < table->columns; column++) {
        char text[TABLE_CELL];
        snprintf(text, sizeof text, "%s", table->cells[row][column]);
        for (char *c = text; row == 0 && *c != '\0'; c++)
            *c = *c == '_' ? ' ' : *c;
        bool right = column > 0 && is_number(table->cells[1][column]);
        if (text[0] == '\0' && row > 0)
            snprintf(text, sizeof text, "-");
        printf(right ? "%*s  " : "%-*s  ", (int)widths[column], text);
    }
    putchar('\n');
}

static void print(const struct table *table, bool colour)
{
    size_t widths[TABLE_COLUMNS];
    int rows = table->used / table->columns;
    printf("\n%s%s%s\n", colour ? "\033[1m" : "", table->title, colour ? "\033[0m" : "");
    for (int column = 0; column < table->columns; column++)
        widths[column] = width_of(table, column, rows);
    for (int row = 0; row < rows; row++)
        print_row(table, row, widths);
    if (table->note[0] != '\0')
        printf("%s\n", table->note);
    fflush(stdout);
}

static void write_notes(const struct table *table, FILE *file)
{
    fprintf(file, "# title: %s\n", table->title);
    for (const char *line = table->note; *line != '\0'; line += *line == '\n') {
        int length = (int)strcspn(line, "\n");
        fprintf(file, "# note: %.*s\n", length, line);
        line += length;
    }
}

static int write_file(const struct table *table, const struct experiment *facts)
{
    char path[PATH_MAX];
    snprintf(path, sizeof path, "%s/%s.csv", facts->options->out, table->name);
    FILE *file = fopen(path, "w");
    if (file == NULL)
        return -1;
    write_notes(table, file);
    provenance_write(facts->provenance, file, "# ");
    for (int i = 0; i < table->used; i++) {
        csv_text(file, table->cells[i / table->columns][i % table->columns]);
        putc(i % table->columns == table->columns - 1 ? '\n' : ',', file);
    }
    int failed = ferror(file);
    return fclose(file) != 0 || failed ? -1 : 0;
}

int table_finish(const struct table *table, const struct experiment *facts)
{
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "\r\033[K");
    print(table, facts->colour);
    return write_file(table, facts);
}

int experiment_rows(const struct experiment *facts)
{
    int count = 0;
    for (int i = 0; i < facts->server_count; i++)
        count += !server_is_twin(&facts->servers[i]);
    return count;
}

static uint64_t expected_end;
static double expected_later;

void experiment_expect(double seconds, double later)
{
    expected_end = clock_now() + (uint64_t)(seconds * 1e9);
    expected_later = later;
}

void experiment_progress(const char *format, ...)
{
    bool terminal = isatty(STDERR_FILENO) != 0;
    va_list arguments;
    va_start(arguments, format);
    if (terminal)
        fprintf(stderr, "\r\033[K");
    bool whole_line = strchr(format, '\n') != NULL;
    vfprintf(stderr, format, arguments);
    uint64_t now = clock_now();
    double left = expected_end > now ? (double)(expected_end - now) / 1e9 : 0;
    if (terminal && !whole_line)
        fprintf(stderr, ", about %.0f s left", left + expected_later);
    if (!terminal && !whole_line)
        fputc('\n', stderr);
    va_end(arguments);
}
