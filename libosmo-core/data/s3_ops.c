/* The operations of S3; see s3.c for what is beneath them. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/str.h"
#include "data/s3.h"
#include "data/session.h"
#include "data/xml.h"

#define NAME_MAX_BYTES 4096
#define PAGES_MAX 10000000

/* ---- answers ---- */

static void take_etag(const char *text, char out[REMOTE_ETAG_MAX]) {
    out[0] = '\0';
    if (!text)
        return;
    text += *text == '"';
    size_t n = strcspn(text, "\"");
    if (n < REMOTE_ETAG_MAX) {
        memcpy(out, text, n);
        out[n] = '\0';
    }
}

/* Objects that are encrypted with keys of their own have other ETags than their MD5. */
static bool etag_is_opaque(const http_response_t *rs) {
    const char *how = http_response_header(rs, "x-amz-server-side-encryption");
    return (how && strncasecmp(how, "AES256", 6) != 0) || http_response_header(rs, "x-amz-server-side-encryption-customer-algorithm");
}

static int bad_answer(const struct remote *r, osmo_error_t *err) {
    return osmo_error_set(err, OSMO_EIO, "%s sent an answer that makes no sense: is it S3 storage?", r->uri.profile);
}

/* What the storage keeps is what was sent. */
static int compare(const struct remote *r, const http_response_t *rs, const struct source *s, osmo_error_t *err) {
    char etag[REMOTE_ETAG_MAX], ours[33];
    take_etag(http_response_header(rs, "ETag"), etag);
    if (!s->sums.has_md5 || !etag_is_md5(etag) || etag_is_opaque(rs))
        return 0;
    hex_text(s->sums.md5, 16, ours);
    return strcasecmp(etag, ours) ? osmo_error_set(err, OSMO_EBUSY, "%s keeps something else than what was sent", r->uri.profile) : 0;
}

/* ---- one object ---- */

int s3_stat(struct data_conn *c, struct remote *r, const char *key, struct remote_info *out, osmo_error_t *err) {
    struct call call = { .method = "HEAD", .key = key, .missing_ok = true };
    http_response_t rs;
    memset(out, 0, sizeof *out);
    out->mode = REMOTE_MODE_NONE;
    int rc = remote_call(c, r, &call, &rs, err);
    if (!rc && rs.status == 404)
        rc = osmo_error_set(err, OSMO_ENOTFOUND, "%s has no object %s", r->uri.profile, key);
    const char *length = rc ? NULL : http_response_header(&rs, "Content-Length");
    int64_t size = 0;
    if (!rc && (!length || !str_to_i64(length, &size) || size < 0))
        rc = bad_answer(r, err);
    if (!rc) {
        out->size = (uint64_t)size;
        take_etag(http_response_header(&rs, "ETag"), out->etag);
        if (etag_is_md5(out->etag) && !etag_is_opaque(&rs))
            memcpy(out->md5, out->etag, sizeof out->md5);
        out->modified_us = remote_http_date(http_response_header(&rs, "Last-Modified"));
    }
    http_response_free(&rs);
    return rc;
}

uint64_t s3_part_size(struct data_conn *c, struct remote *r, const char *key) {
    struct call call = { .method = "HEAD", .key = key, .missing_ok = true };
    http_response_t rs;
    int64_t size = 0;
    call_query(&call, "partNumber", "1");
    const char *length = remote_call(c, r, &call, &rs, NULL) || rs.status == 404 ? NULL : http_response_header(&rs, "Content-Length");
    if (length && (!str_to_i64(length, &size) || size < 0))
        size = 0;
    http_response_free(&rs);
    return (uint64_t)size;
}

int s3_get(struct data_conn *c, struct remote *r, const char *key, struct sink *s, osmo_error_t *err) {
    struct call call = { .method = "GET", .key = key, .sink = s };
    http_response_t rs;
    int rc = remote_call(c, r, &call, &rs, err);
    s->etag_opaque = !rc && etag_is_opaque(&rs);
    http_response_free(&rs);
    return rc;
}

