/* The server's half of HTTP, faults, and what is kept; see storage_server.h. A thread for each connection. */
#include <ctype.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <unistd.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "base/http.h"
#include "check.h"
#include "data/remote.h"
#include "storage_server_int.h"

#define BODY_MAX (64u << 20)

/* ---- what is kept ---- */

void md5_hex(const void *data, size_t len, char out[33]) {
    crypto_digest_t *d;
    uint8_t sum[32];
    if (crypto_digest_new(CRYPTO_MD5, &d, NULL) < 0)
        abort();
    crypto_digest_add(d, data, len);
    crypto_digest_take(d, sum);
    crypto_digest_free(d);
    hex_text(sum, 16, out);
}

int by_path(const void *a, const void *b) { return strcmp(((const struct object *)a)->path, ((const struct object *)b)->path); }

struct object *find_object(storage_server_t *s, const char *path) {
    for (size_t i = 0; i < s->nobjects; i++)
        if (!strcmp(s->objects[i].path, path))
            return &s->objects[i];
    return NULL;
}

struct object *store_object(storage_server_t *s, const char *path, const void *data, size_t len) {
    struct object *o = find_object(s, path);
    if (!o) {
        if (s->nobjects == OBJECTS_MAX)
            abort();
        size_t at = s->nobjects;
        while (at && strcmp(s->objects[at - 1].path, path) > 0)
            at--;
        memmove(&s->objects[at + 1], &s->objects[at], (s->nobjects - at) * sizeof *s->objects);
        o = &s->objects[at];
        *o = (struct object){ .path = strdup(path) };
        s->nobjects++;
    }
    char *copy = malloc(len + 1);
    if (len)
        memcpy(copy, data, len);
    free(o->data);
    o->data = copy;
    o->len = len;
    md5_hex(copy, len, o->etag);
    return o;
}

void drop_object(storage_server_t *s, struct object *o) {
    free(o->path);
    free(o->data);
    memmove(o, o + 1, (size_t)(&s->objects[s->nobjects] - o - 1) * sizeof *o);
    s->nobjects--;
}

struct upload *find_upload(storage_server_t *s, const char *id) {
    for (size_t i = 0; id && i < s->nuploads; i++)
        if (!strcmp(s->uploads[i].id, id))
            return &s->uploads[i];
    return NULL;
}

void drop_upload(storage_server_t *s, struct upload *u) {
    for (size_t i = 0; i < 64; i++)
        free(u->parts[i].data);
    free(u->path);
    memmove(u, u + 1, (size_t)(&s->uploads[s->nuploads] - u - 1) * sizeof *u);
    s->nuploads--;
}

/* ---- requests and answers ---- */

const char *request_header(const struct server_request *rq, const char *name) {
    size_t n = strlen(name);
    for (size_t i = 0; i < rq->headers.len; i++)
        if (!strncasecmp(rq->headers.items[i], name, n) && rq->headers.items[i][n] == ':') {
            const char *v = rq->headers.items[i] + n + 1;
            return v + strspn(v, " ");
        }
    return NULL;
}

char *request_query(const struct server_request *rq, const char *name) {
    size_t n = strlen(name);
    for (const char *p = rq->query; p && *p; p += strcspn(p, "&"), p += *p == '&') {
        size_t len = strcspn(p, "&"), key = strcspn(p, "=&");
        if (key != n || strncmp(p, name, n) != 0)
            continue;
        buf_t b = BUF_INIT(1 << 20);
        buf_cstr(&b);
        if (key < len)
            url_decode(p + key + 1, len - key - 1, false, &b);
        char *out = b.data ? buf_steal(&b, NULL) : strdup("");
        buf_free(&b);
        return out;
    }
    return NULL;
}

void answer_text(struct server_answer *a, const char *name, const char *value) {
    char *line = str_printf("%s: %s", name, value);
    strlist_add(&a->headers, line);
    free(line);
}

void answer_error(struct server_answer *a, int status, const char *code) {
    a->status = status;
    buf_reset(&a->body);
    answer_text(a, "Content-Type", "application/xml");
    buf_printf(&a->body, "<?xml version=\"1.0\"?>\n<Error><Code>%s</Code><Message>in the words of the server</Message></Error>", code);
}

