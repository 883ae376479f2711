/* Attempts to get more than one has: what a token, a task, a provider's user or a name could be bent to, each as it was tried once. Who
 * may use which route is the matrix's (test_matrix); here are the ways around it. */
#include "identity_fixture.h"

#include "engine/access.h"
#include "engine/identity_internal.h"
#include "engine/providers.h"
#include "idp_fixture.h"

#define SETTLE_MS 20000
#define CLAIMS "{\"iss\":\"%s\",\"aud\":\"osmo-cli\",\"sub\":\"u1\",\"iat\":%lld,\"exp\":%lld,%s}"

static const char pools[] = "service: {service_auth: {refused_rate: 0}}\n"
                            "backends: {default: {description: ''}, other: {description: ''}}\n"
                            "pools:\n"
                            "  default: {backend: default, default_platform: default, platforms: {default: {}}}\n"
                            "  team: {backend: other, default_platform: default, platforms: {default: {}}}\n";

/* Rights in one pool only; nothing is said of the other. */
static const char local_role[] = "{\"configs\":{\"description\":\"\",\"policies\":[{\"actions\":[\"workflow:*\"],\"resources\":"
                                 "[\"pool/default\"]},{\"actions\":[\"auth:Token\"],\"resources\":[\"*\"]}]}}";
static const char no_team[] = "{\"configs\":{\"description\":\"\",\"policies\":[{\"effect\":\"Deny\",\"actions\":[\"workflow:Read\"],"
                              "\"resources\":[\"pool/team\"]}]}}";

static struct fixture f;
static struct seed own, foreign; /* of ana: in pool default, and in pool team */

static int move_pool(db_t *db, void *ctx, osmo_error_t *err) {
    return db_exec(db, "UPDATE workflows SET pool = 'team' WHERE uuid = ?", DB_ARGS(DB_T(ctx)), NULL, err);
}

static bool service(void (*change)(osmo_service_options_t *o)) {
    return identity_open(&f, pools, change) && seed_workflow(&f, "own", "ana", 1, &own) &&
           seed_workflow(&f, "foreign", "ana", 1, &foreign) && identity_change(&f, move_pool, foreign.uuid);
}

/* ---- short hands ---- */

static int status_of(const char *token, const char *method, const char *path, const char *query, const char *body) {
    struct answer a = ask_as(&f, token, method, path, query, body);
    int status = a.status;
    answer_free(&a);
    return status;
}

static void must(int want, const char *token, const char *method, const char *path, const char *query, const char *body) {
    struct answer a = ask_as(&f, token, method, path, query, body);
    if (a.status != want)
        fprintf(stderr, "%s %s?%s: %d %s\n", method, path, query ? query : "", a.status, a.body ? a.body : "");
    CHECK_INT(a.status, want);
    answer_free(&a);
}

static void role(const char *name, const char *document) {
    _cleanup_free_ char *path = str_printf("/api/configs/role/%s", name);
    must(200, ADMIN_TOKEN, "PUT", path, NULL, document);
}

static void user(const char *name, const char *roles) {
    _cleanup_free_ char *body = str_printf("{\"id\":\"%s\",\"roles\":[%s]}", name, roles);
    must(200, ADMIN_TOKEN, "POST", "/api/auth/user", NULL, body);
}

static char *tomorrow(const char *more) {
    char text[TIME_TEXT_MAX];
    return str_printf("expires_at=%.10s%s", time_iso(clock_now_us() + 2 * 86400LL * 1000000, text), more);
}

/* An access token that `by` makes; NULL when it is refused. `more` of the query: "&roles=…". */
static char *token(const char *by, const char *of, const char *name, const char *more) {
    _cleanup_free_ char *path = of ? str_printf("/api/auth/user/%s/access_token/%s", of, name)
                                   : str_printf("/api/auth/access_token/%s", name);
    _cleanup_free_ char *query = tomorrow(more);
    struct answer a = ask_as(&f, by, "POST", path, query, NULL);
    char *made = a.status == 200 ? str_dup(json_str(a.json)) : NULL;
    answer_free(&a);
    return made;
}

