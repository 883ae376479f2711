/* osmo/spec.h as a program sees it: this one links libosmo-core alone and includes nothing of ours but public headers. */
#include <osmo/spec.h>
#include <stdlib.h>
#include "check.h"

static const char text[] =
    "version: 2\nworkflow:\n  name: {{ who }}\n  resources: {default: {cpu: 1}, big: {platform: gpu, gpu: 2}}\n  groups:\n"
    "  - name: first\n    tasks:\n    {% for n in range(2) %}\n"
    "    - {name: t{{ n }}, lead: {{ n == 0 }}, image: 'a:{{ tag }}', command: [x, '{{output}}']}\n    {% endfor %}\n"
    "  - name: last\n    tasks:\n    - {name: end, image: b, command: [x], resource: big, inputs: [{task: t0}, {task: 'old-1:z'}, "
    "{url: 's3://b/c'}]}\ndefault-values: {who: ana, tag: 1.36}\n";
static const char config[] =
    "workflow: {labels_config: {policy: [{key: team, enforcement: warn}]}}\n"
    "pools: {lab: {backend: b, default_platform: cpu, platforms: {cpu: {}, gpu: {}}, resources: {gpu: {guarantee: 1}}}}\n";

static void test_parse(void)
{
    static const char *const set[] = { "tag=2", NULL };
    osmo_spec_t *s = NULL, *again = NULL;
    osmo_error_t err = OSMO_ERROR_INIT;
    char *yaml = NULL;

    CHECK_OK(osmo_spec_parse(text, sizeof(text) - 1, set, &s, &err), &err);
    REQUIRE(s);
    CHECK_STR(osmo_spec_get_name(s), "ana");
    CHECK_INT(osmo_spec_get_task_count(s), 3);
    CHECK_STR(osmo_spec_get_task_name(s, 1), "t1");
    CHECK_STR(osmo_spec_get_task_group(s, 1), "first");
    CHECK_STR(osmo_spec_get_task_image(s, 0), "a:2");
    CHECK_STR(osmo_spec_get_task_platform(s, 0), NULL);
    CHECK(!osmo_spec_get_task_name(s, 3) && !osmo_spec_get_task_group(s, 3) && !osmo_spec_get_task_image(s, 3));
    CHECK_INT(osmo_spec_get_group_count(s), 2);
    CHECK_STR(osmo_spec_get_group_name(s, 1), "last");
    CHECK_INT(osmo_spec_get_group_task_count(s, 0), 2);
    CHECK_INT(osmo_spec_get_group_upstream_count(s, 0), 0);
    CHECK_INT(osmo_spec_get_group_upstream_count(s, 1), 1);
    CHECK_INT(osmo_spec_get_group_upstream(s, 1, 0), 0);
    CHECK(osmo_spec_get_group_upstream(s, 1, 1) == SIZE_MAX && !osmo_spec_get_group_name(s, 2));
    CHECK_INT(osmo_spec_get_input_count(s, 2), 3);
    CHECK_STR(osmo_spec_get_input_task(s, 2, 0), "t0");
    CHECK_STR(osmo_spec_get_input_workflow(s, 2, 0), NULL);
    CHECK_STR(osmo_spec_get_input_workflow(s, 2, 1), "old-1");
    CHECK_STR(osmo_spec_get_input_url(s, 2, 2), "s3://b/c");
    CHECK_STR(osmo_spec_get_input_url(s, 2, 3), NULL);
    CHECK_OK(osmo_spec_write_yaml(s, &yaml, &err), &err);
    REQUIRE(yaml);
    CHECK_CONTAINS(yaml, "version: 2\nworkflow:\n  groups:\n  - name: first\n    tasks:\n    - command:\n");
    CHECK_OK(osmo_spec_parse(yaml, strlen(yaml), NULL, &again, &err), &err);
    CHECK(again && osmo_spec_get_task_count(again) == 3);
    free(yaml);
    osmo_spec_free(again);
    osmo_spec_free(s);
    s = NULL;
    CHECK_INT(osmo_spec_parse("a: b\n", 5, NULL, &s, &err), OSMO_EUSER);
    CHECK(!s);
    osmo_spec_free(NULL);
}

static void test_render(void)
{
    static const char *const set[] = { "who=bob", NULL }, *const strings[] = { "tag=1.0", NULL };
    osmo_spec_options_t options = OSMO_SPEC_OPTIONS_INIT;
    osmo_error_t err = OSMO_ERROR_INIT;
    char *out = NULL;

    options.set = set;
    options.set_string = strings;
    CHECK_OK(osmo_spec_render(text, sizeof(text) - 1, &options, &out, &err), &err);
    CHECK_CONTAINS(out, "\nworkflow:\n  name: bob\n");
    CHECK_CONTAINS(out, "image: 'a:1.0', command: [x, '{{output}}']");
    free(out);
    out = NULL;
    CHECK_INT(osmo_spec_render("workflow: {{ x }}\n", 18, NULL, &out, &err), OSMO_EUSAGE);
    CHECK(!out);
    CHECK_CONTAINS(err.text, "line 1: 'x' is undefined");
    options.size = 0;
    CHECK_INT(osmo_spec_render(text, sizeof(text) - 1, &options, &out, &err), OSMO_EINVAL);
}

