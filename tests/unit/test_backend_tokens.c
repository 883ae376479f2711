/* The backend token directory: what is taken from it, what is ignored, and tokens that are exchanged for others while the service runs. */
#include "identity_fixture.h"

#include <sys/stat.h>
#include <unistd.h>

#include "base/file.h"

#define A43 "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa"
#define B43 "bbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbbb"
#define C43 "ccccccccccccccccccccccccccccccccccccccccccc"
#define D64 "0123456789abcdef0123456789abcdef0123456789abcdef0123456789abcdef"

static char dir[160];

static void put(const char *path, const char *text) {
    _cleanup_free_ char *file = str_printf("%s/%s", dir, path);
    _cleanup_free_ char *parent = str_printf("%.*s", (int)(strrchr(file, '/') - file), file);
    osmo_error_t err = OSMO_ERROR_INIT;
    CHECK_OK(dir_make(parent, 0700, &err), &err);
    CHECK_OK(file_write_atomic(file, text, strlen(text), 0600, false, &err), &err);
}

static void drop(const char *path) {
    _cleanup_free_ char *file = str_printf("%s/%s", dir, path);
    CHECK_INT(dir_remove_tree(file, NULL), 0);
}

static void new_dir(void) {
    snprintf(dir, sizeof dir, "/tmp/osmo-tokens-XXXXXX");
    CHECK(mkdtemp(dir) != NULL);
}

static void use_dir(osmo_service_options_t *o) { o->backend_token_dir = dir; }

/* As `backend` by this token: the backend of the JWT, or "" when it is refused. */
static char *backend_by(struct fixture *f, const char *token) {
    _cleanup_free_ char *jwt = identity_login(f, token);
    _cleanup_json_ json_t *claims = NULL;
    if (!jwt || jwt_peek(jwt, strlen(jwt), &claims, NULL) < 0)
        return str_dup("");
    const char *user = json_get_str(claims, "unique_name"), *name = json_get_str(claims, "osmo_token_name");
    CHECK(str_starts(user, "backend-operator-") && str_starts(name, "backend-bootstrap-"));
    CHECK_STR(json_str(json_at(json_get(claims, "roles"), 0)), "osmo-backend");
    CHECK_INT(json_len(json_get(claims, "roles")), 1);
    CHECK_STR(user + strlen("backend-operator-"), json_get_str(claims, "osmo_backend"));
    CHECK_STR(name + strlen("backend-bootstrap-"), json_get_str(claims, "osmo_backend"));
    return str_dup(json_get_str(claims, "osmo_backend"));
}

static void expect(struct fixture *f, const char *token, const char *backend) {
    _cleanup_free_ char *got = backend_by(f, token);
    CHECK_STR(got, backend);
}

static void what_is_taken(void) {
    struct fixture f;
    new_dir();
    put("east/token", A43 "\n");
    put("west/token", D64 "\r\n");
    put("west/previous-token", B43);
    put("same/token", "sssssssssssssssssssssssssssssssssssssssssss");
    put("same/previous-token", "sssssssssssssssssssssssssssssssssssssssssss\n");
    put("twin-a/token", "ttttttttttttttttttttttttttttttttttttttttttt");
    put("twin-b/previous-token", "ttttttttttttttttttttttttttttttttttttttttttt");
    put("twin-b/token", "uuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuu");
    put("short/token", "short");
    put("two-lines/token", C43 "\n\n");
    put("blank/token", "vvvvvvvvvvvvvvvvvvvv vvvvvvvvvvvvvvvvvvvvvv");
    put("empty/other", "x");
    put("Upper/token", "wwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwww");
    put("-dash/token", "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx");
    put(".hidden/token", "yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy");
    put("file", "zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz");
    put("bad-previous/token", "qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq");
    put("bad-previous/previous-token", "q");
    static const struct { const char *token, *backend; } cases[] = {
        { A43, "east" }, { D64, "west" }, { B43, "west" }, { "sssssssssssssssssssssssssssssssssssssssssss", "" },
        { "ttttttttttttttttttttttttttttttttttttttttttt", "" }, { "uuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuuu", "" }, { "short", "" },
        { C43, "" }, { "vvvvvvvvvvvvvvvvvvvv vvvvvvvvvvvvvvvvvvvvvv", "" }, { "wwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwwww", "" },
        { "xxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxxx", "" }, { "yyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyyy", "" },
        { "zzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzzz", "" }, { "qqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqqq", "" }, { "", "" },
    };
    REQUIRE(identity_open(&f, NULL, use_dir) && identity_seed(&f));
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        expect(&f, cases[i].token, cases[i].backend);
    _cleanup_free_ char *jwt = identity_login(&f, MAYAS_TOKEN); /* the store is asked as well */
    CHECK(jwt != NULL);
    fixture_close(&f);
    dir_remove_tree(dir, NULL);
}

