/* The routes of explain and of dead letters: shapes, rights and refusals. */
#include "base/cleanup.h"
#include "service_fixture.h"

static char *token_of(struct answer *a) {
    const char *t = json_get_str(a->json, "token");
    char *copy = t ? strdup(t) : NULL;
    answer_free(a);
    return copy;
}

static char *admin_jwt(struct fixture *f) {
    struct answer a = ask(f, "POST", "/api/auth/jwt/access_token", NULL, "{\"token\":\"" ADMIN_TOKEN "\"}", NULL);
    return token_of(&a);
}

/* A task's token has the role of a user, which is not enough for work items. */
static char *task_jwt(struct fixture *f, const struct seed *s) {
    char token[44];
    CHECK_INT(auth_task_refresh_token(f->engine, s->tasks[0], 0, token, NULL), 0);
    _cleanup_free_ char *body = str_printf("{\"token\":\"%s\"}", token);
    _cleanup_free_ char *query = str_printf("workflow_id=%s&group_name=g&task_name=t0&retry_id=0", s->id);
    struct answer a = ask(f, "POST", "/api/auth/jwt/refresh_token", query, body, NULL);
    return token_of(&a);
}

static void explain_route(void) {
    struct fixture f;
    struct seed s;
    REQUIRE(fixture_open(&f, OSMO_AUTH_REQUIRED, ADMIN_TOKEN));
    _cleanup_free_ char *jwt = admin_jwt(&f);
    CHECK(seed_workflow(&f, "wf", "maya", 2, &s));
    _cleanup_free_ char *path = str_printf("/api/workflow/%s/explain", s.id);
    struct answer a = ask_as(&f, jwt, "GET", path, NULL, NULL);
    CHECK_INT(a.status, 200);
    CHECK_STR(json_get_str(a.json, "name"), s.id);
    CHECK_STR(json_get_str(a.json, "status"), "RUNNING");
    CHECK(json_has(a.json, "summary") && json_has(a.json, "time"));
    CHECK(json_get(a.json, "failed_first") == NULL && json_has(a.json, "failed_first"));
    CHECK_INT(json_kind(json_get(a.json, "groups")), JSON_ARRAY);
    CHECK_INT(json_kind(json_get(a.json, "next")), JSON_ARRAY);
    CHECK(!json_get_bool(json_get(a.json, "backend"), "online", true));
    const json_t *g = json_at(json_get(a.json, "groups"), 0);
    CHECK_STR(json_get_str(g, "name"), "g");
    CHECK(json_get_str(json_at(json_get(g, "reasons"), 0), "message") != NULL);
    answer_free(&a);
    a = ask_as(&f, jwt, "GET", "/api/workflow/nope-1/explain", NULL, NULL);
    CHECK_INT(a.status, 400);
    CHECK_CONTAINS(a.body, "nope-1");
    answer_free(&a);
    a = ask(&f, "GET", path, NULL, NULL, NULL);
    CHECK_INT(a.status, 401);
    answer_free(&a);
    CHECK(seed_workflow_status(&f, &s, STATUS_FAILED_SUBMISSION, "it is wrong"));
    a = ask_as(&f, jwt, "GET", path, NULL, NULL);
    CHECK_STR(json_get_str(json_get(a.json, "failed_first"), "summary"), "the workflow ended first: FAILED_SUBMISSION: it is "
                                                                         "wrong");
    answer_free(&a);
    fixture_close(&f);
}

#define ITEMS 3

static int add_dead(db_t *db, void *ctx, osmo_error_t *err) {
    const struct seed *s = ctx;
    struct work_row *rows = NULL;
    size_t n = 0;
    int rc = 0;
    for (int i = 0; rc >= 0 && i < ITEMS; i++) {
        char key[40];
        snprintf(key, sizeof key, "%s%s", s->group_uuid, i ? i == 1 ? "-1" : "-2" : "");
        rc = repo_work_add(db, "cleanup_group", key, s->uuid, "elsewhere", 5, "{}", 1000, err);
    }
    if (rc >= 0)
        rc = repo_work_claim(db, "elsewhere", "me", 2000, 1000, ITEMS, &rows, &n, err);
    for (size_t i = 0; rc >= 0 && i < n; i++)
        rc = repo_work_kill(db, rows[i].id, "no such cluster", err);
    work_rows_free(rows, n);
    return rc;
}

