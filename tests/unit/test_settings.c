/* Configuration: built-in defaults, the file's form, merged templates, and words for mistakes. */
#include <stdlib.h>
#include "base/cleanup.h"
#include "check.h"
#include "model/pods.h"
#include "model/settings.h"

static void test_defaults(void)
{
    struct settings *s = NULL;
    osmo_error_t err = OSMO_ERROR_INIT;
    json_t *template = NULL, *rules = NULL;

    CHECK_OK(settings_default(&s, &err), &err);
    REQUIRE(s);
    const struct pool *p = settings_pool(s, "default");
    REQUIRE(p);
    const struct platform *f = pool_platform(p, "default");
    REQUIRE(f && settings_backend(s, "default"));
    CHECK_STR(settings_backend(s, "default")->scheduler_name, "kai-scheduler");
    CHECK_STR(p->default_platform, "default");
    CHECK_STR(f->variables_json, "{\"USER_CPU\":1,\"USER_GPU\":0,\"USER_MEMORY\":\"1Gi\",\"USER_STORAGE\":\"1Gi\"}");
    CHECK_STR(f->labels_json, "{}");
    CHECK_STR(f->tolerations_json, "[]");
    CHECK_OK(json_parse(f->pod_template_json, strlen(f->pod_template_json), &template, &err), &err);
    const json_t *ctrl = json_at(json_path(template, "spec", "containers", NULL), 0);
    CHECK_STR(json_get_str(ctrl, "name"), "osmo-ctrl");
    CHECK_STR(json_get_str(json_path(ctrl, "resources", "requests", NULL), "cpu"), "50m");
    CHECK(!json_has(json_get(ctrl, "resources"), "limits"));
    const json_t *user = json_at(json_path(template, "spec", "containers", NULL), 1);
    CHECK(json_equal(json_path(user, "resources", "limits", NULL), json_path(user, "resources", "requests", NULL)));
    CHECK_OK(json_parse(f->validations_json, strlen(f->validations_json), &rules, &err), &err);
    CHECK_INT(json_len(rules), 6);
    CHECK_INT(s->max_num_tasks, 1000000);
    CHECK_INT(s->max_name_length, 64);
    CHECK_INT(s->default_exec_timeout_us, INT64_C(60) * 86400 * 1000000);
    CHECK_INT(s->websocket_timeout_min, 1440);
    CHECK_STR(s->init_image, "localhost/osmo/runtime:" OSMO_VERSION);
    CHECK_INT(s->ctrl_roles.len, 2);
    CHECK(!s->from_file);
    json_free(template);
    json_free(rules);
    settings_free(s);
}

static const char full[] =
    "service:\n  service_base_url: https://osmo.example.com\n  max_pod_restart_limit: PT10M\n"
    "  cli_config: {min_supported_version: 6.0.0, latest_version: null}\n"
    "  service_auth: {keys: {}, ctrl_roles: [a], max_token_duration: 30d}\n"
    "workflow:\n  max_num_tasks: 20\n  max_exec_timeout: 1d\n  workflow_data: {websocket_timeout: 5, credential: "
        "{endpoint: 's3://b/wf'}}\n"
    "  backend_images: {init: reg/init:1, client: reg/client:1}\n  labels_config: {pod_label_prefix: x/, policy: []}\n"
    "pod_templates:\n"
    "  base: {spec: {nodeSelector: {zone: a}, containers: [{name: u, volumeMounts: [{name: v, mountPath: /data}]}, "
    "{name: osmo-ctrl, volumeMounts: [{name: v, mountPath: /hidden}]}], tolerations: [{key: k}]}}\n"
    "  over: {spec: {nodeSelector: {gpu: 'yes'}, containers: [{name: u, image: z}], tolerations: [{key: l}]}}\n"
    "group_templates:\n  cm: {apiVersion: v1, kind: ConfigMap, metadata: {name: c}, data: {a: '1'}}\n"
    "  cm2: {apiVersion: v1, kind: ConfigMap, metadata: {name: c}, data: {b: '2'}}\n"
    "backends:\n  east: {scheduler_settings: {scheduler_name: mine}, node_conditions: {rules: {Ready: 'True', "
        "Disk: 'False'}}}\n"
    "pools:\n  main:\n    backend: east\n    default_platform: cpu\n    enable_maintenance: yes\n    "
        "default_queue_timeout: ''\n"
    "    resources: {gpu: {guarantee: 4, maximum: 8}}\n    topology_keys: [{key: rack, label: example.com/rack}]\n"
    "    common_default_variables: {USER_CPU: 1, A: pool}\n    common_pod_template: [base]\n    "
        "common_resource_validations: [default_cpu]\n"
    "    common_group_templates: [cm, cm2]\n    platforms:\n      cpu: {}\n"
    "      gpu: {override_pod_template: [over], default_variables: {A: gpu}, allowed_mounts: [/opt], "
        "privileged_allowed: true,\n"
    "            resource_validations: [default_memory]}\n"
    "roles: {}\nbackend_tests: {}\nsomething_else: [1]\n";

