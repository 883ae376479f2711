/* The configuration routes through the service, on both databases: pools, platforms and roles are written, shown, refused, kept. */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/file.h"
#include "engine/access.h"
#include "pgsql_fixture.h"
#include "service_fixture.h"
#include "signing_key.h"

static bool on_pgsql;

/* false: there is no PostgreSQL here. */
static bool open_service(struct fixture *f) {
    osmo_error_t err = OSMO_ERROR_INIT;
    char *url = on_pgsql ? pgsql_fixture_url() : NULL;
    if (on_pgsql && !url)
        return false;
    bool good = fixture_open(f, OSMO_AUTH_DEV, NULL);
    if (good && url) {
        CHECK_OK(signing_key_seed(url, &err), &err);
        f->options.database = url;
        good = fixture_reopen(f);
    }
    CHECK(good);
    return good;
}

static void close_service(struct fixture *f) {
    char *url = (char *)(uintptr_t)f->options.database;
    fixture_close(f);
    free(url);
}

static void on_both(void (*body)(struct fixture *f)) {
    struct fixture f;
    for (int i = 0; i < 2; i++) {
        on_pgsql = i;
        if (!open_service(&f))
            return;
        body(&f);
        close_service(&f);
    }
}

/* ---- requests one after the other ---- */

struct step { const char *method, *path, *query, *body; int status; const char *part; /* "!x": x is not in it */ };

static void run_steps(struct fixture *f, const struct step *steps, size_t n) {
    for (size_t i = 0; i < n; i++) {
        const struct step *s = &steps[i];
        struct answer a = ask(f, s->method, s->path, s->query, s->body, NULL);
        const char *body = a.body ? a.body : "";
        bool absent = s->part && s->part[0] == '!';
        bool good = a.status == s->status && (!s->part || absent == !strstr(body, s->part + absent));
        if (!good)
            fprintf(stderr, "step %zu: %s %s %s: %d %s\n", i, s->method, s->path, s->body ? s->body : "", a.status, body);
        CHECK(good);
        answer_free(&a);
    }
}

#define POOL "/api/configs/pool"
#define NEW "{\"configs\":{\"backend\":\"default\",\"common_pod_template\":[\"default_user\"],\"default_platform\":\"cpu\",\"platforms\":" \
            "{\"cpu\":{\"description\":\"plain\"}}},\"description\":\"why\",\"tags\":[\"a\"]}"

