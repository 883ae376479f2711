/* The pure parts of OpenID Connect as a native client needs them: endpoints, PKCE, the redirect, answers of token endpoints, and what
 * an identity token must say. */
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"
#include "base/crypto.h"
#include "login.h"

#define PARAMETER_MAX 4096
#define PROBLEM_MAX 300

static int take_endpoint(const json_t *answer, const char *name, char **out, osmo_error_t *err) {
    const char *text = json_get_str(answer, name);
    if (!text || !*text)
        return OSMO_OK;
    return (*out = strdup(text)) ? OSMO_OK : osmo_error_set(err, OSMO_ENOMEM, "out of memory");
}

int endpoints_read(const json_t *answer, struct endpoints *out, osmo_error_t *err) {
    *out = (struct endpoints){ 0 };
    const struct {
        const char *name;
        char **value;
    } members[] = {
        { "device_endpoint", &out->device },   { "device_client_id", &out->device_client },
        { "browser_endpoint", &out->browser }, { "browser_client_id", &out->browser_client },
        { "token_endpoint", &out->token },     { "logout_endpoint", &out->logout },
    };
    int rc = json_kind(answer) == JSON_OBJECT
                 ? OSMO_OK
                 : osmo_error_set(err, OSMO_EINVAL, "the service did not say how to log in: is the url right?");
    for (size_t i = 0; !rc && i < ARRAY_SIZE(members); i++)
        rc = take_endpoint(answer, members[i].name, members[i].value, err);
    if (rc)
        endpoints_clear(out);
    return rc;
}

void endpoints_clear(struct endpoints *e) {
    char *all[] = { e->device, e->device_client, e->browser, e->browser_client, e->token, e->logout };
    for (size_t i = 0; i < ARRAY_SIZE(all); i++)
        free(all[i]);
    *e = (struct endpoints){ 0 };
}

bool url_is_private(const char *url) {
    url_parts_t u;
    return url_parse(url, &u, NULL) == 0 && (str_eq(u.scheme, "https") || host_is_loopback(u.host, strlen(u.host)));
}

int endpoint_check(const char *what, const char *url, osmo_error_t *err) {
    url_parts_t u;
    if (url_parse(url, &u, NULL) || strncmp(u.scheme, "http", 4) != 0)
        return osmo_error_set(err, OSMO_EINVAL, "%s is no https:// URL", what);
    if (!url_is_private(url))
        return osmo_error_set(err, OSMO_EINVAL, "%s is not encrypted: it must be an https:// URL, http:// is for this machine only", what);
    return OSMO_OK;
}

static int complete(const char *name, const char *endpoint, const char *client_name, const char *client, const char *token,
                    osmo_error_t *err) {
    _cleanup_free_ char *what = str_printf("%s" OF_SERVICE, name);
    if (!client || !token)
        return osmo_error_set(err, OSMO_EINVAL, "the service's login_info has no %s: its administrator can add it, or use another --method",
                              client ? "token_endpoint" : client_name);
    int rc = endpoint_check(what ? what : name, endpoint, err);
    if (!rc && strchr(endpoint, '#'))
        rc = osmo_error_set(err, OSMO_EINVAL, "%s" OF_SERVICE " must have no #fragment", name);
    return rc ? rc : endpoint_check("token_endpoint" OF_SERVICE, token, err);
}

int endpoints_for_browser(const struct endpoints *e, osmo_error_t *err) {
    return complete("browser_endpoint", e->browser, "browser_client_id", e->browser_client, e->token, err);
}

int endpoints_for_device(const struct endpoints *e, osmo_error_t *err) {
    return complete("device_endpoint", e->device, "device_client_id", e->device_client, e->token, err);
}

int pkce_challenge(const char *verifier, char out[PKCE_TEXT]) {
    uint8_t digest[32];
    _cleanup_buf_ buf_t text = BUF_INIT(PKCE_TEXT);
    crypto_sha256(verifier, strlen(verifier), digest);
    if (crypto_base64url(digest, sizeof digest, &text) || text.len != PKCE_TEXT - 1)
        return OSMO_ENOMEM;
    memcpy(out, buf_cstr(&text), PKCE_TEXT);
    return OSMO_OK;
}

static int take_parameter(const char *text, size_t len, struct redirect *out) {
    const struct {
        const char *name;
        char **value;
    } known[] = { { "code", &out->code }, { "state", &out->state }, { "iss", &out->iss }, { "error", &out->error },
                  { "error_description", &out->description } };
    const char *equals = memchr(text, '=', len);
    size_t name = equals ? (size_t)(equals - text) : len;
    for (size_t i = 0; i < ARRAY_SIZE(known); i++) {
        if (strlen(known[i].name) != name || memcmp(known[i].name, text, name) != 0)
            continue;
        buf_t value = BUF_INIT(PARAMETER_MAX);
        if (*known[i].value || (equals && url_decode(equals + 1, len - name - 1, true, &value))) {
            buf_free(&value);
            return OSMO_EINVAL;
        }
        buf_cstr(&value);
        *known[i].value = value.data ? buf_steal(&value, NULL) : strdup("");
        return *known[i].value ? OSMO_OK : OSMO_ENOMEM;
    }
    return OSMO_OK;
}

