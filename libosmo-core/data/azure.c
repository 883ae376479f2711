/* Azure's blobs as a place of storage: azure://ACCOUNT/CONTAINER. The access_key of a credential is a connection
 * string. Large blobs are made of blocks, whose names say which part of which upload they are, and what is in them: a
 * later run finds there what it needs. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/error.h"
#include "base/str.h"
#include "data/azure_sign.h"
#include "data/remote.h"
#include "data/session.h"
#include "data/xml.h"

#define VERSION_LINE "x-ms-version: 2021-08-06"
#define BLOCK_BYTES 24 /* of a block's name: upload, number, MD5 of the data */
#define NAME_BYTES_MAX 4096

struct azure { struct azure_connection c; url_parts_t parts; char *base; };

static void azure_close(struct remote *r) {
    struct azure *a = r->state;
    azure_connection_clear(&a->c);
    free(a->base);
    free(a);
    r->state = NULL;
}

static int choose_endpoint(struct remote *r, struct azure *a, osmo_error_t *err) {
    const char *rest, *override = r->credential ? r->credential->override_url : NULL;
    osmo_error_t why = OSMO_ERROR_INIT;
    _cleanup_free_ char *plain = override || a->c.endpoint ? NULL : str_printf("https://%s.blob.core.windows.net", r->uri.host);
    const char *url = override ? override : a->c.endpoint ? a->c.endpoint : plain;
    if (!url)
        return no_memory(err);
    if (url_parse_origin(url, &a->parts, &rest, &why) < 0 || strncmp(a->parts.scheme, "http", 4) != 0 || strpbrk(rest, "?#"))
        return osmo_error_set(err, OSMO_ECREDENTIAL, "the endpoint for %s cannot be used: write https://HOST", r->uri.profile);
    size_t n = strlen(rest);
    while (n && rest[n - 1] == '/')
        n--;
    a->base = strndup(rest, n);
    return a->base ? 0 : no_memory(err);
}

static int azure_open(struct remote *r, osmo_error_t *err) {
    const struct data_environment *e = r->session->o.environment;
    struct azure *a = r->state = calloc(1, sizeof *a);
    if (!a)
        return no_memory(err);
    const char *text = r->credential && r->credential->access_key ? r->credential->access_key : e ? e->azure_connection_string : NULL;
    int rc = text && *text ? azure_connection_parse(text, &a->c, err) : 0;
    if (!rc && a->c.account && a->c.key && strcmp(a->c.account, r->uri.host) != 0)
        rc = osmo_error_set(err, OSMO_ECREDENTIAL, "the connection string for %s is of another account", r->uri.profile);
    return rc ? rc : choose_endpoint(r, a, err);
}

/* ---- a request ---- */

static int put_line(strlist_t *l, const char *name, const char *value) {
    _cleanup_free_ char *line = str_printf("%s: %s", name, value);
    return line ? strlist_add(l, line) : OSMO_ENOMEM;
}

static int add_headers(struct remote *r, const struct call *c, strlist_t *headers) {
    const struct sink *s = c->sink;
    char date[40], text[64];
    pthread_mutex_lock(&r->lock);
    int64_t skew = r->skew_us;
    pthread_mutex_unlock(&r->lock);
    remote_http_date_text(clock_now_us() + skew, date);
    int rc = put_line(headers, "x-ms-date", date);
    if (!rc)
        rc = strlist_add(headers, VERSION_LINE);
    for (size_t i = 0; !rc && i < c->nheaders; i++)
        rc = strlist_add(headers, c->headers[i]);
    if (!rc && s && s->etag && *s->etag) {
        _cleanup_free_ char *quoted = str_printf("\"%s\"", s->etag);
        rc = quoted ? put_line(headers, "If-Match", quoted) : OSMO_ENOMEM;
    }
    if (!rc && s && (!s->whole || s->done)) {
        snprintf(text, sizeof text, "bytes=%llu-%llu", (unsigned long long)(s->offset + s->done),
                 (unsigned long long)(s->offset + s->len - 1));
        rc = put_line(headers, "Range", text);
    }
    if (!rc && c->source && c->source->sums.has_md5) {
        _cleanup_buf_ buf_t md5 = BUF_INIT(64);
        rc = crypto_base64(c->source->sums.md5, 16, &md5);
        rc = rc ? rc : put_line(headers, "Content-MD5", md5.data);
    }
    return rc;
}

