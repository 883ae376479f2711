/* The only door to libcurl: a blocking HTTP/1.1 client with connection reuse. One client per thread. Redirects off,
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
    bool direct;                 /* whatever proxy the environment names: it is a neighbour's address */
    long timeout_ms;             /* 0 = none (streams) */
    long connect_timeout_ms;     /* 0 = 10 s */
    size_t max_response;         /* cap of the collected body; 0 = 64 MiB */
    /* Streaming: called with each piece instead of collecting; return false to stop the transfer (then OSMO_OK). */
    bool (*on_data)(void *ctx, const char *data, size_t len);
    void *ctx;
    int *status_out;             /* optional: set before the first on_data */
} http_request_t;
typedef struct http_response { int status; buf_t body; strlist_t headers; /* "Name: value" */ } http_response_t;

/* Whose certificates all clients of this process believe in, websockets too: a PEM file, a directory, or both; NULL, NULL: the system's.
 * Before the first client. OSMO_ENOMEM. Peers are always verified, by name, with TLS 1.2 or newer. */
int http_trust(const char *ca_file, const char *ca_dir);
const char *http_trusted_file(void); /* borrowed or NULL */
const char *http_trusted_dir(void);
int http_client_new(const char *user_agent, http_client_t **out, osmo_error_t *err);
void http_client_free(http_client_t *c);
/* 0 when an HTTP answer arrived, whatever its status; OSMO_EUNAVAIL (refused, unresolved), OSMO_ETIMEOUT, OSMO_EIO
 * otherwise. */
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
#endif
