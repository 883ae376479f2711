/* Watches: one long answer, a JSON object a line. Lines are cut out of the pieces as they come; what the caller is told is the text of the
 * object, in place when the piece holds the whole line. Called by the reflectors and embedders. */
#include <string.h>
#include "base/cleanup.h"
#include "base/error.h"
#include "base/json_reader.h"
#include "cluster/kubernetes/kube_int.h"

#define SECONDS_MAX 86400

void kube_stream_init(struct kube_stream *s, bool secret, osmo_kube_change_fn fn, void *ctx) {
    memset(s, 0, sizeof *s);
    buf_init(&s->rest, KUBE_FRAME_MAX);
    s->rest.secret = secret;
    s->fn = fn;
    s->ctx = ctx;
}

void kube_stream_clear(struct kube_stream *s) { buf_free(&s->rest); }

static bool fail(struct kube_stream *s, int code, const char *text) {
    s->code = osmo_error_set(&s->err, code, "%s", text);
    return false;
}

static bool hand_out(struct kube_stream *s, const json_slice_t *type, const json_slice_t *object) {
    static const struct { const char *name; osmo_kube_change_t change; } names[] = {
        {"ADDED", OSMO_KUBE_ADDED}, {"MODIFIED", OSMO_KUBE_MODIFIED}, {"DELETED", OSMO_KUBE_DELETED}, {"BOOKMARK", OSMO_KUBE_BOOKMARK},
    };
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        if (json_slice_is(type, names[i].name)) {
            s->bookmarks |= names[i].change == OSMO_KUBE_BOOKMARK;
            s->stopped = s->fn(s->ctx, names[i].change, object->text, object->len) != 0;
            return !s->stopped;
        }
    }
    if (json_slice_is(type, "ERROR"))
        s->code = kube_error_of_event(object->text, object->len, &s->wait_us, &s->err);
    else
        return fail(s, OSMO_EIO, "the Kubernetes API server sent a kind of watch event that nobody knows");
    return false;
}

static bool is_blank(const char *text, size_t len) {
    for (size_t i = 0; i < len; i++) {
        if (!strchr(" \t\r\n", text[i]) || !text[i])
            return false;
    }
    return true;
}

/* A line: {"type":"ADDED","object":{…}} */
static bool read_frame(struct kube_stream *s, const char *text, size_t len) {
    json_reader_t r;
    json_slice_t key, type = {0}, object = {0};
    if (is_blank(text, len))
        return true;
    json_reader_init(&r, text, len);
    bool whole = json_reader_kind(&r) == JSON_OBJECT && json_reader_object(&r);
    while (whole && json_reader_key(&r, &key)) {
        if (json_slice_is(&key, "type"))
            json_reader_string(&r, &type);
        else if (json_slice_is(&key, "object"))
            json_reader_skip(&r, &object);
        else
            json_reader_skip(&r, NULL);
    }
    if (!whole || json_reader_failed(&r) || !json_reader_at_end(&r) || !type.len || !object.len || object.text[0] != '{')
        return fail(s, OSMO_EIO, "the Kubernetes API server sent something that is no watch event");
    return hand_out(s, &type, &object);
}

/* Keeps the beginning of a line until the rest of it comes. */
static bool keep(struct kube_stream *s, const char *data, size_t len) {
    int rc = buf_append(&s->rest, data, len);
    if (rc == OSMO_ELIMIT)
        return fail(s, rc, "the Kubernetes API server sent a watch event that is larger than the limit");
    return rc == 0 || fail(s, rc, "out of memory for a watch event");
}