static int sign(struct remote *r, const struct call *c, const char *path, strlist_t *headers, osmo_error_t *err) {
    struct azure *a = r->state;
    _cleanup_buf_ buf_t value = BUF_SECRET(1024);
    char **lines = calloc(headers->len + 1, sizeof *lines);
    if (!lines)
        return no_memory(err);
    memcpy(lines, headers->items, headers->len * sizeof *lines);
    struct azure_input in = { .method = c->method, .account = a->c.account, .key = a->c.key, .path = path,
                              .query = c->query, .nquery = c->nquery,
                              .headers = (const char *const *)lines, .length = c->source ? c->source->len : c->body ? c->body_len : 0 };
    int rc = azure_authorization(&in, &value, err);
    free(lines);
    return rc ? rc : put_line(headers, "Authorization", value.data) < 0 ? no_memory(err) : 0;
}

static int azure_build(struct remote *r, const struct call *c, buf_t *url, strlist_t *headers, osmo_error_t *err) {
    struct azure *a = r->state;
    bool usual = a->parts.port == (strcmp(a->parts.scheme, "https") ? 80 : 443), literal = strchr(a->parts.host, ':');
    buf_printf(url, "%s://%s%s%s", a->parts.scheme, literal ? "[" : "", a->parts.host, literal ? "]" : "");
    if (!usual)
        buf_printf(url, ":%d", a->parts.port);
    size_t start = url->len;
    buf_printf(url, "%s/%s", a->base, r->uri.bucket);
    if (c->key && (buf_putc(url, '/') < 0 || remote_encode_path(c->key, url) < 0))
        return osmo_error_set(err, OSMO_ELIMIT, "a part of the name is longer than 1024 bytes");
    _cleanup_free_ char *path = buf_failed(url) ? NULL : strdup(url->data + start);
    if (!path)
        return buf_failed(url) ? osmo_error_set(err, url->code, "the name is too long") : no_memory(err);
    if (c->nquery) {
        buf_putc(url, '?');
        sigv4_query(c->query, c->nquery, url);
    }
    if (a->c.sas && !a->c.key)
        buf_printf(url, "%c%s", c->nquery ? '&' : '?', a->c.sas);
    if (add_headers(r, c, headers) < 0)
        return no_memory(err);
    return a->c.key ? sign(r, c, path, headers, err) : 0;
}

static int azure_refused(struct remote *r, const struct call *c, const http_response_t *rs, osmo_error_t *err) {
    struct azure *a = r->state;
    _cleanup_free_ char *inside = rs->body.len ? xml_find(rs->body.data, rs->body.len, "Code") : NULL;
    _cleanup_free_ char *message = rs->body.len ? xml_find(rs->body.data, rs->body.len, "Message") : NULL;
    const char *header = http_response_header(rs, "x-ms-error-code"), *code = header ? header : inside;
    osmo_error_t local = OSMO_ERROR_INIT, *e = err ? err : &local;
    (void)c;
    if (message)
        message[strcspn(message, "\r\n")] = '\0'; /* numbers of their logs follow */
    int rc = remote_refusal(r, rs->status, code, message, e);
    if (code && !strcmp(code, "AuthenticationFailed") && remote_learn_time(r, rs))
        return 1;
    if (remote_status_passes(rs->status))
        return 2;
    if (code && (!strcmp(code, "Md5Mismatch") || !strcmp(code, "InvalidMd5")))
        return osmo_error_set(e, OSMO_EBUSY, "the storage received something else than what was read: did the file change meanwhile?");
    const char *remedy = NULL;
    if (code && (!strcmp(code, "AuthenticationFailed") || !strcmp(code, "InvalidAuthenticationInfo"))) {
        rc = OSMO_ECREDENTIAL;
        remedy = "check the connection string in the access_key of its credential, and this machine's clock";
    } else if (code && !strcmp(code, "ContainerNotFound")) {
        remedy = "make the container, or correct the address";
    } else if (!a->c.key && !a->c.sas && (rs->status == 401 || rs->status == 403 || rs->status == 404 || rs->status == 409)) {
        remedy = "there is no credential for it: set one with 'osmo credential set'";
    } else if (rc == OSMO_EDENIED) {
        remedy = "check what its credential may do";
    }
    osmo_error_t old = *e;
    return remedy ? osmo_error_set(e, rc, "%.600s: %s", old.text, remedy) : rc;
}