int redirect_read(const char *target, struct redirect *out, osmo_error_t *err) {
    *out = (struct redirect){ 0 };
    size_t path = strcspn(target, "?");
    if (path != 1 || target[0] != '/')
        return osmo_error_set(err, OSMO_ENOTFOUND, "nothing is here");
    int rc = OSMO_OK;
    for (const char *p = target + path; !rc && *p;) {
        p++;
        size_t len = strcspn(p, "&");
        rc = take_parameter(p, len, out);
        p += len;
    }
    if (!rc && (!out->state || (!out->code && !out->error)))
        rc = OSMO_EINVAL;
    if (rc) {
        redirect_clear(out);
        osmo_error_set(err, rc, "this is not what a provider sends");
    }
    return rc;
}

void redirect_clear(struct redirect *r) {
    wipe_free(r->code);
    wipe_free(r->state);
    free(r->iss);
    free(r->error);
    free(r->description);
    *r = (struct redirect){ 0 };
}

enum token_answer token_classify(int status, const json_t *body) {
    const char *error = json_get_str(body, "error");
    if (status == 200)
        return json_get_str(body, "id_token") ? TOKEN_GRANTED : TOKEN_REFUSED;
    if (status == 429 || str_eq(error, "slow_down"))
        return TOKEN_SLOW_DOWN;
    if (status >= 500 || status == 408 || str_eq(error, "temporarily_unavailable"))
        return TOKEN_UNAVAILABLE;
    if (str_eq(error, "authorization_pending"))
        return TOKEN_PENDING;
    return str_eq(error, "expired_token") ? TOKEN_EXPIRED : TOKEN_REFUSED;
}

char *token_problem(int status, const json_t *body) {
    const char *error = json_get_str(body, "error"), *description = json_get_str(body, "error_description");
    if (status == 200)
        return strdup("it answered without an id_token: the client needs the scope openid there");
    if (!error)
        return str_printf("it answered with status %d", status);
    _cleanup_free_ char *text = description ? str_printf("%s: %s", error, description) : strdup(error);
    return printable(text, PROBLEM_MAX);
}

char *printable(const char *text, size_t max) {
    size_t len = 0;
    char *clean = text ? utf8_repair(text, strnlen(text, max), &len) : NULL;
    for (size_t i = 0; clean && i < len; i++) {
        unsigned char c = (unsigned char)clean[i];
        if (c < ' ' || c == 127)
            clean[i] = '?';
        else if (c == 0xc2 && (unsigned char)clean[i + 1] < 0xa0) /* the control characters behind 127 */
            clean[i] = clean[i + 1] = '?';
    }
    return clean;
}

/* "aud" is a text or a list; with several, the token must have been made for us ("azp"). */
static bool made_for(const json_t *claims, const char *client_id) {
    const json_t *aud = json_get(claims, "aud");
    if (json_kind(aud) == JSON_STRING)
        return str_eq(json_str(aud), client_id);
    bool found = false;
    for (size_t i = 0; i < json_len(aud); i++)
        found = found || str_eq(json_str(json_at(aud, i)), client_id);
    return found && (!json_has(claims, "azp") || str_eq(json_get_str(claims, "azp"), client_id));
}

static bool same(const char *got, const char *want) {
    return got && strlen(got) == strlen(want) && crypto_equal(got, want, strlen(want));
}

static const char *mismatch(const json_t *claims, const struct expected *want, int64_t now_s) {
    const char *issuer = json_get_str(claims, "iss");
    if (!issuer || !*issuer)
        return "it names no issuer";
    if (want->issuer && !str_eq(issuer, want->issuer))
        return "it is of another issuer";
    if (want->client_id && !made_for(claims, want->client_id))
        return "it is made for another client";
    if (want->nonce && !same(json_get_str(claims, "nonce"), want->nonce))
        return "it belongs to another login";
    if (want->subject && !str_eq(json_get_str(claims, "sub"), want->subject))
        return "it is of another user";
    if (json_get_double(claims, "exp", 0) + OIDC_SKEW_S <= (double)now_s)
        return "it has expired: is the clock of this machine right?";
    return NULL;
}

static const char *user_of(const json_t *claims) {
    static const char *const names[] = { "preferred_username", "unique_name", "email", "name", "sub" };
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        const char *text = json_get_str(claims, names[i]);
        if (text && *text)
            return text;
    }
    return "user";
}

int id_token_check(const char *token, const struct expected *want, int64_t now_s, char **user, osmo_error_t *err) {
    json_t *claims = NULL;
    if (jwt_peek(token, strlen(token), &claims, NULL))
        return osmo_error_set(err, OSMO_EUNAUTH, "the identity provider's token cannot be read: it is no JWT");
    const char *problem = mismatch(claims, want, now_s);
    int rc = problem ? osmo_error_set(err, OSMO_EUNAUTH, "the identity provider's token is not accepted: %s", problem) : OSMO_OK;
    if (!rc && !(*user = printable(user_of(claims), PROBLEM_MAX)))
        rc = osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    json_free(claims);
    return rc;
}
