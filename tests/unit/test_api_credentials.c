/* The routes of credentials over both databases: who sees what, what replaces what, what a registry on this machine says to a login;
 * and that nothing of a value is in any answer or row. */
#include "pgsql_fixture.h"
#include "service_fixture.h"

#include "base/cleanup.h"
#include "engine/credentials.h"
#include "peer.h"
#include "signing_key.h"

#define SECRET "s3cr3t-v4lue-that-nobody-may-see"

static struct fixture f;

static const char *const *headers_of(const char *user) {
    static const char *headers[3] = { "x-osmo-user", NULL, NULL };
    headers[1] = user;
    return headers;
}

static struct answer as(const char *user, const char *method, const char *path, const char *body) {
    struct answer a = ask(&f, method, path, NULL, body, headers_of(user));
    CHECK(!a.body || !strstr(a.body, SECRET));
    return a;
}

static int status_of(const char *user, const char *method, const char *path, const char *body) {
    struct answer a = as(user, method, path, body);
    int status = a.status;
    answer_free(&a);
    return status;
}

static void expect_body(const char *user, const char *method, const char *path, const char *body, int status, const char *want) {
    struct answer a = as(user, method, path, body);
    CHECK_INT(a.status, status);
    CHECK_STR(a.body, want);
    answer_free(&a);
}

static void expect_error(const char *path, const char *body, int status, const char *code, const char *text) {
    struct answer a = as("alice", "POST", path, body);
    if (!CHECK_INT(a.status, status))
        fprintf(stderr, "%s: %s\n", body, a.body ? a.body : "");
    CHECK_STR(json_get_str(a.json, "error_code"), code);
    CHECK_CONTAINS(a.body, text);
    answer_free(&a);
}

/* No text of any row holds the value. */
static bool stored_in_clear(void) {
    struct credential_row *rows = NULL;
    size_t n = 0;
    db_t *db = NULL;
    CHECK_INT(store_reader(f.engine->store, &db, NULL), 0);
    CHECK_INT(repo_credential_list(db, "alice", &rows, &n, NULL), 0);
    bool found = false;
    for (size_t i = 0; i < n; i++)
        found |= strstr(rows[i].payload, SECRET) != NULL;
    CHECK(n > 0);
    credential_rows_free(rows, n);
    return found;
}

static char *opened(const char *user, const char *name, const char *key) {
    struct credentials c;
    osmo_error_t err = OSMO_ERROR_INIT;
    db_t *db = NULL;
    char *value = NULL;
    CHECK_INT(store_reader(f.engine->store, &db, NULL), 0);
    CHECK_OK(credentials_open(f.engine, db, user, NULL, NULL, &c, &err), &err);
    for (size_t i = 0; i < c.n; i++)
        if (str_eq(c.list[i].name, name) && credentials_value(&c.list[i], key))
            value = str_dup(credentials_value(&c.list[i], key));
    credentials_wipe(&c);
    return value;
}

static const char unchecked[] = "workflow:\n  credential_config:\n    disable_registry_validation: [nvcr.io, ghcr.io]\n"
                                "    disable_data_validation: [s3]\n";

/* ---- what is kept ---- */

