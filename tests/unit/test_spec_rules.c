/* The table of invalid and borderline inputs, one row each: its number in the reference, the text, the stage that refuses it
 * and what the message must name. Runs every pure stage of a submission in OSMO 6.4's order. */
#include <stdlib.h>
#include "base/cleanup.h"
#include "check.h"
#include "model/spec.h"
#include "model/submission.h"
#include "model/validate.h"

static const char config[] =
    "workflow:\n  max_num_tasks: 20\n  labels_config:\n    pod_label_prefix: ''\n    policy:\n"
    "    - {key: team, allow_list: [robo, sim], enforcement: enforce, assert_message: ' ask the platform team '}\n"
    "    - {key: stage, enforcement: warn}\n    - {key: ignored, enforcement: off}\n"
    "pod_templates:\n  mounts: {spec: {containers: [{name: '{{USER_CONTAINER_NAME}}', volumeMounts: [{name: m, mountPath: "
    "/given}]}]}}\n"
    "resource_validations:\n  odd: [{operator: GT, left_operand: '{{NOPE}}', right_operand: '0', assert_message: x}]\n"
    "pools:\n"
    "  p: &p\n    backend: be\n    default_platform: cpu\n    common_pod_template: [default_ctrl, default_user, mounts]\n"
    "    common_default_variables: {USER_CPU: 1, USER_GPU: 0, USER_MEMORY: 1Gi, USER_STORAGE: 1Gi}\n"
    "    common_resource_validations: [default_cpu, default_memory, default_storage]\n"
    "    topology_keys: [{key: zone, label: z}, {key: rack, label: r}]\n    resources: {gpu: {guarantee: 4, maximum: 8}}\n"
    "    platforms:\n      cpu: {}\n      none: {}\n"
    "      gpu: {privileged_allowed: true, host_network_allowed: true, allowed_mounts: [/dev/shm, /opt]}\n"
    "  bare: {<<: *p, default_platform: null}\n"
    "  novars: {<<: *p, common_default_variables: {}}\n"
    "  oddrule: {<<: *p, common_resource_validations: [odd]}\n";

enum stage { TEXT, YAML, LABELS, SCHEMA, GRAPH, PLACE, COUNT, POLICY, NAMES, GUARANTEE, TASKS, ADDRESSES, ACCEPTED };

struct row {
    int id;
    const char *text;   /* of the file, or the value of workflow when it does not begin with "workflow" or is_file */
    enum stage stage;
    int code;
    const char *parts[2]; /* of the message */
    const char *pool, *priority;
    bool is_file;
};
#define ROW(id_, text_, stage_, code_, ...)                                                                            \
    { .id = id_, .text = text_, .stage = stage_, .code = code_, .parts = { __VA_ARGS__ } }
#define FILE_ROW(id_, text_, stage_, code_, ...)                                                                       \
    { .id = id_, .text = text_, .stage = stage_, .code = code_, .parts = { __VA_ARGS__ }, .is_file = true }
#define ACCEPTED_ROW(id_, text_) { .id = id_, .text = text_, .stage = ACCEPTED }
#define POOL_ROW(pool_, priority_, id_, text_, stage_, code_, ...)                                                     \
    { .id = id_, .text = text_, .stage = stage_, .code = code_, .parts = { __VA_ARGS__ }, .pool = pool_,               \
      .priority = priority_ }

static int run_tasks(const struct spec *s, const struct pool *pool, const char *priority, struct spec_findings *f)
{
    static const struct validate_node nodes[] = { { "n1", 32, 8, 64.0 * (1 << 30), 500.0 * (1 << 30) } };
    struct validate_platform platforms[3];
    for (size_t i = 0; i < 3; i++) {
        bool none = str_eq(pool->platforms[i].name, "none");
        platforms[i] = (struct validate_platform){ .platform = &pool->platforms[i], .nodes = nodes, .nnodes = none ? 0 : 1,
                                                   .nodes_known = true };
    }
    return validate_tasks(s, pool, priority, platforms, 3, f);
}

static int run_spec(const yaml_node_t *workflow, const struct settings *settings, const struct pool *pool,
                    const char *priority, struct spec **out, struct spec_findings *f, enum stage *stage)
{
    strlist_t warnings = { 0 };
    bool schema = false;
    int rc = spec_read(workflow, out, &schema, f);
    struct spec *s = *out;

    *stage = schema || rc == 0 ? SCHEMA : GRAPH;
    for (*stage = rc < 0 ? *stage : PLACE; rc == 0 && *stage < ACCEPTED; *stage += rc == 0) {
        switch (*stage) {
        case PLACE: rc = spec_place(s, pool, f); break;
        case COUNT: rc = spec_check_count(s, settings, f); break;
        case POLICY: rc = spec_check_labels(s->labels, settings, &warnings, f); break;
        case NAMES: rc = spec_check_names(s, settings, f); break;
        case GUARANTEE: rc = spec_check_guarantee(s, pool, priority, f); break;
        case TASKS: rc = run_tasks(s, pool, priority, f); break;
        default: rc = spec_check_addresses(s, f); break;
        }
    }
    strlist_free(&warnings);
    return rc;
}

