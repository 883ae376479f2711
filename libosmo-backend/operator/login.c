/* Token → JWT over HTTP on a thread of its own, so that the loop never blocks. One login serves every socket that waits for
 * one; the token file is read again each time, so a rotated token works at the next connect. A token that was refused is not shown again
 * for a while: the service counts refusals against the whole address. */
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/crypto.h"
#include "base/file.h"
#include "base/str.h"
#include "operator/internal.h"
#include "osmo/version.h"

#define LOGIN_TIMEOUT_MS 60000
#define REFUSED_US (15 * 1000000LL)

static const char *token_place(const struct osmo_operator *op) { return op->token_file ? op->token_file : "the token that was given"; }

static int read_token(const struct osmo_operator *op, buf_t *token, osmo_error_t *err) {
    int rc = op->token ? buf_puts(token, op->token) : file_read(op->token_file, token, err);
    if (rc < 0)
        return osmo_error_prefix(err, "token file");
    while (token->len && (token->data[token->len - 1] == '\n' || token->data[token->len - 1] == '\r'))
        buf_truncate(token, token->len - 1);
    if (!token->len)
        return osmo_error_set(err, OSMO_EUNAUTH, "%s is empty: write the backend's access token into it", token_place(op));
    return OSMO_OK;
}

static int make_request(const struct osmo_operator *op, buf_t *body, osmo_error_t *err) {
    buf_t token = BUF_INIT(4096);
    json_t *v = json_object();
    int rc = read_token(op, &token, err);
    if (rc == 0 && (!v || json_set_str(v, "token", buf_cstr(&token)) < 0 || json_print(v, 0, body) < 0))
        rc = osmo_error_set(err, OSMO_EINVAL, "%s does not hold a token", token_place(op));
    if (token.data)
        crypto_wipe(token.data, token.len);
    buf_free(&token);
    json_free(v);
    return rc;
}

static int read_answer(const struct osmo_operator *op, const http_response_t *rs, char **jwt, osmo_error_t *err) {
    if (rs->status == 400 || rs->status == 401 || rs->status == 403)
        return osmo_error_set(err, OSMO_EUNAUTH, "%s refused the token (HTTP %d): put a valid backend token into %s", op->url,
                              rs->status, token_place(op));
    if (rs->status != 200)
        return osmo_error_set(err, OSMO_EUNAVAIL, "%s answered the login with HTTP %d", op->url, rs->status);
    _cleanup_json_ json_t *v = NULL;
    const char *token = NULL;
    if (json_parse(rs->body.data ? rs->body.data : "", rs->body.len, &v, NULL) == 0)
        token = json_get_str(v, "token");
    if (!token)
        return osmo_error_set(err, OSMO_EUNAVAIL, "%s answered the login without a token", op->url);
    *jwt = str_dup(token);
    return *jwt ? OSMO_OK : osmo_error_set(err, OSMO_ENOMEM, "no memory for a login");
}

static bool was_refused(const struct login *l, const uint8_t digest[32]) {
    return l->refused_us && clock_mono_us() - l->refused_us < REFUSED_US && crypto_equal(l->refused, digest, sizeof l->refused);
}

static int perform(struct osmo_operator *op, http_client_t *http, char **jwt, osmo_error_t *err) {
    static const char *const headers[] = {"Content-Type: application/json", NULL};
    buf_t body = BUF_INIT(8192);
    _cleanup_free_ char *url = str_printf("%s/api/auth/jwt/access_token", op->url);
    http_response_t rs = { 0 };
    uint8_t digest[32] = { 0 };
    struct login *l = &op->login;
    int rc = url ? make_request(op, &body, err) : OSMO_ENOMEM;
    if (rc == 0)
        crypto_sha256(body.data, body.len, digest);
    if (rc == 0 && was_refused(l, digest)) {
        *err = l->refusal;
        rc = err->code;
    }
    if (rc == 0) {
        http_request_t rq = { .method = "POST", .url = url, .headers = headers, .body = body.data, .body_len = body.len,
                              .timeout_ms = LOGIN_TIMEOUT_MS, .max_response = 65536 };
        rc = http_perform(http, &rq, &rs, err);
    }
    if (rc == 0 && (rc = read_answer(op, &rs, jwt, err)) == OSMO_EUNAUTH) {
        memcpy(l->refused, digest, sizeof digest);
        l->refused_us = clock_mono_us();
        l->refusal = *err;
    }
    if (body.data)
        crypto_wipe(body.data, body.len);
    buf_free(&body);
    http_response_free(&rs);
    return rc;
}

