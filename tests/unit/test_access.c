/* Roles in the store and in memory: the default ones and their completion, changes that are seen at once, allowed pools, what is bound to
 * a task or a backend, users of identity providers by the three modes, and roles of the configuration file. On SQLite, and on PostgreSQL
 * where there is one. */
#include "base/file.h"
#include "engine/access.h"
#include <stdatomic.h>
#include "engine_fixture.h"
#include "store/repo_auth.h"

static osmo_error_t err;

static const char three_pools[] = "pools:\n  default: {backend: default, default_platform: default, platforms: {default: {}}}\n"
                                  "  team-a: {backend: default, default_platform: default, platforms: {default: {}}}\n"
                                  "  team-b: {backend: default, default_platform: default, platforms: {default: {}}}\n";

static struct identity caller(const char *roles) {
    struct identity who = { .kind = IDENTITY_TOKEN, .user = str_dup("ana") };
    if (*roles && strlist_split(&who.roles, roles, ',') < 0) /* threads call it, which CHECK does not bear */
        abort();
    return who;
}

static bool may(const char *roles, enum action a, const char *resource) {
    struct identity who = caller(roles);
    bool yes = access_decide(e, &who, a, resource) == VERDICT_ALLOW;
    identity_clear(&who);
    return yes;
}

static int put(const char *text) {
    _cleanup_json_ json_t *v = NULL;
    struct role r;
    const struct role *list[] = { &r };
    int rc = json_parse(text, strlen(text), &v, &err);
    if (rc >= 0)
        rc = role_read(v, &r, &err);
    if (rc < 0)
        return rc;
    rc = access_put_roles(e, list, 1, &err);
    role_clear(&r);
    return rc;
}

