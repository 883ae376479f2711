/* Storage that speaks Amazon's S3: s3, gs (by its XML API and HMAC keys), swift, tos. Here: where a bucket is, how a
 * request is signed, and what refusals mean. s3_ops.c has the operations. */
#include "data/s3.h"

#include <ctype.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/str.h"
#include "data/session.h"
#include "data/xml.h"

/* ---- where it is ---- */

static void s3_close(struct remote *r) {
    struct s3 *s = r->state;
    free(s->scheme);
    free(s->host);
    free(s->base);
    free(s);
    r->state = NULL;
}

/* May it be a label before the endpoint's name, under a certificate for one label? */
static bool bucket_fits_host(const char *bucket) {
    for (const char *p = bucket; *p; p++)
        if (!islower((unsigned char)*p) && !isdigit((unsigned char)*p) && *p != '-')
            return false;
    return strlen(bucket) <= 63;
}

/* An address, or a name that nothing can be put before. */
static bool host_takes_labels(const char *host) {
    size_t n = strcspn(host, ":");
    return host[0] != '[' && memchr(host, '.', n) && strspn(host, "0123456789.") < n;
}

static enum data_addressing addressing(const struct remote *r) {
    const struct data_environment *e = r->session->o.environment;
    if (r->credential && r->credential->addressing != DATA_ADDRESS_AUTO)
        return r->credential->addressing;
    return e ? e->addressing : DATA_ADDRESS_AUTO;
}

static void choose_style(struct remote *r, struct s3 *s) {
    enum data_addressing a = addressing(r);
    if (r->uri.scheme == DATA_TOS) /* knows no other */
        s->path_style = false;
    else if (a != DATA_ADDRESS_AUTO)
        s->path_style = a == DATA_ADDRESS_PATH;
    else
        s->path_style = !bucket_fits_host(r->uri.bucket) || !host_takes_labels(s->host);
}

static int split_endpoint(const char *url, struct remote *r, struct s3 *s, osmo_error_t *err) {
    url_parts_t parts;
    const char *rest;
    osmo_error_t why = OSMO_ERROR_INIT;
    if (url_parse_origin(url, &parts, &rest, &why) < 0 || strncmp(parts.scheme, "http", 4) != 0)
        return osmo_error_set(err, OSMO_ECREDENTIAL, "the override_url for %s cannot be used: %s", r->uri.profile,
                              why.text[0] ? why.text : "it begins neither with https:// nor with http://");
    bool usual = parts.port == (strcmp(parts.scheme, "https") ? 80 : 443), literal = strchr(parts.host, ':');
    s->scheme = str_dup(parts.scheme);
    s->host = usual ? str_printf(literal ? "[%s]" : "%s", parts.host) : str_printf(literal ? "[%s]:%d" : "%s:%d", parts.host, parts.port);
    size_t n = strcspn(rest, "?#");
    while (n && rest[n - 1] == '/')
        n--;
    s->base = strndup(rest, n);
    return s->scheme && s->host && s->base ? 0 : no_memory(err);
}

static int set_aws_host(struct s3 *s, osmo_error_t *err) {
    char *host = str_printf("s3.%s.amazonaws.com%s", s->region, str_starts(s->region, "cn-") ? ".cn" : "");
    if (!host)
        return no_memory(err);
    free(s->host);
    s->host = host;
    return 0;
}

static int choose_endpoint(struct remote *r, struct s3 *s, const char *override, osmo_error_t *err) {
    _cleanup_free_ char *url = NULL;
    if (override)
        return split_endpoint(override, r, s, err);
    if (r->uri.scheme == DATA_S3) {
        s->aws = true;
        s->scheme = str_dup("https");
        s->base = str_dup("");
        return s->scheme && s->base ? set_aws_host(s, err) : no_memory(err);
    }
    url = r->uri.scheme == DATA_GS ? str_dup("https://storage.googleapis.com") : str_printf("https://%s", r->uri.host);
    return url ? split_endpoint(url, r, s, err) : no_memory(err);
}