static void *login_main(void *ctx) {
    struct osmo_operator *op = ctx;
    struct login *l = &op->login;
    http_client_t *http = NULL;
    pthread_mutex_lock(&l->lock);
    for (;;) {
        while (!l->wanted && !l->stop)
            pthread_cond_wait(&l->cond, &l->lock);
        if (l->stop)
            break;
        l->wanted = false;
        pthread_mutex_unlock(&l->lock);
        osmo_error_t err = OSMO_ERROR_INIT;
        char *jwt = NULL;
        int rc = http ? OSMO_OK : http_client_new("osmo-operator/" OSMO_WIRE_VERSION, &http, &err);
        pthread_mutex_lock(&l->lock);
        l->http = http;
        if (rc == 0 && l->stop)
            rc = OSMO_ECONFLICT;
        pthread_mutex_unlock(&l->lock);
        if (rc == 0)
            rc = perform(op, http, &jwt, &err);
        pthread_mutex_lock(&l->lock);
        free(l->jwt);
        l->jwt = jwt;
        l->code = rc;
        l->err = err;
        l->busy = false;
        l->done = true;
        ws_loop_wake(op->loop, session_login_done, op);
    }
    l->http = NULL;
    pthread_mutex_unlock(&l->lock);
    http_client_free(http);
    return NULL;
}

int login_open(struct osmo_operator *op, osmo_error_t *err) {
    struct login *l = &op->login;
    if (!op->token_file && !op->token)
        return OSMO_OK;
    pthread_mutex_init(&l->lock, NULL);
    pthread_cond_init(&l->cond, NULL);
    l->started = pthread_create(&l->thread, NULL, login_main, op) == 0;
    if (l->started)
        return OSMO_OK;
    pthread_cond_destroy(&l->cond);
    pthread_mutex_destroy(&l->lock);
    return osmo_error_set(err, OSMO_ENOMEM, "cannot start a thread: raise the limit of processes (ulimit -u)");
}

void login_start(struct osmo_operator *op) {
    struct login *l = &op->login;
    pthread_mutex_lock(&l->lock);
    if (!l->busy) {
        l->busy = l->wanted = true;
        l->done = false;
        pthread_cond_signal(&l->cond);
    }
    pthread_mutex_unlock(&l->lock);
}

int login_take(struct osmo_operator *op, char **jwt, osmo_error_t *err) {
    struct login *l = &op->login;
    pthread_mutex_lock(&l->lock);
    int rc = l->done ? l->code : OSMO_EBUSY;
    if (rc < 0)
        *err = l->err;
    else
        *jwt = STEAL(l->jwt);
    l->done = false;
    pthread_mutex_unlock(&l->lock);
    return rc;
}

void login_close(struct osmo_operator *op) {
    struct login *l = &op->login;
    if (!l->started)
        return;
    pthread_mutex_lock(&l->lock);
    l->stop = true;
    if (l->http)
        http_client_cancel(l->http);
    pthread_cond_signal(&l->cond);
    pthread_mutex_unlock(&l->lock);
    pthread_join(l->thread, NULL);
    pthread_cond_destroy(&l->cond);
    pthread_mutex_destroy(&l->lock);
    free(l->jwt);
    l->started = false;
}
