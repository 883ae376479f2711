/* Connections that belong to another replica: one to it is made, and carries all bytes both ways, the head that told
 * us first. Network thread, but for the look-up of names, which is a worker's. */
#include <errno.h>
#include <netdb.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>
#include "server/net_carry.h"

#define DIAL_MS 5000

struct dial {
    struct job job; /* first */
    struct conn *from, *to;        /* network thread; NULL when they left, or are not there yet */
    char host[256], port[8];
    bool failed, looking;          /* a worker has it */
    struct sockaddr_storage addr;
    socklen_t addr_len;
    struct dial *next;             /* looked up: guarded by the server's lock */
};

static bool look_up(struct dial *d, int flags) {
    struct addrinfo hints = { .ai_flags = AI_NUMERICSERV | flags, .ai_socktype = SOCK_STREAM }, *found = NULL;
    bool there = getaddrinfo(d->host, d->port, &hints, &found) == 0 && found && found->ai_addrlen <= sizeof d->addr;
    if (there)
        memcpy(&d->addr, found->ai_addr, d->addr_len = found->ai_addrlen);
    if (found)
        freeaddrinfo(found);
    return there;
}

/* Worker. */
static void run_look_up(struct osmo_server *s, struct job *job) {
    struct dial *d = (struct dial *)job;
    d->failed = !look_up(d, 0);
    pthread_mutex_lock(&s->lock);
    d->next = s->dials;
    s->dials = d;
    net_signal(s);
    pthread_mutex_unlock(&s->lock);
}

static int fail(struct osmo_server *s, struct conn *c, const char *why) {
    char detail[200];
    struct dial *d = c->dial;
    snprintf(detail, sizeof detail, "The service that has this session cannot be reached: %s", why);
    if (d) {
        d->from = NULL;
        c->dial = NULL;
        if (d->to)
            d->to->kill_ms = 1; /* the sweep's */
        else if (!d->looking)
            free(d);
    }
    return http_deny(s, c, 502, detail);
}

/* The address is known. */
static int dial(struct osmo_server *s, struct conn *c) {
    struct dial *d = c->dial;
    int fd = socket(d->addr.ss_family, SOCK_STREAM | SOCK_NONBLOCK | SOCK_CLOEXEC, 0);
    if (fd < 0)
        return fail(s, c, "no more connections can be made");
    if (connect(fd, (struct sockaddr *)&d->addr, d->addr_len) < 0 && errno != EINPROGRESS) {
        close(fd);
        return fail(s, c, "it does not accept connections");
    }
    struct conn *to = NULL;
    net_adopted(s, fd, &to); /* closes it when that fails */
    if (!to || carry_begin(s, to, CARRY_RAW) < 0)
        return fail(s, c, "no more connections can be made");
    to->idle = false;
    to->dial = d;
    to->carry->waits = true;
    d->to = to;
    carry_own_io(s, to);
    carry_reading(s, to);
    carry_wants_write(s, to);
    return 0;
}

void elsewhere_ready(struct osmo_server *s) {
    pthread_mutex_lock(&s->lock);
    struct dial *d = s->dials;
    s->dials = NULL;
    pthread_mutex_unlock(&s->lock);
    while (d) {
        struct dial *next = d->next;
        struct conn *c = d->from;
        d->looking = false;
        if (!c)
            free(d);
        else if ((d->failed ? fail(s, c, "its name is unknown") : dial(s, c)) < 0)
            net_kill(s, c);
        d = next;
    }
}

int elsewhere_writable(struct osmo_server *s, struct conn *c) {
    struct dial *d = c->dial;
    int why = 0;
    socklen_t len = sizeof why;
    if (d->to != c)
        return 0;
    if (getsockopt(lws_get_socket_fd(c->wsi), SOL_SOCKET, SO_ERROR, &why, &len) < 0 || why || !d->from)
        return -1;
    struct conn *from = d->from;
    c->dial = from->dial = NULL;
    free(d);
    c->kill_ms = from->kill_ms = 0;
    c->carry->waits = false;
    carry_join(s, from, c);
    return 0;
}

void elsewhere_left(struct osmo_server *s, struct conn *c) {
    struct dial *d = c->dial;
    c->dial = NULL;
    if (!d)
        return;
    if (d->to == c) { /* it was not to be had */
        struct conn *from = d->from;
        d->to = NULL;
        if (!from)
            free(d);
        else if (fail(s, from, "it does not accept connections") < 0)
            from->kill_ms = 1;
        return;
    }
    d->from = NULL;
    if (d->to)
        d->to->kill_ms = 1;
    else if (!d->looking)
        free(d);
}

int elsewhere_late(struct osmo_server *s, struct conn *c) {
    return !c->dial || c->dial->to == c ? -1 : fail(s, c, "it does not answer");
}

void elsewhere_close(struct osmo_server *s) {
    while (s->dials) {
        struct dial *d = s->dials;
        s->dials = d->next;
        free(d);
    }
}

/* The head that came and one more line. */
static int hold_head(struct osmo_server *s, struct conn *c, const char *raw, size_t size, const char *line) {
    bool ok = carry_pass(s, c, raw, size - 2, 1) && carry_pass(s, c, line, strlen(line), 0) && carry_pass(s, c, "\r\n\r\n", 4, 0);
    return ok ? 0 : -1;
}

static int begin(struct osmo_server *s, struct conn *c, const osmo_elsewhere_t *where) {
    struct dial *d = calloc(1, sizeof *d);
    if (!d)
        return -1;
    snprintf(d->host, sizeof d->host, "%s", where->host);
    snprintf(d->port, sizeof d->port, "%d", where->port);
    d->from = c;
    c->dial = d;
    c->kill_ms = net_now_ms() + DIAL_MS;
    if (look_up(d, AI_NUMERICHOST))
        return dial(s, c);
    d->job.run = run_look_up;
    d->looking = true;
    pthread_mutex_lock(&s->lock);
    workers_submit(s, &d->job);
    pthread_mutex_unlock(&s->lock);
    return 0;
}

int elsewhere_begin(struct osmo_server *s, struct conn *c, const osmo_elsewhere_t *where, size_t size) {
    char name[64];
    size_t n = strcspn(where->header, ":");
    snprintf(name, sizeof name, "%.*s", (int)(n < sizeof name ? n : sizeof name - 1), where->header);
    for (char *p = name; *p; p++)
        *p = (char)(*p >= 'A' && *p <= 'Z' ? *p | 0x20 : *p);
    if (*name && head_header(&c->ex->head, name)) {
        http_take(c, size);
        return http_deny(s, c, 502, "The request has come from another service already, and is not for this one");
    }
    if (carry_full(s) || carry_begin(s, c, CARRY_RAW) < 0) {
        http_take(c, size);
        return http_deny(s, c, 503, "Too many sessions are open: try again later");
    }
    int rc = hold_head(s, c, c->in.data, size, where->header);
    exchange_free(c->ex);
    c->ex = NULL;
    http_take(c, size);
    if (rc == 0)
        rc = begin(s, c, where);
    return rc == 0 && c->carry && c->in.len ? carry_input(s, c) : rc;
}
