/* Requests to a Kubernetes API server: a connection of the pool, a login, and again with backoff while that is of use. Opening,
 * stopping and freeing a client. The verbs above it are kube_verbs.c, kube_list.c and kube_watch.c. */
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "cluster/kubernetes/kube_int.h"
#include "osmo/version.h"

#define DEFAULT_TIMEOUT_MS 30000
#define DEFAULT_RETRY_MS 60000
#define DEFAULT_IDLE_MS 180000
#define DEFAULT_CONNECTIONS 16
#define CONNECTIONS_MAX 1024
#define CONNECT_MS 10000
#define TRY_MIN_MS 100
#define BACKOFF_FIRST_US 100000
#define BACKOFF_MAX_US (10 * INT64_C(1000000))
#define ERROR_BODY_MAX (256u << 10)
#define READY_US (5 * INT64_C(1000000))     /* how long a server that said that it is ready is believed */
#define READY_ASK_MS 5000
#define TROUBLE_US (60 * INT64_C(1000000))  /* how long after trouble a refusal is doubted */
#define HEADERS_MAX 80 /* impersonated groups included */

/* ---- life ---- */

static void take_options(osmo_kube_t *k, const osmo_kube_options_t *o) {
    k->log = (logger_t){.fn = o->log, .ctx = o->log_ctx, .level = LOG_LEVEL_DEBUG};
    k->timeout_ms = o->timeout_ms > 0 ? o->timeout_ms : DEFAULT_TIMEOUT_MS;
    k->retry_ms = o->retry_ms ? o->retry_ms : DEFAULT_RETRY_MS;
    k->idle_ms = o->idle_ms > 0 ? o->idle_ms : DEFAULT_IDLE_MS;
}

int osmo_kube_open(const osmo_kube_options_t *options, osmo_kube_t **out, osmo_error_t *err) {
    osmo_kube_options_t o = {0};
    if (!options || !out)
        return osmo_error_set(err, OSMO_EINVAL, "osmo_kube_open needs options and a place for the client");
    memcpy(&o, options, options->size < sizeof o ? options->size : sizeof o);
    if (o.max_connections < 0 || o.max_connections > CONNECTIONS_MAX || !(o.qps >= 0) || o.burst < 0)
        return osmo_error_set(err, OSMO_EINVAL, "qps and burst must not be negative, and there can be 1 to %d connections",
                              CONNECTIONS_MAX);
    osmo_kube_t *k = calloc(1, sizeof *k);
    if (!k)
        return no_memory(err);
    take_options(k, &o);
    k->user_agent = o.user_agent ? str_dup(o.user_agent) : str_printf("osmo-backend/%s", osmo_version());
    int rc = kube_pool_init(&k->pool, k->user_agent, o.max_connections ? o.max_connections : DEFAULT_CONNECTIONS, o.qps, o.burst);
    rc = rc == 0 ? kube_discovery_init(&k->discovery) : rc;
    if (rc < 0 || !k->user_agent)
        rc = rc < 0 ? osmo_error_set(err, rc, "cannot make a Kubernetes client: %s", osmo_error_name(rc)) : no_memory(err);
    else
        rc = kube_config_open(&o, &k->log, &k->config, err);
    if (rc < 0) {
        osmo_kube_free(k);
        return rc;
    }
    *out = k;
    return 0;
}

void osmo_kube_stop(osmo_kube_t *k) {
    kube_pool_stop(&k->pool);
    kube_config_stop(k->config);
    pthread_mutex_lock(&k->discovery.lock);
    pthread_cond_broadcast(&k->discovery.told);
    pthread_mutex_unlock(&k->discovery.lock);
}

void osmo_kube_free(osmo_kube_t *k) {
    if (!k)
        return;
    kube_pool_clear(&k->pool);
    kube_discovery_clear(&k->discovery);
    kube_config_free(k->config);
    free(k->user_agent);
    free(k);
}

const char *osmo_kube_get_namespace(const osmo_kube_t *k) { return kube_config_entries(k->config)->namespace_; }