static const struct step pool_steps[] = {
    /* what is there at first */
    { "GET", POOL, "", NULL, 200,
      "{\"pools\":{\"default\":{\"name\":\"default\",\"status\":\"OFFLINE\",\"description\":\"Built-in pool\"" },
    { "GET", POOL, "", NULL, 200, "!parsed_pod_template" },
    { "GET", POOL, "verbose=true", NULL, 200, "\"parsed_pod_template_for_accounting\":{" },
    { "GET", POOL, "verbose=maybe", NULL, 422, "verbose" },
    { "GET", POOL, "backend=other", NULL, 200, "{\"pools\":{}}" },
    { "GET", POOL "/default", "", NULL, 200, "\"common_pod_template\":[\"default_ctrl\",\"default_user\"]" },
    { "GET", POOL "/default", "", NULL, 200, "\"default_exec_timeout\":\"\"" },
    { "GET", POOL "/default", "verbose=1", NULL, 200, "\"default_exec_timeout\":\"60d\"" },
    { "GET", POOL "/no", "", NULL, 400, "Pool no does not exist" },
    { "GET", POOL "/default/platform", "", NULL, 200,
      "{\"default\":{\"description\":\"Built-in platform\",\"host_network_allowed\":false" },
    { "GET", POOL "/default/platform/default", "", NULL, 200, "{\"description\":\"Built-in platform\"" },
    { "GET", POOL "/default/platform/default", "verbose=true", NULL, 200, "\"default_mounts\":[],\"tolerations\":[],\"labels\":{}" },
    { "GET", POOL "/default/platform/no", "", NULL, 400, "has no platform no" },
    { "GET", POOL "/no/platform", "", NULL, 400, "Pool no does not exist" },
    /* a new one beside the built-in one */
    { "PUT", POOL "/east", "", NEW, 200, "null" },
    { "GET", POOL "/east", "", NULL, 200, "\"description\":\"plain\"" },
    { "GET", POOL, "", NULL, 200, "\"default\":{\"name\":\"default\"" },
    { "GET", "/api/pool", "", NULL, 200, "\"east\"" },
    /* bodies that are none */
    { "PUT", POOL "/east", "", NULL, 422, "body" },
    { "PUT", POOL "/east", "", "[]", 422, "body" },
    { "PUT", POOL "/east", "", "{}", 422, "\"loc\":[\"body\",\"configs\"]" },
    { "PUT", POOL "/east", "", "{\"configs\":[]}", 422, "configs" },
    { "PUT", POOL "/east", "", "{\"configs\":{\"backend\":\"default\"},\"tags\":\"x\"}", 422, "tags" },
    { "PUT", POOL "/east", "", "{\"configs\":{\"backend\":\"default\"},\"tags\":[1]}", 422, "tags" },
    { "PUT", POOL "/east", "", "{\"configs\":{\"backend\":\"default\"},\"description\":[]}", 422, "description" },
    { "PATCH", POOL "/east", "", "{\"configs\":{}}", 422, "configs_dict" },
    { "PUT", POOL "/east/rename", "", "{\"new_name\":5}", 422, "new_name" },
    { "DELETE", POOL "/east", "", "[]", 422, "body" },
    /* contents that cannot be */
    { "PUT", POOL "/west", "", "{\"configs\":{}}", 400, "pools.west.backend" },
    { "PUT", POOL "/west", "", "{\"configs\":{\"backend\":\"b\",\"common_pod_template\":[\"gone\"]}}",
      400, "\"error_code\":\"USAGE\"" },
    { "PUT", POOL "/west", "", "{\"configs\":{\"backend\":\"b\",\"default_platform\":\"gone\"}}",
      400, "pools.west.default_platform" },
    { "PUT", POOL "/9west", "", NEW, 400, "no name for a pool" },
    { "PUT", POOL, "", "{\"configs\":{\"x\":{\"backend\":\"default\"},\"y\":{\"backend\":7}}}",
      400, "pools.y.backend" },
    { "GET", POOL, "", NULL, 200, "!\"x\"" }, /* one bad, none written */
    { "GET", POOL "/west", "", NULL, 400, NULL },
    /* parts */
    { "PATCH", POOL "/east", "", "{\"configs_dict\":{\"enable_maintenance\":true,\"resources\":{\"gpu\":{\"guarantee\":4}}}}", 200,
      "\"status\":\"MAINTENANCE\"" },
    { "GET", POOL "/east", "", NULL, 200, "\"resources\":{\"gpu\":{\"guarantee\":4,\"maximum\":-1,\"weight\":1}}" },
    { "PATCH", POOL "/east", "", "{\"configs_dict\":{\"resources\":{\"gpu\":{\"$action\":\"delete\"}}}}",
      200, "\"resources\":{\"gpu\":null}" },
    { "PATCH", POOL "/east", "",
      "{\"configs_dict\":{\"topology_keys\":[{\"key\":\"z\",\"label\":\"zone\"},{\"key\":\"r\",\"label\":\"rack\"}]}}",
      200, "\"topology_keys\":[{\"key\":\"z\",\"label\":\"zone\"},{\"key\":\"r\",\"label\":\"rack\"}]" },
    { "PATCH", POOL "/east", "",
      "{\"configs_dict\":{\"topology_keys\":[{\"$index\":0,\"$action\":\"delete\"},{\"$index\":1,\"label\":\"row\"}]}}",
      200, "\"topology_keys\":[{\"key\":\"r\",\"label\":\"row\"}]" },
    { "PATCH", POOL "/east", "", "{\"configs_dict\":{\"topology_keys\":[{\"$index\":\"a\"}]}}", 400, "$index" },
    { "PATCH", POOL "/east", "", "{\"configs_dict\":{\"backend\":{\"$action\":\"delete\"}}}",
      400, "pools.east.backend" },
    { "PATCH", POOL "/east", "", "{\"configs_dict\":{\"backend\":{}}}", 400, "pools.east.backend" },
    { "PATCH", POOL "/no", "", "{\"configs_dict\":{}}", 400, "Pool no does not exist" },
    /* platforms */
    { "PUT", POOL "/east/platform/gpu", "",
      "{\"configs\":{\"override_pod_template\":[\"default_ctrl\"],\"allowed_mounts\":[\"/data\"]}}", 200,
      "null" },
    { "GET", POOL "/east/platform/gpu", "", NULL, 200, "\"allowed_mounts\":[\"/data\"]" },
    { "GET", POOL "/east/platform/gpu", "verbose=true", NULL, 200, "osmo-ctrl" },
    { "PUT", POOL "/east/platform/gpu", "", "{\"configs\":{\"privileged_allowed\":\"maybe\"}}",
      400, "pools.east.platforms.gpu.privileged_allowed" },
    { "PUT", POOL "/no/platform/gpu", "", "{\"configs\":{}}", 400, "Pool no does not exist" },
    { "PUT", POOL "/east/platform/cpu/rename", "", "{\"new_name\":\"gpu\"}", 400, "already" },
    { "PUT", POOL "/east/platform/cpu/rename", "", "{\"new_name\":\"core\"}", 200, "null" },
    { "GET", POOL "/east", "", NULL, 200, "\"default_platform\":\"core\"" },
    { "PUT", POOL "/east/platform/no/rename", "", "{\"new_name\":\"x\"}", 400, "has no platform no" },
    /* several, names */
    { "PUT", POOL, "",
      "{\"configs\":{\"p1\":{\"backend\":\"elsewhere\"},\"p2\":{\"backend\":\"default\",\"name\":\"other\",\"status\":\"ONLINE\"}}}",
      200, "null" },
    { "GET", POOL "/p2", "", NULL, 200, "{\"name\":\"p2\",\"status\":\"OFFLINE\"" },
    { "GET", POOL, "backend=elsewhere", NULL, 200, "!p2" },
    { "PUT", POOL "/p1/rename", "", "{\"new_name\":\"p2\"}", 400, "exists already" },
    { "PUT", POOL "/p1/rename", "", "{\"new_name\":\"p3\"}", 200, "null" },
    { "PUT", POOL "/p1/rename", "", "{\"new_name\":\"p4\"}", 400, "Pool p1 does not exist" },
    { "GET", POOL "/p1", "", NULL, 400, NULL },
    { "GET", POOL "/p3", "", NULL, 200, "elsewhere" },
    { "DELETE", POOL "/p3", "", NULL, 200, "null" },
    { "DELETE", POOL "/p3", "", "{}", 200, "null" },
    { "DELETE", POOL "/p2", "", "{\"description\":\"x\"}", 200, "null" },
    { "POST", POOL "/east", "", "{}", 405, NULL },
};

