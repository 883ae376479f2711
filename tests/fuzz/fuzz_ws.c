/* Fuzz entry: a websocket session with the service. The first line is the path (an optional blank and the offered
 * extensions behind it), each further line a message. $W, $G, $T and $P stand for the uuids and the pod name of a
 * submitted workflow, which the input cannot guess. Nothing may crash or leak, whatever a backend or a task sends. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "api/service_internal.h"
#include "base/buf.h"
#include "model/pods.h"
#include "service.h"
#include "store/repo.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char submission[] = "{\"file\":\"workflow:\\n  name: hello\\n  tasks:\\n  - name: say\\n    image: "
                                 "ubuntu:24.04\\n    command: [echo, hi]\\n\"}";
static char workflow[33], group[33], task[33], pod[40];

static void submit(void) {
    const char *headers[] = { "host", "localhost", "content-type", "application/json", "x-osmo-user", "u", NULL };
    osmo_request_t rq = { .size = sizeof rq,
                          .id = 1,
                          .method = "POST",
                          .path = "/api/pool/default/workflow",
                          .query = "",
                          .headers = headers,
                          .body = submission,
                          .body_len = sizeof submission - 1,
                          .peer = "127.0.0.1" };
    osmo_response_t rs;
    struct workflow_row w = { 0 };
    struct task_row t = { 0 };
    osmo_error_t err = OSMO_ERROR_INIT;
    db_t *db;
    osmo_service_handle(fuzz_service(), &rq, &rs);
    if (rs.status != 200 || store_reader(fuzz_service()->engine->store, &db, &err) < 0 ||
        repo_workflow_get(db, "hello-1", &w, &err) < 0 || repo_task_by_name(db, w.uuid, "say", 0, &t, &err) < 0)
        abort();
    memcpy(workflow, w.uuid, sizeof workflow);
    memcpy(group, t.group_uuid, sizeof group);
    memcpy(task, t.uuid, sizeof task);
    pod_name(workflow, task, pod);
    task_row_clear(&t);
    workflow_row_clear(&w);
    osmo_response_clear(&rs);
}

static void expand(const char *text, size_t len, buf_t *out) {
    static const struct {
        char letter;
        const char *value;
    } words[] = { { 'W', workflow }, { 'G', group }, { 'T', task }, { 'P', pod } };
    buf_reset(out);
    for (size_t i = 0; i < len; i++) {
        const char *value = NULL;
        for (size_t k = 0; text[i] == '$' && i + 1 < len && k < sizeof words / sizeof words[0]; k++)
            if (words[k].letter == text[i + 1])
                value = words[k].value;
        if (value)
            buf_puts(out, value);
        else
            buf_putc(out, text[i]);
        i += value != NULL;
    }
    (void)buf_cstr(out);
}

static osmo_ws_t *open_session(char *first, osmo_response_t *rs) {
    static uint64_t conn;
    char *offered = strchr(first, ' ');
    if (offered)
        *offered++ = '\0';
    const char *headers[] = { "host",  "localhost", "x-osmo-user", "admin", offered ? "x-osmo-extensions" : NULL,
                              offered, NULL };
    const char *extensions;
    osmo_request_t rq = { .size = sizeof rq,
                          .id = ++conn,
                          .method = "GET",
                          .path = first,
                          .query = "",
                          .headers = headers,
                          .peer = "127.0.0.1" };
    osmo_ws_t *ws;
    osmo_service_ws_open(fuzz_service(), &rq, conn, &ws, &extensions, rs);
    if (ws)
        osmo_ws_opened(ws);
    return ws;
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    buf_t line = BUF_INIT(1u << 20);
    osmo_ws_t *ws = NULL;
    osmo_response_t rs;
    if (!workflow[0])
        submit();
    const char *text = (const char *)data, *end = text + size;
    for (bool first = true; text < end && (first || ws); first = false) {
        const char *newline = memchr(text, '\n', (size_t)(end - text));
        expand(text, (size_t)((newline ? newline : end) - text), &line);
        if (!first)
            osmo_ws_message(ws, line.data, line.len, 0);
        else if (!(ws = open_session((char *)buf_cstr(&line), &rs)))
            osmo_response_clear(&rs);
        text = newline ? newline + 1 : end;
    }
    if (ws)
        osmo_ws_closed(ws);
    buf_free(&line);
    return 0;
}