static int run_text(const struct row *row, const struct settings *settings, enum stage *stage, buf_t *message)
{
    static const struct template_limits limits = TEMPLATE_LIMITS_DEFAULT;
    static const yaml_limits_t yaml_limits = YAML_LIMITS_DEFAULT;
    _cleanup_buf_ buf_t rendered = BUF_INIT(64u << 20);
    _cleanup_yaml_ yaml_node_t *doc = NULL;
    _cleanup_(spec_freep) struct spec *s = NULL;
    _cleanup_json_ json_t *labels = NULL;
    _cleanup_findings_ struct spec_findings f = SPEC_FINDINGS_INIT;
    osmo_error_t err = OSMO_ERROR_INIT;
    _cleanup_free_ char *text = row->is_file ? str_dup(row->text) : str_printf("workflow:\n%s", row->text);

    *stage = TEXT;
    int rc = submission_render(text, strlen(text), NULL, NULL, &limits, &rendered, &err);
    if (rc == 0) {
        *stage = YAML;
        rc = yaml_parse(buf_cstr(&rendered), rendered.len, &yaml_limits, &doc, &err);
    }
    if (rc == 0) {
        const yaml_node_t *workflow = yaml_get(doc, "workflow");
        *stage = LABELS;
        rc = spec_labels_merge(workflow->kind == YAML_MAP ? yaml_get(workflow, "labels") : NULL, NULL, NULL, &labels, &f);
        if (rc == 0)
            rc = run_spec(workflow, settings, settings_pool(settings, row->pool ? row->pool : "p"),
                          row->priority ? row->priority : "LOW", &s, &f, stage);
    }
    if (f.total)
        spec_findings_write(&f, "the workflow", message);
    else
        buf_puts(message, err.text);
    return rc;
}

#define TEAM "  labels: {team: robo}\n"
#define W "  name: w\n" TEAM
#define T(more) W "  tasks: [{name: t, image: a, command: [x]" more "}]\n"
#define R(entry) W "  resources: {default: " entry "}\n  tasks: [{name: t, image: a, command: [x]}]\n"
#define TASK_OF(name) "{name: " name ", image: a, command: [x]}"
#define ONE "  tasks: [" TASK_OF("t") "]\n"
#define X10 "aaaaaaaaaa"
#define X50 X10 X10 X10 X10 X10