static void pools(struct fixture *f) { run_steps(f, pool_steps, ARRAY_SIZE(pool_steps)); }
static void test_pools(void) { on_both(pools); }

/* ---- what stays ---- */

static const struct step kept_first[] = {
    { "PUT", POOL "/east", "", NEW, 200, NULL },
    { "DELETE", POOL "/default", "", NULL, 200, NULL }, /* the built-in one */
    { "GET", POOL "/default", "", NULL, 400, NULL },
};
static const struct step kept_then[] = {
    { "GET", POOL "/default", "", NULL, 400, NULL },
    { "GET", POOL "/east", "", NULL, 200, "plain" },
    { "DELETE", POOL "/east", "", NULL, 200, NULL },
    { "GET", POOL, "", NULL, 200, "{\"pools\":{}}" },
};
static const struct step kept_last[] = {
    { "GET", POOL, "", NULL, 200, "{\"pools\":{}}" },
    { "POST", "/api/pool/default/workflow", "", "{\"file\":\"workflow: {name: a, tasks: [{name: t, image: i, command: [a]}]}\"}",
      400, "USER" },
    { "PUT", POOL "/default", "", NEW, 200, NULL },
    { "GET", POOL "/default", "", NULL, 200, "\"common_pod_template\":[\"default_user\"]" },
};

