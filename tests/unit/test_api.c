/* Every route through osmo_service_handle on a real store: shapes, errors, storage round trip; and the route index
 * alone. */
#include "service_fixture.h"

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "engine/storage.h"

#define UPLOAD "0123456789abcdef0123456789abcdef"
#define UPLOAD2 "fedcba9876543210fedcba9876543210"
#define HELLO                                                                                                          \
    "workflow:\\n  name: hello\\n  tasks:\\n  - name: say\\n    image: ubuntu:24.04\\n    command: [echo, hi]\\n"

/* ---- the route index ---- */

static void route_index(void) {
    static const int all_workflows, one, logs, object, special;
    static const struct { const char *method, *path; const int *row; bool other; const char *first, *last; } cases[] = {
        { "GET", "/api/workflow", &all_workflows, false, NULL, NULL },
        { "POST", "/api/workflow", NULL, true, NULL, NULL },
        { "GET", "/api/workflow/a-1", &one, false, "a-1", "a-1" },
        { "GET", "/api/workflow/a-1/logs", &logs, false, "a-1", "a-1" },
        { "GET", "/api/workflow/special/logs", &logs, false, "special", "special" },
        { "GET", "/api/workflow/special", &special, false, NULL, NULL },
        { "GET", "/api/workflow/a-1/nothing", NULL, false, NULL, NULL },
        { "GET", "/api/storage/w/t/a/b/c", &object, false, "w", "a/b/c" },
        { "GET", "/api/storage/w/t", NULL, false, NULL, NULL },
        { "GET", "/", NULL, false, NULL, NULL },
        { "GET", "/api", NULL, false, NULL, NULL },
    };
    router_t *r = router_new();
    CHECK_INT(router_add(r, "GET", "/api/workflow", false, &all_workflows), 0);
    CHECK_INT(router_add(r, "GET", "/api/workflow/{}", false, &one), 0);
    CHECK_INT(router_add(r, "GET", "/api/workflow/{}/logs", false, &logs), 0);
    CHECK_INT(router_add(r, "GET", "/api/workflow/special", false, &special), 0);
    CHECK_INT(router_add(r, "GET", "/api/storage/{}/{}/{}", true, &object), 0);
    CHECK_INT(router_add(r, "GET", "/api/workflow/{}", false, &one), OSMO_EEXISTS);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct router_match m;
        CHECK_INT(router_find(r, cases[i].method, cases[i].path, &m), 0);
        CHECK(m.row == cases[i].row);
        CHECK(m.other_method == cases[i].other);
        if (cases[i].first) {
            CHECK_STR(m.params[0], cases[i].first);
            CHECK_STR(m.params[m.nparams - 1], cases[i].last);
        }
        router_match_clear(&m);
    }
    router_free(r);
    static const char *const paths[][2] = { { "//api//pool/", "/api/pool" }, { "", "/" }, { "/", "/" }, { "///", "/" },
        { "/a", "/a" }, { "a/b//", "/a/b" } };
    for (size_t i = 0; i < ARRAY_SIZE(paths); i++) {
        _cleanup_free_ char *got = path_canonical(paths[i][0]);
        CHECK_STR(got, paths[i][1]);
    }
}

/* ---- shapes ---- */

/* The members of each JSON answer, exactly as clients know them. */
static void shapes(void) {
    static const struct { const char *path, *query, *members; } cases[] = {
        { "/health", "", "status" },
        { "/api/version", "", "major minor revision hash" },
        { "/client/version", "", "major minor revision hash" },
        { "/api/auth/login", "",
            "device_endpoint device_client_id browser_endpoint browser_client_id token_endpoint logout_endpoint" },
        { "/api/auth/keys", "", "keys" },
        { "/api/profile/settings", "", "profile roles pools token" },
        { "//api/pool", "", "pools node_sets" },
        { "//api/pool_quota/", "all_pools=False&pools=default", "node_sets resource_sum" },
        { "/api/resources", "all_pools=True", "resources" },
        { "/api/resources", "concise=true", "pools" },
        { "/api/workflow", "limit=0&all_pools=True", "workflows more_entries" },
        { "/api/task", "all_users=True&all_pools=True", "tasks" },
        { "/api/task", "summary=True&all_users=True&all_pools=True", "summaries" },
        { "/api/tag", "", "tags" },
        { "/api/plugins/configs", "", "rsync" },
        { "/api/credentials", "", "credentials" },
        { "/api/configs/backend", "", "backends" },
    };
    struct fixture f;
    REQUIRE(fixture_open(&f, OSMO_AUTH_DEV, NULL));
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct answer a = ask(&f, "GET", cases[i].path, cases[i].query, NULL, NULL);
        buf_t names = BUF_INIT(4096);
        json_iter_t it = json_iter(a.json);
        while (json_iter_next(&it))
            buf_printf(&names, "%s%s", names.len ? " " : "", it.key);
        if (a.status != 200)
            fprintf(stderr, "%s: %s\n", cases[i].path, a.body ? a.body : "");
        CHECK_INT(a.status, 200);
        CHECK_STR(buf_cstr(&names), cases[i].members);
        CHECK_STR(a.rs.content_type, "application/json");
        buf_free(&names);
        answer_free(&a);
    }
    struct answer a = ask(&f, "GET", "/api/version", "", NULL, NULL);
    CHECK_STR(a.body, "{\"major\":\"6\",\"minor\":\"4\",\"revision\":\"0\",\"hash\":\"\"}");
    answer_free(&a);
    a = ask(&f, "GET", "/api/pool_quota", "", NULL, NULL);
    json_t *pool = json_at(json_get(json_at(json_get(a.json, "node_sets"), 0), "pools"), 0);
    CHECK_STR(json_get_str(pool, "name"), "default");
    CHECK_STR(json_get_str(pool, "status"), "OFFLINE");
    CHECK_STR(json_get_str(json_get(pool, "resource_usage"), "quota_used"), "0");
    answer_free(&a);
    fixture_close(&f);
}

