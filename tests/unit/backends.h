/* Tests of the reactor run once on every backend that this system has. */
#ifndef BACKENDS_H
#define BACKENDS_H

#include <fcntl.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "../harness/test.h"
#include "reactor.h"

struct backend_name {
    char text[16];
};

/* Criterion's parameters live in another process: they hold no pointers. */
#define ON_EVERY_BACKEND(name)                                                                     \
    static void name(struct reactor *reactor);                                                     \
    ParameterizedTestParameters(on_every_backend, name)                                            \
    {                                                                                              \
        return backend_names();                                                                    \
    }                                                                                              \
    ParameterizedTest(struct backend_name *backend, on_every_backend, name, .timeout = 30)         \
    {                                                                                              \
        struct reactor *reactor = reactor_create(backend->text);                                   \
        cr_assert_not_null(reactor);                                                               \
        cr_assert_str_eq(reactor_backend(reactor), backend->text);                                 \
        name(reactor);                                                                             \
        reactor_destroy(reactor);                                                                  \
    }                                                                                              \
    static void name(struct reactor *reactor)

static inline struct criterion_test_params backend_names(void)
{
    static struct backend_name names[8];
    size_t count = 0;
    for (; reactor_backend_name((int)count); count++)
        strcpy(names[count].text, reactor_backend_name((int)count));
    return cr_make_param_array(struct backend_name, names, count);
}

static inline void make_pair(int pair[2])
{
    cr_assert_eq(socketpair(AF_UNIX, SOCK_STREAM, 0, pair), 0);
    fcntl(pair[0], F_SETFL, O_NONBLOCK);
}

static inline void give(int fd, const void *bytes, size_t length)
{
    cr_assert_eq(write(fd, bytes, length), (ssize_t)length);
}

static inline void stop_timer_handler(struct reactor *reactor, struct reactor_timer *timer)
{
    (void)timer;
    reactor_stop(reactor);
}

static inline void run_for(struct reactor *reactor, int64_t ms)
{
    struct reactor_timer timer = {.handler = stop_timer_handler};
    cr_assert_eq(reactor_timer_start(reactor, &timer, ms, 0), 0);
    cr_assert_eq(reactor_run(reactor), 0);
    reactor_timer_stop(reactor, &timer);
}

#endif