/* ---- objects ---- */

static int bad_answer(const struct remote *r, osmo_error_t *err) {
    return osmo_error_set(err, OSMO_EIO, "%s sent an answer that makes no sense: is it Azure's storage?", r->uri.profile);
}

static void take_etag(const char *text, char out[REMOTE_ETAG_MAX]) {
    snprintf(out, REMOTE_ETAG_MAX, "%.*s", (int)strcspn(text + (*text == '"'), "\""), text + (*text == '"'));
}

/* "" when it is none. */
static void take_md5(const char *base64, char out[33]) {
    _cleanup_buf_ buf_t raw = BUF_INIT(64);
    out[0] = '\0';
    if (base64 && crypto_base64_decode(base64, strlen(base64), &raw, NULL) == 0 && raw.len == 16)
        hex_text((const uint8_t *)raw.data, 16, out);
}

static int azure_stat(struct data_conn *c, struct remote *r, const char *key, struct remote_info *out, osmo_error_t *err) {
    struct call call = { .method = "HEAD", .key = key, .missing_ok = true };
    http_response_t rs;
    int64_t size = 0;
    memset(out, 0, sizeof *out);
    out->mode = REMOTE_MODE_NONE;
    int rc = remote_call(c, r, &call, &rs, err);
    if (!rc && rs.status == 404)
        rc = osmo_error_set(err, OSMO_ENOTFOUND, "%s has no object %s", r->uri.profile, key);
    const char *length = rc ? NULL : http_response_header(&rs, "Content-Length"), *etag = rc ? NULL : http_response_header(&rs, "ETag");
    if (!rc && (!length || !str_to_i64(length, &size) || size < 0))
        rc = bad_answer(r, err);
    if (!rc) {
        out->size = (uint64_t)size;
        take_etag(etag ? etag : "", out->etag);
        take_md5(http_response_header(&rs, "Content-MD5"), out->md5);
        out->modified_us = remote_http_date(http_response_header(&rs, "Last-Modified"));
    }
    http_response_free(&rs);
    return rc;
}

static int azure_get(struct data_conn *c, struct remote *r, const char *key, struct sink *s, osmo_error_t *err) {
    struct call call = { .method = "GET", .key = key, .sink = s };
    http_response_t rs;
    int rc = remote_call(c, r, &call, &rs, err);
    http_response_free(&rs);
    return rc;
}

static int azure_put(struct data_conn *c, struct remote *r, const char *key, const struct source *s, osmo_error_t *err) {
    struct call call = { .method = "PUT", .key = key, .source = s };
    http_response_t rs;
    call_header(&call, "Content-Type: application/octet-stream");
    call_header(&call, "x-ms-blob-type: BlockBlob");
    int rc = remote_call(c, r, &call, &rs, err);
    http_response_free(&rs);
    return rc;
}

/* ---- blocks ---- */

/* All names of a blob's blocks must be of one length. */
static int block_name(const char *id, unsigned number, const uint8_t md5[16], buf_t *out) {
    uint8_t raw[BLOCK_BYTES] = { 0 };
    for (size_t i = 0; i < 4; i++) {
        unsigned byte = 0;
        sscanf(id + 2 * i, "%2x", &byte);
        raw[i] = (uint8_t)byte;
        raw[4 + i] = (uint8_t)(number >> (24 - 8 * i));
    }
    memcpy(raw + 8, md5, 16);
    return crypto_base64(raw, sizeof raw, out);
}