void send_object(storage_server_t *s, const struct server_request *rq, const struct object *o, struct server_answer *a) {
    const char *range = request_header(rq, "Range"), *match = request_header(rq, "If-Match");
    char text[96];
    unsigned long long from = 0, to = o->len ? o->len - 1 : 0;
    (void)s;
    snprintf(text, sizeof text, "\"%s\"", o->etag);
    answer_text(a, "ETag", text);
    if (match && strcmp(match, text) != 0) {
        answer_error(a, 412, "PreconditionFailed");
        return;
    }
    a->status = 200;
    if (range && sscanf(range, "bytes=%llu-%llu", &from, &to) == 2 && from < o->len) {
        to = to < o->len ? to : o->len - 1;
        snprintf(text, sizeof text, "bytes %llu-%llu/%zu", from, to, o->len);
        answer_text(a, "Content-Range", text);
        a->status = 206;
    }
    if (o->len)
        buf_append(&a->body, o->data + from, (size_t)(to - from + 1));
}

static bool read_line(FILE *f, char *line, size_t size) {
    if (!fgets(line, (int)size, f))
        return false;
    line[strcspn(line, "\r\n")] = '\0';
    return true;
}

static bool read_request(FILE *f, struct server_request *rq) {
    char line[16384], target[12288];
    memset(rq, 0, sizeof *rq);
    if (!read_line(f, line, sizeof line) || sscanf(line, "%7s %12287s", rq->method, target) != 2)
        return false;
    rq->target = strdup(target);
    char *mark = strchr(target, '?');
    rq->query = strdup(mark ? mark + 1 : "");
    buf_t path = BUF_INIT(1 << 16);
    url_decode(target, mark ? (size_t)(mark - target) : strlen(target), false, &path);
    rq->path = buf_steal(&path, NULL);
    while (read_line(f, line, sizeof line) && *line)
        strlist_add(&rq->headers, line);
    const char *length = request_header(rq, "Content-Length");
    rq->len = length ? strtoul(length, NULL, 10) : 0;
    rq->body = malloc(rq->len + 1);
    if (rq->len > BODY_MAX || fread(rq->body, 1, rq->len, f) != rq->len)
        return false;
    rq->body[rq->len] = '\0';
    return true;
}

static void request_free(struct server_request *rq) {
    free(rq->target);
    free(rq->path);
    free(rq->query);
    free(rq->body);
    strlist_free(&rq->headers);
}

/* ---- faults ---- */

static bool take_fault(storage_server_t *s, const struct server_request *rq, struct fault *out) {
    for (size_t i = 0; i < s->nfaults; i++) {
        struct fault *f = &s->faults[i];
        if (!f->times || (f->method[0] && strcmp(f->method, rq->method) != 0) || !strstr(rq->target, f->contains))
            continue;
        if (f->fault == FAULT_REGION) {
            const char *auth = request_header(rq, "Authorization");
            char scope[64];
            snprintf(scope, sizeof scope, "/%s/s3/", f->code);
            if (auth && strstr(auth, scope))
                continue;
        }
        f->times--;
        *out = *f;
        return true;
    }
    return false;
}

/* Before the request is done: true when it is answered by that. */
static bool fault_before(const struct fault *f, struct server_answer *a) {
    if (f->fault == FAULT_STATUS || f->fault == FAULT_INSIDE) {
        answer_error(a, f->fault == FAULT_INSIDE ? 200 : f->status, f->code);
        return true;
    }
    if (f->fault != FAULT_REGION)
        return false;
    answer_error(a, 301, "PermanentRedirect");
    answer_text(a, "x-amz-bucket-region", f->code);
    return true;
}

static bool write_all(int fd, const char *data, size_t len) {
    while (len) {
        ssize_t n = send(fd, data, len, MSG_NOSIGNAL);
        if (n <= 0)
            return false;
        data += n;
        len -= (size_t)n;
    }
    return true;
}

