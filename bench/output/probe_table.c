#include "output/probe_table.h"

#include "output/csv.h"
#include "system/interrupt.h"

#include <ctype.h>
#include <math.h>
#include <stdarg.h>
#include <stdio.h>
#include <string.h>
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
    server_stderr_tail(server, end, sizeof end);
    /* what does not fit begins with a whole line */
    const char *line = strlen(end) == sizeof end - 1 ? strchr(end, '|') : NULL;
    const char *said = line ? line + 1 : end;
    char note[2 * SERVER_TEXT];
    snprintf(note, sizeof note, "%s: %s%s%s", server->name, what,
             said[0] != '\0' ? "; on stderr: " : "", said);
    if (!strstr(table->note, note)) /* the same trouble with other numbers of clients */
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

static int write_file(const struct table *table, const struct destination *to)
{
    FILE *file = csv_open(to->directory, table->name);
    if (!file)
        return -1;
    write_notes(table, file);
    provenance_write(to->provenance, file, "# ");
    for (int i = 0; i < table->used; i++) {
        csv_text(file, table->cells[i / table->columns][i % table->columns]);
        putc(i % table->columns == table->columns - 1 ? '\n' : ',', file);
    }
    return csv_close(file);
}

int table_finish(const struct table *table, const struct destination *to)
{
    if (isatty(STDERR_FILENO))
        fprintf(stderr, "\r\033[K");
    print(table, to->colour);
    return write_file(table, to);
}