static char *task_jwt(const char *of, const struct seed *s) {
    osmo_error_t err = OSMO_ERROR_INIT;
    char *jwt = NULL;
    CHECK_OK(auth_task_jwt(f.engine, of, s->id, "g", "t0", 0, &jwt, &err), &err);
    return jwt;
}

static bool shows(const char *by, const char *path, const char *query, const char *text) {
    struct answer a = ask_as(&f, by, "GET", path, query, NULL);
    CHECK_INT(a.status, 200);
    bool found = a.body && strstr(a.body, text);
    answer_free(&a);
    return found;
}

/* ---- tokens ---- */

/* Who leaves a role away when she makes a token does not leave away what it denies. */
static void denials_body(void) {
    REQUIRE(service(NULL));
    role("no-team", no_team);
    user("eva", "\"osmo-user\",\"no-team\"");
    _cleanup_free_ char *whole = token(ADMIN_TOKEN, "eva", "whole", "");
    REQUIRE(whole);
    _cleanup_free_ char *narrow = token(whole, NULL, "narrow", "&roles=osmo-user");
    REQUIRE(narrow);
    _cleanup_free_ char *jwt = identity_login(&f, narrow);
    _cleanup_free_ char *path = str_printf("/api/workflow/%s", foreign.id);
    _cleanup_free_ char *fine = str_printf("/api/workflow/%s", own.id);
    const char *each[] = { whole, narrow, jwt };
    for (size_t i = 0; i < ARRAY_SIZE(each); i++) {
        must(403, each[i], "GET", path, NULL, NULL);
        must(200, each[i], "GET", fine, NULL, NULL);
        CHECK(!shows(each[i], "/api/workflow", "all_users=true&all_pools=true", foreign.id));
        CHECK(shows(each[i], "/api/workflow", "all_users=true&all_pools=true", own.id));
    }
    /* Nor does she by a task. */
    struct seed hers;
    REQUIRE(seed_workflow(&f, "hers", "eva", 1, &hers) && identity_change(&f, move_pool, hers.uuid));
    _cleanup_free_ char *task = task_jwt("eva", &hers);
    _cleanup_free_ char *inside = str_printf("/api/workflow/%s/logs", hers.id);
    must(403, task, "GET", inside, NULL, NULL);
    CHECK(!shows(task, "/api/workflow", "all_pools=true", hers.id));
    /* What she is denied from now on counts for what she made before. */
    user("fay", "\"osmo-user\"");
    _cleanup_free_ char *early = token(ADMIN_TOKEN, "fay", "early", "");
    must(200, early, "GET", path, NULL, NULL);
    must(200, ADMIN_TOKEN, "POST", "/api/auth/user/fay/roles", NULL, "{\"role_name\":\"no-team\"}");
    must(403, early, "GET", path, NULL, NULL);
    must(200, ADMIN_TOKEN, "DELETE", "/api/auth/user/fay/roles/no-team", NULL, NULL);
    must(200, early, "GET", path, NULL, NULL);
    fixture_close(&f);
}

static void denials(void) { identity_both(denials_body); }

/* No token makes one that is worth more, for whomever. */
static void minting_body(void) {
    REQUIRE(service(NULL));
    role("local", local_role);
    user("kit", "\"local\",\"osmo-user\"");
    user("boss", "\"osmo-admin\",\"osmo-user\",\"osmo-backend\"");
    _cleanup_free_ char *kit = token(ADMIN_TOKEN, "kit", "t", "");
    _cleanup_free_ char *small = token(ADMIN_TOKEN, "boss", "small", "&roles=osmo-user");
    _cleanup_free_ char *bound = token(ADMIN_TOKEN, "boss", "bound", "&roles=osmo-backend&roles=osmo-admin&backend=other");
    _cleanup_free_ char *task = task_jwt("boss", &own);
    REQUIRE(kit && small && bound && task);
    static const struct { const char *of, *more; } wishes[] = {
        { NULL, "&roles=osmo-admin" }, { "admin", "" }, { "boss", "&roles=osmo-admin" }, { "admin", "&roles=osmo-user" },
        { NULL, "&roles=osmo-user,osmo-admin" }, { NULL, "&roles=osmo-user%0Aosmo-admin" }, { "kit", "&roles=osmo-admin" },
    };
    const char *each[] = { kit, small, bound, task };
    for (size_t i = 0; i < ARRAY_SIZE(each); i++) {
        for (size_t k = 0; k < ARRAY_SIZE(wishes); k++) {
            _cleanup_free_ char *got = token(each[i], wishes[k].of, "wish", wishes[k].more);
            CHECK(got == NULL);
        }
        must(403, each[i], "POST", "/api/auth/user/kit/roles", NULL, "{\"role_name\":\"osmo-admin\"}");
        must(403, each[i], "POST", "/api/auth/roles/osmo-admin/users", NULL, "{\"user_ids\":[\"kit\"]}");
        must(403, each[i], "PUT", "/api/configs/role/osmo-user", NULL, local_role);
        must(403, each[i], "DELETE", "/api/configs/role/local", NULL, "{}");
    }
    /* Without a wish it is what the asking one has. */
    _cleanup_free_ char *again = token(small, NULL, "again", "");
    REQUIRE(again);
    must(403, again, "GET", "/api/auth/user", NULL, NULL);
    fixture_close(&f);
}

