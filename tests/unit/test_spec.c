/* The workflow grammar: what is accepted and how it is normalised, what is refused and with which code and words. */
#include <stdlib.h>
#include "base/cleanup.h"
#include "check.h"
#include "model/spec.h"

static struct settings *defaults(void)
{
    struct settings *s = NULL;
    osmo_error_t err = OSMO_ERROR_INIT;
    CHECK_OK(settings_default(&s, &err), &err);
    return s;
}

/* `body` is the value of workflow, in block or flow style. */
static int parse(const char *body, const struct settings *limits, struct spec **out, osmo_error_t *err)
{
    yaml_limits_t yaml_limits = YAML_LIMITS_DEFAULT;
    _cleanup_yaml_ yaml_node_t *doc = NULL;
    int rc = yaml_parse(body, strlen(body), &yaml_limits, &doc, err);
    return rc < 0 ? rc : spec_parse(doc, limits, out, err);
}

static void check_json(const char *body, const char *want)
{
    _cleanup_(spec_freep) struct spec *s = NULL;
    osmo_error_t err = OSMO_ERROR_INIT;
    _cleanup_json_ json_t *wanted = NULL;

    CHECK_OK(parse(body, NULL, &s, &err), &err);
    REQUIRE(s);
    _cleanup_json_ json_t *got = spec_to_json(s);
    _cleanup_free_ char *text = json_to_text(json_get(got, "workflow"));
    CHECK_INT(json_get_int(got, "version", 0), 2);
    CHECK_OK(json_parse(want, strlen(want), &wanted, &err), &err);
    bool same = json_equal(json_get(got, "workflow"), wanted);
    CHECK(same);
    if (!same)
        fprintf(stderr, "got  %s\nwant %s\n", text, want);
}

