/* See identity_fixture.h. */
#include "identity_fixture.h"

#include <errno.h>
#include <stdlib.h>
#include <time.h>

#include "base/file.h"
#include "engine/access.h"

bool identity_open(struct fixture *f, const char *config, void (*change)(osmo_service_options_t *o)) {
    static char path[128];
    if (!open_fixture(f, OSMO_AUTH_REQUIRED, ADMIN_TOKEN))
        return false;
    if (config) {
        snprintf(path, sizeof path, "%s/osmo.yaml", f->dir);
        if (file_write_atomic(path, config, strlen(config), 0600, false, NULL) < 0)
            return false;
        f->options.config_file = path;
    }
    if (change)
        change(&f->options);
    return (!config && !change) || fixture_reopen(f);
}

struct change { store_fn fn; const void *ctx; };

static int run_change(db_t *db, void *ctx, osmo_error_t *err) {
    const struct change *c = ctx;
    return c->fn(db, (void *)(uintptr_t)c->ctx, err);
}

bool identity_change(struct fixture *f, store_fn fn, const void *ctx) {
    osmo_error_t err = OSMO_ERROR_INIT;
    struct change c = { fn, ctx };
    int rc = store_write(f->engine->store, NULL, run_change, &c, &err);
    if (rc < 0)
        fprintf(stderr, "change: %s\n", err.text);
    access_changed(f->engine);
    return rc >= 0;
}

static int add_token(db_t *db, const char *name, const char *token, const char *role, const char *backend, osmo_error_t *err) {
    char *names[] = { (char *)(uintptr_t)role };
    strlist_t roles = { .items = names, .len = 1 };
    struct token_row row = { .user = (char *)"maya", .name = (char *)(uintptr_t)name, .description = (char *)"",
                             .backend = (char *)(uintptr_t)backend, .created_us = clock_now_us() - 3600LL * 1000000,
                             .expires_us = clock_now_us() + 86400LL * 30 * 1000000 };
    crypto_sha256(token, strlen(token), row.hash);
    return repo_token_add(db, &row, &roles, "maya", err);
}

static int seed(db_t *db, void *ctx, osmo_error_t *err) {
    (void)ctx;
    int64_t now = clock_now_us();
    int rc = repo_user_ensure(db, "maya", "admin", now, err);
    if (rc >= 0)
        rc = repo_assignment_add(db, "maya", "osmo-user", "admin", now, NULL, NULL, err);
    if (rc >= 0)
        rc = repo_assignment_add(db, "maya", "osmo-backend", "admin", now, NULL, NULL, err);
    if (rc >= 0)
        rc = add_token(db, "laptop", MAYAS_TOKEN, "osmo-user", NULL, err);
    return rc < 0 ? rc : add_token(db, "edge", EASTS_TOKEN, "osmo-backend", "east", err);
}

bool identity_seed(struct fixture *f) { return identity_change(f, seed, NULL); }

char *identity_login(struct fixture *f, const char *token) {
    _cleanup_free_ char *body = str_printf("{\"token\":\"%s\"}", token);
    struct answer a = ask(f, "POST", "/api/auth/jwt/access_token", NULL, body, NULL);
    char *jwt = a.status == 200 ? str_dup(json_get_str(a.json, "token")) : NULL;
    answer_free(&a);
    return jwt;
}

int identity_from(struct fixture *f, const char *peer, const char *path, const char *const *headers, char **user) {
    osmo_request_t rq = { .size = sizeof rq, .id = 1, .method = "GET", .path = path, .query = "", .headers = headers, .peer = peer };
    osmo_response_t rs;
    json_t *v = NULL;
    osmo_service_handle(f->service, &rq, &rs);
    int status = rs.status;
    if (user) {
        *user = NULL;
        if (rs.body && json_parse(rs.body, rs.body_len, &v, NULL) >= 0)
            *user = str_dup(status == 200 ? json_get_str(json_get(v, "profile"), "username") : json_get_str(v, "message"));
        json_free(v);
    }
    osmo_response_clear(&rs);
    return status;
}

int identity_status(struct fixture *f, const char *token, char **user) {
    _cleanup_free_ char *value = str_printf("Bearer %s", token);
    const char *headers[] = { "host", "127.0.0.1:8000", "authorization", value, NULL };
    return identity_from(f, "127.0.0.1", "/api/profile/settings", headers, user);
}

bool identity_becomes(struct fixture *f, const char *token, int status) {
    struct timespec moment = { .tv_nsec = 20000000 };
    for (int i = 0; i < 1000; i++) {
        if (identity_status(f, token, NULL) == status)
            return true;
        nanosleep(&moment, NULL);
    }
    return false;
}

osmo_ws_t *identity_socket(struct fixture *f, const char *token, const char *backend, uint64_t conn, int *status) {
    _cleanup_free_ char *path = str_printf("/api/agent/listener/heartbeat/backend/%s", backend);
    _cleanup_free_ char *value = str_printf("Bearer %s", token);
    const char *headers[] = { "host", "127.0.0.1:8000", "authorization", value, NULL };
    osmo_request_t rq = { .size = sizeof rq, .method = "GET", .path = path, .query = "", .headers = headers, .peer = "127.0.0.1" };
    osmo_response_t rs;
    osmo_ws_t *ws = NULL;
    const char *extensions;
    osmo_service_ws_open(f->service, &rq, conn, &ws, &extensions, &rs);
    *status = ws ? 101 : rs.status;
    osmo_response_clear(&rs);
    return ws;
}

int identity_close_code(struct fixture *f, uint64_t conn) {
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += 20;
    int rc = 0, code = 0;
    pthread_mutex_lock(&f->lock);
    while (!code && rc != ETIMEDOUT) {
        for (size_t i = 0; i < f->nsent; i++)
            code = f->sent[i].conn == conn && f->sent[i].close_code ? f->sent[i].close_code : code;
        if (!code)
            rc = pthread_cond_timedwait(&f->changed, &f->lock, &until);
    }
    pthread_mutex_unlock(&f->lock);
    return code;
}

char *identity_claims(const char *iss, const char *aud, int iat, int nbf, int exp, const char *more) {
    long long now = clock_now_us() / 1000000;
    return str_printf("{\"iss\":\"%s\",\"aud\":%s,\"iat\":%lld,\"nbf\":%lld,\"exp\":%lld,\"unique_name\":\"maya\","
                      "\"roles\":[\"osmo-user\"],"
                      "\"osmo_token_name\":\"laptop\"%s}", iss, aud, now + iat, now + nbf, now + exp, more);
}

void identity_both(void (*body)(void)) {
    on_pgsql = false;
    body();
    _cleanup_free_ char *url = pgsql_fixture_url();
    on_pgsql = url != NULL;
    if (on_pgsql)
        body();
    on_pgsql = false;
}
