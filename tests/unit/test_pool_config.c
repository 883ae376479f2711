/* Pools of the configuration routes: what a change makes of a document, which names and changes are refused. */
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "check.h"
#include "model/pool_config.h"
#include "model/settings.h"

static json_t *read_json(const char *text) {
    json_t *v = NULL;
    osmo_error_t err = OSMO_ERROR_INIT;
    if (json_parse(text, strlen(text), &v, &err) < 0)
        fprintf(stderr, "%s: %s\n", text, err.text);
    return v;
}

/* ---- patches ---- */

static const struct { const char *base, *patch, *want; } patches[] = {
    /* members */
    { "{\"a\":1}", "{\"b\":2}", "{\"a\":1,\"b\":2}" },
    { "{\"a\":1}", "{\"a\":\"x\"}", "{\"a\":\"x\"}" },
    { "{\"a\":1}", "{\"a\":null}", "{\"a\":null}" },
    { "{\"a\":{\"b\":1,\"c\":2}}", "{\"a\":{\"c\":3}}", "{\"a\":{\"b\":1,\"c\":3}}" },
    { "{\"a\":{\"b\":{\"c\":1}}}", "{\"a\":{\"b\":{\"d\":2}}}", "{\"a\":{\"b\":{\"c\":1,\"d\":2}}}" },
    { "{\"a\":1}", "{\"a\":{\"b\":2}}", "{\"a\":{\"b\":2}}" },
    { "{\"a\":{\"b\":2}}", "{\"a\":1}", "{\"a\":1}" },
    { "{\"a\":1}", "{}", "{\"a\":1}" },
    { "{\"a\":{\"b\":1}}", "{\"a\":{}}", "{\"a\":{\"b\":1}}" },
    { "null", "{\"a\":{\"b\":2}}", "{\"a\":{\"b\":2}}" },
    /* actions on members */
    { "{\"a\":{\"b\":1},\"c\":2}", "{\"a\":{\"$action\":\"delete\"}}", "{\"c\":2}" },
    { "{\"a\":1,\"c\":2}", "{\"a\":{\"$action\":\"delete\"}}", "{\"c\":2}" },
    { "{\"c\":2}", "{\"a\":{\"$action\":\"delete\"}}", "{\"c\":2}" },
    { "{\"a\":{\"b\":1,\"c\":2}}", "{\"a\":{\"b\":{\"$action\":\"delete\"}}}", "{\"a\":{\"c\":2}}" },
    { "{\"a\":{\"b\":1,\"c\":2}}", "{\"a\":{\"$action\":\"replace\",\"d\":3}}", "{\"a\":{\"d\":3}}" },
    /* lists of scalars */
    { "{\"a\":[1,2]}", "{\"a\":[3]}", "{\"a\":[3]}" },
    { "{\"a\":[1,2]}", "{\"a\":[]}", "{\"a\":[]}" },
    { "{\"a\":[{\"k\":1}]}", "{\"a\":[]}", "{\"a\":[]}" },
    { "{\"a\":[1]}", "{\"a\":[{\"k\":1},2]}", "{\"a\":[{\"k\":1},2]}" },
    /* lists of objects */
    { "{\"a\":[{\"k\":1},{\"k\":2}]}", "{\"a\":[{\"k\":3}]}", "{\"a\":[{\"k\":1},{\"k\":2},{\"k\":3}]}" },
    { "{\"a\":[{\"k\":1},{\"k\":2}]}", "{\"a\":[{\"$index\":1,\"l\":5}]}", "{\"a\":[{\"k\":1},{\"k\":2,\"l\":5}]}" },
    { "{\"a\":[{\"k\":1},{\"k\":2}]}", "{\"a\":[{\"$index\":0,\"$action\":\"delete\"}]}", "{\"a\":[{\"k\":2}]}" },
    { "{\"a\":[{\"k\":1},{\"k\":2}]}", "{\"a\":[{\"$index\":0,\"$action\":\"replace\",\"l\":9}]}", "{\"a\":[{\"l\":9},{\"k\":2}]}" },
    { "{\"a\":[{\"k\":1},{\"k\":2},{\"k\":3}]}",
      "{\"a\":[{\"$index\":0,\"$action\":\"delete\"},{\"$index\":2,\"k\":4},{\"k\":5}]}", "{\"a\":[{\"k\":2},{\"k\":4},{\"k\":5}]}" },
    { "{\"a\":[{\"k\":1}]}", "{\"a\":[{\"$index\":7,\"k\":4}]}", "{\"a\":[{\"k\":1},{\"k\":4}]}" },
    { "{\"a\":[{\"k\":1}]}", "{\"a\":[{\"$index\":7,\"$action\":\"delete\"}]}", "{\"a\":[{\"k\":1}]}" },
    { "{\"a\":[{\"k\":1}]}", "{\"a\":[{\"$index\":0,\"$action\":\"delete\"},{\"$index\":0,\"l\":2}]}", "{\"a\":[{\"l\":2}]}" },
    { "{\"a\":[1,2]}", "{\"a\":[{\"$index\":0,\"k\":1}]}", "{\"a\":[{\"k\":1}]}" },
    { "{}", "{\"a\":[{\"$index\":0,\"k\":1}]}", "{\"a\":[{\"k\":1}]}" },
    { "{\"a\":[{\"k\":{\"x\":1}}]}", "{\"a\":[{\"$index\":0,\"k\":{\"y\":2}}]}", "{\"a\":[{\"k\":{\"x\":1,\"y\":2}}]}" },
    /* mistakes */
    { "{}", "{\"a\":{\"$action\":\"drop\"}}", NULL },
    { "{}", "{\"a\":{\"$action\":1}}", NULL },
    { "{\"a\":[{\"k\":1}]}", "{\"a\":[{\"$index\":-1}]}", NULL },
    { "{\"a\":[{\"k\":1}]}", "{\"a\":[{\"$index\":\"0\"}]}", NULL },
    { "{\"a\":[{\"k\":1}]}", "{\"a\":[{\"$index\":0.5}]}", NULL },
    { "{\"a\":[{\"k\":1}]}", "{\"a\":[{\"$index\":0,\"$action\":\"merge\"}]}", NULL },
};