static const char *pools_of(const char *roles) {
    static char text[200];
    struct identity who = caller(roles);
    strlist_t pools = { 0 };
    text[0] = '\0';
    CHECK_OK(access_pools(e, &who, &pools, &err), &err);
    for (size_t i = 0; i < pools.len; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s%s", i ? " " : "", pools.items[i]);
    strlist_free(&pools);
    identity_clear(&who);
    return text;
}

/* ---- the table ---- */

static void defaults(void) {
    struct role_row *rows = NULL;
    size_t n = 0;
    REQUIRE(start_with(NULL));
    CHECK_OK(repo_role_list(reader(), &rows, &n, &err), &err);
    CHECK_INT(n, 5);
    for (size_t i = 0; i < n; i++) {
        CHECK_INT(rows[i].external.len, 1);
        CHECK_STR(rows[i].external.items[0], rows[i].name);
    }
    role_rows_free(rows, n);
    CHECK(may("osmo-admin", ACTION_NONE, NULL));
    CHECK(!may("osmo-user", ACTION_NONE, NULL));
    CHECK(may("osmo-user", ACTION_WORKFLOW_CREATE, "pool/default"));
    CHECK(!may("osmo-user", ACTION_WORKFLOW_CREATE, "pool/team-a"));
    CHECK(may("", ACTION_PROFILE_READ, NULL));
    CHECK(!may("", ACTION_WORKFLOW_LIST, NULL));
    CHECK(!may("nobody,knows,these", ACTION_POOL_LIST, NULL));
    stop(true);
}

/* What an administrator added stays, what is missing comes back at the next start. */
static void completion(void) {
    REQUIRE(start_with(NULL));
    CHECK_OK(put("{\"name\":\"osmo-user\",\"description\":\"ours\","
                 "\"policies\":[{\"actions\":[\"workflow:*\"],\"resources\":[\"pool/extra\"]}]}"), &err);
    CHECK(may("osmo-user", ACTION_WORKFLOW_CREATE, "pool/extra"));
    CHECK(!may("osmo-user", ACTION_WORKFLOW_CREATE, "pool/default"));
    stop(false);
    REQUIRE(start_with(NULL));
    CHECK(may("osmo-user", ACTION_WORKFLOW_CREATE, "pool/extra"));
    CHECK(may("osmo-user", ACTION_WORKFLOW_CREATE, "pool/default"));
    CHECK_OK(access_delete_role(e, "osmo-user", &err), &err);
    CHECK(!may("osmo-user", ACTION_WORKFLOW_CREATE, "pool/default"));
    stop(false);
    REQUIRE(start_with(NULL));
    CHECK(may("osmo-user", ACTION_WORKFLOW_CREATE, "pool/default"));
    CHECK(!may("osmo-user", ACTION_WORKFLOW_CREATE, "pool/extra"));
    stop(true);
}

static void changes(void) {
    REQUIRE(start_with(three_pools));
    uint64_t before = access_generation(e);
    CHECK_STR(pools_of("team"), "");
    CHECK_OK(put("{\"name\":\"team\",\"description\":\"\","
                 "\"policies\":[{\"actions\":\"workflow:*\",\"resources\":\"pool/team-*\"}]}"), &err);
    CHECK(access_generation(e) > before);
    CHECK_STR(pools_of("team"), "team-a team-b");
    CHECK_STR(pools_of("osmo-user,team"), "default team-a team-b");
    CHECK_STR(pools_of("osmo-admin"), "default team-a team-b");
    CHECK_OK(put("{\"name\":\"not-b\",\"description\":\"\","
                 "\"policies\":[{\"effect\":\"Deny\",\"actions\":\"*:*\",\"resources\":\"pool/team-b\"}]}"), &err);
    CHECK_STR(pools_of("osmo-admin,not-b"), "default team-a");
    CHECK(!may("osmo-admin,not-b", ACTION_WORKFLOW_READ, "pool/team-b"));
    CHECK_OK(access_delete_role(e, "team", &err), &err);
    CHECK_STR(pools_of("team"), "");
    CHECK_INT(access_delete_role(e, "team", &err), OSMO_EUSER);
    CHECK_CONTAINS(err.text, "team does not exist");
    stop(true);
}

static void built_in_roles(void) {
    static const struct { const char *text, *why; } refused[] = {
        { "{\"name\":\"osmo-admin\",\"description\":\"\",\"policies\":[]}", "built in" },
        { "{\"name\":\"osmo-backend\",\"description\":\"\",\"policies\":[{\"actions\":\"pool:List\",\"resources\":\"*\"}]}", "built in" },
        { "{\"name\":\"osmo-admin\",\"description\":\"\",\"policies\":[{\"actions\":\"*:*\",\"resources\":\"*\"},"
          "{\"effect\":\"Deny\",\"actions\":\"*:*\",\"resources\":\"*\"}]}", "denies nothing" },
    };
    static const char *const immutable[] = { "osmo-admin", "osmo-backend", "osmo-ctrl", "osmo-default", "kept" };
    REQUIRE(start_with(NULL));
    for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
        CHECK_INT(put(refused[i].text), OSMO_EUSER);
        CHECK_CONTAINS(err.text, refused[i].why);
    }
    CHECK_OK(put("{\"name\":\"osmo-admin\",\"description\":\"mine\",\"policies\":[{\"actions\":\"*:*\",\"resources\":\"*\"}]}"), &err);
    CHECK_OK(put("{\"name\":\"kept\",\"description\":\"\",\"immutable\":true,\"policies\":[]}"), &err);
    for (size_t i = 0; i < ARRAY_SIZE(immutable); i++) {
        CHECK_INT(access_delete_role(e, immutable[i], &err), OSMO_EUSER);
        CHECK_CONTAINS(err.text, "immutable");
    }
    CHECK_OK(put("{\"name\":\"kept\",\"description\":\"\",\"policies\":[]}"), &err);
    CHECK_OK(access_delete_role(e, "kept", &err), &err);
    stop(true);
}

/* ---- what is bound ---- */

