/* Both ends of a forwarded port, to measure what is between them:
 *
 *   forward serve PORT           on the loopback; the first byte of a connection says what for
 *   forward up PORT SECONDS      megabytes a second towards the server
 *   forward down PORT SECONDS    and from it
 *   forward rtt PORT ROUNDS      microseconds of 64 bytes there and back: median and 99th percentile
 *   forward hold PORT N          N connections that have gone there and back once and are idle then, until its input ends */
#include <arpa/inet.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdbool.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define BLOCK (256u << 10)
#define PING 64
#define ROUNDS_MAX 1000000

static int64_t now_us(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * 1000000L + t.tv_nsec / 1000;
}

static bool all(int fd, char *data, size_t len, bool out) {
    for (size_t at = 0; at < len;) {
        ssize_t n = out ? send(fd, data + at, len - at, MSG_NOSIGNAL) : recv(fd, data + at, len - at, 0);
        if (n <= 0)
            return false;
        at += (size_t)n;
    }
    return true;
}

static void *serve_one(void *arg) {
    int fd = (int)(intptr_t)arg, one = 1;
    char *data = calloc(1, BLOCK), mode;
    uint64_t total = 0;
    ssize_t n;
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (!data || recv(fd, &mode, 1, 0) != 1)
        mode = 0;
    if (mode == 'u') { /* takes, and says how much it was when there is no more */
        while ((n = recv(fd, data, BLOCK, 0)) > 0)
            total += (uint64_t)n;
        all(fd, (char *)&total, sizeof total, true);
    } else if (mode == 'd') {
        while (all(fd, data, BLOCK, true))
            ;
    } else if (mode == 'r') {
        while (all(fd, data, PING, false) && all(fd, data, PING, true))
            ;
    }
    free(data);
    close(fd);
    return NULL;
}

static struct sockaddr_in at_port(const char *port) {
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)atoi(port)), .sin_addr = { htonl(INADDR_LOOPBACK) } };
    return a;
}

static int serve(const char *port) {
    struct sockaddr_in a = at_port(port);
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (bind(fd, (struct sockaddr *)&a, sizeof a) < 0 || listen(fd, 512) < 0)
        return 1;
    for (;;) {
        pthread_t t;
        int c = accept(fd, NULL, NULL);
        if (c >= 0 && pthread_create(&t, NULL, serve_one, (void *)(intptr_t)c) == 0)
            pthread_detach(t);
    }
}

static int dial(const char *port, char mode) {
    struct sockaddr_in a = at_port(port);
    int one = 1, fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one);
    if (connect(fd, (struct sockaddr *)&a, sizeof a) < 0 || send(fd, &mode, 1, MSG_NOSIGNAL) != 1) {
        perror("forward");
        exit(1);
    }
    return fd;
}

static int up(const char *port, int64_t us) {
    int fd = dial(port, 'u');
    char *data = calloc(1, BLOCK);
    uint64_t got = 0;
    int64_t from = now_us();
    while (now_us() - from < us && all(fd, data, BLOCK, true))
        ;
    shutdown(fd, SHUT_WR);
    bool ok = all(fd, (char *)&got, sizeof got, false);
    printf("%.0f\n", ok ? (double)got / (double)(now_us() - from) : 0.);
    free(data);
    return !ok;
}

static int down(const char *port, int64_t us) {
    int fd = dial(port, 'd');
    char *data = malloc(BLOCK);
    uint64_t got = 0;
    int64_t from = now_us();
    ssize_t n = 1;
    while (n > 0 && now_us() - from < us) {
        n = recv(fd, data, BLOCK, 0);
        got += n > 0 ? (uint64_t)n : 0;
    }
    printf("%.0f\n", (double)got / (double)(now_us() - from));
    free(data);
    return n <= 0;
}

static int order(const void *a, const void *b) { return *(const int *)a < *(const int *)b ? -1 : *(const int *)a > *(const int *)b; }

static int rtt(const char *port, int rounds) {
    static int times[ROUNDS_MAX];
    int fd = dial(port, 'r');
    char data[PING] = "";
    for (int i = 0; i < rounds; i++) {
        int64_t from = now_us();
        if (!all(fd, data, PING, true) || !all(fd, data, PING, false))
            return 1;
        times[i] = (int)(now_us() - from);
    }
    qsort(times, (size_t)rounds, sizeof times[0], order);
    printf("%d %d\n", times[rounds / 2], times[rounds - 1 - rounds / 100]);
    return 0;
}

static int hold(const char *port, int n) {
    char data[PING] = "";
    int *fds = calloc((size_t)n, sizeof *fds);
    for (int i = 0; fds && i < n; i++) {
        fds[i] = dial(port, 'r');
        if (!all(fds[i], data, PING, true))
            return 1;
    }
    for (int i = 0; fds && i < n; i++) {
        if (!all(fds[i], data, PING, false)) {
            fprintf(stderr, "forward: connection %d of %d has no answer\n", i, n);
            return 1;
        }
    }
    puts("held");
    fflush(stdout);
    free(fds);
    return getchar() != EOF;
}

int main(int argc, char **argv) {
    int n = argc > 3 ? atoi(argv[3]) : 0;
    signal(SIGPIPE, SIG_IGN);
    if (argc > 2 && strcmp(argv[1], "serve") == 0)
        return serve(argv[2]);
    if (argc > 3 && strcmp(argv[1], "up") == 0)
        return up(argv[2], n * INT64_C(1000000));
    if (argc > 3 && strcmp(argv[1], "down") == 0)
        return down(argv[2], n * INT64_C(1000000));
    if (argc > 3 && strcmp(argv[1], "rtt") == 0 && n > 0 && n <= ROUNDS_MAX)
        return rtt(argv[2], n);
    if (argc > 3 && strcmp(argv[1], "hold") == 0 && n > 0 && n <= ROUNDS_MAX)
        return hold(argv[2], n);
    return 2;
}