static void life(void) {
    static const char generic[] = "{\"generic_credential\":{\"credential\":{\"token\":\"" SECRET "\",\"empty\":\"\"}}}";
    expect_body("alice", "GET", "/api/credentials", NULL, 200, "{\"credentials\":[]}");
    expect_body("alice", "POST", "/api/credentials/wandb", generic, 200, "null");
    CHECK_INT(status_of("alice", "POST", "/api/credentials/ngc",
                        "{\"registry_credential\":{\"registry\":\"nvcr.io\",\"username\":\"$oauthtoken\",\"auth\":\"" SECRET "\"}}"), 200);
    CHECK_INT(status_of("alice", "POST", "/api/credentials/lab-bucket",
                        "{\"data_credential\":{\"endpoint\":\"s3://lab/\",\"access_key_id\":\"id\",\"access_key\":\"" SECRET "\"}}"), 200);
    CHECK_INT(status_of("alice", "POST", "/api/credentials/a-bucket",
                        "{\"data_credential\":{\"endpoint\":\"s3://other\",\"access_key_id\":\"id\",\"access_key\":\"k\"}}"), 200);
    expect_body("alice", "GET", "/api/credentials", NULL, 200,
                "{\"credentials\":[{\"cred_name\":\"a-bucket\",\"cred_type\":\"DATA\",\"profile\":\"s3://other\"},"
                "{\"cred_name\":\"lab-bucket\",\"cred_type\":\"DATA\",\"profile\":\"s3://lab\"},"
                "{\"cred_name\":\"ngc\",\"cred_type\":\"REGISTRY\",\"profile\":\"nvcr.io\"},"
                "{\"cred_name\":\"wandb\",\"cred_type\":\"GENERIC\",\"profile\":null}]}");
    CHECK(!stored_in_clear());
    _cleanup_free_ char *token = opened("alice", "wandb", "token"), *empty = opened("alice", "wandb", "empty"),
                        *auth = opened("alice", "ngc", "auth"), *key = opened("alice", "lab-bucket", "access_key");
    CHECK_STR(token, SECRET);
    CHECK_STR(empty, "");
    CHECK_STR(auth, SECRET);
    CHECK_STR(key, SECRET);
    /* a neighbour's are his own */
    expect_body("bob", "GET", "/api/credentials", NULL, 200, "{\"credentials\":[]}");
    CHECK_INT(status_of("bob", "DELETE", "/api/credentials/wandb", NULL), 400);
    CHECK_INT(status_of("bob", "POST", "/api/credentials/wandb", "{\"generic_credential\":{\"credential\":{\"token\":\"bob\"}}}"), 200);
    _cleanup_free_ char *still = opened("alice", "wandb", "token"), *bobs = opened("bob", "wandb", "token");
    CHECK_STR(still, SECRET);
    CHECK_STR(bobs, "bob");
}

/* A name again, of whatever kind, replaces; so does an address or a registry, which may get another name. */
static void replacing(void) {
    CHECK_INT(status_of("alice", "POST", "/api/credentials/wandb", "{\"generic_credential\":{\"credential\":{\"other\":\"new\"}}}"), 200);
    _cleanup_free_ char *old = opened("alice", "wandb", "token"), *new = opened("alice", "wandb", "other");
    CHECK_STR(old, NULL);
    CHECK_STR(new, "new");
    CHECK_INT(status_of("alice", "POST", "/api/credentials/nvidia",
                        "{\"registry_credential\":{\"registry\":\"https://NVCR.io\",\"auth\":\"k2\"}}"), 200);
    CHECK_INT(status_of("alice", "POST", "/api/credentials/a-bucket",
                        "{\"registry_credential\":{\"registry\":\"ghcr.io/team\",\"auth\":\"k3\"}}"), 200);
    expect_body("alice", "GET", "/api/credentials", NULL, 200,
                "{\"credentials\":[{\"cred_name\":\"lab-bucket\",\"cred_type\":\"DATA\",\"profile\":\"s3://lab\"},"
                "{\"cred_name\":\"a-bucket\",\"cred_type\":\"REGISTRY\",\"profile\":\"ghcr.io/team\"},"
                "{\"cred_name\":\"nvidia\",\"cred_type\":\"REGISTRY\",\"profile\":\"nvcr.io\"},"
                "{\"cred_name\":\"wandb\",\"cred_type\":\"GENERIC\",\"profile\":null}]}");
    expect_body("alice", "DELETE", "/api/credentials/nvidia", NULL, 200,
                "{\"credentials\":[{\"cred_name\":\"nvidia\",\"cred_type\":\"REGISTRY\",\"profile\":\"nvcr.io\"}]}");
    struct answer a = as("alice", "DELETE", "/api/credentials/nvidia", NULL);
    CHECK_INT(a.status, 400);
    CHECK_STR(json_get_str(a.json, "error_code"), "USER");
    CHECK_CONTAINS(a.body, "you have no credential 'nvidia'");
    answer_free(&a);
}