static const struct { const char *method, *path, *query, *body; int status; const char *part; } refusals[] = {
    { "GET", "/", "", NULL, 404, "{\"detail\":\"Not Found\"}" },
    { "GET", "/api/nothing", "", NULL, 404, "{\"detail\":\"Not Found\"}" },
    { "DELETE", "/api/workflow", "", NULL, 405, "{\"detail\":\"Method Not Allowed\"}" },
    { "GET", "/api/workflow/nope-1", "", NULL, 400, "\"error_code\":\"DATABASE\"" },
    { "GET", "/api/workflow/nope-1/logs", "", NULL, 400, "not found" },
    { "GET", "/api/workflow/nope-1/watch", "", NULL, 400, "not found" },
    { "POST", "/api/workflow/nope-1/cancel", "", NULL, 400, "DATABASE" },
    { "GET", "/api/resources/nope", "", NULL, 404, "does not exist" },
    { "GET", "/api/configs/backend/nope", "", NULL, 404, "does not exist" },
    { "GET", "/api/storage/nope-1/t", "list=true", NULL, 404, "not found" },
    { "GET", "/api/workflow", "limit=x", NULL, 422, "\"loc\":[\"query\",\"limit\"]" },
    { "GET", "/api/workflow", "limit=-1", NULL, 422, "greater_than_equal" },
    { "GET", "/api/workflow", "all_pools=perhaps", NULL, 422, "bool_parsing" },
    { "GET", "/api/workflow", "statuses=GONE&all_pools=1", NULL, 422, "enum" },
    { "GET", "/api/workflow", "order=up&all_pools=1", NULL, 422, "enum" },
    { "GET", "/api/workflow", "submitted_after=yesterday&all_pools=1", NULL, 422, "datetime_parsing" },
    { "GET", "/api/workflow", "label=team&all_pools=1", NULL, 400, "USAGE" },
    { "GET", "/api/workflow", "name=%zz", NULL, 400, "percent" },
    { "GET", "/api/workflow", "name=%ff", NULL, 400, "UTF-8" },
    { "GET", "/api/task", "limit=0&all_pools=1", NULL, 400, "USER" },
    { "POST", "/api/profile/settings", "", "{\"pool\":\"nope\"}", 400, "Pool nope" },
    { "POST", "/api/profile/settings", "", "{\"pool\":5}", 422, "string_type" },
    { "POST", "/api/profile/settings", "", "{\"email_notification\":\"x\"}", 422, "bool_type" },
    { "POST", "/api/profile/settings", "", "{", 422, "json_invalid" },
    { "POST", "/api/profile/settings", "", "[1]", 422, "detail" },
    { "POST", "/api/profile/settings", "", "{\"username\":\"root\"}", 400, "DATABASE" },
    { "POST", "/api/pool/default/workflow", "", NULL, 400, "USAGE" },
    { "POST", "/api/pool/default/workflow", "workflow_id=a-1", "{\"file\":\"x\"}", 400, "USAGE" },
    { "POST", "/api/pool/default/workflow", "", "{}", 422, "\"loc\":[\"body\",\"file\"]" },
    { "POST", "/api/pool/default/workflow", "", "{\"file\":1}", 422, "string_type" },
    { "POST", "/api/pool/default/workflow", "", "{\"file\":\"x\",\"extra\":1}", 422, "extra_forbidden" },
    { "POST", "/api/pool/default/workflow", "", "{\"file\":\"x\",\"set_variables\":\"a=b\"}", 422, "list_type" },
    { "POST", "/api/pool/default/workflow", "", "{\"file\":\"x\",\"set_variables\":[1]}", 422, "string_type" },
    { "POST", "/api/pool/default/workflow", "priority=URGENT", "{\"file\":\"x\"}", 422, "priority" },
    { "POST", "/api/pool/default/workflow", "dry_run=maybe", "{\"file\":\"x\"}", 422, "dry_run" },
    { "POST", "/api/pool/nope/workflow", "", "{\"file\":\"" HELLO "\"}", 400, "USER" },
    { "POST", "/api/auth/jwt/refresh_token", "", "{\"token\":\"x\"}", 422, "workflow_id" },
};

