/* See kube_server.h. */
#include "kube_server.h"
#include <openssl/err.h>
#include <openssl/ssl.h>
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>
#include "check.h"

struct link { struct kube_server *s; int fd, number; SSL *ssl; char in[1 << 16]; size_t len; };

static const struct { const char *path, *kinds; } groups[] = {
    {"/api/v1", "{\"name\":\"pods\",\"singularName\":\"\",\"namespaced\":true,\"kind\":\"Pod\",\"verbs\":[\"list\"]},"
                "{\"name\":\"pods/log\",\"namespaced\":true,\"kind\":\"Pod\"},"
                "{\"name\":\"pods/binding\",\"namespaced\":true,\"kind\":\"Binding\"},"
                "{\"name\":\"secrets\",\"namespaced\":true,\"kind\":\"Secret\"},"
                "{\"name\":\"nodes\",\"namespaced\":false,\"kind\":\"Node\"}"},
    {"/apis/batch/v1", "{\"name\":\"jobs\",\"namespaced\":true,\"kind\":\"Job\"}"},
};

static ssize_t link_read(struct link *l, char *data, size_t len) {
    return l->ssl ? SSL_read(l->ssl, data, (int)len) : read(l->fd, data, len);
}

static bool link_write(struct link *l, const char *data, size_t len) {
    while (len) {
        ssize_t n = l->ssl ? SSL_write(l->ssl, data, (int)len) : send(l->fd, data, len, MSG_NOSIGNAL);
        if (n <= 0)
            return false;
        data += n;
        len -= (size_t)n;
    }
    return true;
}

static void header_of(const char *head, const char *name, char *out, size_t cap) {
    out[0] = '\0';
    for (const char *p = strstr(head, "\r\n"); p; p = strstr(p, "\r\n")) {
        p += 2;
        if (!strncasecmp(p, name, strlen(name)) && p[strlen(name)] == ':') {
            p += strlen(name) + 2;
            snprintf(out, cap, "%.*s", (int)strcspn(p, "\r"), p);
            return;
        }
    }
}

/* One request; false at the end of the connection. */
static bool read_request(struct link *l, struct kube_seen *out) {
    char *end, length[32];
    size_t body = 0, head;
    memset(out, 0, sizeof *out);
    while (l->in[l->len] = '\0', !(end = strstr(l->in, "\r\n\r\n"))) {
        ssize_t n = link_read(l, l->in + l->len, sizeof l->in - 1 - l->len);
        if (n <= 0)
            return false;
        l->len += (size_t)n;
    }
    head = (size_t)(end - l->in) + 4;
    header_of(l->in, "Content-Length", length, sizeof length);
    body = (size_t)atol(length);
    while (l->len < head + body) {
        ssize_t n = link_read(l, l->in + l->len, sizeof l->in - 1 - l->len);
        if (n <= 0)
            return false;
        l->len += (size_t)n;
    }
    sscanf(l->in, "%7s %2047s", out->method, out->path);
    header_of(l->in, "Authorization", out->authorization, sizeof out->authorization);
    header_of(l->in, "Content-Type", out->type, sizeof out->type);
    snprintf(out->more, sizeof out->more, "%.*s", (int)head, l->in);
    snprintf(out->body, sizeof out->body, "%.*s", (int)body, l->in + head);
    out->connection = l->number;
    memmove(l->in, l->in + head + body, l->len - head - body);
    l->len -= head + body;
    return true;
}

static bool is_discovery(const struct kube_seen *rq) {
    int slashes = 0;
    for (const char *p = rq->path; *p && *p != '?'; p++)
        slashes += *p == '/';
    return !strcmp(rq->method, "GET") && (!strcmp(rq->path, "/api/v1") || !strcmp(rq->path, "/readyz") ||
                                          (!strncmp(rq->path, "/apis/", 6) && slashes == 3));
}