static void test_file(void)
{
    struct settings *s = NULL;
    osmo_error_t err = OSMO_ERROR_INIT;
    json_t *rules = NULL;

    CHECK_OK(settings_parse(full, sizeof(full) - 1, "osmo.yaml", &s, &err), &err);
    REQUIRE(s);
    CHECK(s->from_file);
    CHECK_STR(s->service_base_url, "https://osmo.example.com");
    CHECK_INT(s->max_pod_restart_us, 600000000);
    CHECK_STR(s->min_client_version, "6.0.0");
    CHECK(!s->latest_client_version);
    CHECK_INT(s->ctrl_roles.len, 1);
    CHECK_INT(s->max_num_tasks, 20);
    CHECK_STR(s->data_endpoint, "s3://b/wf");
    CHECK_STR(s->pod_label_prefix, "x/");
    CHECK_INT(s->npools, 1);
    CHECK(!settings_pool(s, "default") && !settings_backend(s, "default"));
    CHECK_STR(settings_backend(s, "east")->scheduler_name, "mine");
    CHECK_STR(settings_backend(s, "east")->node_rules_json, "{\"Ready\":\"True\",\"Disk\":\"False\"}");
    const struct pool *p = settings_pool(s, "main");
    REQUIRE(p && p->nplatforms == 2);
    CHECK(p->enable_maintenance);
    CHECK_INT(p->gpu_guarantee, 4);
    CHECK_INT(p->default_queue_timeout_us, 0);
    CHECK_STR(
        p->group_templates_json,
        "[{\"apiVersion\":\"v1\",\"kind\":\"ConfigMap\",\"metadata\":{\"name\":\"c\"},\"data\":{\"a\":\"1\","
        "\"b\":\"2\"}}]");
    const struct platform *cpu = pool_platform(p, "cpu"), *gpu = pool_platform(p, "gpu");
    REQUIRE(cpu && gpu);
    CHECK_STR(cpu->labels_json, "{\"zone\":\"a\"}");
    CHECK_STR(gpu->labels_json, "{\"zone\":\"a\",\"gpu\":\"yes\"}");
    CHECK_STR(gpu->tolerations_json, "[{\"key\":\"k\"},{\"key\":\"l\"}]");
    CHECK_STR(gpu->variables_json, "{\"USER_CPU\":1,\"A\":\"gpu\"}");
    CHECK_STR(cpu->variables_json, "{\"USER_CPU\":1,\"A\":\"pool\"}");
    CHECK_CONTAINS(gpu->pod_template_json, "\"image\":\"z\"");
    CHECK_INT(gpu->default_mounts.len, 1);
    CHECK_STR(gpu->default_mounts.items[0], "/data");
    CHECK_OK(json_parse(gpu->validations_json, strlen(gpu->validations_json), &rules, &err), &err);
    CHECK_INT(json_len(rules), 4);
    json_free(rules);
    settings_free(s);
}

