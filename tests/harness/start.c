#include "start.h"

#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <time.h>
#include <unistd.h>
#ifdef __linux__
#include <sys/prctl.h>
#endif

#include "fail.h"

enum { DESCRIPTORS_MAX = 4096 };

/* ---- time ---- */

int64_t now_ms(void)
{
    struct timespec now;
    clock_gettime(CLOCK_MONOTONIC, &now);
    return (int64_t)now.tv_sec * 1000 + now.tv_nsec / 1000000;
}

int patient(int ms)
{
    const char *slow = getenv("ECHO_SLOW");
    return slow && atoi(slow) > 1 ? ms * atoi(slow) : ms;
}

void nap(int ms)
{
    struct timespec t = {.tv_sec = ms / 1000, .tv_nsec = ms % 1000 * 1000000L};
    nanosleep(&t, NULL);
}

/* ---- the start ---- */

/* Runs in the child. Above all, SIGPIPE must be as usual: with our SIG_IGN, a program that forgets
 * about it would look fine. */
static _Noreturn void become(char *const *words, const int standard[3], unsigned descriptors)
{
    sigset_t none;
    sigemptyset(&none);
    sigprocmask(SIG_SETMASK, &none, NULL);
    signal(SIGPIPE, SIG_DFL);
#ifdef __linux__
    prctl(PR_SET_PDEATHSIG, SIGKILL); /* no program outlives its test */
#endif
    int nothing = open("/dev/null", O_RDWR);
    for (int fd = 0; fd <= STDERR_FILENO; fd++)
        if (standard[fd] == CLOSED)
            close(fd);
        else
            dup2(standard[fd] == DEV_NULL ? nothing : standard[fd], fd);
    for (int fd = STDERR_FILENO + 1; fd < DESCRIPTORS_MAX; fd++)
        close(fd);
    if (descriptors) {
        struct rlimit limit = {.rlim_cur = descriptors, .rlim_max = descriptors};
        setrlimit(RLIMIT_NOFILE, &limit);
    }
    execv(words[0], words);
    fprintf(stderr, "cannot run %s: %s\n", words[0], strerror(errno));
    _exit(127);
}

pid_t start_process(char *const *words, const int standard[3], unsigned descriptors)
{
    pid_t pid = fork();
    if (pid == 0)
        become(words, standard, descriptors);
    must(pid > 0, "fork: %s", strerror(errno));
    return pid;
}

int split_words(char *text, char **words, int max)
{
    int n = 0;
    char *word = strtok(text, " ");
    for (; word && n < max - 1; word = strtok(NULL, " "))
        words[n++] = word;
    words[n] = NULL;
    must(!word, "a command has more than %d words", max - 1);
    return n;
}

/* ---- the ready line ---- */

int read_line(int fd, char *line, size_t size, int ms)
{
    struct pollfd p = {.fd = fd, .events = POLLIN};
    int64_t end = now_ms() + ms;
    size_t n = 0;
    *line = '\0';
    while (n < size - 1) {
        int64_t left = end - now_ms();
        if (poll(&p, 1, left > 0 ? (int)left : 0) <= 0)
            return -1;
        if (read(fd, line + n, 1) != 1)
            return 0;
        if (line[n] == '\n')
            break;
        line[++n] = '\0';
    }
    line[n] = '\0';
    return 1;
}

int ready_port(const char *line, const char *host)
{
    char expected[256];
    const char *colon = strrchr(line, ':');
    int port = colon ? atoi(colon + 1) : 0;
    if (strcmp(host, "localhost") == 0) /* this name may have two addresses */
        host = strchr(line, '[') ? "::1" : "127.0.0.1";
    snprintf(expected, sizeof expected,
             strchr(host, ':') ? "listening on [%s]:%d" : "listening on %s:%d", host, port);
    return strcmp(line, expected) == 0 ? port : 0;
}