const char *osmo_kube_get_server(const osmo_kube_t *k) { return kube_config_entries(k->config)->server; }

/* ---- one try ---- */

/* What became of a try, for the decision about the next one. */
struct outcome {
    enum http_fate fate;
    int status;               /* 0: no answer */
    bool handed_out;          /* the caller has had some of the answer */
    bool sent;                /* it came as far as a connection */
    uint64_t login;
    int64_t wait_us;          /* what the server asked for */
};

struct stream { const struct kube_call *call; http_client_t *http; int status; buf_t problem; bool handed_out; };

static bool on_data(void *ctx, const char *data, size_t len) {
    struct stream *s = ctx;
    if (s->status / 100 != 2) {
        buf_append(&s->problem, data, len); /* what does not fit is not needed */
        return true;
    }
    s->handed_out = true;
    return s->call->on_data(s->call->ctx, s->http, data, len);
}

/* A connection and a login for it. */
static int get_ready(osmo_kube_t *k, const struct kube_call *call, int64_t deadline_us, kube_conn_t **conn, kube_login_t **login,
                     osmo_error_t *err) {
    const struct kube_entries *e = kube_config_entries(k->config);
    int rc = kube_config_login(k->config, 0, login, err);
    if (rc == 0)
        rc = kube_pool_throttle(&k->pool, deadline_us, err);
    if (rc == 0)
        rc = kube_pool_take(&k->pool, call->watch, deadline_us, conn, err);
    if (rc < 0 || (*conn)->tls_number == (*login)->tls_number)
        return rc;
    const http_tls_t tls = {.ca_pem = (*login)->ca_pem, .cert_pem = (*login)->cert_pem, .key_pem = (*login)->key_pem,
                            .insecure = e->insecure, .server_name = e->server_name};
    rc = http_client_set_tls((*conn)->http, &tls, err);
    if (rc == 0)
        rc = http_client_set_proxy((*conn)->http, e->proxy, err);
    if (rc == 0)
        (*conn)->tls_number = (*login)->tls_number;
    return rc;
}

static int list_headers(const struct kube_call *call, const kube_login_t *l, char type[96], const char *out[HEADERS_MAX],
                        osmo_error_t *err) {
    size_t n = 0;
    out[n++] = "Accept: application/json";
    if (call->content_type) {
        snprintf(type, 96, "Content-Type: %s", call->content_type);
        out[n++] = type;
    }
    if (l->headers.len + n + 1 > HEADERS_MAX)
        return osmo_error_set(err, OSMO_ELIMIT, "the kubeconfig's user acts for more than %d groups", HEADERS_MAX - 8);
    for (size_t i = 0; i < l->headers.len; i++)
        out[n++] = l->headers.items[i];
    out[n] = NULL;
    return 0;
}

/* The codes of http.h in this client's terms. */
static int transport_failed(osmo_kube_t *k, int rc, enum http_fate fate, osmo_error_t *err) {
    if (fate == HTTP_CANCELLED || atomic_load(&k->pool.stopped))
        return kube_stopped(err);
    if (fate == HTTP_UNREACHED && err)
        err->code = OSMO_EUNAVAIL;
    return fate == HTTP_UNREACHED ? OSMO_EUNAVAIL : rc;
}

static int judge(osmo_kube_t *k, const struct kube_call *call, const struct stream *s, http_response_t *rs, struct outcome *o,
                 buf_t *answer, osmo_error_t *err) {
    const buf_t *body = call->on_data ? &s->problem : &rs->body;
    o->status = rs->status;
    o->handed_out = s->handed_out;
    if (rs->status / 100 == 2) {
        if (answer) {
            *answer = rs->body;
            memset(&rs->body, 0, sizeof rs->body);
        }
        return 0;
    }
    int rc = kube_error_of(rs->status, body->data, body->len, http_response_header(rs, "Retry-After"), call->secret, &o->wait_us, err);
    log_debug(&k->log, "%s %.*s: %d", call->method, (int)strcspn(call->path, "?"), call->path, rs->status);
    return rc;
}

