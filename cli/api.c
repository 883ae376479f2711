/* Calls to the service: headers, token refresh, error classes. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/crypto.h"
#include "login.h"

#define CALL_TIMEOUT_MS 60000
#define READY_ATTEMPTS 2
#define READY_AFTER_MAX_S 5

int api_fail(bool as_json, int status, const char *message, int code) {
    if (as_json) {
        json_t *o = json_object();
        json_set_str(o, "message", message);
        json_set_int(o, "code", status);
        print_json(o, 2);
        json_free(o);
    } else if (status) {
        printf("Error message: %s\nError code: %d\n", message, status);
    } else {
        printf("Error message: %s\n", message);
    }
    return code;
}

int api_open(struct api *a, bool json_errors) {
    osmo_error_t err = OSMO_ERROR_INIT;
    *a = (struct api){ .json_errors = json_errors };
    if (login_load(&a->login, &err))
        return api_fail(json_errors, 0, err.text, EXIT_USER);
    if (http_client_new("osmo-cli/" CLIENT_VERSION, &a->http, &err)) {
        api_close(a);
        return api_fail(json_errors, 0, err.text, EXIT_SERVER_DOWN);
    }
    return 0;
}

void api_close(struct api *a) {
    http_client_free(a->http);
    login_clear(&a->login);
}

struct headers { char *identity, *user; const char *list[6]; };

static void headers_clear(struct headers *h) {
    wipe_free(h->identity);
    free(h->user);
}

/* With a login that is good for now. OSMO_EUNAUTH and others when there is none to be had. */
static int make_headers(struct api *a, struct headers *h, osmo_error_t *err) {
    const struct login *l = &a->login;
    const char *dev = getenv("OSMO_LOGIN_DEV");
    size_t n = 0;
    *h = (struct headers){ 0 };
    int rc = login_refresh(a->http, &a->login, err);
    if (rc)
        return rc;
    h->list[n++] = "Content-Type: application/json";
    h->list[n++] = "x-osmo-client-version: " CLIENT_VERSION;
    if (l->id_token && !l->dev_user && (h->identity = str_printf("Authorization: Bearer %s", l->id_token)))
        h->list[n++] = h->identity;
    if ((l->dev_user || (l->name && str_eq(dev, "true"))) &&
        (h->user = str_printf("x-osmo-user: %s", l->dev_user ? l->dev_user : l->name)))
        h->list[n++] = h->user;
    h->list[n] = NULL;
    return OSMO_OK;
}

int api_headers(struct api *a, strlist_t *out) {
    osmo_error_t err = OSMO_ERROR_INIT;
    struct headers h;
    int rc = make_headers(a, &h, &err);
    for (size_t i = 0; rc == 0 && i < ARRAY_SIZE(h.list) && h.list[i]; i++)
        rc = strlist_add(out, h.list[i]);
    headers_clear(&h);
    return rc ? api_fail(a->json_errors, 0, err.code ? err.text : "out of memory",
        rc == OSMO_EBUSY ? EXIT_TRY_LATER : exit_code_of(rc)) : 0;
}

static int login_failed(const struct api *a, int rc, const osmo_error_t *err, bool quiet) {
    int code = rc == OSMO_EBUSY ? EXIT_TRY_LATER : exit_code_of(rc);
    return quiet && code == EXIT_SERVER_DOWN ? code : api_fail(a->json_errors, 0, err->text, code);
}

static void show_warning(const http_response_t *rs) {
    const char *value = http_response_header(rs, "x-osmo-warning");
    buf_t text = BUF_INIT(64u << 10);
    if (value && crypto_base64_decode(value, strlen(value), &text, NULL) == 0)
        fprintf(stderr, "%s\n", buf_cstr(&text));
    buf_free(&text);
}

static int code_of(const struct api *a, int status, const char *error_code) {
    if (status == 429)
        return EXIT_TRY_LATER;
    if (status >= 500)
        return EXIT_SERVER_DOWN;
    bool refused = str_eq(error_code, "USAGE") || str_eq(error_code, "RESOURCE") ||
                   (a->submission && str_eq(error_code, "CREDENTIAL"));
    return refused ? EXIT_SUBMISSION : EXIT_USER;
}

