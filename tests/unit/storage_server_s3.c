/* The S3 half of the storage server; path style, ListObjectsV2, parts, batches of removals. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "base/http.h"
#include "data/sigv4.h"
#include "data/xml.h"
#include "storage_server_int.h"

/* ---- who asks ---- */

static bool body_is_sound(const struct server_request *rq, struct server_answer *a) {
    const char *md5 = request_header(rq, "Content-MD5"), *sha = request_header(rq, "x-amz-content-sha256");
    char hex[65], text[64];
    buf_t raw = BUF_INIT(64);
    md5_hex(rq->body, rq->len, hex);
    text[0] = '\0';
    if (md5 && crypto_base64_decode(md5, strlen(md5), &raw, NULL) == 0 && raw.len == 16)
        for (size_t i = 0; i < 16; i++)
            snprintf(text + 2 * i, 3, "%02x", (unsigned char)raw.data[i]);
    buf_free(&raw);
    if (md5 && strcmp(text, hex) != 0) {
        answer_error(a, 400, "BadDigest");
        return false;
    }
    crypto_sha256_hex(rq->body, rq->len, hex);
    if (!sha || (strcmp(sha, SIGV4_UNSIGNED) != 0 && strcmp(sha, hex) != 0)) {
        answer_error(a, 400, "XAmzContentSHA256Mismatch");
        return false;
    }
    return true;
}

/* Signs the request again, with what it says was signed. */
static bool signature_is_right(const struct server_request *rq, const char *auth) {
    char names[512], region[64], *save = NULL;
    const char *lines[32] = { NULL };
    struct sigv4_pair query[16];
    char *owned[32] = { NULL };
    size_t n = 0, q = 0, o = 0;
    if (sscanf(auth, "AWS4-HMAC-SHA256 Credential=" STORAGE_KEY_ID "/%*8s/%63[^/]/s3/aws4_request, "
                                                                   "SignedHeaders=%511[^,],", region, names) != 2 &&
        sscanf(strstr(auth, "Credential=") ? strstr(auth, "Credential=") : "",
               "Credential=" STORAGE_KEY_ID "/%*[0-9]/%63[^/]/s3/aws4_request, SignedHeaders=%511[^,],",
               region, names) != 2)
        return false;
    for (char *name = strtok_r(names, ";", &save); name && n < 31; name = strtok_r(NULL, ";", &save))
        for (size_t i = 0; i < rq->headers.len; i++)
            if (!strncasecmp(rq->headers.items[i], name, strlen(name)) && rq->headers.items[i][strlen(name)] == ':')
                lines[n++] = rq->headers.items[i];
    for (const char *p = rq->query; p && *p && q < 15; p += strcspn(p, "&"), p += *p == '&') {
        size_t key = strcspn(p, "=&");
        query[q].name = owned[o++] = strndup(p, key);
        query[q].value = owned[o++] = request_query(rq, query[q].name);
        q++;
    }
    _cleanup_buf_ buf_t want = BUF_INIT(4096);
    char *path = strndup(rq->target, strcspn(rq->target, "?"));
    struct sigv4_input in = { .method = rq->method, .path = path, .query = query, .nquery = q, .headers = lines,
                              .region = region, .service = "s3",
                              .payload = request_header(rq, "x-amz-content-sha256"), .date = request_header(rq, "x-amz-date"),
                              .access_key_id = STORAGE_KEY_ID, .access_key = STORAGE_KEY };
    bool right = in.payload && in.date && sigv4_authorization(&in, &want) == 0 && !strcmp(want.data, auth);
    for (size_t i = 0; i < o; i++)
        free(owned[i]);
    free(path);
    return right;
}

static bool clock_is_right(storage_server_t *s, const struct server_request *rq) {
    const char *date = request_header(rq, "x-amz-date");
    char iso[40];
    int64_t us;
    if (!date || strlen(date) != 16)
        return false;
    snprintf(iso, sizeof iso, "%.4s-%.2s-%.2sT%.2s:%.2s:%.2sZ", date, date + 4, date + 6, date + 9, date + 11, date + 13);
    int64_t off = time_parse(iso, &us) ? us - clock_now_us() - s->clock_offset_us : INT64_MAX;
    return off > -900 * INT64_C(1000000) && off < 900 * INT64_C(1000000);
}

static bool may(storage_server_t *s, const struct server_request *rq, struct server_answer *a) {
    const char *auth = request_header(rq, "Authorization");
    if (str_starts(rq->path, "/public"))
        return true;
    if (!auth)
        answer_error(a, 403, "AccessDenied");
    else if (!strstr(auth, "Credential=" STORAGE_KEY_ID "/"))
        answer_error(a, 403, "InvalidAccessKeyId");
    else if (!clock_is_right(s, rq))
        answer_error(a, 403, "RequestTimeTooSkewed");
    else if (!signature_is_right(rq, auth))
        answer_error(a, 403, "SignatureDoesNotMatch");
    else if (str_starts(rq->path, "/nobucket"))
        answer_error(a, 404, "NoSuchBucket");
    else if (str_starts(rq->path, "/readonly") && strcmp(rq->method, "GET") != 0 && strcmp(rq->method, "HEAD") != 0)
        answer_error(a, 403, "AccessDenied");
    else
        return true;
    return false;
}

