#include "output/csv.h"

#include <errno.h>
#include <limits.h>
#include <math.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

void csv_text(FILE *file, const char *text)
{
    if (!strpbrk(text, ",\"\r\n")) {
        fputs(text, file);
        return;
    }
    putc('"', file);
    for (; *text != '\0'; text++) {
        if (*text == '"')
            putc('"', file);
        putc(*text, file);
    }
    putc('"', file);
}

void csv_number(FILE *file, double number, int decimals)
{
    if (isfinite(number))
        fprintf(file, "%.*f", decimals, number);
}

int csv_prepare(const char *directory)
{
    if (mkdir(directory, 0777) != 0 && errno != EEXIST)
        return -1;
    return access(directory, W_OK | X_OK);
}

FILE *csv_open(const char *directory, const char *name)
{
    char path[PATH_MAX];
    if (snprintf(path, sizeof path, "%s/%s.csv", directory, name) >= (int)sizeof path) {
        errno = ENAMETOOLONG;
        return NULL;
    }
    return fopen(path, "w");
}

int csv_close(FILE *file)
{
    int failed = ferror(file); /* a full disk must not pass for a result */
    return fclose(file) != 0 || failed ? -1 : 0;
}
