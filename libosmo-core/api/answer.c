/* Filling answers and reading query and body: the helpers that every handler uses. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "api/guard.h"
#include "api/route.h"
#include "base/cleanup.h"
#include "base/crypto.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/http.h"

#define MAX_QUERY_VALUES 4096
#define SECRET_BODY_MAX (64u << 10) /* no body with a token is longer */
#define MAX_ANSWER (256u << 20)
#define MAX_ANSWER_HEADERS 16

void answer_init(osmo_response_t *rs) {
    memset(rs, 0, sizeof *rs);
    rs->size = sizeof *rs;
    rs->body_fd = -1;
}

int answer_body(struct call *c, int status, const char *content_type, char *body, size_t len) {
    char *type = str_dup(content_type);
    if (!type) {
        free(body);
        return OSMO_ENOMEM;
    }
    free(c->rs->content_type);
    free(c->rs->body);
    c->rs->status = status;
    c->rs->content_type = type;
    c->rs->body = body;
    c->rs->body_len = len;
    return 0;
}

int answer_json(struct call *c, int status, json_t *value) {
    _cleanup_json_ json_t *owned = value;
    _cleanup_buf_ buf_t text = BUF_INIT(MAX_ANSWER);
    size_t len;
    int rc = json_print(owned, 0, &text);
    if (rc < 0)
        return rc;
    char *body = buf_steal(&text, &len);
    return body ? answer_body(c, status, "application/json", body, len) : OSMO_ENOMEM;
}

int answer_secret(struct call *c, json_t *value) {
    _cleanup_json_secret_ json_t *owned = value;
    _cleanup_buf_ buf_t text = BUF_SECRET(MAX_ANSWER);
    size_t len;
    int rc = json_print(owned, 0, &text);
    if (rc < 0)
        return rc;
    char *body = buf_steal(&text, &len);
    return body ? answer_body(c, 200, "application/json", body, len) : OSMO_ENOMEM;
}

int answer_null(struct call *c) {
    return answer_json(c, 200, NULL);
}

int answer_text(struct call *c, int status, const char *content_type, const char *text, size_t len) {
    char *body = malloc(len + 1);
    if (!body)
        return OSMO_ENOMEM;
    memcpy(body, text, len);
    body[len] = '\0';
    return answer_body(c, status, content_type, body, len);
}

int answer_stream(struct call *c, const char *content_type, osmo_stream_t *stream, osmo_error_t *err) {
    int rc = stream_guard(c, stream, &stream, err);
    char *type = rc < 0 ? NULL : str_dup(content_type);
    if (rc >= 0 && !type)
        stream->close(stream);
    if (!type)
        return rc < 0 ? rc : OSMO_ENOMEM;
    c->rs->status = 200;
    c->rs->content_type = type;
    c->rs->stream = stream;
    return 0;
}

int answer_header(struct call *c, const char *name, const char *value) {
    size_t n = 0;
    while (c->rs->headers && c->rs->headers[n])
        n++;
    if (n / 2 >= MAX_ANSWER_HEADERS)
        return OSMO_ELIMIT;
    char **grown = realloc(c->rs->headers, (n + 3) * sizeof *grown);
    if (!grown)
        return OSMO_ENOMEM;
    c->rs->headers = grown;
    grown[n] = str_dup(name);
    grown[n + 1] = str_dup(value);
    grown[n + 2] = NULL;
    if (grown[n] && grown[n + 1])
        return 0;
    free(grown[n]);
    free(grown[n + 1]);
    grown[n] = NULL;
    return OSMO_ENOMEM;
}

int answer_detail(struct call *c, int status, const char *text) {
    json_t *o = json_object();
    if (!o || json_set_str(o, "detail", text) < 0) {
        json_free(o);
        return OSMO_ENOMEM;
    }
    return answer_json(c, status, o);
}

int answer_unprocessable(struct call *c, const char *where, const char *field, const char *type, const char *message) {
    _cleanup_json_ json_t *o = json_object();
    json_t *list = json_array(), *item = json_object(), *loc = json_array();
    bool failed = !o || !list || !item || !loc;
    if (failed || json_set(o, "detail", list) < 0 || json_add(list, item) < 0) {
        if (failed) {
            json_free(list);
            json_free(item);
        }
        json_free(loc);
        return OSMO_ENOMEM;
    }
    failed |= json_set_str(item, "type", type) < 0 || json_set(item, "loc", loc) < 0 || json_add_str(loc, where) < 0;
    failed |= (field && json_add_str(loc, field) < 0) || json_set_str(item, "msg", message) < 0 ||
        json_set_str(item, "input", NULL) < 0;
    return failed ? OSMO_ENOMEM : answer_json(c, 422, STEAL(o));
}