static void kept(struct fixture *f) {
    run_steps(f, kept_first, ARRAY_SIZE(kept_first));
    REQUIRE(fixture_reopen(f));
    run_steps(f, kept_then, ARRAY_SIZE(kept_then));
    REQUIRE(fixture_reopen(f));
    run_steps(f, kept_last, ARRAY_SIZE(kept_last));
}
static void test_kept(void) { on_both(kept); }

/* ---- pools that are in use ---- */

static void in_use(struct fixture *f) {
    static const struct step busy[] = {
        { "DELETE", POOL "/default", "", NULL, 400, "Pool default has 2 unfinished workflows" },
        { "PUT", POOL "/default/rename", "", "{\"new_name\":\"other\"}", 400, "unfinished" },
        { "GET", POOL "/default", "", NULL, 200, NULL },
        { "PATCH", POOL "/default", "", "{\"configs_dict\":{\"enable_maintenance\":true}}", 200, "MAINTENANCE" },
    };
    static const struct step idle[] = {
        { "PUT", POOL "/default/rename", "", "{\"new_name\":\"other\"}", 200, "null" },
        { "DELETE", POOL "/other", "", NULL, 200, "null" },
        { "GET", POOL, "", NULL, 200, "{\"pools\":{}}" },
    };
    struct seed a, b;
    REQUIRE(seed_workflow(f, "a", "u", 1, &a) && seed_workflow(f, "b", "u", 1, &b));
    run_steps(f, busy, ARRAY_SIZE(busy));
    CHECK(seed_workflow_status(f, &a, STATUS_COMPLETED, NULL));
    CHECK(seed_workflow_status(f, &b, STATUS_FAILED, NULL));
    run_steps(f, idle, ARRAY_SIZE(idle));
}
static void test_in_use(void) { on_both(in_use); }

/* ---- roles ---- */

