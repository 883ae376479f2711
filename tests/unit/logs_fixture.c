/* See logs_fixture.h. */
#include "logs_fixture.h"
#include "signing_key.h"

#include "base/cleanup.h"
#include "base/clock.h"

bool on_pgsql;

bool open_fixture(struct fixture *f, osmo_auth_mode_t mode, const char *admin_token) {
    static char *url;
    if (!fixture_open(f, mode, admin_token) || !on_pgsql)
        return f->service != NULL;
    free(url);
    url = pgsql_fixture_url();
    f->options.database = url;
    return url && signing_key_seed(url, NULL) >= 0 && fixture_reopen(f);
}

osmo_ws_t *connect_ctrl(struct fixture *f, const char *workflow, const char *task, int retry, uint64_t conn,
                        const char *offer, const char **extensions, int *status) {
    _cleanup_free_ char *path = str_printf("//api/logger/workflow/%s/osmo_ctrl/%s/retry_id/%d", workflow, task, retry);
    const char *headers[] = { "host", "127.0.0.1:8000", offer ? "x-osmo-extensions" : NULL, offer, NULL };
    osmo_request_t rq = { .size = sizeof rq, .method = "GET", .path = path, .query = "", .headers = headers,
        .peer = "127.0.0.1" };
    osmo_response_t rs;
    osmo_ws_t *ws = NULL;
    osmo_service_ws_open(f->service, &rq, conn, &ws, extensions, &rs);
    *status = ws ? 101 : rs.status;
    osmo_response_clear(&rs);
    if (ws)
        osmo_ws_opened(ws);
    return ws;
}

osmo_ws_t *plain(struct fixture *f, const struct seed *s, const char *task, uint64_t conn) {
    const char *extensions;
    int status;
    osmo_ws_t *ws = connect_ctrl(f, s->id, task, 0, conn, NULL, &extensions, &status);
    CHECK_INT(status, 101);
    CHECK(extensions == NULL);
    return ws;
}

void send_single(osmo_ws_t *ws, const char *json) {
    osmo_ws_message(ws, json, strlen(json), 0);
}

void send_double(osmo_ws_t *ws, const char *json) {
    json_t *s = json_string(json);
    _cleanup_free_ char *text = json_to_text(s);
    json_free(s);
    send_single(ws, text);
}

char *logs_of(struct fixture *f, const struct seed *s, const char *query, bool *ended) {
    _cleanup_free_ char *path = str_printf("/api/workflow/%s/logs", s->id);
    struct answer a = ask(f, "GET", path, query, NULL, NULL);
    CHECK_INT(a.status, 200);
    CHECK_STR(a.rs.content_type, "text/plain; charset=us-ascii");
    char *text = drain(&a, ended);
    answer_free(&a);
    return text;
}

int end_now(db_t *db, void *ctx, osmo_error_t *err) {
    struct workflow_row w = { 0 };
    int rc = repo_workflow_get(db, ctx, &w, err);
    w.sm.end_us = clock_now_us();
    rc = rc < 0 ? rc : repo_workflow_update(db, &w, err);
    workflow_row_clear(&w);
    return rc;
}