static void put_head(storage_server_t *s, struct server_answer *a, buf_t *head) {
    char date[40];
    pthread_mutex_lock(&s->lock);
    int64_t offset_us = s->clock_offset_us;
    pthread_mutex_unlock(&s->lock);
    remote_http_date_text(clock_now_us() + offset_us, date);
    buf_printf(head, "HTTP/1.1 %d X\r\nDate: %s\r\nLast-Modified: Fri, 24 May 2013 00:00:00 GMT\r\n", a->status, date);
    for (size_t i = 0; i < a->headers.len; i++)
        buf_printf(head, "%s\r\n", a->headers.items[i]);
    if (a->status != 204)
        buf_printf(head, "Content-Length: %zu\r\n", a->body.len);
    buf_puts(head, "\r\n");
}

static bool write_answer(storage_server_t *s, int fd, struct server_answer *a, const struct fault *f) {
    buf_t head = BUF_INIT(1 << 16);
    put_head(s, a, &head);
    size_t len = a->head || a->status == 204 ? 0 : a->body.len;
    bool good = write_all(fd, head.data, head.len);
    buf_free(&head);
    if (f && f->fault == FAULT_CORRUPT && len)
        a->body.data[len / 2] ^= 1;
    if (f && (f->fault == FAULT_CUT || f->fault == FAULT_STALL)) {
        good = good && write_all(fd, a->body.data, len / 2);
        char byte;
        if (f->fault == FAULT_STALL && good)
            (void)!recv(fd, &byte, 1, 0); /* until the client gives up */
        return false;
    }
    return good && write_all(fd, len ? a->body.data : "", len);
}

/* ---- connections ---- */

static void answer(storage_server_t *s, const struct server_request *rq, struct server_answer *a) {
    if (str_starts(rq->path, "/api/storage/"))
        service_answer(s, rq, a);
    else if (str_starts(rq->path, "/account/"))
        azure_answer(s, rq, a);
    else
        s3_answer(s, rq, a);
}

static bool serve_one(storage_server_t *s, int fd, const struct server_request *rq) {
    struct server_answer a = { .status = 500, .body = BUF_INIT(BODY_MAX), .head = !strcmp(rq->method, "HEAD") };
    struct fault fault = { .fault = FAULT_STATUS };
    char line[512];
    pthread_mutex_lock(&s->lock);
    snprintf(line, sizeof line, "%s %.480s", rq->method, rq->target);
    strlist_add(&s->log, line);
    bool faulty = take_fault(s, rq, &fault);
    if (!(faulty && fault.fault == FAULT_DROP) && !(faulty && fault_before(&fault, &a))) {
        if (faulty && fault.fault == FAULT_SHORT && rq->len)
            rq->body[0] ^= 1;
        answer(s, rq, &a);
    }
    pthread_mutex_unlock(&s->lock);
    bool more = !(faulty && (fault.fault == FAULT_DROP || fault.fault == FAULT_LOST)) && write_answer(s, fd, &a, faulty ? &fault : NULL);
    strlist_free(&a.headers);
    buf_free(&a.body);
    return more;
}

struct connection { storage_server_t *s; int fd; };

static void *serve(void *arg) {
    struct connection c = *(struct connection *)arg;
    struct server_request rq;
    free(arg);
    FILE *f = fdopen(dup(c.fd), "r");
    for (bool more = f != NULL; more;) {
        more = read_request(f, &rq) && serve_one(c.s, c.fd, &rq);
        request_free(&rq);
    }
    if (f)
        fclose(f);
    pthread_mutex_lock(&c.s->lock);
    for (size_t i = 0; i < c.s->nopen; i++)
        if (c.s->open[i] == c.fd)
            c.s->open[i--] = c.s->open[--c.s->nopen];
    close(c.fd);
    pthread_cond_signal(&c.s->closed);
    pthread_mutex_unlock(&c.s->lock);
    return NULL;
}

static void *accept_all(void *arg) {
    storage_server_t *s = arg;
    int fd;
    while ((fd = accept4(s->listener, NULL, NULL, SOCK_CLOEXEC)) >= 0) {
        struct connection *c = malloc(sizeof *c);
        pthread_t t;
        int yes = 1;
        setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &yes, sizeof yes);
        *c = (struct connection){ s, fd };
        pthread_mutex_lock(&s->lock);
        bool full = s->nopen == 256 || s->stopping;
        if (!full)
            s->open[s->nopen++] = fd;
        pthread_mutex_unlock(&s->lock);
        if (full || pthread_create(&t, NULL, serve, c))
            abort();
        pthread_detach(t);
    }
    return NULL;
}

