/* The only door to libcurl: a blocking HTTP/1.1 client with connection reuse, one per thread. Everybody may call it.
 * libcurl is opened on first use, so programs that never make a request do not pay for loading it and its libraries. */
#include "base/http.h"
#include <ctype.h>
#include <curl/curl.h>
#include <dlfcn.h>
#include <errno.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <unistd.h>
#include "base/cleanup.h"

#define DEFAULT_MAX_RESPONSE (64u << 20)
#define MAX_HEADERS 256
#define MAX_HEADER_BYTES (256u << 10)

/* The functions of libcurl we use, resolved once. */
static struct {
    CURLcode (*global_init)(long flags);
    CURL *(*easy_init)(void);
    void (*easy_cleanup)(CURL *c);
    void (*easy_reset)(CURL *c);
    CURLcode (*easy_setopt)(CURL *c, CURLoption option, ...);
    CURLcode (*easy_getinfo)(CURL *c, CURLINFO info, ...);
    CURLcode (*easy_perform)(CURL *c);
    struct curl_slist *(*slist_append)(struct curl_slist *l, const char *text);
    void (*slist_free_all)(struct curl_slist *l);
    const char *problem;
} lib;
static pthread_once_t lib_once = PTHREAD_ONCE_INIT;

static void *resolve(void *handle, const char *name) {
    void *p = dlsym(handle, name);
    if (!p)
        lib.problem = "libcurl.so.4 lacks a function that is needed: install libcurl4 7.88 or newer";
    return p;
}

static void load_library(void) {
    void *h = dlopen("libcurl.so.4", RTLD_LAZY | RTLD_LOCAL);
    if (!h) {
        lib.problem = "libcurl.so.4 cannot be loaded: install the package libcurl4";
        return;
    }
    *(void **)&lib.global_init = resolve(h, "curl_global_init");
    *(void **)&lib.easy_init = resolve(h, "curl_easy_init");
    *(void **)&lib.easy_cleanup = resolve(h, "curl_easy_cleanup");
    *(void **)&lib.easy_reset = resolve(h, "curl_easy_reset");
    *(void **)&lib.easy_setopt = resolve(h, "curl_easy_setopt");
    *(void **)&lib.easy_getinfo = resolve(h, "curl_easy_getinfo");
    *(void **)&lib.easy_perform = resolve(h, "curl_easy_perform");
    *(void **)&lib.slist_append = resolve(h, "curl_slist_append");
    *(void **)&lib.slist_free_all = resolve(h, "curl_slist_free_all");
    if (!lib.problem && lib.global_init(CURL_GLOBAL_DEFAULT) != CURLE_OK)
        lib.problem = "libcurl cannot be initialised";
}

static struct { char *file, *dir; } trust; /* set before there are threads */

int http_trust(const char *ca_file, const char *ca_dir) {
    free(trust.file);
    free(trust.dir);
    trust.file = ca_file && *ca_file ? strdup(ca_file) : NULL;
    trust.dir = ca_dir && *ca_dir ? strdup(ca_dir) : NULL;
    return (ca_file && *ca_file && !trust.file) || (ca_dir && *ca_dir && !trust.dir) ? OSMO_ENOMEM : OSMO_OK;
}

const char *http_trusted_file(void) { return trust.file; }

const char *http_trusted_dir(void) { return trust.dir; }

struct http_client {
    CURL *curl;
    char *user_agent;
    char error[CURL_ERROR_SIZE];
};

/* State of one transfer, seen by libcurl's callbacks. */
struct transfer {
    http_client_t *client;
    const http_request_t *rq;
    http_response_t *rs;
    uint64_t upload_left;
    size_t header_bytes;
    bool stopped, over_cap, upload_failed, out_of_memory;
};

int http_client_new(const char *user_agent, http_client_t **out, osmo_error_t *err) {
    pthread_once(&lib_once, load_library);
    if (lib.problem)
        return osmo_error_set(err, OSMO_EUNAVAIL, "%s", lib.problem);
    http_client_t *c = calloc(1, sizeof *c);
    if (c && user_agent)
        c->user_agent = strdup(user_agent);
    if (c && (!user_agent || c->user_agent))
        c->curl = lib.easy_init();
    if (!c || !c->curl) {
        http_client_free(c);
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory for an HTTP client");
    }
    *out = c;
    return OSMO_OK;
}

void http_client_free(http_client_t *c) {
    if (!c)
        return;
    if (c->curl)
        lib.easy_cleanup(c->curl);
    free(c->user_agent);
    free(c);
}

static void note_status(struct transfer *t) {
    long status = 0;
    lib.easy_getinfo(t->client->curl, CURLINFO_RESPONSE_CODE, &status);
    t->rs->status = (int)status;
    if (t->rq->status_out)
        *t->rq->status_out = (int)status;
}

