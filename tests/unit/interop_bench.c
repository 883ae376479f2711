/* See interop_bench.h. */
#include "interop_bench.h"
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "base/file.h"
#include "base/str.h"
#include "check.h"
#include "upstream_fixture.h"

bool bench_start(struct bench *b) {
    int port = upstream_start();
    *b = (struct bench){ .op = NULL };
    snprintf(b->dir, sizeof b->dir, "/tmp/test_interop.XXXXXX");
    if (port < 0 || !mkdtemp(b->dir))
        return false;
    snprintf(b->url, sizeof b->url, "http://127.0.0.1:%d/ignored/path", port);
    snprintf(b->token_file, sizeof b->token_file, "%s/token", b->dir);
    return true;
}

void bench_token(const struct bench *b, const char *text) {
    osmo_error_t err = OSMO_ERROR_INIT;
    CHECK_OK(file_write_atomic(b->token_file, text, strlen(text), 0600, false, &err), &err);
}

static void *bench_main(void *ctx) {
    osmo_operator_run(ctx, NULL);
    return NULL;
}

static void print_line(void *ctx, int level, const char *text) {
    (void)ctx;
    if (getenv("OSMO_TEST_LOG"))
        fprintf(stderr, "      %d %s\n", level, text);
}

bool bench_run(struct bench *b, const char *script, const char *token) {
    osmo_error_t err = OSMO_ERROR_INIT;
    _cleanup_free_ char *path = str_printf("%s/script", b->dir), *setting = str_printf("script=%s", path);
    _cleanup_free_ char *state = str_printf("%s/state", b->dir);
    const char *settings[] = { setting, NULL };
    osmo_operator_options_t o = { .size = sizeof o, .service_url = b->url, .backend = "east", .namespace_ = "wf-ns", .driver = "scripted",
                                  .state_dir = state, .settings = settings, .token_file = token ? b->token_file : NULL,
                                  .log = print_line, .log_level = 10 };
    if (token)
        bench_token(b, token);
    int rc = file_write_atomic(path, script, strlen(script), 0600, false, &err);
    if (rc == 0)
        rc = osmo_operator_open(&o, &b->op, &err);
    CHECK_OK(rc, &err);
    b->running = rc == 0 && pthread_create(&b->thread, NULL, bench_main, b->op) == 0;
    return b->running;
}

bool bench_open(struct bench *b, const char *script) { return bench_start(b) && bench_run(b, script, NULL); }

void bench_close(struct bench *b) {
    if (b->running) {
        osmo_operator_stop(b->op);
        pthread_join(b->thread, NULL);
    }
    osmo_operator_free(b->op);
    upstream_stop();
    dir_remove_tree(b->dir, NULL);
}

void bench_await_inits(size_t nth) {
    for (int i = 0; i < UP_PATHS; i++)
        CHECK(upstream_await(i, "\"type\":\"init\"", nth) != NULL);
}

void make_pod(buf_t *out, const char *name, const char *task, int retry) {
    buf_printf(out, "{\"apiVersion\":\"v1\",\"kind\":\"Pod\",\"metadata\":{\"name\":\"%s\",\"labels\":{" GROUP_LABELS
               ",\"osmo.task_uuid\":\"u-%s\",\"osmo.task_name\":\"%s\",\"osmo.retry_id\":\"%d\"}},\"spec\":{\"initContainers\":"
               "[{\"name\":\"osmo-init\"}],\"containers\":[{\"name\":\"main\",\"resources\":{\"requests\":{\"cpu\":\"1500m\","
               "\"memory\":\"1Gi\"}}},{\"name\":\"osmo-ctrl\"}]}}", name, name, task, retry);
}

/* As OSMO 6.4 writes it, with all its fields. */
void say_create(const char *id, const char *objects, const char *pod, int count) {
    _cleanup_buf_ buf_t text = BUF_INIT(4u << 20);
    buf_printf(&text, "{\"super_type\":\"frontend\",\"job_type\":\"CreateGroup\",\"job_id\":\"%s\",\"job_uuid\":"
               "\"6a1d0f3e-0000-4000-8000-000000000001\",\"backend\":\"east\",\"workflow_id\":\"mnist-12\",\"workflow_uuid\":\"w1\","
               "\"user\":\"alice\",\"group_name\":\"train\",\"backend_k8s_timeout\":60,\"scheduler_settings\":{},\"k8s_resources\":[%s",
               id, objects);
    for (int i = 0; i < count; i++) {
        char name[64];
        snprintf(name, sizeof name, count > 1 ? "%s-%d" : "%s", pod, i);
        if (i || *objects)
            buf_putc(&text, ',');
        make_pod(&text, name, pod, 0);
    }
    buf_puts(&text, "]}");
    upstream_job(buf_cstr(&text));
}