static void minting(void) { identity_both(minting_body); }

/* Another token of the same name is another token, however soon it is made. */
static void same_name_body(void) {
    REQUIRE(service(NULL));
    user("kit", "\"osmo-user\"");
    _cleanup_free_ char *first = token(ADMIN_TOKEN, "kit", "door", "");
    REQUIRE(first);
    _cleanup_free_ char *jwt = identity_login(&f, first);
    CHECK_INT(identity_status(&f, first, NULL), 200);
    CHECK_INT(identity_status(&f, jwt, NULL), 200);
    must(200, ADMIN_TOKEN, "DELETE", "/api/auth/user/kit/access_token/door", NULL, NULL);
    _cleanup_free_ char *second = token(ADMIN_TOKEN, "kit", "door", "");
    REQUIRE(second);
    CHECK_INT(identity_status(&f, first, NULL), 401);
    CHECK_INT(identity_status(&f, jwt, NULL), 401);
    CHECK_INT(identity_status(&f, second, NULL), 200);
    _cleanup_free_ char *good = identity_login(&f, second);
    CHECK_INT(identity_status(&f, good, NULL), 200);
    fixture_close(&f);
}

static void same_name(void) { identity_both(same_name_body); }

/* A role that comes back under its name comes back to nobody. */
static void role_again_body(void) {
    REQUIRE(service(NULL));
    role("local", local_role);
    user("kit", "\"local\"");
    _cleanup_free_ char *kit = token(ADMIN_TOKEN, "kit", "t", "");
    _cleanup_free_ char *path = str_printf("/api/workflow/%s", own.id);
    must(200, kit, "GET", path, NULL, NULL);
    must(200, ADMIN_TOKEN, "DELETE", "/api/configs/role/local", NULL, "{}");
    must(403, kit, "GET", path, NULL, NULL);
    role("local", local_role);
    must(403, kit, "GET", path, NULL, NULL);
    fixture_close(&f);
}

static void role_again(void) { identity_both(role_again_body); }

/* ---- tasks ---- */

/* A task reads what is its user's, also where roles of tasks would let it read everything. */
static void tasks_body(void) {
    struct seed bobs;
    REQUIRE(service(NULL) && seed_workflow(&f, "bobs", "bob", 1, &bobs));
    _cleanup_free_ char *jwt = task_jwt("bob", &bobs);
    const struct seed *strangers[] = { &own, &foreign };
    static const char *const views[] = { "", "/logs", "/events", "/error_logs", "/spec", "/explain", "/watch", "/task/t0" };
    for (size_t s = 0; s < ARRAY_SIZE(strangers); s++) {
        for (size_t i = 0; i < ARRAY_SIZE(views); i++) {
            _cleanup_free_ char *by_id = str_printf("/api/workflow/%s%s", strangers[s]->id, views[i]);
            _cleanup_free_ char *by_uuid = str_printf("/api/workflow/%s%s", strangers[s]->uuid, views[i]);
            must(403, jwt, "GET", by_id, NULL, NULL);
            must(403, jwt, "GET", by_uuid, NULL, NULL);
        }
        _cleanup_free_ char *data = str_printf("/api/storage/%s/t0", strangers[s]->id);
        must(403, jwt, "GET", data, "list=true", NULL);
        CHECK(!shows(jwt, "/api/workflow", "all_users=true&all_pools=true", strangers[s]->id));
        CHECK(!shows(jwt, "/api/workflow", "users=ana&all_pools=true", strangers[s]->id));
        CHECK(!shows(jwt, "/api/task", "users=ana&all_pools=true", strangers[s]->id));
        CHECK(!shows(jwt, "/api/task", "all_users=true&all_pools=true&summary=true", "\"ana\""));
    }
    _cleanup_free_ char *mine = str_printf("/api/workflow/%s", bobs.id);
    must(200, jwt, "GET", mine, NULL, NULL);
    must(403, jwt, "GET", "/api/workflow/ghost-1", NULL, NULL);
    CHECK(shows(jwt, "/api/workflow", "all_users=true&all_pools=true", bobs.id));
    fixture_close(&f);
}

