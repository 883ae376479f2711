/* The two written forms of a specification, stored groups and the normalised document: the direct writers agree with the
 * trees, and what is written reads back to the same, over a corpus of documents and over generated ones. */
#include <glob.h>
#include <stdlib.h>
#include "base/cleanup.h"
#include "base/file.h"
#include "check.h"
#include "model/spec.h"
#include "model/submission.h"

/* `rendered`: the text is YAML already and is taken as it is. OSMO_ENOTFOUND: it needs variables that nobody gives here. */
static int read_text(const char *text, bool rendered, struct spec **out, osmo_error_t *err)
{
    const struct template_limits limits = TEMPLATE_LIMITS_DEFAULT;
    yaml_limits_t yaml_limits = YAML_LIMITS_DEFAULT;
    _cleanup_buf_ buf_t made = BUF_INIT(64u << 20);
    _cleanup_yaml_ yaml_node_t *doc = NULL;
    int rc = rendered ? buf_puts(&made, text) : submission_render(text, strlen(text), NULL, NULL, &limits, &made, err);
    if (rc < 0)
        return OSMO_ENOTFOUND;
    rc = yaml_parse(buf_cstr(&made), made.len, &yaml_limits, &doc, err);
    return rc < 0 ? rc : spec_parse(yaml_get(doc, "workflow"), NULL, out, err);
}

static void check_yaml(const struct spec *s, const char *what)
{
    _cleanup_(spec_freep) struct spec *again = NULL;
    _cleanup_json_ json_t *tree = spec_to_json(s), *sorted = NULL, *back = NULL, *direct_tree = NULL;
    _cleanup_buf_ buf_t direct = BUF_INIT(64u << 20), twice = BUF_INIT(64u << 20);
    _cleanup_yaml_ yaml_node_t *doc = NULL;
    osmo_error_t err = OSMO_ERROR_INIT;

    CHECK_INT(spec_write_yaml(s, &direct), 0);
    CHECK_OK(yaml_parse(buf_cstr(&direct), direct.len, &(yaml_limits_t)YAML_LIMITS_DEFAULT, &doc, &err), &err);
    REQUIRE(doc && tree);
    CHECK_OK(yaml_to_json(doc, &direct_tree, &err), &err);
    bool same = json_equal(tree, direct_tree);
    CHECK(same);
    /* sorted: the text of the tree as it was read is the text of the sorted one */
    CHECK_INT(json_sort_keys(direct_tree, &sorted), 0);
    _cleanup_free_ char *a = json_to_text(direct_tree), *b = json_to_text(sorted);
    CHECK_STR(a, b);
    /* fixed point */
    int rc = spec_parse(yaml_get(doc, "workflow"), NULL, &again, &err);
    CHECK_OK(rc, &err);
    if (rc == 0) {
        back = spec_to_json(again);
        CHECK(json_equal(tree, back));
        CHECK_INT(spec_write_yaml(again, &twice), 0);
        CHECK_STR(buf_cstr(&twice), buf_cstr(&direct));
    }
    if (!same || rc < 0)
        fprintf(stderr, "%s:\n%s\n", what, buf_cstr(&direct));
}

static void check_groups(const struct spec *s)
{
    for (size_t i = 0; i < s->ngroups; i++) {
        _cleanup_json_ json_t *tree = spec_group_to_json(s, i), *direct = NULL, *back = NULL;
        _cleanup_buf_ buf_t text = BUF_INIT(64u << 20);
        _cleanup_(spec_freep) struct spec *again = NULL;
        osmo_error_t err = OSMO_ERROR_INIT;
        CHECK_INT(spec_group_write(s, i, &text), 0);
        CHECK_OK(json_parse(buf_cstr(&text), text.len, &direct, &err), &err);
        CHECK(json_equal(tree, direct));
        CHECK_OK(spec_group_from_json(direct, &again, &err), &err);
        REQUIRE(again);
        back = spec_group_to_json(again, 0);
        CHECK(json_equal(tree, back));
    }
}

static bool check_text(const char *text, bool rendered, const char *what)
{
    _cleanup_(spec_freep) struct spec *s = NULL;
    osmo_error_t err = OSMO_ERROR_INIT;
    int rc = read_text(text, rendered, &s, &err);
    if (rc == OSMO_ENOTFOUND)
        return false;
    CHECK_OK(rc, &err);
    if (rc < 0) {
        fprintf(stderr, "%s\n", what);
        return false;
    }
    check_yaml(s, what);
    check_groups(s);
    return true;
}