static int try_once(osmo_kube_t *k, const struct kube_call *call, int64_t ready_us, int64_t total_ms, struct outcome *o, buf_t *answer,
                    osmo_error_t *err) {
    char type[96];
    const char *headers[HEADERS_MAX];
    kube_conn_t *conn = NULL;
    kube_login_t *login = NULL;
    struct stream s = {.call = call, .problem = BUF_INIT(ERROR_BODY_MAX)};
    http_response_t rs = {0};
    _cleanup_free_ char *url = str_printf("%s%s", osmo_kube_get_server(k), call->path);
    memset(o, 0, sizeof *o);
    o->fate = HTTP_UNUSABLE;
    int rc = url ? get_ready(k, call, ready_us, &conn, &login, err) : no_memory(err);
    if (rc == 0)
        rc = list_headers(call, login, type, headers, err);
    if (rc == 0) {
        s.http = conn->http;
        const http_request_t rq = {.method = call->method, .url = url, .headers = headers, .body = call->body, .body_len = call->len,
                                   .timeout_ms = total_ms, .connect_timeout_ms = total_ms && total_ms < CONNECT_MS ? total_ms : CONNECT_MS,
                                   .idle_ms = call->idle_ms ? call->idle_ms : k->timeout_ms,
                                   .max_response = call->max ? call->max : KUBE_OBJECT_MAX, .secret = call->secret,
                                   .fresh = !call->repeatable && !call->watch,
                                   .on_data = call->on_data ? on_data : NULL, .ctx = &s, .status_out = &s.status};
        o->sent = true;
        o->login = login->number;
        rc = http_perform(conn->http, &rq, &rs, err);
        o->fate = rs.fate;
        rc = rc == 0 ? judge(k, call, &s, &rs, o, answer, err) : transport_failed(k, rc, rs.fate, err);
        o->handed_out = s.handed_out;
        http_response_free(&rs);
    }
    if (conn)
        kube_pool_give(&k->pool, conn);
    kube_login_unref(k->config, login);
    buf_free(&s.problem);
    return rc;
}

/* ---- again ---- */

static bool worth_another(const struct kube_call *call, const struct outcome *o) {
    if (call->watch || !o->sent || o->handed_out)
        return false;
    switch (o->fate) {
    case HTTP_UNREACHED: return true;
    case HTTP_CUT: case HTTP_LATE: return call->repeatable;
    case HTTP_ANSWERED:
        if (o->status == 429 || o->status == 503)
            return true;
        return o->status >= 500 && o->status != 501 && o->status != 505 && call->repeatable;
    default: return false;
    }
}

static int64_t backoff_us(osmo_kube_t *k, unsigned n) {
    int64_t most = n < 8 ? (int64_t)BACKOFF_FIRST_US << n : BACKOFF_MAX_US;
    most = most > BACKOFF_MAX_US ? BACKOFF_MAX_US : most;
    return (int64_t)kube_pool_random(&k->pool, (uint64_t)most + 1);
}

/* A try has timeout_ms, but no longer than what is left of the whole; the first one always has its time. */
static int64_t time_of_try(const osmo_kube_t *k, const struct kube_call *call, unsigned n, int64_t deadline_us) {
    int64_t ms = call->total_ms ? call->total_ms : k->timeout_ms, left = (deadline_us - clock_mono_us()) / 1000;
    if (ms < 0)
        return 0;
    if (n && left < ms)
        ms = left < TRY_MIN_MS ? TRY_MIN_MS : left;
    return ms;
}

/* The server did not take our login: is there a newer one? 0, or why it ends here; *err has the refusal. */
static int renew_login(osmo_kube_t *k, uint64_t refused, osmo_error_t *err) {
    osmo_error_t why = OSMO_ERROR_INIT;
    kube_login_t *login = NULL;
    int rc = kube_config_login(k->config, refused, &login, &why);
    if (rc < 0)
        return osmo_error_set(err, rc, "%s", why.text);
    bool same = login->number == refused;
    kube_login_unref(k->config, login);
    return same ? OSMO_EUNAUTH : 0;
}

