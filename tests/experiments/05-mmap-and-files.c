/* What an epoll descriptor cannot do: be mapped, and watch a file.
 *
 * A forerunner of 2002, /dev/epoll, shared a page with the program, and the articles still tell of
 * it. epoll as it is copies its events out, like every other call. And it takes only what can be
 * waited for: a file is always ready, and is refused.
 *
 * Needs: linux
 *
 * Expect:
 *   mmap() of an epoll descriptor: No such device
 *   epoll_ctl(EPOLL_CTL_ADD) of a file: Operation not permitted
 *   epoll_ctl(EPOLL_CTL_ADD) of a pipe: works
 */
#include "experiment.h"

#include <sys/epoll.h>
#include <sys/mman.h>

static const char *said(int error)
{
    return error ? strerror(error) : "works";
}

static int add(int epoll, int fd)
{
    struct epoll_event event = {.events = EPOLLIN};
    return epoll_ctl(epoll, EPOLL_CTL_ADD, fd, &event) < 0 ? errno : 0;
}

int main(void)
{
    int epoll = epoll_create1(0), ends[2];
    FILE *file = tmpfile();
    if (!file || pipe(ends) < 0)
        err(1, "tmpfile, pipe");

    void *memory = mmap(NULL, 4096, PROT_READ, MAP_SHARED, epoll, 0);
    int mapped = memory == MAP_FAILED ? errno : 0;
    printf("mmap() of an epoll descriptor: %s\n", said(mapped));
    int of_file = add(epoll, fileno(file)), of_pipe = add(epoll, ends[0]);
    printf("epoll_ctl(EPOLL_CTL_ADD) of a file: %s\n", said(of_file));
    printf("epoll_ctl(EPOLL_CTL_ADD) of a pipe: %s\n", said(of_pipe));
    expect(mapped == ENODEV && of_file == EPERM && of_pipe == 0, "no mapping, no files");
    claim("epoll shares memory with the program, by mmap", "false", mapped == 0, 1, "mmap(): %s",
          said(mapped));
    claim("epoll takes any descriptor, as select does", "false", of_pipe == 0 && of_file == 0, 1,
          "a pipe: %s; a file: %s", said(of_pipe), said(of_file));
    claim("A callback of the network card's driver", "false", of_pipe != 0, 1,
          "a pipe, which has no card: %s", said(of_pipe));
    return experiment_failed;
}