static void dead_routes(void) {
    struct fixture f;
    struct seed s;
    osmo_error_t err = OSMO_ERROR_INIT;
    REQUIRE(fixture_open(&f, OSMO_AUTH_REQUIRED, ADMIN_TOKEN));
    CHECK(seed_workflow(&f, "wf", "maya", 2, &s));
    CHECK_OK(store_write(f.engine->store, NULL, add_dead, &s, &err), &err);
    _cleanup_free_ char *jwt = admin_jwt(&f), *task = task_jwt(&f, &s);
    struct answer a = ask_as(&f, jwt, "GET", "/api/work/dead", "limit=2", NULL);
    CHECK_INT(a.status, 200);
    const json_t *items = json_get(a.json, "items"), *first = json_at(items, 0);
    CHECK_INT(json_len(items), 2);
    CHECK(json_get_bool(a.json, "more_entries", false));
    CHECK_STR(json_get_str(first, "type"), "cleanup_group");
    CHECK_STR(json_get_str(first, "workflow_id"), s.id);
    CHECK_STR(json_get_str(first, "group"), "g");
    CHECK_STR(json_get_str(first, "last_error"), "no such cluster");
    CHECK_INT(json_get_int(first, "attempts", 0), 1);
    CHECK(json_get_str(first, "since") != NULL);
    int64_t id = json_get_int(first, "id", 0), second = json_get_int(json_at(items, 1), "id", 0);
    answer_free(&a);
    _cleanup_free_ char *rest = str_printf("limit=2&after=%lld", (long long)second);
    a = ask_as(&f, jwt, "GET", "/api/work/dead", rest, NULL);
    CHECK_INT(json_len(json_get(a.json, "items")), 1);
    CHECK(!json_get_bool(a.json, "more_entries", true));
    answer_free(&a);
    _cleanup_free_ char *retry = str_printf("/api/work/dead/%lld/retry", (long long)id);
    const struct { const char *token, *method, *path, *query; int status; const char *says; } cases[] = {
        { task, "GET", "/api/work/dead", NULL, 403, "token of a task" },
        { task, "POST", retry, NULL, 403, "token of a task" },
        { jwt, "GET", "/api/work/dead", "limit=0", 400, "limit is 0; it must be 1 to 1000" },
        { jwt, "GET", "/api/work/dead", "limit=1001", 400, "1000" },
        { jwt, "GET", "/api/work/dead", "limit=x", 422, "limit" },
        { jwt, "POST", "/api/work/dead/x/retry", NULL, 400, "neither a number nor 'all'" },
        { jwt, "POST", "/api/work/dead/-1/retry", NULL, 400, "neither a number nor 'all'" },
        { jwt, "POST", "/api/work/dead/99999/retry", NULL, 404, "99999 is not one that ran out of attempts" },
        { jwt, "POST", retry, NULL, 200, "{\"retried\":1}" },
        { jwt, "POST", retry, NULL, 404, "is not one that ran out of attempts" },
        { jwt, "POST", "/api/work/dead/all/retry", NULL, 200, "{\"retried\":2}" },
        { jwt, "POST", "/api/work/dead/all/retry", NULL, 200, "{\"retried\":0}" },
        { jwt, "GET", "/api/work/dead", NULL, 200, "{\"items\":[],\"more_entries\":false}" },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        a = ask_as(&f, cases[i].token, cases[i].method, cases[i].path, cases[i].query, NULL);
        CHECK_INT(a.status, cases[i].status);
        CHECK_CONTAINS(a.body, cases[i].says);
        answer_free(&a);
    }
    fixture_close(&f);
}

static const struct check_test tests[] = {
    { "explain", explain_route },
    { "dead letters", dead_routes },
};
TEST_MAIN("explain_api", tests)
