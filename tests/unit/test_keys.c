/* Signing keys: replaced with an overlap, sealed in the store, told to other services of the database, and taken over from databases where
 * they stood in plain text. */
#include "service_fixture.h"

#include <stdatomic.h>
#include <unistd.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "engine/auth_internal.h"
#include "engine/vault_internal.h"
#include "store/repo_auth.h"

static char *login(struct fixture *f) {
    struct answer a = ask(f, "POST", "/api/auth/jwt/access_token", NULL, "{\"token\":\"" ADMIN_TOKEN "\"}", NULL);
    char *jwt = a.status == 200 ? str_dup(json_get_str(a.json, "token")) : NULL;
    CHECK_INT(a.status, 200);
    answer_free(&a);
    return jwt;
}

static int profile_status(struct fixture *f, const char *jwt) {
    struct answer a = ask_as(f, jwt ? jwt : "", "GET", "/api/profile/settings", NULL, NULL);
    int status = a.status;
    answer_free(&a);
    return status;
}

/* The ids that are published, newest first. */
static void published(struct fixture *f, strlist_t *kids) {
    struct answer a = ask(f, "GET", "/api/auth/keys", NULL, NULL, NULL);
    const json_t *keys = json_get(a.json, "keys");
    strlist_free(kids);
    for (size_t i = 0; i < json_len(keys); i++)
        strlist_add(kids, json_get_str(json_at(keys, i), "kid"));
    answer_free(&a);
}

static void kid_of(const char *jwt, char kid[KID_SIZE]) {
    kid[0] = '\0';
    CHECK(jwt && jwt_kid(jwt, strlen(jwt), kid, KID_SIZE, NULL) == 0);
}

static int rotate(struct fixture *f, const char *jwt, const char *what) {
    _cleanup_free_ char *body = str_printf("{\"what\":\"%s\"}", what);
    struct answer a = ask_as(f, jwt, "POST", "/api/auth/keys/rotate", NULL, body);
    int status = a.status;
    answer_free(&a);
    return status;
}

static _Atomic int64_t late_us;
static int64_t wall(void) { return clock_now_us() + late_us; }
static int64_t steady(void) { return clock_mono_us() + late_us; }

static void overlap(void) {
    struct fixture f;
    strlist_t kids = { 0 };
    char before[KID_SIZE], after[KID_SIZE];
    engine_clock_source(wall, steady);
    REQUIRE(fixture_open(&f, OSMO_AUTH_REQUIRED, ADMIN_TOKEN));
    _cleanup_free_ char *old = login(&f);
    kid_of(old, before);
    CHECK_INT(rotate(&f, old, "nothing"), 422);
    CHECK_INT(rotate(&f, old, "signing"), 200);
    _cleanup_free_ char *new = login(&f);
    kid_of(new, after);
    CHECK(strcmp(before, after) != 0);
    published(&f, &kids);
    CHECK_INT(kids.len, 2);
    CHECK_STR(kids.len == 2 ? kids.items[0] : NULL, after);
    CHECK_STR(kids.len == 2 ? kids.items[1] : NULL, before);
    CHECK_INT(profile_status(&f, old), 200);
    CHECK_INT(profile_status(&f, new), 200);
    atomic_store(&late_us, 5LL * 1000 * 1000);
    CHECK(fixture_reopen(&f)); /* nothing of it is in memory only */
    CHECK_INT(profile_status(&f, old), 200);
    published(&f, &kids);
    CHECK_INT(kids.len, 2);
    atomic_store(&late_us, 3600LL * 1000 * 1000);
    published(&f, &kids);
    CHECK_INT(kids.len, 1);
    CHECK_STR(kids.len ? kids.items[0] : NULL, after);
    _cleanup_free_ char *later = login(&f); /* takes what is over out of the store */
    kid_of(later, before);
    CHECK_STR(before, after);
    CHECK(fixture_reopen(&f));
    struct signing_key_row *rows = NULL;
    size_t n = 0;
    db_t *db;
    CHECK(store_reader(f.engine->store, &db, NULL) == 0 && repo_signing_keys(db, &rows, &n, NULL) == 0);
    CHECK_INT(n, 1);
    signing_key_rows_free(rows, n);
    strlist_free(&kids);
    fixture_close(&f);
    atomic_store(&late_us, 0);
    engine_clock_source(NULL, NULL);
}