static void tasks(void) { identity_both(tasks_body); }

/* ---- workflows of others ---- */

#define WITH_INPUT                                                                                                                     \
    "{\"file\":\"workflow:\\n  name: thief\\n  tasks:\\n  - name: a\\n    image: ubuntu\\n    command: [cat]\\n    inputs:\\n"          \
    "    - task: %s:t0\\n\"}"

/* What a task may read in later is asked when it is submitted; the answer does not tell whether there is such a workflow. */
static void inputs_body(void) {
    REQUIRE(service(NULL));
    role("local", local_role);
    user("kit", "\"local\"");
    _cleanup_free_ char *kit = token(ADMIN_TOKEN, "kit", "t", "");
    REQUIRE(kit && seed_task_status(&f, &foreign, 0, STATUS_COMPLETED) && seed_task_status(&f, &own, 0, STATUS_COMPLETED));
    const struct { const char *source; int status; } cases[] = {
        { foreign.id, 403 }, { "ghost-1", 403 }, { own.id, 200 },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_free_ char *body = str_printf(WITH_INPUT, cases[i].source);
        must(cases[i].status, kit, "POST", "/api/pool/default/workflow", "validation_only=true", body);
        must(cases[i].status, kit, "POST", "/api/pool/default/workflow", NULL, body);
        must(403, kit, "POST", "/api/pool/team/workflow", NULL, body);
    }
    fixture_close(&f);
}

static void inputs(void) { identity_both(inputs_body); }

static int keep_spec(db_t *db, void *ctx, osmo_error_t *err) {
    static const char text[] = "workflow:\n  name: own\n  tasks:\n  - name: a\n    image: ubuntu\n    command: [env]\n"
                               "    environment: {DB_PASSWORD: swordfish9}\n";
    return repo_file_put(db, ctx, "workflow_spec.yaml", text, strlen(text), err);
}

/* Specifications are shown without secrets, also by the dry run of one that is submitted again. */
static void specs_body(void) {
    REQUIRE(service(NULL) && identity_change(&f, keep_spec, own.uuid) && identity_change(&f, keep_spec, foreign.uuid));
    role("local", local_role);
    user("kit", "\"local\"");
    _cleanup_free_ char *kit = token(ADMIN_TOKEN, "kit", "t", "");
    const char *names[] = { own.id, own.uuid };
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        _cleanup_free_ char *query = str_printf("dry_run=true&workflow_id=%s", names[i]);
        struct answer a = ask_as(&f, kit, "POST", "/api/pool/default/workflow", query, NULL);
        CHECK_INT(a.status, 200);
        CHECK(a.body && strstr(a.body, "DB_PASSWORD"));
        CHECK(a.body && !strstr(a.body, "swordfish9"));
        answer_free(&a);
    }
    const char *hidden[] = { foreign.id, foreign.uuid, "ghost-1" };
    for (size_t i = 0; i < ARRAY_SIZE(hidden); i++) {
        _cleanup_free_ char *query = str_printf("dry_run=true&workflow_id=%s", hidden[i]);
        _cleanup_free_ char *restart = str_printf("/api/pool/default/workflow/%s/restart", hidden[i]);
        must(403, kit, "POST", "/api/pool/default/workflow", query, NULL);
        must(403, kit, "POST", restart, NULL, NULL);
    }
    fixture_close(&f);
}