/* ---- lists ---- */

static void put_key(struct server_answer *a, const char *tag, const char *key) {
    buf_t b = BUF_INIT(1 << 16);
    url_encode(key, &b);
    buf_printf(&a->body, "<%s>%s</%s>", tag, buf_cstr(&b), tag);
    buf_free(&b);
}

static void list(storage_server_t *s, const char *bucket, const struct server_request *rq, struct server_answer *a) {
    char *prefix = request_query(rq, "prefix"), *delimiter = request_query(rq, "delimiter"), *token =
        request_query(rq, "continuation-token");
    char *full = str_printf("%s/%s", bucket, prefix ? prefix : ""), *last = strdup(""), *common = strdup("");
    size_t n = 0, skip = strlen(bucket) + 1;
    bool truncated = false;
    a->status = 200;
    buf_puts(&a->body, "<?xml version=\"1.0\" encoding=\"UTF-8\"?>\n<ListBucketResult xmlns=\"http://s3.amazonaws.com/doc/2006-03-01/\">");
    for (size_t i = 0; i < s->nobjects && !truncated; i++) {
        const char *path = s->objects[i].path, *slash = delimiter && str_starts(path, full) ? strchr(path + strlen(full), '/') : NULL;
        if (!str_starts(path, full) || (token && strcmp(path, token) <= 0) || (*common && str_starts(path, common)))
            continue;
        if (n == s->page) {
            truncated = true;
            break;
        }
        n++;
        free(last);
        if (slash) {
            free(common);
            common = strndup(path, (size_t)(slash - path) + 1);
            last = str_printf("%s\xff", common);
            buf_puts(&a->body, "<CommonPrefixes>");
            put_key(a, "Prefix", common + skip);
            buf_puts(&a->body, "</CommonPrefixes>");
            continue;
        }
        last = strdup(path);
        buf_puts(&a->body, "<Contents>");
        put_key(a, "Key", path + skip);
        buf_printf(&a->body, "<LastModified>2013-05-24T00:00:00.000Z</LastModified><ETag>&quot;%s&quot;</ETag><Size>%zu</Size>"
                             "<Owner><ID>x</ID></Owner></Contents>", s->objects[i].etag, s->objects[i].len);
    }
    buf_printf(&a->body, "<EncodingType>url</EncodingType><IsTruncated>%s</IsTruncated>", truncated ? "true" : "false");
    if (truncated) {
        buf_puts(&a->body, "<NextContinuationToken>");
        xml_escape(last, &a->body);
        buf_puts(&a->body, "</NextContinuationToken>");
    }
    buf_puts(&a->body, "</ListBucketResult>");
    free(prefix), free(delimiter), free(token), free(full), free(last), free(common);
}

/* ---- parts ---- */

static void begin(storage_server_t *s, const char *path, struct server_answer *a) {
    struct upload *u = &s->uploads[s->nuploads++];
    *u = (struct upload){ .path = strdup(path) };
    crypto_random_hex32(u->id);
    a->status = 200;
    buf_printf(&a->body, "<InitiateMultipartUploadResult><UploadId>%s</UploadId></InitiateMultipartUploadResult>", u->id);
}

static void take_part(struct upload *u, const struct server_request *rq, struct server_answer *a) {
    char *text = request_query(rq, "partNumber"), quoted[64];
    size_t n = strtoul(text, NULL, 10) - 1;
    free(text);
    if (n >= 64) {
        answer_error(a, 400, "InvalidArgument");
        return;
    }
    free(u->parts[n].data);
    u->parts[n].data = malloc(rq->len + 1);
    memcpy(u->parts[n].data, rq->body, rq->len);
    u->parts[n].len = rq->len;
    md5_hex(rq->body, rq->len, u->parts[n].etag);
    snprintf(quoted, sizeof quoted, "\"%s\"", u->parts[n].etag);
    answer_text(a, "ETag", quoted);
    a->status = 200;
}

static void list_parts(const struct upload *u, struct server_answer *a) {
    a->status = 200;
    buf_puts(&a->body, "<ListPartsResult>");
    for (size_t i = 0; i < 64; i++)
        if (u->parts[i].data)
            buf_printf(&a->body, "<Part><PartNumber>%zu</PartNumber><ETag>\"%s\"</ETag><Size>%zu</Size></Part>", i + 1, u->parts[i].etag,
                       u->parts[i].len);
    buf_puts(&a->body, "<IsTruncated>false</IsTruncated></ListPartsResult>");
}

