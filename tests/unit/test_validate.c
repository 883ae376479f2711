/* Resource rules over specifications and nodes, by tables: static and node rules, quantities, text, distinct operators,
 * the share of osmo-ctrl. */
#include <stdlib.h>

#include "base/cleanup.h"
#include "check.h"
#include "model/node_match.h"
#include "model/validate.h"

static const struct validate_node two[] = {
    { "small", 4, 0, 8.0 * (1 << 30), 100.0 * (1 << 30) },
    { "big", 32, 8, 64.0 * (1 << 30), 100.0 * (1 << 30) },
};

/* A pool `p` with these rules (YAML flow items) and template, one task with these resources. */
static int run(const char *rules, const char *template, const char *resources, const struct validate_node *nodes,
               size_t n, osmo_error_t *err) {
    _cleanup_free_ char *config = str_printf(
        "pools:\n  p:\n    backend: be\n    default_platform: cpu\n    common_pod_template: [tpl]\n"
        "    common_default_variables: {USER_CPU: 1, USER_GPU: 0, USER_MEMORY: 1Gi, USER_STORAGE: 1Gi, KIND: fast}\n"
        "    common_resource_validations: [all]\n    platforms:\n      cpu: {}\n"
        "pod_templates:\n  tpl: %s\nresource_validations:\n  all: [%s]\n", template ? template : "{}", rules);
    _cleanup_free_ char *text = str_printf("name: w\nresources: {default: %s}\ntasks:\n"
                                           "- {name: t, image: u, command: [a]}\n", resources);
    struct settings *settings = NULL;
    yaml_node_t *doc = NULL;
    struct spec *spec = NULL;
    const yaml_limits_t limits = YAML_LIMITS_DEFAULT;
    int rc = settings_parse(config, strlen(config), "test", &settings, err);
    CHECK_OK(rc, err);
    const struct pool *pool = rc < 0 ? NULL : settings_pool(settings, "p");
    if (rc >= 0)
        rc = yaml_parse(text, strlen(text), &limits, &doc, err);
    if (rc >= 0)
        rc = spec_parse(doc, settings, &spec, err);
    if (rc >= 0)
        rc = spec_resolve(spec, settings, pool, err);
    CHECK_OK(rc, err);
    if (rc >= 0) {
        struct validate_platform p = { .platform = &pool->platforms[0], .nodes = nodes, .nnodes = n };
        rc = validate_resources(spec, pool, "NORMAL", &p, 1, err);
    }
    spec_free(spec);
    yaml_free(doc);
    settings_free(settings);
    return rc;
}

#define RULE(op, left, right) "{operator: " op ", left_operand: '" left "', right_operand: '" right \
                              "', assert_message: 'wants " left " of {{K8_CPU}}'}"
#define STATIC_RULE(op, left, right) "{operator: " op ", left_operand: '" left "', right_operand: '" right \
                                     "', assert_message: 'bad {{USER_MEMORY}}'}"

static void static_rules(void) {
    static const struct { const char *rule, *resources; int code; const char *text; } cases[] = {
        { STATIC_RULE("GT", "{{USER_MEMORY}}", "0"), "{memory: 1Gi}", 0, NULL },
        { STATIC_RULE("GT", "{{USER_MEMORY}}", "2Gi"), "{memory: 1Gi}", OSMO_EUSER, "task 't', resource 'default': bad 1Gi" },
        { STATIC_RULE("LE", "{{USER_MEMORY}}", "1024Mi"), "{memory: 1Gi}", 0, NULL },
        { STATIC_RULE("LT", "{{USER_MEMORY}}", "1024Mi"), "{memory: 1Gi}", OSMO_EUSER, "bad 1Gi" },
        { STATIC_RULE("GE", "{{USER_CPU}}", "2"), "{cpu: 2}", 0, NULL },
        { STATIC_RULE("EQ", "{{USER_GPU}}", "0"), "{gpu: 0}", 0, NULL },
        { STATIC_RULE("EQ", "{{KIND}}", "fast"), "{}", 0, NULL },
        { STATIC_RULE("EQ", "{{KIND}}", "slow"), "{}", OSMO_EUSER, "bad" },
        { STATIC_RULE("EQ", "{{KIND}}", "1"), "{}", OSMO_EUSER, "bad" },
        { STATIC_RULE("LT", "{{KIND}}", "1"), "{}", OSMO_EUSAGE, "compares a number with the text 'fast'" },
        { STATIC_RULE("LT", "{{NOPE}}", "1"), "{}", OSMO_EUSAGE, "NOPE" },
        { STATIC_RULE("GT", "{{USER_MEMORY}}", "0"), "{}", 0, NULL }, /* from the pool's variables */
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        osmo_error_t err = OSMO_ERROR_INIT;
        int rc = run(cases[i].rule, NULL, cases[i].resources, NULL, 0, &err);
        if (rc != cases[i].code)
            fprintf(stderr, "case %zu: %d %s\n", i, rc, err.text);
        CHECK_INT(rc, cases[i].code);
        if (cases[i].text)
            CHECK_CONTAINS(err.text, cases[i].text);
    }
}

#define CTRL "{spec: {containers: [{name: osmo-ctrl, resources: {requests: {cpu: 2, memory: 4Gi}}}]}}"