/* Verifying by what the token says of its key: none, ours, one that nobody has; and by no key that is not ours. */
static void which_key(void) {
    struct fixture f;
    rsa_key_t *foreign = NULL;
    osmo_error_t err = OSMO_ERROR_INIT;
    _cleanup_json_ json_t *claims = json_object(), *seen = NULL;
    _cleanup_buf_ buf_t token = BUF_INIT(16384);
    REQUIRE(fixture_open(&f, OSMO_AUTH_REQUIRED, ADMIN_TOKEN));
    char kid[KID_SIZE];
    _cleanup_free_ char *jwt = login(&f);
    kid_of(jwt, kid);
    json_set_str(claims, "iss", "osmo");
    CHECK_OK(keys_sign(f.engine, claims, &token, &err), &err);
    CHECK_OK(keys_verify(f.engine, token.data, token.len, 1000, true, &seen, &err), &err);
    CHECK_OK(rsa_key_generate(2048, &foreign, &err), &err);
    const struct { const char *kid; int code; const char *part; } cases[] = {
        { NULL, OSMO_EUNAUTH, "does not fit" },
        { kid, OSMO_EUNAUTH, "does not fit" },
        { "00000000-0000-0000-0000-000000000000", OSMO_EUNAUTH, "not in use" },
        { "a key id that is a good deal longer than any that the service would have made itself", OSMO_EUNAUTH, "not in use" },
    };
    for (size_t i = 0; foreign && i < ARRAY_SIZE(cases); i++) {
        json_t *none = NULL;
        CHECK_INT(rsa_key_set_kid(foreign, cases[i].kid), 0);
        buf_reset(&token);
        CHECK_OK(jwt_sign(foreign, claims, &token, &err), &err);
        CHECK_INT(keys_verify(f.engine, token.data, token.len, 1000, true, &none, &err), cases[i].code);
        CHECK_CONTAINS(err.text, cases[i].part);
        CHECK(none == NULL);
    }
    rsa_key_free(foreign);
    fixture_close(&f);
}

/* Tokens without a key id, as OSMO's own are, made with the key of the fixture. */
static void without_kid(void) {
    struct fixture f;
    osmo_error_t err = OSMO_ERROR_INIT;
    struct signing_key_row *rows = NULL;
    _cleanup_json_ json_t *claims = json_object(), *seen = NULL;
    _cleanup_buf_ buf_t pem = BUF_SECRET(65536), token = BUF_INIT(16384);
    rsa_key_t *key = NULL;
    size_t n = 0;
    db_t *db;
    REQUIRE(fixture_open(&f, OSMO_AUTH_REQUIRED, ADMIN_TOKEN));
    CHECK(store_reader(f.engine->store, &db, NULL) == 0 && repo_signing_keys(db, &rows, &n, NULL) == 0 && n == 1);
    CHECK_OK(n ? vault_unseal(f.engine, rows[0].sealed, strlen(rows[0].sealed), &pem, &err) : -1, &err);
    CHECK_OK(rsa_key_from_pem(buf_cstr(&pem), &key, &err), &err);
    CHECK_OK(auth_rotate_key(f.engine, &err), &err);
    json_set_str(claims, "iss", "osmo");
    if (key)
        CHECK_OK(jwt_sign(key, claims, &token, &err), &err);
    CHECK_OK(keys_verify(f.engine, buf_cstr(&token), token.len, 1000, true, &seen, &err), &err);
    signing_key_rows_free(rows, n);
    rsa_key_free(key);
    fixture_close(&f);
}

/* ---- databases where it stood in plain text ---- */

