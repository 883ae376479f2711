/* One question of the transfer engine, with little patience. See data_access.h. */
#include "engine/data_access.h"

#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/http.h"

#define RETRY_MS 300
#define LOGIN_US (8LL * 1000 * 1000)

/* ---- credentials ---- */

static bool put(char **slot, const char *value) {
    if (!value || !*value)
        return true;
    *slot = str_dup(value);
    return *slot != NULL;
}

int storage_login_add(data_credentials_t *c, const char *prefix, const struct storage_login *l) {
    size_t n = strlen(prefix);
    while (n && prefix[n - 1] == '/')
        n--;
    _cleanup_free_ char *trimmed = strndup(prefix, n);
    struct data_credential *one = trimmed ? data_credentials_add(c, trimmed) : NULL;
    if (!one || !put(&one->access_key_id, l->access_key_id) || !put(&one->access_key, l->access_key) || !put(&one->region, l->region) ||
        !put(&one->override_url, l->override_url))
        return OSMO_ENOMEM;
    one->keyless = !one->access_key;
    one->addressing = str_eq(l->addressing_style, "path")      ? DATA_ADDRESS_PATH
                      : str_eq(l->addressing_style, "virtual") ? DATA_ADDRESS_VIRTUAL
                                                               : DATA_ADDRESS_AUTO;
    return 0;
}

/* ---- asking ---- */

static bool is_late(void *ctx) { return clock_mono_us() > *(const int64_t *)ctx; }

int data_access_ask(const data_credentials_t *c, const char *uri, enum data_access access, int64_t deadline_us, char why[DATA_WHY_MAX]) {
    osmo_error_t err = OSMO_ERROR_INIT;
    data_session_t *session = NULL;
    int64_t left_ms = (deadline_us - clock_mono_us()) / 1000;
    struct data_options o = {
        .credentials = c, .connections = 1, .retry_for_ms = RETRY_MS, .stall_ms = left_ms > 1 ? left_ms : 1, .cancelled = is_late,
        .ctx = &deadline_us,
    };
    int rc = left_ms < 1 ? OSMO_ECONFLICT : data_session_new(&o, &session, &err);
    if (rc >= 0)
        rc = data_check(session, uri, access, &err);
    data_session_free(session);
    snprintf(why, DATA_WHY_MAX, "%s", rc == OSMO_ECONFLICT ? "it did not answer in time" : err.text);
    if (rc >= 0 || rc == OSMO_ENOMEM)
        return rc < 0 ? rc : 0;
    bool no = rc == OSMO_EDENIED || rc == OSMO_ECREDENTIAL || rc == OSMO_EUNAUTH || rc == OSMO_ENOTFOUND || rc == OSMO_EUSER ||
              rc == OSMO_EINVAL;
    return no ? OSMO_ECREDENTIAL : OSMO_EUNAVAIL;
}

bool data_access_is_checked(const struct settings *s, const char *uri, const char *override_url) {
    const strlist_t *l = &s->unchecked_schemes;
    for (size_t i = 0; i < l->len; i++)
        if (str_starts(uri, l->items[i]) && str_starts(uri + strlen(l->items[i]), "://"))
            return false;
    if (!override_url || !*override_url || str_starts(override_url, "https://"))
        return true;
    const char *host = override_url + strlen("http://");
    return str_starts(override_url, "http://") && host_is_loopback(host, strcspn(host, ":/"));
}

/* Of azure the key may be a connection string, which names a place too. */
static bool azure_is_elsewhere(const char *key) {
    return key && (strstr(key, "BlobEndpoint=http://") || strstr(key, "DefaultEndpointsProtocol=http;"));
}

int data_access_check_login(engine_t *e, const struct credential *c, osmo_error_t *err) {
    const struct storage_login l = {
        json_get_str(c->pairs, "access_key_id"), json_get_str(c->pairs, "access_key"), json_get_str(c->pairs, "region"),
        json_get_str(c->pairs, "override_url"), json_get_str(c->pairs, "addressing_style"),
    };
    const struct settings *s = engine_settings(e);
    bool elsewhere = str_starts(c->profile, "azure://") && azure_is_elsewhere(l.access_key);
    bool checked = !elsewhere && data_access_is_checked(s, c->profile, l.override_url);
    engine_settings_put(s);
    if (!checked)
        return 0;
    data_credentials_t *one = NULL;
    char why[DATA_WHY_MAX] = "";
    int rc = data_credentials_parse("", 0, &one, err);
    if (rc >= 0 && storage_login_add(one, c->profile, &l) < 0)
        rc = no_memory(err);
    if (rc >= 0)
        rc = data_access_ask(one, c->profile, DATA_READ, clock_mono_us() + LOGIN_US, why);
    data_credentials_free(one);
    if (rc == OSMO_ECREDENTIAL)
        return osmo_error_set(err, rc, "storage %.200s does not take this credential: %s; correct it", c->profile, why);
    if (rc == OSMO_EUNAVAIL)
        return osmo_error_set(err, OSMO_ECREDENTIAL, "storage %.200s cannot be asked whether this credential is good: %s; try again, "
                              "or an administrator lists its scheme in workflow.credential_config.disable_data_validation",
                              c->profile, why);
    return rc;
}