static void test_normalised(void)
{
    static const struct {
        const char *body, *json;
    } cases[] = {
        /* numbers become text as Python prints them; a task becomes a group */
        { "name: Hi_1\ntasks:\n- {name: say, image: 'alpine:3.20', command: [echo], args: [7, 1.50, yes-sir]}\n",
          "{\"name\":\"Hi_1\",\"groups\":[{\"name\":\"say-group\",\"tasks\":[{\"name\":\"say\","
          "\"image\":\"alpine:3.20\","
          "\"command\":[\"echo\"],\"args\":[\"7\",\"1.5\",\"yes-sir\"],\"lead\":true}]}],"
          "\"resources\":{\"default\":{}}}" },
        /* an explicit group keeps what differs from the defaults, and only the lead says so */
        { "name: duo\ngroups:\n- name: Pair_A\n  barrier: false\n  ignoreNonleadStatus: 'off'\n  tasks:\n"
          "  - {name: boss, lead: yes, image: i, command: [run]}\n  - {name: helper, image: i, command: [serve], "
          "lead: 0}\n",
          "{\"name\":\"duo\",\"groups\":[{\"name\":\"Pair_A\",\"barrier\":false,\"ignoreNonleadStatus\":false,"
          "\"tasks\":["
          "{\"name\":\"boss\",\"image\":\"i\",\"command\":[\"run\"],\"lead\":true},"
          "{\"name\":\"helper\",\"image\":\"i\",\"command\":[\"serve\"]}]}],\"resources\":{\"default\":{}}}" },
        /* sizes without a unit become Ki; node names become text */
        { "name: sizes\nresources:\n  default: {memory: 1073741824, storage: 512Mi}\n"
          "  big: {cpu: 4, gpu: 2.0, memory: 1.5Gi, platform: gpu, nodesExcluded: [n7, 8]}\n"
          "tasks: [{name: a, image: a, command: [x], resource: big, cacheSize: 25%, privileged: 1}]\n",
          "{\"name\":\"sizes\",\"groups\":[{\"name\":\"a-group\",\"tasks\":[{\"name\":\"a\",\"image\":\"a\","
          "\"command\":[\"x\"],"
          "\"resource\":\"big\",\"lead\":true,\"privileged\":true,\"cacheSize\":\"25%\"}]}],"
          "\"resources\":{\"default\":{"
          "\"memory\":\"1048576.0Ki\",\"storage\":\"512Mi\"},\"big\":{\"cpu\":4,\"gpu\":2,\"memory\":\"1.5Gi\","
          "\"platform\":\"gpu\","
          "\"nodesExcluded\":[\"n7\",\"8\"]}}}" },
        /* YAML 1.1 scalars as keys and values of environment */
        { "name: env\ntasks: [{name: t, image: a, command: [x], environment: {N: 10, ON: on, F: 2.50, Q: '010', O: "
          "010}}]\n",
          "{\"name\":\"env\",\"groups\":[{\"name\":\"t-group\",\"tasks\":[{\"name\":\"t\",\"image\":\"a\","
          "\"command\":[\"x\"],"
          "\"environment\":{\"N\":\"10\",\"True\":\"True\",\"F\":\"2.5\",\"Q\":\"010\",\"O\":\"8\"},\"lead\":true}]}],"
          "\"resources\":{\"default\":{}}}" },
        /* exit actions keep their spelling, checkpoints and timeouts are written in one unit */
        { "name: tough\ntimeout: {exec_timeout: 90m, queue_timeout: 3600}\ntasks:\n- name: t\n  image: a\n  "
          "command: [x]\n"
          "  exitActions: {complete: '0,10-12', RESCHEDULE: 3, Fail: 4-9}\n"
          "  checkpoint: [{path: w, url: 's3://b/c', frequency: 90}, {path: v, url: 'gs://b/c', frequency: PT2H, "
          "regex: '.*pt'}]\n",
          "{\"name\":\"tough\",\"groups\":[{\"name\":\"t-group\",\"tasks\":[{\"name\":\"t\",\"image\":\"a\","
          "\"command\":[\"x\"],"
          "\"exitActions\":{\"complete\":\"0,10-12\",\"RESCHEDULE\":\"3\",\"Fail\":\"4-9\"},"
          "\"checkpoint\":[{\"path\":\"w\","
          "\"url\":\"s3://b/c\",\"frequency\":\"90s\"},{\"path\":\"v\",\"url\":\"gs://b/c\",\"frequency\":\"2h\","
          "\"regex\":\".*pt\"}],"
          "\"lead\":true}]}],\"resources\":{\"default\":{}},\"timeout\":{\"exec_timeout\":\"90m\","
          "\"queue_timeout\":\"1h\"}}" },
        /* labels stay, pool, backend and inline resources vanish */
        { "name: tagged\nlabels: {team: robo, example.com/stage: dev, osmo.workflow_id: spoof}\npool: p\nbackend: b\n"
          "tasks: [{name: t, image: a, command: [x], backend: nope, resources: {cpu: 99}, downloadType: null}]\n",
          "{\"name\":\"tagged\",\"groups\":[{\"name\":\"t-group\",\"tasks\":[{\"name\":\"t\",\"image\":\"a\","
          "\"command\":[\"x\"],"
          "\"lead\":true}]}],\"resources\":{\"default\":{}},\"labels\":{\"team\":\"robo\","
          "\"example.com/stage\":\"dev\","
          "\"osmo.workflow_id\":\"spoof\"}}" },
        /* credentials in both forms, an input of another workflow */
        { "name: c\ntasks: [{name: t, image: a, command: [x], inputs: [{task: 'chain-4:old', regex: 'a.*'}],\n"
          "  credentials: {api: {USER: user, N: 1}, keys: /root/.keys}}]\n",
          "{\"name\":\"c\",\"groups\":[{\"name\":\"t-group\",\"tasks\":[{\"name\":\"t\",\"image\":\"a\","
          "\"command\":[\"x\"],"
          "\"credentials\":{\"api\":{\"USER\":\"user\",\"N\":\"1\"},\"keys\":\"/root/.keys\"},"
          "\"inputs\":[{\"task\":\"chain-4:old\",\"regex\":\"a.*\"}],\"lead\":true}]}],"
          "\"resources\":{\"default\":{}}}" },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        check_json(cases[i].body, cases[i].json);
}

#define TASK(more) "name: w\ntasks: [{name: t, image: a, command: [x]" more "}]\n"
#define TWO(a, b) "name: w\ntasks: [{name: " a ", image: i, command: [x]}, {name: " b ", image: i, command: [x]}]\n"

static void test_refused(void)
{
    static const struct { const char *body; int code; const char *words; } cases[] = {
        { "[]", OSMO_EUSAGE, "workflow: must be a mapping, not a list" },
        { "tasks: [{name: t, image: a, command: [x]}]", OSMO_EUSAGE, "workflow.name: is missing" },
        { "name: 7\ntasks: [{name: t, image: a, command: [x]}]", OSMO_EUSAGE, "workflow.name: must be text" },
        { "name: 1abc\ntasks: [{name: t, image: a, command: [x]}]", OSMO_EUSAGE, "workflow.name: '1abc' must begin" },
        { "name: w\ntasks: []", OSMO_EUSAGE, "needs tasks or groups" },
        { "name: w\ntasks: [{name: t, image: a, command: [x]}]\ngroups: [{name: g, tasks: [{name: u, image: a, "
            "command: [x]}]}]",
          OSMO_EUSAGE, "both tasks and groups" },
        { "name: w\ntasks: [{name: t, image: a, command: [x]}]\ngroups: null", OSMO_EUSAGE, "groups" },
        { "name: w\npriority: HIGH\ntasks: [{name: t, image: a, command: [x]}]", OSMO_EUSAGE,
            "workflow.priority: unknown key" },
        { "name: w\ntasks: [{name: t, image: a}]", OSMO_EUSAGE, "workflow.tasks.0.command: is missing (line 2, "
            "column 9)" },
        { "name: w\ntasks: [{name: t, image: a, command: sh}]", OSMO_EUSAGE, "tasks.0.command: must be a list" },
        { "name: w\ntasks: [{name: t, image: a, command: []}]", OSMO_EUSAGE, "must not be empty" },
        { "name: w\ntasks: [{name: 123, image: a, command: [x]}]", OSMO_EUSAGE, "tasks.0.name: must be text, not" },
        { "name: w\ntasks: [{name: OSMO_CTRL, image: a, command: [x]}]", OSMO_EUSAGE, "is reserved" },
        { TASK(", args: [true]"), OSMO_EUSAGE, "tasks.0.args.0: must be text" },
        { TASK(", env: {A: b}"), OSMO_EUSAGE, "did you mean environment?" },
        { TASK(", kpi: []"), OSMO_EUSAGE, "did you mean kpis?" },
        { TASK(", files: null"), OSMO_EUSAGE, "tasks.0.files: must be a list, not null" },
        { TASK(", files: [{path: /a}]"), OSMO_EUSAGE, "files.0.contents: is missing" },
        { TASK(", files: [{path: /a, contents: b, localpath: c}]"), OSMO_EUSAGE, "files.0.localpath: unknown key" },
        { TASK(", files: [{path: /, contents: b}]"), OSMO_EUSAGE, "names no file" },
        { TASK(", files: [{path: osmo/x, contents: b}]"), OSMO_EUSAGE, "reserved" },
        { TASK(", files: [{path: /a, contents: b}, {path: /a, contents: c}]"), OSMO_EUSAGE,
            "files.1.path: '/a' is given twice" },
        { TASK(", files: [{path: /a, contents: {b: c}}]"), OSMO_EUSAGE, "contents: must be text" },
        { TASK(", environment: {A: null}"), OSMO_EUSAGE, "environment.A: must be text" },
        { TASK(", environment: {A: 2024-01-02}"), OSMO_EUSAGE, "environment.A" },
        { TASK(", environment: [A]"), OSMO_EUSAGE, "environment: must be a mapping" },
        { TASK(", exitActions: {RESTART: 1}"), OSMO_EUSAGE, "exitActions.RESTART: unknown action" },
        { TASK(", exitActions: {FAIL: '0, 1'}"), OSMO_EUSAGE, "exit codes" },
        { TASK(", exitActions: {FAIL: -1}"), OSMO_EUSAGE, "exit codes" },
        { TASK(", exitActions: {FAIL: 1.5}"), OSMO_EUSAGE, "exit codes" },
        { TASK(", downloadType: mountpoint-s3"), OSMO_EUSAGE, "downloadType" },
        { TASK(", checkpoint: [{path: a, url: 's3://b'}]"), OSMO_EUSAGE, "checkpoint.0.frequency: is missing" },
        { TASK(", checkpoint: [{path: a, url: 's3://b', frequency: true}]"), OSMO_EUSAGE,
            "frequency: must be a duration" },
        { TASK(", checkpoint: [{path: a, url: 's3://b', frequency: -5}]"), OSMO_EUSAGE, "must not be negative" },
        { TASK(", checkpoint: [{path: a, url: 'http://b', frequency: 5}]"), OSMO_EUSAGE, "no storage address" },
        { TASK(", kpis: [{path: a}]"), OSMO_EUSAGE, "kpis.0.index: is missing" },
        { TASK(", inputs: [{task: a, url: 's3://b'}]"), OSMO_EUSAGE, "both task and url" },
        { TASK(", inputs: [{}]"), OSMO_EUSAGE, "either task or url" },
        { TASK(", inputs: [x]"), OSMO_EUSAGE, "inputs.0: must be a mapping" },
        { TASK(", inputs: [{dataset: x}]"), OSMO_EUSAGE, "inputs.0.dataset: unknown key" },
        { TASK(", inputs: [{task: 'a:b:c'}]"), OSMO_EUSAGE, "neither the name of a task" },
        { TASK(", inputs: [{url: 's3://b', regex: '('}]"), OSMO_EUSAGE, "inputs.0.regex" },
        { TASK(", outputs: [{task: a}]"), OSMO_EUSAGE, "outputs.0.task: unknown key" },
        { TASK(", credentials: abc"), OSMO_EUSAGE, "credentials: must be a mapping" },
        { TASK(", credentials: {a: {b: null}}"), OSMO_EUSAGE, "credentials.a.b: must be text" },
        { TASK(", lead: 2"), OSMO_EUSAGE, "lead: must be true or false" },
        { TASK(", inputs: [{task: ghost}]"), OSMO_ESUBMISSION, "'ghost', which this workflow does not have" },
        { TASK(", inputs: [{task: t}]"), OSMO_EUSAGE, "takes input from itself" },
        { "name: w\nlabels: {a: 1}\n" "tasks: [{name: t, image: a, command: [x]}]", OSMO_EUSAGE,
            "labels.a: must be text" },
        { "name: w\nlabels: {a: ''}\n" "tasks: [{name: t, image: a, command: [x]}]", OSMO_EUSAGE,
            "no valid label value" },
        { "name: w\nlabels: {Up.x/a: b}\n" "tasks: [{name: t, image: a, command: [x]}]", OSMO_EUSAGE,
            "no valid label key" },
        { "name: w\nresources: null\n" "tasks: [{name: t, image: a, command: [x]}]", OSMO_EUSAGE,
            "resources: must be a mapping" },
        { "name: w\nresources: {default: {cpu: 0.5}}\n" "tasks: [{name: t, image: a, command: [x]}]", OSMO_EUSAGE,
            "whole number" },
        { "name: w\nresources: {default: {cpu: -1}}\n" "tasks: [{name: t, image: a, command: [x]}]", OSMO_EUSAGE,
            "negative" },
        { "name: w\nresources: {default: {ram: 1}}\n" "tasks: [{name: t, image: a, command: [x]}]", OSMO_EUSAGE,
            "unknown key" },
        { "name: w\nresources: {default: {memory: 10GB}}\n" "tasks: [{name: t, image: a, command: [x]}]",
            OSMO_ERESOURCE, "'10GB'" },
        { "name: w\nresources: {r: {topology: [{group: a}]}}\n" "tasks: [{name: t, image: a, command: [x]}]",
            OSMO_EUSAGE,
          "topology.0.key: is missing" },
        { "name: w\ntimeout: 5m\ntasks: [{name: t, image: a, command: [x]}]", OSMO_EUSAGE,
            "timeout: must be a mapping" },
        { "name: w\ntimeout: {exec_timeout: 1h30m}\ntasks: [{name: t, image: a, command: [x]}]", OSMO_EUSAGE,
            "'1h30m'" },
        { "name: w\ntimeout: {exec_timeout: [1]}\ntasks: [{name: t, image: a, command: [x]}]", OSMO_EUSAGE,
            "exec_timeout: must be" },
        { TWO("A_b", "a-B"), OSMO_EUSAGE, "collides with the name 'A_b'" },
        { TWO("a", "a-group"), OSMO_EUSAGE, "collides" },
        { "name: w\ngroups: [{name: t, tasks: [{name: t, image: a, command: [x]}]}]", OSMO_EUSAGE, "collides" },
        { "name: w\ngroups: [{name: g, tasks: []}]", OSMO_EUSAGE, "groups.0.tasks: must hold at least one task" },
        { "name: w\ngroups: [{name: g}]", OSMO_EUSAGE, "groups.0.tasks: is missing" },
        { "name: w\ngroups: [{name: g, tasks: [{name: a, image: i, command: [x]}, {name: b, image: i, command: "
            "[x]}]}]", OSMO_EUSAGE,
          "none of 2 tasks has lead: true" },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_(spec_freep) struct spec *s = NULL;
        osmo_error_t err = OSMO_ERROR_INIT;
        int rc = parse(cases[i].body, NULL, &s, &err);
        if (rc != cases[i].code)
            fprintf(stderr, "case %zu: %s\n", i, cases[i].body);
        CHECK_INT(rc, cases[i].code);
        CHECK_CONTAINS(err.text, cases[i].words);
    }
}

static void test_all_findings(void)
{
    _cleanup_(spec_freep) struct spec *s = NULL;
    osmo_error_t err = OSMO_ERROR_INIT;
    buf_t text = BUF_INIT(1u << 20);

    CHECK_INT(parse("name: w\ntasks:\n- name: t\n  comand: [x]\n  image: [1]\n", NULL, &s, &err), OSMO_EUSAGE);
    CHECK_STR(err.text, "3 errors in the workflow: workflow.tasks.0.comand: unknown key, did you mean command? "
        "(line 4, column 3); "
              "workflow.tasks.0.image: must be text, not a list (line 5, column 10); "
              "workflow.tasks.0.command: is missing (line 3, column 3)");
    buf_puts(&text, "name: w\ntasks:\n");
    for (int i = 0; i < 500; i++)
        buf_printf(&text, "- {name: t%d, image: a}\n", i);
    CHECK_INT(parse(buf_cstr(&text), NULL, &s, &err), OSMO_EUSAGE);
    CHECK_CONTAINS(err.text, "500 errors in the workflow: workflow.tasks.0.command");
    CHECK_CONTAINS(err.text, " more");
    buf_free(&text);
}

static void test_order(void)
{
    static const char chain[] = "name: chain\ntasks:\n- {name: fetch, image: c, command: [x]}\n"
        "- {name: clean, image: c, command: [x], inputs: [{task: fetch}, {url: 's3://b/r'}, {task: fetch}]}\n"
        "- {name: report, image: c, command: [x], inputs: [{task: clean}, {task: fetch}]}\n";
    _cleanup_(spec_freep) struct spec *s = NULL;
    struct spec *none = NULL;
    osmo_error_t err = OSMO_ERROR_INIT;

    CHECK_OK(parse(chain, NULL, &s, &err), &err);
    REQUIRE(s && s->ngroups == 3);
    CHECK_INT(s->groups[0].nupstream, 0);
    CHECK_INT(s->groups[0].ndownstream, 2);
    CHECK_INT(s->groups[1].nupstream, 1);
    CHECK_INT(s->groups[2].nupstream, 2);
    CHECK_INT(s->groups[2].upstream[0], 0);
    CHECK_INT(s->groups[2].upstream[1], 1);
    CHECK(s->groups[1].has_downstream && !s->groups[2].has_downstream);

    CHECK_INT(parse("name: w\ntasks:\n- {name: a, image: i, command: [x], inputs: [{task: b}]}\n"
                    "- {name: b, image: i, command: [x], inputs: [{task: a}]}\n", NULL, &none, &err), OSMO_EUSAGE);
    CHECK_CONTAINS(err.text, "workflow.tasks.0.inputs.0: task 'a' takes input from task 'b', which is declared "
        "later: declare 'b' earlier");
    CHECK_INT(parse("name: w\ngroups: [{name: g, tasks: [{name: a, lead: true, image: i, command: [x]}, "
                    "{name: b, image: i, command: [x], inputs: [{task: a}]}]}]", NULL, &none, &err), OSMO_EUSAGE);
    CHECK_CONTAINS(err.text, "task 'b' takes input from task 'a' of its own group 'g'");
}

static void test_limits(void)
{
    struct settings *limits = defaults();
    struct spec *s = NULL;
    osmo_error_t err = OSMO_ERROR_INIT;
    char body[400];

    REQUIRE(limits);
    snprintf(body, sizeof(body), "name: w\ntasks: [{name: a%058d, image: i, command: [x]}]", 0);
    CHECK_INT(parse(body, limits, &s, &err), OSMO_EUSER);
    CHECK_CONTAINS(err.text, "has 59 characters, at most 58 are allowed");
    snprintf(body, sizeof(body), "name: w\ntasks: [{name: a%057d, image: i, command: [x]}]", 0);
    CHECK_OK(parse(body, limits, &s, &err), &err);
    spec_free(s);
    s = NULL;
    snprintf(body, sizeof(body), "name: a%064d\ntasks: [{name: t, image: i, command: [x]}]", 0);
    CHECK_INT(parse(body, limits, &s, &err), OSMO_EUSER);
    limits->max_num_tasks = 1;
    CHECK_INT(parse(TWO("a", "b"), limits, &s, &err), OSMO_EUSER);
    CHECK_CONTAINS(err.text, "has 2 tasks, at most 1 are allowed");
    settings_free(limits);
}

static void test_large(void)
{
    struct settings *limits = defaults();
    _cleanup_(spec_freep) struct spec *s = NULL;
    osmo_error_t err = OSMO_ERROR_INIT;
    buf_t text = BUF_INIT(64u << 20);

    buf_puts(&text, "name: big\ntasks:\n");
    for (int i = 0; i < 100000; i++)
        buf_printf(&text, "- {name: t%d, image: a, command: [x]%s}\n", i, i ? ", inputs: [{task: t0}]" : "");
    CHECK_OK(parse(buf_cstr(&text), limits, &s, &err), &err);
    buf_free(&text);
    REQUIRE(s && limits);
    CHECK_INT(spec_task_count(s), 100000);
    CHECK_INT(s->groups[0].ndownstream, 99999);
    CHECK_OK(spec_resolve(s, limits, settings_pool(limits, "default"), &err), &err);
    settings_free(limits);
}

static void test_round_trip(void)
{
    static const char body[] = "name: r\nresources:\n  big: {cpu: 2, memory: 1Gi, topology: [{key: rack, "
        "requirementType: preferred}]}\n"
        "groups:\n- name: g\n  barrier: false\n  tasks:\n  - name: a\n    lead: true\n    image: i\n    command: "
            "[sh, -c]\n    resource: big\n"
        "    args: [\"tab\\tdel\\x7f \\u263a\"]\n    environment: {A: \"1\", B: \"x: y\"}\n"
        "    files: [{path: /t/x, contents: \"line  \\n\\n\"}, {path: /t/y, contents: aGk=, base64: true}]\n"
        "    exitActions: {Fail: 4-9}\n    checkpoint: [{path: c, url: 's3://b/c', frequency: 0.5}]\n"
        "    credentials: {k: /root}\n    volumeMounts: [/dev/shm]\n    hostNetwork: true\n"
        "    outputs: [{url: 's3://b/o', regex: a}]\n    kpis: [{index: 3, path: k.json}]\n"
        "- name: h\n  tasks: [{name: b, image: i, command: [x], resource: big, inputs: [{task: a}, {task: "
            "'w-1:z'}]}]\n";
    _cleanup_(spec_freep) struct spec *s = NULL;
    osmo_error_t err = OSMO_ERROR_INIT;

    CHECK_OK(parse(body, NULL, &s, &err), &err);
    REQUIRE(s);
    for (size_t i = 0; i < s->ngroups; i++) {
        _cleanup_(spec_freep) struct spec *back = NULL;
        _cleanup_json_ json_t *first = spec_group_to_json(s, i);
        _cleanup_json_ json_t *sorted = NULL;
        CHECK_INT(json_sort_keys(first, &sorted), 0); /* a store may reorder keys */
        CHECK_OK(spec_group_from_json(sorted, &back, &err), &err);
        REQUIRE(back);
        _cleanup_json_ json_t *second = spec_group_to_json(back, 0);
        CHECK(json_equal(first, second));
        CHECK_INT(json_get_bool(first, "hasDownstream", false), i == 0);
        CHECK_INT(back->groups[0].barrier, i == 1);
    }
    CHECK_STR(s->groups[0].tasks[0].files[0].contents, "line  \n\n");
    _cleanup_json_ json_t *bad = json_object();
    struct spec *none = NULL;
    CHECK_INT(spec_group_from_json(bad, &none, &err), OSMO_EINVAL);
}

static void test_resolve(void)
{
    static const char config[] = "pools:\n  p:\n    backend: b\n    default_platform: cpu\n    "
        "default_exec_timeout: 2h\n    max_exec_timeout: 3h\n"
        "    topology_keys: [{key: rack, label: example.com/rack}]\n    platforms:\n      cpu: {}\n"
        "      gpu: {privileged_allowed: true, host_network_allowed: true, allowed_mounts: [/dev/shm, /opt]}\n"
        "  q:\n    backend: b\n    platforms: {cpu: {}}\n";
    static const struct { const char *body, *pool; int code; const char *words; } cases[] = {
        { TASK(""), "p", 0, NULL },
        { TASK(""), "q", OSMO_ERESOURCE, "no default platform" },
        { TASK(", resource: huge"), "p", OSMO_ERESOURCE, "uses resource 'huge'" },
        { TASK(", privileged: true"), "p", OSMO_ERESOURCE, "may not be privileged" },
        { TASK(", hostNetwork: true"), "p", OSMO_ERESOURCE, "hostNetwork" },
        { TASK(", volumeMounts: [/opt]"), "p", OSMO_ERESOURCE, "may not mount '/opt'" },
        { TASK(", cacheSize: 120%"), "p", OSMO_ERESOURCE, "cacheSize" },
        { TASK(", cacheSize: 10Gi"), "p", 0, NULL },
        { "name: w\ntasks: [{name: t, image: UPPER, command: [x]}]", "p", OSMO_EUSAGE, "image reference" },
        { "name: w\ntasks: [{name: t, image: 'h.io:50/a/b:T1@sha256:ab', command: [x]}]", "p", 0, NULL },
        { TASK(", inputs: [{url: 'http://x'}]"), "p", OSMO_EUSAGE, "storage address" },
        { TASK(", outputs: [{url: 's3://b//x'}]"), "p", OSMO_EUSAGE, "storage address" },
        { TASK(", outputs: [{url: 's3://b/{{workflow_id}}/'}]"), "p", 0, NULL },
        { TASK(", outputs: [{url: 'azure://a'}]"), "p", OSMO_EUSAGE, "storage address" },
        { "name: w\nresources: {default: {platform: tpu}}\ntasks: [{name: t, image: a, command: [x]}]", "p",
            OSMO_ERESOURCE,
          "'tpu', which pool 'p' does not have (it has: cpu, gpu)" },
        { "name: w\nresources: {default: {topology: [{key: zone}]}}\ntasks: [{name: t, image: a, command: [x]}]", "p",
          OSMO_ESUBMISSION, "'zone'" },
        { "name: w\nresources: {default: {platform: gpu}}\ntasks: [{name: t, image: a, command: [x], privileged: true, "
          "hostNetwork: true, volumeMounts: [/dev/shm, '/opt:/mnt/o']}]", "p", 0, NULL },
        { "name: w\nresources: {default: {platform: gpu}}\ntasks: [{name: t, image: a, command: [x], volumeMounts: "
            "['/opt:']}]", "p",
          OSMO_ERESOURCE, "SOURCE:DESTINATION" },
    };
    struct settings *settings = NULL;
    osmo_error_t err = OSMO_ERROR_INIT;

    CHECK_OK(settings_parse(config, sizeof(config) - 1, "test", &settings, &err), &err);
    REQUIRE(settings);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_(spec_freep) struct spec *s = NULL;
        CHECK_OK(parse(cases[i].body, NULL, &s, &err), &err);
        REQUIRE(s);
        int rc = spec_resolve(s, settings, settings_pool(settings, cases[i].pool), &err);
        if (rc != cases[i].code)
            fprintf(stderr, "case %zu: %s: %s\n", i, cases[i].body, err.text);
        CHECK_INT(rc, cases[i].code);
        if (cases[i].words)
            CHECK_CONTAINS(err.text, cases[i].words);
    }
    settings_free(settings);
}

