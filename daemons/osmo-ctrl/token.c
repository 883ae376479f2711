/* The task's JWT: first the one in login.yaml, later exchanged for the refresh token. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/cond.h"
#include "base/crypto.h"
#include "base/file.h"
#include "base/yaml.h"
#include "ctrl.h"

#define RENEW_BEFORE_S 30
#define EXCHANGE_MS 30000
#define SECRET_MAX 4096

struct token {
    pthread_mutex_t lock;       /* of `taken`; whoever has taken it has the rest for itself */
    pthread_cond_t given;       /* by the monotonic clock */
    bool taken;
    const struct options *o;
    char *jwt;
    int64_t expires_s;
    http_client_t *http;
};

static int64_t expiry_of(const char *jwt) {
    json_t *claims = NULL;
    int64_t exp = jwt_peek(jwt, strlen(jwt), &claims, NULL) ? 0 : json_get_int(claims, "exp", 0);
    json_free(claims);
    return exp;
}

static void first_token(struct token *t) {
    buf_t text = BUF_INIT(1u << 20);
    yaml_node_t *login = NULL;
    if (!file_read(t->o->login_file, &text, NULL) && !yaml_parse(buf_cstr(&text), text.len, NULL, &login, NULL)) {
        const yaml_node_t *jwt = yaml_get(yaml_get(login, "token_login"), "id_token");
        if (jwt && jwt->kind == YAML_STRING) {
            t->jwt = strdup(jwt->text);
            t->expires_s = t->jwt ? expiry_of(t->jwt) : 0;
        }
    }
    yaml_free(login);
    buf_free(&text);
}

int token_open(const struct options *o, struct token **out) {
    struct token *t = calloc(1, sizeof *t);
    if (!t)
        return CTRL_OTHER;
    cond_init(&t->given);
    pthread_mutex_init(&t->lock, NULL);
    t->o = o;
    first_token(t);
    *out = t;
    return CTRL_OK;
}

void token_free(struct token *t) {
    if (!t)
        return;
    if (t->jwt)
        crypto_wipe(t->jwt, strlen(t->jwt));
    free(t->jwt);
    http_client_free(t->http);
    pthread_mutex_destroy(&t->lock);
    pthread_cond_destroy(&t->given);
    free(t);
}

static char *exchange_url(const struct options *o) {
    buf_t b = BUF_INIT(8192);
    buf_printf(&b, "%s://%s:%s/api/auth/jwt/refresh_token?workflow_id=", o->refresh_scheme, o->host, o->port);
    url_encode(o->workflow, &b);
    buf_puts(&b, "&group_name=");
    url_encode(o->group, &b);
    buf_puts(&b, "&task_name=");
    url_encode(o->log_source, &b);
    buf_puts(&b, "&retry_id=");
    url_encode(o->retry_id, &b);
    char *url = buf_steal(&b, NULL);
    buf_free(&b);
    return url;
}

static int adopt(struct token *t, const http_response_t *rs, bool *gone, osmo_error_t *err) {
    json_t *answer = NULL;
    int rc = json_parse(rs->body.data ? rs->body.data : "", rs->body.len, &answer, err);
    const char *jwt = rc ? NULL : json_get_str(answer, "token");
    const char *word = json_get_str(json_get(answer, "detail"), "error");
    if (rs->status == 200 && jwt) {
        free(t->jwt);
        t->jwt = strdup(jwt);
        t->expires_s = json_get_int(answer, "expires_at", 0);
    } else {
        if (!word)
            word = json_get_str(answer, "error");
        *gone = word && strcmp(word, "FINISHED") == 0;
        bool later = rs->status >= 500 || rs->status == 429 || rs->status == 408 || (word && strcmp(word, "PENDING") == 0);
        const char *message = json_get_str(answer, "message");
        rc = osmo_error_set(err, later ? OSMO_EUNAVAIL : OSMO_EUNAUTH, "token exchange: HTTP %d %s", rs->status,
                            word      ? word
                            : message ? message
                                      : "");
    }
    json_free(answer);
    return rc;
}