static void test_patch(void) {
    for (size_t i = 0; i < ARRAY_SIZE(patches); i++) {
        _cleanup_json_ json_t *base = read_json(patches[i].base), *patch = read_json(patches[i].patch), *out = NULL;
        osmo_error_t err = OSMO_ERROR_INIT;
        int rc = config_patch(base, patch, &out, &err);
        _cleanup_free_ char *text = json_to_text(out), *kept = json_to_text(base);
        CHECK_INT(rc, patches[i].want ? 0 : OSMO_EUSAGE);
        if (patches[i].want)
            CHECK_STR(text, patches[i].want);
        else
            CHECK(out == NULL && strstr(err.text, "$") != NULL);
        CHECK_STR(kept, patches[i].base); /* it is never changed */
    }
}

/* ---- names ---- */

static void test_names(void) {
    char longest[POOL_NAME_MAX + 2];
    static const struct { const char *name; bool valid; } names[] = {
        { "a", true },     { "A9", true },   { "pool-1", true },  { "a_b.c-d", true }, { "", false },       { "9a", false },
        { "-a", false },   { "a-", false },  { "a.", false },     { "a b", false },    { "a/b", false },    { "\xc3\xa4", false },
        { "a\xc3\xa4", false }, { "a\n", false }, { "..", false }, { "a*", false },
    };
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        CHECK_INT(config_name_valid(names[i].name), names[i].valid);
    memset(longest, 'a', sizeof longest);
    longest[POOL_NAME_MAX + 1] = '\0';
    CHECK(!config_name_valid(longest));
    longest[POOL_NAME_MAX] = '\0';
    CHECK(config_name_valid(longest));
    CHECK(!config_name_valid(NULL));
}

/* ---- pools ---- */