static void test_timeouts(void)
{
    static const char config[] = "workflow: {max_queue_timeout: 1d}\n"
        "pools: {p: {backend: b, default_platform: c, platforms: {c: {}}, default_exec_timeout: 2h, "
            "max_exec_timeout: 3h}}\n";
    static const struct { const char *timeout; int64_t exec_s, queue_s; } cases[] = {
        { "", 7200, 86400 },
        { "timeout: {exec_timeout: 10m, queue_timeout: 100d}\n", 600, 86400 },
        { "timeout: {exec_timeout: 5h, queue_timeout: null}\n", 10800, 86400 },
        { "timeout: {exec_timeout: 0, queue_timeout: true}\n", 7200, 1 },
        { "timeout: {exec_timeout: -5m}\n", -300, 86400 },
    };
    struct settings *settings = NULL;
    osmo_error_t err = OSMO_ERROR_INIT;

    CHECK_OK(settings_parse(config, sizeof(config) - 1, "test", &settings, &err), &err);
    REQUIRE(settings);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_(spec_freep) struct spec *s = NULL;
        char body[300];
        snprintf(body, sizeof(body), "%s%s", cases[i].timeout, TASK(""));
        CHECK_OK(parse(body, NULL, &s, &err), &err);
        REQUIRE(s);
        CHECK_OK(spec_resolve(s, settings, settings_pool(settings, "p"), &err), &err);
        CHECK_INT(s->exec_timeout_us, cases[i].exec_s * 1000000);
        CHECK_INT(s->queue_timeout_us, cases[i].queue_s * 1000000);
    }
    settings_free(settings);
}

