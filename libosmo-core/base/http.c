/* The only door to libcurl: a blocking HTTP/1.1 client with connection reuse, one per thread. Everybody may call it.
 * libcurl is opened on first use, so programs that never make a request do not pay for loading it and its libraries. */
#include "base/http.h"
#include <ctype.h>
#include <curl/curl.h>
#include <dlfcn.h>
#include <errno.h>
#include <netinet/in.h>
#include <netinet/tcp.h>
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <time.h>
#include <unistd.h>
#include "base/clock.h"
#include "base/cleanup.h"
#include "base/crypto.h"

#define DEFAULT_MAX_RESPONSE (64u << 20)
#define MAX_HEADERS 256
#define MAX_HEADER_BYTES (256u << 10)
#define BULK_BUFFER (256L << 10)

/* The functions of libcurl we use, resolved once. */
static struct {
    CURLcode (*global_init)(long flags);
    CURL *(*easy_init)(void);
    void (*easy_cleanup)(CURL *c);
    void (*easy_reset)(CURL *c);
    CURLcode (*easy_setopt)(CURL *c, CURLoption option, ...);
    CURLcode (*easy_getinfo)(CURL *c, CURLINFO info, ...);
    CURLM *(*multi_init)(void);
    CURLMcode (*multi_cleanup)(CURLM *m);
    CURLMcode (*multi_add)(CURLM *m, CURL *c);
    CURLMcode (*multi_remove)(CURLM *m, CURL *c);
    CURLMcode (*multi_perform)(CURLM *m, int *running);
    CURLMcode (*multi_poll)(CURLM *m, struct curl_waitfd extra[], unsigned n, int timeout_ms, int *ready);
    CURLMcode (*multi_wakeup)(CURLM *m);
    CURLMsg *(*multi_info_read)(CURLM *m, int *left);
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
    *(void **)&lib.multi_init = resolve(h, "curl_multi_init");
    *(void **)&lib.multi_cleanup = resolve(h, "curl_multi_cleanup");
    *(void **)&lib.multi_add = resolve(h, "curl_multi_add_handle");
    *(void **)&lib.multi_remove = resolve(h, "curl_multi_remove_handle");
    *(void **)&lib.multi_perform = resolve(h, "curl_multi_perform");
    *(void **)&lib.multi_poll = resolve(h, "curl_multi_poll");
    *(void **)&lib.multi_wakeup = resolve(h, "curl_multi_wakeup");
    *(void **)&lib.multi_info_read = resolve(h, "curl_multi_info_read");
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

/* Strings of http_tls_t in its order, so that they can be copied and freed in a loop. */
enum { CA_FILE, CA_PEM, CERT_FILE, CERT_PEM, KEY_FILE, KEY_PEM, SERVER_NAME, TLS_STRINGS };

struct http_client {
    CURL *curl;
    CURLM *multi;             /* owns the connections that are kept alive; `lock` for who replaces it and who wakes it */
    pthread_mutex_t lock;
    atomic_bool cancelled;
    char *user_agent, *proxy, *tls[TLS_STRINGS];
    bool own_ca, ca_beside, insecure;
    long idle_ms;
    int64_t last_byte_us;
    const char *refused_hint, *distrusted_hint;
    char error[CURL_ERROR_SIZE];
};

/* State of one transfer, seen by libcurl's callbacks. */
struct transfer {
    http_client_t *client;
    const http_request_t *rq;
    http_response_t *rs;
    struct curl_slist *headers, *connect_to;
    char *url;                /* instead of the request's: with the name the server proves itself by */
    uint64_t upload_left;
    size_t header_bytes;
    bool stopped, over_cap, upload_failed, out_of_memory, idle;
};

int http_client_new(const char *user_agent, http_client_t **out, osmo_error_t *err) {
    pthread_once(&lib_once, load_library);
    if (lib.problem)
        return osmo_error_set(err, OSMO_EUNAVAIL, "%s", lib.problem);
    http_client_t *c = calloc(1, sizeof *c);
    if (c) {
        pthread_mutex_init(&c->lock, NULL);
        c->refused_hint = "is osmo-service running?";
        c->distrusted_hint = "name its certificate authority with SSL_CERT_FILE";
        c->user_agent = str_dup(user_agent);
        c->curl = lib.easy_init();
        c->multi = lib.multi_init();
    }
    if (!c || !c->curl || !c->multi || (user_agent && !c->user_agent)) {
        http_client_free(c);
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory for an HTTP client");
    }
    *out = c;
    return OSMO_OK;
}

static void free_wiped(char *text) {
    if (text)
        crypto_wipe(text, strlen(text));
    free(text);
}

void http_client_free(http_client_t *c) {
    if (!c)
        return;
    if (c->curl)
        lib.easy_cleanup(c->curl);
    if (c->multi)
        lib.multi_cleanup(c->multi);
    for (size_t i = 0; i < TLS_STRINGS; i++)
        free_wiped(c->tls[i]);
    free_wiped(c->proxy); /* it may hold a password */
    pthread_mutex_destroy(&c->lock);
    free(c->user_agent);
    free(c);
}

int http_client_set_tls(http_client_t *c, const http_tls_t *tls, osmo_error_t *err) {
    const char *const given[TLS_STRINGS] = { [CA_FILE] = tls->ca_file, [CA_PEM] = tls->ca_pem, [CERT_FILE] = tls->cert_file,
                                             [CERT_PEM] = tls->cert_pem, [KEY_FILE] = tls->key_file, [KEY_PEM] = tls->key_pem,
                                             [SERVER_NAME] = tls->server_name };
    char *copies[TLS_STRINGS] = { NULL };
    CURLM *fresh = lib.multi_init();
    bool whole = fresh != NULL;
    for (size_t i = 0; i < TLS_STRINGS; i++)
        whole &= !given[i] || (copies[i] = strdup(given[i]));
    if (whole) {
        pthread_mutex_lock(&c->lock);
        CURLM *old = c->multi;
        c->multi = fresh;
        fresh = old;
        pthread_mutex_unlock(&c->lock);
        c->own_ca = tls->ca_file || tls->ca_pem;
        c->ca_beside = tls->ca_beside;
        c->insecure = tls->insecure;
    }
    for (size_t i = 0; i < TLS_STRINGS; i++) {
        free_wiped(whole ? c->tls[i] : copies[i]);
        if (whole)
            c->tls[i] = copies[i];
    }
    if (fresh)
        lib.multi_cleanup(fresh);
    return whole ? OSMO_OK : osmo_error_set(err, OSMO_ENOMEM, "out of memory for an HTTP client");
}

int http_client_set_proxy(http_client_t *c, const char *proxy_url, osmo_error_t *err) {
    char *copy = str_dup(proxy_url);
    if (proxy_url && !copy)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory for an HTTP client");
    free_wiped(c->proxy);
    c->proxy = copy;
    return OSMO_OK;
}

void http_client_set_hints(http_client_t *c, const char *refused, const char *distrusted) {
    c->refused_hint = refused ? refused : c->refused_hint;
    c->distrusted_hint = distrusted ? distrusted : c->distrusted_hint;
}

void http_client_cancel(http_client_t *c) {
    atomic_store(&c->cancelled, true);
    pthread_mutex_lock(&c->lock);
    lib.multi_wakeup(c->multi);
    pthread_mutex_unlock(&c->lock);
}

void http_client_set_idle(http_client_t *c, long idle_ms) { c->idle_ms = idle_ms; }

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
    t->client->last_byte_us = clock_mono_us();
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
    t->client->last_byte_us = clock_mono_us();
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
    off_t at = (off_t)(t->rq->upload_offset + (t->rq->upload_len - t->upload_left));
    do
        got = t->rq->upload_at ? pread(t->rq->upload_fd, data, want, at) : read(t->rq->upload_fd, data, want);
    while (got < 0 && errno == EINTR);
    if (got <= 0) { /* the file became shorter than announced, or cannot be read */
        t->upload_failed = true;
        return CURL_READFUNC_ABORT;
    }
    t->upload_left -= (uint64_t)got;
    t->client->last_byte_us = clock_mono_us();
    if (t->rq->on_sent)
        t->rq->on_sent(t->rq->ctx, t->rq->upload_len - t->upload_left);
    return (size_t)got;
}

