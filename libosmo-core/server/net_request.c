/* Requests: from the header table of libwebsockets to a struct exchange, and the collection of bodies. Network thread. */
#include <fcntl.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "base/file.h"
#include "base/http.h"
#include "server/net.h"

#define VALUE_MAX (32u << 10) /* less than the scratch buffer has */

static const struct { enum lws_token_indexes token; const char *method; } methods[] = {
    { WSI_TOKEN_GET_URI, "GET" }, { WSI_TOKEN_POST_URI, "POST" }, { WSI_TOKEN_PUT_URI, "PUT" },
    { WSI_TOKEN_PATCH_URI, "PATCH" }, { WSI_TOKEN_DELETE_URI, "DELETE" }, { WSI_TOKEN_HEAD_URI, "HEAD" },
    { WSI_TOKEN_OPTIONS_URI, "OPTIONS" },
};

/* 4.1.6 cannot enumerate headers: these are the ones that somebody behind us may want. */
static const struct { enum lws_token_indexes token; const char *name; } known[] = {
    { WSI_TOKEN_HOST, "host" }, { WSI_TOKEN_ORIGIN, "origin" }, { WSI_TOKEN_HTTP_ACCEPT, "accept" },
    { WSI_TOKEN_HTTP_ACCEPT_ENCODING, "accept-encoding" }, { WSI_TOKEN_HTTP_ACCEPT_LANGUAGE, "accept-language" },
    { WSI_TOKEN_HTTP_AUTHORIZATION, "authorization" }, { WSI_TOKEN_HTTP_COOKIE, "cookie" },
    { WSI_TOKEN_HTTP_CONTENT_LENGTH, "content-length" }, { WSI_TOKEN_HTTP_CONTENT_TYPE, "content-type" },
    { WSI_TOKEN_HTTP_CONTENT_ENCODING, "content-encoding" }, { WSI_TOKEN_HTTP_CONTENT_RANGE, "content-range" },
    { WSI_TOKEN_HTTP_RANGE, "range" }, { WSI_TOKEN_HTTP_IF_RANGE, "if-range" }, { WSI_TOKEN_HTTP_IF_MATCH, "if-match" },
    { WSI_TOKEN_HTTP_IF_NONE_MATCH, "if-none-match" }, { WSI_TOKEN_HTTP_IF_MODIFIED_SINCE, "if-modified-since" },
    { WSI_TOKEN_HTTP_CACHE_CONTROL, "cache-control" }, { WSI_TOKEN_HTTP_REFERER, "referer" },
    { WSI_TOKEN_HTTP_USER_AGENT, "user-agent" }, { WSI_TOKEN_CONNECTION, "connection" },
    { WSI_TOKEN_HTTP_TRANSFER_ENCODING, "transfer-encoding" }, { WSI_TOKEN_HTTP_EXPECT, "expect" },
    { WSI_TOKEN_X_FORWARDED_FOR, "x-forwarded-for" }, { WSI_TOKEN_HTTP_X_REAL_IP, "x-real-ip" },
    { WSI_TOKEN_PROTOCOL, "sec-websocket-protocol" }, { WSI_TOKEN_HTTP_AC_REQUEST_HEADERS, "access-control-request-headers" },
};

static const char *const custom[] = {
    "x-osmo-user", "x-osmo-roles", "x-osmo-auth", "x-osmo-token-name", "x-osmo-workflow-id", "x-osmo-allowed-pools",
    "x-osmo-client-version", "x-osmo-extensions", "x-forwarded-host", "x-forwarded-proto", "x-request-id", "traceparent",
    "idempotency-key", "last-event-id", "access-control-request-method",
    "x-amz-date", "x-amz-content-sha256", "x-amz-security-token", "x-amz-copy-source", "x-amz-acl", "content-md5",
};

static int add_header(struct exchange *ex, const char *name, const char *value) {
    if (ex->headers.len + 2 > 2 * REQUEST_MAX_HEADERS)
        return OSMO_ELIMIT;
    int rc = strlist_add(&ex->headers, name);
    return rc < 0 ? rc : strlist_add(&ex->headers, value);
}

static int read_headers(struct lws *wsi, struct exchange *ex, char *value) {
    for (size_t i = 0; i < LWS_ARRAY_SIZE(known); i++) {
        if (lws_hdr_total_length(wsi, known[i].token) <= 0)
            continue;
        if (lws_hdr_copy(wsi, value, VALUE_MAX, known[i].token) < 0 || add_header(ex, known[i].name, value) < 0)
            return OSMO_ELIMIT;
    }
    for (size_t i = 0; i < LWS_ARRAY_SIZE(custom); i++) {
        char name[64];
        int len = snprintf(name, sizeof name, "%s:", custom[i]);
        int n = lws_hdr_custom_length(wsi, name, len);
        if (n < 0)
            continue;
        if (lws_hdr_custom_copy(wsi, value, VALUE_MAX, name, len) < 0)
            return OSMO_ELIMIT;
        const char *text = value + strspn(value, " \t");
        for (size_t end = strlen(text); end > 0 && (text[end - 1] == ' ' || text[end - 1] == '\t'); end--)
            value[(text - value) + (ptrdiff_t)end - 1] = '\0';
        if (add_header(ex, custom[i], text) < 0)
            return OSMO_ELIMIT;
    }
    return OSMO_OK;
}