static int error_body(struct call *c, int code, int status, const char *message) {
    _cleanup_json_ json_t *o = json_object();
    if (!o)
        return OSMO_ENOMEM;
    if (status >= 500) {
        _cleanup_free_ char *full = str_printf("Internal server error: %s", message);
        if (!full || json_set_str(o, "message", full) < 0)
            return OSMO_ENOMEM;
    } else if (json_set_str(o, "message", message) < 0 ||
               json_set_str(o, "error_code", osmo_error_wire_name(code)) < 0 ||
               json_set_str(o, "workflow_id", c->error_workflow_id) < 0) {
        return OSMO_ENOMEM;
    }
    return answer_json(c, status, STEAL(o));
}

void answer_error(struct call *c, int code, const osmo_error_t *err) {
    int status = osmo_error_http_status(code);
    const char *text = c->error_message ? c->error_message : err && err->text[0] ? err->text : osmo_error_name(code);
    size_t clean_len;
    _cleanup_free_ char *clean = utf8_repair(text, strlen(text), &clean_len);
    if (status >= 500 && status != 503) {
        _cleanup_free_ char *path = guard_shown_path(c->rq->path);
        log_warning(&c->engine->log, "%s %s: %s", c->rq->method, path ? path : "", text);
    }
    if (error_body(c, code, status, clean ? clean : osmo_error_name(code)) < 0)
        c->rs->status = status;
    if (status == 401)
        (void)answer_header(c, "www-authenticate", "Bearer");
    if (status == 503 || status == 429) {
        char after[24];
        snprintf(after, sizeof after, "%lld", c->retry_after_s > 0 ? (long long)c->retry_after_s : 1);
        (void)answer_header(c, "retry-after", after);
    }
}

/* ---- query ---- */

/* Tokens come in queries, too. */
static void values_free(void *p) {
    strlist_t *l = p;
    for (size_t i = 0; i < l->len; i++)
        crypto_wipe(l->items[i], strlen(l->items[i]));
    strlist_free(l);
    free(p);
}

static int query_add(struct map *m, const char *name, const char *value) {
    strlist_t *l = map_get(m, name);
    if (!l) {
        l = calloc(1, sizeof *l);
        if (!l || map_set(m, name, l) < 0)
            return OSMO_ENOMEM;
    }
    return strlist_add(l, value);
}

static int query_piece(struct map *m, const char *piece, size_t len, osmo_error_t *err) {
    const char *eq = memchr(piece, '=', len);
    size_t name_len = eq ? (size_t)(eq - piece) : len;
    _cleanup_buf_ buf_t name = BUF_INIT(1024), value = BUF_SECRET(1u << 20);
    int rc = url_decode(piece, name_len, true, &name);
    if (rc >= 0 && eq)
        rc = url_decode(eq + 1, len - name_len - 1, true, &value);
    if (rc < 0)
        return osmo_error_set(err, rc,
                              "the query string holds a malformed or too long parameter; percent-encode its name and value");
    if (!utf8_valid(buf_cstr(&name), name.len) || !utf8_valid(buf_cstr(&value), value.len))
        return osmo_error_set(err, OSMO_EINVAL, "the query string is not UTF-8");
    return query_add(m, buf_cstr(&name), buf_cstr(&value));
}

int query_parse(const char *text, struct map **out, osmo_error_t *err) {
    struct map *m = map_new(values_free);
    if (!m)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    size_t count = 0;
    int rc = 0;
    for (const char *p = text ? text : ""; *p && rc >= 0;) {
        size_t len = strcspn(p, "&");
        if (++count > MAX_QUERY_VALUES)
            rc = osmo_error_set(err, OSMO_ELIMIT, "more than %d query parameters", MAX_QUERY_VALUES);
        else if (len)
            rc = query_piece(m, p, len, err);
        p += len + (p[len] == '&');
    }
    if (rc < 0) {
        map_free(m);
        return rc;
    }
    *out = m;
    return 0;
}

const strlist_t *query_all(struct call *c, const char *name) {
    return c->query ? map_get(c->query, name) : NULL;
}

const char *query_get(struct call *c, const char *name) {
    const strlist_t *l = query_all(c, name);
    return l && l->len ? l->items[0] : NULL;
}