static void errors(void) {
    struct fixture f;
    REQUIRE(fixture_open(&f, OSMO_AUTH_DEV, NULL));
    for (size_t i = 0; i < ARRAY_SIZE(refusals); i++) {
        struct answer a = ask(&f, refusals[i].method, refusals[i].path, refusals[i].query, refusals[i].body, NULL);
        if (a.status != refusals[i].status)
            fprintf(stderr, "%s %s?%s: %s\n", refusals[i].method, refusals[i].path, refusals[i].query, a.body ? a.body
                    : "");
        CHECK_INT(a.status, refusals[i].status);
        CHECK_CONTAINS(a.body, refusals[i].part);
        answer_free(&a);
    }
    _cleanup_free_ char *big = malloc(70001);
    memset(big, 'x', 70000);
    big[70000] = '\0';
    struct answer a = ask(&f, "POST", "/api/profile/settings", "", big, NULL);
    CHECK_INT(a.status, 413);
    answer_free(&a);
    int to_file;
    CHECK_INT(osmo_service_body_limit(f.service, "PUT", "//api/storage/w/t/a/b", &to_file), 1LL << 40);
    CHECK_INT(to_file, 1);
    CHECK_INT(osmo_service_body_limit(f.service, "GET", "/nowhere", &to_file), 65536);
    CHECK_INT(to_file, 0);
    fixture_close(&f);
}

static void roles_and_versions(void) {
    static const struct { const char *version; int status; const char *header; } cases[] = {
        { "6.4.0", 200, NULL }, { "7.0.0", 200, NULL }, { "6.4.0.abc", 200, NULL },
        { "6.3.9", 200, "x-osmo-warning" }, { "6", 400, NULL }, { "6.4.x", 400, NULL }, { "6.4.0.a b", 400, NULL },
    };
    struct fixture f;
    REQUIRE(fixture_open(&f, OSMO_AUTH_DEV, NULL));
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const char *h[] = { "x-osmo-client-version", cases[i].version, NULL };
        struct answer a = ask(&f, "GET", "/api/tag", "", NULL, h);
        bool found = false;
        for (char **p = a.rs.headers; p && *p; p += 2)
            found |= cases[i].header && !strcmp(p[0], cases[i].header);
        CHECK_INT(a.status, cases[i].status);
        CHECK(found == (cases[i].header != NULL));
        if (a.status == 400)
            CHECK_STR(json_get_str(a.json, "error_code"), "OSMO_ERROR");
        answer_free(&a);
    }
    f.options.roles = "logger";
    CHECK(fixture_reopen(&f));
    struct answer a = ask(&f, "GET", "/api/workflow", "", NULL, NULL);
    CHECK_INT(a.status, 404);
    answer_free(&a);
    a = ask(&f, "GET", "/health", "", NULL, NULL);
    CHECK_INT(a.status, 200);
    answer_free(&a);
    fixture_close(&f);
}

/* ---- workflows ---- */

