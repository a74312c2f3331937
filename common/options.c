#include "options.h"

#include <ctype.h>
#include <err.h>
#include <errno.h>
#include <fcntl.h>
#include <getopt.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "log.h"

const char *options_purpose = "A TCP echo server";

_Noreturn void options_try_help(void)
{
    fprintf(stderr, "Try '%s --help'.\n", log_name);
    exit(2);
}

int options_number(const char *option, const char *text, int min, int max)
{
    char *end;
    errno = 0;
    long number = strtol(text, &end, 10);
    /* strtol() alone would take " 80", "80x" and "" for numbers. */
    if (!isdigit((unsigned char)text[0]) || *end || errno || number < min || number > max) {
        warnx("%s: '%s' is not a number from %d to %d", option, text, min, max);
        options_try_help();
    }
    return (int)number;
}

static _Noreturn void print_help(const struct extra_option *extra)
{
    printf("Usage: %s [OPTION]...\n%s.\n\n"
           "  --host ADDR      listen on this address or name (default: 127.0.0.1)\n"
           "  --port N         listen on this port, 0 for any free one (default: 7000)\n"
           "  --backlog N      connections that may wait for accept() (default: %d)\n",
           log_name, options_purpose, SOMAXCONN);
    for (; extra && extra->name; extra++)
        printf("  %s\n", extra->help);
    printf("  --verbose        print a line per connection on stderr\n"
           "  --help           print this text\n"
           "  --version        print the version\n");
    exit(0);
}

/* open() takes the lowest number that is free. */
static void open_standard_descriptors(void)
{
    int fd = open("/dev/null", O_RDWR);
    while (fd >= 0 && fd <= STDERR_FILENO)
        fd = open("/dev/null", O_RDWR);
    if (fd < 0)
        err(1, "/dev/null");
    close(fd);
}

struct net_settings options_parse(int argc, char **argv, struct extra_option *extra)
{
    enum { SHARED = 6, EXTRA = 256, EXTRA_MAX = 8 };
    struct option options[SHARED + EXTRA_MAX + 1] = {
        {"host", 1, NULL, 'H'},    {"port", 1, NULL, 'p'}, {"backlog", 1, NULL, 'b'},
        {"verbose", 0, NULL, 'v'}, {"help", 0, NULL, 'h'}, {"version", 0, NULL, 'V'},
    };
    for (int i = 0; extra && extra[i].name && i < EXTRA_MAX; i++)
        options[SHARED + i] = (struct option){extra[i].name, extra[i].argument, NULL, EXTRA + i};

    struct net_settings settings = {.host = "127.0.0.1", .port = 7000, .backlog = SOMAXCONN};
    char *slash = strrchr(argv[0], '/');
    log_name = argv[0] = slash ? slash + 1 : argv[0]; /* for getopt_long()'s messages, too */
    open_standard_descriptors();
    log_open();
    for (int option; (option = getopt_long(argc, argv, "", options, NULL)) != -1;) {
        if (option == 'H')
            settings.host = optarg;
        else if (option == 'p')
            settings.port = options_number("--port", optarg, 0, 65535);
        else if (option == 'b')
            settings.backlog = options_number("--backlog", optarg, 1, 65535);
        else if (option == 'v')
            log_verbose = true;
        else if (option >= EXTRA)
            extra[option - EXTRA].value = optarg ? optarg : "";
        else if (option == 'h')
            print_help(extra);
        else if (option == 'V')
            exit(printf("%s 0.1.0\n", log_name) < 0 ? 1 : 0);
        else
            options_try_help(); /* getopt_long() has said what is wrong */
    }
    if (optind < argc) {
        warnx("unexpected argument '%s'", argv[optind]);
        options_try_help();
    }
    return settings;
}

sigset_t stop_signals_block(void)
{
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    sigaddset(&signals, SIGTERM);
    sigprocmask(SIG_BLOCK, &signals, NULL);
    return signals;
}

void stop_signals_handle(void (*handler)(int signal))
{
    const struct sigaction action = {.sa_handler = handler};
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
}

bool stop_signals_pending(void)
{
    sigset_t pending;
    return sigpending(&pending) == 0 &&
           (sigismember(&pending, SIGINT) == 1 || sigismember(&pending, SIGTERM) == 1);
}