static void md5_bytes(const char *hex, uint8_t out[16]) {
    for (size_t i = 0; i < 16; i++) {
        unsigned byte = 0;
        sscanf(hex + 2 * i, "%2x", &byte);
        out[i] = (uint8_t)byte;
    }
}

static int azure_begin(struct data_conn *c, struct remote *r, const char *key, char id[REMOTE_ID_MAX], osmo_error_t *err) {
    char text[33];
    (void)c;
    (void)r;
    (void)key;
    if (crypto_random_hex32(text) < 0)
        return osmo_error_set(err, OSMO_EIO, "cannot read random bytes from the system");
    snprintf(id, REMOTE_ID_MAX, "%.8s", text);
    return 0;
}

static int azure_part(struct data_conn *c, struct remote *r, const char *key, const char *id, unsigned number, const struct source *s,
                      char etag[REMOTE_ETAG_MAX], osmo_error_t *err) {
    struct call call = { .method = "PUT", .key = key, .source = s };
    _cleanup_buf_ buf_t name = BUF_INIT(128);
    http_response_t rs;
    if (block_name(id, number, s->sums.md5, &name) < 0)
        return no_memory(err);
    call_header(&call, "Content-Type: application/octet-stream");
    call_query(&call, "comp", "block");
    call_query(&call, "blockid", name.data);
    int rc = remote_call(c, r, &call, &rs, err);
    http_response_free(&rs);
    if (!rc)
        hex_text(s->sums.md5, 16, etag);
    return rc;
}

static int azure_finish(struct data_conn *c, struct remote *r, const char *key, const char *id, const struct part *parts, size_t n,
                        osmo_error_t *err) {
    struct call call = { .method = "PUT", .key = key };
    _cleanup_buf_ buf_t body = BUF_INIT(8u << 20);
    uint8_t md5[16];
    http_response_t rs;
    buf_puts(&body, "<?xml version=\"1.0\" encoding=\"utf-8\"?><BlockList>");
    for (size_t i = 0; i < n; i++) {
        md5_bytes(parts[i].etag, md5);
        buf_puts(&body, "<Latest>");
        block_name(id, parts[i].number, md5, &body);
        buf_puts(&body, "</Latest>");
    }
    if (buf_puts(&body, "</BlockList>") < 0)
        return no_memory(err);
    call.body = body.data;
    call.body_len = body.len;
    call_header(&call, "Content-Type: application/xml");
    call_query(&call, "comp", "blocklist");
    int rc = remote_call(c, r, &call, &rs, err);
    http_response_free(&rs);
    return rc;
}

/* Blocks that are never put together are forgotten by the storage after a week. */
static int azure_abandon(struct data_conn *c, struct remote *r, const char *key, const char *id, osmo_error_t *err) {
    (void)c;
    (void)r;
    (void)key;
    (void)id;
    (void)err;
    return 0;
}

static void take_block(const char *id, const buf_t *name, const buf_t *size, struct part *parts, size_t n) {
    _cleanup_buf_ buf_t raw = BUF_INIT(128);
    int64_t bytes;
    char upload[9];
    if (!name->data || crypto_base64_decode(name->data, name->len, &raw, NULL) < 0 || raw.len != BLOCK_BYTES || !size->data ||
        !str_to_i64(size->data, &bytes) || bytes < 0)
        return;
    const uint8_t *p = (const uint8_t *)raw.data;
    hex_text(p, 4, upload);
    uint32_t number = (uint32_t)p[4] << 24 | (uint32_t)p[5] << 16 | (uint32_t)p[6] << 8 | p[7];
    if (strcmp(upload, id) != 0 || number < 1 || number > n)
        return;
    parts[number - 1] = (struct part){ .number = number, .size = (uint64_t)bytes };
    hex_text(p + 8, 16, parts[number - 1].etag);
}