static const char *content_type(const char *key) {
    static const struct { const char *end, *type; } known[] = {
        { ".json", "application/json" }, { ".txt", "text/plain" }, { ".log", "text/plain" }, { ".csv", "text/csv" },
            { ".html", "text/html" },
        { ".md", "text/markdown" }, { ".png", "image/png" }, { ".jpg", "image/jpeg" }, { ".jpeg", "image/jpeg" }, { ".gif", "image/gif" },
        { ".svg", "image/svg+xml" }, { ".mp4", "video/mp4" }, { ".webm", "video/webm" }, { ".pdf", "application/pdf" },
        { ".zip", "application/zip" }, { ".gz", "application/gzip" }, { ".tar", "application/x-tar" }, { ".xml", "application/xml" },
        { ".yaml", "application/yaml" }, { ".yml", "application/yaml" }, { ".css", "text/css" }, { ".js", "text/javascript" },
    };
    for (size_t i = 0; i < ARRAY_SIZE(known); i++)
        if (str_ends(key, known[i].end))
            return known[i].type;
    return "application/octet-stream";
}

int s3_put(struct data_conn *c, struct remote *r, const char *key, const struct source *s, osmo_error_t *err) {
    struct call call = { .method = "PUT", .key = key, .source = s };
    char type[64];
    http_response_t rs;
    snprintf(type, sizeof type, "Content-Type: %s", content_type(key));
    call_header(&call, type);
    int rc = remote_call(c, r, &call, &rs, err);
    if (!rc)
        rc = compare(r, &rs, s, err);
    http_response_free(&rs);
    return rc;
}

/* ---- parts ---- */

int s3_begin(struct data_conn *c, struct remote *r, const char *key, char id[REMOTE_ID_MAX], osmo_error_t *err) {
    struct call call = { .method = "POST", .key = key };
    char type[64];
    http_response_t rs;
    snprintf(type, sizeof type, "Content-Type: %s", content_type(key));
    call_header(&call, type);
    call_query(&call, "uploads", "");
    int rc = remote_call(c, r, &call, &rs, err);
    _cleanup_free_ char *text = rc ? NULL : xml_find(rs.body.data ? rs.body.data : "", rs.body.len, "UploadId");
    http_response_free(&rs);
    if (!rc && (!text || !*text || strlen(text) >= REMOTE_ID_MAX))
        rc = bad_answer(r, err);
    if (!rc)
        memcpy(id, text, strlen(text) + 1);
    return rc;
}

int s3_part(struct data_conn *c, struct remote *r, const char *key, const char *id, unsigned number, const struct source *s,
            char etag[REMOTE_ETAG_MAX], osmo_error_t *err) {
    struct call call = { .method = "PUT", .key = key, .source = s };
    char text[16];
    http_response_t rs;
    snprintf(text, sizeof text, "%u", number);
    call_header(&call, "Content-Type: application/octet-stream");
    call_query(&call, "partNumber", text);
    call_query(&call, "uploadId", id);
    int rc = remote_call(c, r, &call, &rs, err);
    if (!rc)
        rc = compare(r, &rs, s, err);
    if (!rc) {
        take_etag(http_response_header(&rs, "ETag"), etag);
        if (!*etag)
            rc = bad_answer(r, err);
    }
    http_response_free(&rs);
    return rc;
}