static bool file_has(const char *dir, const char *name, const char *text) {
    _cleanup_free_ char *path = str_printf("%s/%s", dir, name);
    _cleanup_buf_ buf_t data = BUF_INIT(256u << 20);
    if (file_read(path, &data, NULL) < 0)
        return false;
    return memmem(data.data, data.len, text, strlen(text)) != NULL;
}

#define OLD_SECRET "ZZZZplain-master-secret-of-earlier-days-ZZ"

static int old_secret_fn(db_t *db, void *ctx, osmo_error_t *err) {
    (void)ctx;
    return repo_kv_set(db, "master_secret", OLD_SECRET "Y", err);
}

/* The fixture puts the signing key into the store as earlier versions kept it. */
static void taken_over(void) {
    struct fixture f;
    osmo_error_t err = OSMO_ERROR_INIT;
    char token[44], again[44];
    static const char pem_part[] = "rmAT2fGG1YWHExWhHgAru7xRBrjsTY81juy5HZU62hKCTbpgbXJQ87CiWXv9G8xH";
    REQUIRE(fixture_open(&f, OSMO_AUTH_REQUIRED, ADMIN_TOKEN));
    CHECK(!file_has(f.dir, "osmo.db", pem_part) && !file_has(f.dir, "osmo.db-wal", pem_part));
    /* the master secret, too */
    osmo_service_close(f.service);
    f.service = NULL;
    _cleanup_free_ char *url = str_printf("sqlite:%s/osmo.db", f.dir);
    store_t *s = NULL;
    CHECK_OK(store_open(&(struct store_options){ .url = url }, &s, &err), &err);
    CHECK_OK(store_write(s, NULL, old_secret_fn, NULL, &err), &err);
    store_close(s);
    CHECK(file_has(f.dir, "osmo.db", OLD_SECRET) || file_has(f.dir, "osmo.db-wal", OLD_SECRET));
    CHECK(fixture_reopen(&f));
    CHECK(!file_has(f.dir, "osmo.db", OLD_SECRET) && !file_has(f.dir, "osmo.db-wal", OLD_SECRET));
    CHECK_OK(auth_task_refresh_token(f.engine, "0123456789abcdef0123456789abcdef", 0, token, &err), &err);
    CHECK(fixture_reopen(&f));
    CHECK_OK(auth_task_refresh_token(f.engine, "0123456789abcdef0123456789abcdef", 0, again, &err), &err);
    CHECK_STR(again, token);
    fixture_close(&f);
}

/* A rotation of the master key takes signing keys and the master secret along; the old master key may go then. */
static void master_key(void) {
    struct fixture f;
    osmo_error_t err = OSMO_ERROR_INIT;
    char token[44], again[44], first[SEAL_KID_MAX];
    REQUIRE(fixture_open(&f, OSMO_AUTH_REQUIRED, ADMIN_TOKEN));
    CHECK_OK(auth_task_refresh_token(f.engine, "0123456789abcdef0123456789abcdef", 0, token, &err), &err);
    snprintf(first, sizeof first, "%s", f.engine->vault->ring->keys[0].kid);
    _cleanup_free_ char *jwt = login(&f);
    CHECK_INT(rotate(&f, jwt, "master"), 200);
    CHECK_INT(f.engine->vault->ring->n, 2);
    _cleanup_free_ char *path = str_printf("%s/master-key.yaml", f.dir);
    _cleanup_buf_ buf_t text = BUF_SECRET(65536), kept = BUF_SECRET(65536);
    CHECK_OK(file_read(path, &text, &err), &err);
    for (const char *line = text.data; line && *line;) { /* without the line of the first key */
        size_t len = strcspn(line, "\n") + 1;
        if (!memmem(line, len, first, strlen(first)))
            buf_append(&kept, line, len);
        line += len;
    }
    CHECK_OK(file_write_atomic(path, kept.data, kept.len, 0600, true, &err), &err);
    CHECK(fixture_reopen(&f));
    CHECK_INT(profile_status(&f, jwt), 200);
    CHECK_OK(auth_task_refresh_token(f.engine, "0123456789abcdef0123456789abcdef", 0, again, &err), &err);
    CHECK_STR(again, token);
    fixture_close(&f);
}

