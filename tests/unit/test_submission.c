/* Submission text: section split, variables and their precedence, protected tokens, line numbers of the user's file. */
#include "check.h"
#include "base/cleanup.h"
#include "model/submission.h"

static int render(const char *text, const char *set, const char *set_string, buf_t *out, osmo_error_t *err) {
    strlist_t a = { 0 }, b = { 0 };
    if (set)
        strlist_split(&a, set, ' ');
    if (set_string)
        strlist_split(&b, set_string, ' ');
    int rc = submission_render(text, strlen(text), &a, &b, NULL, out, err);
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
        { NULL, NULL, "workflow:\n  name: ana\n  x: 1.36 {{output}} {{input:0}} {1: True, 'a': '{{workflow_id}}'}" },
        { "who=01 tag=1e3", NULL,
          "workflow:\n  name: 1\n  x: 1000.0 {{output}} {{input:0}} {1: True, 'a': '{{workflow_id}}'}" },
        { "who=1_0 tag=0x10 d=", "tag=1.360", "workflow:\n  name: 10\n  x: 1.360 {{output}} {{input:0}} " },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_buf_ buf_t out = BUF_INIT(1 << 20);
        osmo_error_t err = OSMO_ERROR_INIT;
        CHECK_OK(render(spec, cases[i].set, cases[i].set_string, &out, &err), &err);
        CHECK_STR(buf_cstr(&out), cases[i].want);
    }
}

static void test_refused(void) {
    static const struct { const char *text, *set; int code; const char *part; } cases[] = {
        { "", NULL, OSMO_EUSER, "workflow" }, { "workflow :\n", NULL, OSMO_EUSER, "workflow" },
        { "workflow:\nresources:\n", NULL, OSMO_EUSER, "line 2: unknown section 'resources'" },
        { "workflow:\nworkflow:\n", NULL, OSMO_EUSER, "twice" }, { "workflow:\n", "x", OSMO_EUSAGE, "name=value" },
        { "version: 2\nworkflow:\n  # {{ output }}\n", NULL, OSMO_EUSAGE, "line 3: 'output' is undefined" },
        { "workflow:\n  a: {{ x }}\ndefault-values: [1]\n", NULL, OSMO_EUSAGE, "must be a mapping" },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_buf_ buf_t out = BUF_INIT(1 << 20);
        osmo_error_t err = OSMO_ERROR_INIT;
        CHECK_INT(render(cases[i].text, cases[i].set, NULL, &out, &err), cases[i].code);
        CHECK_CONTAINS(err.text, cases[i].part);
    }
}

static const struct check_test tests[] = { { "renders", test_render }, { "refuses", test_refused } };
TEST_MAIN("submission", tests)