static void workflow_detail(void) {
    struct fixture f;
    struct seed s;
    REQUIRE(fixture_open(&f, OSMO_AUTH_DEV, NULL));
    CHECK(seed_workflow(&f, "grasp", "testuser", 2, &s));
    _cleanup_free_ char *path = str_printf("/api/workflow/%s", s.id);
    struct answer a = ask(&f, "GET", path, "verbose=False", NULL, NULL);
    CHECK_INT(a.status, 200);
    CHECK_STR(json_get_str(a.json, "name"), "grasp-1");
    CHECK_STR(json_get_str(a.json, "uuid"), s.uuid);
    CHECK_STR(json_get_str(a.json, "overview"), "http://127.0.0.1:8000/workflows/grasp-1");
    CHECK_STR(json_get_str(a.json, "logs"), "http://127.0.0.1:8000/api/workflow/grasp-1/logs?last_n_lines=1000");
    CHECK(!strchr(json_get_str(a.json, "submit_time") ? json_get_str(a.json, "submit_time") : "Z", 'Z'));
    static const char *const members[] = { "spec", "template_spec", "events", "parent_name", "parent_job_id",
        "dashboard_url", "grafana_url", "tags",
        "start_time", "end_time", "exec_timeout", "queue_timeout", "duration", "queued_time", "status", "outputs",
            "groups", "pool", "backend",
        "app_owner", "app_name", "app_version", "plugins", "priority", "labels", "warnings", "cancelled_by",
            "submitted_by" };
    for (size_t i = 0; i < ARRAY_SIZE(members); i++)
        CHECK(json_has(a.json, members[i]));
    json_t *group = json_at(json_get(a.json, "groups"), 0), *task = json_at(json_get(group, "tasks"), 0);
    CHECK_INT(json_len(json_get(group, "tasks")), 2);
    CHECK_STR(json_get_str(task, "name"), "t0");
    CHECK(json_has(task, "exit_code") && !json_get(task, "exit_code"));
    CHECK(json_get_bool(task, "lead", false));
    CHECK_STR(json_get_str(task, "task_uuid"), s.tasks[0]);
    answer_free(&a);
    _cleanup_free_ char *by_uuid = str_printf("/api/workflow/%s/task/t1", s.uuid);
    a = ask(&f, "GET", by_uuid, "", NULL, NULL);
    CHECK_INT(a.status, 200);
    CHECK_STR(json_get_str(a.json, "workflow_id"), "grasp-1");
    CHECK_INT(json_get_int(a.json, "cpu", 0), 1);
    answer_free(&a);
    a = ask(&f, "GET", "/api/workflow", "limit=1&all_pools=True&order=DESC", NULL, NULL);
    CHECK_INT(json_len(json_get(a.json, "workflows")), 1);
    CHECK(!json_get_bool(a.json, "more_entries", true));
    answer_free(&a);
    a = ask(&f, "GET", "/api/workflow", "limit=0&all_pools=True", NULL, NULL);
    CHECK(json_get_bool(a.json, "more_entries", false));
    answer_free(&a);
    a = ask(&f, "GET", "/api/task", "statuses=RUNNING&all_pools=True", NULL, NULL);
    CHECK_INT(json_len(json_get(a.json, "tasks")), 2);
    answer_free(&a);
    a = ask(&f, "GET", "/api/task", "statuses=COMPLETED&all_pools=True", NULL, NULL);
    CHECK_INT(json_len(json_get(a.json, "tasks")), 0);
    answer_free(&a);
    a = ask(&f, "GET", "/api/task", "summary=True&all_pools=True", NULL, NULL);
    CHECK_INT(json_get_int(json_at(json_get(a.json, "summaries"), 0), "cpu", 0), 2);
    answer_free(&a);
    a = ask(&f, "GET", "/api/users", "", NULL, NULL);
    CHECK_STR(a.body, "[\"testuser\"]");
    answer_free(&a);
    fixture_close(&f);
}

static void submit_and_cancel(void) {
    struct fixture f;
    REQUIRE(fixture_open(&f, OSMO_AUTH_DEV, NULL));
    struct answer a = ask(&f, "POST", "/api/pool/default/workflow", "dry_run=True", "{\"file\":\"" HELLO "\"}", NULL);
    CHECK_INT(a.status, 200);
    CHECK_STR(json_get_str(a.json, "name"), "hello");
    CHECK_CONTAINS(json_get_str(a.json, "spec"), "workflow:");
    answer_free(&a);
    a = ask(&f, "POST", "/api/pool/default/workflow", "validation_only=True", "{\"file\":\"" HELLO "\"}", NULL);
    CHECK_INT(a.status, 200);
    CHECK(json_get_str(a.json, "logs") != NULL);
    answer_free(&a);
    a = ask(&f, "POST", "/api/pool/default/workflow", "priority=NORMAL&label=team=arm", "{\"file\":\"" HELLO "\"}",
            NULL);
    if (a.status != 200)
        fprintf(stderr, "submit: %s\n", a.body ? a.body : "");
    CHECK_INT(a.status, 200);
    CHECK_STR(json_get_str(a.json, "name"), "hello-1");
    CHECK_STR(json_get_str(a.json, "overview"), "http://127.0.0.1:8000/workflows/hello-1");
    answer_free(&a);
    a = ask(&f, "GET", "/api/workflow/hello-1/spec", "", NULL, NULL);
    CHECK_INT(a.status, 200);
    CHECK_CONTAINS(a.body, "hello");
    answer_free(&a);
    a = ask(&f, "POST", "/api/workflow/hello-1/cancel", "force=False&message=wrong%20data", NULL, NULL);
    CHECK_INT(a.status, 200);
    CHECK_STR(a.body, "{\"name\":\"hello-1\"}");
    answer_free(&a);
    a = ask(&f, "POST", "/api/workflow/hello-1/cancel", "", NULL, NULL);
    CHECK_INT(a.status, 400);
    answer_free(&a);
    a = ask(&f, "GET", "/api/workflow/hello-1/watch", "", NULL, NULL);
    bool ended;
    _cleanup_free_ char *lines = drain(&a, &ended);
    CHECK_CONTAINS(lines, "{\"name\":\"hello-1\",\"status\":\"FAILED_CANCELED\"");
    CHECK(ended);
    answer_free(&a);
    fixture_close(&f);
}

