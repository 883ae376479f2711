/* Places of storage and requests to them, repeated while that is of use; see remote.h. */
#include "data/remote.h"

#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/crc32c.h"
#include "base/error.h"
#include "base/str.h"
#include "data/session.h"

#define BACKOFF_FIRST_MS 100
#define BACKOFF_MAX_MS 15000
#define AT_ONCE_MAX 4          /* a redirection, a clock, a region: each is learned once */
#define REFUSAL_MAX (256u << 10)
#define SKEW_LEAST_US (60 * INT64_C(1000000))

static const struct data_driver *const drivers[] = { &s3_driver, &azure_driver, &local_driver, &service_driver };

/* ---- places ---- */

static const struct data_driver *find_driver(enum data_scheme scheme) {
    for (size_t i = 0; i < ARRAY_SIZE(drivers); i++)
        for (size_t k = 0; k < drivers[i]->nschemes; k++)
            if (drivers[i]->schemes[k] == scheme)
                return drivers[i];
    return NULL;
}

int remote_open(data_session_t *s, const char *uri, struct remote **out, osmo_error_t *err) {
    struct remote *r = calloc(1, sizeof *r);
    *out = NULL;
    if (!r)
        return no_memory(err);
    r->session = s;
    pthread_mutex_init(&r->lock, NULL);
    int rc = data_uri_parse(uri, &r->uri, err);
    if (!rc) {
        r->driver = find_driver(r->uri.scheme);
        r->credential = data_credentials_find(s->o.credentials, &r->uri);
        rc = r->driver ? r->driver->open(r, err) : osmo_error_set(err, OSMO_EINTERNAL, "%s has no driver", r->uri.text);
    }
    if (rc < 0) {
        remote_close(r);
        return rc;
    }
    *out = r;
    return 0;
}

void remote_close(struct remote *r) {
    if (!r)
        return;
    if (r->driver && r->state)
        r->driver->close(r);
    data_uri_clear(&r->uri);
    pthread_mutex_destroy(&r->lock);
    free(r);
}

char *remote_key(const struct remote *r, const char *relative) {
    const char *path = r->driver->keyed ? r->uri.path : "";
    if (r->uri.scheme == DATA_FILE)
        return str_printf("%s%s%s", str_eq(path, "/") ? "" : path, *relative ? "/" : "", relative);
    return str_printf("%s%s%s", path, *path && *relative ? "/" : "", relative);
}

/* ---- small things ---- */

void call_query(struct call *c, const char *name, const char *value) {
    if (c->nquery < CALL_QUERY_MAX && value)
        c->query[c->nquery++] = (struct sigv4_pair){ name, value };
}

void call_header(struct call *c, const char *line) {
    if (line && c->nheaders < CALL_HEADERS_MAX)
        c->headers[c->nheaders++] = line;
}

int remote_encode_path(const char *key, buf_t *out) {
    while (*key) {
        size_t n = strcspn(key, "/");
        char part[1025];
        if (n >= sizeof part)
            return OSMO_ELIMIT;
        memcpy(part, key, n);
        part[n] = '\0';
        url_encode(part, out);
        key += n;
        if (*key == '/') {
            buf_putc(out, '/');
            key++;
        }
    }
    return out->code;
}

static const char months[12][4] = { "Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec" };

int64_t remote_http_date(const char *text) {
    int day, year, hour, minute, second;
    char month[4];
    int64_t us = 0;
    if (!text || sscanf(text, "%*3s, %2d %3s %4d %2d:%2d:%2d GMT", &day, month, &year, &hour, &minute, &second) != 6)
        return 0;
    for (int m = 0; m < 12; m++)
        if (!strcmp(months[m], month)) {
            char iso[64];
            snprintf(iso, sizeof iso, "%04d-%02d-%02dT%02d:%02d:%02dZ", year, m + 1, day, hour, minute, second);
            return time_parse(iso, &us) ? us : 0;
        }
    return 0;
}

void remote_http_date_text(int64_t us, char out[40]) {
    static const char days[7][4] = { "Sun", "Mon", "Tue", "Wed", "Thu", "Fri", "Sat" };
    time_t s = (time_t)(us / 1000000);
    struct tm tm;
    gmtime_r(&s, &tm);
    snprintf(out, 40, "%s, %02d %s %04d %02d:%02d:%02d GMT", days[tm.tm_wday % 7], tm.tm_mday, months[tm.tm_mon % 12],
             (tm.tm_year + 1900) % 10000,
             tm.tm_hour, tm.tm_min, tm.tm_sec);
}