static bool answer(struct link *l, int status, const char *headers, const char *body, size_t promised, size_t len) {
    char head[1024];
    int n = snprintf(head, sizeof head, "HTTP/1.1 %d X\r\n%sContent-Length: %zu\r\n\r\n", status, headers ? headers : "", promised);
    return link_write(l, head, (size_t)n) && link_write(l, body, len);
}

static bool answer_discovery(struct link *l, const struct kube_seen *rq) {
    char body[2048];
    for (size_t i = 0; i < sizeof groups / sizeof groups[0]; i++) {
        if (!strcmp(rq->path, groups[i].path)) {
            int n = snprintf(body, sizeof body, "{\"kind\":\"APIResourceList\",\"groupVersion\":\"x\",\"resources\":[%s]}\n",
                             groups[i].kinds);
            return answer(l, 200, NULL, body, (size_t)n, (size_t)n);
        }
    }
    return answer(l, 404, "Content-Type: text/plain\r\n", "404 page not found\n", 19, 19);
}

static void hold(struct link *l) {
    struct pollfd p[2] = {{.fd = l->fd, .events = POLLIN}, {.fd = l->s->wake[0], .events = POLLIN}};
    poll(p, 2, -1);
}

static bool stream(struct link *l, const struct kube_step *step) {
    char head[1024], size[32];
    const char *p = step->body ? step->body : "";
    size_t left = strlen(p), piece = step->piece ? step->piece : left;
    int n = snprintf(head, sizeof head, "HTTP/1.1 %d X\r\n%sTransfer-Encoding: chunked\r\n\r\n", step->status,
                     step->headers ? step->headers : "");
    bool ok = link_write(l, head, (size_t)n);
    for (; ok && left; left -= piece, p += piece) {
        piece = piece > left ? left : piece;
        n = snprintf(size, sizeof size, "%zx\r\n", piece);
        ok = link_write(l, size, (size_t)n) && link_write(l, p, piece) && link_write(l, "\r\n", 2);
    }
    if (step->how == PLAY_HOLD) {
        hold(l);
        return false;
    }
    return ok && link_write(l, "0\r\n\r\n", 5);
}

static bool play(struct link *l, const struct kube_step *step) {
    size_t len = step->body ? strlen(step->body) : 0;
    switch (step->how) {
    case PLAY_WHOLE: return answer(l, step->status, step->headers, step->body ? step->body : "", len, len);
    case PLAY_CUT: answer(l, step->status, step->headers, step->body, len, len / 2); return false;
    case PLAY_NOTHING: return false;
    case PLAY_SILENCE: hold(l); return false;
    default: return stream(l, step);
    }
}

/* false: it is discovery, which the script does not speak of. */
static bool next_step(struct kube_server *s, const struct kube_seen *rq, struct kube_step *out) {
    static const struct kube_step over = {.status = 418, .body = "the script is over"};
    bool scripted = false;
    pthread_mutex_lock(&s->lock);
    bool asks = is_discovery(rq);
    if (!asks || (s->next < s->n && s->steps[s->next].discovery)) {
        scripted = true;
        *out = s->next < s->n && s->steps[s->next].discovery == asks ? s->steps[s->next++] : over;
        if (s->seen_n < sizeof s->seen / sizeof s->seen[0])
            s->seen[s->seen_n++] = *rq;
        pthread_cond_broadcast(&s->changed);
    }
    pthread_mutex_unlock(&s->lock);
    return scripted;
}

