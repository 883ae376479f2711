/* Development mode believes x-osmo-user, and therefore only answers requests that a program on this machine made on purpose: the Host,
 * Origin and Content-Type checks keep web pages in a browser on the same machine out. Called by auth_identify.c. */
#include <stdio.h>
#include <string.h>
#include <strings.h>

#include "engine/identity_internal.h"

#define DEV_USER "testuser"

static const char *header_of(const osmo_request_t *rq, const char *name) {
    for (const char *const *h = rq->headers; h && h[0] && h[1]; h += 2) {
        if (!strcmp(h[0], name))
            return h[1];
    }
    return NULL;
}

static bool all_digits(const char *s) {
    return s[strspn(s, "0123456789")] == '\0';
}

/* host or host:port */
static bool is_loopback_authority(const char *text) {
    const char *end;
    if (*text == '[') {
        end = strchr(text, ']');
        end = end ? end + 1 : text;
    } else {
        end = text + strcspn(text, ":");
    }
    return host_is_loopback(text, (size_t)(end - text)) && (!*end || (*end == ':' && all_digits(end + 1)));
}

static bool is_loopback_origin(const char *origin) {
    const char *host = str_starts(origin, "http://") ? origin + 7 : str_starts(origin, "https://") ? origin + 8 : NULL;
    return host && is_loopback_authority(host);
}

static bool is_loopback_peer(const char *peer) { return !peer || !*peer || host_is_loopback(peer, strlen(peer)); }

static bool is_json(const char *type) {
    return type && !strncasecmp(type, "application/json", 16) && (!type[16] || type[16] == ';' || type[16] == ' ');
}

static int check_dev_request(const osmo_request_t *rq, osmo_error_t *err) {
    const char *host = header_of(rq, "host"), *origin = header_of(rq, "origin");
    bool has_body = rq->body_len || rq->body_file;
    if (!is_loopback_peer(rq->peer))
        return osmo_error_set(err, OSMO_EDENIED,
                              "development mode answers this machine only; start the service with authentication");
    if (!host || !is_loopback_authority(host))
        return osmo_error_set(err, OSMO_EDENIED,
                              "development mode answers only requests for localhost or 127.0.0.1; use such an address");
    if (origin && !is_loopback_origin(origin))
        return osmo_error_set(err, OSMO_EDENIED, "development mode does not answer pages of other web sites");
    if (has_body && !str_starts(rq->path, "/api/storage/") && !is_json(header_of(rq, "content-type")))
        return osmo_error_set(err, OSMO_EDENIED,
                              "development mode takes request bodies only with Content-Type: application/json");
    return 0;
}

int dev_identify(const osmo_request_t *rq, struct identity *out, osmo_error_t *err) {
    const char *user = header_of(rq, "x-osmo-user");
    int rc = check_dev_request(rq, err);
    if (rc < 0)
        return rc;
    user = user && *user ? user : DEV_USER;
    if (!identity_name_usable(user))
        return osmo_error_set(err, OSMO_EUNAUTH, "header x-osmo-user is not a user name of at most %d bytes",
                              MAX_USER_BYTES);
    out->kind = IDENTITY_DEV;
    if (identity_set_text(&out->user, user) < 0 || strlist_add(&out->roles, "osmo-admin") < 0 ||
        strlist_add(&out->roles, "osmo-user") < 0) {
        identity_clear(out);
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    }
    return 0;
}