void hex_text(const uint8_t *data, size_t len, char *out) {
    static const char digits[] = "0123456789abcdef";
    for (size_t i = 0; i < len; i++) {
        out[2 * i] = digits[data[i] >> 4];
        out[2 * i + 1] = digits[data[i] & 15];
    }
    out[2 * len] = '\0';
}

bool etag_is_md5(const char *etag) { return strlen(etag) == 32 && strspn(etag, "0123456789abcdefABCDEF") == 32; }

unsigned etag_parts(const char *etag) {
    if (strspn(etag, "0123456789abcdefABCDEF") != 32 || etag[32] != '-')
        return 0;
    size_t digits = strspn(etag + 33, "0123456789");
    return digits && digits < 7 && !etag[33 + digits] ? (unsigned)strtoul(etag + 33, NULL, 10) : 0;
}

/* ---- sums ---- */

static void add(struct data_conn *c, const void *data, size_t len, struct digests *d) {
    d->crc = crc32c(d->crc, data, len);
    if (d->has_md5)
        crypto_digest_add(c->md5, data, len);
    if (d->has_sha256)
        crypto_digest_add(c->sha256, data, len);
}

static void begin(struct data_conn *c, bool md5, bool sha256, struct digests *d) {
    uint8_t nothing[32];
    memset(d, 0, sizeof *d);
    d->has_md5 = md5 && c->md5;
    d->has_sha256 = sha256 && c->sha256;
    if (d->has_md5)
        crypto_digest_take(c->md5, nothing);
    if (d->has_sha256)
        crypto_digest_take(c->sha256, nothing);
}

static void end(struct data_conn *c, struct digests *d) {
    uint8_t out[32];
    if (d->has_md5) {
        crypto_digest_take(c->md5, out);
        memcpy(d->md5, out, sizeof d->md5);
    }
    if (d->has_sha256)
        crypto_digest_take(c->sha256, d->sha256);
}

int digests_of(struct data_conn *c, int fd, const void *memory, uint64_t offset, uint64_t len, bool md5, bool sha256, struct digests *out,
               osmo_error_t *err) {
    begin(c, md5, sha256, out);
    if (memory)
        add(c, (const char *)memory + offset, (size_t)len, out);
    for (uint64_t at = 0; !memory && at < len;) {
        size_t want = len - at < REMOTE_BUFFER ? (size_t)(len - at) : REMOTE_BUFFER;
        ssize_t n = pread(fd, c->buffer, want, (off_t)(offset + at));
        if (n < 0 && errno == EINTR)
            continue;
        if (n <= 0)
            return osmo_error_set(err, OSMO_EIO, n ? "cannot be read: %s" : "became shorter while it was read", strerror(errno));
        add(c, c->buffer, (size_t)n, out);
        at += (uint64_t)n;
        if (session_stopped(c->session))
            return session_cancelled(err);
    }
    end(c, out);
    return 0;
}

/* ---- requests ---- */

/* One attempt, as libcurl's callbacks see it. */
struct attempt {
    struct data_conn *conn;
    const struct call *call;
    http_response_t *rs;
    int status;
    bool looked, other;   /* the head was looked at; it is another object, or not the piece that was asked for */
};

/* The first byte's place in the object that is coming. */
static bool right_piece(struct attempt *a) {
    const struct sink *s = a->call->sink;
    const char *etag = http_response_header(a->rs, "ETag"), *range = http_response_header(a->rs, "Content-Range");
    uint64_t from = 0;
    if (s->etag && *s->etag && etag) {
        const char *bare = etag + (*etag == '"');
        size_t n = strlen(s->etag);
        if (strncmp(bare, s->etag, n) != 0 || (bare[n] && bare[n] != '"'))
            return false;
    }
    if (a->status == 206) {
        unsigned long long first;
        if (!range || sscanf(range, "bytes %llu-", &first) != 1)
            return false;
        from = first;
    }
    return from == s->offset + s->done;
}

static bool on_data(void *ctx, const char *data, size_t len) {
    struct attempt *a = ctx;
    struct sink *s = a->call->sink;
    if (a->status < 200 || a->status > 299)
        return buf_append(&a->rs->body, data, len) == 0;
    if (!a->looked) {
        a->looked = true;
        a->other = !right_piece(a);
    }
    if (a->other || len > s->len - s->done) {
        a->other = true;
        return false;
    }
    if (s->memory)
        memcpy((char *)s->memory + s->done, data, len);
    for (size_t at = 0; !s->memory && at < len;) {
        ssize_t n = pwrite(s->fd, data + at, len - at, (off_t)(s->offset + s->done + at));
        if (n < 0 && errno != EINTR) {
            s->error = errno;
            return false;
        }
        at += n > 0 ? (size_t)n : 0;
    }
    add(a->conn, data, len, &s->sums);
    s->done += len;
    atomic_store_explicit(&a->conn->in_flight, s->done, memory_order_relaxed);
    return true;
}