#define FIRST "\"a\":{\"backend\":\"b\",\"default_platform\":\"x\",\"platforms\":{\"x\":{},\"y\":{\"description\":\"why\"}}}"
#define TWO "{" FIRST ",\"c\":{\"backend\":\"b\"}}"
static const struct { enum pool_edit_kind kind; const char *pool, *platform, *new_name, *document; int rc; const char *want; } edits[] = {
    { POOLS_PUT, NULL, NULL, NULL, "{\"d\":{\"backend\":\"z\",\"name\":\"other\",\"status\":\"ONLINE\",\"parsed_pod_template\":{}}}", 0,
      "{" FIRST ",\"c\":{\"backend\":\"b\"},"
      "\"d\":{\"backend\":\"z\"}}" },
    { POOLS_PUT, NULL, NULL, NULL,
      "{\"a\":{\"backend\":\"z\",\"platforms\":{\"p\":{\"labels\":{},\"description\":\"d\",\"allowed_mounts\":null}}}}", 0,
      "{\"a\":{\"backend\":\"z\",\"platforms\":{\"p\":{\"description\":\"d\"}}},\"c\":{\"backend\":\"b\"}}" },
    { POOLS_PUT, NULL, NULL, NULL, "{}", 0, TWO },
    { POOLS_PUT, NULL, NULL, NULL, "{\"d\":7}", OSMO_EUSAGE, "pools.d" },
    { POOLS_PUT, NULL, NULL, NULL, "{\"d\":null}", OSMO_EUSAGE, "pools.d" },
    { POOLS_PUT, NULL, NULL, NULL, "{\"-d\":{}}", OSMO_EUSER, "'-d' is no name for a pool" },
    { POOLS_PUT, NULL, NULL, NULL, "{\"d\":{\"platforms\":{\"p/q\":{}}}}", OSMO_EUSER, "'p/q' is no name for a platform" },
    { POOL_PATCH, "c", NULL, NULL, "{\"enable_maintenance\":true,\"nonsense\":1}", 0,
      "{" FIRST ","
      "\"c\":{\"enable_maintenance\":true,\"backend\":\"b\"}}" },
    { POOL_PATCH, "a", NULL, NULL, "{\"platforms\":{\"y\":{\"$action\":\"delete\"}}}", 0,
      "{\"a\":{\"backend\":\"b\",\"default_platform\":\"x\",\"platforms\":{\"x\":{}}},\"c\":{\"backend\":\"b\"}}" },
    { POOL_PATCH, "no", NULL, NULL, "{}", OSMO_EUSER, "Pool no does not exist" },
    { POOL_DELETE, "a", NULL, NULL, NULL, 0, "{\"c\":{\"backend\":\"b\"}}" },
    { POOL_DELETE, "no", NULL, NULL, NULL, 0, TWO },
    { POOL_RENAME, "c", NULL, "e", NULL, 0,
      "{" FIRST ",\"e\":{\"backend\":\"b\"}}" },
    { POOL_RENAME, "c", NULL, "a", NULL, OSMO_EEXISTS, "Pool a exists already" },
    { POOL_RENAME, "c", NULL, "c", NULL, OSMO_EEXISTS, "exists" },
    { POOL_RENAME, "c", NULL, "", NULL, OSMO_EUSER, "no name" },
    { POOL_RENAME, "no", NULL, "f", NULL, OSMO_EUSER, "Pool no does not exist" },
    { PLATFORM_PUT, "c", "p", NULL, "{\"privileged_allowed\":true,\"default_mounts\":[]}", 0,
      "{" FIRST ","
      "\"c\":{\"backend\":\"b\",\"platforms\":{\"p\":{\"privileged_allowed\":true}}}}" },
    { PLATFORM_PUT, "c", "p q", NULL, "{}", OSMO_EUSER, "no name for a platform" },
    { PLATFORM_PUT, "no", "p", NULL, "{}", OSMO_EUSER, "does not exist" },
    { PLATFORM_RENAME, "a", "x", "z", NULL, 0,
      "{\"a\":{\"backend\":\"b\",\"default_platform\":\"z\""
      ",\"platforms\":{\"y\":{\"description\":\"why\"},\"z\":{}}},\"c\":{\"backend\":\"b\"}}" },
    { PLATFORM_RENAME, "a", "y", "z", NULL, 0,
      "{\"a\":{\"backend\":\"b\",\"default_platform\":\"x\""
      ",\"platforms\":{\"x\":{},\"z\":{\"description\":\"why\"}}},\"c\":{\"backend\":\"b\"}}" },
    { PLATFORM_RENAME, "a", "x", "y", NULL, OSMO_EEXISTS, "has a platform y already" },
    { PLATFORM_RENAME, "a", "no", "z", NULL, OSMO_EUSER, "has no platform no" },
    { PLATFORM_RENAME, "a", "x", "-", NULL, OSMO_EUSER, "no name for a platform" },
};

