/* Wrong on purpose, and never built: each tool of tests/analysis/run must find something here before
 * anyone believes what it says about the rest. */
#include <stdlib.h>
#include <string.h>

char *copy(const char *text);
int sum(const int *numbers);

char *copy(const char *text)
{
    char *fresh = malloc(strlen(text) + 1);
    if (!fresh)
        return NULL;
    free(fresh);
    fresh[0] = text[0]; /* used after free() */
    return fresh;
}

int sum(const int *numbers)
{
    int total; /* never set to 0 */
    for (int i = 0; i < 4; i++)
        total += numbers[i];
    return total;
}
