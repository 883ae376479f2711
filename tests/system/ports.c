/* The user's side of forwarded ports, for tests, all on the loopback:
 *
 *   ports echo PORT N BYTES    N connections at once send BYTES each, say that there is no more, and get the same back, then the end
 *   ports udp PORT N SIZE      N datagrams, one after the other, and the same back; each is sent again until it is
 *   ports stuff PORT           sends until nothing is taken for a second, and prints how many bytes were
 *   ports hold PORT N          opens N connections, sends a byte over each and gets it back, prints "held" and waits for its input to end
 *
 * Exits 0 when it came out right. */
#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/socket.h>
#include <unistd.h>

#define LIMIT_MS 60000
#define CONNECTIONS_MAX 4096

struct connection { int fd; size_t sent, got; bool shut, over; };
static struct connection all[CONNECTIONS_MAX];
static struct pollfd fds[CONNECTIONS_MAX];

static int dial(int port, int type) {
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr = { htonl(INADDR_LOOPBACK) } };
    int fd = socket(AF_INET, type | SOCK_CLOEXEC, 0);
    if (fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof a) == 0)
        return fd;
    perror("ports: connect");
    exit(1);
}

/* Every connection has bytes of its own. */
static char byte_of(int i, size_t at) { return (char)((at * 2654435761u + (size_t)i * 40503u) >> 7); }

static bool step(int i, size_t bytes, int events) {
    struct connection *c = &all[i];
    char data[32768];
    if ((events & POLLOUT) && c->sent < bytes) {
        size_t n = bytes - c->sent < sizeof data ? bytes - c->sent : sizeof data;
        for (size_t k = 0; k < n; k++)
            data[k] = byte_of(i, c->sent + k);
        ssize_t w = send(c->fd, data, n, MSG_NOSIGNAL);
        if (w < 0 && errno != EAGAIN)
            return false;
        c->sent += w > 0 ? (size_t)w : 0;
    }
    if (c->sent == bytes && !c->shut) {
        shutdown(c->fd, SHUT_WR);
        c->shut = true;
    }
    if (events & (POLLIN | POLLHUP | POLLERR)) {
        ssize_t n = recv(c->fd, data, sizeof data, 0);
        if (n < 0 && errno != EAGAIN)
            return false;
        for (ssize_t k = 0; k < n; k++, c->got++) {
            if (data[k] != byte_of(i, c->got))
                return false;
        }
        c->over = n == 0;
        if (c->over && c->got != bytes)
            return false;
    }
    return true;
}

static int echo(int port, int n, size_t bytes) {
    int open = n;
    for (int i = 0; i < n; i++) {
        all[i].fd = dial(port, SOCK_STREAM);
        fcntl(all[i].fd, F_SETFL, O_NONBLOCK);
    }
    while (open) {
        for (int i = 0; i < n; i++)
            fds[i] = (struct pollfd){ all[i].over ? -1 : all[i].fd, (short)(POLLIN | (all[i].sent < bytes ? POLLOUT : 0)), 0 };
        if (poll(fds, (nfds_t)n, LIMIT_MS) <= 0) {
            fprintf(stderr, "ports: %d of %d connections got no further\n", open, n);
            return 1;
        }
        for (int i = 0; i < n; i++) {
            if (!all[i].over && fds[i].revents && !step(i, bytes, fds[i].revents)) {
                fprintf(stderr, "ports: connection %d failed after %zu bytes there and %zu back\n", i, all[i].sent, all[i].got);
                return 1;
            }
            if (all[i].over && all[i].fd >= 0) {
                close(all[i].fd);
                all[i].fd = -1;
                open--;
            }
        }
    }
    return 0;
}

static int udp(int port, int n, size_t size) {
    static char data[65536], back[65536];
    int fd = dial(port, SOCK_DGRAM);
    for (int i = 0; i < n; i++) {
        ssize_t got = -1;
        for (size_t k = 0; k < size; k++)
            data[k] = byte_of(i, k);
        for (int tries = 0; got != (ssize_t)size || memcmp(data, back, size) != 0; tries++) {
            struct pollfd p = { .fd = fd, .events = POLLIN };
            if (tries == 100)
                return 1;
            if (send(fd, data, size, 0) < 0 && errno != ECONNREFUSED)
                return 1;
            got = poll(&p, 1, 300) == 1 ? recv(fd, back, sizeof back, 0) : -1;
        }
    }
    return 0;
}

static int stuff(int port) {
    static char data[65536];
    int fd = dial(port, SOCK_STREAM);
    size_t total = 0;
    struct pollfd p = { .fd = fd, .events = POLLOUT };
    fcntl(fd, F_SETFL, O_NONBLOCK);
    while (poll(&p, 1, 1000) == 1) {
        ssize_t n = send(fd, data, sizeof data, MSG_NOSIGNAL);
        if (n < 0 && errno != EAGAIN)
            return 1;
        total += n > 0 ? (size_t)n : 0;
    }
    printf("%zu\n", total);
    return 0;
}

static int hold(int port, int n) {
    struct rlimit r = { CONNECTIONS_MAX + 64, CONNECTIONS_MAX + 64 };
    setrlimit(RLIMIT_NOFILE, &r);
    for (int i = 0; i < n; i++) {
        char c = 'x';
        all[i].fd = dial(port, SOCK_STREAM);
        if (send(all[i].fd, &c, 1, MSG_NOSIGNAL) != 1)
            return 1;
    }
    for (int i = 0; i < n; i++) {
        char c = 0;
        if (recv(all[i].fd, &c, 1, 0) != 1 || c != 'x') {
            fprintf(stderr, "ports: connection %d has no answer\n", i);
            return 1;
        }
    }
    puts("held");
    fflush(stdout);
    return getchar() == EOF ? 0 : 1;
}

int main(int argc, char **argv) {
    int port = argc > 2 ? atoi(argv[2]) : 0, n = argc > 3 ? atoi(argv[3]) : 0;
    size_t bytes = argc > 4 ? strtoul(argv[4], NULL, 10) : 0;
    if (n < 0 || n > CONNECTIONS_MAX || !port)
        return 2;
    if (strcmp(argv[1], "echo") == 0)
        return echo(port, n, bytes);
    if (strcmp(argv[1], "udp") == 0 && bytes <= 65507)
        return udp(port, n, bytes);
    if (strcmp(argv[1], "stuff") == 0)
        return stuff(port);
    if (strcmp(argv[1], "hold") == 0)
        return hold(port, n);
    return 2;
}