static int exchange(struct token *t, int64_t timeout_ms, bool *gone, osmo_error_t *err) {
    buf_t secret = BUF_SECRET(SECRET_MAX);
    int rc = file_read(t->o->refresh_token, &secret, err);
    if (!rc && !t->http)
        rc = http_client_new("osmo-ctrl/" OSMO_VERSION, &t->http, err);
    _cleanup_free_ char *url = exchange_url(t->o);
    json_t *body = json_object();
    while (secret.len && (secret.data[secret.len - 1] == '\n' || secret.data[secret.len - 1] == '\r'))
        buf_truncate(&secret, secret.len - 1);
    if (!rc && (!url || json_set_str(body, "token", buf_cstr(&secret))))
        rc = osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    _cleanup_free_ char *text = rc ? NULL : json_to_text(body);
    if (text) {
        static const char *const headers[] = { "Content-Type: application/json", NULL };
        http_request_t rq = { .method = "POST",
                              .url = url,
                              .headers = headers,
                              .body = text,
                              .body_len = strlen(text),
                              .timeout_ms = timeout_ms };
        http_response_t rs = { 0 };
        rc = http_perform(t->http, &rq, &rs, err);
        if (!rc)
            rc = adopt(t, &rs, gone, err);
        http_response_free(&rs);
        crypto_wipe(text, strlen(text));
    }
    json_free(body);
    buf_free(&secret);
    return rc;
}

/* False: somebody has had it until then. */
static bool take(struct token *t, int64_t until_us) {
    pthread_mutex_lock(&t->lock);
    while (t->taken && cond_wait_until(&t->given, &t->lock, until_us))
        ;
    bool ours = !t->taken;
    t->taken = true;
    pthread_mutex_unlock(&t->lock);
    return ours;
}

static void give(struct token *t) {
    pthread_mutex_lock(&t->lock);
    t->taken = false;
    pthread_cond_signal(&t->given);
    pthread_mutex_unlock(&t->lock);
}

static bool is_fresh(const struct token *t) { return t->expires_s >= clock_now_us() / 1000000 + RENEW_BEFORE_S; }

char *token_bearer(struct token *t, bool *gone, osmo_error_t *err) {
    bool ignored = false;
    if (!gone)
        gone = &ignored;
    *gone = false;
    take(t, COND_FOR_EVER);
    int rc = 0;
    if (!is_fresh(t))
        rc = file_exists(t->o->refresh_token) ? exchange(t, EXCHANGE_MS, gone, err) : OSMO_ENOTFOUND;
    char *value = rc || !t->jwt ? NULL : str_printf("Bearer %s", t->jwt);
    give(t);
    return value;
}

bool token_at_hand(struct token *t, char **bearer) {
    *bearer = NULL;
    if (!take(t, 0))
        return false; /* it is being fetched */
    bool fresh = is_fresh(t), none = !fresh && !file_exists(t->o->refresh_token);
    if (fresh && t->jwt)
        *bearer = str_printf("Bearer %s", t->jwt);
    give(t);
    return fresh || none;
}

bool token_is_over(struct token *t, int64_t timeout_ms) {
    bool gone = false;
    if (!take(t, clock_mono_us() + timeout_ms * 1000))
        return false; /* somebody asks already, and gets no answer */
    if (file_exists(t->o->refresh_token))
        (void)exchange(t, timeout_ms, &gone, NULL);
    give(t);
    return gone;
}

int token_check(const struct options *o) {
    buf_t secret = BUF_SECRET(SECRET_MAX);
    osmo_error_t err = OSMO_ERROR_INIT;
    int rc = file_read(o->refresh_token, &secret, &err);
    bool blank = !secret.len || secret.data[0] == '\n' || secret.data[0] == '\r';
    buf_free(&secret);
    if (rc == OSMO_ENOTFOUND || (!rc && !blank))
        return CTRL_OK; /* a task may have none */
    fprintf(stderr, "osmo_ctrl: the refresh token in %s cannot be used: %s\n", o->refresh_token, rc ? err.text : "it is empty");
    return CTRL_TOKEN;
}