static void choose_region(struct remote *r, struct s3 *s, const char *given) {
    const char *tos = r->uri.scheme == DATA_TOS && str_starts(r->uri.host, "tos-s3-") ? r->uri.host + strlen("tos-s3-") : NULL;
    if (given)
        snprintf(s->region, sizeof s->region, "%s", given);
    else if (tos)
        snprintf(s->region, sizeof s->region, "%.*s", (int)strcspn(tos, "."), tos);
    else
        snprintf(s->region, sizeof s->region, "%s", r->uri.scheme == DATA_GS ? "us-east1" : "us-east-1");
    for (const char *p = s->region; *p; p++)
        if (!isalnum((unsigned char)*p) && *p != '-' && *p != '_') {
            snprintf(s->region, sizeof s->region, "us-east-1");
            break;
        }
}

static int no_credential(const struct remote *r, osmo_error_t *err) {
    return osmo_error_set(err, OSMO_ECREDENTIAL, "there is no credential for %s: set one with 'osmo credential set "
                                                 "NAME --type DATA --payload "
                                                 "endpoint=%s access_key_id=… access_key=…'", r->uri.profile, r->uri.profile);
}

/* Swift's accounts are named after the keys. */
static int check_namespace(const struct remote *r, const struct s3 *s, osmo_error_t *err) {
    const char *colon = strrchr(s->key_id, ':'), *user = colon ? colon + 1 : s->key_id;
    if (!str_starts(r->uri.namespace_, "AUTH_") || strcmp(r->uri.namespace_ + 5, user) != 0)
        return osmo_error_set(err, OSMO_ECREDENTIAL, "%s does not fit to the credential: its namespace must be AUTH_ and the access_key_id",
                              r->uri.profile);
    return 0;
}

static int s3_open(struct remote *r, osmo_error_t *err) {
    const struct data_credential *c = r->credential;
    const struct data_environment *e = r->session->o.environment;
    struct s3 *s = r->state = calloc(1, sizeof *s);
    if (!s)
        return no_memory(err);
    bool own = c && !c->keyless;
    if (own) {
        s->key_id = c->access_key_id;
        s->key = c->access_key;
        s->token = c->session_token;
    } else if (r->uri.scheme != DATA_S3) {
        return no_credential(r, err);
    } else if (e && e->aws_access_key_id && e->aws_secret_access_key) {
        s->key_id = e->aws_access_key_id;
        s->key = e->aws_secret_access_key;
        s->token = e->aws_session_token;
    }
    const char *endpoint = !own && e && e->aws_endpoint_url && *e->aws_endpoint_url ? e->aws_endpoint_url : NULL;
    const char *region = r->uri.scheme == DATA_S3 && e && e->aws_region && *e->aws_region ? e->aws_region : NULL;
    endpoint = c && c->override_url ? c->override_url : endpoint;
    choose_region(r, s, c && c->region ? c->region : region);
    int rc = choose_endpoint(r, s, endpoint, err);
    if (!rc && r->uri.scheme == DATA_SWIFT)
        rc = check_namespace(r, s, err);
    if (rc < 0)
        return rc;
    choose_style(r, s);
    s->no_batch = r->uri.scheme == DATA_GS;
    r->signs_payload = !strcmp(s->scheme, "http");
    return 0;
}

/* ---- a request ---- */

static int put_line(strlist_t *l, const char *name, const char *value) {
    _cleanup_free_ char *line = str_printf("%s: %s", name, value);
    return line ? strlist_add(l, line) : OSMO_ENOMEM;
}

static int add_range(const struct call *c, strlist_t *headers) {
    const struct sink *s = c->sink;
    char text[64], quoted[REMOTE_ETAG_MAX + 2];
    if (!s)
        return 0;
    snprintf(quoted, sizeof quoted, "\"%s\"", s->etag ? s->etag : "");
    if (s->etag && *s->etag && put_line(headers, "If-Match", quoted) < 0)
        return OSMO_ENOMEM;
    if (s->whole && !s->done)
        return 0;
    snprintf(text, sizeof text, "bytes=%llu-%llu", (unsigned long long)(s->offset + s->done), (unsigned long long)(s->offset + s->len - 1));
    return put_line(headers, "Range", text);
}

