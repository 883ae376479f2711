/* A listener on this machine for one thing: the redirect that ends a login in the browser. Browsers open connections that they do not use
 * and ask for icons, and other programs of this machine may knock, so that it serves a few at a time until the right one comes. */
#include "login.h"

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/crypto.h"

#define CONNECTIONS_MAX 8
#define HEAD_MAX 8192
#define LISTENERS 2 /* 127.0.0.1 and ::1: "localhost" may be either */

struct connection { int fd; size_t len; char head[HEAD_MAX + 1]; };
struct loopback {
    int listeners[LISTENERS], port;
    struct connection connections[CONNECTIONS_MAX];
    size_t oldest; /* makes room when all are taken */
};

static int listen_on(int family, int port) {
    struct sockaddr_in v4 = { .sin_family = AF_INET, .sin_port = htons((uint16_t)port), .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    struct sockaddr_in6 v6 = { .sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port), .sin6_addr = IN6ADDR_LOOPBACK_INIT };
    const struct sockaddr *address = family == AF_INET ? (const struct sockaddr *)&v4 : (const struct sockaddr *)&v6;
    int one = 1, fd = socket(family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd < 0)
        return -1;
    setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one);
    if (family == AF_INET6)
        setsockopt(fd, IPPROTO_IPV6, IPV6_V6ONLY, &one, sizeof one);
    if (bind(fd, address, family == AF_INET ? sizeof v4 : sizeof v6) || listen(fd, CONNECTIONS_MAX)) {
        int e = errno;
        close(fd);
        errno = e;
        return -1;
    }
    return fd;
}

/* Both families at one port. A machine without IPv6 has the first alone; a port that somebody else has there is no good. */
static int listen_both(struct loopback *l, int port) {
    struct sockaddr_in address;
    socklen_t len = sizeof address;
    if ((l->listeners[0] = listen_on(AF_INET, port)) < 0 || getsockname(l->listeners[0], (struct sockaddr *)&address, &len))
        return -1;
    l->port = ntohs(address.sin_port);
    if ((l->listeners[1] = listen_on(AF_INET6, l->port)) >= 0 || errno != EADDRINUSE)
        return 0;
    close(l->listeners[0]);
    l->listeners[0] = -1;
    errno = EADDRINUSE;
    return -1;
}

int loopback_open(int port, loopback_t **out, osmo_error_t *err) {
    struct loopback *l = calloc(1, sizeof *l);
    if (!l)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    for (size_t i = 0; i < CONNECTIONS_MAX; i++)
        l->connections[i].fd = -1;
    l->listeners[0] = l->listeners[1] = -1;
    int rc = -1;
    for (int tries = port ? 1 : 10; rc && tries; tries--)
        rc = listen_both(l, port);
    if (rc) {
        rc = osmo_error_set(err, OSMO_EUNAVAIL, "cannot listen on localhost:%d: %s; choose another one with --callback-port", port,
                            strerror(errno));
        loopback_close(l);
        return rc;
    }
    *out = l;
    return OSMO_OK;
}

int loopback_port(const loopback_t *l) { return l->port; }

static void drop(struct connection *c) {
    if (c->fd >= 0)
        close(c->fd);
    crypto_wipe(c->head, c->len);
    c->fd = -1;
    c->len = 0;
}

void loopback_close(loopback_t *l) {
    if (!l)
        return;
    for (size_t i = 0; i < CONNECTIONS_MAX; i++)
        drop(&l->connections[i]);
    for (size_t i = 0; i < LISTENERS; i++) {
        if (l->listeners[i] >= 0)
            close(l->listeners[i]);
    }
    free(l);
}

static void admit(struct loopback *l, int listener) {
    int fd = accept4(listener, NULL, NULL, SOCK_CLOEXEC | SOCK_NONBLOCK);
    if (fd < 0)
        return;
    struct connection *c = NULL;
    for (size_t i = 0; i < CONNECTIONS_MAX && !c; i++)
        c = l->connections[i].fd < 0 ? &l->connections[i] : NULL;
    if (!c) {
        c = &l->connections[l->oldest];
        l->oldest = (l->oldest + 1) % CONNECTIONS_MAX;
        drop(c);
    }
    c->fd = fd;
}

static void answer(struct connection *c, const char *status, const char *text) {
    char page[512], message[1024];
    int body = snprintf(page, sizeof page,
                        "<!doctype html><html lang=\"en\"><meta charset=\"utf-8\"><title>OSMO</title><p>%s</p></html>\n", text);
    int len = snprintf(message, sizeof message,
                       "HTTP/1.1 %s\r\nContent-Type: text/html; charset=utf-8\r\nContent-Length: %d\r\nCache-Control: no-store\r\n"
                       "Referrer-Policy: no-referrer\r\nContent-Security-Policy: default-src 'none'\r\n"
                       "X-Content-Type-Options: nosniff\r\nConnection: close\r\n\r\n%s",
                       status, body, page);
    /* It fits into any socket's buffer; a browser that went away misses nothing. */
    if (send(c->fd, message, (size_t)len, MSG_NOSIGNAL) == len)
        shutdown(c->fd, SHUT_WR);
    drop(c);
}