static void bound(void) {
    struct identity task = caller("osmo-user,osmo-ctrl,osmo-admin"), operator = caller("osmo-backend,osmo-admin");
    task.workflow_id = str_dup("wf-1");
    operator.backend = str_dup("east");
    static const struct { enum action a; const char *resource; bool task, operator; } cases[] = {
        { ACTION_NONE, NULL, false, false },
        { ACTION_AUTH_TOKEN, NULL, false, false },
        { ACTION_AUTH_TOKEN, "user/ana", false, false },
        { ACTION_CREDENTIALS_READ, NULL, false, false },
        { ACTION_CREDENTIALS_CREATE, NULL, false, false },
        { ACTION_USER_LIST, NULL, false, false },
        { ACTION_WORKFLOW_CREATE, "pool/default", false, false },
        { ACTION_WORKFLOW_CANCEL, "pool/default", false, false },
        { ACTION_WORKFLOW_READ, "pool/default", true, false },
        { ACTION_PROFILE_READ, NULL, true, false },
        { ACTION_PROFILE_UPDATE, NULL, false, false },
        { ACTION_POOL_LIST, NULL, true, true },
        { ACTION_CONFIG_READ, "config/backend", false, true },
        { ACTION_CONFIG_READ, "config/role", false, false },
        { ACTION_CONFIG_UPDATE, "config/backend", false, false },
        { ACTION_INTERNAL_OPERATOR, "backend/east", false, true },
        { ACTION_INTERNAL_OPERATOR, "backend/west", false, false },
        { ACTION_INTERNAL_OPERATOR, NULL, false, false },
        { ACTION_INTERNAL_LOGGER, NULL, true, false },
        { ACTION_SYSTEM_VERSION, NULL, true, true },
    };
    REQUIRE(start_with(NULL));
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        CHECK_INT(access_decide(e, &task, cases[i].a, cases[i].resource) == VERDICT_ALLOW, cases[i].task);
        CHECK_INT(access_decide(e, &operator, cases[i].a, cases[i].resource) == VERDICT_ALLOW, cases[i].operator);
    }
    CHECK(!access_allows_all(e, &task, ACTION_WORKFLOW_CREATE, "pool/"));
    CHECK(access_allows_all(e, &task, ACTION_WORKFLOW_READ, "pool/"));
    CHECK(!access_allows_some(e, &operator, ACTION_WORKFLOW_READ, "pool/"));
    identity_clear(&task);
    free(operator.backend);
    operator.backend = NULL;
    identity_clear(&operator);
    stop(true);
}

/* Roles that are many and long, and more sets of them than are kept. */
static void many_sets(void) {
    REQUIRE(start_with(NULL));
    char name[64], wide[12000] = "osmo-user";
    for (int i = 0; i < 5000; i++) {
        snprintf(name, sizeof name, "role-%d,osmo-user", i);
        if (!may(name, ACTION_POOL_LIST, NULL) || may(name, ACTION_CONFIG_READ, "config/role"))
            CHECK(false);
    }
    for (int i = 0; i < 60; i++)
        snprintf(wide + strlen(wide), sizeof wide - strlen(wide), ",%0150d", i);
    CHECK(may(wide, ACTION_POOL_LIST, NULL));
    stop(true);
}

/* Decisions go on while roles come and go, and none of them is anything but what the one or the other picture says. */
static atomic_bool ended;
static void *decide_on(void *arg) {
    size_t *wrong = arg, n = 0;
    char roles[64];
    while (!atomic_load(&ended)) {
        snprintf(roles, sizeof roles, "team,osmo-user,x%zu", n++ % 50);
        *wrong += !may(roles, ACTION_POOL_LIST, NULL);
        *wrong += may(roles, ACTION_CONFIG_UPDATE, "config/role");
        *wrong += may(roles, ACTION_WORKFLOW_CREATE, "pool/b");
    }
    return NULL;
}

static void many_threads(void) {
    pthread_t threads[4];
    size_t wrong[4] = { 0 };
    REQUIRE(start_with(NULL));
    atomic_store(&ended, false);
    for (int i = 0; i < 4; i++)
        CHECK_INT(pthread_create(&threads[i], NULL, decide_on, &wrong[i]), 0);
    for (int i = 0; i < 20; i++) {
        CHECK_OK(put("{\"name\":\"team\",\"description\":\"\","
                     "\"policies\":[{\"actions\":\"workflow:*\",\"resources\":\"pool/a\"}]}"), &err);
        CHECK(may("team", ACTION_WORKFLOW_CREATE, "pool/a"));
        CHECK_OK(access_delete_role(e, "team", &err), &err);
        CHECK(!may("team", ACTION_WORKFLOW_CREATE, "pool/a"));
        access_changed_here(e);
    }
    atomic_store(&ended, true);
    for (int i = 0; i < 4; i++) {
        pthread_join(threads[i], NULL);
        CHECK_INT(wrong[i], 0);
    }
    stop(true);
}

/* ---- identity providers ---- */

static const char *roles_by(int (*how)(engine_t *, const char *, const strlist_t *, strlist_t *, osmo_error_t *), const char *user,
                            const char *external) {
    static char text[300];
    strlist_t names = { 0 }, roles = { 0 };
    text[0] = '\0';
    CHECK(!*external || strlist_split(&names, external, ',') == 0);
    CHECK_OK(how(e, user, &names, &roles, &err), &err);
    for (size_t i = 0; i < roles.len; i++)
        snprintf(text + strlen(text), sizeof text - strlen(text), "%s%s", i ? " " : "", roles.items[i]);
    strlist_free(&names);
    strlist_free(&roles);
    return text;
}

