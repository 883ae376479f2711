/* Talking to the service about its identity provider and to the provider's endpoints. Forms and answers carry secrets: they are wiped. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "login.h"

#define ANSWER_MAX (1u << 20)

void tokens_clear(struct tokens *t) {
    wipe_free(t->id_token);
    wipe_free(t->refresh_token);
    *t = (struct tokens){ 0 };
}

void form_add(buf_t *form, const char *key, const char *value) {
    if (form->len)
        buf_putc(form, '&');
    url_encode(key, form);
    buf_putc(form, '=');
    url_encode(value, form);
}

int exit_code_of(int rc) { return rc == OSMO_EUNAVAIL || rc == OSMO_ETIMEOUT || rc == OSMO_EIO ? EXIT_SERVER_DOWN : EXIT_USER; }

int provider_endpoints(http_client_t *http, const char *url, long timeout_ms, struct endpoints *out, osmo_error_t *err) {
    _cleanup_free_ char *address = str_printf("%s/api/auth/login", url);
    http_request_t rq = { .method = "GET", .url = address, .timeout_ms = timeout_ms, .max_response = ANSWER_MAX };
    http_response_t rs = { 0 };
    json_t *answer = NULL;
    int rc = address ? http_perform(http, &rq, &rs, err) : osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    if (!rc && rs.status != 200)
        rc = osmo_error_set(err, rs.status >= 500 ? OSMO_EUNAVAIL : OSMO_EINVAL,
                            "the service answered with status %d when asked how to log in: is the url right?", rs.status);
    if (!rc && json_parse(buf_cstr(&rs.body), rs.body.len, &answer, NULL))
        rc = osmo_error_set(err, OSMO_EINVAL, "the service did not say how to log in: is the url right?");
    if (!rc)
        rc = endpoints_read(answer, out, err);
    json_free(answer);
    http_response_free(&rs);
    return rc;
}

static bool collect(void *ctx, const char *data, size_t len) { return buf_append(ctx, data, len) == 0; }

int post_secret(http_client_t *http, const char *url, const char *type, const buf_t *body, int *status, json_t **answer,
                osmo_error_t *err) {
    _cleanup_free_ char *content = str_printf("Content-Type: %s", type);
    const char *const headers[] = { content, "Accept: application/json", NULL };
    _cleanup_buf_ buf_t text = BUF_SECRET(ANSWER_MAX);
    *answer = NULL;
    if (buf_failed(body) || !content)
        return osmo_error_set(err, OSMO_ELIMIT, "what is to be sent is too large");
    http_request_t rq = { .method = "POST",
                          .url = url,
                          .headers = headers,
                          .body = body->data,
                          .body_len = body->len,
                          .timeout_ms = ASK_TIMEOUT_MS,
                          .on_data = collect,
                          .ctx = &text };
    http_response_t rs = { 0 };
    int rc = http_perform(http, &rq, &rs, err);
    if (!rc) {
        *status = rs.status;
        if (!buf_failed(&text))
            json_parse_secret(buf_cstr(&text), text.len, answer, NULL);
    }
    http_response_free(&rs);
    return rc;
}

int form_post(http_client_t *http, const char *url, const buf_t *form, int *status, json_t **answer, osmo_error_t *err) {
    int rc = post_secret(http, url, "application/x-www-form-urlencoded", form, status, answer, err);
    url_parts_t u;
    if (rc == OSMO_EUNAVAIL && url_parse(url, &u, NULL) == 0)
        osmo_error_set(err, rc, "the identity provider %s:%d cannot be reached: is its address right, and is it running?", u.host, u.port);
    else if (rc)
        osmo_error_prefix(err, "the identity provider");
    return rc;
}

int token_ask(http_client_t *http, const char *url, const buf_t *form, enum token_answer *class, struct tokens *out, char **problem,
              osmo_error_t *err) {
    json_t *answer = NULL;
    int status = 0, rc = form_post(http, url, form, &status, &answer, err);
    *problem = NULL;
    *out = (struct tokens){ 0 };
    if (rc)
        return rc;
    *class = token_classify(status, answer);
    if (*class == TOKEN_GRANTED) {
        const char *refresh = json_get_str(answer, "refresh_token");
        out->id_token = strdup(json_get_str(answer, "id_token"));
        out->refresh_token = refresh ? strdup(refresh) : NULL;
        if (!out->id_token || (refresh && !out->refresh_token)) {
            tokens_clear(out);
            rc = osmo_error_set(err, OSMO_ENOMEM, "out of memory");
        }
    } else if (!(*problem = token_problem(status, answer))) {
        rc = osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    }
    json_free_secret(answer);
    return rc;
}

int tokens_accept(struct tokens *t, const struct expected *want, const char *token_endpoint, struct login *l, osmo_error_t *err) {
    char *user = NULL;
    int rc = id_token_check(t->id_token, want, clock_now_us() / 1000000, &user, err);
    if (rc)
        return rc;
    char *endpoint = strdup(token_endpoint), *client = strdup(want->client_id);
    if (!endpoint || !client) {
        free(user);
        free(endpoint);
        free(client);
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    }
    l->id_token = STEAL(t->id_token);
    l->refresh_token = STEAL(t->refresh_token);
    l->refresh_url = endpoint;
    l->client_id = client;
    l->name = user;
    l->osmo_token = false;
    return OSMO_OK;
}