/* An API server that has just started serves before it has read who may what, and forbids everything, and before it knows the kinds that
 * were added to it: only one that is ready means it.
 * @return true when the refusal is not to be taken seriously; *again: what was refused may be allowed by now */
static bool refused_too_early(osmo_kube_t *k, const struct kube_call *call, int64_t sent_us, bool *again) {
    static const struct kube_call question = {.method = "GET", .path = "/readyz", .repeatable = true};
    int64_t ready_us = atomic_load(&k->ready_us), now_us = clock_mono_us();
    osmo_error_t why = OSMO_ERROR_INIT;
    _cleanup_buf_ buf_t text = {0};
    struct outcome o;
    bool asked_before = *again;
    *again = false;
    if (ready_us > atomic_load(&k->trouble_us) && ready_us <= sent_us && now_us - ready_us < READY_US)
        return false;
    int rc = try_once(k, &question, now_us + READY_ASK_MS * 1000, READY_ASK_MS, &o, &text, &why);
    bool answered = o.sent && o.fate == HTTP_ANSWERED;
    if (answered && o.status < 500 && o.status != 429) {
        int64_t trouble_us = atomic_load(&k->trouble_us);
        bool doubtful = trouble_us && now_us - trouble_us < TROUBLE_US;
        if (rc == 0)
            atomic_store(&k->ready_us, clock_mono_us());
        else
            return doubtful && o.status == 403; /* that too is something it has not read yet, or it never tells us */
        *again = doubtful && !asked_before;
        return *again && call->watch;
    }
    atomic_store(&k->trouble_us, clock_mono_us());
    return true;
}

static void note_trouble(osmo_kube_t *k, const struct outcome *o) {
    bool lost = o->fate == HTTP_UNREACHED || o->fate == HTTP_CUT || o->fate == HTTP_LATE;
    if (o->sent && (lost || (o->fate == HTTP_ANSWERED && o->status >= 500)))
        atomic_store(&k->trouble_us, clock_mono_us());
}

int kube_request(osmo_kube_t *k, const struct kube_call *call, buf_t *answer, osmo_error_t *err) {
    osmo_error_t why;
    struct outcome o;
    bool renewed = false, again = false;
    int64_t begin_us = clock_mono_us(), deadline_us = begin_us + (k->retry_ms > 0 ? k->retry_ms * 1000 : 0);
    int64_t ready_us = begin_us + k->timeout_ms * 1000 > deadline_us ? begin_us + k->timeout_ms * 1000 : deadline_us;
    for (unsigned n = 0;; n++) {
        why = (osmo_error_t)OSMO_ERROR_INIT;
        int64_t sent_us = clock_mono_us();
        int rc = try_once(k, call, ready_us, time_of_try(k, call, n, deadline_us), &o, answer, &why);
        note_trouble(k, &o);
        if (o.status == 403 || (o.status == 404 && call->discovery)) {
            if (refused_too_early(k, call, sent_us, &again)) {
                o.status = 503;
                rc = why.code = OSMO_EUNAVAIL;
            } else if (again) {
                continue;
            }
        }
        if (o.status == 401 && !renewed) {
            renewed = true;
            if ((rc = renew_login(k, o.login, &why)) == 0)
                continue;
        }
        int64_t wait_us = o.wait_us + backoff_us(k, n);
        if (rc == 0 || !worth_another(call, &o) || clock_mono_us() + wait_us > deadline_us) {
            if (call->watch && rc < 0 && o.wait_us && kube_pool_sleep(&k->pool, o.wait_us, &why) < 0)
                rc = why.code;
            return rc < 0 ? osmo_error_set(err, rc, "%s", why.text) : 0;
        }
        log_debug(&k->log, "%s; again in %lld ms", why.text, (long long)(wait_us / 1000));
        if ((rc = kube_pool_sleep(&k->pool, wait_us, err)) < 0)
            return rc;
    }
}