static const char *synced(const char *user, const char *external) { return roles_by(access_sync, user, external); }

/* As long as a session goes on, whatever its user was vouched for in the beginning. */
static const char *held(const char *user, const char *external) { return roles_by(access_held, user, external); }

static int give(db_t *db, void *ctx, osmo_error_t *er) {
    return repo_assignment_add(db, ctx, "ign", "admin", 5, NULL, NULL, er);
}

static void sync_modes(void) {
    REQUIRE(start_with(NULL));
    CHECK_OK(put("{\"name\":\"imp\",\"description\":\"\",\"policies\":[],\"external_roles\":[\"g-imp\",\"g-two\"]}"), &err);
    CHECK_OK(put("{\"name\":\"frc\",\"description\":\"\",\"policies\":[],\"sync_mode\":\"force\","
                 "\"external_roles\":[\"g-frc\",\"g-two\"]}"), &err);
    CHECK_OK(put("{\"name\":\"ign\",\"description\":\"\",\"policies\":[],\"sync_mode\":\"ignore\",\"external_roles\":[\"g-ign\"]}"), &err);
    CHECK_STR(synced("mia", ""), "");
    CHECK_STR(synced("mia", "g-imp,g-frc,g-ign,unknown"), "frc imp");
    uint64_t before = access_generation(e);
    CHECK_STR(synced("mia", "g-imp,g-frc"), "frc imp");
    CHECK_INT(access_generation(e), before); /* nothing differed */
    CHECK_STR(held("mia", ""), "frc imp");
    CHECK_STR(synced("mia", ""), "imp");
    CHECK(access_generation(e) > before);
    before = access_generation(e);
    CHECK_STR(held("mia", "g-frc,g-two"), "imp"); /* what was taken away since does not come back */
    CHECK_STR(held("nobody", "g-imp"), "");
    CHECK_INT(access_generation(e), before);
    CHECK_STR(synced("mia", "g-two,osmo-user"), "frc imp osmo-user");
    CHECK_OK(store_write(e->store, NULL, give, (char *)(uintptr_t)"mia", &err), &err);
    CHECK_STR(synced("mia", ""), "ign imp osmo-user");
    /* the names are replaced, kept and taken away */
    CHECK_OK(put("{\"name\":\"imp\",\"description\":\"\",\"policies\":[],\"external_roles\":[\"g-new\"]}"), &err);
    CHECK_STR(synced("leo", "g-imp"), "");
    CHECK_OK(put("{\"name\":\"imp\",\"description\":\"\",\"policies\":[]}"), &err);
    CHECK_STR(synced("leo", "g-new"), "imp");
    CHECK_OK(put("{\"name\":\"imp\",\"description\":\"\",\"policies\":[],\"external_roles\":[]}"), &err);
    CHECK_STR(synced("eva", "g-new,imp"), "");
    stop(true);
}

/* ---- the configuration file ---- */

static const char file_roles[] = "roles:\n  osmo-user: {description: few, policies: [{actions: ['pool:List'], resources: ['*']}]}\n"
                                 "  team: {policies: [{actions: ['workflow:*'], resources: [pool/default]}], external_roles: [g-team]}\n";

static void from_file(void) {
    struct role_row *rows = NULL;
    size_t n = 0;
    REQUIRE(start_with(file_roles));
    CHECK(may("osmo-user", ACTION_POOL_LIST, NULL));
    CHECK(!may("osmo-user", ACTION_WORKFLOW_LIST, NULL));
    CHECK(may("team", ACTION_WORKFLOW_CREATE, "pool/default"));
    CHECK(may("osmo-admin", ACTION_NONE, NULL));
    CHECK_INT(put("{\"name\":\"x\",\"description\":\"\",\"policies\":[]}"), OSMO_ECONFLICT);
    CHECK_INT(access_delete_role(e, "team", &err), OSMO_ECONFLICT);
    CHECK_STR(synced("mia", "g-team"), "team");
    CHECK_STR(held("mia", "g-team"), "team");
    CHECK_STR(synced("mia", ""), "");
    CHECK_STR(synced("mia", "osmo-user"), "osmo-user");
    CHECK_OK(repo_role_list(reader(), &rows, &n, &err), &err);
    CHECK_INT(n, 6);
    role_rows_free(rows, n);
    _cleanup_json_ json_t *list = NULL;
    CHECK_OK(access_roles_json(e, &list, &err), &err);
    CHECK_INT(json_len(list), 6);
    CHECK_STR(json_get_str(json_at(list, 5), "name"), "team");
    stop(true);
}