static void profile_changes(void) {
    struct fixture f;
    REQUIRE(fixture_open(&f, OSMO_AUTH_DEV, NULL));
    struct answer a = ask(&f, "POST", "/api/profile/settings", "",
                          "{\"pool\":\"default\",\"email_notification\":true,\"slack_notification\":null}", NULL);
    CHECK_INT(a.status, 200);
    CHECK_STR(a.body, "null");
    answer_free(&a);
    a = ask(&f, "GET", "/api/profile/settings", "", NULL, NULL);
    CHECK_STR(json_get_str(json_get(a.json, "profile"), "pool"), "default");
    CHECK(json_get_bool(json_get(a.json, "profile"), "email_notification", false));
    answer_free(&a);
    fixture_close(&f);
}

/* ---- nodes ---- */

static int add_node(db_t *db, void *ctx, osmo_error_t *err) {
    struct backend_row b = { .name = (char *)"default", .k8s_uid = (char *)"u", .k8s_namespace = (char *)"ns",
        .version = (char *)"6.4.0",
                             .node_prefix = (char *)"osmo.nvidia.com/", .heartbeat_us = *(int64_t *)ctx,
                                 .created_us = 1 };
    struct node_row n = { .name = (char *)"node-17", .backend = (char *)"default", .available = true,
        .labels_json = (char *)"{}",
                          .taints_json = (char *)"[]", .conditions_json = (char *)"[]", .usage_json = (char *)"{}" };
    n.foreign_usage_json = (char *)"{}";
    n.allocatable_json = (char *)"{\"cpu\":\"128\",\"memory\":\"2100000000Ki\","
                                 "\"ephemeral-storage\":\"1920383410176\",\"nvidia.com/gpu\":\"8\"}";
    int rc = repo_backend_upsert(db, &b, err);
    if (rc >= 0)
        rc = repo_node_upsert(db, &n, err);
    return rc < 0 ? rc : repo_node_usage(db, "default", "node-17",
        "{\"cpu\":\"16\",\"memory\":\"128Gi\",\"ephemeral-storage\":\"100Gi\",\"nvidia.com/gpu\":\"4\"}",
        "{\"cpu\":\"500m\",\"memory\":\"4Gi\",\"ephemeral-storage\":\"0\",\"nvidia.com/gpu\":\"0\"}", err);
}