static void test_documents(void)
{
    static const char *const texts[] = {
        "workflow:\n  name: Hello_1\n  tasks:\n  - {name: say, image: 'alpine:3.20', command: [echo], args: [7, 1.50, y]}\n",
        "workflow:\n  name: chain\n  tasks:\n  - {name: fetch, image: curl, command: [sh], outputs: [{url: "
        "\"s3://bkt/raw/{{workflow_id}}\", regex: \".*\\\\.csv$\"}]}\n  - {name: clean, image: py, command: [sh, "
        "\"{{input:0}}\"], inputs: [{task: fetch}, {url: \"s3://bkt/ref\", regex: \"a.*\"}]}\n  - {name: report, image: "
        "py, command: [sh], inputs: [{task: clean}, {task: fetch}, {task: 'old-3:end'}], kpis: [{index: 3, path: "
        "out/kpi.json}]}\n",
        "workflow:\n  name: duo\n  groups:\n  - name: Pair_A\n    barrier: false\n    ignoreNonleadStatus: false\n    "
        "tasks:\n    - {name: boss, lead: true, image: img, command: [run, \"--peer\", \"{{host:helper}}\"]}\n    - "
        "{name: helper, image: img, command: [serve]}\n",
        "workflow:\n  name: sizes\n  resources:\n    default: {memory: 1073741824, storage: 512Mi}\n    big: {cpu: 4, gpu: "
        "-1, memory: 1.5Gi, storage: 40Gi, platform: gpu, nodesExcluded: [n7, 8]}\n    '': {memory: 5, storage: "
        "'0.00000001'}\n    'a: b': {memory: 100000000000000000000000}\n  tasks:\n  - {name: large, image: a, command: "
        "[x], resource: big, cacheSize: 25%, volumeMounts: [/dev/shm, \"/opt:/mnt/o\"], privileged: true, hostNetwork: "
        "true}\n",
        "workflow:\n  name: secrets\n  tasks:\n  - name: t\n    image: a\n    command: [sh, '', ' x ', null_, 'null', 'yes', "
        "'12', '1e3', '0x1F', '=', '<<', '- a', '#', 'a #b', 'a: b', '*x', '&x', '!t', '%d', '@d', '`', \"tab\\tq\", "
        "\"\\x7f\\x01\\u0085\\u2028\\uFEFF\\U0001F600\", '...', '---', 'é', 'on', /osmo]\n    environment: {N: 10, ON: on, "
        "F: 2.50, Q: '010', O: 010, 1: a, '1': b, ~: n, '': empty}\n    files:\n    - {path: /tmp/go.sh, contents: \"echo "
        "{{output}}\\n\"}\n    - {path: /a, contents: aGVsbG8=, base64: true}\n    - {path: /b, contents: \"\"}\n    - "
        "{path: /c, contents: \"a  \\n\\n  b\\n\\n\\n\"}\n    - {path: /d, contents: \"\\n\"}\n    - {path: /e, contents: "
        "\"  lead\\nx\"}\n    - {path: /f, contents: \"\\n\\nx\\n\"}\n    - {path: /g, contents: \"a\\r\\nb\\r\\n\"}\n    - "
        "{path: /h, contents: \"a\\n\\tb\\n\"}\n    - {path: /i, contents: \"a\\n \\n\"}\n    - {path: /j, contents: "
        "\"# c\\n--- x\\n...\\n%d\\n\"}\n    - {path: /k, contents: \"\\ta\\nb\"}\n    - {path: /l, contents: \"a\\n\\u2028"
        "b\"}\n    credentials: {api: {API_USER: user, 7: true}, keys: /root/.keys, none: {}}\n",
        "workflow:\n  name: tough\n  timeout: {exec_timeout: 90m, queue_timeout: 3600}\n  labels: {team: robo, "
        "example.com/stage: 'yes'}\n  tasks:\n  - name: t\n    image: a\n    command: [x]\n    exitActions: {complete: "
        "'0,10-12', RESCHEDULE: 3, Fail: 4-9}\n    checkpoint: [{path: w, url: 's3://b/c', frequency: 90}, {path: v, "
        "url: 'gs://b/c', frequency: PT2H, regex: '.*pt'}, {path: z, url: 's3://b/c', frequency: 0.0000015}]\n",
        "workflow:\n  name: t1\n  timeout: {exec_timeout: -5m, queue_timeout: null}\n  tasks: [{name: t, image: a, command: "
        "[x], downloadType: download}]\n",
        "workflow:\n  name: topo\n  resources:\n    m1: {gpu: 1, topology: [{key: rack, group: m1}, {key: zone}]}\n    m2: "
        "{gpu: 1, topology: [{key: zone, group: all}, {key: rack, group: m2, requirementType: preferred}]}\n  groups:\n  "
        "- name: g\n    tasks:\n    - {name: a, lead: true, image: i, command: [x], resource: m1}\n    - {name: b, image: "
        "i, command: [x], resource: m1}\n    - {name: c, image: i, command: [x], resource: m2}\n",
    };
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
        CHECK(check_text(texts[i], false, texts[i]));
}