static void test_mistakes(void)
{
    static const struct { const char *yaml, *words; } cases[] = {
        { "- a\n", "configuration f must be a mapping" },
        { "service: {base_url: x}\n", "service.base_url: unknown key (line 1, column 11)" },
        { "workflow:\n  max_num_task: 3\n", "workflow.max_num_task: unknown key, did you mean max_num_tasks? (line "
            "2, column 3)" },
        { "workflow: {max_exec_timeout: 10}\nservice: {agent_queue_size: many}\n", "service.agent_queue_size: must "
            "be a whole number" },
        { "workflow: {workflow_data: {credential: {}}}\n", "workflow.workflow_data.credential.endpoint: is missing" },
        { "workflow: {default_exec_timeout: soon}\n", "'soon' is not a duration" },
        { "pools: {p: {}}\n", "pools.p.backend: is missing" },
        { "pools: []\n", "pools: must be a mapping, not a list" },
        { "pools: {p: {backend: b, common_pod_template: [ghost]}}\n", "pools.p.common_pod_template: refers to "
            "'ghost'" },
        { "pools: {p: {backend: b, platforms: {x: {override_pod_template: [ghost]}}}}\n",
          "pools.p.platforms.x.override_pod_template: refers to 'ghost'" },
        { "pools: {p: {backend: b, common_resource_validations: [ghost]}}\n", "refers to 'ghost'" },
        { "pools: {p: {backend: b, default_platform: x}}\n", "pools.p.default_platform: 'x' is not among the "
            "platforms" },
        { "pod_templates: {a: 1}\n", "pod_templates.a: must be a mapping" },
        { "group_templates: {a: {kind: X}}\n", "group_templates.a: needs apiVersion, kind and metadata.name" },
        { "group_templates: {a: {apiVersion: v1, kind: X, metadata: {name: n, namespace: m}}}\n",
            "must not set metadata.namespace" },
        { "resource_validations: {a: [{operator: NE, left_operand: a, right_operand: b, assert_message: c}]}\n",
            "operator must be GT" },
        { "resource_validations: {a: [{operator: GT}]}\n", "must have exactly" },
        { "roles: 3\n", "roles: must be a mapping" },
        { "backends: {b: {node_conditions: {rules: {Ready: True}}}}\n", "backends.b.node_conditions.rules.Ready: must be a pattern of "
            "statuses in quotes" },
        { "backends: {b: {node_conditions: {rules: {'R*(': 'True'}}}}\n", "the condition type is no regular expression" },
        { "backends: {b: {node_conditions: {rules: {'.*': 'True|False'}}}}\n", "covers the condition Ready" },
        { "backends: {b: {tests: [t]}}\n", "backends.b.tests: refers to 't', which is no backend test" },
        { "backend_tests: {t: {description: d}}\n", "backend_tests.t.cron_schedule: is missing" },
        { "backend_tests: [t]\n", "backend_tests: must be a mapping, not a list" },
        { "pools: {a: [\n", "configuration f: " },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        struct settings *s = NULL;
        osmo_error_t err = OSMO_ERROR_INIT;
        CHECK(settings_parse(cases[i].yaml, strlen(cases[i].yaml), "f", &s, &err) < 0);
        CHECK(!s);
        CHECK_CONTAINS(err.text, cases[i].words);
        settings_free(s);
    }
}

static void test_partial_file(void)
{
    struct settings *s = NULL;
    osmo_error_t err = OSMO_ERROR_INIT;
    static const char text[] = "workflow: {max_num_tasks: 7}\nunknown: {}\n";

    CHECK_OK(settings_parse(text, sizeof(text) - 1, "f", &s, &err), &err);
    REQUIRE(s);
    CHECK_INT(s->max_num_tasks, 7);
    CHECK(settings_pool(s, "default") != NULL);
    settings_free(s);
    s = NULL;
    CHECK_OK(settings_parse("", 0, "f", &s, &err), &err);
    settings_free(s);
}

static void test_merge(void)
{
    static const struct { const char *target, *overlay, *want; } cases[] = {
        { "{\"a\":{\"b\":1}}", "{\"a\":{\"c\":2}}", "{\"a\":{\"b\":1,\"c\":2}}" },
        { "{\"a\":{\"b\":1}}", "{\"a\":{}}", "{\"a\":{\"b\":1}}" },
        { "{\"a\":{\"b\":1}}", "{\"a\":null}", "{\"a\":null}" },
        { "{\"a\":1}", "{\"a\":[1]}", "{\"a\":[1]}" },
        { "{\"l\":[\"x\"]}", "{\"l\":[\"x\",\"name\"]}", "{\"l\":[\"x\",\"x\",\"name\"]}" },
        { "{\"l\":[{\"name\":\"u\",\"a\":1}]}", "{\"l\":[{\"name\":\"v\"},{\"name\":\"u\",\"b\":2}]}",
          "{\"l\":[{\"name\":\"u\",\"a\":1,\"b\":2},{\"name\":\"v\"}]}" },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_json_ json_t *a = NULL;
        _cleanup_json_ json_t *b = NULL;
        REQUIRE(json_parse(cases[i].target, strlen(cases[i].target), &a, NULL) == 0);
        REQUIRE(json_parse(cases[i].overlay, strlen(cases[i].overlay), &b, NULL) == 0);
        CHECK_INT(pods_merge(a, b), 0);
        _cleanup_free_ char *got = json_to_text(a);
        CHECK_STR(got, cases[i].want);
    }
}