static void specs(void) { identity_both(specs_body); }

/* By whatever name and route, and in no list. */
static void names_body(void) {
    REQUIRE(service(NULL));
    role("local", local_role);
    user("kit", "\"local\"");
    _cleanup_free_ char *kit = token(ADMIN_TOKEN, "kit", "t", "");
    _cleanup_free_ char *upper = str_dup(foreign.uuid);
    for (char *p = upper; p && *p; p++)
        *p = (char)(*p >= 'a' && *p <= 'f' ? *p - 32 : *p);
    const char *const names[] = { foreign.id, foreign.uuid, upper, "FOREIGN-1", "foreign-1%20", "foreign-1%00",
                                  "own-1%2F..%2Fforeign-1", "foreign-01" };
    static const struct { const char *method, *rest; } routes[] = {
        { "GET", "" }, { "GET", "/logs" }, { "GET", "/events" }, { "GET", "/error_logs" }, { "GET", "/spec" }, { "GET", "/explain" },
        { "GET", "/watch" }, { "GET", "/task/t0" }, { "POST", "/cancel" }, { "POST", "/tag" },
    };
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        for (size_t k = 0; k < ARRAY_SIZE(routes); k++) {
            _cleanup_free_ char *path = str_printf("/api/workflow/%s%s", names[i], routes[k].rest);
            int status = status_of(kit, routes[k].method, path, NULL, NULL);
            CHECK(status >= 400 && status < 500);
        }
        _cleanup_free_ char *list = str_printf("/api/storage/%s/t0", names[i]);
        _cleanup_free_ char *object = str_printf("/api/storage/%s/t0/../../%s/t0/x", own.id, names[i]);
        CHECK(status_of(kit, "GET", list, "list=true", NULL) >= 400);
        CHECK(status_of(kit, "GET", object, NULL, NULL) >= 400);
    }
    static const char *const filters[] = {
        "all_users=true&all_pools=true", "users=ana&pools=team", "users=ana&pools=default&pools=team", "all_users=true&pools=TEAM",
        "all_users=true&pools=team&all_pools=true", "all_users=true&all_pools=true&name=foreign",
        "all_users=true&all_pools=true&workflow_id=foreign", "all_users=true&pools=%25", "all_users=true&pools=",
        "all_users=true&all_pools=true&limit=1000",
    };
    for (size_t i = 0; i < ARRAY_SIZE(filters); i++) {
        CHECK(!shows(kit, "/api/workflow", filters[i], "\"foreign-1\""));
        CHECK(!shows(kit, "/api/task", filters[i], "\"foreign-1\""));
        _cleanup_free_ char *sums = str_printf("%s&summary=true", filters[i]);
        _cleanup_free_ char *by_workflow = str_printf("%s&aggregate_by_workflow=true", filters[i]);
        CHECK(!shows(kit, "/api/task", sums, "\"team\""));
        CHECK(!shows(kit, "/api/task", by_workflow, "\"foreign-1\""));
    }
    fixture_close(&f);
}

static void names(void) { identity_both(names_body); }

/* ---- what is open already ---- */

static int add_event(db_t *db, void *ctx, osmo_error_t *err) {
    const struct seed *s = ctx;
    return db_exec(db, "UPDATE workflows SET failure_message = 'later' WHERE uuid = ?", DB_ARGS(DB_T(s->uuid)), NULL, err);
}

