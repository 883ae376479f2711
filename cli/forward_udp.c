/* UDP ports: one socket and one websocket. A message is a datagram behind the address that it came from or goes to:
 * IPv4, 4 bytes, and 2 of the port. Datagrams that cannot be taken at once wait in a short queue, or are lost, as they
 * are anywhere else. */
#include <errno.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "forward.h"

#define ADDRESS 6
#define DATAGRAM_MAX 65507
#define PER_TURN 64
#define QUEUE_MAX 256

struct datagram { struct datagram *next; size_t len; char data[]; };
struct udp_side {
    int fd;
    struct datagram *head, **tail;  /* towards our side */
    size_t queued;
};

static int cannot_listen(const struct port *p, const char *why) {
    _cleanup_free_ char *text = str_printf("Cannot listen on %s, UDP port %d: %s", p->f->o.host, p->pair.local, why);
    return api_fail(false, 0, text ? text : why, EXIT_USER);
}

int udp_listen(struct port *p) {
    struct addrinfo hints = { .ai_family = AF_INET, .ai_socktype = SOCK_DGRAM, .ai_flags = AI_PASSIVE }, *a = NULL;
    struct udp_side *u = p->udp = calloc(1, sizeof *u);
    int rc = u ? getaddrinfo(p->f->o.host, NULL, &hints, &a) : EAI_MEMORY;
    if (rc) {
        if (u)
            u->fd = -1;
        return cannot_listen(p, gai_strerror(rc));
    }
    struct sockaddr_in address;
    memcpy(&address, a->ai_addr, sizeof address);
    address.sin_port = htons((uint16_t)p->pair.local);
    freeaddrinfo(a);
    u->tail = &u->head;
    u->fd = socket(AF_INET, SOCK_DGRAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (u->fd < 0 || bind(u->fd, (struct sockaddr *)&address, sizeof address) < 0)
        return cannot_listen(p, strerror(errno));
    return 0;
}

/* True when it is gone, taken or lost. */
static bool put(const struct udp_side *u, const char *data, size_t len) {
    struct sockaddr_in to = { .sin_family = AF_INET };
    memcpy(&to.sin_addr, data, 4);
    memcpy(&to.sin_port, data + 4, 2);
    return sendto(u->fd, data + ADDRESS, len - ADDRESS, 0, (struct sockaddr *)&to, sizeof to) >= 0 || (errno != EAGAIN && errno != ENOBUFS);
}

static void drain(struct udp_side *u) {
    while (u->head && put(u, u->head->data, u->head->len)) {
        struct datagram *d = u->head;
        u->head = d->next;
        u->queued--;
        free(d);
    }
    if (!u->head)
        u->tail = &u->head;
}

static void take(struct port *p) {
    char data[ADDRESS + DATAGRAM_MAX];
    for (int i = 0; i < PER_TURN; i++) {
        struct sockaddr_in from;
        socklen_t from_len = sizeof from;
        ssize_t n = recvfrom(p->udp->fd, data + ADDRESS, DATAGRAM_MAX, 0, (struct sockaddr *)&from, &from_len);
        if (n < 0)
            return;
        memcpy(data, &from.sin_addr, 4);
        memcpy(data + 4, &from.sin_port, 2);
        ws_conn_send(p->f->o.loop, p->control, data, ADDRESS + (size_t)n, true); /* a full queue loses it */
    }
}

static void on_socket(void *ctx, int fd, int events) {
    struct port *p = ctx;
    (void)fd;
    if (events & WS_FD_WRITE)
        drain(p->udp);
    if ((events & WS_FD_READ) && p->open)
        take(p);
    udp_ready(p);
}

void udp_ready(struct port *p) {
    if (!p->udp || p->udp->fd < 0)
        return;
    bool on = !p->f->stopping;
    ws_loop_watch(p->f->o.loop, p->udp->fd, (on && p->open ? WS_FD_READ : 0) | (on && p->udp->head ? WS_FD_WRITE : 0), on_socket, p);
}

void udp_received(struct port *p, const char *data, size_t len) {
    struct udp_side *u = p->udp;
    if (len < ADDRESS || (!u->head && put(u, data, len)) || u->queued >= QUEUE_MAX)
        return;
    struct datagram *d = malloc(sizeof *d + len);
    if (!d)
        return;
    d->next = NULL;
    d->len = len;
    memcpy(d->data, data, len);
    *u->tail = d;
    u->tail = &d->next;
    u->queued++;
    udp_ready(p);
}

void udp_end(struct port *p) {
    struct udp_side *u = p->udp;
    if (!u)
        return;
    udp_ready(p);
    while (u->head) {
        struct datagram *d = u->head;
        u->head = d->next;
        free(d);
    }
    if (u->fd >= 0)
        close(u->fd);
    free(u);
    p->udp = NULL;
}