static void nodes_and_quota(void) {
    struct fixture f;
    osmo_error_t err = OSMO_ERROR_INIT;
    int64_t now_us = clock_now_us();
    REQUIRE(fixture_open(&f, OSMO_AUTH_DEV, NULL));
    CHECK_OK(store_write(f.engine->store, NULL, add_node, &now_us, &err), &err);
    struct answer a = ask(&f, "GET", "/api/resources", "pools=default&all_pools=False", NULL, NULL);
    json_t *n = json_at(json_get(a.json, "resources"), 0);
    const struct settings *settings = engine_settings(f.engine);
    const struct pool *p = &settings->pools[0];
    const char *platform = p->platforms[0].name;
    CHECK_STR(json_get_str(n, "hostname"), "node-17");
    CHECK_STR(json_get_str(json_get(n, "exposed_fields"), "memory"), "2002");
    CHECK_STR(json_get_str(json_get(n, "exposed_fields"), "gpu"), "8");
    CHECK_STR(json_get_str(json_get(n, "usage_fields"), "storage"), "100Gi");
    CHECK_STR(json_get_str(json_get(n, "allocatable_fields"), "memory"), "2100000000Ki");
    CHECK_STR(json_get_str(json_get(n, "non_workflow_usage_fields"), "nvidia.com/gpu"), "0");
    CHECK_STR(json_get_str(n, "resource_type"), "RESERVED");
    CHECK_INT(json_get_int(json_path(n, "platform_allocatable_fields", p->name, platform, NULL), "cpu", 0), 127);
    CHECK_INT(json_get_int(json_path(n, "platform_available_fields", p->name, platform, NULL), "cpu", 0), 111);
    CHECK_INT(json_get_int(json_path(n, "platform_available_fields", p->name, platform, NULL), "gpu", 0), 4);
    CHECK(json_path(n, "config_fields", p->name, platform, NULL) != NULL);
    CHECK_STR(json_str(json_at(json_path(n, "pool_platform_labels", p->name, NULL), 0)), platform);
    answer_free(&a);
    a = ask(&f, "GET", "/api/resources", "pools=other", NULL, NULL);
    CHECK_STR(a.body, "{\"resources\":[]}");
    answer_free(&a);
    a = ask(&f, "GET", "/api/resources/node-17", "", NULL, NULL);
    CHECK_INT(json_len(json_get(a.json, "resources")), 1);
    answer_free(&a);
    a = ask(&f, "GET", "/api/resources", "concise=True", NULL, NULL);
    CHECK_INT(json_get_double(json_get(json_at(json_get(a.json, "pools"), 0), "allocatable_fields"), "cpu", 0), 128);
    answer_free(&a);
    a = ask(&f, "GET", "/api/pool_quota", "", NULL, NULL);
    CHECK_STR(json_get_str(json_get(a.json, "resource_sum"), "total_capacity"), "8");
    CHECK_STR(json_get_str(json_get(a.json, "resource_sum"), "total_free"), "4");
    CHECK_STR(json_get_str(json_get(a.json, "resource_sum"), "quota_limit"), "8");
    answer_free(&a);
    a = ask(&f, "GET", "/api/pool", "", NULL, NULL);
    CHECK_STR(json_get_str(json_path(a.json, "pools", "default", NULL), "status"), "ONLINE");
    answer_free(&a);
    a = ask(&f, "GET", "/api/configs/backend/default", "", NULL, NULL);
    CHECK(json_get_bool(a.json, "online", false));
    CHECK_STR(json_get_str(a.json, "router_address"), "ws://127.0.0.1:8000");
    answer_free(&a);
    engine_settings_put(settings);
    fixture_close(&f);
}

/* ---- storage ---- */

static char *read_body_fd(struct answer *a) {
    static char text[256];
    ssize_t n = a->rs.body_fd >= 0 ? pread(a->rs.body_fd, text, sizeof text - 1, (off_t)a->rs.body_fd_offset) : -1;
    text[n > 0 ? n : 0] = '\0';
    return text;
}

static void storage_round_trip(void) {
    struct fixture f;
    struct seed s;
    REQUIRE(fixture_open(&f, OSMO_AUTH_DEV, NULL));
    CHECK(seed_workflow(&f, "data", "testuser", 1, &s));
    struct answer a = ask(&f, "GET", "/api/storage/data-1/t0", "list=true", NULL, NULL);
    CHECK_STR(a.body, "{\"objects\":[]}");
    answer_free(&a);
    a = ask(&f, "PUT", "/api/storage/data-1/t0/dir/a.txt", "upload=" UPLOAD "&mode=0755", "hello", NULL);
    CHECK_INT(a.status, 200);
    CHECK_STR(a.body, "{\"size\":5,\"sha256\":\"2cf24dba5fb0a30e26e83b2ac5b9e29e1b161e5c1fa7425e73043362938b9824\"}");
    answer_free(&a);
    a = ask(&f, "PUT", "/api/storage/data-1/t0/empty", "upload=" UPLOAD, NULL, NULL);
    CHECK_INT(a.status, 200);
    answer_free(&a);
    a = ask(&f, "GET", "/api/storage/data-1/t0/dir/a.txt", "", NULL, NULL);
    CHECK_INT(a.status, 404);
    answer_free(&a);
    for (int i = 0; i < 2; i++) { /* a repeated commit changes nothing */
        a = ask(&f, "POST", "/api/storage/data-1/t0", "commit=" UPLOAD, NULL, NULL);
        CHECK_STR(a.body, "{\"objects\":2}");
        answer_free(&a);
    }
    a = ask(&f, "GET", "/api/storage/data-1/t0/dir/a.txt", "", NULL, NULL);
    CHECK_INT(a.status, 200);
    CHECK_INT(a.rs.body_fd_len, 5);
    CHECK_STR(read_body_fd(&a), "hello");
    CHECK_STR(a.rs.headers[0], "x-osmo-mode");
    CHECK_STR(a.rs.headers[1], "0755");
    answer_free(&a);
    a = ask(&f, "PUT", "/api/storage/data-1/t0/b", "upload=" UPLOAD2, "second", NULL);
    answer_free(&a);
    a = ask(&f, "POST", "/api/storage/data-1/t0", "commit=" UPLOAD2, NULL, NULL);
    CHECK_STR(a.body, "{\"objects\":1}");
    answer_free(&a);
    a = ask(&f, "GET", "/api/storage/data-1/t0", "list=true", NULL, NULL);
    CHECK_CONTAINS(a.body, "{\"objects\":[{\"path\":\"b\",\"size\":6,\"mode\":420");
    answer_free(&a);
    fixture_close(&f);
}

