/* A line client: it sends each line that you type, and prints the echo. When your input ends, it
 * tells the server so, and waits until the server, too, has no more to say.
 *     client [HOST [PORT]] */
#include <err.h>
#include <netdb.h>
#include <signal.h>
#include <stdio.h>
#include <string.h>
#include <sys/socket.h>

static int connect_to(const char *host, const char *port)
{
    struct addrinfo hints = {.ai_socktype = SOCK_STREAM}, *address;
    int error = getaddrinfo(host, port, &hints, &address);
    if (error)
        errx(1, "%s: %s", host, gai_strerror(error));
    for (; address; address = address->ai_next) { /* "localhost" may be ::1 and 127.0.0.1 */
        int fd = socket(address->ai_family, address->ai_socktype, address->ai_protocol);
        if (fd >= 0 && connect(fd, address->ai_addr, address->ai_addrlen) == 0)
            return fd;
    }
    err(1, "%s, port %s", host, port);
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
        fputs(line, stdout);
        fflush(stdout);
    }
    shutdown(fd, SHUT_WR);
    return recv(fd, line, 1, 0) != 0; /* 0 bytes: the server's FIN. A reset would be -1 */
}