/* Followers get nothing more once their token is deleted, their role is taken or their pool is denied. */
static void followers_body(void) {
    static const char *const views[] = { "watch", "logs", "events" };
    REQUIRE(service(NULL));
    role("no-team", no_team);
    for (size_t i = 0; i < 9; i++) {
        _cleanup_free_ char *name = str_printf("kit%zu", i);
        user(name, "\"osmo-user\"");
        _cleanup_free_ char *kit = token(ADMIN_TOKEN, name, "t", "");
        _cleanup_free_ char *path = str_printf("/api/workflow/%s/%s", foreign.id, views[i % 3]);
        _cleanup_free_ char *taken = str_printf("/api/auth/user/%s/roles/osmo-user", name);
        _cleanup_free_ char *gone = str_printf("/api/auth/user/%s/access_token/t", name);
        _cleanup_free_ char *given = str_printf("/api/auth/user/%s/roles", name);
        struct answer a = ask_as(&f, kit, "GET", path, NULL, NULL);
        bool ended = false;
        CHECK_INT(a.status, 200);
        REQUIRE(a.rs.stream != NULL);
        _cleanup_free_ char *text = drain(&a, &ended);
        CHECK(!ended);
        if (i / 3 == 0)
            must(200, ADMIN_TOKEN, "DELETE", gone, NULL, NULL);
        else if (i / 3 == 1)
            must(200, ADMIN_TOKEN, "DELETE", taken, NULL, NULL);
        else
            must(200, ADMIN_TOKEN, "POST", given, NULL, "{\"role_name\":\"no-team\"}");
        CHECK(identity_change(&f, add_event, &foreign));
        char data[512];
        ssize_t n = osmo_stream_read(a.rs.stream, data, sizeof data);
        CHECK(n < 0 && n != OSMO_EGONE);
        answer_free(&a);
    }
    fixture_close(&f);
}

static void followers(void) { identity_both(followers_body); }

/* ---- those that others vouch for ---- */

static char *vouched(const struct idp *p, const forge_key_t *k, const char *more) {
    long long now = clock_now_us() / 1000000;
    _cleanup_free_ char *claims = str_printf(CLAIMS, p->issuer, now, now + 300, more);
    return forge_token(k, claims);
}

/* A provider says who somebody is there. That does not make her the administrator of here. */
static void provider_body(void) {
    static const struct { const char *claims; int status; } cases[] = {
        { "\"email\":\"ida@corp.example\"", 200 },
        { "\"email\":\"ida@corp.example\",\"email_verified\":true", 200 },
        { "\"email\":\"ida@corp.example\",\"email_verified\":false", 401 },
        { "\"email\":\"ida@corp.example\",\"email_verified\":\"false\"", 401 },
        { "\"email\":\"admin\"", 401 },
        { "\"email\":\"chief\"", 401 },
        { "\"email\":\"admin \"", 401 },
        { "\"email\":\" admin\"", 401 },
        { "\"email\":\"admin\\u0085\"", 401 },
        { "\"email\":\"backend-operator-east\"", 401 },
    };
    struct idp p;
    forge_key_t *key = forge_key_new(FORGE_RSA, "r1");
    _cleanup_free_ char *jwk = forge_jwk(key);
    REQUIRE(idp_start(&p));
    idp_keys(&p, jwk, NULL);
    _cleanup_free_ char *config = str_printf("service:\n  service_auth:\n    refused_rate: 0\n    providers:\n"
                                             "    - {name: idp, issuer: '%s', audience: osmo-cli, user_claim: email}\n", p.issuer);
    REQUIRE(identity_open(&f, config, NULL));
    f.options.admin_user = "chief"; /* the one of before is an administrator as well */
    REQUIRE(fixture_reopen(&f));
    providers_settle(f.engine, SETTLE_MS);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_free_ char *jwt = vouched(&p, key, cases[i].claims);
        _cleanup_free_ char *why = NULL;
        int status = identity_status(&f, jwt, &why);
        if (status != cases[i].status)
            fprintf(stderr, "%s: %s\n", cases[i].claims, why ? why : "");
        CHECK_INT(status, cases[i].status);
        if (status == 200)
            must(403, jwt, "GET", "/api/auth/user", NULL, NULL);
    }
    /* Names of roles that are patterns, lists or somebody's idea of a separator are just names that no role has. */
    _cleanup_free_ char *odd = vouched(&p, key, "\"email\":\"eli\",\"roles\":[\"*\",\"osmo-*\",\"osmo-user,osmo-admin\",\"osmo-admin\\n\","
                                                "\"osmo-admin \",\"OSMO-ADMIN\",\"osmo\\u2010admin\",[\"osmo-admin\"]]");
    must(403, odd, "GET", "/api/auth/user", NULL, NULL);
    /* More of them than are looked at: the last could be the one that denies something. */
    _cleanup_buf_ buf_t many = BUF_INIT(64u << 10);
    buf_puts(&many, "\"email\":\"eli\",\"roles\":[\"r\"");
    for (int i = 0; i < 1500; i++)
        buf_printf(&many, ",\"%x\"", i);
    buf_puts(&many, "]");
    _cleanup_free_ char *crowd = vouched(&p, key, buf_cstr(&many));
    CHECK_INT(identity_status(&f, crowd, NULL), 401);
    fixture_close(&f);
    idp_stop(&p);
    forge_key_free(key);
}