static int write_file(const char *text) {
    _cleanup_free_ char *path = str_printf("%s/config.yaml", test_dir);
    return path ? file_write_atomic(path, text, strlen(text), 0600, false, &err) : OSMO_ENOMEM;
}

/* A changed file counts with its reload; one that is refused changes nothing; without the section the stored roles count. */
static void reloaded_file(void) {
    REQUIRE(start_with(file_roles));
    uint64_t before = access_generation(e);
    CHECK_OK(write_file("roles: {team: {policies: [{actions: ['pool:List'], resources: ['*']}]}}\n"), &err);
    CHECK_OK(engine_reload(e, &err), &err);
    CHECK(access_generation(e) > before);
    CHECK(!may("team", ACTION_WORKFLOW_CREATE, "pool/default"));
    CHECK(may("team", ACTION_POOL_LIST, NULL));
    CHECK(!may("osmo-user", ACTION_POOL_LIST, NULL));
    CHECK_OK(write_file("roles: {team: {policies: 7}}\n"), &err);
    CHECK(engine_reload(e, &err) < 0);
    CHECK(may("team", ACTION_POOL_LIST, NULL));
    CHECK_OK(write_file("service: {}\n"), &err);
    CHECK_OK(engine_reload(e, &err), &err);
    CHECK(may("osmo-user", ACTION_POOL_LIST, NULL));
    CHECK(may("osmo-user", ACTION_WORKFLOW_CREATE, "pool/default"));
    stop(true);
}

static void bad_files(void) {
    static const struct { const char *text, *why; } cases[] = {
        { "roles: [a]\n", "roles" }, { "roles: {a: 1}\n", "roles.a" },
        { "roles: {a: {policies: [{effect: Perhaps}]}}\n", "effect of policy 1" },
        { "roles: {a: {policies: [{actions: [fly]}]}}\n", "actions of policy 1" },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct settings *s = NULL;
        CHECK(settings_parse(cases[i].text, strlen(cases[i].text), "x.yaml", &s, &err) < 0);
        CHECK_CONTAINS(err.text, cases[i].why);
    }
}

/* ---- replicas ---- */

static engine_t *other;
static bool other_knows(void) {
    struct identity who = caller("team");
    bool yes = access_decide(other, &who, ACTION_WORKFLOW_CREATE, "pool/default") == VERDICT_ALLOW;
    identity_clear(&who);
    return yes;
}

static void replicas(void) {
    if (!use_pgsql)
        return;
    REQUIRE(start_with(NULL));
    if (!fixture_is_pgsql()) {
        stop(true);
        return;
    }
    other = start_another("other", NULL, &err);
    REQUIRE(other != NULL);
    uint64_t before = access_generation(other);
    CHECK(!other_knows());
    CHECK_OK(put("{\"name\":\"team\",\"description\":\"\",\"policies\":[{\"actions\":\"workflow:*\",\"resources\":\"*\"}]}"), &err);
    access_changed_here(other); /* what the hint means; the channel has tests of its own */
    CHECK(access_generation(other) > before);
    for (int i = 0; i < 500 && !other_knows(); i++)
        usleep(10000);
    CHECK(other_knows());
    engine_close(other);
    stop(true);
}

static void on_pgsql(void) {
    use_pgsql = true;
    defaults();
    completion();
    changes();
    built_in_roles();
    sync_modes();
    from_file();
    replicas();
}

static const struct check_test access_tests[] = {
    { "default roles", defaults }, { "completion at the start", completion }, { "changes are seen", changes },
    { "built-in roles", built_in_roles }, { "what is bound to a task or a backend", bound }, { "many sets of roles", many_sets },
    { "many threads", many_threads }, { "sync modes", sync_modes }, { "roles of the file", from_file }, { "reloaded file", reloaded_file },
    { "bad files", bad_files }, { "on PostgreSQL", on_pgsql },
};
TEST_MAIN("access", access_tests)
