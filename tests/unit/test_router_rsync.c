/* Whether files may be synchronised with the tasks of a workflow is decided when it is submitted, and reaches its pods. */
#include "engine_fixture.h"

static const char text[] = "workflow:\n  name: one\n  tasks:\n  - {name: t, image: ubuntu, command: ['true']}\n";

/* A file is the whole configuration. */
#define POOLS \
    "backends: {default: {description: ''}}\n" \
    "pools: {default: {backend: default, default_platform: default, platforms: {default: {}}}}\n"
static const char on[] = POOLS "workflow: {plugins_config: {rsync: {enabled: true, read_bandwidth_limit: 1000, write_bandwidth_limit: 2000,"
                               " allowed_paths: {code: {path: /workspace/code, writable: true}, data: {path: /data}}}}}\n";
static const char off[] = POOLS "workflow: {plugins_config: {rsync: {enabled: false}}}\n";

static bool recorded(void) {
    struct workflow_row w = { 0 };
    osmo_error_t err = OSMO_ERROR_INIT;
    CHECK_OK(repo_workflow_get(reader(), wf_id, &w, &err), &err);
    bool yes = w.rsync;
    workflow_row_clear(&w);
    return yes;
}

static void submit_with(const char *config, bool wanted) {
    REQUIRE(start_with(config));
    backend_connect(NULL);
    CHECK(submit(text));
    CHECK_INT(recorded(), wanted);
    _cleanup_json_ json_t *job = net_take(WORKER, 1, NULL);
    _cleanup_free_ char *frame = job ? json_to_text(job) : NULL;
    REQUIRE(frame);
    CHECK_INT(strstr(frame, "\"-enableRsync\"") != NULL, wanted);
    CHECK_INT(strstr(frame, "\"--enable_rsync\"") != NULL, wanted);
    if (wanted) {
        CHECK_CONTAINS(frame, "\"-rsyncReadLimit\",\"1000\",\"-rsyncWriteLimit\",\"2000\"");
        CHECK_CONTAINS(frame, "code:/workspace/code:true,data:/data:false");
    }
    stop(true);
}

static void test_enabled(void) { submit_with(on, true); }
static void test_disabled(void) { submit_with(off, false); }

static const struct check_test tests[] = {
    { "enabled", test_enabled },
    { "not enabled", test_disabled },
};
TEST_MAIN("router_rsync", tests)