/* The library hands out query arguments decoded and one by one; whoever parses the query expects it raw. */
static int read_query(struct lws *wsi, struct exchange *ex, char *value) {
    _cleanup_buf_ buf_t q = BUF_INIT(3 * VALUE_MAX);
    for (int i = 0; lws_hdr_copy_fragment(wsi, value, VALUE_MAX, WSI_TOKEN_HTTP_URI_ARGS, i) >= 0; i++) {
        char *equals = strchr(value, '=');
        if (equals)
            *equals = '\0';
        if (i)
            buf_putc(&q, '&');
        url_encode(value, &q);
        if (equals) {
            buf_putc(&q, '=');
            url_encode(equals + 1, &q);
        }
    }
    if (buf_failed(&q))
        return q.code;
    ex->query = str_dup(buf_cstr(&q));
    return ex->query ? OSMO_OK : OSMO_ENOMEM;
}

int request_read(struct osmo_server *s, struct lws *wsi, struct conn *c, struct exchange **out) {
    struct exchange *ex = calloc(1, sizeof *ex);
    char *value = (char *)s->scratch; /* nothing is being written now */
    int rc = ex ? OSMO_OK : OSMO_ENOMEM;
    if (rc == OSMO_OK) {
        ex->body_fd = ex->response.body_fd = -1;
        ex->conn = c;
        buf_init(&ex->pending, 2 * NET_STREAM_BUFFER);
        lws_get_peer_simple(wsi, ex->peer, sizeof ex->peer);
        for (size_t i = 0; i < LWS_ARRAY_SIZE(methods) && !ex->path; i++) {
            if (lws_hdr_total_length(wsi, methods[i].token) > 0 && lws_hdr_copy(wsi, value, VALUE_MAX, methods[i].token) > 0) {
                ex->method = str_dup(methods[i].method);
                ex->path = str_dup(value);
            }
        }
        rc = ex->method && ex->path ? read_headers(wsi, ex, value) : OSMO_EINVAL;
    }
    if (rc == OSMO_OK)
        rc = read_query(wsi, ex, value);
    if (rc < 0) {
        exchange_free(ex);
        return rc;
    }
    pthread_mutex_lock(&s->lock);
    ex->id = s->next_id++;
    pthread_mutex_unlock(&s->lock);
    *out = ex;
    return OSMO_OK;
}

const char *http_request_header(const struct exchange *ex, const char *name) {
    for (size_t i = 0; i + 1 < ex->headers.len; i += 2) {
        if (strcmp(ex->headers.items[i], name) == 0)
            return ex->headers.items[i + 1];
    }
    return NULL;
}

void request_view(const struct exchange *ex, const char **headers, size_t max, osmo_request_t *out) {
    size_t n = ex->headers.len < max ? ex->headers.len : max - 1;
    for (size_t i = 0; i < n; i++)
        headers[i] = ex->headers.items[i];
    headers[n] = NULL;
    *out = (osmo_request_t){ .size = sizeof *out, .id = ex->id, .method = ex->method, .path = ex->path, .query = ex->query,
                             .headers = headers, .body = ex->body.data, .body_len = ex->body.len, .body_file = ex->body_file,
                             .peer = ex->peer };
}

int request_body_open(struct osmo_server *s, struct exchange *ex, uint64_t len, bool to_file) {
    ex->body_len = len;
    if (!to_file || !s->spool_dir) {
        if (s->body_bytes + len > NET_MAX_BODIES)
            return OSMO_EBUSY;
        s->body_bytes += len;
        buf_init(&ex->body, (size_t)len);
        return OSMO_OK;
    }
    ex->body_file = str_printf("%s/body-XXXXXX", s->spool_dir);
    ex->body_fd = ex->body_file ? mkostemp(ex->body_file, O_CLOEXEC) : -1;
    if (ex->body_fd >= 0)
        return OSMO_OK;
    log_error(&s->log, "cannot create a file in the spool directory: %m");
    free(ex->body_file);
    ex->body_file = NULL;
    return OSMO_EIO;
}

int request_body_add(struct osmo_server *s, struct exchange *ex, const void *data, size_t len) {
    ex->body_got += len;
    if (ex->body_got > ex->body_len)
        return OSMO_ELIMIT;
    if (!ex->body_file)
        return buf_append(&ex->body, data, len);
    int rc = fd_write_all(ex->body_fd, data, len);
    if (rc < 0)
        log_error(&s->log, "cannot write to the spool directory: %m");
    return rc;
}