static void on_sent(void *ctx, uint64_t so_far) {
    struct attempt *a = ctx;
    atomic_store_explicit(&a->conn->in_flight, so_far, memory_order_relaxed);
}

static void describe(const struct call *c, struct attempt *a, http_request_t *rq) {
    rq->method = c->method;
    rq->as_is = true;
    rq->body = c->body;
    rq->body_len = c->body_len;
    rq->max_response = c->max_response ? c->max_response : REFUSAL_MAX;
    rq->idle_ms = (long)a->conn->session->o.stall_ms;
    rq->ctx = a;
    rq->status_out = &a->status;
    if (c->source && c->source->memory) {
        rq->body = (const char *)c->source->memory + c->source->offset;
        rq->body_len = (size_t)c->source->len;
    } else if (c->source) {
        rq->upload = rq->upload_at = rq->bulk = true;
        rq->upload_fd = c->source->fd;
        rq->upload_offset = c->source->offset;
        rq->upload_len = c->source->len;
        rq->on_sent = on_sent;
    }
    if (c->sink) {
        rq->bulk = c->sink->len >= REMOTE_BUFFER;
        rq->on_data = on_data;
    }
}

static void wipe_lines(strlist_t *l) {
    for (size_t i = 0; i < l->len; i++)
        crypto_wipe(l->items[i], strlen(l->items[i]));
    strlist_free(l);
}

static int try_once(struct remote *r, struct attempt *a, osmo_error_t *err) {
    _cleanup_buf_ buf_t url = BUF_SECRET(32u << 10); /* a shared access signature may be in it */
    strlist_t headers = { 0 };
    http_request_t rq = { 0 };
    struct sink *s = a->call->sink;
    a->status = 0;
    a->looked = a->other = false;
    if (s && !r->driver->ranges && s->done) { /* from its beginning, then */
        s->done = 0;
        begin(a->conn, s->want_md5, s->want_sha256, &s->sums);
    }
    int rc = r->driver->build(r, a->call, &url, &headers, err);
    if (!rc && buf_failed(&url))
        rc = osmo_error_set(err, url.code, "the name is too long for a request");
    char **lines = rc ? NULL : calloc(headers.len + 1, sizeof *lines);
    if (!rc && !lines)
        rc = no_memory(err);
    if (!rc) {
        if (headers.len)
            memcpy(lines, headers.items, headers.len * sizeof *lines);
        rq.url = url.data;
        rq.headers = (const char *const *)lines;
        describe(a->call, a, &rq);
        rc = http_perform(a->conn->http, &rq, a->rs, err);
    }
    free(lines);
    wipe_lines(&headers);
    return rc;
}

/* What became of an attempt: 0, an error for good, 1 = at once again, 2 = later again. */
static int judge(struct remote *r, struct attempt *a, int rc, osmo_error_t *err) {
    const struct call *c = a->call;
    struct sink *s = c->sink;
    if (s && s->error) {
        errno = s->error;
        return osmo_error_set(err, s->error == ENOSPC || s->error == EDQUOT ? OSMO_ELIMIT : OSMO_EIO, "cannot be written: %s%s",
                              strerror(s->error), s->error == ENOSPC ? ": make room" : "");
    }
    if (a->other)
        return osmo_error_set(err, OSMO_ECONFLICT, "the storage sent something else than what was listed: was it changed meanwhile?");
    if (rc < 0) {
        if (rc == OSMO_ENOMEM || a->rs->fate == HTTP_UNUSABLE || a->rs->fate == HTTP_DISTRUSTED || a->rs->fate ==
            HTTP_CANCELLED || !a->rs->fate)
            return rc;
        return c->once ? rc : 2;
    }
    if (a->rs->status >= 200 && a->rs->status < 300) {
        if (!s || s->done == s->len)
            return 0;
        osmo_error_set(err, OSMO_EIO, "the storage sent %llu of %llu bytes", (unsigned long long)s->done, (unsigned long long)s->len);
        return s->done < s->len ? 2 : OSMO_EIO;
    }
    if (a->rs->status == 404 && c->missing_ok)
        return 0;
    rc = r->driver->refused(r, c, a->rs, err);
    return rc == 2 && c->once ? OSMO_EUNAVAIL : rc;
}