static size_t on_header(char *data, size_t size, size_t count, void *ctx) {
    struct transfer *t = ctx;
    size_t len = size * count, kept = len;
    if (len >= 5 && strncasecmp(data, "HTTP/", 5) == 0) { /* a 100 Continue may come before the real head */
        strlist_free(&t->rs->headers);
        t->header_bytes = 0;
        return len;
    }
    while (kept > 0 && isspace((unsigned char)data[kept - 1]))
        kept--;
    t->header_bytes += kept;
    if (kept == 0 || !memchr(data, ':', kept))
        return len;
    if (t->header_bytes > MAX_HEADER_BYTES || t->rs->headers.len >= MAX_HEADERS) {
        t->over_cap = true;
        return 0;
    }
    if (strlist_addn(&t->rs->headers, data, kept) < 0) {
        t->out_of_memory = true;
        return 0;
    }
    return len;
}

static size_t on_body(char *data, size_t size, size_t count, void *ctx) {
    struct transfer *t = ctx;
    size_t len = size * count;
    if (t->rq->on_data) {
        if (t->rs->status == 0)
            note_status(t);
        t->stopped = !t->rq->on_data(t->rq->ctx, data, len);
        return t->stopped ? 0 : len;
    }
    int rc = buf_append(&t->rs->body, data, len);
    t->over_cap = rc == OSMO_ELIMIT;
    t->out_of_memory = rc == OSMO_ENOMEM;
    return rc < 0 ? 0 : len;
}

static size_t on_upload(char *data, size_t size, size_t count, void *ctx) {
    struct transfer *t = ctx;
    size_t want = size * count;
    if (want > t->upload_left)
        want = (size_t)t->upload_left;
    if (want == 0)
        return 0;
    ssize_t got;
    do
        got = read(t->rq->upload_fd, data, want);
    while (got < 0 && errno == EINTR);
    if (got <= 0) { /* the file became shorter than announced, or cannot be read */
        t->upload_failed = true;
        return CURL_READFUNC_ABORT;
    }
    t->upload_left -= (uint64_t)got;
    return (size_t)got;
}

static int fill_headers(const http_request_t *rq, struct curl_slist **list) {
    struct curl_slist *l = lib.slist_append(NULL, "Expect:");
    for (size_t i = 0; l && rq->headers && rq->headers[i]; i++) {
        if (strpbrk(rq->headers[i], "\r\n")) {
            lib.slist_free_all(l);
            return OSMO_EINVAL;
        }
        struct curl_slist *next = lib.slist_append(l, rq->headers[i]);
        if (!next)
            lib.slist_free_all(l);
        l = next;
    }
    *list = l;
    return l ? OSMO_OK : OSMO_ENOMEM;
}

static void set_body(CURL *c, struct transfer *t) {
    const http_request_t *rq = t->rq;
    if (rq->upload) {
        lib.easy_setopt(c, CURLOPT_UPLOAD, 1L);
        lib.easy_setopt(c, CURLOPT_READFUNCTION, on_upload);
        lib.easy_setopt(c, CURLOPT_READDATA, t);
        lib.easy_setopt(c, CURLOPT_INFILESIZE_LARGE, (curl_off_t)rq->upload_len);
    } else if (rq->body || strcmp(rq->method, "POST") == 0 || strcmp(rq->method, "PUT") == 0 ||
               strcmp(rq->method, "PATCH") == 0) {
        lib.easy_setopt(c, CURLOPT_POSTFIELDSIZE_LARGE, (curl_off_t)(rq->body ? rq->body_len : 0));
        lib.easy_setopt(c, CURLOPT_POSTFIELDS, rq->body ? rq->body : "");
    } else if (strcmp(rq->method, "HEAD") == 0) {
        lib.easy_setopt(c, CURLOPT_NOBODY, 1L);
    }
    lib.easy_setopt(c, CURLOPT_CUSTOMREQUEST, rq->method);
}

