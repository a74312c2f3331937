#include "numbers/list.h"

#include <errno.h>
#include <stdlib.h>

bool list_parse(const char *text, int min, int max, struct list *list)
{
    list->count = 0;
    for (;;) {
        char *end;
        errno = 0;
        long value = strtol(text, &end, 10);
        if (end == text || errno != 0 || value < min || value > max || *text == '+' ||
            *text == ' ' || list->count == LIST_MAX)
            return false;
        list->values[list->count++] = (int)value;
        if (*end == '\0')
            return true;
        if (*end != ',')
            return false;
        text = end + 1;
    }
}