static int refused(struct api *a, int status, const char *body, size_t len) {
    json_t *o = NULL;
    json_parse(body ? body : "", len, &o, NULL);
    const char *message = json_get_str(o, "message");
    int code = code_of(a, status, json_get_str(o, "error_code"));
    _cleanup_free_ char *raw = strndup(body ? body : "", len);
    fprintf(stderr, "The service answered with status %d\n", status);
    if (status == 401 && a->login.id_token)
        fprintf(stderr, "It does not accept the login: run osmo login %s again\n", a->login.url);
    api_fail(a->json_errors, status, message ? message : raw && *raw ? raw : "no message", code);
    json_free(o);
    return code;
}

/* A service that is not ready says when it will be: what only reads is asked again then, twice at most. */
static int perform(struct api *a, const http_request_t *rq, http_response_t *rs, osmo_error_t *err) {
    int rc = http_perform(a->http, rq, rs, err);
    for (int again = 0; !rc && rs->status == 503 && str_eq(rq->method, "GET") && again < READY_ATTEMPTS; again++) {
        const char *after = http_response_header(rs, "Retry-After");
        int64_t seconds;
        if (!after || !str_to_i64(after, &seconds) || seconds < 0 || seconds > READY_AFTER_MAX_S)
            break;
        http_response_free(rs);
        nanosleep(&(struct timespec){ .tv_sec = seconds }, NULL);
        rc = http_perform(a->http, rq, rs, err);
    }
    return rc;
}

int api_call(struct api *a, const char *method, const char *path, const json_t *body, json_t **out) {
    osmo_error_t err = OSMO_ERROR_INIT;
    _cleanup_free_ char *url = str_printf("%s%s", a->login.url, path);
    _cleanup_free_ char *text = body ? json_to_text(body) : NULL;
    struct headers h;
    int code = make_headers(a, &h, &err);
    a->status = 0;
    if (code) {
        headers_clear(&h);
        return login_failed(a, code, &err, false);
    }
    http_request_t rq = { .method = method,
                          .url = url,
                          .headers = h.list,
                          .body = text,
                          .body_len = text ? strlen(text) : 0,
                          .timeout_ms = CALL_TIMEOUT_MS,
                          .max_response = 1u << 30 };
    http_response_t rs = { 0 };
    if (perform(a, &rq, &rs, &err)) {
        code = api_fail(a->json_errors, 0, err.text, EXIT_SERVER_DOWN);
    } else {
        show_warning(&rs);
        a->status = rs.status;
        if (rs.status != 200)
            code = refused(a, rs.status, rs.body.data, rs.body.len);
        else if (out && json_parse_secret(buf_cstr(&rs.body), rs.body.len, out, &err))
            code = api_fail(a->json_errors, 0, "the service answered with something that is no JSON: is the url right?",
                            EXIT_SERVER_DOWN);
    }
    /* tokens travel both ways */
    if (rs.body.data)
        crypto_wipe(rs.body.data, rs.body.cap);
    if (text)
        crypto_wipe(text, strlen(text));
    http_response_free(&rs);
    headers_clear(&h);
    return code;
}

int api_try(struct api *a, const char *method, const char *path, json_t **out, osmo_error_t *err) {
    _cleanup_free_ char *url = str_printf("%s%s", a->login.url, path);
    struct headers h;
    http_response_t rs = { 0 };
    a->status = 0;
    int rc = url ? make_headers(a, &h, err) : osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    http_request_t rq = { .method = method, .url = url, .headers = h.list, .timeout_ms = CALL_TIMEOUT_MS };
    if (rc == OSMO_OK)
        rc = http_perform(a->http, &rq, &rs, err);
    if (rc == OSMO_OK)
        rc = json_parse(buf_cstr(&rs.body), rs.body.len, out, err);
    a->status = rs.status;
    if (rs.status && rs.status != 200) {
        const char *message = json_get_str(*out, "message");
        rc = osmo_error_set(err, OSMO_ECONFLICT, "%s", message ? message : "the service refuses it");
        json_free(*out);
        *out = NULL;
    }
    http_response_free(&rs);
    if (url)
        headers_clear(&h);
    return rc;
}

