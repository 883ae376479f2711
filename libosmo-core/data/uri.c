/* Storage URIs taken apart; see uri.h. Pure: everybody above base/ and model/ may call it. */
#include "data/uri.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>

#include "base/buf.h"
#include "base/cleanup.h"
#include "base/error.h"
#include "base/http.h"
#include "base/str.h"

#define URI_MAX 4096

/* How many parts stand before the path, and how many of them name the profile. */
static const struct scheme {
    const char *name, *form;
    enum data_scheme scheme;
    int parts, profile_parts;
} schemes[] = {
    { "s3", "s3://BUCKET[/PATH]", DATA_S3, 1, 1 },
    { "gs", "gs://BUCKET[/PATH]", DATA_GS, 1, 1 },
    { "azure", "azure://ACCOUNT/CONTAINER[/PATH]", DATA_AZURE, 2, 1 },
    { "swift", "swift://HOST/NAMESPACE/CONTAINER[/PATH]", DATA_SWIFT, 3, 2 },
    { "tos", "tos://HOST/BUCKET[/PATH]", DATA_TOS, 2, 2 },
    { "file", "file:///DIRECTORY", DATA_FILE, 0, 0 },
    { "http", "http://HOST/PATH", DATA_SERVICE, 0, 0 },
    { "https", "https://HOST/PATH", DATA_SERVICE, 0, 0 },
};

const char *data_scheme_name(enum data_scheme s) {
    static const char *const names[] = { [DATA_S3] = "s3", [DATA_GS] = "gs", [DATA_AZURE] = "azure", [DATA_SWIFT] = "swift",
                                         [DATA_TOS] = "tos", [DATA_FILE] = "file", [DATA_SERVICE] = "http" };
    return names[s];
}

/* What a text that came from somebody is shown as: cut, and nothing when it could disturb a terminal. */
static const char *shown(const char *text) {
    for (const char *p = text; *p; p++)
        if ((unsigned char)*p < ' ' || *p == 0x7f)
            return "the storage address";
    return text;
}

static int refuse(const char *text, const char *why, osmo_error_t *err) {
    return osmo_error_set(err, OSMO_EUSER, "%.300s: %s", shown(text), why);
}

static int refuse_form(const char *text, const struct scheme *s, const char *why, osmo_error_t *err) {
    return osmo_error_set(err, OSMO_EUSER, "%.300s: %s: write %s", shown(text), why, s->form);
}

static const struct scheme *find_scheme(const char *text) {
    const char *end = strstr(text, "://");
    for (size_t i = 0; end && i < ARRAY_SIZE(schemes); i++)
        if (strlen(schemes[i].name) == (size_t)(end - text) && !memcmp(schemes[i].name, text, (size_t)(end - text)))
            return &schemes[i];
    return NULL;
}

bool data_relative_is_safe(const char *relative) {
    if (!*relative || *relative == '/')
        return false;
    for (const char *p = relative; *p;) {
        size_t n = strcspn(p, "/");
        if (n == 0 || (n == 1 && p[0] == '.') || (n == 2 && p[0] == '.' && p[1] == '.'))
            return false;
        if (p[n] == '/' && !p[n + 1])
            return false;
        p += n + (p[n] == '/');
    }
    return true;
}

/* Names that become part of a host name or stand first in a URL's path. */
static bool is_plain_name(const char *s, bool host) {
    for (const char *p = s; *p; p++)
        if (!isalnum((unsigned char)*p) && !strchr(host ? ".-_:" : ".-_", *p))
            return false;
    return *s && *s != '.' && *s != '-' && strcmp(s, "..") != 0;
}

static int check_characters(const char *text, bool object, osmo_error_t *err) {
    size_t len = strlen(text);
    if (len > URI_MAX)
        return refuse("the storage address", "it is longer than 4096 bytes", err);
    if (!utf8_valid(text, len))
        return refuse("the storage address", "it is no UTF-8", err);
    for (const char *p = text; *p; p++)
        if ((unsigned char)*p < ' ' || *p == 0x7f)
            return refuse(text, "it has control characters", err);
    if (object && strpbrk(text, ",;*"))
        return refuse(text, "commas, semicolons and asterisks cannot be part of it", err);
    return 0;
}

/* The parts before the path, in order of the scheme's form. */
static int place_parts(struct data_uri *u, const strlist_t *parts, const struct scheme *s) {
    char **slots[3] = { &u->bucket, NULL, NULL };
    if (s->parts == 2)
        slots[0] = &u->host, slots[1] = &u->bucket;
    else if (s->parts == 3)
        slots[0] = &u->host, slots[1] = &u->namespace_, slots[2] = &u->bucket;
    for (int i = 0; i < s->parts; i++)
        if (!(*slots[i] = str_dup(parts->items[i])))
            return OSMO_ENOMEM;
    return 0;
}

static int join(char **out, const char *start, const strlist_t *parts, size_t from, size_t to) {
    buf_t b = BUF_INIT(URI_MAX + 64);
    buf_puts(&b, start);
    for (size_t i = from; i < to; i++) {
        if (i > from)
            buf_putc(&b, '/');
        buf_puts(&b, parts->items[i]);
    }
    buf_cstr(&b);
    *out = buf_failed(&b) ? NULL : b.data ? buf_steal(&b, NULL) : strdup("");
    buf_free(&b);
    return *out ? 0 : OSMO_ENOMEM;
}

