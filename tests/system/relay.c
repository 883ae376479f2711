/* Stands in for what is in front of several services in a real installation: `relay PORT_FILE TARGETS_FILE` listens
 * on the loopback, writes its port to PORT_FILE, and carries each connection to the next of the ports that
 * TARGETS_FILE lists (one a line, read again for every connection) that accepts it. A connection ends when either of
 * its sides does. */
#include <arpa/inet.h>
#include <poll.h>
#include <pthread.h>
#include <signal.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <unistd.h>

#define TARGETS_MAX 16

static const char *targets_file;

static struct sockaddr_in loopback(int port) {
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port) };
    a.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    return a;
}

static int dial(unsigned turn) {
    int ports[TARGETS_MAX], n = 0;
    FILE *f = fopen(targets_file, "re");
    while (f && n < TARGETS_MAX && fscanf(f, "%d", &ports[n]) == 1)
        n++;
    if (f)
        fclose(f);
    for (int i = 0; i < n; i++) {
        struct sockaddr_in a = loopback(ports[(turn + (unsigned)i) % (unsigned)n]);
        int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
        if (fd >= 0 && connect(fd, (struct sockaddr *)&a, sizeof a) == 0)
            return fd;
        if (fd >= 0)
            close(fd);
    }
    return -1;
}

/* One piece; false when that side has ended, or the other takes no more. */
static int carry(int from, int to) {
    static _Thread_local char piece[65536];
    ssize_t n = read(from, piece, sizeof piece), sent = 0;
    while (n > 0 && sent < n) {
        ssize_t some = send(to, piece + sent, (size_t)(n - sent), MSG_NOSIGNAL);
        if (some <= 0)
            return 0;
        sent += some;
    }
    return n > 0;
}

struct pair { int client, service; };

static void *pair_main(void *arg) {
    struct pair p = *(struct pair *)arg;
    struct pollfd fds[] = { { .fd = p.client, .events = POLLIN }, { .fd = p.service, .events = POLLIN } };
    free(arg);
    while (poll(fds, 2, -1) > 0)
        if ((fds[0].revents && !carry(p.client, p.service)) || (fds[1].revents && !carry(p.service, p.client)))
            break;
    close(p.client);
    close(p.service);
    return NULL;
}

static void serve(int client, unsigned turn) {
    struct pair *p = malloc(sizeof *p);
    pthread_t thread;
    int service = p ? dial(turn) : -1;
    if (service >= 0) {
        *p = (struct pair){ client, service };
        if (pthread_create(&thread, NULL, pair_main, p) == 0) {
            pthread_detach(thread);
            return;
        }
        close(service);
    }
    free(p);
    close(client);
}

int main(int argc, char **argv) {
    struct sockaddr_in a = loopback(0);
    socklen_t len = sizeof a;
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), client;
    if (argc != 3 || fd < 0 || bind(fd, (struct sockaddr *)&a, len) != 0 || listen(fd, 256) != 0 ||
        getsockname(fd, (struct sockaddr *)&a, &len) != 0)
        return 2;
    targets_file = argv[2];
    FILE *f = fopen(argv[1], "we");
    if (!f || fprintf(f, "%d\n", ntohs(a.sin_port)) < 0 || fclose(f) != 0)
        return 1;
    for (unsigned turn = 0; (client = accept4(fd, NULL, NULL, SOCK_CLOEXEC)) >= 0; turn++)
        serve(client, turn);
    return 1;
}