static void provider(void) { identity_both(provider_body); }

static void with_gateway(osmo_service_options_t *o) { o->trusted_gateways = "10.1.2.3"; }

static int by_gateway(const char *path, const char *who, const char *roles, const char *name) {
    const char *headers[10] = { "host", "h", "x-osmo-user", who, "x-osmo-roles", roles };
    if (name) {
        headers[6] = "x-osmo-token-name";
        headers[7] = name;
    }
    return identity_from(&f, "10.1.2.3", path, headers, NULL);
}

/* The names of what is not a user are not for users, whoever vouches for them. */
static void gateway_body(void) {
    REQUIRE(service(with_gateway));
    CHECK_INT(by_gateway("/api/profile/settings", "ida", "osmo-user", NULL), 200);
    CHECK_INT(by_gateway("/api/profile/settings", "backend-operator-east", "osmo-user", NULL), 401);
    CHECK_INT(by_gateway("/api/profile/settings", "admin", "osmo-user", NULL), 401);
    CHECK_INT(by_gateway("/api/profile/settings", "admin", "osmo-user", "default-admin-token"), 200);
    CHECK_INT(by_gateway("/api/auth/user", "ida", "osmo-user", "default-admin-token"), 401);
    must(400, ADMIN_TOKEN, "POST", "/api/auth/user", NULL, "{\"id\":\"backend-operator-east\",\"roles\":[\"osmo-user\"]}");
    fixture_close(&f);
}

static void gateway(void) { identity_both(gateway_body); }

/* ---- names ---- */

static void odd_names(void) {
    static const char *const roles[] = { "a\\u001b[2J", "a\\u007f", "a\\u0085b", "osmo-admin\\n", "osmo-admin,x", "osmo-admin ",
                                         "a\\u0000b", "", "a\\u200bb", "a\\u202eb", "\\u00a0" };
    REQUIRE(service(NULL));
    for (size_t i = 0; i < ARRAY_SIZE(roles); i++) {
        _cleanup_free_ char *body = str_printf("{\"configs\":[{\"name\":\"%s\",\"description\":\"\",\"policies\":[]}]}", roles[i]);
        int status = status_of(ADMIN_TOKEN, "PUT", "/api/configs/role", NULL, body);
        if (status != 400 && status != 422)
            fprintf(stderr, "role %s: %d\n", roles[i], status);
        CHECK(status == 400 || status == 422);
    }
    static const char *const users[] = { "admin ", " admin", "admin.", "admin\\n", "\\u0430dmin", "a,b", "a/b", "e\\u0301", "" };
    for (size_t i = 0; i < ARRAY_SIZE(users); i++) {
        _cleanup_free_ char *body = str_printf("{\"id\":\"%s\",\"roles\":[]}", users[i]);
        int status = status_of(ADMIN_TOKEN, "POST", "/api/auth/user", NULL, body);
        CHECK(status == 400 || status == 422);
    }
    fixture_close(&f);
}