/* One damaged key does not take the other along; when none is left that signs, the service says so. */
struct damage { const char *kid; };

static int damage_fn(db_t *db, void *ctx, osmo_error_t *err) {
    const struct damage *d = ctx;
    struct signing_key_row *rows = NULL;
    size_t n = 0;
    int rc = repo_signing_keys(db, &rows, &n, err);
    for (size_t i = 0; rc >= 0 && i < n; i++) {
        if (d->kid && !str_eq(rows[i].kid, d->kid))
            continue;
        rows[i].sealed[strlen(rows[i].sealed) / 2] = '.';
        rc = repo_signing_key_put(db, &rows[i], err);
    }
    signing_key_rows_free(rows, n);
    return rc;
}

static void damaged_keys(void) {
    struct fixture f;
    osmo_error_t err = OSMO_ERROR_INIT;
    char before[KID_SIZE];
    REQUIRE(fixture_open(&f, OSMO_AUTH_REQUIRED, ADMIN_TOKEN));
    _cleanup_free_ char *old = login(&f);
    kid_of(old, before);
    CHECK_OK(auth_rotate_key(f.engine, &err), &err);
    _cleanup_free_ char *new = login(&f);
    CHECK_OK(store_write(f.engine->store, NULL, damage_fn, &(struct damage){ before }, &err), &err);
    CHECK(fixture_reopen(&f));
    CHECK_INT(profile_status(&f, new), 200);
    CHECK_INT(profile_status(&f, old), 401);
    CHECK_OK(store_write(f.engine->store, NULL, damage_fn, &(struct damage){ NULL }, &err), &err);
    osmo_service_close(f.service);
    f.service = NULL;
    CHECK(osmo_service_open(&f.options, &f.service, &err) < 0);
    CHECK_CONTAINS(err.text, "signing key");
    CHECK_CONTAINS(err.text, "restore the database");
    fixture_close(&f);
}

/* As if there had been a rotation every few seconds; a key of its own for each would take too long. */
static int many_fn(db_t *db, void *ctx, osmo_error_t *err) {
    struct signing_key_row *rows = NULL;
    size_t n = 0;
    int rc = repo_signing_keys(db, &rows, &n, err);
    for (int i = 0; rc >= 0 && n && i < 31; i++) {
        char kid[16];
        snprintf(kid, sizeof kid, "former-%d", i);
        struct signing_key_row row = { kid, rows[0].sealed, rows[0].created_us - 1000 * i, *(const int64_t *)ctx };
        rc = repo_signing_key_put(db, &row, err);
    }
    signing_key_rows_free(rows, n);
    return rc;
}

/* It never ends in many keys that nobody can follow. */
static void too_often(void) {
    struct fixture f;
    osmo_error_t err = OSMO_ERROR_INIT;
    strlist_t kids = { 0 };
    int64_t now = clock_now_us();
    REQUIRE(fixture_open(&f, OSMO_AUTH_REQUIRED, ADMIN_TOKEN));
    _cleanup_free_ char *old = login(&f);
    CHECK_OK(store_write(f.engine->store, NULL, many_fn, &now, &err), &err);
    CHECK_INT(auth_rotate_key(f.engine, &err), OSMO_ELIMIT);
    CHECK_CONTAINS(err.text, "wait before");
    CHECK(fixture_reopen(&f));
    published(&f, &kids);
    CHECK_INT(kids.len, 32);
    CHECK_INT(profile_status(&f, old), 200);
    strlist_free(&kids);
    fixture_close(&f);
}

static const struct check_test tests[] = {
    { "replaced with an overlap", overlap },
    { "which key verifies", which_key },
    { "tokens without a key id", without_kid },
    { "taken over from plain text", taken_over },
    { "another master key", master_key },
    { "damaged keys", damaged_keys },
    { "too many rotations", too_often },
};
TEST_MAIN("keys", tests)
