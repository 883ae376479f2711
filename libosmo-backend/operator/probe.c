/* See probe.h. */
#include "operator/probe.h"
#include <errno.h>
#include <fcntl.h>
#include <netdb.h>
#include <netinet/in.h>
#include <poll.h>
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/str.h"

#define CONNS_MAX 32
#define REQUEST_MAX 8192u
#define ANSWER_MAX (1u << 20)
#define DEADLINE_US (5 * INT64_C(1000000))

struct visitor {
    int fd;
    int64_t until_us;
    buf_t in, out;
    size_t sent;
    bool answering, deaf;      /* deaf: the peer said all it will */
};

struct probe {
    int listener, wake;
    pthread_t thread;
    bool started;
    probe_fn fn;
    void *ctx;
    struct visitor visitors[CONNS_MAX];
    size_t n;
};

/* ---- the request ---- */

static const char *reason_of(int status) {
    static const struct { int status; const char *text; } table[] = {
        { 200, "OK" }, { 400, "Bad Request" }, { 404, "Not Found" }, { 405, "Method Not Allowed" },
        { 431, "Request Header Fields Too Large" }, { 500, "Internal Server Error" }, { 503, "Service Unavailable" },
        { 505, "HTTP Version Not Supported" },
    };
    for (size_t i = 0; i < ARRAY_SIZE(table); i++)
        if (table[i].status == status)
            return table[i].text;
    return "Unknown";
}

static void answer(struct visitor *v, int status, const char *type, const buf_t *body, bool head) {
    static const char none[] = "";
    buf_printf(&v->out, "HTTP/1.1 %d %s\r\n%sContent-Type: %s\r\nContent-Length: %zu\r\nCache-Control: no-store\r\n"
               "Connection: close\r\n\r\n", status, reason_of(status), status == 405 ? "Allow: GET, HEAD\r\n" : "", type, body->len);
    if (!head)
        buf_append(&v->out, body->data ? body->data : none, body->len);
    v->answering = true;
}

static void refuse(struct visitor *v, int status) {
    _cleanup_buf_ buf_t body = BUF_INIT(256);
    buf_printf(&body, "%s\n", reason_of(status));
    answer(v, status, "text/plain; charset=utf-8", &body, false);
}

/* "GET /path HTTP/1.1": cuts the line into its words. */
static int read_line(char *line, char **method, char **path) {
    char *space = strchr(line, ' '), *second = space ? strchr(space + 1, ' ') : NULL;
    if (!space || !second || strchr(second + 1, ' ') || space[1] != '/')
        return 400;
    *space = *second = '\0';
    if (strcmp(second + 1, "HTTP/1.1") != 0 && strcmp(second + 1, "HTTP/1.0") != 0)
        return str_starts(second + 1, "HTTP/") ? 505 : 400;
    *method = line;
    *path = space + 1;
    (*path)[strcspn(*path, "?#")] = '\0';
    for (const char *p = *path; *p; p++)
        if (*p <= ' ' || *p > '~')
            return 400;
    return strcmp(*method, "GET") == 0 || strcmp(*method, "HEAD") == 0 ? 0 : 405;
}

static void take_request(struct probe *p, struct visitor *v) {
    char *method = NULL, *path = NULL;
    char *end = strstr(v->in.data, "\r\n");
    if (!end || memchr(v->in.data, '\0', v->in.len)) {
        refuse(v, 400);
        return;
    }
    *end = '\0';
    int status = read_line(v->in.data, &method, &path);
    if (status) {
        refuse(v, status);
        return;
    }
    _cleanup_buf_ buf_t body = BUF_INIT(ANSWER_MAX);
    const char *type = "text/plain; charset=utf-8";
    status = p->fn(p->ctx, path, &type, &body);
    if (buf_failed(&body))
        refuse(v, 500);
    else
        answer(v, status, type, &body, method[0] == 'H');
}

/* ---- connections ---- */

static void drop(struct probe *p, size_t i) {
    struct visitor *v = &p->visitors[i];
    close(v->fd);
    buf_free(&v->in);
    buf_free(&v->out);
    *v = p->visitors[--p->n];
}

/* False when the connection is over. */
static bool receive(struct probe *p, struct visitor *v) {
    char piece[2048];
    ssize_t n = recv(v->fd, piece, sizeof piece, 0);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR;
    v->deaf = n == 0;
    if (v->deaf)
        return v->answering && v->sent < v->out.len;
    if (v->answering)
        return true; /* whatever else they say */
    if (buf_append(&v->in, piece, (size_t)n) < 0) {
        refuse(v, 431);
        return true;
    }
    if (memmem(v->in.data, v->in.len, "\r\n\r\n", 4))
        take_request(p, v);
    return true;
}

/* False when the connection is over. When all was said, the peer reads it in peace and closes, or is cut at its deadline. */
static bool transmit(struct visitor *v) {
    ssize_t n = send(v->fd, v->out.data + v->sent, v->out.len - v->sent, MSG_NOSIGNAL);
    if (n < 0)
        return errno == EAGAIN || errno == EINTR;
    v->sent += (size_t)n;
    if (v->sent == v->out.len)
        shutdown(v->fd, SHUT_WR);
    return !v->deaf || v->sent < v->out.len;
}

static void welcome(struct probe *p) {
    int fd = accept4(p->listener, NULL, NULL, SOCK_NONBLOCK | SOCK_CLOEXEC);
    if (fd < 0)
        return;
    p->visitors[p->n++] = (struct visitor){ .fd = fd, .until_us = clock_mono_us() + DEADLINE_US, .in = BUF_INIT(REQUEST_MAX),
                                            .out = BUF_INIT(ANSWER_MAX + 1024) };
}