/* An administrator that could be guessed, or whose name is another's, stops the start. */
static void administrators(void) {
    static const struct { const char *user, *token; bool good; } cases[] = {
        { "chief", ADMIN_TOKEN, true },
        { "chief", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", false },
        { "chief", "adminadminadminadminadminadminadminadminadm", false },
        { "chief", "password", false },
        { "backend-operator-east", ADMIN_TOKEN, false },
        { "a,b", ADMIN_TOKEN, false },
        { "admin\n", ADMIN_TOKEN, false },
        { "admin ", ADMIN_TOKEN, false },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        if (!service(NULL)) {
            CHECK(false);
            return;
        }
        f.options.admin_user = cases[i].user;
        f.options.admin_token = cases[i].token;
        osmo_service_close(f.service);
        f.service = NULL;
        osmo_error_t err = OSMO_ERROR_INIT;
        int rc = osmo_service_open(&f.options, &f.service, &err);
        CHECK(cases[i].good ? rc >= 0 : rc == OSMO_EINVAL);
        fixture_close(&f);
    }
}

static bool token_is(const char *value, const char *who) {
    _cleanup_free_ char *found = NULL;
    return identity_status(&f, value, &found) == 200 && str_eq(found, who);
}

/* The same token under another name moves; one that is somebody's makes nobody an administrator, however it is called. */
static void same_token_body(void) {
    REQUIRE(service(NULL));
    user("kit", "\"osmo-user\"");
    _cleanup_free_ char *kit = token(ADMIN_TOKEN, "kit", "default-admin-token", "");
    _cleanup_free_ char *jwt = identity_login(&f, ADMIN_TOKEN);
    CHECK(fixture_reopen(&f) && token_is(ADMIN_TOKEN, "admin") && token_is(jwt, "admin"));
    f.options.admin_user = "chief";
    CHECK(fixture_reopen(&f) && token_is(ADMIN_TOKEN, "chief"));
    CHECK_INT(identity_status(&f, jwt, NULL), 401);
    f.options.admin_token = kit;
    CHECK(!fixture_reopen(&f));
    f.options.admin_token = ADMIN_TOKEN;
    CHECK(fixture_reopen(&f) && token_is(kit, "kit"));
    must(403, kit, "GET", "/api/auth/user", NULL, NULL);
    fixture_close(&f);
}

static void same_token(void) { identity_both(same_token_body); }

static int swap_roles(db_t *db, void *ctx, osmo_error_t *err) {
    (void)ctx;
    int rc = repo_assignment_add(db, "kit", "second", "admin", 1, NULL, NULL, err);
    if (rc >= 0)
        rc = db_exec(db, "UPDATE token_roles SET role = 'second' WHERE user_name = 'kit'", NULL, 0, NULL, err);
    return rc < 0 ? rc : repo_assignment_delete(db, "kit", "first", err);
}

static bool is_closed(uint64_t conn) {
    bool closed = false;
    pthread_mutex_lock(&f.lock);
    for (size_t i = 0; i < f.nsent; i++)
        closed |= f.sent[i].conn == conn && f.sent[i].close_code;
    pthread_mutex_unlock(&f.lock);
    return closed;
}

/* A session whose right comes from another role by now stays; it ends with that role. */
static void sessions_body(void) {
    static const char operator[] = "{\"configs\":{\"description\":\"\",\"policies\":[{\"actions\":[\"internal:Operator\"],\"resources\":"
                                   "[\"backend/default\"]}]}}";
    REQUIRE(service(NULL));
    role("first", operator);
    role("second", operator);
    user("kit", "\"first\"");
    _cleanup_free_ char *kit = token(ADMIN_TOKEN, "kit", "t", "");
    CHECK_INT(identity_status(&f, kit, NULL), 200);
    int status;
    osmo_ws_t *ws = identity_socket(&f, kit, "default", 7, &status);
    REQUIRE(ws != NULL);
    osmo_ws_opened(ws);
    CHECK(identity_change(&f, swap_roles, NULL));
    must(200, ADMIN_TOKEN, "DELETE", "/api/configs/role/first", NULL, "{}");
    sessions_sweep(f.engine);
    sessions_sweep(f.engine); /* nothing was changed in between */
    CHECK(!is_closed(7));
    must(200, ADMIN_TOKEN, "DELETE", "/api/configs/role/second", NULL, "{}");
    CHECK_INT(identity_close_code(&f, 7), 4000);
    osmo_ws_closed(ws);
    fixture_close(&f);
}

static void sessions(void) { identity_both(sessions_body); }

static const struct check_test tests[] = {
    { "denials hold for tokens with fewer roles", denials },
    { "no token makes a bigger one", minting },
    { "another token of the same name", same_name },
    { "a role that comes back", role_again },
    { "tasks read what is their user's", tasks },
    { "inputs of foreign pools", inputs },
    { "secrets of specifications", specs },
    { "foreign workflows by any name", names },
    { "followers of what they lost", followers },
    { "provider's users", provider },
    { "gateway's users", gateway },
    { "odd names", odd_names },
    { "administrators", administrators },
    { "the administrator's token under another name", same_token },
    { "sessions keep what was confirmed", sessions },
};
TEST_MAIN("escalation", tests)
