/* Fresh tokens before the old ones expire. Commands that run at the same time do it one after another, for a provider may accept each
 * refresh token only once: whoever comes second finds what the first has got. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/crypto.h"
#include "login.h"

#define REFRESH_BEFORE_S 3
#define PROBLEM_MAX 300

static bool expires_within(const char *jwt, int64_t seconds) {
    json_t *claims = NULL;
    double exp = jwt_peek(jwt, strlen(jwt), &claims, NULL) ? 0 : json_get_double(claims, "exp", 0);
    json_free(claims);
    return exp - (double)seconds <= (double)clock_now_us() / 1e6;
}

static bool due(const struct login *l) {
    return l->id_token && l->refresh_token && l->refresh_url && expires_within(l->id_token, REFRESH_BEFORE_S);
}

static int replace(char **old, const char *text, osmo_error_t *err) {
    char *copy = strdup(text);
    if (!copy)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    wipe_free(*old);
    *old = copy;
    return OSMO_OK;
}

static int again(const struct login *l, const char *who, const char *why, osmo_error_t *err) {
    return osmo_error_set(err, OSMO_EUNAUTH, "%s does not renew your login: %s; run osmo login %s again", who,
                          why ? why : "no reason given", l->url);
}

/* OSMO's own: the access token, or a task's, for another identity token. */
static int renew_osmo(http_client_t *http, struct login *l, osmo_error_t *err) {
    _cleanup_json_secret_ json_t *body = json_object();
    _cleanup_json_secret_ json_t *answer = NULL;
    _cleanup_buf_ buf_t text = FORM_INIT;
    int status = 0;
    json_set_str(body, "token", l->refresh_token);
    json_print(body, 0, &text);
    int rc = post_secret(http, l->refresh_url, "application/json", &text, &status, &answer, err);
    if (rc)
        return rc;
    const char *jwt = json_get_str(answer, "token");
    if (status == 200 && jwt)
        return replace(&l->id_token, jwt, err);
    if (status == 429)
        return osmo_error_set(err, OSMO_EBUSY, "the service has too much to do to renew your login: try again later");
    if (status >= 500 || status == 200)
        return osmo_error_set(err, OSMO_EUNAVAIL, "the service cannot renew your login at the moment (status %d)", status);
    const char *message = json_get_str(answer, "message");
    _cleanup_free_ char *why = message ? printable(message, PROBLEM_MAX) : str_printf("status %d", status);
    return again(l, "The service", why, err);
}

static int take(struct login *l, struct tokens *t, osmo_error_t *err) {
    json_t *old = NULL;
    char *user = NULL;
    jwt_peek(l->id_token, strlen(l->id_token), &old, NULL);
    /* OpenID Connect Core 12.2: of the same issuer and user, for the same client */
    const struct expected want = { .client_id = l->client_id, .issuer = json_get_str(old, "iss"), .subject = json_get_str(old, "sub") };
    int rc = id_token_check(t->id_token, &want, clock_now_us() / 1000000, &user, err);
    if (!rc)
        rc = replace(&l->id_token, t->id_token, err);
    if (!rc && t->refresh_token)
        rc = replace(&l->refresh_token, t->refresh_token, err);
    free(user);
    json_free(old);
    return rc;
}

static int renew_provider(http_client_t *http, struct login *l, osmo_error_t *err) {
    int rc = endpoint_check("refresh_url of login.yaml", l->refresh_url, err);
    if (rc)
        return rc;
    _cleanup_buf_ buf_t form = FORM_INIT;
    form_add(&form, "grant_type", "refresh_token");
    form_add(&form, "refresh_token", l->refresh_token);
    if (l->client_id)
        form_add(&form, "client_id", l->client_id);
    enum token_answer class;
    struct tokens tokens;
    _cleanup_free_ char *problem = NULL;
    rc = token_ask(http, l->refresh_url, &form, &class, &tokens, &problem, err);
    if (!rc && class == TOKEN_GRANTED)
        rc = take(l, &tokens, err);
    else if (!rc && class == TOKEN_REFUSED)
        rc = again(l, "The identity provider", problem, err);
    else if (!rc)
        rc = osmo_error_set(err, OSMO_EUNAVAIL, "the identity provider cannot renew your login at the moment: %s", problem);
    tokens_clear(&tokens);
    return rc;
}

/* What another command may have made of the login while we waited for the lock. Is it still the same one? */
static bool look_again(struct login *l) {
    struct login now;
    if (login_load(&now, NULL))
        return false;
    if (!str_eq(now.url, l->url) || !now.id_token) {
        login_clear(&now);
        return false;
    }
    login_clear(l);
    *l = now;
    return true;
}

int login_refresh(http_client_t *http, struct login *l, osmo_error_t *err) {
    if (!due(l))
        return OSMO_OK;
    osmo_error_t problem = OSMO_ERROR_INIT;
    _cleanup_close_ int lock = login_lock();
    (void)lock; /* held until the end */
    bool keep = look_again(l);
    if (!due(l))
        return OSMO_OK;
    int rc = l->osmo_token ? renew_osmo(http, l, &problem) : renew_provider(http, l, &problem);
    if (!rc && keep && login_save(l, &problem))
        fprintf(stderr, "The renewed login cannot be kept: %s\n", problem.text);
    if (!rc || !expires_within(l->id_token, 0)) /* it serves for this once */
        return OSMO_OK;
    return osmo_error_set(err, rc, "%s", problem.text);
}
