/* TCP ports: listeners, and a websocket for each connection, which is announced on the port's session. */
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/crypto.h"
#include "base/ws_pump.h"
#include "forward.h"

#define BACKLOG 512
#define ACCEPTS_PER_TURN 32
#define TELL_EVERY_MS 1000

struct connection { struct port *port; };

/* ---- listening ---- */

static int listen_at(const struct addrinfo *a, int port) {
    union { struct sockaddr any; struct sockaddr_in v4; struct sockaddr_in6 v6; } address;
    int one = 1, fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    memcpy(&address, a->ai_addr, a->ai_addrlen);
    if (a->ai_family == AF_INET)
        address.v4.sin_port = htons((uint16_t)port);
    else
        address.v6.sin6_port = htons((uint16_t)port);
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (a->ai_family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
    if (bind(fd, &address.any, a->ai_addrlen) == 0 && listen(fd, BACKLOG) == 0)
        return fd;
    int saved = errno;
    close(fd);
    errno = saved;
    return -1;
}

static int local_port(int fd) {
    struct sockaddr_in6 address; /* the port is where it is in IPv4 */
    socklen_t len = sizeof address;
    return getsockname(fd, (struct sockaddr *)&address, &len) == 0 ? ntohs(address.sin6_port) : 0;
}

static int cannot_listen(const struct port *p, const char *why) {
    _cleanup_free_ char *text = str_printf("Cannot listen on %s, port %d: %s", p->f->o.host, p->pair.local, why);
    return api_fail(false, 0, text ? text : why, EXIT_USER);
}

/* On every address that the name has; one that this machine does not have, as ::1 without IPv6, is left out. */
int tcp_listen(struct port *p) {
    struct addrinfo hints = { .ai_socktype = SOCK_STREAM, .ai_flags = AI_PASSIVE }, *list = NULL;
    int rc = getaddrinfo(p->f->o.host, NULL, &hints, &list), failed = 0;
    if (rc)
        return cannot_listen(p, gai_strerror(rc));
    for (struct addrinfo *a = list; a && p->nlisteners < (int)ARRAY_SIZE(p->listeners); a = a->ai_next) {
        int fd = a->ai_family == AF_INET || a->ai_family == AF_INET6 ? listen_at(a, p->pair.local) : -1;
        if (fd >= 0)
            p->listeners[p->nlisteners++] = fd;
        else if (errno != EADDRNOTAVAIL && errno != EAFNOSUPPORT)
            failed = errno;
        if (fd >= 0 && !p->pair.local)
            p->pair.local = local_port(fd);
    }
    freeaddrinfo(list);
    if (failed || !p->nlisteners)
        return cannot_listen(p, strerror(failed ? failed : EADDRNOTAVAIL));
    return 0;
}

/* ---- connections ---- */

static void for_all_ports(struct forward *f) {
    for (size_t i = 0; i < f->o.nports; i++)
        tcp_accept(&f->ports[i]);
}

static void on_ended(void *ctx, int code, int http_status, const char *reason) {
    struct connection *c = ctx;
    struct port *p = c->port;
    struct forward *f = p->f;
    int64_t now = clock_mono_us() / 1000;
    free(c);
    f->connections--;
    if (f->stopping)
        return;
    if ((http_status || (code && code != 1000)) && now - f->told_ms >= TELL_EVERY_MS) {
        f->told_ms = now;
        if (!f->o.quiet)
            fprintf(stderr, "A connection to port %d was ended: ", p->pair.local);
        fprintf(stderr, "%s\n", *reason ? reason : "The other side has gone");
    }
    if (f->full) {
        f->full = false;
        for_all_ports(f);
    }
}

/* Its key: below the session's, or one of those that upstream's clients invent. */
static bool connection_key(struct port *p, char key[128]) {
    char random[33];
    if (p->ours)
        return snprintf(key, 128, "%s-%u", p->session.key, (unsigned)++p->connections) < 128;
    return crypto_random_hex32(random) == 0 && snprintf(key, 128, "%s-%s", str_eq(p->f->o.family, "rsync") ? "RSYNC" : "PORTFORWARD",
                                                        random) < 128;
}

static int announce(struct port *p, const char *key, const char *cookie) {
    json_t *o = json_object();
    json_set_str(o, "key", key);
    json_set_str(o, "cookie", cookie);
    if (p->ours)
        json_set_bool(o, "half_close", true);
    _cleanup_free_ char *text = json_to_text(o);
    json_free(o);
    return text ? ws_conn_send(p->f->o.loop, p->control, text, strlen(text), true) : OSMO_ENOMEM;
}

/* Takes the socket. */
static void carry(struct port *p, int fd) {
    struct forward *f = p->f;
    struct connection *c = calloc(1, sizeof *c);
    struct ws_pump *pump;
    struct dial d = { 0 };
    osmo_error_t err = OSMO_ERROR_INIT;
    char key[128];
    const char *cookie = f->cookie && *f->cookie ? f->cookie : p->session.cookie;
    const struct ws_pump_options o = { .loop = f->o.loop, .in = fd, .out = fd, .close_fds = true, .half_close = p->ours, .rate = f->o.rate,
                                       .ended = on_ended, .ctx = c };
    bool ok = c && connection_key(p, key) &&
              dial_make(&d, &f->api, &p->session, f->o.family, f->o.workflow, key, cookie, f->o.timeout_s) == 0;
    if (ok) {
        c->port = p;
        ok = announce(p, key, cookie) == 0 && ws_pump_start(&o, &d.options, &pump, &err) == 0;
    }
    dial_clear(&d);
    if (ok) {
        f->connections++;
        return;
    }
    free(c);
    close(fd);
}

static void on_listener(void *ctx, int listener, int events) {
    struct port *p = ctx;
    struct forward *f = p->f;
    (void)events;
    for (int i = 0; i < ACCEPTS_PER_TURN && p->open && !f->full; i++) {
        int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
        if (fd < 0 && errno != EMFILE && errno != ENFILE)
            return;
        if (fd >= 0)
            carry(p, fd);
        if (fd < 0 || f->connections >= f->max_connections) {
            f->full = f->connections > 0; /* until one of them ends; the others wait in the kernel */
            for_all_ports(f);
            return;
        }
    }
}

void tcp_accept(struct port *p) {
    bool on = p->open && !p->f->full && !p->f->stopping;
    for (int i = 0; i < p->nlisteners; i++)
        ws_loop_watch(p->f->o.loop, p->listeners[i], on ? WS_FD_READ : 0, on_listener, p);
}

void tcp_end(struct port *p) {
    tcp_accept(p);
    while (p->nlisteners)
        close(p->listeners[--p->nlisteners]);
}