#define POLICY(text) "workflow:\n  labels_config: {policy: [" text "]}\n"

static void test_label_policies(void)
{
    static const struct { const char *yaml, *words; } bad[] = {
        { POLICY("{allow_list: [a]}"), "workflow.labels_config.policy.0.key: is missing" },
        { POLICY("{key: -a}"), "policy.0.key: '-a' is no valid label key" },
        { POLICY("{key: a, allow_list: [a, 'b c']}"), "policy.0.allow_list.1: 'b c' is no valid label value" },
        { POLICY("{key: a, enforcement: maybe}"), "enforcement: must be off, warn or enforce" },
        { POLICY("{key: a, color: red}"), "policy.0.color: unknown key" },
        { POLICY("{key: a}, {key: b}, {key: a}"), "policy.2.key: label 'a' has two policies" },
        { POLICY("{key: a, assert_message: \"b\\nc\"}"), "must be a single line" },
        { POLICY("{key: a1}, {key: a2}, {key: a3}, {key: a4}, {key: a5}, {key: a6}, {key: a7}, {key: a8}, {key: a9}, {key: b1}, "
                 "{key: b2}, {key: b3}, {key: b4}, {key: b5}, {key: b6}, {key: b7}, {key: b8}"), "has 17 policies, at most 16" },
        { "workflow: {labels_config: {pod_label_prefix: 'a b'}}", "pod_label_prefix: must not contain blanks" },
        { "workflow: {user_workflow_limits: {max_num_tasks: 0}}", "max_num_tasks: must be more than 0, it is 0" },
        { "workflow: {workflow_info: {max_name_length: 7}}", "max_name_length must be at least 8, it is 7" },
    };
    static const char good[] =
        "workflow:\n  labels_config: {pod_label_prefix: x.io/, policy: [{key: team, allow_list: [a, 7], enforcement: enforce, "
        "assert_message: '  say who  '}, {key: b, enforcement: warn}, {key: c, enforcement: off}, {key: d}]}\n"
        "  user_workflow_limits: {max_num_workflows: 3, max_num_tasks: null}\n"
        "  credential_config: {disable_registry_validation: [nvcr.io], disable_data_validation: [s3, gs]}\n";
    struct settings *s = NULL;
    osmo_error_t err = OSMO_ERROR_INIT;

    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        CHECK_INT(settings_parse(bad[i].yaml, strlen(bad[i].yaml), "f", &s, &err), OSMO_EUSAGE);
        CHECK_CONTAINS(err.text, bad[i].words);
    }
    CHECK_OK(settings_parse(good, sizeof(good) - 1, "f", &s, &err), &err);
    REQUIRE(s && s->nlabel_policies == 4);
    CHECK_STR(s->pod_label_prefix, "x.io/");
    CHECK_STR(s->label_policies[0].message, "say who");
    CHECK_STR(s->label_policies[0].allowed.items[1], "7");
    CHECK_INT(s->label_policies[0].enforcement, LABEL_ENFORCE);
    CHECK_INT(s->label_policies[1].enforcement, LABEL_WARN);
    CHECK_INT(s->label_policies[2].enforcement, LABEL_OFF);
    CHECK_INT(s->label_policies[3].enforcement, LABEL_OFF);
    CHECK_INT(s->max_user_workflows, 3);
    CHECK_INT(s->max_user_tasks, 0);
    CHECK(strlist_has(&s->unchecked_registries, "nvcr.io") && strlist_has(&s->unchecked_schemes, "gs"));
    settings_free(s);
}

#define AUTH(text) "service:\n  service_auth: {" text "}\n"
#define IDP(text) AUTH("providers: [{name: a, issuer: 'https://idp.example', audience: osmo" text "}]")

