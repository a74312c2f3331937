/* Plays macOS on Linux. The compiler reads this before a source (-include). The source then takes
 * its code for macOS, and some calls answer as they do there, so that Linux tests this code, too.
 * Only what stands below is like macOS.
 *
 * The system's headers come first, because they must see the real system. */
#ifndef LIKE_MACOS_H
#define LIKE_MACOS_H

#define _GNU_SOURCE
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <sys/resource.h>
#include <sys/socket.h>

/* macOS has no accept4(), and its socket() does not take these. */
#undef SOCK_NONBLOCK
#undef SOCK_CLOEXEC

/* An accepted socket has its listener's O_NONBLOCK. */
static inline int like_macos_accept(int listener, struct sockaddr *address, socklen_t *length)
{
    int client = accept(listener, address, length);
    if (client >= 0)
        fcntl(client, F_SETFL, fcntl(listener, F_GETFL) & O_NONBLOCK);
    return client;
}

/* shutdown() of a listener fails, and wakes no thread that sleeps in accept(). */
static inline int like_macos_shutdown(int fd, int how)
{
    int listens = 0;
    socklen_t length = sizeof listens;
    if (getsockopt(fd, SOL_SOCKET, SO_ACCEPTCONN, &listens, &length) == 0 && listens) {
        errno = ENOTCONN;
        return -1;
    }
    return shutdown(fd, how);
}

/* The hard limit of descriptors is usually infinite, but the soft limit may not be. (The servers
 * ask for no other limit.) */
static inline int like_macos_getrlimit(int resource, struct rlimit *limit)
{
    (void)resource;
    int result = getrlimit(RLIMIT_NOFILE, limit);
    limit->rlim_max = RLIM_INFINITY;
    return result;
}

static inline int like_macos_setrlimit(int resource, const struct rlimit *limit)
{
    struct rlimit now;
    (void)resource;
    if (limit->rlim_cur > 10240) { /* OPEN_MAX */
        errno = EINVAL;
        return -1;
    }
    getrlimit(RLIMIT_NOFILE, &now);
    now.rlim_cur = limit->rlim_cur < now.rlim_max ? limit->rlim_cur : now.rlim_max;
    return setrlimit(RLIMIT_NOFILE, &now);
}

#define accept    like_macos_accept
#define shutdown  like_macos_shutdown
#define getrlimit like_macos_getrlimit
#define setrlimit like_macos_setrlimit

/* macOS has no ppoll(), and a source can find that out only from the system's name. */
#define __APPLE__ 1

#endif