static void test_overlay(void)
{
    _cleanup_(spec_freep) struct spec *s = NULL;
    osmo_error_t err = OSMO_ERROR_INIT;
    strlist_t vars = { 0 }, bad = { 0 };

    CHECK_OK(parse(TASK(", environment: {A: old, AB: keep}"), NULL, &s, &err), &err);
    REQUIRE(s);
    strlist_add(&vars, "A=x=y");
    strlist_add(&vars, "NEW=");
    CHECK_OK(spec_overlay_env(s, &vars, &err), &err);
    const struct spec_task *t = &s->groups[0].tasks[0];
    CHECK_INT(t->nenv, 3);
    CHECK_STR(t->env[0].value, "x=y");
    CHECK_STR(t->env[1].value, "keep");
    CHECK_STR(t->env[2].name, "NEW");
    strlist_add(&bad, "NOEQUALS");
    CHECK_INT(spec_overlay_env(s, &bad, &err), OSMO_EUSAGE);
    strlist_free(&vars);
    strlist_free(&bad);
}

static void test_durations(void)
{
    static const struct { const char *text; int64_t us; } good[] = {
        { "30m", 1800000000 }, { "1d", INT64_C(86400000000) }, { "500ms", 500000 }, { "7us", 7 }, { "-5m", -300000000 },
        { " 5 m", 300000000 }, { "1_0s", 10000000 }, { "PT1H", INT64_C(3600000000) }, { "P1DT2M0.25S",
            INT64_C(86520250000) },
        { "PT1.5S", 1500000 },
    };
    static const char *const bad[] = { "", "10", "1h30m", "1.5h", "10w", "abc", "m", "P", "PT", "P1W", "PT1.5H",
        "PT1M1H", "P1H",
                                       "1__0s", "99999999999999999999d", "PT1S1", "5M" };
    char text[32];
    int64_t us;

    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        int64_t again;
        CHECK_INT(duration_parse(good[i].text, &us, NULL), 0);
        CHECK_INT(us, good[i].us);
        CHECK_INT(duration_parse(duration_text(us, text), &again, NULL), 0);
        CHECK_INT(again, us);
    }
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        CHECK_INT(duration_parse(bad[i], &us, NULL), OSMO_EUSAGE);
    CHECK_STR(duration_text(INT64_C(5400000000), text), "90m");
    CHECK_STR(duration_text(0, text), "0s");
}

