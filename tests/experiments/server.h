/* Starting one of the chapters' servers, for the experiments that measure it from outside. */
#ifndef SERVER_H
#define SERVER_H

#include "experiment.h"

#include <signal.h>
#include <sys/wait.h>

struct server {
    pid_t pid;
    int port;
};

static inline const char *name_of(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* Starts it on a free port, and returns when it is ready. It ends with us. */
static inline struct server start_server(const char *path)
{
    struct server server;
    int ends[2];
    char line[128];

    if (pipe(ends) < 0 || (server.pid = fork()) < 0)
        err(1, "start");
    if (server.pid == 0) {
        dup2(ends[1], 1);
        close(ends[0]);
        close(ends[1]);
        alarm(30); /* nothing is left behind if we fail */
        execl(path, path, "--port", "0", (char *)NULL);
        err(1, "%s", path);
    }
    close(ends[1]);
    FILE *output = fdopen(ends[0], "r");
    if (!output || !fgets(line, sizeof line, output) || !strrchr(line, ':'))
        errx(1, "%s does not start", path);
    fclose(output);
    server.port = atoi(strrchr(line, ':') + 1);
    return server;
}

/* Returns the CPU time that it has used, in seconds. */
static inline double stop_server(struct server *server)
{
    double before = cpu_used(RUSAGE_CHILDREN);
    kill(server->pid, SIGTERM);
    waitpid(server->pid, NULL, 0);
    return cpu_used(RUSAGE_CHILDREN) - before;
}

/* A line of /proc/PID/status; with pid 0, of /proc/meminfo. */
static inline long kb_of_process(pid_t pid, const char *name)
{
    char path[64], line[256];
    long kb = 0;
    snprintf(path, sizeof path, pid ? "/proc/%d/status" : "/proc/meminfo", (int)pid);
    FILE *file = fopen(path, "r");
    while (file && fgets(line, sizeof line, file))
        if (!strncmp(line, name, strlen(name)))
            kb = atol(line + strlen(name));
    if (file)
        fclose(file);
    return kb;
}

#endif
