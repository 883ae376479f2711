/* The only door to libcurl: a blocking HTTP/1.1 client with connection reuse. One client per thread at a time. Redirects off,
 * only http and https, no signals, response size capped, empty Expect header. libcurl is loaded on first use. */
#ifndef BASE_HTTP_H
#define BASE_HTTP_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/str.h"
#include "osmo/error.h"

typedef struct http_client http_client_t;
typedef struct http_request {
    const char *method;          /* "GET" … */
    const char *url;
    const char *const *headers;  /* "Name: value" strings, NULL-terminated; may be NULL */
    const void *body; size_t body_len;
    int upload_fd; uint64_t upload_len; /* used when `upload` is true: body is read from the descriptor */
    bool upload;
    /* from this place, whatever the descriptor's: several may send from one, and it can be sent again */
    bool upload_at; uint64_t upload_offset;
    bool bulk;                   /* much data: larger buffers */
    bool as_is;                  /* "." and ".." in the URL's path are names */
    void (*on_sent)(void *ctx, uint64_t so_far); /* upload: as it goes; may be NULL */
    bool direct;                 /* whatever proxy the environment names: it is a neighbour's address */
    long timeout_ms;             /* 0 = none (streams) */
    long connect_timeout_ms;     /* 0 = 10 s */
    long idle_ms;                /* as long without a byte in either direction: OSMO_ETIMEOUT; 0 = no such limit */
    size_t max_response;         /* cap of the collected body; 0 = 64 MiB */
    bool fresh;                  /* a new connection: on one that was kept, libcurl repeats by itself what got no answer */
    bool secret;                 /* the collected body leaves nothing behind when it is freed */
    /* Streaming: called with each piece instead of collecting; return false to stop the transfer (then OSMO_OK). */
    bool (*on_data)(void *ctx, const char *data, size_t len);
    void *ctx;
    int *status_out;             /* optional: set before the first on_data */
} http_request_t;
/* How far a request came: whether it is safe, and of use, to send it again. */
enum http_fate {
    HTTP_ANSWERED,               /* whole, or stopped by on_data */
    HTTP_UNREACHED,              /* refused, unresolved, no connection in time: nothing of it was sent */
    HTTP_DISTRUSTED,             /* TLS: one side does not believe the other, or has no usable certificate */
    HTTP_CUT,                    /* the connection was lost after (some of) it was sent */
    HTTP_LATE,                   /* no whole answer in time, or idle for too long */
    HTTP_CANCELLED,
    HTTP_UNUSABLE                /* our own limits, memory, a bad URL or header; an answer that is no HTTP */
};
typedef struct http_response { int status; buf_t body; strlist_t headers; /* "Name: value" */ enum http_fate fate; } http_response_t;

/* Whose certificates all clients of this process believe in, websockets too: a PEM file, a directory, or both; NULL, NULL: the system's.
 * Before the first client. OSMO_ENOMEM. Peers are always verified, by name, with TLS 1.2 or newer. */
int http_trust(const char *ca_file, const char *ca_dir);
const char *http_trusted_file(void); /* borrowed or NULL */
const char *http_trusted_dir(void);
int http_client_new(const char *user_agent, http_client_t **out, osmo_error_t *err);
void http_client_free(http_client_t *c);

/* TLS of one client. Authorities and our own certificate as PEM texts, or as files that are read for each connection; everything may be
 * NULL. An own authority stands instead of those of http_trust() and the system; with `ca_beside`, beside the directory of these. */
typedef struct http_tls {
    const char *ca_file, *ca_pem;
    bool ca_beside;
    const char *cert_file, *cert_pem, *key_file, *key_pem;
    bool insecure;               /* anybody may answer */
    const char *server_name;     /* as whom the peer proves itself, when that is not the URL's host */
} http_tls_t;
/* Copied; the key is wiped when it is replaced. Connections kept alive are closed. 0 or OSMO_ENOMEM. */
int http_client_set_tls(http_client_t *c, const http_tls_t *tls, osmo_error_t *err);
/* Instead of what the environment says; for loopback addresses too. NULL: the environment again. */
int http_client_set_proxy(http_client_t *c, const char *proxy_url, osmo_error_t *err);
/* What error texts advise when the peer refuses the connection, and when it is not believed; borrowed, NULL leaves what there is. Without
 * it: words for osmo-service. */
void http_client_set_hints(http_client_t *c, const char *refused, const char *distrusted);
/* From any thread: what runs ends at once with OSMO_ECONFLICT, and so does everything later. */
void http_client_cancel(http_client_t *c);
/* From on_data: another idle limit for the rest of this request. */
void http_client_set_idle(http_client_t *c, long idle_ms);
/* 0 when an HTTP answer arrived, whatever its status; OSMO_EUNAVAIL (refused, unresolved), OSMO_ETIMEOUT, OSMO_EIO
 * otherwise; rs->fate tells it finer. The URL may be as long as needed. */
int http_perform(http_client_t *c, const http_request_t *rq, http_response_t *rs, osmo_error_t *err);
void http_response_free(http_response_t *rs);
const char *http_response_header(const http_response_t *rs, const char *name); /* borrowed value or NULL */
int url_encode(const char *text, buf_t *out);            /* percent-encode everything but unreserved characters */
int url_decode(const char *text, size_t len, bool plus_is_blank, buf_t *out); /* OSMO_EINVAL on a bad escape or %00 */
typedef struct url_parts {
    char scheme[8];
    char host[256];
    int port;
    char path[1024];
} url_parts_t; /* port filled with the default */
int url_parse(const char *url, url_parts_t *out, osmo_error_t *err);
/* Without the path, however long it is: *rest points into the URL, behind host and port. */
int url_parse_origin(const char *url, url_parts_t *out, const char **rest, osmo_error_t *err);
#endif