bool kube_stream_feed(struct kube_stream *s, const char *data, size_t len) {
    bool going = !s->stopped && !s->code;
    while (going && len) {
        const char *end = memchr(data, '\n', len);
        size_t n = end ? (size_t)(end - data) : len;
        if (!end) {
            going = keep(s, data, n);
        } else if (s->rest.len) {
            going = keep(s, data, n) && read_frame(s, s->rest.data, s->rest.len);
            buf_reset(&s->rest);
        } else {
            going = n <= KUBE_FRAME_MAX ? read_frame(s, data, n) : keep(s, data, n);
        }
        data += end ? n + 1 : n;
        len -= end ? n + 1 : n;
    }
    if (s->rest.cap > KUBE_FRAME_MAX / 16 && !s->rest.len) { /* one large object must not cost its size for ever */
        bool secret = s->rest.secret;
        buf_free(&s->rest);
        s->rest.secret = secret;
    }
    return going;
}

int kube_stream_end(struct kube_stream *s, osmo_error_t *err) {
    if (!s->stopped && !s->code && s->rest.len) { /* a last line without its end is whole, or was cut */
        read_frame(s, s->rest.data, s->rest.len);
        buf_reset(&s->rest);
    }
    return s->code ? osmo_error_set(err, s->code, "%s", s->err.text) : 0;
}

/* ---- over HTTP ---- */

struct watching { struct kube_stream stream; const osmo_kube_t *k; };

static bool on_data(void *ctx, http_client_t *http, const char *data, size_t len) {
    struct watching *w = ctx;
    bool before = w->stream.bookmarks, going = kube_stream_feed(&w->stream, data, len);
    if (!before && w->stream.bookmarks) /* this server sends them about once a minute: silence means that it is gone */
        http_client_set_idle(http, (long)w->k->idle_ms);
    return going;
}

static int watch_url(osmo_kube_t *k, const osmo_kube_target_t *what, const char *version, int seconds, buf_t *url, osmo_error_t *err) {
    char timeout[16];
    int rc = kube_target_path(k, what, KUBE_ALL, url, err);
    kube_query(url, "watch", "1");
    kube_query(url, "allowWatchBookmarks", "true");
    kube_query(url, "resourceVersion", version && *version ? version : NULL);
    snprintf(timeout, sizeof timeout, "%d", seconds);
    kube_query(url, "timeoutSeconds", timeout);
    kube_query_selectors(url, what);
    return rc == 0 ? kube_url_failed(url, err) : rc;
}

int osmo_kube_watch(osmo_kube_t *k, const osmo_kube_target_t *given, const char *version, int seconds, osmo_kube_change_fn fn, void *ctx,
                    osmo_error_t *err) {
    _cleanup_buf_ buf_t url = BUF_INIT(1u << 20);
    osmo_kube_target_t what = {0};
    struct watching w = {.k = k};
    if (!given || !fn || seconds < 1 || seconds > SECONDS_MAX)
        return osmo_error_set(err, OSMO_EINVAL, "osmo_kube_watch needs a target, a function, and 1 to %d seconds", SECONDS_MAX);
    memcpy(&what, given, given->size < sizeof what ? given->size : sizeof what);
    what.name = what.subresource = NULL;
    int some = seconds - (int)kube_pool_random(&k->pool, (uint64_t)(seconds + 1) / 2); /* not all watches end at the same time */
    int rc = watch_url(k, &what, version, some, &url, err);
    if (rc < 0)
        return rc;
    kube_stream_init(&w.stream, kube_target_secret(&what), fn, ctx);
    const struct kube_call call = {.method = "GET", .path = url.data, .watch = true, .secret = kube_target_secret(&what), .total_ms = -1,
                                   .idle_ms = some * INT64_C(1000) + k->idle_ms, .on_data = on_data, .ctx = &w};
    osmo_error_t why = OSMO_ERROR_INIT;
    rc = kube_request(k, &call, NULL, &why);
    if (w.stream.code || rc == 0)
        rc = kube_stream_end(&w.stream, &why);
    if (w.stream.code && w.stream.wait_us && kube_pool_sleep(&k->pool, w.stream.wait_us, &why) < 0)
        rc = why.code;
    kube_stream_clear(&w.stream);
    if (rc == OSMO_ENOTFOUND)
        kube_discovery_doubt(&k->discovery, what.api_version);
    return rc < 0 ? osmo_error_set(err, rc, "%s", why.text) : 0;
}
