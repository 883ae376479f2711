/* Fuzz entry: what decides where a connection goes and whom it meets. The first line is a path, the following ones are headers
 * ("name: value"); each line is also tried as a key and as a host. $E, $P, $R and $S stand for genuine keys (exec, port-forward, rsync,
 * web server) of the workflow $W, which the input cannot guess. What passes for a key has to be the only text of it, a text and its
 * parent agree, and nothing may crash or leak. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "api/service_internal.h"
#include "base/buf.h"
#include "engine/router_internal.h"
#include "service.h"
#include "store/repo.h"

#define HEADERS_MAX 16
int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const char submission[] = "{\"file\":\"workflow:\\n  name: hello\\n  tasks:\\n  - name: say\\n    image: "
                                 "ubuntu:24.04\\n    command: [echo, hi]\\n\"}";
static char keys[ROUTER_ACTIONS][ROUTER_KEY_MAX];

static void must(int holds) {
    if (!holds)
        abort();
}

static void prepare(void) {
    const char *headers[] = { "host", "localhost", "content-type", "application/json", "x-osmo-user", "u", NULL };
    osmo_request_t rq = { .size = sizeof rq, .id = 1, .method = "POST", .path = "/api/pool/default/workflow", .query = "",
                          .headers = headers, .body = submission, .body_len = sizeof submission - 1, .peer = "127.0.0.1" };
    osmo_response_t rs;
    struct workflow_row w = { 0 };
    db_t *db = NULL;
    osmo_service_handle(fuzz_service(), &rq, &rs);
    must(rs.status == 200 && store_reader(fuzz_service()->engine->store, &db, NULL) >= 0);
    must(repo_workflow_get(db, "hello-1", &w, NULL) >= 0);
    for (unsigned a = 0; a < ROUTER_ACTIONS; a++) {
        const uint8_t *secret = fuzz_service()->engine->router->secret;
        struct router_key k = { .action = (enum router_action)a, .nonce = a, .expires_s = UINT32_MAX };
        k.user = router_key_user(secret, k.nonce, "admin");
        k.task = router_key_task(secret, k.nonce, "say", 0);
        router_key_make(secret, w.uuid, &k, keys[a]);
    }
    workflow_row_clear(&w);
    osmo_response_clear(&rs);
}

static void expand(const char *text, size_t len, buf_t *out) {
    static const char letters[] = "EPSR"; /* in the order of enum router_action */
    for (size_t i = 0; i < len; i++) {
        const char *at = text[i] == '$' && i + 1 < len && text[i + 1] ? strchr(letters, text[i + 1]) : NULL;
        if (at)
            buf_puts(out, keys[at - letters]);
        else if (text[i] == '$' && i + 1 < len && text[i + 1] == 'W')
            buf_puts(out, "hello-1");
        else {
            buf_putc(out, text[i]);
            continue;
        }
        i++;
    }
}

static void check_key(const char *text) {
    struct router_key k, of, p;
    char host[ROUTER_KEY_MAX], parent[ROUTER_KEY_MAX];
    (void)router_key_of_host(text, &k, host);
    if (!router_key_parse(text, &k))
        return;
    must(strlen(text) < ROUTER_KEY_MAX);
    if (k.form == ROUTER_KEY_INVENTED)
        return;
    router_key_parent(text, parent);
    must(router_key_parse(parent, &p) && p.form == ROUTER_KEY_SESSION && p.action == k.action && !memcmp(p.mac, k.mac, sizeof p.mac));
    must((k.form == ROUTER_KEY_SESSION) == (strcmp(parent, text) == 0));
    must(!router_key_of_host(text, &of, host) || strcmp(host, text) == 0);
}

static void dial(const osmo_request_t *rq) {
    static uint64_t conn;
    const char *extensions;
    osmo_elsewhere_t where = { .size = sizeof where };
    osmo_response_t rs;
    osmo_ws_t *ws = NULL;
    osmo_place_t place = osmo_service_place(fuzz_service(), rq, &where);
    must(place == OSMO_PLACE_HERE || place == OSMO_PLACE_TUNNEL); /* there is nobody else */
    if (place == OSMO_PLACE_TUNNEL)
        osmo_service_tunnel_open(fuzz_service(), rq, ++conn, &ws, &rs);
    else
        osmo_service_ws_open(fuzz_service(), rq, ++conn, &ws, &extensions, &rs);
    if (!ws) {
        osmo_response_clear(&rs);
        return;
    }
    (void)osmo_ws_held(ws);
    (void)osmo_ws_peer(ws);
    osmo_ws_opened(ws);
    osmo_ws_closed(ws);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    char *lines[2 * HEADERS_MAX + 1] = { 0 };
    const char *headers[2 * HEADERS_MAX + 7] = { "host", "localhost", "x-osmo-user", "admin", "upgrade", "websocket" };
    buf_t text = BUF_INIT(1u << 20);
    size_t n = 0, h = 6;
    if (!*keys[0])
        prepare();
    expand((const char *)data, size, &text);
    char *at = (char *)(uintptr_t)buf_cstr(&text);
    for (char *line; n < HEADERS_MAX && (line = strsep(&at, "\n"));)
        lines[n++] = line;
    for (size_t i = 0; i < n; i++)
        check_key(lines[i]);
    for (size_t i = 1; i < n; i++) {
        char *colon = strchr(lines[i], ':');
        if (!colon || colon == lines[i])
            continue;
        *colon = '\0';
        size_t k = 0;
        while (k < h && strcmp(headers[k], lines[i]) != 0) /* as the server does: each once */
            k += 2;
        headers[k] = lines[i];
        headers[k + 1] = colon + 1 + (colon[1] == ' ');
        h = k == h ? h + 2 : h;
    }
    char *query = n ? strchr(lines[0], '?') : NULL;
    if (query)
        *query++ = '\0';
    osmo_request_t rq = { .size = sizeof rq, .id = 1, .method = "GET", .path = n ? lines[0] : "", .query = query ? query : "",
                          .headers = headers, .peer = "127.0.0.1" };
    dial(&rq);
    buf_free(&text);
    return 0;
}