storage_server_t *storage_server_start(void) {
    storage_server_t *s = calloc(1, sizeof *s);
    s->listener = check_listen(&s->port);
    s->page = 1000;
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->closed, NULL);
    if (s->listener < 0 || listen(s->listener, 64) || pthread_create(&s->thread, NULL, accept_all, s))
        abort();
    return s;
}

void storage_server_stop(storage_server_t *s) {
    pthread_mutex_lock(&s->lock);
    shutdown(s->listener, SHUT_RDWR);
    for (size_t i = 0; i < s->nopen; i++)
        shutdown(s->open[i], SHUT_RDWR);
    while (s->nopen)
        pthread_cond_wait(&s->closed, &s->lock);
    pthread_mutex_unlock(&s->lock);
    pthread_join(s->thread, NULL);
    close(s->listener);
    while (s->nobjects)
        drop_object(s, s->objects);
    while (s->nuploads)
        drop_upload(s, s->uploads);
    strlist_free(&s->log);
    pthread_cond_destroy(&s->closed);
    pthread_mutex_destroy(&s->lock);
    free(s);
}

int storage_server_port(const storage_server_t *s) { return s->port; }

void storage_server_put(storage_server_t *s, const char *path, const void *data, size_t len) {
    pthread_mutex_lock(&s->lock);
    store_object(s, path, data, len)->mode = 0644;
    pthread_mutex_unlock(&s->lock);
}

char *storage_server_get(storage_server_t *s, const char *path, size_t *len) {
    pthread_mutex_lock(&s->lock);
    const struct object *o = find_object(s, path);
    char *copy = o ? malloc(o->len + 1) : NULL;
    if (copy) {
        memcpy(copy, o->data, o->len);
        copy[o->len] = '\0';
        *len = o->len;
    }
    pthread_mutex_unlock(&s->lock);
    return copy;
}

size_t storage_server_objects(storage_server_t *s, const char *prefix) {
    size_t n = 0;
    pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < s->nobjects; i++)
        n += str_starts(s->objects[i].path, prefix);
    pthread_mutex_unlock(&s->lock);
    return n;
}

size_t storage_server_uploads(storage_server_t *s) {
    pthread_mutex_lock(&s->lock);
    size_t n = s->nuploads;
    pthread_mutex_unlock(&s->lock);
    return n;
}

void storage_server_fault(storage_server_t *s, const char *method, const char *contains, enum storage_fault fault, int times, int status,
                          const char *code) {
    pthread_mutex_lock(&s->lock);
    if (s->nfaults == FAULTS_MAX)
        s->nfaults = 0;
    struct fault *f = &s->faults[s->nfaults++];
    *f = (struct fault){ .fault = fault, .times = times, .status = status };
    snprintf(f->method, sizeof f->method, "%s", method);
    snprintf(f->contains, sizeof f->contains, "%s", contains);
    snprintf(f->code, sizeof f->code, "%s", code ? code : "");
    pthread_mutex_unlock(&s->lock);
}

void storage_server_heal(storage_server_t *s) {
    pthread_mutex_lock(&s->lock);
    s->nfaults = 0;
    pthread_mutex_unlock(&s->lock);
}

size_t storage_server_count(storage_server_t *s, const char *method, const char *contains) {
    size_t n = 0;
    pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < s->log.len; i++)
        n += str_starts(s->log.items[i], method) && strstr(s->log.items[i], contains);
    pthread_mutex_unlock(&s->lock);
    return n;
}

/* One setting, seen by the threads that answer. */
#define SET(s, what)                                                                                                   \
    do {                                                                                                               \
        pthread_mutex_lock(&(s)->lock);                                                                                \
        what;                                                                                                          \
        pthread_mutex_unlock(&(s)->lock);                                                                              \
    } while (0)

void storage_server_page(storage_server_t *s, size_t entries) { SET(s, s->page = entries); }
void storage_server_clock(storage_server_t *s, int64_t offset_us) { SET(s, s->clock_offset_us = offset_us); }
void storage_server_no_batch(storage_server_t *s) { SET(s, s->no_batch = true); }
void storage_server_old_uploads(storage_server_t *s) { SET(s, s->old_uploads = true); }