/* libcurl found a kept connection dead and begins again on another one. */
static int on_rewind(void *ctx, curl_off_t offset, int origin) {
    struct transfer *t = ctx;
    if (!t->rq->upload_at || origin != SEEK_SET || offset < 0 || (uint64_t)offset > t->rq->upload_len)
        return CURL_SEEKFUNC_FAIL;
    t->upload_left = t->rq->upload_len - (uint64_t)offset;
    return CURL_SEEKFUNC_OK;
}

static int add_header(struct transfer *t, const char *text) {
    if (strpbrk(text, "\r\n"))
        return OSMO_EINVAL;
    struct curl_slist *next = lib.slist_append(t->headers, text);
    if (!next)
        return OSMO_ENOMEM;
    t->headers = next;
    return OSMO_OK;
}

/* The server proves itself by another name than the URL has: ask for that name, at the old address, with the old Host. */
static int rename_server(struct transfer *t, const url_parts_t *u, const char *rest) {
    const char *name = t->client->tls[SERVER_NAME], *colon = strchr(u->host, ':');
    _cleanup_free_ char *host = str_printf("Host: %s%s%s:%d", colon ? "[" : "", u->host, colon ? "]" : "", u->port);
    bool literal = strchr(name, ':') && name[0] != '[';
    t->url = str_printf("%s://%s%s%s:%d%s", u->scheme, literal ? "[" : "", name, literal ? "]" : "", u->port, rest);
    _cleanup_free_ char *to = host ? str_printf("::%s", host + strlen("Host: ")) : NULL; /* whatever is asked for */
    t->connect_to = to ? lib.slist_append(NULL, to) : NULL;
    return t->url && t->connect_to && host ? add_header(t, host) : OSMO_ENOMEM;
}

