/* Keys of two services on one PostgreSQL database: a new signing key counts for both, two that are made at once leave one that signs, and a
 * new master key reaches the service that was not asked. Does nothing where there is no PostgreSQL. */
#include <stdlib.h>

#include "base/cleanup.h"
#include "engine/access.h"
#include "engine/auth_internal.h"
#include "engine/replicas.h"
#include "engine/vault_internal.h"
#include "replicas_fixture.h"
#include "store/repo_auth.h"

static char *sign(engine_t *by, char kid[KID_SIZE]) {
    osmo_error_t err = OSMO_ERROR_INIT;
    json_t *claims = json_object();
    buf_t token = BUF_INIT(16384);
    kid[0] = '\0';
    CHECK_OK(keys_sign(by, claims, &token, &err), &err);
    CHECK_OK(jwt_kid(buf_cstr(&token), token.len, kid, KID_SIZE, &err), &err);
    json_free(claims);
    return buf_steal(&token, NULL);
}

static int verify(engine_t *by, const char *token) {
    osmo_error_t err = OSMO_ERROR_INIT;
    json_t *claims = NULL;
    int rc = token ? keys_verify(by, token, strlen(token), 1000, true, &claims, &err) : OSMO_EINVAL;
    json_free(claims);
    return rc;
}

static void a_new_key_counts_for_both(void) {
    osmo_error_t err = OSMO_ERROR_INIT;
    char k1[KID_SIZE], k2[KID_SIZE], k3[KID_SIZE];
    NEEDS_PGSQL;
    REQUIRE(start_pair(NULL));
    _cleanup_free_ char *before = sign(second, k1);
    CHECK_OK(auth_rotate_key(e, &err), &err);
    _cleanup_free_ char *after = sign(e, k2);
    CHECK(strcmp(k1, k2) != 0);
    CHECK_INT(verify(second, after), 0); /* it need not have been told of this key: it looks */
    CHECK_INT(verify(e, before), 0);
    access_changed_here(second); /* what a hint means */
    _cleanup_free_ char *there = sign(second, k3);
    CHECK_STR(k3, k2);
    CHECK_INT(verify(e, there), 0);
    CHECK_INT(count("SELECT COUNT(*) FROM signing_keys WHERE retired_us = 0", NULL), 1);
    stop_pair();
}

struct rotation { pthread_t thread; engine_t *of; int rc; };

static void *rotate(void *arg) {
    struct rotation *r = arg;
    osmo_error_t err = OSMO_ERROR_INIT;
    r->rc = auth_rotate_key(r->of, &err);
    if (r->rc < 0)
        fprintf(stderr, "%s\n", err.text);
    return NULL;
}

static void two_at_once(void) {
    char k1[KID_SIZE], k2[KID_SIZE], old_kid[KID_SIZE];
    NEEDS_PGSQL;
    REQUIRE(start_pair(NULL));
    _cleanup_free_ char *old = sign(e, old_kid);
    struct rotation r[] = { { .of = e }, { .of = second }, { .of = e }, { .of = second } };
    for (size_t i = 0; i < ARRAY_SIZE(r); i++)
        REQUIRE(pthread_create(&r[i].thread, NULL, rotate, &r[i]) == 0);
    for (size_t i = 0; i < ARRAY_SIZE(r); i++) {
        pthread_join(r[i].thread, NULL);
        CHECK_INT(r[i].rc, 0);
    }
    CHECK_INT(count("SELECT COUNT(*) FROM signing_keys", NULL), 5);
    CHECK_INT(count("SELECT COUNT(*) FROM signing_keys WHERE retired_us = 0", NULL), 1);
    access_changed_here(e);
    access_changed_here(second);
    _cleanup_free_ char *a = sign(e, k1), *b = sign(second, k2);
    CHECK_STR(k1, k2);
    CHECK_INT(verify(e, b), 0);
    CHECK_INT(verify(second, a), 0);
    CHECK_INT(verify(second, old), 0);
    stop_pair();
}

static int64_t sealed_under(const char *kid) {
    struct signing_key_row *rows = NULL;
    char have[SEAL_KID_MAX];
    size_t n = 0;
    int64_t found = 0;
    CHECK(repo_signing_keys(reader(), &rows, &n, NULL) == 0);
    for (size_t i = 0; i < n; i++)
        found += sealed_kid(rows[i].sealed, strlen(rows[i].sealed), have, NULL) == 0 && str_eq(have, kid);
    signing_key_rows_free(rows, n);
    return found;
}

static void a_new_master_key(void) {
    osmo_error_t err = OSMO_ERROR_INIT;
    strlist_t left = { 0 };
    char token[44], again[44], kid[KID_SIZE];
    NEEDS_PGSQL;
    REQUIRE(start_pair(NULL));
    CHECK_INT(vault_rotate(e, &left, &err), OSMO_ECONFLICT);
    CHECK_CONTAINS(err.text, "and its copies");
    CHECK_OK(auth_task_refresh_token(e, "0123456789abcdef0123456789abcdef", 0, token, &err), &err);
    CHECK_OK(master_file_add(e->vault->path, e->vault->ring, &err), &err);
    CHECK_OK(vault_rotate(second, &left, &err), &err);
    CHECK_INT(left.len, 0);
    CHECK_INT(sealed_under(e->vault->ring->keys[1].kid), 1);
    CHECK_OK(auth_rotate_key(e, &err), &err); /* sealed under the new one, though nobody told it */
    CHECK_INT(sealed_under(e->vault->ring->keys[1].kid), 2);
    free(sign(e, kid));
    engine_close(second);
    second = start_another("second", NULL, &err);
    REQUIRE(second != NULL);
    CHECK_OK(auth_task_refresh_token(second, "0123456789abcdef0123456789abcdef", 0, again, &err), &err);
    CHECK_STR(again, token);
    strlist_free(&left);
    stop_pair();
}

/* A directory of its own without the master key: refused, and nothing is left there that would be in the way. */
static void without_the_master_key(void) {
    osmo_error_t err = OSMO_ERROR_INIT;
    NEEDS_PGSQL;
    REQUIRE(start_pair(NULL));
    _cleanup_free_ char *away = str_printf("%s.away", e->vault->path), *path = str_dup(e->vault->path);
    REQUIRE(rename(path, away) == 0);
    engine_close(second);
    second = start_another("second", NULL, &err);
    CHECK(second == NULL);
    CHECK_CONTAINS(err.text, path);
    CHECK(rename(away, path) == 0);
    second = start_another("second", NULL, &err);
    CHECK(second != NULL);
    stop_pair();
}

static const struct check_test tests[] = {
    { "a new key counts for both", a_new_key_counts_for_both },
    { "two at once", two_at_once },
    { "a new master key", a_new_master_key },
    { "without the master key", without_the_master_key },
};

int main(int argc, char **argv) {
    use_pgsql = true;
    replicas_times(LEASE_US, RENEW_US);
    return check_main("keys_replicas", tests, ARRAY_SIZE(tests), argc, argv);
}