/* Texts of odd characters in every place that holds free text. */
static void test_generated(void)
{
    static const char *const parts[] = { "a", " ", "\n", "\t", ":", "#", "'", "\"", "\\", "-", "é", "\x7f", "yes", "0", "{", "]",
                                         "\xe2\x80\xa8", ",", "|", ">", "%", "&", "*", "!", "?", "@", "`", "~", "=", "<<", "\r",
                                         "\xf0\x9f\x98\x80", "\xc2\x85", "\xef\xbb\xbf", "null", ".", "1e3", "\x01" };
    uint32_t seed = 12345;
    for (int round = 0; round < 1500; round++) {
        char words[3][200];
        _cleanup_(spec_freep) struct spec *s = NULL;
        _cleanup_yaml_ yaml_node_t *doc = NULL;
        osmo_error_t err = OSMO_ERROR_INIT;
        static const char base[] = "name: w\nresources: {default: {platform: P0}}\ntasks:\n- name: t\n  image: P1\n  command: "
                                   "[P2, P0]\n  environment: {P1: P2}\n  files: [{path: P0, contents: P2}]\n";
        for (size_t w = 0; w < ARRAY_SIZE(words); w++) {
            words[w][0] = '\0';
            for (uint32_t n = (seed = seed * 1664525 + 1013904223) >> 16 & 7; n > 0; n--)
                strcat(words[w], parts[((seed = seed * 1664525 + 1013904223) >> 16) % ARRAY_SIZE(parts)]);
            if (!words[w][0])
                strcpy(words[w], "w");
        }
        CHECK_OK(yaml_parse(base, sizeof(base) - 1, &(yaml_limits_t)YAML_LIMITS_DEFAULT, &doc, &err), &err);
        CHECK_OK(spec_parse(doc, NULL, &s, &err), &err);
        REQUIRE(s);
        struct spec_task *t = &s->groups[0].tasks[0];
        char **places[] = { &s->resources[0].platform, &t->image, &t->command.items[0], &t->command.items[1], &t->env[0].name,
                            &t->env[0].value, &t->files[0].contents };
        for (size_t i = 0; i < ARRAY_SIZE(places); i++) {
            free(*places[i]);
            *places[i] = str_dup(words[i % 3]);
        }
        check_yaml(s, words[0]);
        check_groups(s);
    }
}

/* Every document that comes with the product: examples, and the ones that golden files are made of. */
static void test_shipped(void)
{
    static const char *const patterns[] = { "examples/*.yaml", "tests/golden/specs/*.yaml",
                                            "tests/golden/expected/*.normal.yaml" };
    const char *top = getenv("srcdir");
    size_t seen = 0;

    for (size_t k = 0; k < ARRAY_SIZE(patterns); k++) {
        _cleanup_free_ char *pattern = str_printf("%s/%s", top ? top : ".", patterns[k]);
        glob_t found = { 0 };
        REQUIRE(pattern);
        int rc = glob(pattern, 0, NULL, &found);
        for (size_t i = 0; rc == 0 && i < found.gl_pathc; i++) {
            _cleanup_buf_ buf_t text = BUF_INIT(1u << 20);
            osmo_error_t err = OSMO_ERROR_INIT;
            CHECK_OK(file_read(found.gl_pathv[i], &text, &err), &err);
            seen += check_text(buf_cstr(&text), str_ends(found.gl_pathv[i], ".normal.yaml"), found.gl_pathv[i]);
        }
        globfree(&found);
    }
    CHECK(seen >= 60);
}

static const struct check_test tests[] = {
    { "documents", test_documents }, { "generated texts", test_generated }, { "shipped documents", test_shipped },
};
TEST_MAIN("spec_form", tests)