static void *serve(void *arg) {
    struct link *l = arg;
    struct kube_server *s = l->s;
    struct kube_seen *rq = malloc(sizeof *rq);
    bool going = true;
    if (s->tls) {
        l->ssl = SSL_new(s->tls);
        SSL_set_fd(l->ssl, l->fd);
        going = SSL_accept(l->ssl) == 1;
    }
    while (going && rq && read_request(l, rq)) {
        struct kube_step step;
        going = next_step(s, rq, &step) ? play(l, &step) : answer_discovery(l, rq);
    }
    char rest[4096]; /* read what is still coming: else the last words are lost in a reset */
    shutdown(l->fd, SHUT_WR);
    while (l->ssl && !going && read(l->fd, rest, sizeof rest) > 0)
        ;
    if (l->ssl)
        SSL_free(l->ssl);
    ERR_clear_error();
    close(l->fd);
    free(rq);
    free(l);
    pthread_mutex_lock(&s->lock);
    s->threads--;
    pthread_cond_broadcast(&s->changed);
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

static void *accept_all(void *arg) {
    struct kube_server *s = arg;
    for (;;) {
        struct pollfd p[2] = {{.fd = s->listen_fd, .events = POLLIN}, {.fd = s->wake[0], .events = POLLIN}};
        pthread_t thread;
        poll(p, 2, -1);
        if (p[1].revents)
            return NULL;
        struct link *l = calloc(1, sizeof *l);
        if (!l || (l->fd = accept(s->listen_fd, NULL, NULL)) < 0) {
            free(l);
            continue;
        }
        l->s = s;
        pthread_mutex_lock(&s->lock);
        l->number = ++s->connections;
        s->threads++;
        pthread_mutex_unlock(&s->lock);
        pthread_create(&thread, NULL, serve, l);
        pthread_detach(thread);
    }
}

bool kube_server_start(struct kube_server *s, const struct kube_step *steps, size_t n, const char *cert, const char *key, const char *ca) {
    memset(s, 0, sizeof *s);
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->changed, NULL);
    s->steps = steps;
    s->n = n;
    if (cert) {
        SSL_CTX *ctx = SSL_CTX_new(TLS_server_method());
        if (!ctx || SSL_CTX_use_certificate_chain_file(ctx, cert) != 1 || SSL_CTX_use_PrivateKey_file(ctx, key, SSL_FILETYPE_PEM) != 1)
            return false;
        if (ca) {
            SSL_CTX_load_verify_locations(ctx, ca, NULL);
            SSL_CTX_set_verify(ctx, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, NULL);
        }
        s->tls = ctx;
    }
    s->listen_fd = check_listen(&s->port);
    snprintf(s->url, sizeof s->url, "http%s://127.0.0.1:%d", cert ? "s" : "", s->port);
    return s->listen_fd >= 0 && pipe(s->wake) == 0 && pthread_create(&s->thread, NULL, accept_all, s) == 0;
}

void kube_server_stop(struct kube_server *s) {
    if (write(s->wake[1], "x", 1) != 1)
        return;
    pthread_join(s->thread, NULL);
    pthread_mutex_lock(&s->lock);
    while (s->threads)
        pthread_cond_wait(&s->changed, &s->lock);
    pthread_mutex_unlock(&s->lock);
    close(s->listen_fd);
    close(s->wake[0]);
    close(s->wake[1]);
    SSL_CTX_free(s->tls);
    pthread_mutex_destroy(&s->lock);
    pthread_cond_destroy(&s->changed);
}

void kube_server_play(struct kube_server *s, const struct kube_step *steps, size_t n) {
    pthread_mutex_lock(&s->lock);
    s->steps = steps;
    s->n = n;
    s->next = s->seen_n = 0;
    pthread_mutex_unlock(&s->lock);
}

void kube_server_wait(struct kube_server *s, size_t seen) {
    pthread_mutex_lock(&s->lock);
    while (s->seen_n < seen)
        pthread_cond_wait(&s->changed, &s->lock);
    pthread_mutex_unlock(&s->lock);
}

const struct kube_seen *kube_server_seen(struct kube_server *s, size_t n) {
    pthread_mutex_lock(&s->lock);
    const struct kube_seen *found = n < s->seen_n ? &s->seen[n] : NULL;
    pthread_mutex_unlock(&s->lock);
    return found;
}

size_t kube_server_count(struct kube_server *s) {
    pthread_mutex_lock(&s->lock);
    size_t n = s->seen_n;
    pthread_mutex_unlock(&s->lock);
    return n;
}