static void test_quantities(void)
{
    static const struct { const char *text; double bytes; } good[] = {
        { "5", 5 }, { "1Ki", 1024 }, { "1K", 1024 }, { "1.5GiB", 1610612736.0 }, { "2Ti", 2199023255552.0 },
            { "512m", 0.5 }, { "3B", 3 },
    };
    static const char *const bad[] = { "", "10GB", "MB", "1k", "1gi", "1Pi", "1E", "10 Gi", "1e3", "-1Gi", ".5Gi",
        "1.Gi", "0x10" };
    double bytes;

    for (size_t i = 0; i < ARRAY_SIZE(good); i++) {
        CHECK(quantity_bytes(good[i].text, &bytes));
        CHECK(bytes > good[i].bytes - 0.01 && bytes < good[i].bytes + 0.01);
    }
    for (size_t i = 0; i < ARRAY_SIZE(bad); i++)
        CHECK(!quantity_bytes(bad[i], &bytes));
}

static void test_kube_name(void)
{
    static const struct { const char *name, *want; } cases[] = {
        { "Task_One", "task-one" }, { "a", "a" },
        { "a123456789a123456789a123456789a123456789a123456789a123456789a1_b",
            "a123456789a123456789a123456789a123456789a123456789a123456789a1" },
    };
    char out[64];
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        kube_name(cases[i].name, out);
        CHECK_STR(out, cases[i].want);
    }
}

static const struct check_test tests[] = {
    { "normalised forms", test_normalised }, { "refused forms", test_refused }, { "all findings", test_all_findings },
    { "dependency order", test_order }, { "limits", test_limits }, { "100000 tasks", test_large }, { "round trip",
        test_round_trip },
    { "resolve", test_resolve }, { "timeouts", test_timeouts }, { "environment overlay", test_overlay },
        { "durations", test_durations },
    { "quantities", test_quantities }, { "container names", test_kube_name },
};
TEST_MAIN("spec", tests)