static int azure_parts_there(struct data_conn *c, struct remote *r, const char *key, const char *id, struct part *parts, size_t n,
                             osmo_error_t *err) {
    struct call call = { .method = "GET", .key = key, .max_response = REMOTE_LIST_BYTES_MAX, .missing_ok = true };
    _cleanup_buf_ buf_t name = BUF_INIT(256), size = BUF_INIT(64);
    http_response_t rs;
    xml_reader_t x;
    struct xml_name element;
    enum xml_event e;
    call_query(&call, "comp", "blocklist");
    call_query(&call, "blocklisttype", "uncommitted");
    int rc = remote_call(c, r, &call, &rs, err);
    bool told = !rc && rs.status != 404 && rs.body.data;
    xml_begin(&x, told ? rs.body.data : "<a/>", told ? rs.body.len : 4);
    while (!rc && ((e = xml_next(&x, &element)) == XML_OPEN || e == XML_CLOSE)) {
        bool is_name = xml_is(&element, "Name"), is_size = xml_is(&element, "Size");
        if (e == XML_OPEN && (is_name || is_size)) {
            buf_t *into = is_name ? &name : &size;
            buf_reset(into);
            if (xml_text(&x, into) < 0)
                break;
        } else if (e == XML_CLOSE && xml_is(&element, "Block")) {
            take_block(id, &name, &size, parts, n);
        }
    }
    http_response_free(&rs);
    return rc;
}

/* ---- lists ---- */

struct blob { buf_t name, etag, size, modified, md5; };

static buf_t *field_of(struct blob *b, const struct xml_name *n) {
    return xml_is(n, "Name") ? &b->name : xml_is(n, "Etag") ? &b->etag : xml_is(n, "Content-Length") ? &b->size
           : xml_is(n, "Last-Modified") ? &b->modified : xml_is(n, "Content-MD5") ? &b->md5 : NULL;
}

static void blob_reset(struct blob *b) {
    buf_reset(&b->name), buf_reset(&b->etag), buf_reset(&b->size), buf_reset(&b->modified), buf_reset(&b->md5);
}

static int tell(struct blob *b, bool prefix, remote_entry_fn fn, void *ctx, osmo_error_t *err) {
    char etag[REMOTE_ETAG_MAX], md5[33];
    int64_t size = 0;
    if (!b->name.len || memchr(b->name.data, '\0', b->name.len) ||
        (!prefix && (!b->size.data || !str_to_i64(b->size.data, &size) || size < 0)))
        return osmo_error_set(err, OSMO_EIO, "the list has a blob that cannot be read");
    take_etag(buf_cstr(&b->etag), etag);
    take_md5(b->md5.data, md5);
    struct remote_entry e = { .key = b->name.data, .etag = etag, .md5 = *md5 ? md5 : NULL, .size = (uint64_t)size, .mode = REMOTE_MODE_NONE,
                              .is_prefix = prefix, .modified_us = b->modified.data ? remote_http_date(b->modified.data) : 0 };
    return fn(ctx, &e, err);
}

/* One <Blob> or <BlobPrefix>, with what is in it at any depth. */
static int read_blob(xml_reader_t *x, struct blob *b) {
    int depth = x->depth;
    struct xml_name n;
    blob_reset(b);
    while (x->depth >= depth) {
        enum xml_event e = xml_next(x, &n);
        if (e == XML_FAULT || e == XML_END)
            return OSMO_EINVAL;
        buf_t *into = e == XML_OPEN ? field_of(b, &n) : NULL;
        if (into && xml_text(x, into) < 0)
            return OSMO_EINVAL;
    }
    return 0;
}

static int read_page(const struct remote *r, const http_response_t *rs, struct blob *b, remote_entry_fn fn, void *ctx, osmo_error_t *err) {
    xml_reader_t x;
    struct xml_name n;
    enum xml_event e;
    xml_begin(&x, rs->body.data ? rs->body.data : "", rs->body.len);
    if (xml_next(&x, &n) != XML_OPEN || !xml_is(&n, "EnumerationResults"))
        return bad_answer(r, err);
    while ((e = xml_next(&x, &n)) == XML_OPEN || e == XML_CLOSE) {
        bool prefix = xml_is(&n, "BlobPrefix");
        if (e == XML_CLOSE || (!prefix && !xml_is(&n, "Blob")))
            continue;
        if (read_blob(&x, b) < 0)
            return bad_answer(r, err);
        int rc = tell(b, prefix, fn, ctx, err);
        if (rc)
            return rc;
    }
    return e == XML_END ? 0 : bad_answer(r, err);
}

