/* A line client: it sends each line that you type, and prints the echo. When your input ends it
 * tells the server so, and waits until the server has no more to say.    client [HOST [PORT]] */
#include <err.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

static int connect_to(const char *host, const char *port)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *list;
    int error = getaddrinfo(host, port, &hints, &list), fd = -1;
    if (error)
        errx(1, "%s: %s", host, gai_strerror(error));
    for (struct addrinfo *at = list; at && fd < 0; at = at->ai_next) /* "localhost" may be two */
        if ((fd = socket(at->ai_family, at->ai_socktype, 0)) >= 0 &&
            connect(fd, at->ai_addr, at->ai_addrlen) < 0)
            fd = -1;
    freeaddrinfo(list);
    if (fd < 0)
        err(1, "%s, port %s", host, port);
    return fd;
}

int main(int argc, char **argv)
{
    char line[1024];
    signal(SIGPIPE, SIG_IGN); /* then send() says EPIPE */
    int fd = connect_to(argc > 1 ? argv[1] : "127.0.0.1", argc > 2 ? argv[2] : "7000");
    while (fgets(line, sizeof line, stdin)) {
        ssize_t length = (ssize_t)strlen(line);
        if (send(fd, line, (size_t)length, 0) != length ||
            recv(fd, line, (size_t)length, MSG_WAITALL) != length) /* an echo may come in parts */
            errx(1, "the server has gone");
        dprintf(1, "%s", line); /* at once: printf() may keep it in a buffer */
    }
    shutdown(fd, SHUT_WR);
    return recv(fd, line, 1, 0) != 0; /* 0 bytes: the server's FIN. A reset would be -1 */
}