/* As many bytes and as many credentials as one user may have. */
static void rooms(void) {
    _cleanup_free_ char *large = malloc(500001), *body = NULL;
    char path[64], small[] = "{\"generic_credential\":{\"credential\":{\"a\":\"b\"}}}";
    REQUIRE(large);
    memset(large, 'x', 500000);
    large[500000] = '\0';
    body = str_printf("{\"generic_credential\":{\"credential\":{\"a\":\"%s\"}}}", large);
    REQUIRE(body);
    int kept = 0;
    struct answer a;
    for (;; kept++) {
        snprintf(path, sizeof path, "/api/credentials/large%d", kept);
        a = as("dora", "POST", path, body);
        if (a.status != 200 || kept > 100)
            break;
        answer_free(&a);
    }
    CHECK_INT(a.status, 400);
    CHECK_CONTAINS(a.body, "bytes together");
    CHECK(kept >= 8 && kept < 12);
    answer_free(&a);
    CHECK_INT(status_of("dora", "POST", "/api/credentials/large0", body), 200); /* in its own place */
    for (int i = kept; i < CREDENTIALS_PER_USER; i++) {
        snprintf(path, sizeof path, "/api/credentials/small%d", i);
        if (!CHECK_INT(status_of("dora", "POST", path, small), 200))
            break;
        if (i == kept) /* the large ones only made it slow */
            for (int k = 0; k < kept; k++) {
                snprintf(path, sizeof path, "/api/credentials/large%d", k);
                CHECK_INT(status_of("dora", "POST", path, small), 200);
            }
    }
    a = as("dora", "POST", "/api/credentials/more", small);
    CHECK_INT(a.status, 400);
    CHECK_CONTAINS(a.body, "you have 500 credentials");
    answer_free(&a);
    CHECK_INT(status_of("dora", "POST", "/api/credentials/large0", small), 200);
}

