/* See matrix_fixture.h. */
#include "matrix_fixture.h"

#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "engine/access.h"
#include "engine/auth_internal.h"
#include "store/repo_auth.h"

static const char config[] = "service: {service_auth: {refused_rate: 0}}\n"
                             "backends: {default: {description: ''}, other: {description: ''}}\n"
                             "pools:\n"
                             "  default: {backend: default, default_platform: default, platforms: {default: {}}}\n"
                             "  team: {backend: other, default_platform: default, platforms: {default: {}}}\n";

static osmo_error_t err;

/* ---- people ---- */

struct newcomer { const char *user, *role, *backend; uint8_t hash[32]; };

static int add_person(db_t *db, void *ctx, osmo_error_t *er) {
    const struct newcomer *n = ctx;
    const struct user_row u = { .name = (char *)(uintptr_t)n->user, .created_by = (char *)"test", .created_us = clock_now_us() };
    struct token_row t = { .user = u.name, .name = (char *)"door", .description = (char *)"", .backend = (char *)(uintptr_t)n->backend,
                           .created_us = clock_now_us(), .expires_us = clock_now_us() + 86400 * 1000000LL };
    strlist_t roles = { 0 };
    memcpy(t.hash, n->hash, 32);
    int rc = repo_user_add(db, &u, er);
    if (rc >= 0 && *n->role)
        rc = repo_assignment_add(db, n->user, n->role, "test", clock_now_us(), NULL, NULL, er);
    if (rc >= 0 && *n->role)
        rc = strlist_add(&roles, n->role);
    if (rc >= 0)
        rc = repo_token_add(db, &t, &roles, "test", er);
    strlist_free(&roles);
    return rc;
}

char *person_jwt(struct matrix *m, const char *user, const char *role, const char *backend) {
    char token[ACCESS_TOKEN_LEN + 1];
    uint8_t secret[32];
    struct newcomer n = { .user = user, .role = role, .backend = backend };
    char *jwt = NULL;
    int64_t until;
    CHECK_INT(crypto_random(secret, sizeof secret), 0);
    CHECK_INT(token_text(secret, token), 0);
    crypto_sha256(token, strlen(token), n.hash);
    CHECK_OK(store_write(m->f.engine->store, NULL, add_person, &n, &err), &err);
    CHECK_OK(auth_exchange(m->f.engine, token, &jwt, &until, &err), &err);
    return jwt;
}

static int drop_token(db_t *db, void *ctx, osmo_error_t *er) {
    return db_exec(db, "DELETE FROM tokens WHERE user_name = ?", DB_ARGS(DB_T(ctx)), NULL, er);
}

static int drop_user(db_t *db, void *ctx, osmo_error_t *er) { return repo_user_delete(db, ctx, er); }

/* ---- tokens that must not work ---- */

/* Claims that would be an administrator's, `from` seconds from now until `to`. */
static json_t *claims(int64_t from, int64_t to) {
    int64_t now = clock_now_us() / 1000000;
    json_t *c = json_object(), *roles = json_array();
    CHECK(json_add_str(roles, "osmo-admin") == 0 && json_set(c, "roles", roles) == 0);
    CHECK(json_set_str(c, "iss", "osmo") == 0 && json_set_str(c, "aud", "osmo") == 0 && json_set_str(c, "unique_name", "admin") == 0);
    CHECK(json_set_str(c, "osmo_token_name", "default-admin-token") == 0);
    CHECK(json_set_int(c, "iat", now + from) == 0 && json_set_int(c, "nbf", now + from) == 0 && json_set_int(c, "exp", now + to) == 0);
    return c;
}

static char *signed_here(struct matrix *m, int64_t from, int64_t to) {
    _cleanup_json_ json_t *c = claims(from, to);
    _cleanup_buf_ buf_t out = BUF_INIT(JWT_MAX_BYTES);
    CHECK_OK(keys_sign(m->f.engine, c, &out, &err), &err);
    return buf_steal(&out, NULL);
}

static char *signed_elsewhere(void) {
    _cleanup_json_ json_t *c = claims(-10, 200);
    _cleanup_buf_ buf_t out = BUF_INIT(JWT_MAX_BYTES);
    rsa_key_t *key = NULL;
    CHECK_OK(rsa_key_generate(2048, &key, &err), &err);
    CHECK_OK(jwt_sign(key, c, &out, &err), &err);
    rsa_key_free(key);
    return buf_steal(&out, NULL);
}