static int prepare(struct transfer *t, const url_parts_t *u, const char *rest) {
    int rc = add_header(t, "Expect:");
    for (size_t i = 0; rc == 0 && t->rq->headers && t->rq->headers[i]; i++)
        rc = add_header(t, t->rq->headers[i]);
    const char *name = t->client->tls[SERVER_NAME];
    return rc == 0 && name && !strcmp(u->scheme, "https") && strcasecmp(name, u->host) ? rename_server(t, u, rest) : rc;
}

static void clean_up(struct transfer *t) {
    for (struct curl_slist *l = t->headers; l; l = l->next)
        crypto_wipe(l->data, strlen(l->data)); /* tokens are among them */
    lib.slist_free_all(t->headers);
    lib.slist_free_all(t->connect_to);
    free(t->url);
}

static void set_body(CURL *c, struct transfer *t) {
    const http_request_t *rq = t->rq;
    if (rq->upload) {
        lib.easy_setopt(c, CURLOPT_UPLOAD, 1L);
        lib.easy_setopt(c, CURLOPT_READFUNCTION, on_upload);
        lib.easy_setopt(c, CURLOPT_READDATA, t);
        lib.easy_setopt(c, CURLOPT_SEEKFUNCTION, on_rewind);
        lib.easy_setopt(c, CURLOPT_SEEKDATA, t);
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

static void set_blob(CURL *h, CURLoption option, char *text) {
    struct curl_blob blob = { .data = text, .len = strlen(text), .flags = CURL_BLOB_NOCOPY };
    lib.easy_setopt(h, option, &blob);
}

static void set_tls(const http_client_t *c) {
    CURL *h = c->curl;
    lib.easy_setopt(h, CURLOPT_SSLVERSION, (long)CURL_SSLVERSION_TLSv1_2);
    if (c->own_ca && !c->ca_beside)
        lib.easy_setopt(h, CURLOPT_CAPATH, NULL);
    else if (trust.file || trust.dir) /* instead of the system's, not beside them */
        lib.easy_setopt(h, CURLOPT_CAPATH, trust.dir);
    if (c->tls[CA_PEM])
        set_blob(h, CURLOPT_CAINFO_BLOB, c->tls[CA_PEM]);
    else if (c->own_ca || trust.file || trust.dir)
        lib.easy_setopt(h, CURLOPT_CAINFO, c->own_ca ? c->tls[CA_FILE] : trust.file);
#if LIBCURL_VERSION_NUM >= 0x075700
    if (c->tls[CA_FILE] || trust.file) /* authorities are replaced while we run; the library would go by the old ones for a day */
        lib.easy_setopt(h, CURLOPT_CA_CACHE_TIMEOUT, 0L);
#endif
    if (c->tls[CERT_PEM])
        set_blob(h, CURLOPT_SSLCERT_BLOB, c->tls[CERT_PEM]);
    else if (c->tls[CERT_FILE])
        lib.easy_setopt(h, CURLOPT_SSLCERT, c->tls[CERT_FILE]);
    if (c->tls[KEY_PEM])
        set_blob(h, CURLOPT_SSLKEY_BLOB, c->tls[KEY_PEM]);
    else if (c->tls[KEY_FILE])
        lib.easy_setopt(h, CURLOPT_SSLKEY, c->tls[KEY_FILE]);
    lib.easy_setopt(h, CURLOPT_KEYPASSWD, ""); /* else an encrypted key would be asked for on the terminal */
    if (c->insecure) {
        lib.easy_setopt(h, CURLOPT_SSL_VERIFYPEER, 0L);
        lib.easy_setopt(h, CURLOPT_SSL_VERIFYHOST, 0L);
    }
}

#define KEEPALIVE_IDLE_S 30
#define KEEPALIVE_INTERVAL_S 15
#define UNHEARD_MS 60000 /* unacknowledged for so long: the peer, or the way to it, is gone */

static int on_socket(void *ctx, curl_socket_t fd, curlsocktype purpose) {
    (void)ctx;
    unsigned ms = UNHEARD_MS;
    if (purpose == CURLSOCKTYPE_IPCXN)
        setsockopt(fd, IPPROTO_TCP, TCP_USER_TIMEOUT, &ms, sizeof ms);
    return CURL_SOCKOPT_OK;
}

static void set_network(const struct transfer *t, const url_parts_t *u) {
    const http_request_t *rq = t->rq;
    CURL *h = t->client->curl;
    lib.easy_setopt(h, CURLOPT_TIMEOUT_MS, rq->timeout_ms);
    lib.easy_setopt(h, CURLOPT_CONNECTTIMEOUT_MS, rq->connect_timeout_ms ? rq->connect_timeout_ms : 10000L);
    lib.easy_setopt(h, CURLOPT_TCP_KEEPALIVE, 1L);
    if (rq->idle_ms) { /* a stream that may be quiet, but not dead */
        lib.easy_setopt(h, CURLOPT_TCP_KEEPIDLE, (long)KEEPALIVE_IDLE_S);
        lib.easy_setopt(h, CURLOPT_TCP_KEEPINTVL, (long)KEEPALIVE_INTERVAL_S);
        lib.easy_setopt(h, CURLOPT_SOCKOPTFUNCTION, on_socket);
    }
    if (rq->fresh)
        lib.easy_setopt(h, CURLOPT_FRESH_CONNECT, 1L);
    if (rq->bulk) {
        lib.easy_setopt(h, CURLOPT_BUFFERSIZE, BULK_BUFFER);
        lib.easy_setopt(h, CURLOPT_UPLOAD_BUFFERSIZE, BULK_BUFFER);
    }
    lib.easy_setopt(h, CURLOPT_PATH_AS_IS, rq->as_is ? 1L : 0L);
    if (t->connect_to)
        lib.easy_setopt(h, CURLOPT_CONNECT_TO, t->connect_to);
    if (t->client->proxy) {
        lib.easy_setopt(h, CURLOPT_PROXY, t->client->proxy);
        lib.easy_setopt(h, CURLOPT_NOPROXY, "");
    } else if (rq->direct || host_is_loopback(u->host, strlen(u->host))) { /* a proxy cannot reach our own machine */
        lib.easy_setopt(h, CURLOPT_PROXY, "");
    }
}

static void set_options(struct transfer *t, const url_parts_t *u) {
    http_client_t *c = t->client;
    CURL *h = c->curl;
    lib.easy_reset(h); /* keeps the connections */
    c->error[0] = '\0';
    lib.easy_setopt(h, CURLOPT_ERRORBUFFER, c->error);
    lib.easy_setopt(h, CURLOPT_URL, t->url ? t->url : t->rq->url);
    lib.easy_setopt(h, CURLOPT_NOSIGNAL, 1L);
    lib.easy_setopt(h, CURLOPT_PROTOCOLS_STR, "http,https");
    lib.easy_setopt(h, CURLOPT_FOLLOWLOCATION, 0L);
    lib.easy_setopt(h, CURLOPT_HTTP_VERSION, (long)CURL_HTTP_VERSION_1_1);
    lib.easy_setopt(h, CURLOPT_HTTPHEADER, t->headers);
    lib.easy_setopt(h, CURLOPT_HEADERFUNCTION, on_header);
    lib.easy_setopt(h, CURLOPT_HEADERDATA, t);
    lib.easy_setopt(h, CURLOPT_WRITEFUNCTION, on_body);
    lib.easy_setopt(h, CURLOPT_WRITEDATA, t);
    if (c->user_agent)
        lib.easy_setopt(h, CURLOPT_USERAGENT, c->user_agent);
    set_tls(c);
    set_network(t, u);
    set_body(h, t);
}

static enum http_fate fate_of(const struct transfer *t, CURLcode code) {
    curl_off_t sent_us = 0; /* when connection and TLS stood */
    if (t->out_of_memory || t->over_cap || t->upload_failed || code == CURLE_OUT_OF_MEMORY)
        return HTTP_UNUSABLE;
    lib.easy_getinfo(t->client->curl, CURLINFO_PRETRANSFER_TIME_T, &sent_us);
    if (strstr(t->client->error, " alert ") && (strstr(t->client->error, "certificate") || strstr(t->client->error, "unknown ca")))
        return HTTP_DISTRUSTED; /* TLS 1.3: the server looks at ours after we began to send */
    switch (code) {
    case CURLE_PEER_FAILED_VERIFICATION:
    case CURLE_SSL_CACERT_BADFILE:
    case CURLE_SSL_CERTPROBLEM:
    case CURLE_SSL_CIPHER:
        return HTTP_DISTRUSTED;
    case CURLE_URL_MALFORMAT:
    case CURLE_UNSUPPORTED_PROTOCOL:
    case CURLE_FAILED_INIT:
        return HTTP_UNUSABLE;
    default:
        if (!sent_us)
            return HTTP_UNREACHED;
        return t->idle || code == CURLE_OPERATION_TIMEDOUT ? HTTP_LATE : HTTP_CUT;
    }
}

static const char *before_hint(const char *hint, const char *sign) { return *hint ? sign : ""; }

/* Reports name host and port, never the whole URL: its query may carry a secret. */
static int report(struct transfer *t, CURLcode code, const url_parts_t *u, osmo_error_t *err) {
    const http_client_t *c = t->client;
    const char *why = c->error, *refused = c->refused_hint, *distrusted = c->distrusted_hint;
    if (t->out_of_memory || code == CURLE_OUT_OF_MEMORY)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory while talking to %s:%d", u->host, u->port);
    if (t->over_cap)
        return osmo_error_set(err, OSMO_ELIMIT, "the answer of %s:%d is larger than the limit", u->host, u->port);
    if (t->upload_failed)
        return osmo_error_set(err, OSMO_EIO, "cannot read the file that is being sent to %s:%d", u->host, u->port);
    switch (code) {
    case CURLE_COULDNT_CONNECT:
        return osmo_error_set(err, OSMO_EUNAVAIL, "connection refused by %s:%d%s%s", u->host, u->port, before_hint(refused, ": "),
                              refused);
    case CURLE_COULDNT_RESOLVE_HOST:
        return osmo_error_set(err, OSMO_EUNAVAIL, "the host name %s cannot be resolved: check the URL", u->host);
    case CURLE_COULDNT_RESOLVE_PROXY:
        return osmo_error_set(err, OSMO_EUNAVAIL, "the proxy on the way to %s cannot be resolved: check its URL", u->host);
    case CURLE_OPERATION_TIMEDOUT:
        if (t->idle)
            return osmo_error_set(err, OSMO_ETIMEOUT, "%s:%d said nothing for %ld ms", u->host, u->port, c->idle_ms);
        return osmo_error_set(err, OSMO_ETIMEOUT, "%s:%d did not answer in time", u->host, u->port);
    case CURLE_PEER_FAILED_VERIFICATION:
        return osmo_error_set(err, OSMO_EIO, "%s:%d is not believed to be itself: %s%s%s", u->host, u->port,
                              why[0] ? why : "its certificate does not prove it", before_hint(distrusted, "; "),
                              distrusted);
    case CURLE_SSL_CACERT_BADFILE:
        return osmo_error_set(err, OSMO_EINVAL, "the certificates of authorities in %s cannot be read: give a PEM file",
                              c->tls[CA_FILE] ? c->tls[CA_FILE] : c->tls[CA_PEM] ? "the text given" : trust.file ? trust.file
                              : "the system's store");
    case CURLE_SSL_CERTPROBLEM:
        return osmo_error_set(err, OSMO_EINVAL, "our own certificate for %s:%d or its key cannot be used: %s; give PEM, unencrypted, "
                              "that belong together", u->host, u->port, why[0] ? why : "unknown reason");
    case CURLE_SSL_CONNECT_ERROR:
        return osmo_error_set(err, OSMO_EIO, "TLS with %s:%d failed: %s; is it an https address?", u->host, u->port,
                              why[0] ? why : "unknown reason");
    case CURLE_GOT_NOTHING:
    case CURLE_SEND_ERROR:
    case CURLE_RECV_ERROR:
    case CURLE_PARTIAL_FILE:
        if (strstr(why, " alert "))
            return osmo_error_set(err, OSMO_EIO, "%s:%d ended the connection: %s", u->host, u->port, why);
        return osmo_error_set(err, OSMO_EIO, "the connection to %s:%d was lost%s", u->host, u->port,
                              !strcmp(u->scheme, "http") && !t->rs->status ? " (if it speaks TLS, write https://)" : "");
    default:
        return osmo_error_set(err, OSMO_EIO, "request to %s:%d failed: %s", u->host, u->port,
                              why[0] ? why : "unknown reason");
    }
}

#define POLL_MAX_MS 60000 /* libcurl's own timers and a cancellation wake it earlier */

/* As curl_easy_perform(), but other threads can end it, and an idle limit does. */
static CURLcode run(struct transfer *t) {
    http_client_t *c = t->client;
    CURLcode code = CURLE_OPERATION_TIMEDOUT;
    int running = 1, left;
    c->idle_ms = t->rq->idle_ms;
    c->last_byte_us = clock_mono_us();
    if (lib.multi_add(c->multi, c->curl) != CURLM_OK)
        return CURLE_OUT_OF_MEMORY;
    while (!atomic_load(&c->cancelled)) {
        CURLMcode rc = lib.multi_perform(c->multi, &running);
        if (rc != CURLM_OK) {
            code = rc == CURLM_OUT_OF_MEMORY ? CURLE_OUT_OF_MEMORY : CURLE_FAILED_INIT;
            break;
        }
        if (!running) {
            const CURLMsg *m = lib.multi_info_read(c->multi, &left);
            code = m ? m->data.result : CURLE_FAILED_INIT;
            break;
        }
        int64_t wait_ms = POLL_MAX_MS;
        if (c->idle_ms) {
            int64_t quiet_ms = (clock_mono_us() - c->last_byte_us) / 1000;
            if (quiet_ms >= c->idle_ms) {
                t->idle = true;
                break;
            }
            wait_ms = c->idle_ms - quiet_ms < wait_ms ? c->idle_ms - quiet_ms : wait_ms;
        }
        lib.multi_poll(c->multi, NULL, 0, (int)wait_ms, NULL);
    }
    return code;
}

/* OpenSSL writes to sockets that the peer has closed: the signal must not end a program that lets it through. */
static CURLcode run_quietly(struct transfer *t) {
    static const struct timespec now;
    sigset_t pipe_signal, before, pending;
    sigemptyset(&pipe_signal);
    sigaddset(&pipe_signal, SIGPIPE);
    sigpending(&pending);
    bool was = sigismember(&pending, SIGPIPE);
    pthread_sigmask(SIG_BLOCK, &pipe_signal, &before);
    CURLcode code = run(t);
    while (!was && sigtimedwait(&pipe_signal, NULL, &now) == SIGPIPE)
        ;
    pthread_sigmask(SIG_SETMASK, &before, NULL);
    return code;
}

static int finish(struct transfer *t, CURLcode code, const url_parts_t *u, osmo_error_t *err) {
    if (code == CURLE_OK || (t->stopped && code == CURLE_WRITE_ERROR)) {
        t->rs->fate = HTTP_ANSWERED;
        return OSMO_OK;
    }
    if (atomic_load(&t->client->cancelled)) {
        t->rs->fate = HTTP_CANCELLED;
        return osmo_error_set(err, OSMO_ECONFLICT, "the request to %s:%d was cancelled", u->host, u->port);
    }
    t->rs->fate = fate_of(t, code);
    return report(t, code, u, err);
}

int http_perform(http_client_t *c, const http_request_t *rq, http_response_t *rs, osmo_error_t *err) {
    struct transfer t = { .client = c, .rq = rq, .rs = rs, .upload_left = rq->upload_len };
    const char *rest;
    url_parts_t u;
    memset(rs, 0, sizeof *rs);
    buf_init(&rs->body, rq->max_response ? rq->max_response : DEFAULT_MAX_RESPONSE);
    rs->body.secret = rq->secret;
    rs->fate = HTTP_UNUSABLE;
    int rc = url_parse_origin(rq->url, &u, &rest, err);
    if (rc < 0)
        return rc;
    if (strncmp(u.scheme, "http", 4) != 0)
        return osmo_error_set(err, OSMO_EINVAL, "only http and https URLs can be requested, not %s", u.scheme);
    if ((rc = prepare(&t, &u, rest)) < 0) {
        clean_up(&t);
        return osmo_error_set(err, rc, rc == OSMO_EINVAL ? "a request header contains a line break" : "out of memory");
    }
    set_options(&t, &u);
    CURLcode code = run_quietly(&t);
    note_status(&t);
    rc = finish(&t, code, &u, err);
    lib.multi_remove(c->multi, c->curl);
    lib.easy_setopt(c->curl, CURLOPT_HTTPHEADER, NULL);
    lib.easy_setopt(c->curl, CURLOPT_CONNECT_TO, NULL);
    clean_up(&t);
    return rc;
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
