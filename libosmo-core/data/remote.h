/* Between the files of this directory alone: what a place of storage can do (a driver), the connection of a thread to it, and requests that
 * are repeated while that is of use. Drivers: s3.c (s3, gs, swift, tos), azure.c, service.c, local.c. */
#ifndef DATA_REMOTE_H
#define DATA_REMOTE_H
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include <sys/types.h>

#include "base/buf.h"
#include "base/crypto.h"
#include "base/http.h"
#include "data/sigv4.h"
#include "data/transfer.h"
#include "data/uri.h"

#define REMOTE_ETAG_MAX 160
#define REMOTE_ID_MAX 2048
#define REMOTE_BUFFER (256u << 10)
#define REMOTE_CONNECTIONS_MAX 256
#define REMOTE_LIST_BYTES_MAX (64u << 20)
#define REMOTE_MODE_NONE (-1)

/* ---- what is there ---- */
struct remote_entry {
    const char *key, *etag;          /* etag without quotation marks, "" when there is none */
    const char *md5, *sha256;        /* in hex, or NULL */
    uint64_t size;
    int64_t modified_us;
    int mode;                        /* permissions or REMOTE_MODE_NONE */
    bool is_prefix;
};
struct remote_info { uint64_t size; int64_t modified_us; char etag[REMOTE_ETAG_MAX], md5[33]; int mode; }; /* md5: "" = unknown */
typedef int (*remote_entry_fn)(void *ctx, const struct remote_entry *e, osmo_error_t *err); /* <0 ends it; >0 ends it well */
int remote_stop_at_first(void *ctx, const struct remote_entry *e, osmo_error_t *err); /* whether a list can be had at all */

/* ---- bytes ---- */
struct digests { uint32_t crc; uint8_t md5[16], sha256[32]; bool has_md5, has_sha256; };
/* A piece of a descriptor, or of memory. */
struct source { int fd; const void *memory; uint64_t offset, len; struct digests sums; int mode; };
/* Where a piece of an object goes: the same place in the descriptor. */
struct sink {
    int fd;
    uint64_t offset, len, done;
    bool whole;          /* it is all of the object: no range is asked for as long as nothing came */
    const char *etag;    /* it must be this one still; NULL or "" = whatever */
    void *memory;        /* here instead of the descriptor */
    bool want_md5, want_sha256;
    struct digests sums; /* of what arrived, when it is complete */
    bool etag_opaque;    /* whatever it looks like, it is no MD5 */
    int error;           /* errno of a failed write */
};
struct part { unsigned number; uint64_t size; char etag[REMOTE_ETAG_MAX]; };

/* ---- a thread's connection ---- */
struct data_conn {
    data_session_t *session;
    http_client_t *http;
    crypto_digest_t *md5, *sha256; /* NULL: not offered here */
    char *buffer;                  /* REMOTE_BUFFER bytes */
    _Atomic uint64_t in_flight;    /* bytes of what runs, for who watches */
};
/* Several threads may use a remote, each with its own connection. */
struct remote {
    const struct data_driver *driver;
    data_session_t *session;
    struct data_uri uri;
    const struct data_credential *credential; /* NULL: none was found */
    pthread_mutex_t lock;          /* of what is learned on the way */
    int64_t skew_us;               /* the server's clock before ours */
    bool skew_known;
    bool signs_payload;            /* what is sent goes with its SHA-256, which the server compares: no MD5 is needed then */
    void *state;                   /* the driver's */
};