static void storage_refusals(void) {
    static const struct { const char *method, *path, *query; int status; } cases[] = {
        { "PUT", "/api/storage/data-1/t0/../x", "upload=" UPLOAD, 400 },
        { "PUT", "/api/storage/data-1/t0/a/./x", "upload=" UPLOAD, 400 },
        { "PUT", "/api/storage/data-1/t0/d/x", "upload=" UPLOAD2, 200 },
        { "PUT", "/api/storage/data-1/t0/d", "upload=" UPLOAD2, 400 },
        { "PUT", "/api/storage/data-1/t0/d/x/y", "upload=" UPLOAD2, 400 },
        { "PUT", "/api/storage/data-1/t0/x", "", 422 },
        { "PUT", "/api/storage/data-1/t0/x", "upload=../../../../../../../etc/passwd0", 422 },
        { "PUT", "/api/storage/data-1/t0/x", "upload=" UPLOAD "&mode=9", 422 },
        { "PUT", "/api/storage/data-1/t9/x", "upload=" UPLOAD, 404 },
        { "PUT", "/api/storage/nope-1/t0/x", "upload=" UPLOAD, 404 },
        { "POST", "/api/storage/data-1/t0", "", 422 },
        { "GET", "/api/storage/data-1/t0", "", 400 },
        { "GET", "/api/storage/data-1/.staging/x", "", 400 },
        { "GET", "/api/storage/data-1/t0/upload", "", 404 },
        { "GET", "/api/storage/data-1/t0/link", "", 404 },
        { "GET", "/api/storage/data-1/t0/dirlink/passwd", "", 404 },
    };
    struct fixture f;
    struct seed s;
    REQUIRE(fixture_open(&f, OSMO_AUTH_DEV, NULL));
    CHECK(seed_workflow(&f, "data", "testuser", 1, &s));
    struct answer a = ask(&f, "PUT", "/api/storage/data-1/t0/f", "upload=" UPLOAD, "x", NULL);
    answer_free(&a);
    a = ask(&f, "POST", "/api/storage/data-1/t0", "commit=" UPLOAD, NULL, NULL);
    CHECK_INT(a.status, 200);
    answer_free(&a);
    char link[128];
    snprintf(link, sizeof link, "%s/storage/data-1/t0/data/link", f.dir);
    CHECK_INT(symlink("/etc/passwd", link), 0);
    snprintf(link, sizeof link, "%s/storage/data-1/t0/data/dirlink", f.dir);
    CHECK_INT(symlink("/etc", link), 0);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        a = ask(&f, cases[i].method, cases[i].path, cases[i].query, NULL, NULL);
        if (a.status != cases[i].status)
            fprintf(stderr, "%s %s: %s\n", cases[i].method, cases[i].path, a.body ? a.body : "");
        CHECK_INT(a.status, cases[i].status);
        answer_free(&a);
    }
    fixture_close(&f);
}

static struct answer as_task(struct fixture *f, const char *user, const char *workflow, const char *task, int retry,
                             const char *method,
                             const char *path, const char *query) {
    char *jwt = NULL;
    struct answer none = { .rs.body_fd = -1 };
    if (auth_task_jwt(f->engine, user, workflow, "g", task, retry, &jwt, NULL) < 0)
        return none;
    struct answer a = ask_as(f, jwt, method, path, query, NULL);
    free(jwt);
    return a;
}

static void storage_authorization(void) {
    static const struct { const char *user, *workflow, *task; int retry; const char *method, *path,
        *query; int status; } cases[] = {
        { "maya", "a-1", "t0", 0, "PUT", "/api/storage/a-1/t0/x", "upload=" UPLOAD, 200 },
        { "maya", "a-1", "t0", 0, "POST", "/api/storage/a-1/t0", "commit=" UPLOAD, 200 },
        { "maya", "a-1", "t1", 0, "PUT", "/api/storage/a-1/t0/x", "upload=" UPLOAD, 403 },
        { "maya", "b-1", "t0", 0, "PUT", "/api/storage/a-1/t0/x", "upload=" UPLOAD, 403 },
        { "maya", "a-1", "t0", 1, "PUT", "/api/storage/a-1/t0/x", "upload=" UPLOAD, 401 },
        { "maya", "a-1", "t1", 0, "GET", "/api/storage/a-1/t0/x", "", 200 },
        { "maya", "b-1", "t0", 0, "GET", "/api/storage/a-1/t0/x", "", 200 },
        { "theo", "c-1", "t0", 0, "GET", "/api/storage/a-1/t0/x", "", 403 },
        { "theo", "c-1", "t0", 0, "GET", "/api/storage/a-1/t0", "list=true", 403 },
    };
    struct fixture f;
    struct seed a_seed, b_seed, c_seed;
    REQUIRE(fixture_open(&f, OSMO_AUTH_REQUIRED, ADMIN_TOKEN));
    CHECK(seed_workflow(&f, "a", "maya", 2, &a_seed) && seed_workflow(&f, "b", "maya", 1, &b_seed) &&
          seed_workflow(&f, "c", "theo", 1, &c_seed));
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct answer a = as_task(&f, cases[i].user, cases[i].workflow, cases[i].task, cases[i].retry, cases[i].method,
                                  cases[i].path, cases[i].query);
        if (a.status != cases[i].status)
            fprintf(stderr, "case %zu: %s\n", i, a.body ? a.body : "");
        CHECK_INT(a.status, cases[i].status);
        answer_free(&a);
    }
    fixture_close(&f);
}