static int azure_list(struct data_conn *c, struct remote *r, const char *prefix, bool deep, remote_entry_fn fn,
                      void *ctx, osmo_error_t *err) {
    struct blob b = { BUF_INIT(NAME_BYTES_MAX), BUF_INIT(256), BUF_INIT(64), BUF_INIT(64), BUF_INIT(64) };
    _cleanup_free_ char *marker = NULL;
    int rc = 0;
    do {
        struct call call = { .method = "GET", .max_response = REMOTE_LIST_BYTES_MAX };
        http_response_t rs;
        call_query(&call, "restype", "container");
        call_query(&call, "comp", "list");
        call_query(&call, "prefix", *prefix ? prefix : NULL);
        call_query(&call, "delimiter", deep ? NULL : "/");
        call_query(&call, "marker", marker);
        rc = remote_call(c, r, &call, &rs, err);
        if (!rc)
            rc = read_page(r, &rs, &b, fn, ctx, err);
        free(marker);
        marker = rc ? NULL : xml_find(rs.body.data ? rs.body.data : "", rs.body.len, "NextMarker");
        http_response_free(&rs);
    } while (!rc && marker && *marker);
    buf_free(&b.name), buf_free(&b.etag), buf_free(&b.size), buf_free(&b.modified), buf_free(&b.md5);
    return rc > 0 ? 0 : rc;
}

/* ---- removing, access ---- */

static int remove_one(struct data_conn *c, struct remote *r, const char *key, osmo_error_t *err) {
    struct call call = { .method = "DELETE", .key = key };
    http_response_t rs;
    osmo_error_t why = OSMO_ERROR_INIT;
    int rc = remote_call(c, r, &call, &rs, &why);
    http_response_free(&rs);
    return !rc || (rc == OSMO_ENOTFOUND && !strstr(why.text, "ContainerNotFound")) ? 0 : osmo_error_set(err, rc, "%s", why.text);
}

static int azure_remove(struct data_conn *c, struct remote *r, char *const *keys, size_t n, osmo_error_t *err) {
    int rc = 0;
    for (size_t i = 0; !rc && i < n; i++)
        rc = remove_one(c, r, keys[i], err);
    return rc;
}

/* Nobody sees what is left: a block of no blob, which is forgotten after a week. */
static int azure_check(struct data_conn *c, struct remote *r, enum data_access access, osmo_error_t *err) {
    char id[33], upload[REMOTE_ID_MAX], etag[REMOTE_ETAG_MAX];
    struct source one = { .fd = -1, .memory = "x", .len = 1 };
    if (access == DATA_READ)
        return azure_list(c, r, r->uri.path, false, remote_stop_at_first, NULL, err);
    if (crypto_random_hex32(id) < 0)
        return osmo_error_set(err, OSMO_EIO, "cannot read random bytes from the system");
    _cleanup_free_ char *key = str_printf("%s%s.osmo-access-check-%s", r->uri.path, *r->uri.path ? "/" : "", id);
    if (!key)
        return no_memory(err);
    if (access == DATA_DELETE)
        return remove_one(c, r, key, err);
    int rc = azure_begin(c, r, key, upload, err);
    return rc ? rc : azure_part(c, r, key, upload, 1, &one, etag, err);
}

const struct data_driver azure_driver = {
    .schemes = { DATA_AZURE }, .nschemes = 1,
    .ranges = true, .parts = true, .keyed = true, .md5 = true, .part_min = 1u << 20, .parts_max = 50000, .delete_batch = 16,
    .open = azure_open, .close = azure_close, .build = azure_build, .refused = azure_refused,
    .stat = azure_stat, .list = azure_list, .get = azure_get, .put = azure_put, .begin = azure_begin, .part = azure_part,
    .finish = azure_finish, .abandon = azure_abandon, .parts_there = azure_parts_there, .remove = azure_remove, .check = azure_check,
};
