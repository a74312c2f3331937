#include "compare/options.h"

#include "compare/scenarios.h"
#include "load/pattern.h"
#include "numbers/list.h"

#include <getopt.h>
#include <stdio.h>
#include <string.h>

enum { USAGE = 3 };

static void print_help(void)
{
    printf("usage: bench/run [SCENARIO...] [OPTION...]\n\n"
           "Drives every server of this repository in turn with the same load and compares them.\n"
           "\nscenarios (none: those marked *, the comparison on the cover; all: every one)\n");
    for (int i = 0; i < scenario_count; i++)
        printf("%c %-10s %s\n", scenarios[i].by_default ? '*' : ' ', scenarios[i].name,
               scenarios[i].title);
    printf(
        "\noptions\n"
        "  --servers LIST       only these, e.g. 01,poll,libuv (the reference always runs);\n"
        "                       all: the peers, too: libuv, libevent, bufferevent, libev, "
        "io_uring\n"
        "                       smallest: the smallest.c of each chapter\n"
        "                       languages: go, node, asyncio\n"
        "  --server PATH        one more, any program with our command line; may be repeated;\n"
        "                       words after the path are its own arguments\n"
        "  --connections LIST   active connections, e.g. 1,64,1000\n"
        "  --idle LIST          idle connections beside them, e.g. 0,1000,10000\n"
        "  --size LIST          bytes in a message (64), at most %d\n"
        "  --rate LIST          open loop: percent of capacity, or above 100 echoes a second\n"
        "  --rounds N           exactly N rounds for every table; without it, what the time\n"
        "                       allows (20 s a table)\n"
        "  --noise PERCENT      a table whose A/A control is noisier than that goes on, for up to\n"
        "                       three times its time\n"
        "  --quick              about 20 seconds, wider error bars\n"
        "  --out DIR            where the CSV files go (bench-results)\n"
        "  --any-build          measure a debug or sanitizer build all the same\n"
        "  --help\n",
        PATTERN_LONGEST);
}

static int wrong(const char *what, const char *value)
{
    fprintf(stderr, "compare: %s: %s\nTry 'bench/run --help'.\n", what, value);
    return USAGE;
}

static int take_list(const char *name, const char *text, int min, int max, struct list *list)
{
    if (list_parse(text, min, max, list))
        return 0;
    char what[96];
    snprintf(what, sizeof what, "%s wants numbers from %d to %d, separated by commas, not", name,
             min, max);
    return wrong(what, text);
}

static int take_number(const char *name, const char *text, int max, int *number)
{
    struct list one;
    char what[96];
    if (list_parse(text, 1, max, &one) && one.count == 1) {
        *number = one.values[0];
        return 0;
    }
    snprintf(what, sizeof what, "%s wants a number from 1 to %d, not", name, max);
    return wrong(what, text);
}

static int take_scenario(struct options *options, const char *name)
{
    bool all = strcmp(name, "all") == 0;
    for (int i = 0; i < scenario_count; i++) {
        if (!all && strcmp(scenarios[i].name, name) != 0)
            continue;
        if (options->scenarios.count < LIST_MAX)
            options->scenarios.values[options->scenarios.count++] = i;
        if (!all)
            return 0;
    }
    return all ? 0 : wrong("no such scenario (--servers chooses servers)", name);
}

static int take_option(struct options *options, int option, const char *value)
{
    int percent;
    switch (option) {
    case 's':
        options->servers = value;
        return 0;
    case 'S':
        if (options->extra_count == EXTRA_MAX)
            return wrong("too many --server", value);
        options->extra[options->extra_count++] = value;
        return 0;
    case 'c':
        return take_list("--connections", value, 1, 1000000, &options->connections);
    case 'i':
        return take_list("--idle", value, 0, 1000000, &options->idle);
    case 'z':
        return take_list("--size", value, 1, PATTERN_LONGEST, &options->size);
    case 'R':
        return take_list("--rate", value, 1, 10000000, &options->rate);
    case 'r':
        return take_number("--rounds", value, 100000, &options->rounds);
    case 'n':
        if (take_number("--noise", value, 100, &percent) != 0)
            return USAGE;
        options->noise = percent / 100.0;
        return 0;
    case 'q':
        options->quick = true;
        return 0;
    case 'o':
        options->out = value;
        return 0;
    case 'a':
        options->any_build = true;
        return 0;
    case 'h':
        print_help();
        return 1;
    default: /* getopt has said what is wrong */
        fprintf(stderr, "Try 'bench/run --help'.\n");
        return USAGE;
    }
}

/* getopt_long() would take --ou for --out, but bench/run, which reads --out too, would not. Returns
 * the first option that is no whole name, or NULL. */
static const char *abbreviated(const struct option *known, char **argv)
{
    for (; *argv; argv++) {
        size_t length = strcspn(*argv, "=");
        const struct option *option = known;
        if (strncmp(*argv, "--", 2) != 0 || length == 2)
            continue;
        while (option->name && (strlen(option->name) != length - 2 ||
                                strncmp(option->name, *argv + 2, length - 2) != 0))
            option++;
        if (!option->name)
            return *argv;
        if (option->has_arg == required_argument && (*argv)[length] == '\0' && argv[1])
            argv++;
    }
    return NULL;
}

int options_parse(struct options *options, int argc, char **argv)
{
    static const struct option known[] = {
        {"servers", required_argument, NULL, 's'},
        {"server", required_argument, NULL, 'S'},
        {"connections", required_argument, NULL, 'c'},
        {"idle", required_argument, NULL, 'i'},
        {"size", required_argument, NULL, 'z'},
        {"rate", required_argument, NULL, 'R'},
        {"rounds", required_argument, NULL, 'r'},
        {"noise", required_argument, NULL, 'n'},
        {"quick", no_argument, NULL, 'q'},
        {"out", required_argument, NULL, 'o'},
        {"any-build", no_argument, NULL, 'a'},
        {"help", no_argument, NULL, 'h'},
        {NULL, 0, NULL, 0},
    };
    memset(options, 0, sizeof *options);
    options->out = "bench-results";
    const char *unknown = abbreviated(known, argv + 1);
    if (unknown)
        return wrong("no such option", unknown);
    int option;
    while ((option = getopt_long(argc, argv, "", known, NULL)) != -1) {
        int stop = take_option(options, option, optarg);
        if (stop != 0)
            return stop;
    }
    for (int i = optind; i < argc; i++) {
        if (take_scenario(options, argv[i]) != 0)
            return USAGE;
    }
    return 0;
}