#define ROLE "/api/configs/role"
#define TEAM "{\"configs\":{\"description\":\"team\",\"policies\":[{\"actions\":[\"workflow:*\"],\"resources\":[\"pool/east\"]}]}}"
static const struct step role_steps[] = {
    { "GET", ROLE, "", NULL, 200, "\"name\":\"osmo-admin\"" },
    { "GET", ROLE "/osmo-user", "", NULL, 200, "\"name\":\"osmo-user\"" },
    { "GET", ROLE "/no", "", NULL, 400, "Role no does not exist" },
    { "PUT", ROLE "/team", "", TEAM, 200, "null" },
    { "GET", ROLE "/team", "", NULL, 200, "\"pool/east\"" },
    { "GET", ROLE "/team", "", NULL, 200, "\"external_roles\":[\"team\"]" },
    { "PUT", ROLE "/team", "", "{\"configs\":{\"name\":\"other\",\"description\":\"\",\"policies\":[]}}",
      400, "role 'other'" },
    { "PUT", ROLE "/team", "", "{\"configs\":{\"name\":7,\"description\":\"\",\"policies\":[]}}",
      400, "must be the same" },
    { "PUT", ROLE "/team", "", "{\"configs\":{\"name\":\"team\",\"description\":\"new\",\"policies\":[],\"external_roles\":[]}}",
      200, "null" },
    { "GET", ROLE "/team", "", NULL, 200, "\"external_roles\":[]" },
    { "PUT", ROLE "/team", "", "{\"configs\":{\"description\":\"x\",\"policies\":[{\"actions\":[\"bad\"]}]}}",
      400, NULL },
    { "GET", ROLE "/team", "", NULL, 200, "\"description\":\"new\"" },
    { "PUT", ROLE "/team", "", "{\"configs\":[]}", 422, "configs" },
    { "PUT", ROLE, "", "{\"configs\":{}}", 422, "configs" },
    { "PUT", ROLE, "", "{\"configs\":[{\"name\":\"r1\",\"description\":\"\",\"policies\":[]},{\"name\":\"r2\",\"description\":\"\","
      "\"policies\":[{\"actions\":[\"bad\"]}]}]}", 400, NULL },
    { "GET", ROLE "/r1", "", NULL, 400, NULL }, /* none of them */
    { "PUT", ROLE, "", "{\"configs\":[{\"name\":\"r1\",\"description\":\"\",\"policies\":[]},{\"name\":\"r2\",\"description\":\"\","
      "\"policies\":[]}]}", 200, "null" },
    { "GET", ROLE, "", NULL, 200, "\"name\":\"r2\"" },
    { "PUT", ROLE "/osmo-admin", "", TEAM, 400, "built in" },
    { "DELETE", ROLE "/osmo-admin", "", "{}", 400, "immutable" },
    { "DELETE", ROLE "/r1", "", "{}", 200, "null" },
    { "DELETE", ROLE "/r1", "", "{}", 400, NULL },
    { "DELETE", ROLE "/r2", "", "[]", 422, NULL },
    { "GET", ROLE "/r2", "", NULL, 200, NULL },
};
static void roles(struct fixture *f) {
    run_steps(f, role_steps, ARRAY_SIZE(role_steps));
    static const struct step later[] = { { "GET", ROLE "/r2", "", NULL, 200, NULL }, { "GET", ROLE "/team", "", NULL, 200, "\"new\"" } };
    REQUIRE(fixture_reopen(f));
    run_steps(f, later, ARRAY_SIZE(later));
}
static void test_roles(void) { on_both(roles); }

/* A role and a pool that were made just now count at once. */
static void test_role_counts(void) {
    static const struct step make[] = { { "PUT", POOL "/east", "", NEW, 200, NULL }, { "PUT", ROLE "/team", "", TEAM, 200, NULL } };
    struct fixture f;
    struct identity who = { .kind = IDENTITY_TOKEN, .user = (char *)"u" };
    strlist_t may = { 0 };
    osmo_error_t err = OSMO_ERROR_INIT;
    on_pgsql = false;
    REQUIRE(open_service(&f));
    strlist_add(&who.roles, "team");
    CHECK_INT(access_decide(f.engine, &who, ACTION_WORKFLOW_CREATE, "pool/east"), VERDICT_NONE);
    run_steps(&f, make, ARRAY_SIZE(make));
    CHECK_INT(access_decide(f.engine, &who, ACTION_WORKFLOW_CREATE, "pool/east"), VERDICT_ALLOW);
    CHECK_INT(access_decide(f.engine, &who, ACTION_WORKFLOW_CREATE, "pool/default"), VERDICT_NONE);
    CHECK_OK(access_pools(f.engine, &who, &may, &err), &err);
    CHECK_INT(may.len, 1);
    CHECK(strlist_has(&may, "east"));
    strlist_free(&may);
    strlist_free(&who.roles);
    close_service(&f);
}

/* ---- settings, which are only shown ---- */