static void test_authentication(void)
{
    static const struct { const char *yaml, *words; } bad[] = {
        { AUTH("signing_key_bits: 1024"), "service_auth.signing_key_bits: must be 2048, 3072 or 4096, it is 1024" },
        { AUTH("request_rate: -1"), "request_rate: must be 0 (not limited) to" },
        { AUTH("refused_rate: many"), "refused_rate: must be a whole number" },
        { AUTH("issuer: ''"), "service_auth.issuer: must not be empty" },
        { AUTH("login_info: []"), "login_info: must be a mapping" },
        { AUTH("login_info: {token_endpoint: 3}"), "login_info.token_endpoint: must be text" },
        { AUTH("providers: {}"), "providers: must be a list" },
        { AUTH("providers: [{name: a, audience: b}]"), "providers.0.issuer: is missing" },
        { AUTH("providers: [{name: a, issuer: 'https://idp'}]"), "providers.0.audience: is missing" },
        { AUTH("providers: [{issuer: 'https://idp', audience: b}]"), "providers.0.name: is missing" },
        { AUTH("providers: [{name: a, issuer: 'http://idp', audience: b}]"),
          "providers.0.issuer: is 'http://idp': it must begin with https" },
        { IDP(", audience: ''"), "audience: must name a client, or a list of 1 to 16" },
        { IDP(", jwks_uri: 'http://idp.example/keys'"), "providers.0.jwks_uri: is 'http://idp.example/keys'" },
        { IDP(", clock_skew: 301"), "clock_skew: must be 0 to 300 seconds" },
        { IDP(", secret: x"), "providers.0.secret: unknown key" },
        { AUTH("providers: [{name: a, issuer: 'https://idp', audience: []}]"), "audience: must name a client" },
        { AUTH("providers: [{name: a, issuer: 'https://idp', audience: [x, '']}]"), "audience: must name a client" },
        { AUTH("providers: [{name: a, issuer: 'https://idp', audience: {x: y}}]"), "audience: must be" },
        { AUTH("issuer: 'https://me', providers: [{name: a, issuer: 'https://me', audience: b}]"), "has the issuer of this service's own" },
        { AUTH("providers: [{name: a, issuer: 'https://x', audience: b}, {name: c, issuer: 'https://x', audience: d}]"),
          "providers.1: has the same issuer as provider 0" },
    };
    static const char good[] =
        AUTH("signing_key_bits: 3072, request_rate: 50, request_burst: 100, refused_rate: 0, keys: {}, active_key: x, "
             "login_info: {device_endpoint: 'https://idp/device', browser_client_id: null, other: 1}, "
             "providers: [{name: a, issuer: 'https://idp.example', audience: [osmo-device, osmo-browser], jwks_uri: null}, "
             "{name: b, issuer: 'http://127.0.0.1:9000/x', audience: [c, d], user_claim: email, roles_claim: groups, clock_skew: 2m}]");
    struct settings *s = NULL;
    osmo_error_t err = OSMO_ERROR_INIT;

    for (size_t i = 0; i < ARRAY_SIZE(bad); i++) {
        CHECK_INT(settings_parse(bad[i].yaml, strlen(bad[i].yaml), "f", &s, &err), OSMO_EUSAGE);
        CHECK_CONTAINS(err.text, bad[i].words);
    }
    CHECK_OK(settings_default(&s, &err), &err);
    REQUIRE(s);
    CHECK(s->signing_key_bits == 2048 && s->refused_rate == 30 && s->request_rate == 0 && s->nproviders == 0);
    CHECK(!s->login_info.device_endpoint && !s->login_info.logout_endpoint);
    settings_free(s);
    s = NULL;
    CHECK_OK(settings_parse(good, sizeof(good) - 1, "f", &s, &err), &err);
    REQUIRE(s && s->nproviders == 2);
    CHECK(s->signing_key_bits == 3072 && s->request_rate == 50 && s->request_burst == 100 && s->refused_rate == 0);
    CHECK_STR(s->login_info.device_endpoint, "https://idp/device");
    CHECK_STR(s->providers[0].user_claim, "preferred_username");
    CHECK_STR(s->providers[0].roles_claim, "roles");
    CHECK(!s->providers[0].jwks_uri && s->providers[0].clock_skew_s == 60);
    CHECK_STR(s->providers[1].issuer, "http://127.0.0.1:9000/x");
    CHECK_STR(s->providers[1].roles_claim, "groups");
    CHECK(s->providers[0].audiences.len == 2 && strlist_has(&s->providers[0].audiences, "osmo-browser"));
    CHECK(s->providers[1].audiences.len == 2 && strlist_has(&s->providers[1].audiences, "d"));
    CHECK_INT(s->providers[1].clock_skew_s, 120);
    settings_free(s);
}

static const struct check_test tests[] = {
    { "authentication", test_authentication },
    { "label policies and limits", test_label_policies },
    { "built-in defaults", test_defaults }, { "file", test_file }, { "mistakes", test_mistakes },
    { "partial file", test_partial_file }, { "template merge", test_merge },
};
TEST_MAIN("settings", tests)
