/* osmo login --method code: the device grant (RFC 8628), for machines without a browser. The code is typed in anywhere else. */
#include <errno.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/crypto.h"
#include "login.h"

#define LIFETIME_MAX_S 3600
#define INTERVAL_DEFAULT_S 5
#define INTERVAL_MAX_S 60
#define SLOWER_S 5 /* what slow_down adds */
#define TEXT_MAX 2048

struct device { char *code, *user_code, *address, *complete; int64_t until_us, interval_s; };

static void device_clear(struct device *d) {
    wipe_free(d->code);
    free(d->user_code);
    free(d->address);
    free(d->complete);
}

static int64_t between(int64_t v, int64_t low, int64_t high) { return v < low ? low : v > high ? high : v; }

static int device_read(const json_t *answer, struct device *d, osmo_error_t *err) {
    const char *code = json_get_str(answer, "device_code"), *address = json_get_str(answer, "verification_uri");
    if (!address)
        address = json_get_str(answer, "verification_url"); /* of before the standard */
    d->code = code ? strdup(code) : NULL;
    d->user_code = printable(json_get_str(answer, "user_code"), TEXT_MAX);
    d->address = printable(address, TEXT_MAX);
    d->complete = printable(json_get_str(answer, "verification_uri_complete"), TEXT_MAX);
    if (!d->code || !d->user_code || !d->address)
        return osmo_error_set(err, OSMO_EINVAL, "the device endpoint's answer lacks device_code, user_code or verification_uri");
    d->interval_s = between(json_get_int(answer, "interval", INTERVAL_DEFAULT_S), 1, INTERVAL_MAX_S);
    d->until_us = clock_mono_us() + between(json_get_int(answer, "expires_in", LIFETIME_MAX_S), 1, LIFETIME_MAX_S) * 1000000;
    return OSMO_OK;
}

static int device_start(http_client_t *http, const struct endpoints *e, struct device *d, osmo_error_t *err) {
    _cleanup_buf_ buf_t form = FORM_INIT;
    json_t *answer = NULL;
    int status = 0;
    form_add(&form, "client_id", e->device_client);
    form_add(&form, "scope", OIDC_SCOPE);
    int rc = form_post(http, e->device, &form, &status, &answer, err);
    if (!rc && status != 200) {
        _cleanup_free_ char *problem = token_problem(status, answer);
        rc = osmo_error_set(err, status >= 500 ? OSMO_EUNAVAIL : OSMO_EUNAUTH, "the identity provider gave no code: %s",
                            problem ? problem : "out of memory");
    }
    if (!rc)
        rc = device_read(answer, d, err);
    json_free_secret(answer);
    return rc;
}

static void pause_s(int64_t seconds) {
    struct timespec t = { .tv_sec = seconds };
    while (nanosleep(&t, &t) && errno == EINTR)
        continue;
}

/* One question. 1: go on asking. */
static int device_poll(http_client_t *http, const struct endpoints *e, struct device *d, const buf_t *form, struct login *l,
                       osmo_error_t *err) {
    enum token_answer class = TOKEN_UNAVAILABLE;
    struct tokens tokens = { 0 };
    _cleanup_free_ char *problem = NULL;
    int rc = token_ask(http, e->token, form, &class, &tokens, &problem, NULL);
    if (rc == OSMO_ENOMEM || rc == OSMO_EINVAL)
        return osmo_error_set(err, rc, "the identity provider cannot be asked");
    switch (class) {
    case TOKEN_PENDING: return 1;
    case TOKEN_SLOW_DOWN: d->interval_s = between(d->interval_s + SLOWER_S, 1, INTERVAL_MAX_S); return 1;
    case TOKEN_UNAVAILABLE: d->interval_s = between(d->interval_s * 2, 1, INTERVAL_MAX_S); return 1;
    case TOKEN_EXPIRED: return osmo_error_set(err, OSMO_ETIMEOUT, "the code has expired: run osmo login again");
    case TOKEN_REFUSED: return osmo_error_set(err, OSMO_EUNAUTH, "the identity provider refused the login: %s", problem);
    case TOKEN_GRANTED: break;
    }
    const struct expected want = { .client_id = e->device_client };
    rc = tokens_accept(&tokens, &want, e->token, l, err);
    tokens_clear(&tokens);
    return rc;
}

int device_login(http_client_t *http, const struct endpoints *e, struct login *l, osmo_error_t *err) {
    struct device d = { 0 };
    int rc = endpoints_for_device(e, err);
    if (!rc)
        rc = device_start(http, e, &d, err);
    _cleanup_buf_ buf_t form = FORM_INIT;
    if (!rc) {
        printf("Go to %s and enter the code %s\n", d.address, d.user_code);
        if (d.complete)
            printf("or to %s where it is entered already\n", d.complete);
        fflush(stdout);
        form_add(&form, "grant_type", "urn:ietf:params:oauth:grant-type:device_code");
        form_add(&form, "device_code", d.code);
        form_add(&form, "client_id", e->device_client);
        rc = 1;
    }
    while (rc > 0) {
        if (clock_mono_us() + d.interval_s * 1000000 > d.until_us) {
            rc = osmo_error_set(err, OSMO_ETIMEOUT, "nobody entered the code in time: run osmo login again");
        } else {
            pause_s(d.interval_s);
            rc = device_poll(http, e, &d, &form, l, err);
        }
    }
    device_clear(&d);
    return rc;
}