static void test_settings(void) {
    static const char text[] =
        "service: {service_base_url: 'https://osmo.example.com', cli_config: {min_supported_version: 6.0.0},"
        " service_auth: {login_info: {token_endpoint: 'https://id.example.com/token'}}}\n"
        "workflow:\n  workflow_data: {credential: {endpoint: 's3://b/wf', access_key_id: me, access_key: hunter2, region: r}}\n"
        "  backend_images: {init: reg/init:1, client: reg/client:1, credential: {registry: reg, username: u, auth: sesame}}\n"
        "  labels_config: {pod_label_prefix: x/, policy: [{key: team, allow_list: [a], enforcement: enforce}]}\n"
        "  user_workflow_limits: {max_num_workflows: 7}\n";
    static const struct step steps[] = {
        { "GET", "/api/configs/service", "", NULL, 200, "\"service_base_url\":\"https://osmo.example.com\"" },
        { "GET", "/api/configs/service", "", NULL, 200, "\"private_key\":\"**********\"" },
        { "GET", "/api/configs/service", "", NULL, 200, "\"min_supported_version\":\"6.0.0\",\"client_install_url\":null" },
        { "GET", "/api/configs/service", "", NULL, 200, "\"max_pod_restart_limit\":\"30m\",\"agent_queue_size\":1024" },
        { "GET", "/api/configs/service", "", NULL, 200, "\"token_endpoint\":\"https://id.example.com/token\"" },
        { "GET", "/api/configs/service", "", NULL, 200, "!PRIVATE" },
        { "GET", "/api/configs/workflow", "", NULL, 200, "\"access_key_id\":\"me\",\"access_key\":\"**********\"" },
        { "GET", "/api/configs/workflow", "", NULL, 200, "\"username\":\"u\",\"auth\":\"**********\"" },
        { "GET", "/api/configs/workflow", "", NULL, 200, "!hunter2" },
        { "GET", "/api/configs/workflow", "", NULL, 200, "!sesame" },
        { "GET", "/api/configs/workflow", "", NULL, 200,
          "{\"key\":\"team\",\"allow_list\":[\"a\"],\"enforcement\":\"enforce\",\"assert_message\":" },
        { "GET", "/api/configs/workflow", "", NULL, 200, "\"max_num_workflows\":7,\"max_num_tasks\":null,\"jinja_sandbox_max_time\":0.5" },
        { "GET", "/api/configs/workflow", "", NULL, 200, "\"default_exec_timeout\":\"60d\"" },
        { "PUT", "/api/configs/workflow", "", "{\"configs\":{}}", 405, NULL },
    };
    static const struct step builtin[] = {
        { "GET", "/api/configs/workflow", "", NULL, 200,
          "{\"workflow_data\":{\"credential\":null,\"base_url\":\"\",\"websocket_timeout\":1440" },
        { "GET", "/api/configs/workflow", "", NULL, 200, "\"credential\":{\"registry\":\"\",\"username\":\"\",\"auth\":\"\"}" },
    };
    struct fixture f;
    osmo_error_t err = OSMO_ERROR_INIT;
    on_pgsql = false;
    REQUIRE(open_service(&f));
    run_steps(&f, builtin, ARRAY_SIZE(builtin));
    _cleanup_free_ char *path = str_printf("%s/osmo.yaml", f.dir);
    CHECK_OK(file_write_atomic(path, text, sizeof text - 1, 0600, false, &err), &err);
    f.options.config_file = path;
    REQUIRE(fixture_reopen(&f));
    run_steps(&f, steps, ARRAY_SIZE(steps));
    close_service(&f);
}

/* ---- a configuration from a file ---- */