static void node_rules(void) {
    static const struct { const char *rules, *template, *resources; size_t n; int code; const char *text; } cases[] = {
        { RULE("LE", "{{USER_CPU}}", "{{K8_CPU}}"), NULL, "{cpu: 31}", 2, 0, NULL },
        { RULE("LE", "{{USER_CPU}}", "{{K8_CPU}}"), NULL, "{cpu: 32}", 2, OSMO_ERESOURCE, "of 31 (the largest of 2, node big" },
        { RULE("LE", "{{USER_CPU}}", "{{K8_CPU}}"), NULL, "{cpu: 32}", 0, 0, NULL },
        { RULE("LE", "{{USER_CPU}}", "{{K8_CPU}}"), NULL, "{cpu: 4}", 1, OSMO_ERESOURCE, "of 3 " },
        { RULE("LE", "{{USER_CPU}}", "{{K8_CPU}}"), CTRL, "{cpu: 30}", 2, 0, NULL },
        { RULE("LE", "{{USER_CPU}}", "{{K8_CPU}}"), CTRL, "{cpu: 31}", 2, OSMO_ERESOURCE, "of 30 " },
        { RULE("LE", "{{USER_MEMORY}}", "{{K8_MEMORY}}"), CTRL, "{memory: 60Gi}", 2, 0, NULL },
        { RULE("LE", "{{USER_MEMORY}}", "{{K8_MEMORY}}"), CTRL, "{memory: 61Gi}", 2, OSMO_ERESOURCE, "memory 60.0Gi" },
        { RULE("LT", "{{USER_STORAGE}}", "{{K8_STORAGE}}"), CTRL, "{storage: 98Gi}", 2, 0, NULL },
        { RULE("LT", "{{USER_STORAGE}}", "{{K8_STORAGE}}"), CTRL, "{storage: 99Gi}", 2, OSMO_ERESOURCE, "99.0Gi" },
        { RULE("LE", "{{USER_GPU}}", "{{K8_GPU}}"), NULL, "{gpu: 9}", 2, OSMO_ERESOURCE, "gpu 8" },
        /* one node must satisfy all of them */
        { RULE("LE", "{{USER_CPU}}", "{{K8_CPU}}") ", " RULE("GE", "3", "{{K8_CPU}}"), NULL, "{cpu: 3}", 2, 0, NULL },
        { RULE("LE", "{{USER_CPU}}", "{{K8_CPU}}") ", " RULE("GE", "3", "{{K8_CPU}}"), NULL, "{cpu: 4}", 2,
          OSMO_ERESOURCE, "fits no node of platform 'cpu'" },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        osmo_error_t err = OSMO_ERROR_INIT;
        int rc = run(cases[i].rules, cases[i].template, cases[i].resources, two, cases[i].n, &err);
        if (rc != cases[i].code)
            fprintf(stderr, "case %zu: %d %s\n", i, rc, err.text);
        CHECK_INT(rc, cases[i].code);
        if (cases[i].text)
            CHECK_CONTAINS(err.text, cases[i].text);
    }
}

static json_t *tree(const char *text) {
    json_t *v = NULL;
    CHECK_INT(json_parse(text, strlen(text), &v, NULL), 0);
    return v;
}

static void matching(void) {
    static const struct { const char *have, *want; bool match; } labels[] = {
        { "{\"a\":\"1\",\"b\":\"2\"}", "{\"a\":\"1\"}", true }, { "{\"a\":\"1\"}", "{}", true },
        { "{\"a\":\"1\"}", "{\"a\":\"2\"}", false }, { "{}", "{\"a\":\"1\"}", false },
    };
    static const struct { const char *taints, *tolerations; bool match; } taints[] = {
        { "[]", "[]", true }, { "[{\"key\":\"k\",\"value\":\"v\",\"effect\":\"NoSchedule\"}]", "[]", false },
        { "[{\"key\":\"k\",\"value\":\"v\",\"effect\":\"PreferNoSchedule\"}]", "[]", true },
        { "[{\"key\":\"k\",\"value\":\"v\",\"effect\":\"NoSchedule\"}]", "[{\"operator\":\"Exists\"}]", true },
        { "[{\"key\":\"k\",\"value\":\"v\",\"effect\":\"NoSchedule\"}]", "[{\"key\":\"k\",\"value\":\"v\"}]", true },
        { "[{\"key\":\"k\",\"value\":\"v\",\"effect\":\"NoSchedule\"}]", "[{\"key\":\"k\",\"value\":\"x\"}]", false },
    };
    for (size_t i = 0; i < ARRAY_SIZE(labels); i++) {
        _cleanup_json_ json_t *have = tree(labels[i].have), *want = tree(labels[i].want);
        CHECK_INT(node_labels_match(have, want), labels[i].match);
    }
    for (size_t i = 0; i < ARRAY_SIZE(taints); i++) {
        _cleanup_json_ json_t *have = tree(taints[i].taints), *want = tree(taints[i].tolerations);
        CHECK_INT(node_taints_tolerated(have, want), taints[i].match);
    }
    _cleanup_json_ json_t *amounts = tree("{\"cpu\":\"250m\",\"memory\":\"2Ki\",\"pods\":7,\"bad\":\"x\"}");
    CHECK(node_quantity(amounts, "cpu") == 0.25 && node_quantity(amounts, "memory") == 2048 &&
          node_quantity(amounts, "pods") == 7 && node_quantity(amounts, "bad") == 0 && node_quantity(amounts, "no") == 0);
}

static const struct check_test tests[] = {
    { "static rules", static_rules }, { "node rules", node_rules }, { "labels, taints, amounts", matching },
};
TEST_MAIN("validate", tests)