static void what_it_may(void) {
    static const struct { const char *backend; int status; } cases[] = { { "east", 101 }, { "west", 403 }, { "eas", 403 }, { "East", 403 },
                                                                         { "east-2", 403 } };
    struct fixture f;
    int status;
    new_dir();
    put("east/token", A43);
    REQUIRE(identity_open(&f, NULL, use_dir));
    _cleanup_free_ char *jwt = identity_login(&f, A43);
    REQUIRE(jwt != NULL);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        osmo_ws_t *ws = identity_socket(&f, jwt, cases[i].backend, 5, &status);
        CHECK_INT(status, cases[i].status);
        if (ws) {
            osmo_ws_opened(ws);
            osmo_ws_closed(ws);
        }
    }
    struct answer a = ask_as(&f, jwt, "GET", "/api/configs/role", NULL, NULL);
    CHECK_INT(a.status, 403);
    answer_free(&a);
    a = ask_as(&f, jwt, "POST", "/api/auth/access_token/mine", "expires_at=2099-01-01", NULL);
    CHECK_INT(a.status, 403);
    answer_free(&a);
    a = ask_as(&f, A43, "GET", "/api/pool", NULL, NULL); /* itself as a bearer */
    CHECK_INT(a.status, 200);
    answer_free(&a);
    CHECK_INT(fixture_nsent(&f), 0);
    fixture_close(&f);
    dir_remove_tree(dir, NULL);
}

static int pool_status(struct fixture *f, const char *token) {
    struct answer a = ask_as(f, token, "GET", "/api/pool", NULL, NULL);
    int status = a.status;
    answer_free(&a);
    return status;
}

static void rotation(void) {
    struct fixture f;
    int status;
    new_dir();
    put("east/token", A43);
    put("west/token", D64);
    REQUIRE(identity_open(&f, NULL, use_dir));
    expect(&f, A43, "east");
    _cleanup_free_ char *jwt = identity_login(&f, A43);
    REQUIRE(jwt != NULL);
    CHECK_INT(pool_status(&f, jwt), 200);
    put("east/previous-token", A43); /* both hold the same one for a moment */
    expect(&f, A43, "");
    put("east/token", B43);
    expect(&f, A43, "east");
    expect(&f, B43, "east");
    osmo_ws_t *ws = identity_socket(&f, B43, "east", 1, &status);
    CHECK(ws == NULL && status == 503);
    _cleanup_free_ char *fresh = identity_login(&f, B43);
    REQUIRE(fresh != NULL);
    ws = identity_socket(&f, fresh, "east", 3, &status);
    REQUIRE(ws != NULL);
    osmo_ws_opened(ws);
    CHECK_INT(pool_status(&f, jwt), 200);
    drop("east/previous-token"); /* the exchange is over */
    expect(&f, A43, "");
    CHECK_INT(pool_status(&f, jwt), 401);
    CHECK_INT(pool_status(&f, fresh), 200);
    CHECK_INT(fixture_nsent(&f), 0);
    drop("east"); /* the credential goes: everything that came from it ends */
    expect(&f, A43, "");
    expect(&f, B43, "");
    CHECK_INT(pool_status(&f, jwt), 401);
    CHECK_INT(pool_status(&f, fresh), 401);
    CHECK_INT(pool_status(&f, B43), 401);
    CHECK_INT(identity_close_code(&f, 3), 4000);
    osmo_ws_closed(ws);
    expect(&f, D64, "west");
    put("east/token", C43);
    expect(&f, C43, "east");
    CHECK_INT(pool_status(&f, C43), 200);
    CHECK_INT(pool_status(&f, fresh), 401); /* another one of the name */
    put("east/token", B43);
    CHECK_INT(pool_status(&f, fresh), 200);
    fixture_close(&f);
    dir_remove_tree(dir, NULL);
}

