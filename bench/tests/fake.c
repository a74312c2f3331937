/* A server that is wrong on purpose. Its first argument names the defect, which the instrument must
 * measure, or catch, as what it is. Each defect shows after some good messages. */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

enum { CLIENTS = 64, GOOD = 40, DELAY_MS = 2, BURN_US = 100, AFTER_US = 5000, BUFFER = 65536 };
enum { FREEZE_MS = 100, FREEZE_EVERY_MS = 400 };

static const char *mode;
static long messages;
static struct pollfd watched[CLIENTS + 1];
static int clients;
static int turns[CLIENTS + 1]; /* messages on each connection */

static bool is(const char *name)
{
    return strcmp(mode, name) == 0;
}

static void nap(long milliseconds)
{
    struct timespec t = {.tv_sec = milliseconds / 1000, .tv_nsec = milliseconds % 1000 * 1000000};
    nanosleep(&t, NULL);
}

/* Stands still for FREEZE_MS after every FREEZE_EVERY_MS. */
static void freeze(void)
{
    static int64_t last;
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    int64_t now = (int64_t)t.tv_sec * 1000 + t.tv_nsec / 1000000;
    if (last == 0)
        last = now;
    if (now - last < FREEZE_EVERY_MS)
        return;
    nap(FREEZE_MS);
    last = now + FREEZE_MS;
}

static void burn(long microseconds)
{
    struct timespec t;
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
    long end = t.tv_sec * 1000000 + t.tv_nsec / 1000 + microseconds;
    while (t.tv_sec * 1000000 + t.tv_nsec / 1000 < end)
        clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &t);
}

static void answer(int fd, const char *data, size_t size)
{
    while (size > 0) {
        ssize_t n = send(fd, data, size, 0);
        if (n <= 0)
            return;
        data += n;
        size -= (size_t)n;
    }
}

/* When the first two are equal by chance, it takes another pair of neighbours. */
static void swap_two(char *data, size_t size)
{
    for (size_t i = 0; i + 1 < size; i++) {
        if (data[i] != data[i + 1]) {
            char first = data[i];
            data[i] = data[i + 1];
            data[i + 1] = first;
            return;
        }
    }
}

/* The defects that show only now and then. */
static void answer_badly(int fd, char *data, size_t size)
{
    static char old[BUFFER];
    if (is("drop")) {
        memmove(data + size / 2, data + size / 2 + 1, size - size / 2 - 1);
        size--;
    } else if (is("swap")) {
        swap_two(data, size);
    } else if (is("extra")) {
        data[size++] = 'x';
    } else if (is("old")) {
        memset(old, 0, 1);
        memcpy(data, old, size); /* not even of this connection */
    } else if (is("stall")) {
        return;
    } else if (is("crash")) {
        fprintf(stderr, "fake: a last word, with \"quotes\", and a comma\n");
        abort();
    } else if (is("close")) {
        shutdown(fd, SHUT_RDWR);
        return;
    }
    answer(fd, data, size);
}

/* Collects a whole mebibyte before the first byte goes back. */
static void gather(int fd, const char *data, size_t size)
{
    static char all[1 << 20];
    static size_t length;
    memcpy(all + length, data, size < sizeof all - length ? size : sizeof all - length);
    length += size;
    if (length < sizeof all)
        return;
    length = 0;
    answer(fd, all, sizeof all);
}

static void one_turn(struct pollfd *client)
{
    static char data[BUFFER + 1];
    ssize_t n = recv(client->fd, data, BUFFER, 0);
    if (n <= 0) {
        close(client->fd);
        client->fd = -1;
        return;
    }
    size_t size = (size_t)n;
    if (is("once") && turns[client - watched]++ > 0) { /* one message for each connection */
        shutdown(client->fd, SHUT_RDWR);
        return;
    }
    if (is("gather")) {
        gather(client->fd, data, size);
        return;
    }
    if (is("delay"))
        nap(DELAY_MS);
    if (is("freeze"))
        freeze();
    if (is("burn"))
        burn(BURN_US);
    if (is("chatty")) {
        printf("%4000ld\n", messages); /* soon more than a pipe holds */
        fflush(stdout);
    }
    if (is("split")) {
        answer(client->fd, data, size / 3);
        nap(1);
        answer(client->fd, data + size / 3, size - size / 3);
        return;
    }
    if (++messages > GOOD && !is("once"))
        answer_badly(client->fd, data, size);
    else
        answer(client->fd, data, size);
    if (is("after"))
        burn(AFTER_US);
}

static void take_client(int listener)
{
    int fd = accept(listener, NULL, NULL);
    if (fd < 0)
        return;
    int slot = 1;
    while (slot <= clients && watched[slot].fd >= 0)
        slot++; /* one that has left makes room */
    if (slot > CLIENTS || (is("refuse") && clients == 10)) {
        close(fd);
        return;
    }
    clients = slot > clients ? slot : clients;
    turns[slot] = 0;
    watched[slot] = (struct pollfd){.fd = fd, .events = POLLIN};
}

static int start(void)
{
    struct sockaddr_in address = {.sin_family = AF_INET};
    socklen_t length = sizeof address;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int listener = socket(AF_INET, SOCK_STREAM, 0);
    int small = 4096; /* so that the sender has to wait */
    if (is("gather"))
        setsockopt(listener, SOL_SOCKET, SO_RCVBUF, &small, sizeof small);
    if (listener < 0 || bind(listener, (struct sockaddr *)&address, length) != 0 ||
        listen(listener, 1000) != 0 ||
        getsockname(listener, (struct sockaddr *)&address, &length) != 0)
        return -1;
    printf("%s on 127.0.0.1:%d\n", is("dumb") ? "sitting" : "listening", ntohs(address.sin_port));
    fflush(stdout);
    return listener;
}

int main(int argc, char **argv)
{
    mode = argc > 1 ? argv[1] : "echo";
    if (is("fail")) {
        fprintf(stderr, "fake: bind 127.0.0.1:80: Permission denied\n");
        return 1;
    }
    if (is("usage")) {
        printf("usage: fake\n");
        return 2;
    }
    int listener = start();
    if (listener < 0)
        return 1;
    watched[0] = (struct pollfd){.fd = listener, .events = POLLIN};
    for (;;) {
        poll(watched, (nfds_t)clients + 1, is("spin") ? 0 : -1);
        for (int i = clients; i > 0; i--) {
            if (watched[i].fd >= 0 && watched[i].revents != 0)
                one_turn(&watched[i]);
        }
        if (watched[0].revents != 0)
            take_client(listener);
    }
}