struct stream { bool (*on_data)(void *, const char *, size_t); void *ctx; int status; buf_t refusal; };

static bool stream_data(void *ctx, const char *data, size_t len) {
    struct stream *s = ctx;
    if (s->status != 200)
        return buf_append(&s->refusal, data, len) == 0;
    return s->on_data(s->ctx, data, len);
}

int api_stream(struct api *a, const char *path, bool (*on_data)(void *, const char *, size_t), void *ctx,
               long timeout_ms, bool quiet, bool *timed_out) {
    osmo_error_t err = OSMO_ERROR_INIT;
    _cleanup_free_ char *url = str_printf("%s%s", a->login.url, path);
    struct headers h;
    int code = make_headers(a, &h, &err);
    if (code) {
        headers_clear(&h);
        a->answered = false;
        if (timed_out)
            *timed_out = false;
        return login_failed(a, code, &err, quiet);
    }
    struct stream s = { on_data, ctx, 0, BUF_INIT(1u << 20) };
    http_request_t rq = { .method = "GET",
                          .url = url,
                          .headers = h.list,
                          .timeout_ms = timeout_ms,
                          .on_data = stream_data,
                          .ctx = &s,
                          .status_out = &s.status };
    http_response_t rs = { 0 };
    int rc = http_perform(a->http, &rq, &rs, &err);
    a->answered = s.status == 200;
    if (timed_out)
        *timed_out = rc == OSMO_ETIMEOUT;
    if (rc)
        code = quiet ? EXIT_SERVER_DOWN : api_fail(a->json_errors, 0, err.text, EXIT_SERVER_DOWN);
    else if (rs.status != 200)
        code = quiet && rs.status == 503 ? EXIT_SERVER_DOWN : refused(a, rs.status, s.refusal.data, s.refusal.len);
    buf_free(&s.refusal);
    http_response_free(&rs);
    headers_clear(&h);
    return code;
}

bool print_data(void *ctx, const char *data, size_t len) {
    (void)ctx;
    return fwrite(data, 1, len, stdout) == len && fflush(stdout) == 0;
}

char *workflow_path(const char *id, const char *what) {
    buf_t b = BUF_INIT(8192);
    buf_puts(&b, "/api/workflow/");
    url_encode(id, &b);
    buf_puts(&b, what);
    char *path = buf_steal(&b, NULL);
    buf_free(&b);
    return path;
}

void query_add(buf_t *path, const char *key, const char *value) {
    buf_printf(path, "%c%s=", path->data && strchr(path->data, '?') ? '&' : '?', key);
    url_encode(value, path);
}

void query_add_all(buf_t *path, const char *key, const strlist_t *values) {
    for (size_t i = 0; i < values->len; i++)
        query_add(path, key, values->items[i]);
}

/* The only pool of /api/pool's node_sets, or NULL. */
static const char *only_pool(const json_t *answer) {
    const char *name = NULL;
    size_t n = 0;
    const json_t *sets = json_get(answer, "node_sets");
    for (size_t i = 0; i < json_len(sets); i++) {
        const json_t *pools = json_get(json_at(sets, i), "pools");
        for (size_t j = 0; j < json_len(pools); j++, n++)
            name = json_get_str(json_at(pools, j), "name");
    }
    return n == 1 ? name : NULL;
}

int api_pool(struct api *a, const char *chosen, char **pool) {
    *pool = NULL;
    if (chosen)
        return (*pool = strdup(chosen)) ? 0 : EXIT_USER;
    json_t *profile = NULL, *pools = NULL;
    int code = api_call(a, "GET", "/api/profile/settings", NULL, &profile);
    const char *name = json_get_str(json_get(profile, "profile"), "pool");
    if (!code && !name) {
        code = api_call(a, "GET", "/api/pool", NULL, &pools);
        name = only_pool(pools);
        if (!code && !name)
            code = api_fail(a->json_errors, 0,
                            "No pool was given: use --pool, or set a default with: osmo profile set pool NAME",
                            EXIT_USER);
    }
    if (!code)
        *pool = strdup(name);
    json_free(profile);
    json_free(pools);
    return code;
}