static void test_validate(void)
{
    static const char *const env[] = { "A=b=c", NULL }, *const labels[] = { "team=x", NULL };
    osmo_spec_options_t options = OSMO_SPEC_OPTIONS_INIT;
    osmo_spec_findings_t *findings = NULL;
    osmo_error_t err = OSMO_ERROR_INIT;
    osmo_spec_t *s = NULL;
    char *yaml = NULL;

    options.settings = config;
    options.settings_len = sizeof(config) - 1;
    options.priority = "LOW";
    options.env = env;
    CHECK_OK(osmo_spec_validate(text, sizeof(text) - 1, &options, &s, &findings, &err), &err);
    REQUIRE(s && findings);
    CHECK_INT(osmo_spec_findings_get_total(findings), 0);
    CHECK_INT(osmo_spec_findings_get_warning_count(findings), 1);
    CHECK_CONTAINS(osmo_spec_findings_get_warning(findings, 0), "label 'team' is missing");
    CHECK_STR(osmo_spec_findings_get_warning(findings, 1), NULL);
    CHECK_STR(osmo_spec_get_task_platform(s, 0), "cpu");
    CHECK_STR(osmo_spec_get_task_platform(s, 2), "gpu");
    CHECK_OK(osmo_spec_write_yaml(s, &yaml, &err), &err);
    CHECK_CONTAINS(yaml, "environment:\n        A: \"b=c\"\n");
    free(yaml);
    osmo_spec_free(s);
    osmo_spec_findings_free(findings);

    options.labels = labels;
    options.priority = NULL;
    CHECK_INT(osmo_spec_validate(text, sizeof(text) - 1, &options, NULL, &findings, &err), OSMO_EUSAGE);
    REQUIRE(findings);
    CHECK_INT(osmo_spec_findings_get_count(findings), 1);
    CHECK_INT(osmo_spec_findings_get_code(findings, 0), OSMO_EUSAGE);
    CHECK_CONTAINS(osmo_spec_findings_get_text(findings, 0), "group 'last' asks for 2 GPUs, pool 'lab' guarantees 1");
    CHECK_INT(osmo_spec_findings_get_warning_count(findings), 0);
    osmo_spec_findings_free(findings);

    options.pool = "none";
    CHECK_INT(osmo_spec_validate(text, sizeof(text) - 1, &options, NULL, &findings, &err), OSMO_EUSER);
    CHECK(!findings);
    CHECK_CONTAINS(err.text, "pool 'none' does not exist");
    options.priority = "SOON";
    CHECK_INT(osmo_spec_validate(text, sizeof(text) - 1, &options, NULL, NULL, &err), OSMO_EINVAL);
}

static void test_findings(void)
{
    static const struct { const char *text; size_t n; int code, line, column; const char *path, *words; } cases[] = {
        { "version: 2\n\nworkflow:\n  name: w\n  tasks:\n  - {name: t, image: a, args: x}\n", 2, OSMO_EUSAGE, 6, 31,
          "workflow.tasks.0.args", "must be a list of texts" },
        { "workflow:\n  name: w\n  tasks: [{name: t, image: a, command: [x], privileged: true, hostNetwork: true}]\n", 2,
          OSMO_ERESOURCE, 3, 11, "workflow.tasks.0", "may not be privileged on platform 'default'" },
        { "workflow:\n  name: w\n  resources: {default: {memory: 0}}\n  tasks: [{name: t, image: A, command: [x]}]\n", 1, OSMO_EUSER,
          4, 11, "workflow.tasks.0", "memory must be more than 0" },
        { "workflow:\n  name: w\n  tasks: [{name: t, image: A, command: [x], outputs: [{url: x}]}]\n", 2, OSMO_EUSAGE, 3, 11,
          "workflow.tasks.0", "'A' is no image reference" },
        { "workflow:\n  name: [\n", 1, OSMO_EUSAGE, 0, 0, "", "line 3" }, { "", 1, OSMO_EUSER, 0, 0, "", "workflow" },
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        osmo_spec_findings_t *found = NULL;
        osmo_spec_t *s = NULL;
        osmo_error_t err = OSMO_ERROR_INIT;
        CHECK_INT(osmo_spec_validate(cases[i].text, strlen(cases[i].text), NULL, &s, &found, &err), cases[i].code);
        CHECK(!s);
        REQUIRE(found);
        CHECK_INT(osmo_spec_findings_get_total(found), cases[i].n);
        CHECK_INT(osmo_spec_findings_get_line(found, 0), cases[i].line);
        CHECK_INT(osmo_spec_findings_get_column(found, 0), cases[i].column);
        CHECK_STR(osmo_spec_findings_get_path(found, 0), cases[i].path);
        CHECK_CONTAINS(osmo_spec_findings_get_text(found, 0), cases[i].words);
        CHECK_CONTAINS(err.text, cases[i].words);
        CHECK(!osmo_spec_findings_get_text(found, 200) && !osmo_spec_findings_get_path(found, 200) &&
              !osmo_spec_findings_get_code(found, 200) && !osmo_spec_findings_get_line(found, 200));
        osmo_spec_findings_free(found);
    }
    osmo_spec_findings_free(NULL);
}

static const struct check_test tests[] = {
    { "parse and list", test_parse }, { "render", test_render }, { "validate", test_validate }, { "findings", test_findings },
};
TEST_MAIN("spec_public", tests)