/* header.claims, with nothing behind the last dot, or an HMAC under what is public of the key. */
static char *by_hand(struct matrix *m, const char *header, bool hmac) {
    _cleanup_json_ json_t *c = claims(-10, 200), *keys = auth_jwks(m->f.engine);
    _cleanup_free_ char *text = json_to_text(c), *public = json_to_text(json_at(json_get(keys, "keys"), 0));
    _cleanup_buf_ buf_t out = BUF_INIT(JWT_MAX_BYTES);
    uint8_t mac[32];
    if (!text || !public)
        return NULL;
    (void)crypto_base64url(header, strlen(header), &out);
    (void)buf_putc(&out, '.');
    (void)crypto_base64url(text, strlen(text), &out);
    if (hmac)
        crypto_hmac_sha256(public, strlen(public), out.data, out.len, mac);
    (void)buf_putc(&out, '.');
    if (hmac)
        (void)crypto_base64url(mac, sizeof mac, &out);
    return buf_steal(&out, NULL);
}

static char *task_jwt(struct matrix *m, const struct seed *s, const char *task) {
    char *jwt = NULL;
    CHECK_OK(auth_task_jwt(m->f.engine, "ana", s->id, "g", task, 0, &jwt, &err), &err);
    return jwt;
}

static void make_people(struct matrix *m) {
    static const struct person all[PEOPLE] = {
        [NO_TOKEN] = { "no token", "", "", NOBODY, NULL }, [EXPIRED] = { "expired", "", "", NOBODY, NULL },
        [FOREIGN_KEY] = { "signed by another key", "", "", NOBODY, NULL }, [ALG_NONE] = { "alg none", "", "", NOBODY, NULL },
        [ALG_CONFUSED] = { "alg HS256 with the public key", "", "", NOBODY, NULL }, [NOT_YET] = { "not valid yet", "", "", NOBODY, NULL },
        [REVOKED] = { "revoked", "", "", NOBODY, NULL }, [NO_USER_ANY_MORE] = { "user is gone", "", "", NOBODY, NULL },
        [ENDED_TASK] = { "task is finished", "", "", NOBODY, NULL },
        [TASK] = { "task", "osmo-user,osmo-ctrl", "ana", OF_TASK, NULL },
        [OTHER_TASK] = { "task of another workflow", "osmo-user,osmo-ctrl", "ana", OF_TASK, NULL },
        [BACKEND] = { "backend", "osmo-backend", "op", OF_BACKEND, NULL },
        [OTHER_BACKEND] = { "another backend", "osmo-backend", "op2", OF_BACKEND, NULL },
        [DEFAULT_ONLY] = { "no role", "", "guest", BY_ROLES, NULL }, [CTRL_ROLE] = { "osmo-ctrl", "osmo-ctrl", "ctrl", BY_ROLES, NULL },
        [BACKEND_ROLE] = { "osmo-backend", "osmo-backend", "beth", BY_ROLES, NULL },
        [USER_ROLE] = { "osmo-user", "osmo-user", "ana", BY_ROLES, NULL },
        [ADMIN_ROLE] = { "osmo-admin", "osmo-admin", "root", BY_ROLES, NULL },
    };
    memcpy(m->people, all, sizeof all);
    m->people[EXPIRED].token = signed_here(m, -400, -100);
    m->people[FOREIGN_KEY].token = signed_elsewhere();
    m->people[ALG_NONE].token = by_hand(m, "{\"alg\":\"none\",\"typ\":\"JWT\"}", false);
    m->people[ALG_CONFUSED].token = by_hand(m, "{\"alg\":\"HS256\",\"typ\":\"JWT\"}", true);
    m->people[NOT_YET].token = signed_here(m, 100, 400);
    m->people[REVOKED].token = person_jwt(m, "eve", "osmo-admin", NULL);
    m->people[NO_USER_ANY_MORE].token = person_jwt(m, "gone", "osmo-admin", NULL);
    m->people[ENDED_TASK].token = task_jwt(m, &m->other, "t1");
    m->people[TASK].token = task_jwt(m, &m->own, "t0");
    m->people[OTHER_TASK].token = task_jwt(m, &m->other, "t0");
    m->people[BACKEND].token = person_jwt(m, "op", "osmo-backend", OWN_BACKEND);
    m->people[OTHER_BACKEND].token = person_jwt(m, "op2", "osmo-backend", "other");
    for (int i = DEFAULT_ONLY; i < PEOPLE; i++)
        m->people[i].token = person_jwt(m, m->people[i].user, m->people[i].roles, NULL);
    CHECK_OK(store_write(m->f.engine->store, NULL, drop_token, (char *)(uintptr_t)"eve", &err), &err);
    CHECK_OK(store_write(m->f.engine->store, NULL, drop_user, (char *)(uintptr_t)"gone", &err), &err);
    access_changed(m->f.engine);
    CHECK(seed_task_status(&m->f, &m->other, 1, STATUS_COMPLETED));
}