static void set_options(http_client_t *c, struct transfer *t, const url_parts_t *u, struct curl_slist *headers) {
    const http_request_t *rq = t->rq;
    CURL *h = c->curl;
    lib.easy_reset(h); /* keeps the connection pool */
    c->error[0] = '\0';
    lib.easy_setopt(h, CURLOPT_ERRORBUFFER, c->error);
    lib.easy_setopt(h, CURLOPT_URL, rq->url);
    lib.easy_setopt(h, CURLOPT_NOSIGNAL, 1L);
    lib.easy_setopt(h, CURLOPT_PROTOCOLS_STR, "http,https");
    lib.easy_setopt(h, CURLOPT_FOLLOWLOCATION, 0L);
    lib.easy_setopt(h, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    lib.easy_setopt(h, CURLOPT_HTTPHEADER, headers);
    lib.easy_setopt(h, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    if (trust.file || trust.dir) { /* instead of the system's, not beside them */
        lib.easy_setopt(h, CURLOPT_CAINFO, trust.file);
        lib.easy_setopt(h, CURLOPT_CAPATH, trust.dir);
    }
    lib.easy_setopt(h, CURLOPT_TIMEOUT_MS, rq->timeout_ms);
    lib.easy_setopt(h, CURLOPT_CONNECTTIMEOUT_MS, rq->connect_timeout_ms ? rq->connect_timeout_ms : 10000L);
    lib.easy_setopt(h, CURLOPT_TCP_KEEPALIVE, 1L);
    lib.easy_setopt(h, CURLOPT_HEADERFUNCTION, on_header);
    lib.easy_setopt(h, CURLOPT_HEADERDATA, t);
    lib.easy_setopt(h, CURLOPT_WRITEFUNCTION, on_body);
    lib.easy_setopt(h, CURLOPT_WRITEDATA, t);
    if (rq->direct || host_is_loopback(u->host, strlen(u->host))) /* a proxy cannot reach our own machine */
        lib.easy_setopt(h, CURLOPT_PROXY, "");
    if (c->user_agent)
        lib.easy_setopt(h, CURLOPT_USERAGENT, c->user_agent);
    set_body(h, t);
}

/* Reports name host and port, never the whole URL: its query may carry a secret. */
static int report(struct transfer *t, CURLcode code, const url_parts_t *u, osmo_error_t *err) {
    const char *why = t->client->error;
    if (t->out_of_memory || code == CURLE_OUT_OF_MEMORY)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory while talking to %s:%d", u->host, u->port);
    if (t->over_cap)
        return osmo_error_set(err, OSMO_ELIMIT, "the answer of %s:%d is larger than the limit", u->host, u->port);
    if (t->upload_failed)
        return osmo_error_set(err, OSMO_EIO, "cannot read the file that is being sent to %s:%d", u->host, u->port);
    switch (code) {
    case CURLE_COULDNT_CONNECT:
        return osmo_error_set(err, OSMO_EUNAVAIL, "connection refused by %s:%d: is osmo-service running?", u->host,
                              u->port);
    case CURLE_COULDNT_RESOLVE_HOST:
        return osmo_error_set(err, OSMO_EUNAVAIL, "the host name %s cannot be resolved: check the URL", u->host);
    case CURLE_OPERATION_TIMEDOUT:
        return osmo_error_set(err, OSMO_ETIMEOUT, "%s:%d did not answer in time", u->host, u->port);
    case CURLE_PEER_FAILED_VERIFICATION:
        return osmo_error_set(err, OSMO_EIO,
                              "%s:%d is not believed to be itself: %s; name its certificate authority with SSL_CERT_FILE", u->host,
                              u->port, why[0] ? why : "its certificate does not prove it");
    case CURLE_SSL_CACERT_BADFILE:
        return osmo_error_set(err, OSMO_EINVAL, "the certificates of authorities in %s cannot be read: give a PEM file",
                              trust.file ? trust.file : "the system's store");
    case CURLE_SSL_CONNECT_ERROR:
        return osmo_error_set(err, OSMO_EIO, "TLS with %s:%d failed: %s; is it an https address?", u->host, u->port,
                              why[0] ? why : "unknown reason");
    case CURLE_GOT_NOTHING:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_PARTIAL_FILE:
        return osmo_error_set(err, OSMO_EIO, "the connection to %s:%d was lost%s", u->host, u->port,
                              !strcmp(u->scheme, "http") && !t->rs->status ? " (if it speaks TLS, write https://)" : "");
    default:
        return osmo_error_set(err, OSMO_EIO, "request to %s:%d failed: %s", u->host, u->port,
                              why[0] ? why : "unknown reason");
    }
}

int http_perform(http_client_t *c, const http_request_t *rq, http_response_t *rs, osmo_error_t *err) {
    struct transfer t = { .client = c, .rq = rq, .rs = rs, .upload_left = rq->upload_len };
    struct curl_slist *headers = NULL;
    url_parts_t u;
    memset(rs, 0, sizeof *rs);
    buf_init(&rs->body, rq->max_response ? rq->max_response : DEFAULT_MAX_RESPONSE);
    int rc = url_parse(rq->url, &u, err);
    if (rc < 0)
        return rc;
    if (strncmp(u.scheme, "http", 4) != 0)
        return osmo_error_set(err, OSMO_EINVAL, "only http and https URLs can be requested, not %s", u.scheme);
    if ((rc = fill_headers(rq, &headers)) < 0)
        return osmo_error_set(err, rc, rc == OSMO_EINVAL ? "a request header contains a line break" : "out of memory");
    set_options(c, &t, &u, headers);
    CURLcode code = lib.easy_perform(c->curl);
    note_status(&t);
    lib.easy_setopt(c->curl, CURLOPT_HTTPHEADER, NULL);
    lib.slist_free_all(headers);
    if (code == CURLE_OK || (t.stopped && code == CURLE_WRITE_ERROR))
        return OSMO_OK;
    return report(&t, code, &u, err);
}

void http_response_free(http_response_t *rs) {
    buf_free(&rs->body);
    strlist_free(&rs->headers);
    rs->status = 0;
}

const char *http_response_header(const http_response_t *rs, const char *name) {
    size_t len = strlen(name);
    for (size_t i = 0; i < rs->headers.len; i++) {
        const char *h = rs->headers.items[i];
        if (strncasecmp(h, name, len) == 0 && h[len] == ':') {
            h += len + 1;
            return h + strspn(h, " \t");
        }
    }
    return NULL;
}

int url_encode(const char *text, buf_t *out) {
    for (; *text; text++) {
        unsigned char c = (unsigned char)*text;
        if ((c < 128 && isalnum(c)) || strchr("-._~", c))
            buf_putc(out, (char)c);
        else
            buf_printf(out, "%%%02X", c);
    }
    return out->code;
}

static int hex_value(char c) {
    if (c >= '0' && c <= '9')
        return c - '0';
    c = (char)(c | 0x20);
    return c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
}

int url_decode(const char *text, size_t len, bool plus_is_blank, buf_t *out) {
    for (size_t i = 0; i < len; i++) {
        char c = text[i];
        if (c == '+' && plus_is_blank) {
            c = ' ';
        } else if (c == '%') {
            int high = len - i > 2 ? hex_value(text[i + 1]) : -1;
            int low = len - i > 2 ? hex_value(text[i + 2]) : -1;
            if (high < 0 || low < 0 || high + low == 0)
                return OSMO_EINVAL;
            c = (char)(uint8_t)(high << 4 | low);
            i += 2;
        }
        buf_putc(out, c);
    }
    return out->code;
}

/* Host and port of the authority [p, end), an IPv6 literal in brackets included. */
static bool parse_authority(const char *p, const char *end, url_parts_t *out) {
    for (const char *q = p; q < end; q++) {
        if (*q == '@') /* credentials in URLs end up in logs */
            return false;
    }
    const char *host_end = end, *colon = NULL;
    if (p < end && *p == '[') {
        const char *bracket = memchr(p, ']', (size_t)(end - p));
        if (!bracket)
            return false;
        p++;
        host_end = bracket;
        if (bracket + 1 < end)
            colon = bracket + 1;
        if (colon && *colon != ':')
            return false;
    } else if ((colon = memchr(p, ':', (size_t)(end - p)))) {
        host_end = colon;
    }
    size_t len = (size_t)(host_end - p);
    if (len == 0 || len >= sizeof out->host)
        return false;
    memcpy(out->host, p, len);
    out->host[len] = '\0';
    if (!colon)
        return true;
    out->port = 0;
    for (colon++; colon < end; colon++) {
        if (!isdigit((unsigned char)*colon) || (out->port = out->port * 10 + (*colon - '0')) > 65535)
            return false;
    }
    return out->port > 0;
}

int url_parse(const char *url, url_parts_t *out, osmo_error_t *err) {
    static const struct {
        const char *name;
        int port;
    } schemes[] = { { "http", 80 }, { "https", 443 }, { "ws", 80 }, { "wss", 443 } };
    const char *sep = strstr(url, "://");
    memset(out, 0, sizeof *out);
    for (size_t i = 0; sep && i < ARRAY_SIZE(schemes); i++) {
        size_t len = strlen(schemes[i].name);
        if ((size_t)(sep - url) == len && strncasecmp(url, schemes[i].name, len) == 0) {
            memcpy(out->scheme, schemes[i].name, len + 1);
            out->port = schemes[i].port;
        }
    }
    if (!out->scheme[0])
        return osmo_error_set(err, OSMO_EINVAL, "the URL must begin with http://, https://, ws:// or wss://");
    const char *p = sep + 3, *end = p + strcspn(p, "/?#");
    if (!parse_authority(p, end, out))
        return osmo_error_set(err, OSMO_EINVAL, "the URL has no usable host and port: write %s://HOST:PORT/",
                              out->scheme);
    size_t len = strcspn(end, "#");
    int n = snprintf(out->path, sizeof out->path, "%s%.*s", *end == '/' ? "" : "/", (int)len, end);
    if (n < 0 || (size_t)n >= sizeof out->path)
        return osmo_error_set(err, OSMO_ELIMIT, "the path of the URL is longer than %zu bytes", sizeof out->path - 1);
    for (const char *q = out->path; *q; q++) {
        if ((unsigned char)*q <= ' ' || *q == 127)
            return osmo_error_set(err, OSMO_EINVAL,
                                  "the URL contains a blank or a control character: percent-encode it");
    }
    return OSMO_OK;
}