static short wanted(const struct visitor *v) {
    return (short)((v->deaf ? 0 : POLLIN) | (v->answering && v->sent < v->out.len ? POLLOUT : 0));
}

static void serve(struct probe *p, const struct pollfd *polled, int64_t now) {
    for (size_t i = p->n; i > 0; i--) { /* dropping one moves the last into its place, which was served already */
        struct visitor *v = &p->visitors[i - 1];
        short events = polled[i + 1].revents;
        bool stays = now < v->until_us;
        if (stays && events & (POLLIN | POLLHUP | POLLERR))
            stays = receive(p, v);
        if (stays && events & POLLOUT)
            stays = transmit(v);
        if (!stays)
            drop(p, i - 1);
    }
}

static void *probe_main(void *ctx) {
    struct probe *p = ctx;
    struct pollfd fds[CONNS_MAX + 2];
    for (;;) {
        int64_t now = clock_mono_us(), until = INT64_MAX;
        fds[0] = (struct pollfd){ .fd = p->wake, .events = POLLIN };
        fds[1] = (struct pollfd){ .fd = p->n < CONNS_MAX ? p->listener : -1, .events = POLLIN };
        for (size_t i = 0; i < p->n; i++) {
            fds[i + 2] = (struct pollfd){ .fd = p->visitors[i].fd, .events = wanted(&p->visitors[i]) };
            until = p->visitors[i].until_us < until ? p->visitors[i].until_us : until;
        }
        int timeout = until == INT64_MAX ? -1 : until > now ? (int)((until - now) / 1000) + 1 : 0;
        if (poll(fds, p->n + 2, timeout) < 0 && errno != EINTR)
            break;
        if (fds[0].revents)
            break;
        serve(p, fds, clock_mono_us());
        if (fds[1].revents & POLLIN)
            welcome(p);
    }
    while (p->n)
        drop(p, p->n - 1);
    return NULL;
}

/* ---- opening ---- */

static int bad_address(const char *listen, osmo_error_t *err) {
    return osmo_error_set(err, OSMO_EINVAL, "cannot listen on \"%s\": write ADDRESS:PORT, for instance 127.0.0.1:9464", listen);
}

static int bind_one(const struct addrinfo *a) {
    int one = 1, fd = socket(a->ai_family, SOCK_STREAM | SOCK_CLOEXEC | SOCK_NONBLOCK, 0);
    if (fd >= 0 && setsockopt(fd, SOL_SOCKET, SO_REUSEADDR, &one, sizeof one) == 0 && bind(fd, a->ai_addr, a->ai_addrlen) == 0 &&
        listen(fd, 16) == 0)
        return fd;
    int code = errno;
    if (fd >= 0)
        close(fd);
    errno = code;
    return -1;
}

static int open_listener(const char *text, int *out, osmo_error_t *err) {
    const char *colon = strrchr(text, ':');
    size_t len = colon ? (size_t)(colon - text) : 0;
    char host[256];
    int64_t port;
    if (!colon || len >= sizeof host || !str_to_i64(colon + 1, &port) || port < 0 || port > 65535)
        return bad_address(text, err);
    bool bracketed = len >= 2 && text[0] == '[' && text[len - 1] == ']';
    snprintf(host, sizeof host, "%.*s", (int)(bracketed ? len - 2 : len), bracketed ? text + 1 : text);
    struct addrinfo hints = { .ai_family = AF_UNSPEC, .ai_socktype = SOCK_STREAM,
                              .ai_flags = AI_PASSIVE | AI_NUMERICSERV | AI_NUMERICHOST };
    struct addrinfo *list = NULL;
    if (getaddrinfo(*host ? host : NULL, colon + 1, &hints, &list) != 0)
        return bad_address(text, err);
    *out = -1;
    for (struct addrinfo *a = list; a && *out < 0; a = a->ai_next)
        *out = bind_one(a);
    int code = errno;
    freeaddrinfo(list);
    if (*out < 0)
        return osmo_error_set(err, OSMO_EIO, "cannot listen on %s: %s: choose another port", text, strerror(code));
    return OSMO_OK;
}

int probe_open(const char *listen, probe_fn fn, void *ctx, probe_t **out, osmo_error_t *err) {
    struct probe *p = calloc(1, sizeof *p);
    if (!p)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    p->fn = fn;
    p->ctx = ctx;
    p->listener = -1;
    p->wake = eventfd(0, EFD_CLOEXEC);
    int rc = p->wake < 0 ? osmo_error_set(err, OSMO_EIO, "too few descriptors") : open_listener(listen, &p->listener, err);
    if (rc == 0) {
        p->started = pthread_create(&p->thread, NULL, probe_main, p) == 0;
        rc = p->started ? OSMO_OK : osmo_error_set(err, OSMO_ENOMEM, "cannot start a thread: raise the limit of processes (ulimit -u)");
    }
    if (rc < 0) {
        probe_close(p);
        return rc;
    }
    *out = p;
    return OSMO_OK;
}

int probe_port(const probe_t *p) {
    struct sockaddr_storage a = { 0 };
    socklen_t len = sizeof a;
    if (getsockname(p->listener, (struct sockaddr *)&a, &len) != 0)
        return -1;
    return ntohs(a.ss_family == AF_INET6 ? ((struct sockaddr_in6 *)&a)->sin6_port : ((struct sockaddr_in *)&a)->sin_port);
}

void probe_close(probe_t *p) {
    if (!p)
        return;
    uint64_t one = 1;
    if (p->started && write(p->wake, &one, sizeof one) == (ssize_t)sizeof one)
        pthread_join(p->thread, NULL);
    if (p->listener >= 0)
        close(p->listener);
    if (p->wake >= 0)
        close(p->wake);
    free(p);
}
