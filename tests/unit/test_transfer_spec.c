/* osmo_ctrl's -inputs and -outputs: what each form means, and which addresses a task may name. */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "check.h"
#include "osmo-ctrl/transfer.h"

struct accepted { const char *arg; bool input; enum transfer_kind kind; int64_t index; const char *url, *rest; };
static const struct accepted accepted[] = {
    { "task:0,s3://b/wf/t,", true, TRANSFER_TASK, 0, "s3://b/wf/t", "" },
    { "task:12,https://host/api/storage/wf/t,a.*", true, TRANSFER_TASK, 12, "https://host/api/storage/wf/t", "a.*" },
    { "url:1,gs://b/ref,x{1,2},(a|b)", true, TRANSFER_URL, 1, "gs://b/ref", "x{1,2},(a|b)" },
    { "url:0,azure://acc/box", true, TRANSFER_URL, 0, "azure://acc/box", "" },
    { "task:s3://b/wf/t", false, TRANSFER_TASK, -1, "s3://b/wf/t", "" },
    { "task:http://host:1/api/storage/wf/t", false, TRANSFER_TASK, -1, "http://host:1/api/storage/wf/t", "" },
    { "url:s3://b/raw,.*\\.csv$", false, TRANSFER_URL, -1, "s3://b/raw", ".*\\.csv$" },
    { "url:s3://b/raw,a{1,2}", false, TRANSFER_URL, -1, "s3://b/raw", "a{1,2}" }, /* an output, comma or not */
    { "url:s3://b/raw,", false, TRANSFER_URL, -1, "s3://b/raw", "" },
    { "kpi:s3://b/wf/t/out,out/kpi,1.json", false, TRANSFER_KPI, -1, "s3://b/wf/t/out", "out/kpi,1.json" },
};
static const struct { const char *arg; bool input; } refused[] = {
    { "", true }, { "task", true }, { "task:", true }, { "task:x,s3://b/a,", true }, { "task:-1,s3://b/a,", true }, { "task:0", true },
    { "task:0,,", true }, { "kpi:0,s3://b/a,x", true }, { "file:0,s3://b/a,", true }, { "task:0,s3://,", true },
    { "url:0,file:///osmo/service_config.yaml,", true }, { "task:0,file:///etc,", true }, { "url:0,http://host/x,", true },
    { "url:https://host/api/storage/a/b,", false }, { "url:file:///tmp/x,", false }, { "kpi:s3://b/wf/t,", false },
    { "kpi:s3://b/wf/t", false },
    { "url:,x", false }, { "s3://b/a", false },
};

static void test_accepted(void) {
    for (size_t i = 0; i < ARRAY_SIZE(accepted); i++) {
        const struct accepted *a = &accepted[i];
        struct transfer_spec s;
        osmo_error_t err = OSMO_ERROR_INIT;
        CHECK_INT(transfer_spec_parse(a->arg, a->input, &s, &err), 0);
        CHECK_STR(err.text, "");
        CHECK_INT(s.kind, a->kind);
        CHECK_INT(s.index, a->index);
        CHECK_STR(s.url, a->url);
        CHECK_STR(s.rest, a->rest);
        transfer_spec_clear(&s);
    }
}

static void test_refused(void) {
    for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
        struct transfer_spec s;
        osmo_error_t err = OSMO_ERROR_INIT;
        CHECK_INT(transfer_spec_parse(refused[i].arg, refused[i].input, &s, &err), OSMO_EUSER);
        CHECK(err.text[0]);
        transfer_spec_clear(&s);
    }
}

static void test_kpi_root(void) {
    static const struct { const char *url, *path, *root; } cases[] = {
        { "s3://b/wf/t/out", "out/kpi.json", "s3://b/wf/t" }, { "s3://b/wf/t/a/b", "a/b/k", "s3://b/wf/t" },
        { "s3://b/wf/t", "kpi.json", "s3://b/wf/t" },         { "s3://b/wf/layout", "out/kpi.json", "s3://b/wf/layout" },
        { "out", "out/kpi.json", "out" },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        _cleanup_free_ char *root = transfer_kpi_root(cases[i].url, cases[i].path);
        CHECK_STR(root, cases[i].root);
    }
}

static const struct check_test tests[] = {
    { "accepted", test_accepted }, { "refused", test_refused }, { "where a KPI's task is", test_kpi_root } };
TEST_MAIN("transfer_spec", tests)