static int add_body_headers(const struct call *c, strlist_t *headers, char sha[65]) {
    _cleanup_buf_ buf_t md5 = BUF_INIT(64);
    if (c->source && c->source->sums.has_md5) {
        if (crypto_base64(c->source->sums.md5, 16, &md5) < 0 || put_line(headers, "Content-MD5", md5.data) < 0)
            return OSMO_ENOMEM;
    }
    if (c->source && c->source->sums.has_sha256)
        hex_text(c->source->sums.sha256, 32, sha);
    else if (c->source)
        memcpy(sha, SIGV4_UNSIGNED, sizeof SIGV4_UNSIGNED);
    else
        crypto_sha256_hex(c->body ? c->body : "", c->body ? c->body_len : 0, sha);
    return 0;
}

static int sign(struct remote *r, const struct call *c, const char *path, const char *payload, strlist_t *headers) {
    struct s3 *s = r->state;
    char date[SIGV4_DATE_MAX];
    _cleanup_buf_ buf_t value = BUF_SECRET(8192);
    pthread_mutex_lock(&r->lock);
    int64_t skew = r->skew_us;
    char region[sizeof s->region];
    memcpy(region, s->region, sizeof region);
    pthread_mutex_unlock(&r->lock);
    sigv4_date(clock_now_us() + skew, date);
    if (put_line(headers, "x-amz-date", date) < 0 || put_line(headers, "x-amz-content-sha256", payload) < 0 ||
        (s->token && put_line(headers, "x-amz-security-token", s->token) < 0))
        return OSMO_ENOMEM;
    char **lines = calloc(headers->len + 1, sizeof *lines);
    if (!lines)
        return OSMO_ENOMEM;
    memcpy(lines, headers->items, headers->len * sizeof *lines);
    struct sigv4_input in = { .method = c->method, .path = path, .query = c->query, .nquery = c->nquery,
                              .headers = (const char *const *)lines,
                              .payload = payload, .date = date, .region = region, .service = "s3", .access_key_id = s->key_id,
                              .access_key = s->key };
    int rc = sigv4_authorization(&in, &value);
    free(lines);
    return rc < 0 ? rc : put_line(headers, "Authorization", value.data);
}

static int s3_build(struct remote *r, const struct call *c, buf_t *url, strlist_t *headers, osmo_error_t *err) {
    struct s3 *s = r->state;
    char payload[65];
    pthread_mutex_lock(&r->lock);
    _cleanup_free_ char *host = s->path_style ? str_dup(s->host) : str_printf("%s.%s", r->uri.bucket, s->host);
    pthread_mutex_unlock(&r->lock);
    if (!host)
        return no_memory(err);
    buf_printf(url, "%s://%s", s->scheme, host);
    size_t start = url->len;
    buf_puts(url, s->base);
    if (s->path_style)
        buf_printf(url, "/%s", r->uri.bucket);
    if (c->key || !s->path_style)
        buf_putc(url, '/');
    if (c->key && remote_encode_path(c->key, url) < 0)
        return osmo_error_set(err, OSMO_ELIMIT, "a part of the name is longer than 1024 bytes");
    _cleanup_free_ char *path = buf_failed(url) ? NULL : strdup(url->data + start);
    if (!path)
        return buf_failed(url) ? osmo_error_set(err, url->code, "the name is too long") : no_memory(err);
    if (c->nquery) {
        buf_putc(url, '?');
        sigv4_query(c->query, c->nquery, url);
    }
    int rc = put_line(headers, "Host", host);
    for (size_t i = 0; !rc && i < c->nheaders; i++)
        rc = strlist_add(headers, c->headers[i]);
    if (!rc)
        rc = add_range(c, headers);
    if (!rc)
        rc = add_body_headers(c, headers, payload);
    if (!rc && s->key_id)
        rc = sign(r, c, path, payload, headers);
    return rc < 0 ? no_memory(err) : 0;
}

/* ---- refusals ---- */

static bool is_one_of(const char *code, const char *const *list) {
    for (; code && *list; list++)
        if (!strcmp(code, *list))
            return true;
    return false;
}

/* The region that the server names: in a header, or in its error. */
static bool learn_region(struct remote *r, const http_response_t *rs) {
    struct s3 *s = r->state;
    const char *header = http_response_header(rs, "x-amz-bucket-region");
    _cleanup_free_ char *named = header ? str_dup(header) : rs->body.len ? xml_find(rs->body.data, rs->body.len, "Region") : NULL;
    if (!named || !*named || strlen(named) >= sizeof s->region || strspn(named, "abcdefghijklmnopqrstuvwxyz0123456789-") != strlen(named))
        return false;
    pthread_mutex_lock(&r->lock);
    bool changed = strcmp(named, s->region) != 0;
    snprintf(s->region, sizeof s->region, "%s", named);
    if (changed && s->aws && set_aws_host(s, NULL) < 0)
        changed = false;
    pthread_mutex_unlock(&r->lock);
    return changed || header; /* another thread may have learned it first; AT_ONCE_MAX ends it */
}

