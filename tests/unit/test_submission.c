/* Submission text: section split, variables and their precedence, protected tokens, line numbers of the user's file, and
 * which stage refuses what. */
#include <stdlib.h>

#include "base/cleanup.h"
#include "check.h"
#include "model/submission.h"

static int render(const char *text, const char *set, const char *set_string, buf_t *out, enum submission_stage *stage,
                  osmo_error_t *err) {
    strlist_t a = { 0 }, b = { 0 };
    if (set)
        strlist_split(&a, set, '|');
    if (set_string)
        strlist_split(&b, set_string, '|');
    int rc = submission_render_staged(text, strlen(text), &a, &b, NULL, out, stage, err);
    strlist_free(&a);
    strlist_free(&b);
    return rc;
}

static void test_render(void) {
    static const char spec[] =
        "version: 2\nworkflow:\n  name: {{ who }}\n  x: {{ tag }} {{output}} {{input:0}} {{ d }}\n"
        "default-values:\n  who: ana\n  tag: 1.360\n  d: {1: yes, a: \"{{workflow_id}}\"}\n";
    static const struct {
        const char *set, *set_string, *want;
    } cases[] = {
        { NULL, NULL, "\nworkflow:\n  name: ana\n  x: 1.36 {{output}} {{input:0}} {1: True, 'a': '{{workflow_id}}'}" },
        { "who=01|tag=1e3", NULL,
          "\nworkflow:\n  name: 1\n  x: 1000.0 {{output}} {{input:0}} {1: True, 'a': '{{workflow_id}}'}" },
        { "who=1_0|tag=0x10|d=", "tag=1.360", "\nworkflow:\n  name: 10\n  x: 1.360 {{output}} {{input:0}} " },
        /* the protected form is not a variable, the spaced one is; the last item of a name counts */
        { "output=zz|who=a|who=b", NULL,
          "\nworkflow:\n  name: b\n  x: 1.36 {{output}} {{input:0}} {1: True, 'a': '{{workflow_id}}'}" },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_buf_ buf_t out = BUF_INIT(1 << 20);
        osmo_error_t err = OSMO_ERROR_INIT;
        CHECK_OK(render(spec, cases[i].set, cases[i].set_string, &out, NULL, &err), &err);
        CHECK_STR(buf_cstr(&out), cases[i].want);
    }
}

/* Values of --set as Python's int() and float() read them, printed as Python prints them. */
static void test_types(void) {
    static const struct { const char *value, *printed, *kind; } cases[] = {
        { "01", "1", "int" }, { "1_0", "10", "int" }, { " 5", "5", "int" }, { "5 ", "5", "int" }, { "-7", "-7", "int" },
        { "+7", "7", "int" }, { "1__0", "1__0", "str" }, { "_1", "_1", "str" }, { "1_", "1_", "str" },
        { "1e3", "1000.0", "float" }, { "1.50", "1.5", "float" }, { ".5", "0.5", "float" }, { "5.", "5.0", "float" },
        { "nan", "nan", "float" }, { "-inf", "-inf", "float" }, { "Infinity", "inf", "float" }, { "1_0.5", "10.5", "float" },
        { "1e400", "inf", "float" }, { "True", "True", "str" }, { "0x10", "0x10", "str" }, { "", "", "str" },
        { "a=b=c", "a=b=c", "str" }, { "1 2", "1 2", "str" }, { "--1", "--1", "str" }, { "1e", "1e", "str" },
        { "99999999999999999999", "99999999999999999999", NULL }, { "-00099999999999999999999", "-99999999999999999999", NULL },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_buf_ buf_t out = BUF_INIT(1 << 20);
        osmo_error_t err = OSMO_ERROR_INIT;
        _cleanup_free_ char *item = str_printf("v=%s", cases[i].value), *want = NULL, *text = NULL;
        const char *kind = cases[i].kind;
        want = str_printf("workflow: %s/%s/%s/%s", cases[i].printed, !kind || !strcmp(kind, "int") ? "True" : "False",
                          kind && !strcmp(kind, "float") ? "True" : "False", kind && !strcmp(kind, "str") ? "True" : "False");
        text = str_printf("workflow: {{ v }}/{{ %s }}/{{ v is float }}/{{ %s }}\n", kind ? "v is integer" : "true",
                          kind ? "v is string" : "false");
        CHECK_OK(render(text, item, NULL, &out, NULL, &err), &err);
        CHECK_STR(buf_cstr(&out), want);
    }
}

static void test_large_numbers_of_defaults(void) {
    static const char spec[] = "workflow: {{ a + 1 }} {{ b - 1 }}\ndefault-values: {a: 99999999999999999999, b: -99999999999999999999}\n";
    _cleanup_buf_ buf_t out = BUF_INIT(1 << 20);
    osmo_error_t err = OSMO_ERROR_INIT;
    CHECK_OK(render(spec, NULL, NULL, &out, NULL, &err), &err);
    CHECK_STR(buf_cstr(&out), "workflow: 100000000000000000000 -100000000000000000000");
}