/* A spooled body is moved, not copied, into place. */
static void storage_body_file(void) {
    struct fixture f;
    struct seed s;
    char spool[128];
    REQUIRE(fixture_open(&f, OSMO_AUTH_DEV, NULL));
    CHECK(seed_workflow(&f, "data", "testuser", 1, &s));
    snprintf(spool, sizeof spool, "%s/spooled", f.dir);
    FILE *out = fopen(spool, "w");
    REQUIRE(out != NULL);
    fputs("spooled", out);
    fclose(out);
    const char *headers[] = { "host", "localhost", NULL };
    osmo_request_t rq = { .size = sizeof rq, .method = "PUT", .path = "/api/storage/data-1/t0/x",
        .query = "upload=" UPLOAD, .headers = headers,
                          .body_file = spool };
    osmo_response_t rs;
    osmo_service_handle(f.service, &rq, &rs);
    CHECK_INT(rs.status, 200);
    CHECK_CONTAINS(rs.body, "\"size\":7");
    CHECK(access(spool, F_OK) != 0);
    osmo_response_clear(&rs);
    fixture_close(&f);
}

/* ---- many at once ---- */

struct client { struct fixture *f; int number, failures; };

static void *client_main(void *arg) {
    static const char *const paths[] = { "/api/workflow/data-1",
                                         "/api/workflow",
                                         "/api/task",
                                         "/api/pool_quota",
                                         "/api/resources",
                                         "/api/workflow/data-1/logs",
                                         "/api/workflow/data-1/watch",
                                         "/api/auth/keys" };
    struct client *c = arg;
    for (int i = 0; i < 24; i++) {
        char put[80];
        bool ended;
        struct answer a = ask(c->f, "GET", paths[(i + c->number) % (int)ARRAY_SIZE(paths)], "all_pools=true", NULL,
                              NULL);
        free(drain(&a, &ended));
        c->failures += a.status != 200;
        answer_free(&a);
        snprintf(put, sizeof put, "/api/storage/data-1/t0/c%d/f%d", c->number, i);
        a = ask(c->f, "PUT", put, "upload=" UPLOAD, "x", NULL);
        c->failures += a.status != 200;
        answer_free(&a);
    }
    return NULL;
}

static void many_clients(void) {
    struct fixture f;
    struct seed s;
    struct client clients[6];
    pthread_t threads[6];
    REQUIRE(fixture_open(&f, OSMO_AUTH_DEV, NULL));
    CHECK(seed_workflow(&f, "data", "testuser", 1, &s));
    for (int i = 0; i < 6; i++) {
        clients[i] = (struct client){ &f, i, 0 };
        REQUIRE(pthread_create(&threads[i], NULL, client_main, &clients[i]) == 0);
    }
    for (int i = 0; i < 6; i++) {
        pthread_join(threads[i], NULL);
        CHECK_INT(clients[i].failures, 0);
    }
    struct answer a = ask(&f, "POST", "/api/storage/data-1/t0", "commit=" UPLOAD, NULL, NULL);
    CHECK_STR(a.body, "{\"objects\":144}");
    answer_free(&a);
    fixture_close(&f);
}

static const struct check_test tests[] = {
    { "route index", route_index },
    { "members of every answer", shapes },
    { "every refusal has its status and words", errors },
    { "roles and client versions", roles_and_versions },
    { "workflow, task and lists", workflow_detail },
    { "submit, watch and cancel", submit_and_cancel },
    { "profile changes", profile_changes },
    { "nodes and quota", nodes_and_quota },
    { "storage round trip", storage_round_trip },
    { "storage refusals", storage_refusals },
    { "storage authorization", storage_authorization },
    { "storage takes spooled bodies", storage_body_file },
    { "many clients at once", many_clients },
};
TEST_MAIN("api", tests)