static int explain(const struct remote *r, const char *code, osmo_error_t *err) {
    static const char *const keys[] = { "InvalidAccessKeyId", "SignatureDoesNotMatch", "InvalidToken", "ExpiredToken",
                                        "TokenRefreshRequired", "AuthorizationHeaderMalformed", "InvalidSecurity",
                                        "XMinioInvalidAccessKey", NULL };
    const struct s3 *s = r->state;
    const char *remedy = NULL;
    int rc = err->code;
    if (is_one_of(code, keys)) {
        rc = OSMO_ECREDENTIAL;
        remedy = strstr(code, "Token") ? "renew the session token" : "check access_key_id and access_key of its credential";
    } else if (code && !strcmp(code, "NoSuchBucket")) {
        remedy = "make the bucket, or correct the address";
    } else if (code && !strcmp(code, "RequestTimeTooSkewed")) {
        remedy = "set this machine's clock";
    } else if (rc == OSMO_EDENIED && !s->key_id) {
        remedy = "there is no credential for it: set one with 'osmo credential set'";
    } else if (rc == OSMO_EDENIED) {
        remedy = "check what its credential may do";
    }
    if (!remedy)
        return rc;
    osmo_error_t old = *err;
    return osmo_error_set(err, rc, "%.600s: %s", old.text, remedy);
}

static int s3_refused(struct remote *r, const struct call *c, const http_response_t *rs, osmo_error_t *err) {
    static const char *const passing[] = { "SlowDown", "RequestTimeout", "InternalError", "ServiceUnavailable",
                                           "OperationAborted", "Throttling",
                                           "ThrottlingException", "RequestLimitExceeded", "BandwidthLimitExceeded", NULL };
    static const char *const elsewhere[] = { "AuthorizationHeaderMalformed", "PermanentRedirect", "TemporaryRedirect", "IncorrectEndpoint",
                                             "IllegalLocationConstraintException", "InvalidRegion", NULL };
    _cleanup_free_ char *code = rs->body.len ? xml_find(rs->body.data, rs->body.len, "Code") : NULL;
    _cleanup_free_ char *message = rs->body.len ? xml_find(rs->body.data, rs->body.len, "Message") : NULL;
    osmo_error_t local = OSMO_ERROR_INIT, *e = err ? err : &local;
    (void)c;
    int rc = remote_refusal(r, rs->status, code, message, e);
    if (((rs->status >= 300 && rs->status < 400) || is_one_of(code, elsewhere) || (rs->status == 400 && !code)) && learn_region(r, rs))
        return 1;
    if (code && !strcmp(code, "RequestTimeTooSkewed") && remote_learn_time(r, rs))
        return 1;
    if (remote_status_passes(rs->status) || is_one_of(code, passing))
        return 2;
    if (code && (!strcmp(code, "BadDigest") || !strcmp(code, "XAmzContentSHA256Mismatch")))
        return osmo_error_set(e, OSMO_EBUSY, "the storage received something else than what was read: did the file change meanwhile?");
    rc = explain(r, code, e);
    return rc;
}

const struct data_driver s3_driver = {
    .schemes = { DATA_S3, DATA_GS, DATA_SWIFT, DATA_TOS }, .nschemes = 4,
    .ranges = true, .parts = true, .keyed = true, .md5 = true, .part_min = 5u << 20, .parts_max = 10000, .delete_batch = 1000,
    .open = s3_open, .close = s3_close, .build = s3_build, .refused = s3_refused,
    .stat = s3_stat, .list = s3_list, .get = s3_get, .put = s3_put, .begin = s3_begin, .part_size = s3_part_size,
    .part = s3_part, .finish = s3_finish, .abandon = s3_abandon, .parts_there = s3_parts_there,
    .remove = s3_remove, .check = s3_check, .tidy = s3_tidy,
};