static int write_parts(const struct part *parts, size_t n, buf_t *body) {
    buf_puts(body, "<CompleteMultipartUpload xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
    for (size_t i = 0; i < n; i++) {
        buf_printf(body, "<Part><PartNumber>%u</PartNumber><ETag>&quot;", parts[i].number);
        xml_escape(parts[i].etag, body);
        buf_puts(body, "&quot;</ETag></Part>");
    }
    return buf_puts(body, "</CompleteMultipartUpload>");
}

/* The answer's head may be sent before the outcome is known: a success with an error in its body. */
static int look_inside(struct remote *r, const http_response_t *rs, const struct part *parts, size_t n, osmo_error_t *err) {
    const char *text = rs->body.data ? rs->body.data : "";
    _cleanup_free_ char *etag = xml_find(text, rs->body.len, "ETag"), *code = etag ? NULL : xml_find(text, rs->body.len, "Code");
    _cleanup_free_ char *message = code ? xml_find(text, rs->body.len, "Message") : NULL;
    char theirs[REMOTE_ETAG_MAX];
    if (code) {
        int rc = remote_refusal(r, !strcmp(code, "InternalError") || !strcmp(code, "SlowDown") ? 503 : 400, code, message, err);
        return rc;
    }
    take_etag(etag, theirs);
    if (!*theirs)
        return bad_answer(r, err);
    _cleanup_buf_ buf_t all = BUF_INIT(16u * 10000);
    for (size_t i = 0; i < n; i++) {
        if (!etag_is_md5(parts[i].etag))
            return 0;
        for (size_t k = 0; k < 16; k++) {
            unsigned byte;
            sscanf(parts[i].etag + 2 * k, "%2x", &byte);
            buf_putc(&all, (char)byte);
        }
    }
    crypto_digest_t *d = NULL;
    uint8_t sum[32];
    char ours[48];
    if (etag_parts(theirs) != n || etag_is_opaque(rs) || buf_failed(&all) || crypto_digest_new(CRYPTO_MD5, &d, NULL) < 0)
        return 0;
    crypto_digest_add(d, all.data, all.len);
    crypto_digest_take(d, sum);
    crypto_digest_free(d);
    hex_text(sum, 16, ours);
    return strncasecmp(ours, theirs, 32) ? osmo_error_set(err, OSMO_EBUSY, "%s put the parts together wrongly", r->uri.profile) : 0;
}

static uint64_t total(const struct part *parts, size_t n) {
    uint64_t sum = 0;
    for (size_t i = 0; i < n; i++)
        sum += parts[i].size;
    return sum;
}

int s3_finish(struct data_conn *c, struct remote *r, const char *key, const char *id, const struct part *parts,
              size_t n, osmo_error_t *err) {
    _cleanup_buf_ buf_t body = BUF_INIT(4u << 20);
    struct call call = { .method = "POST", .key = key };
    http_response_t rs;
    if (write_parts(parts, n, &body) < 0)
        return no_memory(err);
    call.body = body.data;
    call.body_len = body.len;
    call_header(&call, "Content-Type: application/xml");
    call_query(&call, "uploadId", id);
    for (int attempt = 0;; attempt++) {
        int rc = remote_call(c, r, &call, &rs, err);
        if (!rc)
            rc = look_inside(r, &rs, parts, n, err);
        http_response_free(&rs);
        struct remote_info info; /* an answer was lost, and so the upload is not known any more: is it what it was to become? */
        if (rc == OSMO_ENOTFOUND && !s3_stat(c, r, key, &info, NULL) && info.size == total(parts, n) && etag_parts(info.etag) == n)
            return 0;
        if (rc != OSMO_EUNAVAIL || attempt == 4)
            return rc;
        if ((rc = session_pause(c->session, 500 << attempt, err)) < 0)
            return rc;
    }
}

int s3_abandon(struct data_conn *c, struct remote *r, const char *key, const char *id, osmo_error_t *err) {
    struct call call = { .method = "DELETE", .key = key, .missing_ok = true, .once = true };
    http_response_t rs;
    call_query(&call, "uploadId", id);
    int rc = remote_call(c, r, &call, &rs, err);
    http_response_free(&rs);
    return rc;
}

/* ---- lists ---- */

/* Elements of lists, by what their text is. */
struct fields {
    buf_t key, etag, size, modified, number, prefix, upload, begun, token, marker;
    bool encoded, truncated;
};

static void fields_free(struct fields *f) {
    buf_t *all[] = { &f->key, &f->etag, &f->size, &f->modified, &f->number, &f->prefix, &f->upload, &f->begun, &f->token, &f->marker };
    for (size_t i = 0; i < ARRAY_SIZE(all); i++)
        buf_free(all[i]);
}

static void fields_init(struct fields *f) {
    memset(f, 0, sizeof *f);
    buf_t *all[] = { &f->key, &f->etag, &f->size, &f->modified, &f->number, &f->prefix, &f->upload, &f->begun, &f->token, &f->marker };
    for (size_t i = 0; i < ARRAY_SIZE(all); i++)
        buf_init(all[i], NAME_MAX_BYTES * 3);
}

static buf_t *field_of(struct fields *f, const struct xml_name *n) {
    const struct { const char *name; buf_t *b; } known[] = {
        { "Key", &f->key }, { "ETag", &f->etag }, { "Size", &f->size }, { "LastModified", &f->modified }, { "PartNumber", &f->number },
        { "Prefix", &f->prefix }, { "UploadId", &f->upload }, { "Initiated", &f->begun },
    };
    for (size_t i = 0; i < ARRAY_SIZE(known); i++)
        if (xml_is(n, known[i].name))
            return known[i].b;
    return NULL;
}

/* The members of one <Contents>, <CommonPrefixes> or <Part>. */
static int read_members(xml_reader_t *x, struct fields *f) {
    struct xml_name n;
    enum xml_event e;
    buf_t *all[] = { &f->key, &f->etag, &f->size, &f->modified, &f->number, &f->prefix, &f->upload, &f->begun };
    for (size_t i = 0; i < ARRAY_SIZE(all); i++)
        buf_reset(all[i]);
    while ((e = xml_next(x, &n)) == XML_OPEN) {
        buf_t *into = field_of(f, &n);
        int rc = into ? xml_text(x, into) : xml_skip(x);
        if (rc < 0)
            return rc;
    }
    return e == XML_CLOSE ? 0 : OSMO_EINVAL;
}

static int decode(const struct fields *f, const buf_t *in, buf_t *out) {
    buf_cstr(out);
    return f->encoded ? url_decode(in->data ? in->data : "", in->len, true, out) : buf_append(out, in->data ? in->data : "", in->len);
}

static int tell(const struct fields *f, bool prefix, remote_entry_fn fn, void *ctx, osmo_error_t *err) {
    _cleanup_buf_ buf_t name = BUF_INIT(NAME_MAX_BYTES);
    struct remote_entry e = { .is_prefix = prefix, .mode = REMOTE_MODE_NONE };
    char etag[REMOTE_ETAG_MAX];
    int64_t size = 0;
    if (decode(f, prefix ? &f->prefix : &f->key, &name) < 0 || !name.len || memchr(name.data, '\0', name.len))
        return osmo_error_set(err, OSMO_EIO, "the list has a name that cannot be read");
    take_etag(f->etag.data, etag);
    if (!prefix && (!f->size.data || !str_to_i64(f->size.data, &size) || size < 0))
        return osmo_error_set(err, OSMO_EIO, "the list has an object without a size");
    e.key = name.data;
    e.etag = etag;
    e.md5 = etag_is_md5(etag) ? etag : NULL;
    e.size = (uint64_t)size;
    if (f->modified.data && !time_parse(f->modified.data, &e.modified_us))
        e.modified_us = 0;
    return fn(ctx, &e, err);
}

/* Is the page's text encoded? That stands anywhere in it. */
static int read_head(const char *text, size_t len, struct fields *f) {
    _cleanup_free_ char *encoding = xml_find(text, len, "EncodingType"), *truncated = xml_find(text, len, "IsTruncated");
    _cleanup_free_ char *token = xml_find(text, len, "NextContinuationToken"), *marker = xml_find(text, len, "NextPartNumberMarker");
    f->encoded = encoding && !strcasecmp(encoding, "url");
    f->truncated = truncated && !strcasecmp(truncated, "true");
    buf_reset(&f->token), buf_reset(&f->marker);
    buf_puts(&f->token, token ? token : "");
    return buf_puts(&f->marker, marker ? marker : "");
}

static int read_text(const char *text, size_t len, const char *root, struct fields *f, remote_entry_fn fn, void *ctx, osmo_error_t *err) {
    xml_reader_t x;
    struct xml_name n;
    enum xml_event e;
    if (read_head(text, len, f) < 0)
        return no_memory(err);
    xml_begin(&x, text, len);
    /* some servers have the older ListPartsResponse */
    if (xml_next(&x, &n) != XML_OPEN || !(xml_is(&n, root) || (strcmp(root, "ListPartsResult") == 0 && xml_is(&n, "ListPartsResponse"))))
        return osmo_error_set(err, OSMO_EIO, "the storage sent something else than a list: is it S3 storage?");
    while ((e = xml_next(&x, &n)) == XML_OPEN) {
        bool contents = xml_is(&n, "Contents"), prefix = xml_is(&n, "CommonPrefixes"), part = xml_is(&n, "Part") || xml_is(&n, "Upload");
        if (!contents && !prefix && !part) {
            if (xml_skip(&x) < 0)
                break;
            continue;
        }
        if (read_members(&x, f) < 0)
            break;
        int rc = part ? fn(ctx, NULL, err) : tell(f, prefix, fn, ctx, err);
        if (rc)
            return rc;
    }
    return e == XML_CLOSE && xml_next(&x, &n) == XML_END ? 0 : osmo_error_set(err, OSMO_EIO, "the storage sent a list that is no XML");
}

static int read_page(const http_response_t *rs, const char *root, struct fields *f, remote_entry_fn fn, void *ctx, osmo_error_t *err) {
    return read_text(rs->body.data ? rs->body.data : "", rs->body.len, root, f, fn, ctx, err);
}

int s3_read_list(const char *text, size_t len, remote_entry_fn fn, void *ctx, osmo_error_t *err) {
    struct fields f;
    fields_init(&f);
    int rc = read_text(text, len, "ListBucketResult", &f, fn, ctx, err);
    fields_free(&f);
    return rc;
}

int s3_list(struct data_conn *c, struct remote *r, const char *prefix, bool deep, remote_entry_fn fn, void *ctx, osmo_error_t *err) {
    struct fields f;
    int rc = 0;
    fields_init(&f);
    for (int page = 0; !rc && page < PAGES_MAX; page++) {
        struct call call = { .method = "GET", .max_response = REMOTE_LIST_BYTES_MAX };
        http_response_t rs;
        call_query(&call, "list-type", "2");
        call_query(&call, "encoding-type", "url");
        call_query(&call, "prefix", *prefix ? prefix : NULL);
        call_query(&call, "delimiter", deep ? NULL : "/");
        call_query(&call, "continuation-token", page ? f.token.data : NULL);
        rc = remote_call(c, r, &call, &rs, err);
        if (!rc)
            rc = read_page(&rs, "ListBucketResult", &f, fn, ctx, err);
        http_response_free(&rs);
        if (!rc && f.truncated && !f.token.len)
            rc = bad_answer(r, err);
        if (!f.truncated)
            break;
    }
    fields_free(&f);
    return rc > 0 ? 0 : rc;
}

struct parts_listing { struct fields f; struct part *parts; size_t n; };

static int take_part(void *ctx, const struct remote_entry *e, osmo_error_t *err) {
    struct parts_listing *l = ctx;
    int64_t number, size;
    (void)e;
    (void)err;
    if (!l->f.number.data || !str_to_i64(l->f.number.data, &number) || !l->f.size.data ||
        !str_to_i64(l->f.size.data, &size) || number < 1 ||
        (uint64_t)number > l->n || size < 0)
        return 0;
    struct part *p = &l->parts[number - 1];
    p->number = (unsigned)number;
    p->size = (uint64_t)size;
    take_etag(l->f.etag.data, p->etag);
    return 0;
}

int s3_parts_there(struct data_conn *c, struct remote *r, const char *key, const char *id, struct part *parts,
                   size_t n, osmo_error_t *err) {
    struct parts_listing l = { .parts = parts, .n = n };
    int rc = 0;
    fields_init(&l.f);
    do {
        struct call call = { .method = "GET", .key = key, .max_response = REMOTE_LIST_BYTES_MAX };
        http_response_t rs;
        _cleanup_free_ char *marker = str_dup(l.f.marker.len ? l.f.marker.data : NULL);
        call_query(&call, "uploadId", id);
        call_query(&call, "part-number-marker", marker);
        rc = remote_call(c, r, &call, &rs, err);
        if (!rc)
            rc = read_page(&rs, "ListPartsResult", &l.f, take_part, &l, err);
        http_response_free(&rs);
    } while (!rc && l.f.truncated && l.f.marker.len);
    fields_free(&l.f);
    return rc;
}

struct tidying { struct fields f; struct data_conn *conn; struct remote *remote; int64_t before_us; };

static int tidy_one(void *ctx, const struct remote_entry *e, osmo_error_t *err) {
    struct tidying *t = ctx;
    _cleanup_buf_ buf_t key = BUF_INIT(NAME_MAX_BYTES);
    int64_t begun;
    (void)e;
    if (!t->f.begun.data || !time_parse(t->f.begun.data, &begun) || begun >= t->before_us || !t->f.upload.len ||
        decode(&t->f, &t->f.key, &key) < 0)
        return 0;
    return s3_abandon(t->conn, t->remote, buf_cstr(&key), t->f.upload.data, err);
}

/* One page: what is on others is met next time, for what was found is gone then. */
int s3_tidy(struct data_conn *c, struct remote *r, const char *prefix, int64_t before_us, osmo_error_t *err) {
    struct tidying t = { .conn = c, .remote = r, .before_us = before_us };
    struct call call = { .method = "GET", .max_response = REMOTE_LIST_BYTES_MAX };
    http_response_t rs;
    fields_init(&t.f);
    call_query(&call, "uploads", "");
    call_query(&call, "encoding-type", "url");
    call_query(&call, "prefix", *prefix ? prefix : NULL);
    int rc = remote_call(c, r, &call, &rs, err);
    if (!rc)
        rc = read_page(&rs, "ListMultipartUploadsResult", &t.f, tidy_one, &t, err);
    http_response_free(&rs);
    fields_free(&t.f);
    return rc;
}

/* ---- removing ---- */

static int remove_one(struct data_conn *c, struct remote *r, const char *key, osmo_error_t *err) {
    struct call call = { .method = "DELETE", .key = key, .missing_ok = true };
    http_response_t rs;
    int rc = remote_call(c, r, &call, &rs, err);
    http_response_free(&rs);
    return rc;
}

static bool fits_xml(const char *key) {
    for (; *key; key++)
        if ((unsigned char)*key < ' ')
            return false;
    return true;
}

static int remove_batch(struct data_conn *c, struct remote *r, char *const *keys, size_t n, osmo_error_t *err) {
    _cleanup_buf_ buf_t body = BUF_INIT(16u << 20), md5 = BUF_INIT(64);
    struct digests sums;
    struct call call = { .method = "POST", .max_response = REMOTE_LIST_BYTES_MAX };
    http_response_t rs;
    buf_puts(&body, "<Delete xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\"><Quiet>true</Quiet>");
    for (size_t i = 0; i < n; i++) {
        buf_puts(&body, "<Object><Key>");
        xml_escape(keys[i], &body);
        buf_puts(&body, "</Key></Object>");
    }
    if (buf_puts(&body, "</Delete>") < 0)
        return no_memory(err);
    if (digests_of(c, -1, body.data, 0, body.len, true, false, &sums, err) < 0 || crypto_base64(sums.md5, 16, &md5) < 0)
        return no_memory(err);
    _cleanup_free_ char *line = sums.has_md5 ? str_printf("Content-MD5: %s", md5.data) : NULL;
    call.body = body.data;
    call.body_len = body.len;
    call_header(&call, "Content-Type: application/xml");
    call_header(&call, line);
    call_query(&call, "delete", "");
    int rc = remote_call(c, r, &call, &rs, err);
    _cleanup_free_ char *code = rc ? NULL : xml_find(rs.body.data ? rs.body.data : "", rs.body.len, "Code");
    if (code) {
        _cleanup_free_ char *key = xml_find(rs.body.data, rs.body.len, "Key"), *message = xml_find(rs.body.data, rs.body.len, "Message");
        bool passes = !strcmp(code, "SlowDown") || !strcmp(code, "InternalError");
        rc = remote_refusal(r, !strcmp(code, "AccessDenied") ? 403 : passes ? 503 : 400, code, message, err);
        rc = key ? osmo_error_prefix(err, "%.300s", key) : rc;
    }
    http_response_free(&rs);
    return rc;
}

int s3_remove(struct data_conn *c, struct remote *r, char *const *keys, size_t n, osmo_error_t *err) {
    struct s3 *s = r->state;
    bool batch = n > 1 && !s->no_batch;
    for (size_t i = 0; batch && i < n; i++)
        batch = fits_xml(keys[i]);
    if (batch)
        return remove_batch(c, r, keys, n, err);
    int rc = 0;
    for (size_t i = 0; !rc && i < n; i++)
        rc = remove_one(c, r, keys[i], err);
    return rc;
}

/* ---- access ---- */

/* That the object is missing is no failure, that the bucket is missing is one. */
static int remove_nothing(struct data_conn *c, struct remote *r, const char *key, osmo_error_t *err) {
    struct call call = { .method = "DELETE", .key = key };
    http_response_t rs;
    osmo_error_t why = OSMO_ERROR_INIT;
    int rc = remote_call(c, r, &call, &rs, &why);
    http_response_free(&rs);
    return !rc || (rc == OSMO_ENOTFOUND && !strstr(why.text, "NoSuchBucket")) ? 0 : osmo_error_set(err, rc, "%s", why.text);
}

/* Leaves nothing behind: a list; an upload in parts that is begun and abandoned; the removal of what never was there. */
int s3_check(struct data_conn *c, struct remote *r, enum data_access access, osmo_error_t *err) {
    char id[33], upload[REMOTE_ID_MAX];
    if (access == DATA_READ)
        return s3_list(c, r, r->uri.path, false, remote_stop_at_first, NULL, err);
    if (crypto_random_hex32(id) < 0)
        return osmo_error_set(err, OSMO_EIO, "cannot read random bytes from the system");
    _cleanup_free_ char *key = str_printf("%s%s.osmo-access-check-%s", r->uri.path, *r->uri.path ? "/" : "", id);
    if (!key)
        return no_memory(err);
    if (access == DATA_DELETE)
        return remove_nothing(c, r, key, err);
    int rc = s3_begin(c, r, key, upload, err);
    if (!rc)
        (void)s3_abandon(c, r, key, upload, NULL);
    return rc;
}