/* In place and of the same size, as quickly as it can be. */
static void quick_changes(void) {
    struct fixture f;
    new_dir();
    put("east/token", A43);
    REQUIRE(identity_open(&f, NULL, use_dir));
    _cleanup_free_ char *file = str_printf("%s/east/token", dir);
    for (int i = 0; i < 40; i++) {
        char text[44];
        memset(text, 'a' + i % 26, 43);
        text[43] = '\0';
        FILE *out = fopen(file, "r+");
        REQUIRE(out != NULL);
        fputs(text, out);
        fclose(out);
        expect(&f, text, "east");
    }
    fixture_close(&f);
    dir_remove_tree(dir, NULL);
}

/* As a Secret is projected: files are links into a directory that one link names, which is swapped. */
static void projected(void) {
    struct fixture f;
    char at[400], to[400];
    new_dir();
    put("east/..one/token", A43);
    put("east/..two/token", B43);
    put("east/..two/previous-token", A43);
    snprintf(at, sizeof at, "%s/east/..data", dir);
    CHECK_INT(symlink("..one", at), 0);
    snprintf(at, sizeof at, "%s/east/token", dir);
    CHECK_INT(symlink("..data/token", at), 0);
    REQUIRE(identity_open(&f, NULL, use_dir));
    expect(&f, A43, "east");
    expect(&f, B43, "");
    snprintf(at, sizeof at, "%s/east/..data_tmp", dir);
    snprintf(to, sizeof to, "%s/east/..data", dir);
    CHECK_INT(symlink("..two", at), 0);
    CHECK_INT(rename(at, to), 0);
    expect(&f, B43, "east");
    expect(&f, A43, "east"); /* the link of previous-token beside it is not needed */
    fixture_close(&f);
    dir_remove_tree(dir, NULL);
}

static void unusable(void) {
    struct fixture f;
    osmo_error_t err = OSMO_ERROR_INIT;
    new_dir();
    REQUIRE(identity_open(&f, NULL, NULL) && identity_seed(&f));
    f.options.backend_token_dir = dir;
    osmo_service_close(f.service);
    CHECK_INT(osmo_service_open(&f.options, &f.service, &err), OSMO_EINVAL);
    CHECK_CONTAINS(err.text, "has no backend in it");
    f.options.backend_token_dir = "/nonexistent/tokens";
    CHECK(osmo_service_open(&f.options, &f.service, &err) < 0);
    CHECK_CONTAINS(err.text, "/nonexistent/tokens");
    f.service = NULL;
    put("east/token", A43);
    f.options.backend_token_dir = dir;
    REQUIRE(fixture_reopen(&f));
    expect(&f, A43, "east");
    dir_remove_tree(dir, NULL); /* later: as if it were empty */
    expect(&f, A43, "");
    _cleanup_free_ char *jwt = identity_login(&f, MAYAS_TOKEN);
    CHECK(jwt != NULL);
    fixture_close(&f);
}

static void on_both(void) { identity_both(rotation); }

static const struct check_test tests[] = {
    { "what is taken and what is ignored", what_is_taken },
    { "a backend's token serves that backend", what_it_may },
    { "tokens are exchanged and taken away", on_both },
    { "quick changes of a file", quick_changes },
    { "projected secrets", projected },
    { "directories that cannot be used", unusable },
};
TEST_MAIN("backend_tokens", tests)