static int64_t wait_ms(const http_response_t *rs, int attempt) {
    int64_t ms = BACKOFF_MAX_MS, asked;
    uint32_t dice = 0;
    const char *after = http_response_header(rs, "Retry-After");
    if (attempt < 8 && (BACKOFF_FIRST_MS << attempt) < BACKOFF_MAX_MS)
        ms = BACKOFF_FIRST_MS << attempt;
    if (after && str_to_i64(after, &asked) && asked > 0)
        ms = asked * 1000 < 4 * BACKOFF_MAX_MS ? asked * 1000 : 4 * BACKOFF_MAX_MS;
    (void)crypto_random(&dice, sizeof dice); /* so that many who were turned away do not come back together */
    return ms / 2 + (int64_t)(dice % (uint64_t)(ms + 1));
}

int remote_call(struct data_conn *c, struct remote *r, const struct call *call, http_response_t *rs, osmo_error_t *err) {
    struct attempt a = { .conn = c, .call = call, .rs = rs };
    osmo_error_t why = OSMO_ERROR_INIT;
    int64_t until = clock_mono_us() + c->session->o.retry_for_ms * 1000;
    uint64_t before = 0;
    int at_once = 0, attempt = 0, rc;
    memset(rs, 0, sizeof *rs);
    if (call->sink)
        begin(c, call->sink->want_md5, call->sink->want_sha256, &call->sink->sums);
    for (;; attempt++) {
        if (session_stopped(c->session))
            return session_cancelled(err);
        http_response_free(rs);
        memset(rs, 0, sizeof *rs);
        rc = judge(r, &a, try_once(r, &a, &why), &why);
        if (rc <= 0)
            break;
        if (call->sink && call->sink->done > before) { /* it goes on, if slowly */
            before = call->sink->done;
            until = clock_mono_us() + c->session->o.retry_for_ms * 1000;
            attempt = 0;
        }
        if (rc == 1 && at_once++ < AT_ONCE_MAX)
            continue;
        if (rc == 1) {
            rc = why.code < 0 ? why.code : OSMO_EIO;
            break;
        }
        int64_t pause = wait_ms(rs, attempt);
        if (clock_mono_us() + pause * 1000 > until) {
            rc = why.code < 0 ? why.code : OSMO_EUNAVAIL;
            break;
        }
        if ((rc = session_pause(c->session, pause, err)) < 0)
            return rc;
    }
    atomic_store_explicit(&c->in_flight, 0, memory_order_relaxed);
    if (!rc && call->sink)
        end(c, &call->sink->sums);
    return rc < 0 ? osmo_error_set(err, rc, "%s", why.text) : 0;
}

bool remote_learn_time(struct remote *r, const http_response_t *rs) {
    int64_t theirs = remote_http_date(http_response_header(rs, "Date")), skew = theirs - clock_now_us();
    if (!theirs || (skew < SKEW_LEAST_US && skew > -SKEW_LEAST_US))
        return false;
    pthread_mutex_lock(&r->lock);
    bool again = !r->skew_known || r->skew_us - skew > SKEW_LEAST_US || skew - r->skew_us > SKEW_LEAST_US;
    bool first = !r->skew_known;
    r->skew_known = true;
    if (first)
        r->skew_us = skew;
    pthread_mutex_unlock(&r->lock);
    return first || !again; /* another thread may have learned it meanwhile */
}

bool remote_status_passes(int status) { return status == 408 || status == 429 || (status >= 500 && status != 501 && status != 505); }

/* What a server says becomes part of one line of text. */
static char *one_line(const char *text) {
    char *copy = text ? utf8_repair(text, strnlen(text, 1000), NULL) : NULL;
    for (char *p = copy; p && *p; p++)
        if ((unsigned char)*p < ' ' || *p == 0x7f)
            *p = ' ';
    return copy;
}

static int code_of_status(int status) {
    switch (status) {
    case 401: return OSMO_ECREDENTIAL;
    case 403: return OSMO_EDENIED;
    case 404: return OSMO_ENOTFOUND;
    case 409: case 412: return OSMO_ECONFLICT;
    case 429: case 503: return OSMO_EUNAVAIL;
    default: return OSMO_EIO;
    }
}

int remote_refusal(const struct remote *r, int status, const char *code, const char *message, osmo_error_t *err) {
    _cleanup_free_ char *name = one_line(code), *words = one_line(message);
    return osmo_error_set(err, code_of_status(status), "%s answered %d%s%.80s%s%.300s", r->uri.profile, status, name ? " " : "",
                          name ? name : "", words ? ": " : "", words ? words : "");
}

int remote_stop_at_first(void *ctx, const struct remote_entry *e, osmo_error_t *err) {
    (void)ctx;
    (void)e;
    (void)err;
    return 1;
}