/* Roles are in the file too, or else they are not: then they are written as ever. */
static void test_file_roles(void) {
    static const char with[] = "roles:\n  mine: {description: d, policies: [{actions: ['workflow:*'], resources: ['pool/default']}]}\n";
    static const char without[] = "pools: {}\n";
    static const struct step refused[] = {
        { "GET", ROLE "/mine", "", NULL, 200, "\"pool/default\"" },
        { "PUT", ROLE "/team", "", TEAM, 409, "\"error_code\":\"USER\"" },
        { "DELETE", ROLE "/mine", "", "{}", 409, NULL },
        { "PUT", ROLE, "", "{\"configs\":[]}", 409, NULL },
    };
    static const struct step taken[] = {
        { "PUT", ROLE "/team", "", TEAM, 200, NULL },
        { "GET", ROLE "/team", "", NULL, 200, "pool/east" },
        { "DELETE", ROLE "/team", "", "{}", 200, NULL },
    };
    struct fixture f;
    osmo_error_t err = OSMO_ERROR_INIT;
    on_pgsql = false;
    REQUIRE(open_service(&f));
    _cleanup_free_ char *path = str_printf("%s/osmo.yaml", f.dir);
    CHECK_OK(file_write_atomic(path, with, sizeof with - 1, 0600, false, &err), &err);
    f.options.config_file = path;
    REQUIRE(fixture_reopen(&f));
    run_steps(&f, refused, ARRAY_SIZE(refused));
    CHECK_OK(file_write_atomic(path, without, sizeof without - 1, 0600, false, &err), &err);
    REQUIRE(fixture_reopen(&f));
    run_steps(&f, taken, ARRAY_SIZE(taken));
    close_service(&f);
}

static void test_file(void) {
    static const char text[] = "pools:\n  mine: {backend: default, default_exec_timeout: 2h, platforms: {p: {}}, unknown: 1}\n";
    static const struct step steps[] = {
        { "GET", POOL, "", NULL, 200, "{\"pools\":{\"mine\":{\"name\":\"mine\"" },
        { "GET", POOL "/mine", "", NULL, 200, "\"default_exec_timeout\":\"2h\"" },
        { "GET", POOL "/mine", "", NULL, 200, "!unknown" },
        { "PUT", POOL, "", "{\"configs\":{}}", 409, "\"error_code\":\"USER\"" },
        { "PUT", POOL "/mine", "", NEW, 409, "comes from a file" },
        { "PATCH", POOL "/mine", "", "{\"configs_dict\":{}}", 409, NULL },
        { "DELETE", POOL "/mine", "", "{}", 409, NULL },
        { "PUT", POOL "/mine/rename", "", "{\"new_name\":\"x\"}", 409, NULL },
        { "PUT", POOL "/mine/platform/p", "", "{\"configs\":{}}", 409, NULL },
        { "PUT", POOL "/mine/platform/p/rename", "", "{\"new_name\":\"x\"}", 409, NULL },
        { "PUT", POOL "/mine", "", "nonsense", 409, NULL },
    };
    static const struct step without[] = {
        { "GET", POOL, "", NULL, 200, "\"default\"" },
        { "GET", POOL, "", NULL, 200, "!mine" },
        { "GET", POOL "/east", "", NULL, 200, NULL }, /* as it was before there was a file */
    };
    static const struct step before[] = { { "PUT", POOL "/east", "", NEW, 200, NULL } };
    struct fixture f;
    osmo_error_t err = OSMO_ERROR_INIT;
    on_pgsql = false;
    REQUIRE(open_service(&f));
    run_steps(&f, before, ARRAY_SIZE(before));
    _cleanup_free_ char *path = str_printf("%s/osmo.yaml", f.dir);
    CHECK_OK(file_write_atomic(path, text, sizeof text - 1, 0600, false, &err), &err);
    f.options.config_file = path;
    REQUIRE(fixture_reopen(&f));
    run_steps(&f, steps, ARRAY_SIZE(steps));
    f.options.config_file = NULL;
    REQUIRE(fixture_reopen(&f));
    run_steps(&f, without, ARRAY_SIZE(without));
    close_service(&f);
}

static const struct check_test tests[] = {
    { "pools and platforms", test_pools }, { "what was written is kept", test_kept },
    { "a pool in use stays", test_in_use }, { "roles", test_roles },
    { "a new role counts at once", test_role_counts }, { "a file is changed elsewhere", test_file },
    { "roles in a file", test_file_roles },  { "settings are shown without secrets", test_settings },
};
TEST_MAIN("api_config", tests)