static void complete(storage_server_t *s, struct upload *u, struct server_answer *a) {
    buf_t all = BUF_INIT(64u << 20), sums = BUF_INIT(4096);
    size_t n = 0;
    char hex[33];
    for (; n < 64 && u->parts[n].data; n++) {
        buf_append(&all, u->parts[n].data, u->parts[n].len);
        for (size_t k = 0; k < 16; k++) {
            unsigned byte;
            sscanf(u->parts[n].etag + 2 * k, "%2x", &byte);
            buf_putc(&sums, (char)byte);
        }
    }
    struct object *o = store_object(s, u->path, all.data, all.len);
    md5_hex(sums.data, sums.len, hex);
    snprintf(o->etag, sizeof o->etag, "%s-%zu", hex, n);
    a->status = 200;
    buf_printf(&a->body, "<CompleteMultipartUploadResult><ETag>&quot;%s&quot;</ETag></CompleteMultipartUploadResult>", o->etag);
    buf_free(&all);
    buf_free(&sums);
    drop_upload(s, u);
}

static void list_uploads(storage_server_t *s, const char *bucket, struct server_answer *a) {
    a->status = 200;
    buf_puts(&a->body, "<ListMultipartUploadsResult><IsTruncated>false</IsTruncated>");
    for (size_t i = 0; i < s->nuploads; i++)
        buf_printf(&a->body, "<Upload><Key>%s</Key><UploadId>%s</UploadId><Initiated>%s</Initiated></Upload>",
                   s->uploads[i].path + strlen(bucket) + 1,
                   s->uploads[i].id, s->old_uploads ? "2013-05-24T00:00:00.000Z" : "2100-01-01T00:00:00.000Z");
    buf_puts(&a->body, "</ListMultipartUploadsResult>");
}

/* ---- removals ---- */

static void remove_many(storage_server_t *s, const char *bucket, const struct server_request *rq, struct server_answer *a) {
    xml_reader_t x;
    struct xml_name n;
    enum xml_event e;
    if (s->no_batch || !request_header(rq, "Content-MD5")) {
        answer_error(a, 400, "InvalidRequest");
        return;
    }
    xml_begin(&x, rq->body, rq->len);
    while ((e = xml_next(&x, &n)) == XML_OPEN || e == XML_CLOSE) {
        if (e != XML_OPEN || !xml_is(&n, "Key"))
            continue;
        buf_t key = BUF_INIT(1 << 16);
        buf_printf(&key, "%s/", bucket);
        xml_text(&x, &key);
        struct object *o = find_object(s, key.data);
        if (o)
            drop_object(s, o);
        buf_free(&key);
    }
    a->status = 200;
    buf_puts(&a->body, "<DeleteResult></DeleteResult>");
}

/* ---- one object ---- */

static uint64_t first_part(const struct object *o) { /* parts of the tests are of one size but the last */
    unsigned n = strchr(o->etag, '-') ? (unsigned)strtoul(strchr(o->etag, '-') + 1, NULL, 10) : 0;
    return n ? 5u << 20 : o->len;
}

static void object_request(storage_server_t *s, const char *path, const struct server_request *rq, struct server_answer *a) {
    struct object *o = find_object(s, path);
    char *part = request_query(rq, "partNumber"), quoted[96];
    if (!strcmp(rq->method, "PUT")) {
        o = store_object(s, path, rq->body, rq->len);
        snprintf(quoted, sizeof quoted, "\"%s\"", o->etag);
        answer_text(a, "ETag", quoted);
        a->status = 200;
    } else if (!strcmp(rq->method, "DELETE")) {
        if (o)
            drop_object(s, o);
        a->status = 204;
    } else if (!o) {
        answer_error(a, 404, "NoSuchKey");
    } else {
        send_object(s, rq, o, a);
        if (a->head && part && a->body.len > first_part(o))
            buf_truncate(&a->body, first_part(o));
    }
    free(part);
}

void s3_answer(storage_server_t *s, const struct server_request *rq, struct server_answer *a) {
    const char *path = rq->path + 1, *slash = strchr(path, '/');
    char *bucket = strndup(path, slash ? (size_t)(slash - path) : strlen(path)), *id = request_query(rq, "uploadId");
    char *uploads = request_query(rq, "uploads"), *batch = request_query(rq, "delete");
    struct upload *u = find_upload(s, id);
    if (!may(s, rq, a) || ((!strcmp(rq->method, "PUT") || !strcmp(rq->method, "POST")) && !body_is_sound(rq, a)))
        ;
    else if (id && !u)
        answer_error(a, 404, "NoSuchUpload");
    else if (u && !strcmp(rq->method, "PUT"))
        take_part(u, rq, a);
    else if (u && !strcmp(rq->method, "GET"))
        list_parts(u, a);
    else if (u && !strcmp(rq->method, "POST"))
        complete(s, u, a);
    else if (u)
        drop_upload(s, u), a->status = 204;
    else if (uploads && !strcmp(rq->method, "POST"))
        begin(s, path, a);
    else if (uploads)
        list_uploads(s, bucket, a);
    else if (batch)
        remove_many(s, bucket, rq, a);
    else if (!slash || !slash[1])
        list(s, bucket, rq, a);
    else
        object_request(s, path, rq, a);
    free(bucket), free(id), free(uploads), free(batch);
}
