/* Linked into every Criterion test on Linux. Criterion and the processes that it runs the tests in
 * share memory by shm_open(), which the C library looks for in /dev/shm and nowhere else. A
 * container that is no more than a directory has none: there the files are in /tmp. */
#include <fcntl.h>
#include <stdio.h>
#include <sys/mman.h>
#include <unistd.h>

static const char *path_of(const char *name)
{
    static char path[256];
    const char *directory = access("/dev/shm", W_OK) == 0 ? "/dev/shm" : "/tmp";

    snprintf(path, sizeof path, "%s/%s", directory, name[0] == '/' ? name + 1 : name);
    return path;
}

int shm_open(const char *name, int flags, mode_t mode)
{
    return open(path_of(name), flags | O_CLOEXEC | O_NOFOLLOW, mode);
}

int shm_unlink(const char *name)
{
    return unlink(path_of(name));
}
