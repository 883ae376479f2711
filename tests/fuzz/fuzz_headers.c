/* Fuzz entry: who is asking, by whatever headers, of a service that requires proof. The first byte chooses a route, the second a peer (one
 * is a trusted gateway); the rest are header lines "name: value". A value "sign:JSON" stands for a token with these claims, signed by the
 * service's own key, which no input can do itself. Without a genuine proof nothing is answered but refusals. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "../unit/signing_key.h"
#include "base/crypto.h"
#include "base/str.h"
#include "service.h"

#define MAX_HEADERS 16
#define GATEWAY "192.0.2.1"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static const struct { const char *method, *path, *body; } routes[] = {
    { "GET", "/api/profile/settings", NULL },
    { "GET", "/api/workflow", NULL },
    { "GET", "/api/workflow/a-1", NULL },
    { "POST", "/api/pool/default/workflow", "{\"file\":\"x\"}" },
    { "GET", "/api/configs/pool", NULL },
    { "DELETE", "/api/configs/role/osmo-user", "{}" },
    { "POST", "/api/auth/user", "{\"id\":\"eve\",\"roles\":[\"osmo-admin\"]}" },
    { "PUT", "/api/storage/a/b/c", "x" },
    { "GET", "/api/agent/listener/pod/backend/default", NULL }, /* upgrades */
    { "GET", "/api/agent/worker/backend/default", NULL },
    { "GET", "/api/logger/workflow/a-1/osmo_ctrl/t/retry_id/0", NULL },
};
#define FIRST_UPGRADE 8
static const char *const peers[] = { "127.0.0.1", GATEWAY, "203.0.113.9", "::1", "" };

struct lines {
    char *text;
    const char *headers[2 * MAX_HEADERS + 3];
    buf_t tokens[MAX_HEADERS];
    size_t n, ntokens;
};

static const char *signed_token(struct lines *l, const char *claims_text) {
    static rsa_key_t *key;
    json_t *claims = NULL;
    buf_t *token = &l->tokens[l->ntokens++];
    if (!key && rsa_key_from_pem(signing_key_pem(), &key, NULL) < 0)
        abort();
    *token = (buf_t)BUF_INIT(1u << 20);
    if (json_parse(claims_text, strlen(claims_text), &claims, NULL) >= 0 && json_kind(claims) == JSON_OBJECT)
        (void)jwt_sign(key, claims, token, NULL);
    json_free(claims);
    return buf_cstr(token);
}

/* "Bearer sign:{…}" or "sign:{…}" */
static const char *value_of(struct lines *l, char *value) {
    bool bearer = str_starts(value, "Bearer ");
    char *own = value + (bearer ? 7 : 0);
    if (!str_starts(own, "sign:") || l->ntokens >= MAX_HEADERS)
        return value;
    const char *token = signed_token(l, own + 5);
    if (!bearer)
        return token;
    buf_t *b = &l->tokens[l->ntokens - 1], whole = BUF_INIT(1u << 20);
    buf_puts(&whole, "Bearer ");
    buf_puts(&whole, token);
    buf_free(b);
    *b = whole;
    return buf_cstr(b);
}

static void read_lines(struct lines *l, const uint8_t *data, size_t size) {
    l->text = malloc(size + 1);
    if (!l->text)
        abort();
    memcpy(l->text, data, size);
    l->text[size] = '\0';
    l->headers[l->n++] = "host";
    l->headers[l->n++] = "localhost";
    for (char *line = l->text; line && l->n < 2 * MAX_HEADERS;) {
        char *end = strchr(line, '\n'), *colon;
        if (end)
            *end++ = '\0';
        colon = strchr(line, ':');
        if (colon && colon > line) {
            *colon = '\0';
            l->headers[l->n++] = line;
            l->headers[l->n++] = value_of(l, colon + 1 + strspn(colon + 1, " "));
        }
        line = end;
    }
    l->headers[l->n] = NULL;
}

static void lines_free(struct lines *l) {
    for (size_t i = 0; i < l->ntokens; i++)
        buf_free(&l->tokens[i]);
    free(l->text);
}

/* Has it something that may be a proof? */
static bool has_proof(const struct lines *l, const char *peer) {
    bool found = l->ntokens > 0 || str_eq(peer, GATEWAY);
    for (size_t i = 1; i < l->n; i += 2)
        found |= strstr(l->headers[i], FUZZ_ADMIN_TOKEN) != NULL;
    return found;
}

/* 503: a token is being looked up. */
static void check(const osmo_response_t *rs, bool proof) {
    if (rs->status < 200 || rs->status > 599 || (!proof && (rs->status < 400 || (rs->status >= 500 && rs->status != 503))))
        abort();
}

static void upgrade(const osmo_request_t *rq, bool proof) {
    osmo_ws_t *ws = NULL;
    const char *extensions;
    osmo_response_t rs;
    osmo_service_ws_open(fuzz_guarded_service(), rq, rq->id, &ws, &extensions, &rs);
    if (ws && !proof)
        abort();
    if (ws) {
        osmo_ws_opened(ws);
        osmo_ws_closed(ws);
        return;
    }
    check(&rs, proof);
    osmo_response_clear(&rs);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static uint64_t id;
    struct lines l = { 0 };
    if (size < 2)
        return 0;
    size_t route = data[0] % (sizeof routes / sizeof routes[0]);
    const char *peer = peers[data[1] % (sizeof peers / sizeof peers[0])];
    read_lines(&l, data + 2, size - 2);
    osmo_request_t rq = { .size = sizeof rq,
                          .id = ++id,
                          .method = routes[route].method,
                          .path = routes[route].path,
                          .query = "",
                          .headers = l.headers,
                          .body = routes[route].body,
                          .body_len = routes[route].body ? strlen(routes[route].body) : 0,
                          .peer = peer };
    bool proof = has_proof(&l, peer);
    if (route >= FIRST_UPGRADE) {
        upgrade(&rq, proof);
    } else {
        osmo_response_t rs;
        osmo_service_handle(fuzz_guarded_service(), &rq, &rs);
        check(&rs, proof);
        osmo_response_clear(&rs);
    }
    lines_free(&l);
    return 0;
}