static int parse_object(const char *text, const struct scheme *s, struct data_uri *u, osmo_error_t *err) {
    strlist_t parts = { 0 };
    _cleanup_free_ char *start = str_printf("%s://", s->name);
    const char *p = text + strlen(s->name) + 3;
    int rc = start ? 0 : OSMO_ENOMEM;
    if (*p == '/')
        return refuse_form(text, s, "the first part is missing", err);
    while (!rc && *p) {
        size_t n = strcspn(p, "/");
        if (n && strlist_addn(&parts, p, n) < 0)
            rc = OSMO_ENOMEM;
        p += n + strspn(p + n, "/");
    }
    size_t need = (size_t)s->parts;
    if (!rc && parts.len < need)
        rc = refuse_form(text, s, "a part is missing", err);
    for (size_t i = 0; !rc && i < need; i++)
        if (!is_plain_name(parts.items[i], i == 0 && (s->scheme == DATA_SWIFT || s->scheme == DATA_TOS)))
            rc = refuse_form(text, s, "names may have letters, digits, dots, hyphens and underscores", err);
    for (size_t i = need; !rc && i < parts.len; i++)
        if (!strcmp(parts.items[i], ".") || !strcmp(parts.items[i], ".."))
            rc = refuse(text, "'.' and '..' cannot be part of it", err);
    if (!rc)
        rc = place_parts(u, &parts, s);
    if (!rc)
        rc = join(&u->text, start, &parts, 0, parts.len);
    if (!rc)
        rc = join(&u->profile, start, &parts, 0, (size_t)s->profile_parts);
    if (!rc)
        rc = join(&u->path, "", &parts, need, parts.len);
    strlist_free(&parts);
    return rc;
}

static int parse_file(const char *text, const struct scheme *s, struct data_uri *u, osmo_error_t *err) {
    const char *p = text + strlen("file://");
    buf_t b = BUF_INIT(URI_MAX + 8);
    if (*p != '/')
        return refuse_form(text, s, "the path must be absolute", err);
    for (; *p; p += strcspn(p, "/")) {
        p += strspn(p, "/");
        size_t n = strcspn(p, "/");
        if (n == 2 && p[0] == '.' && p[1] == '.') {
            buf_free(&b);
            return refuse(text, "'..' cannot be part of it", err);
        }
        if (n && !(n == 1 && p[0] == '.')) {
            buf_putc(&b, '/');
            buf_append(&b, p, n);
        }
    }
    if (!b.len)
        buf_putc(&b, '/');
    u->path = buf_steal(&b, NULL);
    buf_free(&b);
    u->text = u->path ? str_printf("file://%s", u->path) : NULL;
    u->profile = str_dup("file://");
    return u->text && u->profile ? 0 : OSMO_ENOMEM;
}

static int parse_service(const char *text, struct data_uri *u, osmo_error_t *err) {
    url_parts_t parts;
    const char *rest;
    osmo_error_t why = OSMO_ERROR_INIT;
    if (url_parse_origin(text, &parts, &rest, &why) < 0)
        return refuse(text, why.text, err);
    if (strpbrk(rest, "?#"))
        return refuse("the address of the service's storage", "it has a query or a fragment: give the path alone", err);
    size_t len = strlen(text), origin = (size_t)(rest - text);
    while (len > origin && text[len - 1] == '/')
        len--;
    u->path = strndup(text, len);
    u->text = strndup(text, len);
    u->profile = strndup(text, origin);
    return u->path && u->text && u->profile ? 0 : OSMO_ENOMEM;
}

int data_uri_parse(const char *text, struct data_uri *out, osmo_error_t *err) {
    const struct scheme *s = find_scheme(text);
    struct data_uri u = { 0 };
    memset(out, 0, sizeof *out);
    int rc = check_characters(text, s && s->parts, err);
    if (rc < 0)
        return rc;
    if (!s)
        return refuse(text, "it is no storage address: it begins with s3://, gs://, azure://, swift://, tos://, file:// or https://", err);
    u.scheme = s->scheme;
    rc = s->parts ? parse_object(text, s, &u, err)
         : s->scheme == DATA_FILE ? parse_file(text, s, &u, err)
                                  : parse_service(text, &u, err);
    if (!rc && ((!u.host && !(u.host = strdup(""))) || (!u.namespace_ && !(u.namespace_ = strdup(""))) ||
                (!u.bucket && !(u.bucket = strdup("")))))
        rc = OSMO_ENOMEM;
    if (rc < 0) {
        data_uri_clear(&u);
        return rc == OSMO_ENOMEM ? no_memory(err) : rc;
    }
    *out = u;
    return 0;
}

void data_uri_clear(struct data_uri *u) {
    free(u->text);
    free(u->host);
    free(u->namespace_);
    free(u->bucket);
    free(u->path);
    free(u->profile);
    memset(u, 0, sizeof *u);
}