int query_bool(struct call *c, const char *name, bool fallback, bool *out, osmo_error_t *err) {
    static const char *const yes[] = { "1", "true", "t", "yes", "y", "on" },
        *const no[] = { "0", "false", "f", "no", "n", "off" };
    const char *text = query_get(c, name);
    *out = fallback;
    if (!text)
        return 0;
    for (size_t i = 0; i < ARRAY_SIZE(yes); i++) {
        if (!strcasecmp(text, yes[i]) || !strcasecmp(text, no[i])) {
            *out = !strcasecmp(text, yes[i]);
            return 0;
        }
    }
    int rc = answer_unprocessable(c, "query", name, "bool_parsing", "Input should be a valid boolean: true or false");
    return osmo_error_set(err, rc < 0 ? rc : OSMO_EINVAL, "query parameter %s is not a boolean", name);
}

int query_int(struct call *c, const char *name, int64_t fallback, int64_t *out, osmo_error_t *err) {
    const char *text = query_get(c, name);
    *out = fallback;
    if (!text || str_to_i64(text, out))
        return 0;
    int rc = answer_unprocessable(c, "query", name, "int_parsing", "Input should be a valid integer");
    return osmo_error_set(err, rc < 0 ? rc : OSMO_EINVAL, "query parameter %s is not an integer", name);
}

int query_time(struct call *c, const char *name, int64_t *out_us, osmo_error_t *err) {
    const char *text = query_get(c, name);
    *out_us = 0;
    if (!text || !*text || time_parse(text, out_us))
        return 0;
    int rc = answer_unprocessable(c, "query", name, "datetime_parsing",
                                  "Input should be a date and time such as 2026-03-01T09:30:00");
    return osmo_error_set(err, rc < 0 ? rc : OSMO_EINVAL, "query parameter %s is not a date and time", name);
}

/* ---- body ---- */

static int body_bytes(struct call *c, buf_t *file, const char **data, size_t *len, osmo_error_t *err) {
    *data = c->rq->body;
    *len = c->rq->body_len;
    if (!c->rq->body_file)
        return 0;
    int rc = file_read(c->rq->body_file, file, err);
    *data = buf_cstr(file);
    *len = file->len;
    return rc;
}

int body_json(struct call *c, json_t **out, osmo_error_t *err) {
    _cleanup_buf_ buf_t file = BUF_INIT(128u << 20);
    osmo_error_t reason = OSMO_ERROR_INIT;
    const char *data;
    size_t len;
    json_t *v = NULL;
    int rc = body_bytes(c, &file, &data, &len, err);
    if (rc < 0)
        return rc;
    if (!len)
        rc = answer_unprocessable(c, "body", NULL, "missing",
                                  "Field required: the request needs a JSON object as its body");
    else if ((len <= SECRET_BODY_MAX ? json_parse_secret : json_parse)(data, len, &v, &reason) < 0)
        rc = answer_unprocessable(c, "body", NULL, "json_invalid", reason.text);
    else if (json_kind(v) != JSON_OBJECT)
        rc = answer_unprocessable(c, "body", NULL, "model_attributes_type", "Input should be a JSON object");
    else {
        *out = v;
        return 0;
    }
    json_free(v);
    return osmo_error_set(err, rc < 0 ? rc : OSMO_EINVAL, "the request body is not a JSON object");
}

/* ---- small things ---- */

const char *request_header(const osmo_request_t *rq, const char *name) {
    for (const char *const *h = rq->headers; h && h[0] && h[1]; h += 2) {
        if (!strcmp(h[0], name))
            return h[1];
    }
    return NULL;
}

const char *call_base_url(struct call *c) {
    if (c->base_url)
        return c->base_url;
    c->base_url = engine_base_url(c->engine);
    if (c->base_url && *c->base_url)
        return c->base_url;
    const char *host = request_header(c->rq, "host");
    free(c->base_url);
    c->base_url = host ? str_printf("http://%s", host) : str_dup("");
    return c->base_url ? c->base_url : "";
}

int json_set_time(json_t *o, const char *key, int64_t us) {
    char text[TIME_TEXT_MAX];
    return json_set_str(o, key, us ? time_iso(us, text) : NULL);
}

int json_set_text(json_t *o, const char *key, const char *text) {
    return json_set_str(o, key, text && *text ? text : NULL);
}

json_t *json_from_text(const char *text, json_t *fallback) {
    json_t *v = NULL;
    if (!text || json_parse(text, strlen(text), &v, NULL) < 0)
        return fallback;
    json_free(fallback);
    return v;
}