/* ---- the service ---- */

static int move_pool(db_t *db, void *ctx, osmo_error_t *er) {
    return db_exec(db, "UPDATE workflows SET pool = ? WHERE uuid = ?", DB_ARGS(DB_T(FOREIGN_POOL), DB_T(ctx)), NULL, er);
}

bool matrix_open(struct matrix *m) {
    char path[100];
    memset(m, 0, sizeof *m);
    if (!fixture_open(&m->f, OSMO_AUTH_REQUIRED, ADMIN_TOKEN))
        return false;
    snprintf(path, sizeof path, "%s/config.yaml", m->f.dir);
    FILE *file = fopen(path, "we");
    if (!file || fputs(config, file) < 0 || fclose(file) != 0)
        return false;
    m->f.options.config_file = path;
    bool open = fixture_reopen(&m->f) && seed_workflow(&m->f, "own", "ana", 2, &m->own) &&
                seed_workflow(&m->f, "foreign", "ana", 1, &m->foreign) && seed_workflow(&m->f, "other", "ana", 2, &m->other) &&
                seed_workflow(&m->f, "theirs", "theo", 1, &m->theirs);
    m->f.options.config_file = NULL;
    if (open)
        CHECK_OK(store_write(m->f.engine->store, NULL, move_pool, m->foreign.uuid, &err), &err);
    if (open)
        make_people(m);
    return open;
}

void matrix_close(struct matrix *m) {
    for (int i = 0; i < PEOPLE; i++)
        free(m->people[i].token);
    fixture_close(&m->f);
}

struct answer ask_by(struct matrix *m, const struct person *p, const char *method, const char *path) {
    const char *body = strcmp(method, "GET") ? "{}" : NULL, *query = str_starts(path, "/api/storage/") ? "list=true" : NULL;
    return p->token ? ask_as(&m->f, p->token, method, path, query, body) : ask(&m->f, method, path, query, body, NULL);
}

/* What the store knows better is refused by a close frame when the session is open. */
static int opened(struct matrix *m, osmo_ws_t *ws) {
    int status = 101;
    osmo_ws_opened(ws);
    pthread_mutex_lock(&m->f.lock);
    for (size_t i = 0; i < m->f.nsent; i++) {
        if (m->f.sent[i].close_code && strstr(m->f.sent[i].text, "access denied"))
            status = 403;
        else if (m->f.sent[i].close_code && strstr(m->f.sent[i].text, "token"))
            status = 401;
        free(m->f.sent[i].text);
    }
    m->f.nsent = 0;
    pthread_mutex_unlock(&m->f.lock);
    osmo_ws_closed(ws);
    return status;
}

int upgrade_by(struct matrix *m, const struct person *p, const char *path) {
    _cleanup_free_ char *bearer = str_printf("Bearer %s", p->token ? p->token : "");
    const char *headers[] = { p->token ? "authorization" : NULL, bearer, NULL }, *extensions;
    osmo_request_t rq = { .size = sizeof rq, .method = "GET", .path = path, .query = "", .headers = headers, .peer = "127.0.0.1" };
    osmo_response_t rs;
    osmo_ws_t *ws;
    osmo_service_ws_open(m->f.service, &rq, 1, &ws, &extensions, &rs);
    int status = rs.status;
    osmo_response_clear(&rs);
    return ws ? opened(m, ws) : status;
}
