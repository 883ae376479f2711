/* Requests a second over keep-alive connections to one port: http PORT PATH SECONDS CONNECTIONS [TOKEN]. One thread; each connection has
 * one request on its way. */
#include <arpa/inet.h>
#include <errno.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/epoll.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>

#define MAX_CONNECTIONS 4096
#define MAX_SAMPLES (1u << 22)

struct client { int fd; size_t got; int64_t since; char data[16384]; };
static struct client *clients;
static uint32_t *samples;
static size_t done;

static int64_t now_ns(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return (int64_t)t.tv_sec * 1000000000 + t.tv_nsec;
}

static void die(const char *what) {
    fprintf(stderr, "http: %s: %s\n", what, strerror(errno));
    exit(1);
}

static int dial(int port) {
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    if (fd < 0 || connect(fd, (struct sockaddr *)&a, sizeof a) < 0)
        die("cannot connect");
    return fd;
}

static void ask(struct client *c, const char *request, size_t len) {
    c->got = 0;
    c->since = now_ns();
    if (send(c->fd, request, len, MSG_NOSIGNAL) != (ssize_t)len)
        die("cannot send");
}

/* True when the answer is whole. */
static int take(struct client *c) {
    ssize_t n = recv(c->fd, c->data + c->got, sizeof c->data - 1 - c->got, 0);
    if (n <= 0)
        die("an answer was cut off");
    c->got += (size_t)n;
    c->data[c->got] = '\0';
    const char *end = strstr(c->data, "\r\n\r\n"), *length = strstr(c->data, "Content-Length: ");
    if (!end || !length || c->got < (size_t)(end + 4 - c->data) + strtoul(length + 16, NULL, 10))
        return 0;
    if (strncmp(c->data, "HTTP/1.1 200", 12) != 0) {
        fprintf(stderr, "http: %.200s\n", c->data);
        exit(1);
    }
    return 1;
}

static int compare(const void *a, const void *b) {
    uint32_t x = *(const uint32_t *)a, y = *(const uint32_t *)b;
    return x < y ? -1 : x > y;
}

static void run(int poller, const char *request, double seconds) {
    struct epoll_event events[256];
    size_t len = strlen(request);
    int64_t begin = now_ns(), end = begin + (int64_t)(seconds * 1e9), now = begin;
    while (now < end) {
        int n = epoll_wait(poller, events, 256, 1000);
        now = now_ns();
        for (int i = 0; i < n; i++) {
            struct client *c = &clients[events[i].data.u32];
            if (!take(c))
                continue;
            if (done < MAX_SAMPLES)
                samples[done] = (uint32_t)((now - c->since) / 1000);
            done++;
            ask(c, request, len);
        }
    }
    size_t kept = done < MAX_SAMPLES ? done : MAX_SAMPLES;
    qsort(samples, kept, sizeof *samples, compare);
    printf("%.0f requests/s, half within %.2f ms, 99%% within %.2f ms\n", (double)done / ((double)(now - begin) / 1e9),
           kept ? samples[kept / 2] / 1000. : 0., kept ? samples[kept * 99 / 100] / 1000. : 0.);
}

int main(int argc, char **argv) {
    static char request[20000];
    int poller = epoll_create1(EPOLL_CLOEXEC), count = argc > 4 ? atoi(argv[4]) : 0;
    if (argc < 5 || count < 1 || count > MAX_CONNECTIONS) {
        fprintf(stderr, "usage: http PORT PATH SECONDS CONNECTIONS [TOKEN]\n");
        return 2;
    }
    snprintf(request, sizeof request,
             "GET %s HTTP/1.1\r\nHost: 127.0.0.1:%s\r\nAccept: application/json\r\nUser-Agent: bench\r\n%s%s%s\r\n",
             argv[2], argv[1], argc > 5 ? "Authorization: Bearer " : "", argc > 5 ? argv[5] : "", argc > 5 ? "\r\n" : "");
    clients = calloc((size_t)count, sizeof *clients);
    samples = malloc(MAX_SAMPLES * sizeof *samples);
    if (!clients || !samples)
        die("memory");
    for (int i = 0; i < count; i++) {
        struct epoll_event e = { .events = EPOLLIN, .data.u32 = (uint32_t)i };
        clients[i].fd = dial(atoi(argv[1]));
        if (epoll_ctl(poller, EPOLL_CTL_ADD, clients[i].fd, &e) < 0)
            die("epoll");
        ask(&clients[i], request, strlen(request));
    }
    run(poller, request, atof(argv[3]));
    return 0;
}