static void test_refused(void) {
    static const struct { const char *text, *set; enum submission_stage stage; int code; const char *part; } cases[] = {
        { "", NULL, SUBMISSION_SECTIONS, OSMO_EUSER, "workflow" },
        { "workflow :\n", NULL, SUBMISSION_SECTIONS, OSMO_EUSER, "workflow" },
        { " workflow:\n", NULL, SUBMISSION_SECTIONS, OSMO_EUSER, "workflow" },
        { "workflow:\nresources:\n", NULL, SUBMISSION_SECTIONS, OSMO_EUSER, "line 2: unknown section 'resources'" },
        { "workflow:\nworkflow:\n", NULL, SUBMISSION_SECTIONS, OSMO_EUSER, "twice" },
        { "workflow:\n", "x", SUBMISSION_VARIABLES, OSMO_EUSAGE, "name=value" },
        { "version: 2\nworkflow:\n  # {{ output }}\n", NULL, SUBMISSION_TEMPLATE, OSMO_EUSAGE, "line 3: 'output' is undefined" },
        { "workflow:\n  a: {{ x }}\ndefault-values: [1]\n", NULL, SUBMISSION_VARIABLES, OSMO_EUSAGE, "must be a mapping" },
        { "workflow:\ndefault-values: text\n", NULL, SUBMISSION_VARIABLES, OSMO_EUSAGE, "line 2: default-values must be" },
        { "workflow:\ndefault-values: 7\n", NULL, SUBMISSION_VARIABLES, OSMO_EUSAGE, "not an integer" },
        { "workflow:\ndefault-values: {a: [}\n", NULL, SUBMISSION_DEFAULTS, OSMO_EUSAGE, "default-values (from line 2)" },
        { "workflow:\ndefault-values:\n  a: {{ b }}\n", NULL, SUBMISSION_DEFAULTS, OSMO_EUSAGE, "default-values" },
        /* the first stage that fails is the one that is told */
        { "workflow:\n  a: {{ x\ndefault-values: [\n", "y", SUBMISSION_DEFAULTS, OSMO_EUSAGE, "default-values" },
        { "workflow:\n  a: {{ x\n", "y", SUBMISSION_VARIABLES, OSMO_EUSAGE, "'y'" },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_buf_ buf_t out = BUF_INIT(1 << 20);
        osmo_error_t err = OSMO_ERROR_INIT;
        enum submission_stage stage = SUBMISSION_SECTIONS;
        CHECK_INT(render(cases[i].text, cases[i].set, NULL, &out, &stage, &err), cases[i].code);
        CHECK_INT(stage, cases[i].stage);
        CHECK_CONTAINS(err.text, cases[i].part);
    }
}

/* What stands before the first section is dropped, what follows one at column 0 belongs to it. */
static void test_sections(void) {
    static const char text[] = "# comment {{ nope }}\n---\n{% set x = 1 %}\nversion: {{ nope }}\nworkflow:\n  a: 1\n# tail\n"
                               "{% set y = 2 %}b: {{ y }}\r\ndefault-values:\n";
    struct sections s;
    osmo_error_t err = OSMO_ERROR_INIT;
    _cleanup_buf_ buf_t out = BUF_INIT(1 << 20);
    CHECK_OK(submission_split(text, strlen(text), &s, &err), &err);
    CHECK_INT(s.workflow_line, 5);
    CHECK_INT(s.defaults_line, 9);
    CHECK(strncmp(s.workflow, "workflow:\n", 10) == 0);
    CHECK_OK(render(text, NULL, NULL, &out, NULL, &err), &err);
    CHECK_STR(buf_cstr(&out), "\n\n\n\nworkflow:\n  a: 1\n# tail\nb: 2");
    CHECK_INT(submission_split("workflow:\nJSON: 1", 17, &s, &err), OSMO_EUSER);
    CHECK_OK(submission_split("workflow:\n9a: 1\n_b: 2\n-c: 3\n", 28, &s, &err), &err); /* no section names */
    CHECK_INT(s.workflow_len, 28);
}

/* 64 MiB are taken, one byte more is not. */
static void test_size(void) {
    size_t len = SUBMISSION_TEXT_MAX;
    _cleanup_free_ char *text = malloc(len + 2);
    struct template_limits limits = TEMPLATE_LIMITS_DEFAULT;
    _cleanup_buf_ buf_t out = BUF_INIT(len + 100);
    osmo_error_t err = OSMO_ERROR_INIT;
    REQUIRE(text);
    memset(text, 'x', len + 1);
    text[len + 1] = '\0';
    memcpy(text, "workflow:\n  #", 13);
    CHECK_OK(submission_render(text, len, NULL, NULL, &limits, &out, &err), &err);
    CHECK_INT(out.len, len);
    CHECK_INT(submission_render(text, len + 1, NULL, NULL, &limits, &out, &err), OSMO_ELIMIT);
    CHECK_CONTAINS(err.text, "67108865 bytes, at most 67108864");
}

static const struct check_test tests[] = {
    { "renders", test_render }, { "types of values", test_types }, { "refuses", test_refused },
    { "large numbers of default-values", test_large_numbers_of_defaults }, { "sections", test_sections }, { "size", test_size },
};
TEST_MAIN("submission", tests)
