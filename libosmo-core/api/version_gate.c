/* The version middleware: what an older client is told. Requests without x-osmo-client-version pass untouched. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "api/route.h"
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/crypto.h"
#include "osmo/version.h"

#define WEEK_US (7LL * 86400 * 1000000)

struct version { int64_t part[3]; };

/* "6.4.0" or "6.4.0.abc123"; the fourth part does not take part in comparisons. */
static bool version_parse(const char *text, struct version *out) {
    const char *p = text;
    for (int i = 0; i < 3; i++) {
        size_t n = strspn(p, "0123456789");
        if (!n || n > 9)
            return false;
        out->part[i] = atol(p);
        p += n;
        if (i < 2 && *p++ != '.')
            return false;
    }
    if (!*p)
        return true;
    size_t n = strspn(p + 1, "0123456789abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ");
    return *p == '.' && n && !p[1 + n];
}

static bool version_less(const struct version *a, const struct version *b) {
    for (int i = 0; i < 3; i++) {
        if (a->part[i] != b->part[i])
            return a->part[i] < b->part[i];
    }
    return false;
}

static int refuse(struct call *c, const char *message) {
    json_t *o = json_object();
    if (!o || json_set_str(o, "message", message) < 0 || json_set_str(o, "error_code", "OSMO_ERROR") < 0) {
        json_free(o);
        c->rs->status = 400;
        return 1;
    }
    if (answer_json(c, 400, o) < 0)
        c->rs->status = 400;
    return 1;
}

static void warn(struct call *c, const char *text) {
    _cleanup_buf_ buf_t encoded = BUF_INIT(4096);
    if (crypto_base64(text, strlen(text), &encoded) >= 0)
        (void)answer_header(c, "x-osmo-warning", buf_cstr(&encoded));
}

static int gate_client(struct call *c, const struct settings *s, const char *client_text) {
    struct version client, newest, minimum;
    const char *newest_text = s->latest_client_version ? s->latest_client_version : OSMO_WIRE_VERSION;
    char text[512];
    if (strlen(client_text) > 64 || !version_parse(client_text, &client))
        return refuse(c, "header x-osmo-client-version is not a version such as " OSMO_WIRE_VERSION);
    if (!version_parse(newest_text, &newest) || !version_less(&client, &newest))
        return 0;
    if (s->min_client_version && version_parse(s->min_client_version, &minimum) && version_less(&client, &minimum)) {
        snprintf(text, sizeof text,
                 "Your client is out of date: version %s is older than %s, the oldest this service supports. Install version %s.",
                 client_text, s->min_client_version, newest_text);
        return refuse(c, text);
    }
    snprintf(text, sizeof text, "A newer client is available: %s (yours is %s).", newest_text, client_text);
    (void)answer_header(c, "x-osmo-service-version", newest_text);
    warn(c, text);
    return 0;
}

static int gate_token(struct call *c) {
    int64_t expires = c->who.token_expires_us, now = engine_now(c->engine);
    char when[TIME_TEXT_MAX], text[256];
    if (!c->who.token_name || !expires)
        return 0;
    if (expires <= now)
        return refuse(c, "Your access token has expired: make a new one and log in again.");
    if (expires - now <= WEEK_US) {
        time_iso(expires, when);
        snprintf(text, sizeof text, "Access token %.64s expires on %.10s: make a new one before.", c->who.token_name,
                 when);
        warn(c, text);
    }
    return 0;
}

int version_gate(struct call *c) {
    const char *client = request_header(c->rq, "x-osmo-client-version");
    if (!client || str_starts(c->rq->path, "/client/"))
        return 0;
    const struct settings *s = engine_settings(c->engine);
    int rc = gate_client(c, s, client);
    engine_settings_put(s);
    return rc ? rc : gate_token(c);
}