struct call;
struct data_driver {
    enum data_scheme schemes[5]; size_t nschemes;
    bool ranges;                   /* a piece of an object can be asked for */
    bool parts;                    /* an object can be made of parts */
    bool keyed;                    /* the path is a key, so an object may bear it */
    bool md5;                      /* it compares sums of what it gets, and tells MD5s of what it has */
    uint64_t part_min; unsigned parts_max;
    size_t delete_batch;
    int (*open)(struct remote *r, osmo_error_t *err);
    void (*close)(struct remote *r);
    /* One attempt of a request: its URL and headers. NULL for drivers without HTTP, as is refused(). */
    int (*build)(struct remote *r, const struct call *c, buf_t *url, strlist_t *headers, osmo_error_t *err);
    /* An answer that is no success: 1 = try again at once (something was learned), 2 = try again later, or the error. */
    int (*refused)(struct remote *r, const struct call *c, const http_response_t *rs, osmo_error_t *err);
    int (*stat)(struct data_conn *c, struct remote *r, const char *key, struct remote_info *out, osmo_error_t *err);
    int (*list)(struct data_conn *c, struct remote *r, const char *prefix, bool deep, remote_entry_fn fn, void *ctx, osmo_error_t *err);
    /* Of an object that was made of parts: of its first; 0 when the storage does not tell. May be NULL. */
    uint64_t (*part_size)(struct data_conn *c, struct remote *r, const char *key);
    int (*get)(struct data_conn *c, struct remote *r, const char *key, struct sink *s, osmo_error_t *err);
    int (*put)(struct data_conn *c, struct remote *r, const char *key, const struct source *s, osmo_error_t *err);
    int (*begin)(struct data_conn *c, struct remote *r, const char *key, char id[REMOTE_ID_MAX], osmo_error_t *err);
    int (*part)(struct data_conn *c, struct remote *r, const char *key, const char *id, unsigned number, const struct source *s,
                char etag[REMOTE_ETAG_MAX], osmo_error_t *err);
    int (*finish)(struct data_conn *c, struct remote *r, const char *key, const char *id, const struct part *parts,
                  size_t n, osmo_error_t *err);
    int (*abandon)(struct data_conn *c, struct remote *r, const char *key, const char *id, osmo_error_t *err);
    /* Parts that are there, into parts[number - 1] with number set; those beyond n are not told. */
    int (*parts_there)(struct data_conn *c, struct remote *r, const char *key, const char *id, struct part *parts,
                       size_t n, osmo_error_t *err);
    int (*remove)(struct data_conn *c, struct remote *r, char *const *keys, size_t n, osmo_error_t *err);
    int (*publish)(struct data_conn *c, struct remote *r, osmo_error_t *err); /* NULL: what was put is there */
    int (*check)(struct data_conn *c, struct remote *r, enum data_access access, osmo_error_t *err);
    /* Forgets uploads in parts below the prefix that began before. NULL: the storage does that by itself. */
    int (*tidy)(struct data_conn *c, struct remote *r, const char *prefix, int64_t before_us, osmo_error_t *err);
};
extern const struct data_driver s3_driver, azure_driver, service_driver, local_driver;

int remote_open(data_session_t *s, const char *uri, struct remote **out, osmo_error_t *err);
void remote_close(struct remote *r);
static inline void remote_closep(struct remote **r) { remote_close(*r); }
/* The key of a relative name: below the path of the URI. Malloc'ed or NULL. */
char *remote_key(const struct remote *r, const char *relative);

/* ---- requests ---- */
#define CALL_QUERY_MAX 8
#define CALL_HEADERS_MAX 12
struct call {
    const char *method, *key;        /* key NULL: the bucket */
    struct sigv4_pair query[CALL_QUERY_MAX]; size_t nquery;
    const char *headers[CALL_HEADERS_MAX]; size_t nheaders;
    const struct source *source;     /* body: this … */
    const void *body; size_t body_len; /* … or this */
    struct sink *sink;               /* where the answer's body goes when it is a success */
    size_t max_response;
    bool once;                       /* one attempt is enough: it matters little */
    bool missing_ok;                 /* 404 is no failure: the caller looks at the status */
};
void call_query(struct call *c, const char *name, const char *value);
void call_header(struct call *c, const char *line); /* borrowed; NULL is passed over */
/* Sent until there is an answer, for as long as the session waits for storage that is down. A success leaves *rs with the answer; every
 * outcome is freed with http_response_free(). */
int remote_call(struct data_conn *c, struct remote *r, const struct call *call, http_response_t *rs, osmo_error_t *err);
/* A refusal in words: what, the server's code and message, and what to do. Codes by status where there is no better. */
int remote_refusal(const struct remote *r, int status, const char *code, const char *message, osmo_error_t *err);
/* Takes the server's clock for ours, once, when it differs by minutes; true when it did. */
bool remote_learn_time(struct remote *r, const http_response_t *rs);
/* A server that is busy or asks to be left alone: later. */
bool remote_status_passes(int status);
int64_t remote_http_date(const char *text); /* "Sun, 06 Nov 1994 08:49:37 GMT"; 0 when it is none */
void remote_http_date_text(int64_t us, char out[40]);
/* Appends the key, percent-encoded, with its slashes. */
int remote_encode_path(const char *key, buf_t *out);

/* ---- sums ---- */
int digests_of(struct data_conn *c, int fd, const void *memory, uint64_t offset, uint64_t len, bool md5, bool sha256, struct digests *out,
               osmo_error_t *err);
void hex_text(const uint8_t *data, size_t len, char *out);
bool etag_is_md5(const char *etag);  /* 32 hexadecimal digits */
unsigned etag_parts(const char *etag); /* of "<32 digits>-N"; 0 for others */
#endif