static void test_edits(void) {
    for (size_t i = 0; i < ARRAY_SIZE(edits); i++) {
        _cleanup_json_ json_t *pools = read_json(TWO), *document = edits[i].document ? read_json(edits[i].document) : NULL;
        struct pool_edit e = { edits[i].kind, edits[i].pool, edits[i].platform, edits[i].new_name, document };
        osmo_error_t err = OSMO_ERROR_INIT;
        int rc = pools_edit(pools, &e, &err);
        CHECK_INT(rc, edits[i].rc);
        if (rc >= 0) {
            _cleanup_free_ char *text = json_to_text(pools);
            CHECK_STR(text, edits[i].want);
        } else if (!strstr(err.text, edits[i].want)) {
            CHECK_STR(err.text, edits[i].want);
        }
    }
}

static void test_too_many(void) {
    _cleanup_json_ json_t *pools = json_object(), *document = json_object();
    osmo_error_t err = OSMO_ERROR_INIT;
    char name[16];
    for (int i = 0; i < POOLS_MAX; i++) {
        snprintf(name, sizeof name, "p%d", i);
        json_set(pools, name, json_object());
    }
    struct pool_edit e = { .kind = POOLS_PUT, .document = document };
    CHECK_OK(pools_edit(pools, &e, &err), &err);
    json_set(document, "more", json_object());
    CHECK_INT(pools_edit(pools, &e, &err), OSMO_ELIMIT);
}

/* ---- as settings ---- */

static void test_settings(void) {
    static const struct { const char *pools, *want; } bad[] = {
        { "{\"pools\":{\"a\":{}}}", "pools.a.backend" },
        { "{\"pools\":{\"a\":{\"backend\":5}}}", "pools.a.backend" },
        { "{\"pools\":{\"a\":{\"backend\":\"b\",\"common_pod_template\":[\"gone\"]}}}", "refers to 'gone'" },
        { "{\"pools\":{\"a\":{\"backend\":\"b\",\"default_platform\":\"gone\"}}}", "default_platform" },
        { "{\"pools\":{\"a\":{\"backend\":\"b\",\"platforms\":{\"p\":3}}}}", "pools.a.platforms.p" },
        { "{\"pools\":{\"a\":{\"backend\":\"b\",\"max_exec_timeout\":\"soon\"}}}", "pools.a.max_exec_timeout" },
        { "[]", "must be an object" },
    };
    struct settings *s = NULL;
    osmo_error_t err = OSMO_ERROR_INIT;
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        _cleanup_json_ json_t *v = read_json(bad[i].pools);
        CHECK_INT(settings_from_json(v, "the configuration", &s, &err), OSMO_EUSAGE);
        if (!strstr(err.text, bad[i].want))
            CHECK_STR(err.text, bad[i].want);
        CHECK(!strstr(err.text, "line"));
    }
    _cleanup_json_ json_t *pools = NULL, *whole = json_object();
    CHECK_OK(settings_builtin("pools", &pools, &err), &err);
    CHECK_STR(json_get_str(json_get(pools, "default"), "backend"), "default");
    json_set(whole, "pools", json_ref(pools));
    CHECK_OK(settings_from_json(whole, "the configuration", &s, &err), &err);
    REQUIRE(s);
    CHECK(!s->from_file);
    struct settings *builtin = NULL;
    CHECK_OK(settings_default(&builtin, &err), &err);
    REQUIRE(builtin && s->npools == 1 && builtin->npools == 1);
    CHECK_STR(s->pools[0].platforms[0].pod_template_json, builtin->pools[0].platforms[0].pod_template_json);
    CHECK_STR(s->pools[0].pod_template_json, builtin->pools[0].pod_template_json);
    CHECK_STR(s->pools[0].document_json, builtin->pools[0].document_json);
    settings_free(builtin);
    settings_free(s);
    json_set(whole, "pools", json_object());
    CHECK_OK(settings_from_json(whole, "the configuration", &s, &err), &err); /* none at all */
    CHECK_INT(s->npools, 0);
    settings_free(s);
}

static const struct check_test tests[] = {
    { "changes laid over documents", test_patch }, { "names", test_names },       { "changes of pools", test_edits },
    { "more pools than there may be", test_too_many }, { "documents as settings", test_settings },
};
TEST_MAIN("pool_config", tests)
