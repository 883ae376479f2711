/* What a test is: from the file that the operator mounts, or asked of the service with the token of the backend. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/crypto.h"
#include "base/file.h"
#include "base/http.h"
#include "base/str.h"
#include "node_test.h"

#define FILE_MAX (4u << 20)
#define TIMEOUT_MS 60000

int config_read_file(const char *path, json_t **out, osmo_error_t *err) {
    _cleanup_buf_ buf_t text = BUF_INIT(FILE_MAX);
    int rc = file_read(path, &text, err);
    if (rc == 0 && (rc = json_parse(buf_cstr(&text), text.len, out, err)) < 0)
        osmo_error_prefix(err, "%s", path);
    return rc;
}

static int get(http_client_t *http, const char *method, const char *url, const char *header, const buf_t *body, json_t **out,
               osmo_error_t *err) {
    const char *headers[] = { "Content-Type: application/json", header, NULL };
    http_request_t rq = { .method = method, .url = url, .headers = headers, .body = body ? body->data : NULL,
                          .body_len = body ? body->len : 0, .timeout_ms = TIMEOUT_MS, .max_response = FILE_MAX };
    http_response_t rs = { 0 };
    int rc = http_perform(http, &rq, &rs, err);
    if (rc == 0 && rs.status != 200)
        rc = osmo_error_set(err, rs.status == 404 ? OSMO_ENOTFOUND : OSMO_EUNAVAIL, "%s answered HTTP %d", url, rs.status);
    if (rc == 0)
        rc = json_parse(rs.body.data ? rs.body.data : "", rs.body.len, out, err);
    http_response_free(&rs);
    return rc;
}

/* *header: what tells the service who asks. */
static int log_in(const struct service *s, http_client_t *http, char **header, osmo_error_t *err) {
    _cleanup_buf_ buf_t token = BUF_SECRET(4096), body = BUF_SECRET(8192);
    _cleanup_json_secret_ json_t *ask = json_object(), *answer = NULL;
    if (str_eq(s->method, "dev")) {
        *header = str_printf("x-osmo-user: %s", s->username ? s->username : "osmo-backend");
        return *header ? 0 : OSMO_ENOMEM;
    }
    if (!s->token_file)
        return osmo_error_set(err, OSMO_EUSAGE, "--token_file is needed to ask the service, or --read_from_file");
    int rc = file_read(s->token_file, &token, err);
    while (rc == 0 && token.len && (token.data[token.len - 1] == '\n' || token.data[token.len - 1] == '\r'))
        buf_truncate(&token, token.len - 1);
    _cleanup_free_ char *url = str_printf("%s/api/auth/jwt/access_token", s->host);
    if (rc == 0 && (!url || !ask || json_set_str(ask, "token", buf_cstr(&token)) < 0 || json_print(ask, 0, &body) < 0))
        rc = osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    if (rc == 0)
        rc = get(http, "POST", url, NULL, &body, &answer, err);
    const char *jwt = json_get_str(answer, "token");
    if (rc == 0 && !jwt)
        rc = osmo_error_set(err, OSMO_EUNAVAIL, "%s gave no token", url);
    if (rc == 0)
        *header = str_printf("Authorization: Bearer %s", jwt);
    return rc == 0 && !*header ? OSMO_ENOMEM : rc;
}

int config_ask(const struct service *s, const char *test, json_t **out, osmo_error_t *err) {
    http_client_t *http = NULL;
    char *header = NULL;
    _cleanup_buf_ buf_t url = BUF_INIT(4096);
    int rc = http_client_new(PROGRAM, &http, err);
    if (rc == 0)
        rc = log_in(s, http, &header, err);
    buf_printf(&url, "%s/api/configs/backend_test/", s->host);
    url_encode(test, &url);
    if (rc == 0)
        rc = get(http, "GET", buf_cstr(&url), header, NULL, out, err);
    if (header)
        crypto_wipe(header, strlen(header));
    free(header);
    http_client_free(http);
    return rc;
}
