/* What macOS does otherwise, played on Linux: put before a source by -include, this makes it take
 * the ways that it has for macOS, and some calls answer as they do there. So these ways are run
 * and tested here, too. It is no macOS: only what is written down below is like it.
 *
 * The system's headers come first: they are to see the system as it is. */
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

/* There is no accept4(), nor a socket() that takes these. */
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

/* To shut a listener down is an error, and wakes nobody who sleeps in accept(). */
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

/* The hard limit of descriptors is infinite as a rule, but the soft one may not be. (Nobody here
 * asks for another limit.) */
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

/* There is no ppoll(), and no other way to find that out than to know the system. */
#define __APPLE__ 1

#endif