/* The Host header names this machine and our port: a page of elsewhere whose name leads here has another one. */
static bool host_is_ours(const char *head, int port) {
    static const char *const names[] = { "localhost", "127.0.0.1", "[::1]" };
    const char *at = strcasestr(head, "\r\nHost:");
    if (!at)
        return false;
    at += 7;
    at += strspn(at, " \t");
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        char want[64];
        int len = snprintf(want, sizeof want, "%s:%d", names[i], port);
        if (strncasecmp(at, want, (size_t)len) == 0 && strchr("\r \t", at[len]) && at[len])
            return true;
    }
    return false;
}

static bool same_state(const char *got, const char *want) {
    return strlen(got) == strlen(want) && crypto_equal(got, want, strlen(want));
}

/* A complete head: is it the redirect we wait for? Otherwise it is answered and forgotten. */
static bool serve(struct loopback *l, struct connection *c, const char *state, struct redirect *out) {
    char target[HEAD_MAX + 1];
    size_t len = 0;
    if (strncmp(c->head, "GET ", 4) == 0)
        len = strcspn(c->head + 4, " \r\n");
    if (!len || strncmp(c->head + 4 + len, " HTTP/1.", 8) != 0 || strlen(c->head) != c->len) {
        answer(c, "405 Method Not Allowed", "Only the end of a login is served here.");
        return false;
    }
    if (!host_is_ours(c->head, l->port)) {
        answer(c, "403 Forbidden", "Only the end of a login on this machine is served here.");
        return false;
    }
    memcpy(target, c->head + 4, len);
    target[len] = '\0';
    int rc = redirect_read(target, out, NULL);
    crypto_wipe(target, len);
    if (rc == OSMO_ENOTFOUND) {
        answer(c, "404 Not Found", "Nothing is here.");
    } else if (rc || !same_state(out->state, state)) {
        redirect_clear(out);
        rc = OSMO_EINVAL;
        answer(c, "400 Bad Request", "This does not belong to the login that is going on. Start again from the terminal.");
    } else {
        answer(c, "200 OK",
               out->code ? "The identity provider has answered. Go back to the terminal; this window may be closed."
                         : "The identity provider has refused the login. The terminal tells more; this window may be closed.");
    }
    return rc == OSMO_OK;
}

static bool progress(struct loopback *l, struct connection *c, const char *state, struct redirect *out) {
    ssize_t n = recv(c->fd, c->head + c->len, HEAD_MAX - c->len, 0);
    if (n < 0 && (errno == EAGAIN || errno == EINTR))
        return false;
    if (n <= 0) {
        drop(c);
        return false;
    }
    c->len += (size_t)n;
    c->head[c->len] = '\0';
    if (strstr(c->head, "\r\n\r\n"))
        return serve(l, c, state, out);
    if (c->len == HEAD_MAX || strlen(c->head) != c->len)
        answer(c, "431 Request Header Fields Too Large", "That is too long.");
    return false;
}

int loopback_wait(loopback_t *l, const char *state, int64_t timeout_ms, struct redirect *out, osmo_error_t *err) {
    int64_t until = clock_mono_us() + timeout_ms * 1000;
    for (;;) {
        int64_t left = (until - clock_mono_us()) / 1000;
        struct pollfd p[LISTENERS + CONNECTIONS_MAX];
        for (size_t i = 0; i < LISTENERS; i++)
            p[i] = (struct pollfd){ .fd = l->listeners[i], .events = POLLIN };
        for (size_t i = 0; i < CONNECTIONS_MAX; i++)
            p[LISTENERS + i] = (struct pollfd){ .fd = l->connections[i].fd, .events = POLLIN };
        if (left <= 0)
            return osmo_error_set(err, OSMO_ETIMEOUT, "nobody finished the login in the browser in time: run osmo login again");
        if (poll(p, ARRAY_SIZE(p), (int)left) < 0 && errno != EINTR)
            return osmo_error_set(err, OSMO_EIO, "cannot wait for the browser: %s", strerror(errno));
        for (size_t i = 0; i < CONNECTIONS_MAX; i++) {
            if (l->connections[i].fd >= 0 && p[LISTENERS + i].revents && progress(l, &l->connections[i], state, out))
                return OSMO_OK;
        }
        for (size_t i = 0; i < LISTENERS; i++) {
            if (p[i].revents)
                admit(l, l->listeners[i]);
        }
    }
}