static const struct row rows[] = {
    /* text, template, YAML */
    FILE_ROW(14, "", TEXT, OSMO_EUSER, "workflow", "line"),
    FILE_ROW(14, "\"workflow\":\n  name: w\n", TEXT, OSMO_EUSER, "'workflow:'"),
    FILE_ROW(14, "{\"workflow\": {}}", TEXT, OSMO_EUSER, "'workflow:'"),
    FILE_ROW(14, "workflow :\n  name: w\n", TEXT, OSMO_EUSER, "'workflow:'"),
    FILE_ROW(15, "workflow:\n" T("") "resources:\n  a: {}\n", TEXT, OSMO_EUSER, "'resources'", "line 5"),
    FILE_ROW(16, "workflow:\n" T("") "workflow:\n", TEXT, OSMO_EUSER, "'workflow' appears twice", "line 5"),
    FILE_ROW(17, "version: foo\nworkflow:\n" T(""), ACCEPTED, 0, NULL),
    FILE_ROW(17, "version: 3\nworkflow:\n" T(""), ACCEPTED, 0, NULL),
    ROW(18, T("") "  # {{ nope }}\n", TEXT, OSMO_EUSAGE, "nope", "line 5"),
    ROW(19, T(", args: ['{{ output }}']"), TEXT, OSMO_EUSAGE, "output"),
    ROW(19, T(", args: ['{{ workflow_id }}']"), TEXT, OSMO_EUSAGE, "workflow_id"),
    ROW(20, T(", args: ['{{ input:0 }}']"), TEXT, OSMO_EUSAGE, "line 4"),
    ROW(21, T(", args: ['${#x}']"), TEXT, OSMO_EUSAGE, "comment"),
    ROW(22, "  {% nope %}\n", TEXT, OSMO_EUSAGE, "nope"),
    ROW(22, "  a: {{ x\n", TEXT, OSMO_EUSAGE, "line"),
    ROW(22, "  a: {{ }}\n", TEXT, OSMO_EUSAGE, "line"),
    ROW(23, "  a: {{ ''.__class__ }}\n", TEXT, OSMO_EUSAGE, "__class__"),
    ROW(25, "  a: {{ 'a'+1 }}\n", TEXT, OSMO_EUSAGE, "line"),
    ROW(25, "  {% include 'x' %}\n", TEXT, OSMO_EUSAGE, "include"),
    ROW(26, "  a: {{ 1/0 }}\n", TEXT, OSMO_EUSAGE, "zero"),
    ROW(26, "  a: {{ range(200000)|list|length }}\n", TEXT, OSMO_EUSAGE, "100000"),
    FILE_ROW(29, "workflow:\n" T("") "default-values: [1]\n", TEXT, OSMO_EUSAGE, "default-values must be a mapping", "line 5"),
    FILE_ROW(30, "workflow:\n" T("") "default-values: abc\n", TEXT, OSMO_EUSAGE, "default-values must be a mapping"),
    FILE_ROW(31, "workflow:\n" T("") "default-values: {a: [}\n", TEXT, OSMO_EUSAGE, "default-values", "line"),
    FILE_ROW(31, "workflow:\n" T("") "default-values:\n  a: {{ b }}\n", TEXT, OSMO_EUSAGE, "default-values"),
    ROW(32, "  name: [\n", YAML, OSMO_EUSAGE, "line"),
    ROW(32, "  name: w\n\ttasks: []\n", YAML, OSMO_EUSAGE, "line 3"),
    ROW(33, " null\n", SCHEMA, OSMO_EUSAGE, "workflow: must be a mapping, not null"),
    ROW(33, " []\n", SCHEMA, OSMO_EUSAGE, "workflow: must be a mapping, not a list"),
    ROW(33, " abc\n", SCHEMA, OSMO_EUSAGE, "workflow: must be a mapping"),
    ACCEPTED_ROW(34, "  name: 1\n" T(", image: b")),
    /* workflow */
    ROW(35, TEAM ONE, SCHEMA, OSMO_EUSAGE, "workflow.name: is missing", "(line 2, column 3)"),
    ROW(36, "  name: 12\n" TEAM ONE, SCHEMA, OSMO_EUSAGE, "workflow.name: must be text, not an integer", "(line 2, column 9)"),
    ROW(37, "  name: 1abc\n" TEAM ONE, SCHEMA, OSMO_EUSAGE, "'1abc'"),
    ROW(37, "  name: abc-\n" TEAM ONE, SCHEMA, OSMO_EUSAGE, "'abc-'"),
    ROW(37, "  name: a.b\n" TEAM ONE, SCHEMA, OSMO_EUSAGE, "'a.b'"),
    ROW(38, "  name: " X50 X10 "abcde\n" TEAM ONE, NAMES, OSMO_EUSER, "has 65 characters, at most 64"),
    ACCEPTED_ROW(38, "  name: " X50 X10 "abcd\n" TEAM ONE),
    ROW(39, T("") "  groups: [{name: g, tasks: [" TASK_OF("u") "]}]\n", SCHEMA, OSMO_EUSAGE, "both tasks and groups"),
    ROW(40, W, SCHEMA, OSMO_EUSAGE, "needs tasks or groups"),
    ROW(40, W "  tasks: []\n  groups: []\n", SCHEMA, OSMO_EUSAGE, "needs tasks or groups"),
    ROW(40, W "  tasks: null\n", SCHEMA, OSMO_EUSAGE, "workflow.tasks: must be a list, not null"),
    ROW(41, T("") "  groups: null\n", SCHEMA, OSMO_EUSAGE, "workflow.groups: must be a list, not null"),
    ROW(42, W "  tasks: {name: t}\n", SCHEMA, OSMO_EUSAGE, "workflow.tasks: must be a list, not a mapping"),
    ROW(42, W "  tasks: abc\n", SCHEMA, OSMO_EUSAGE, "workflow.tasks: must be a list"),
    ROW(42, W "  tasks: [a, b]\n", SCHEMA, OSMO_EUSAGE, "workflow.tasks.0: must be a mapping", "workflow.tasks.1: must be"),
    ROW(43, T("") "  priority: HIGH\n", SCHEMA, OSMO_EUSAGE, "workflow.priority: unknown key", "(line 5, column 3)"),
    ROW(44, T("") "  pool: [a]\n", SCHEMA, OSMO_EUSAGE, "workflow.pool: must be text, not a list"),
    ROW(44, T("") "  backend: 7\n", SCHEMA, OSMO_EUSAGE, "workflow.backend: must be text"),
    ROW(45, W "  tasks:\n{% for i in range(21) %}  - {name: t{{ i }}, image: a, command: [x]}\n{% endfor %}", COUNT, OSMO_EUSER,
      "has 21 tasks, at most 20", "max_num_tasks"),
    ACCEPTED_ROW(45, W "  tasks:\n{% for i in range(20) %}  - {name: t{{ i }}, image: a, command: [x]}\n{% endfor %}"),
    ROW(46, T("") "  timeout: 5m\n", SCHEMA, OSMO_EUSAGE, "workflow.timeout: must be a mapping"),
    ROW(46, T("") "  timeout: [5m]\n", SCHEMA, OSMO_EUSAGE, "workflow.timeout: must be a mapping, not a list"),
    ROW(46, T("") "  timeout: null\n", SCHEMA, OSMO_EUSAGE, "workflow.timeout: must be a mapping, not null"),
    ROW(46, T("") "  timeout: {start_timeout: 5m}\n", SCHEMA, OSMO_EUSAGE, "workflow.timeout.start_timeout: unknown key"),
    ROW(47, T("") "  timeout: {exec_timeout: '10'}\n", SCHEMA, OSMO_EUSAGE, "workflow.timeout.exec_timeout: '10'"),
    ROW(47, T("") "  timeout: {exec_timeout: 1h30m}\n", SCHEMA, OSMO_EUSAGE, "'1h30m'", "PT1H30M"),
    ROW(47, T("") "  timeout: {exec_timeout: 1.5h}\n", SCHEMA, OSMO_EUSAGE, "'1.5h'"),
    ROW(47, T("") "  timeout: {queue_timeout: 10w}\n", SCHEMA, OSMO_EUSAGE, "queue_timeout: '10w'"),
    ROW(47, T("") "  timeout: {exec_timeout: abc}\n", SCHEMA, OSMO_EUSAGE, "'abc'"),
    ROW(47, T("") "  timeout: {exec_timeout: ''}\n", SCHEMA, OSMO_EUSAGE, "''"),
    ROW(48, T("") "  timeout: {exec_timeout: [5m]}\n", SCHEMA, OSMO_EUSAGE, "exec_timeout: must be a duration", "a list"),
    ACCEPTED_ROW(49, T("") "  timeout: {exec_timeout: -5m, queue_timeout: 0}\n"),
    ACCEPTED_ROW(49, T("") "  timeout: {exec_timeout: true, queue_timeout: 100d}\n"),
    ROW(50, "  name: w\n  labels: null\n" ONE, LABELS, OSMO_EUSAGE, "workflow.labels: must be a mapping, not null"),
    ROW(50, "  name: w\n  labels: [a]\n" ONE, LABELS, OSMO_EUSAGE, "workflow.labels: must be a mapping, not a list"),
    ROW(50, "  name: w\n  labels: {a: 1}\n" ONE, LABELS, OSMO_EUSAGE, "workflow.labels.a: must be text, not an integer"),
    ROW(50, "  name: w\n  labels: {1: a}\n" ONE, LABELS, OSMO_EUSAGE, "a label key must be text"),
    ROW(50, "  name: w\n  labels: {a: ''}\n" ONE, LABELS, OSMO_EUSAGE, "workflow.labels.a: '' is no valid label value"),
    ROW(50, "  name: w\n  labels: {{ '{' }}{% for i in range(17) %}a{{ i }}: b, {% endfor %}{{ '}' }}\n" ONE, LABELS,
      OSMO_EUSAGE, "has 17 labels, at most 16"),
    ROW(50, "  name: w\n  labels: {-a: b}\n" ONE, LABELS, OSMO_EUSAGE, "'-a' is no valid label key"),
    ROW(50, "  name: w\n  labels: {Up.x/a: b}\n" ONE, LABELS, OSMO_EUSAGE, "'Up.x/a' is no valid label key"),
    ROW(50, "  name: w\n  labels: {a: b c}\n" ONE, LABELS, OSMO_EUSAGE, "'b c' is no valid label value"),
    ROW(50, "  name: w\n  labels: {a: " X50 X10 "abcd}\n" ONE, LABELS, OSMO_EUSAGE, "has 64 characters, at most 63"),
    ACCEPTED_ROW(50, "  name: w\n  labels: {team: sim, a.b/c: " X50 X10 "abc, osmo.workflow_id: x}\n" ONE),
    ROW(52, "  name: w\n" ONE, POLICY, OSMO_EUSAGE, "label 'team' is missing, allowed values are: robo, sim",
      "(ask the platform team)"),
    ROW(52, "  name: w\n  labels: {team: web}\n" ONE, POLICY, OSMO_EUSAGE, "label 'team' has the value 'web'", "robo, sim"),
    ROW(54, T("") "  resources: null\n", SCHEMA, OSMO_EUSAGE, "workflow.resources: must be a mapping, not null"),
    /* groups and graph */
    ROW(55, W "  tasks: [" TASK_OF("A_b") ", " TASK_OF("a-B") "]\n", SCHEMA, OSMO_EUSAGE, "workflow.tasks.1.name: 'a-B'",
      "'A_b'"),
    ROW(56, W "  groups: [{name: t, tasks: [" TASK_OF("T") "]}]\n", SCHEMA, OSMO_EUSAGE,
      "workflow.groups.0.tasks.0.name: 'T' collides with the name 't'"),
    ROW(57, W "  tasks: [" TASK_OF("a") ", " TASK_OF("a-group") "]\n", GRAPH, OSMO_EUSAGE, "'a-group'"),
    ROW(58, W "  groups: [{name: g}]\n", SCHEMA, OSMO_EUSAGE, "workflow.groups.0.tasks: is missing"),
    ROW(58, W "  groups: [{name: g, tasks: []}]\n", SCHEMA, OSMO_EUSAGE, "at least one task"),
    ROW(59, W "  groups: [{name: g, tasks: null}]\n", SCHEMA, OSMO_EUSAGE, "workflow.groups.0.tasks: must be a list, not null"),
    ROW(60, W "  groups: [{name: 1, tasks: [" TASK_OF("t") "]}]\n", SCHEMA, OSMO_EUSAGE, "workflow.groups.0.name: must be text"),
    ROW(60, W "  tasks: [" TASK_OF("123") "]\n", SCHEMA, OSMO_EUSAGE, "workflow.tasks.0.name: must be text, not an integer"),
    ROW(61, W "  groups: [{name: g, tasks: [" TASK_OF("a") ", " TASK_OF("b") "]}]\n", SCHEMA, OSMO_EUSAGE,
      "none of 2 tasks has lead: true"),
    ROW(61, W "  groups: [{name: g, tasks: [{name: a, lead: true, image: a, command: [x]}, {name: b, lead: yes, image: a, "
      "command: [x]}]}]\n", SCHEMA, OSMO_EUSAGE, "2 tasks have lead: true"),
    ROW(62, W "  groups: [{name: g, size: 2, tasks: [" TASK_OF("a") "]}]\n", SCHEMA, OSMO_EUSAGE,
      "workflow.groups.0.size: unknown key"),
    ROW(63, T(", inputs: [{task: ghost}]"), GRAPH, OSMO_ESUBMISSION, "workflow.tasks.0.inputs.0: task 't'", "'ghost'"),
    ROW(64, T(", inputs: [{task: t}]"), GRAPH, OSMO_EUSAGE, "takes input from itself", "remove this input"),
    ROW(64, W "  groups: [{name: g, tasks: [{name: a, lead: true, image: a, command: [x]}, {name: b, image: a, command: [x], "
      "inputs: [{task: a}]}]}]\n", GRAPH, OSMO_EUSAGE, "'a' of its own group 'g'", "earlier"),
    ROW(64, W "  tasks: [{name: a, image: a, command: [x], inputs: [{task: b}]}, {name: b, image: a, command: [x], inputs: "
      "[{task: a}]}]\n", GRAPH, OSMO_EUSAGE, "declared later", "'b' earlier"),
    ROW(67, W "  tasks: [" TASK_OF(X50 "abcdefghi") "]\n", NAMES, OSMO_EUSER, "has 59 characters, at most 58",
      "workflow.tasks.0.name"),
    ACCEPTED_ROW(67, W "  tasks: [" TASK_OF(X50 "abcdefgh") "]\n"),
    ACCEPTED_ROW(67, W "  groups: [{name: g, tasks: [" TASK_OF(X50 X10 "abcd") "]}]\n"),
    ROW(67, W "  groups: [{name: g, tasks: [" TASK_OF(X50 X10 "abcde") "]}]\n", NAMES, OSMO_EUSER,
      "has 65 characters, at most 64"),
    /* task fields */
    ROW(68, W "  tasks: [{name: t, command: [x]}]\n", SCHEMA, OSMO_EUSAGE, "workflow.tasks.0.image: is missing"),
    ROW(68, W "  tasks: [{name: t, image: a}]\n", SCHEMA, OSMO_EUSAGE, "workflow.tasks.0.command: is missing"),
    ROW(69, W "  tasks: [{name: t, image: a, command: sh}]\n", SCHEMA, OSMO_EUSAGE, "command: must be a list of texts"),
    ROW(69, W "  tasks: [{name: t, image: a, command: []}]\n", SCHEMA, OSMO_EUSAGE, "command: must not be empty"),
    ROW(69, W "  tasks: [{name: t, image: a, command: [[a]]}]\n", SCHEMA, OSMO_EUSAGE, "command.0: must be text, not a list"),
    ROW(70, T(", args: abc"), SCHEMA, OSMO_EUSAGE, "args: must be a list of texts"),
    ROW(70, T(", args: [true, null]"), SCHEMA, OSMO_EUSAGE, "args.0: must be text, not a boolean", "args.1: must be text"),
    ROW(71, W "  tasks: [" TASK_OF("osmo-ctrl") "]\n", SCHEMA, OSMO_EUSAGE, "'osmo-ctrl' is reserved"),
    ROW(71, W "  tasks: [" TASK_OF("OSMO_CTRL") "]\n", SCHEMA, OSMO_EUSAGE, "'OSMO_CTRL' is reserved"),
    ROW(71, W "  tasks: [" TASK_OF("1a") "]\n", SCHEMA, OSMO_EUSAGE, "'1a' must begin with a letter"),
    ROW(72, T(", env: {A: b}"), SCHEMA, OSMO_EUSAGE, "env: unknown key, did you mean environment?"),
    ROW(72, T(", kpi: []"), SCHEMA, OSMO_EUSAGE, "kpi: unknown key, did you mean kpis?"),
    ROW(72, T(", priority: HIGH"), SCHEMA, OSMO_EUSAGE, "priority: unknown key"),
    ROW(73, T(", files: null, args: null, inputs: null, outputs: null, kpis: null, volumeMounts: null, checkpoint: null"),
      SCHEMA, OSMO_EUSAGE, "7 errors in the workflow", "checkpoint: must be a list, not null"),
    ROW(73, T(", environment: null, exitActions: null, credentials: null, resources: null"), SCHEMA, OSMO_EUSAGE,
      "4 errors in the workflow", "credentials: must be a mapping, not null"),
    ROW(73, T(", lead: null, privileged: null, hostNetwork: null, resource: null, backend: null"), SCHEMA, OSMO_EUSAGE,
      "5 errors in the workflow", "hostNetwork: must be true or false, not null"),
    ROW(74, T(", files: [{path: /a}]"), SCHEMA, OSMO_EUSAGE, "files.0.contents: is missing"),
    ROW(74, T(", files: [{path: /a, localpath: b}]"), SCHEMA, OSMO_EUSAGE, "files.0.localpath: unknown key"),
    ROW(75, T(", files: [{path: /, contents: a}]"), SCHEMA, OSMO_EUSAGE, "'/' names no file"),
    ROW(75, T(", files: [{path: /osmo/x, contents: a}]"), SCHEMA, OSMO_EUSAGE, "'/osmo/x' is reserved"),
    ROW(75, T(", files: [{path: osmo/x, contents: a}, {path: //osmo, contents: a}]"), SCHEMA, OSMO_EUSAGE,
      "'osmo/x' is reserved", "'//osmo' is reserved"),
    ACCEPTED_ROW(75, T(", files: [{path: /osmo/data/output/x, contents: a}, {path: rel/x, contents: ''}]")),
    ROW(76, T(", files: [{path: /a, contents: a}, {path: /a, contents: b}]"), SCHEMA, OSMO_EUSAGE, "files.1.path: '/a'"),
    ROW(77, T(", files: [{path: /a, contents: {b: c}}]"), SCHEMA, OSMO_EUSAGE, "contents: must be text, not a mapping"),
    ACCEPTED_ROW(78, T(", files: [{path: /a, contents: '%%', base64: true}]")),
    ROW(79, T(", environment: {A: null, B: [c], C: 2024-01-02}"), SCHEMA, OSMO_EUSAGE, "environment.A: must be text, not null",
      "environment.C: must be text"),
    ROW(79, T(", environment: [A]"), SCHEMA, OSMO_EUSAGE, "environment: must be a mapping, not a list"),
    ROW(80, T(", exitActions: {RESTART: 1}"), SCHEMA, OSMO_EUSAGE, "exitActions.RESTART: unknown action", "RESCHEDULE"),
    ROW(80, T(", exitActions: {FAIL: a}"), SCHEMA, OSMO_EUSAGE, "exitActions.FAIL: 'a'"),
    ROW(80, T(", exitActions: {FAIL: -1}"), SCHEMA, OSMO_EUSAGE, "'-1'"),
    ROW(80, T(", exitActions: {FAIL: 1.5}"), SCHEMA, OSMO_EUSAGE, "'1.5'"),
    ROW(80, T(", exitActions: {FAIL: '0, 1'}"), SCHEMA, OSMO_EUSAGE, "'0, 1'"),
    ROW(80, T(", exitActions: {FAIL: [1]}"), SCHEMA, OSMO_EUSAGE, "exitActions.FAIL: must be text, not a list"),
    ACCEPTED_ROW(80, T(", exitActions: {fail: 3, Complete: '1-23-4', RESCHEDULE: '9-1,4'}")),
    ROW(81, T(", downloadType: mountpoint-s3"), SCHEMA, OSMO_EUSAGE, "downloadType: must be 'download'"),
    ROW(81, T(", downloadType: 1"), SCHEMA, OSMO_EUSAGE, "downloadType: must be 'download'"),
    ROW(82, T(", cacheSize: 120%"), TASKS, OSMO_ERESOURCE, "'120%'", "workflow.tasks.0: task 't'"),
    ROW(82, T(", cacheSize: abc%"), TASKS, OSMO_ERESOURCE, "'abc%'"),
    ROW(82, T(", cacheSize: foo"), TASKS, OSMO_ERESOURCE, "'foo'"),
    ACCEPTED_ROW(82, T(", cacheSize: 100.9%")),
    ROW(83, T(", checkpoint: [{path: a, url: 's3://b'}]"), SCHEMA, OSMO_EUSAGE, "checkpoint.0.frequency: is missing"),
    ROW(83, T(", checkpoint: [{path: a, url: 's3://b', frequency: true}]"), SCHEMA, OSMO_EUSAGE, "frequency: must be", "a boolean"),
    ROW(83, T(", checkpoint: [{path: a, url: 's3://b', frequency: 1h30m}]"), SCHEMA, OSMO_EUSAGE, "'1h30m'"),
    ROW(83, T(", checkpoint: [{path: a, url: 'http://b', frequency: 5}]"), SCHEMA, OSMO_EUSAGE, "checkpoint.0.url: 'http://b'"),
    ROW(83, T(", checkpoint: {path: a}"), SCHEMA, OSMO_EUSAGE, "checkpoint: must be a list, not a mapping"),
    ROW(84, T(", checkpoint: [{path: a, url: 's3://b', frequency: -5}]"), SCHEMA, OSMO_EUSAGE, "must not be negative"),
    ROW(85, T(", kpis: [{path: a}]"), SCHEMA, OSMO_EUSAGE, "kpis.0.index: is missing"),
    ROW(86, T(", inputs: [{task: a, url: 's3://b'}]"), SCHEMA, OSMO_EUSAGE, "both task and url"),
    ROW(86, T(", inputs: [{}]"), SCHEMA, OSMO_EUSAGE, "needs either task or url"),
    ROW(86, T(", inputs: [t]"), SCHEMA, OSMO_EUSAGE, "inputs.0: must be a mapping"),
    ROW(86, T(", inputs: [{dataset: a}]"), SCHEMA, OSMO_EUSAGE, "inputs.0.dataset: unknown key"),
    ROW(86, T(", inputs: [{task: 'a b'}]"), SCHEMA, OSMO_EUSAGE, "'a b' is neither"),
    ROW(86, T(", inputs: [{url: 's3://b', regex: '('}]"), SCHEMA, OSMO_EUSAGE, "inputs.0.regex: '('", "position 0"),
    ROW(87, T(", outputs: [{task: a}]"), SCHEMA, OSMO_EUSAGE, "outputs.0.task: unknown key", "outputs.0.url: is missing"),
    ROW(88, T(", inputs: [{url: 'http://b'}]"), ADDRESSES, OSMO_EUSAGE, "task 't', input 0: 'http://b'"),
    ROW(88, T(", outputs: [{url: 's3://'}]"), ADDRESSES, OSMO_EUSAGE, "task 't', output 0: 's3://'"),
    ROW(88, T(", outputs: [{url: 'azure://a'}, {url: 's3://b//x'}, {url: 's3://b,c'}]"), ADDRESSES, OSMO_EUSAGE,
      "3 errors in the workflow", "output 2: 's3://b,c'"),
    ACCEPTED_ROW(88, T(", outputs: [{url: 'swift://h/a/c//'}, {url: 's3://b'}, {url: 'tos://e/b/c'}]")),
    ROW(90, T(", credentials: abc"), SCHEMA, OSMO_EUSAGE, "credentials: must be a mapping"),
    ROW(90, T(", credentials: {a: null, b: [c]}"), SCHEMA, OSMO_EUSAGE, "credentials.a: must be text, not null",
      "credentials.b: must be text, not a list"),
    ROW(90, T(", credentials: {a: {b: null}}"), SCHEMA, OSMO_EUSAGE, "credentials.a.b: must be text, not null"),
    ROW(92, T(", lead: 2"), SCHEMA, OSMO_EUSAGE, "lead: must be true or false, not an integer"),
    ROW(93, W "  tasks: [{name: t, image: 'UPPER/Case', command: [x]}]\n", ADDRESSES, OSMO_EUSAGE,
      "'UPPER/Case' is no image reference"),
    ROW(93, W "  tasks: [{name: t, image: 'a:b:c', command: [x]}, {name: u, image: '', command: [x]}]\n", ADDRESSES, OSMO_EUSAGE,
      "2 errors in the workflow", "task 'u': ''"),
    /* resources and platforms */
    ROW(95, R("{ram: 1Gi}"), SCHEMA, OSMO_EUSAGE, "workflow.resources.default.ram: unknown key"),
    ROW(95, R("{cpu: 0.5}"), SCHEMA, OSMO_EUSAGE, "workflow.resources.default.cpu: must be a whole number"),
    ROW(95, R("{cpu: 500m}"), SCHEMA, OSMO_EUSAGE, "must be a whole number, not '500m'"),
    ROW(95, R("{nodesExcluded: n1}"), SCHEMA, OSMO_EUSAGE, "nodesExcluded: must be a list of texts"),
    ROW(95, W "  resources: {8: {}}\n" ONE, SCHEMA, OSMO_EUSAGE, "workflow.resources: a key must be text, not an integer"),
    ROW(96, R("{memory: 10GB}"), SCHEMA, OSMO_ERESOURCE, "workflow.resources.default.memory: '10GB' is no size"),
    ROW(96, R("{memory: abc, storage: 1Pi}"), SCHEMA, OSMO_ERESOURCE, "2 errors", "storage: '1Pi'"),
    ROW(96, R("{memory: 1e3}"), SCHEMA, OSMO_ERESOURCE, "'1e3'"),
    ROW(96, R("{memory: 10 Gi}"), SCHEMA, OSMO_ERESOURCE, "'10 Gi'"),
    ROW(96, R("{memory: -1Gi}"), SCHEMA, OSMO_ERESOURCE, "'-1Gi'"),
    ROW(96, R("{memory: ''}"), SCHEMA, OSMO_ERESOURCE, "''"),
    ROW(96, R("{memory: 10GB}") "  oops: 1\n", SCHEMA, OSMO_ERESOURCE, "2 errors", "workflow.oops: unknown key"),
    ROW(97, T(", resource: huge"), PLACE, OSMO_ERESOURCE, "uses resource 'huge'", "workflow.tasks.0"),
    ROW(97, W "  resources: {other: {}}\n" ONE, PLACE, OSMO_ERESOURCE, "uses resource 'default'"),
    ROW(97, W "  resources: {}\n" ONE, PLACE, OSMO_ERESOURCE, "uses resource 'default'"),
    POOL_ROW("bare", NULL, 98, T(""), PLACE, OSMO_ERESOURCE, "no default platform", "workflow.resources.default"),
    ROW(99, R("{platform: tpu}"), TASKS, OSMO_ERESOURCE, "'tpu'", "it has: cpu, none, gpu"),
    ROW(100, R("{platform: none}"), TASKS, OSMO_ERESOURCE, "platform 'none' has no nodes"),
    ROW(101, R("{cpu: 32}"), TASKS, OSMO_ERESOURCE, "fits no node of platform 'cpu'", "cpu 32.0 is more than the 31"),
    ROW(101, R("{memory: 65Gi}"), TASKS, OSMO_ERESOURCE, "memory 65Gi"),
    ROW(101, R("{storage: 9Ti}"), TASKS, OSMO_ERESOURCE, "storage 9Ti"),
    ROW(102, R("{memory: 0}"), TASKS, OSMO_EUSER, "memory must be more than 0", "resource 'default'"),
    ROW(103, R("{cpu: -1}"), SCHEMA, OSMO_EUSAGE, "workflow.resources.default.cpu: must not be negative, it is -1"),
    ACCEPTED_ROW(104, R("{cpu: 0}")),
    ACCEPTED_ROW(104, R("{cpu: true}")),
    ACCEPTED_ROW(104, R("{cpu: '2'}")),
    ACCEPTED_ROW(104, R("{cpu: ' 2.00 '}")),
    ACCEPTED_ROW(104, R("{cpu: 2.0}")),
    ACCEPTED_ROW(104, R("{gpu: -1}")),
    ACCEPTED_ROW(104, R("{gpu: 100}")),
    POOL_ROW("novars", NULL, 105, T(""), TASKS, OSMO_EUSAGE, "compares a number with the text 'None'", "the pool's variables"),
    POOL_ROW("oddrule", NULL, 106, T(""), TASKS, OSMO_EUSAGE, "NOPE"),
    ROW(107, T(", privileged: true"), TASKS, OSMO_ERESOURCE, "may not be privileged on platform 'cpu'"),
    ROW(107, T(", hostNetwork: true, privileged: 1"), TASKS, OSMO_ERESOURCE, "2 errors", "may not use hostNetwork"),
    ROW(108, T(", volumeMounts: [/opt, '/a:b:c', '/opt:', /given]"), TASKS, OSMO_ERESOURCE, "4 errors", "'/given' is already mounted"),
    ACCEPTED_ROW(108, W "  resources: {default: {platform: gpu}}\n  tasks: [{name: t, image: a, command: [x], volumeMounts: [/opt, "
      "'/dev/shm:/x'], privileged: true, hostNetwork: true}]\n"),
    ROW(109, R("{topology: [{group: a}]}"), SCHEMA, OSMO_EUSAGE, "topology.0.key: is missing"),
    ROW(109, R("{topology: [{key: rack, requirementType: hard}]}"), SCHEMA, OSMO_EUSAGE,
      "topology.0.requirementType: must be 'required' or 'preferred'"),
    ROW(109, R("{topology: [{% for i in range(33) %}{key: rack}, {% endfor %}]}"), SCHEMA, OSMO_EUSAGE, "has 33 items, at most 32"),
    ROW(110, R("{topology: [{key: room}]}"), PLACE, OSMO_ESUBMISSION, "'room'", "it has: zone, rack"),
    ROW(111, W "  resources: {a: {topology: [{key: rack}]}, b: {topology: [{key: rack}, {key: zone}]}, default: {}}\n  tasks: "
      "[{name: t, image: a, command: [x], resource: a}, {name: u, image: a, command: [x], resource: b}, " TASK_OF("v")
      "]\n", TASKS, OSMO_ERESOURCE, "resources 'a' and 'b' use different topology keys", "workflow.tasks.1"),
    POOL_ROW(NULL, "NORMAL", 112, R("{gpu: 5}"), GUARANTEE, OSMO_EUSAGE, "asks for 5 GPUs", "guarantees 4"),
    POOL_ROW(NULL, "HIGH", 112, R("{gpu: 5}"), GUARANTEE, OSMO_EUSAGE, "group 't-group'", "priority LOW"),
    POOL_ROW(NULL, "LOW", 112, R("{gpu: 5}"), ACCEPTED, 0, NULL),
    POOL_ROW(NULL, "NORMAL", 112, R("{gpu: 4}"), ACCEPTED, 0, NULL),
};

static void test_rows(void)
{
    struct settings *settings = NULL;
    osmo_error_t err = OSMO_ERROR_INIT;

    CHECK_OK(settings_parse(config, sizeof(config) - 1, "test", &settings, &err), &err);
    REQUIRE(settings);
    for (size_t i = 0; i < ARRAY_SIZE(rows); i++) {
        _cleanup_buf_ buf_t message = BUF_INIT(1u << 20);
        enum stage stage;
        int rc = run_text(&rows[i], settings, &stage, &message);
        bool good = rc == rows[i].code && stage == rows[i].stage;
        for (size_t k = 0; k < ARRAY_SIZE(rows[i].parts); k++)
            good = good && (!rows[i].parts[k] || strstr(buf_cstr(&message), rows[i].parts[k]));
        CHECK(good);
        if (!good)
            fprintf(stderr, "row %d (%zu): code %d stage %d: %s\n%s\n", rows[i].id, i, rc, (int)stage, buf_cstr(&message),
                    rows[i].text);
    }
    settings_free(settings);
}

static const struct check_test tests[] = { { "the table of invalid inputs", test_rows } };
TEST_MAIN("spec_rules", tests)
