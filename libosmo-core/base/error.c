/* Error codes, their one table, and the functions that fill an osmo_error_t. Used by everything. */
#include "osmo/error.h"

#include <stdio.h>
#include <string.h>

/* The one mapping from code to HTTP status, OSMO wire name and words. Bindings read it through the getters. */
static const struct {
    int code, http;
    const char *wire, *words;
} codes[] = {
    { OSMO_OK, 200, "", "success" },
    { OSMO_EINVAL, 400, "USER", "invalid argument" },
    { OSMO_ENOTFOUND, 404, "USER", "not found" },
    { OSMO_EEXISTS, 400, "USER", "already exists" },
    { OSMO_EDENIED, 403, "USER", "permission denied" },
    { OSMO_EUNAUTH, 401, "USER", "not authenticated" },
    { OSMO_ECONFLICT, 409, "USER", "conflict" },
    { OSMO_ELIMIT, 413, "USER", "limit exceeded" },
    { OSMO_EBUSY, 429, "USER", "busy" },
    { OSMO_ETIMEOUT, 504, "SERVER", "timed out" },
    { OSMO_EUNAVAIL, 503, "SERVER", "unavailable" },
    { OSMO_EIO, 500, "SERVER", "input/output error" },
    { OSMO_ENOMEM, 500, "SERVER", "out of memory" },
    { OSMO_EINTERNAL, 500, "SERVER", "internal error" },
    { OSMO_EUSAGE, 400, "USAGE", "usage error" },
    { OSMO_ERESOURCE, 400, "RESOURCE", "resource error" },
    { OSMO_ECREDENTIAL, 400, "CREDENTIAL", "credential error" },
    { OSMO_EDATABASE, 400, "DATABASE", "database error" },
    { OSMO_ESUBMISSION, 400, "SUBMISSION", "submission error" },
    { OSMO_EUSER, 400, "USER", "user error" },
    { OSMO_EGONE, 410, "USER", "finished" },
    { OSMO_EEARLY, 425, "USER", "not running yet" },
};

static size_t find(int code) {
    for (size_t i = 0; i < sizeof codes / sizeof codes[0]; i++) {
        if (codes[i].code == code)
            return i;
    }
    return (size_t)-OSMO_EINTERNAL;
}

const char *osmo_error_name(int code) { return codes[find(code)].words; }
int osmo_error_http_status(int code) { return codes[find(code)].http; }
const char *osmo_error_wire_name(int code) { return codes[find(code)].wire; }

/* snprintf cuts at a byte; step back so that a multi-byte character is not torn. */
static void trim_torn_character(char *text, size_t cap) {
    size_t len = strlen(text);
    if (len + 1 < cap)
        return;
    size_t start = len;
    while (start > 0 && ((unsigned char)text[start - 1] & 0xC0) == 0x80)
        start--;
    if (start > 0 && ((unsigned char)text[start - 1] & 0x80))
        text[start - 1] = '\0';
}

int osmo_error_setv(osmo_error_t *err, int code, const char *format, va_list args) {
    if (!err)
        return code;
    /* Format aside first: an argument may point into err->text. */
    char text[OSMO_ERROR_TEXT_MAX];
    vsnprintf(text, sizeof text, format, args);
    trim_torn_character(text, sizeof text);
    err->code = code;
    memcpy(err->text, text, strlen(text) + 1);
    return code;
}

int osmo_error_set(osmo_error_t *err, int code, const char *format, ...) {
    va_list args;
    va_start(args, format);
    osmo_error_setv(err, code, format, args);
    va_end(args);
    return code;
}

int osmo_error_prefix(osmo_error_t *err, const char *format, ...) {
    if (!err || !err->code)
        return OSMO_EINTERNAL;
    char prefix[OSMO_ERROR_TEXT_MAX];
    va_list args;
    va_start(args, format);
    vsnprintf(prefix, sizeof prefix, format, args);
    va_end(args);
    char old[OSMO_ERROR_TEXT_MAX];
    memcpy(old, err->text, sizeof old);
    return osmo_error_set(err, err->code, "%s: %s", prefix, old);
}