static void refusals(void) {
    static const struct { const char *path, *body; int status; const char *code, *text; } cases[] = {
        { "/api/credentials/x", "{}", 400, "USER", "exactly one" },
        { "/api/credentials/x", "{\"generic_credential\":{\"credential\":{}},\"registry_credential\":{\"auth\":\"" SECRET "\"}}", 400,
          "USER", "exactly one" },
        { "/api/credentials/1x", "{\"generic_credential\":{\"credential\":{}}}", 400, "USER", "'1x' is no name" },
        { "/api/credentials/a.b", "{\"generic_credential\":{\"credential\":{}}}", 400, "USER", "no name" },
        { "/api/credentials/x", "{\"generic_credential\":{\"credential\":{\"a b\":\"" SECRET "\"}}}", 400, "USER", "key 'a b'" },
        { "/api/credentials/x", "{\"registry_credential\":{\"auth\":\"" SECRET "\",\"pass\":\"" SECRET "\"}}", 422, NULL,
          "extra_forbidden" },
        { "/api/credentials/x", "{\"registry_credential\":{\"username\":\"u\"}}", 422, NULL, "registry_credential.auth" },
        { "/api/credentials/x", "{\"data_credential\":{\"endpoint\":\"http://h/b\",\"access_key_id\":\"i\",\"access_key\":\"" SECRET
          "\"}}", 400, "CREDENTIAL", "override_url" },
        { "/api/credentials/x", "{\"generic_credential\":{\"credential\":{\"a\":[\"" SECRET "\"]}}}", 422, NULL, "string_type" },
        { "/api/credentials/x", "{\"generic_credential\":{\"credential\":{\"a\":\"" SECRET "\"}}", 422, NULL, "json_invalid" },
        { "/api/credentials/x", "[]", 422, NULL, "model_attributes_type" },
        { "/api/credentials/x", NULL, 422, NULL, "missing" },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        expect_error(cases[i].path, cases[i].body, cases[i].status, cases[i].code, cases[i].text);
    CHECK_INT(status_of("alice", "DELETE", "/api/credentials/x", NULL), 400);
}

/* ---- registries ---- */

#define CHALLENGE "HTTP/1.1 401 Unauthorized\r\nWWW-Authenticate: Bearer realm=\"http://127.0.0.1:%d/token\",service=\"reg\"\r\n" \
    "Content-Length: 0\r\n\r\n"

static void registry_logins(void) {
    static const struct {
        const char *answers[4]; /* of which %d is the port */
        int status;
        const char *text;
    } cases[] = {
        { { CHALLENGE, "HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n{\"token\":\"tok\"}",
            "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}" },
          200, "null" },
        { { CHALLENGE, "HTTP/1.1 401 Unauthorized\r\nContent-Length: 0\r\n\r\n" }, 400, "refuses the stored login (HTTP 401)" },
        { { CHALLENGE, "HTTP/1.1 200 OK\r\nContent-Length: 15\r\n\r\n{\"token\":\"tok\"}",
            "HTTP/1.1 403 Forbidden\r\nContent-Length: 0\r\n\r\n" }, 400, "it refuses the login (HTTP 403)" },
        { { CHALLENGE, "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}" }, 400, "gives no token" },
        { { CHALLENGE, "HTTP/1.1 500 Oops\r\nContent-Length: 0\r\n\r\n" }, 400, "token service does not work" },
        { { "HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm=\"x\"\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n" }, 200, "null" },
        { { "HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm=\"x\"\r\nContent-Length: 0\r\n\r\n",
            "HTTP/1.1 401 No\r\nWWW-Authenticate: Basic realm=\"x\"\r\nContent-Length: 0\r\n\r\n" }, 400, "refuses the login" },
        { { "HTTP/1.1 401 No\r\nWWW-Authenticate: Negotiate\r\nContent-Length: 0\r\n\r\n" }, 400, "login of a kind" },
        { { "HTTP/1.1 401 No\r\nWWW-Authenticate: Bearer realm=\"http://registry.example/token\"\r\nContent-Length: 0\r\n\r\n" }, 400,
          "https address" },
        { { "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}" }, 200, "null" },
        { { "HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n" }, 400, "does not answer as a registry" },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct peer p = { 0 };
        char texts[4][400] = { 0 };
        const char *answers[5] = { NULL };
        REQUIRE(peer_listen(&p));
        for (size_t k = 0; k < 4 && cases[i].answers[k]; k++) {
            const char *at = strstr(cases[i].answers[k], "%d");
            if (at)
                snprintf(texts[k], sizeof texts[k], "%.*s%d%s", (int)(at - cases[i].answers[k]), cases[i].answers[k], p.port, at + 2);
            else
                snprintf(texts[k], sizeof texts[k], "%s", cases[i].answers[k]);
            answers[k] = texts[k];
        }
        REQUIRE(peer_serve(&p, answers));
        _cleanup_free_ char *body = str_printf("{\"registry_credential\":{\"registry\":\"127.0.0.1:%d/team\",\"username\":\"u\",\"auth\":\""
                                               SECRET "\"}}", p.port);
        struct answer a = as("carol", "POST", "/api/credentials/local", body);
        peer_end(&p);
        if (!CHECK_INT(a.status, cases[i].status))
            fprintf(stderr, "case %zu: %s\n", i, a.body ? a.body : "");
        CHECK_CONTAINS(a.body, cases[i].text);
        if (a.status == 400)
            CHECK_STR(json_get_str(a.json, "error_code"), "CREDENTIAL");
        CHECK_CONTAINS(p.got, "GET /v2/ HTTP/1.1");
        answer_free(&a);
        if (i == 0) { /* user:auth of the header, and the token it was given for */
            CHECK_CONTAINS(p.got, "GET /token?service=reg HTTP/1.1");
            CHECK_CONTAINS(p.got, "Authorization: Basic dTpzM2NyM3QtdjRsdWUtdGhhdC1ub2JvZHktbWF5LXNlZQ==");
            CHECK_CONTAINS(p.got, "Authorization: Bearer tok");
        }
        if (i == 8)
            CHECK(!strstr(p.got, "Authorization"));
    }
    CHECK_INT(status_of("carol", "POST", "/api/credentials/none",
                        "{\"registry_credential\":{\"registry\":\"localhost:1\",\"auth\":\"k\"}}"), 400);
}

static bool open_on(char *database, const char *config) {
    char path[128];
    osmo_error_t err = OSMO_ERROR_INIT;
    if (!fixture_open(&f, OSMO_AUTH_DEV, NULL))
        return false;
    snprintf(path, sizeof path, "%s/config.yaml", f.dir);
    FILE *out = fopen(path, "w");
    bool good = out && fputs(config, out) >= 0;
    if (out)
        fclose(out);
    f.options.config_file = path;
    if (database)
        CHECK_OK(signing_key_seed(database, &err), &err);
    f.options.database = database;
    good = good && fixture_reopen(&f);
    f.options.config_file = NULL;
    return good;
}

static void all_on(char *database) {
    REQUIRE(open_on(database, unchecked));
    life();
    replacing();
    refusals();
    rooms();
    registry_logins();
    fixture_close(&f);
}

static void on_sqlite(void) { all_on(NULL); }

static void on_pgsql(void) {
    _cleanup_free_ char *url = pgsql_fixture_url();
    if (url)
        all_on(url);
}

/* Sealed and opened by a service that starts anew. */
static void again(void) {
    REQUIRE(open_on(NULL, unchecked));
    CHECK_INT(status_of("alice", "POST", "/api/credentials/wandb",
                        "{\"generic_credential\":{\"credential\":{\"t\":\"" SECRET "\"}}}"), 200);
    REQUIRE(fixture_reopen(&f));
    _cleanup_free_ char *value = opened("alice", "wandb", "t");
    CHECK_STR(value, SECRET);
    fixture_close(&f);
}

static const struct check_test tests[] = {
    { "sqlite", on_sqlite }, { "postgresql", on_pgsql }, { "a restart", again },
};
TEST_MAIN("api_credentials", tests)
