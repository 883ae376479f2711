/* What the parts of the Kubernetes client share. For kube_*.c and their tests only. */
#ifndef KUBERNETES_KUBE_INT_H
#define KUBERNETES_KUBE_INT_H
#include <pthread.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/http.h"
#include "base/log.h"
#include "base/map.h"
#include "cluster/kubernetes/kube_config.h"
#include "osmo/backend/kube.h"

#define KUBE_OBJECT_MAX (32u << 20)
#define KUBE_PAGE_MAX (256u << 20)
#define KUBE_FRAME_MAX (16u << 20)

/* ---- kube_pool.c: connections, and how often they are used ---- */

typedef struct kube_conn { http_client_t *http; uint64_t tls_number; bool own; struct kube_conn *next; } kube_conn_t;
struct kube_waiter;
struct kube_pool {
    pthread_mutex_t lock;
    pthread_cond_t stop;          /* told when `stopped` is set */
    atomic_bool stopped;
    kube_conn_t *idle, *busy;     /* idle: the one used last comes first, its connection is the warmest */
    struct kube_waiter *first, **last;
    int open, max;
    const char *user_agent;
    double qps, burst, tokens;
    int64_t tokens_us;
    uint64_t seed;
};
int kube_pool_init(struct kube_pool *p, const char *user_agent, int max, double qps, int burst);
void kube_pool_clear(struct kube_pool *p);
/* Everything that waits and runs ends. Any thread. */
void kube_pool_stop(struct kube_pool *p);
int kube_stopped(osmo_error_t *err); /* OSMO_ECONFLICT with its words */
/* Who came first is served first. own: beside the others, not counted. OSMO_EBUSY after the deadline (monotonic). */
int kube_pool_take(struct kube_pool *p, bool own, int64_t deadline_us, kube_conn_t **out, osmo_error_t *err);
void kube_pool_give(struct kube_pool *p, kube_conn_t *c);
/* Waits for leave to send a request. OSMO_EBUSY when that would come after the deadline. */
int kube_pool_throttle(struct kube_pool *p, int64_t deadline_us, osmo_error_t *err);
/* OSMO_ECONFLICT when it was stopped meanwhile. */
int kube_pool_sleep(struct kube_pool *p, int64_t us, osmo_error_t *err);
uint64_t kube_pool_random(struct kube_pool *p, uint64_t below); /* 0 when below is */

/* ---- kube_error.c: the server's Status ---- */

struct kube_status { int code; bool failure; char reason[64], message[OSMO_ERROR_TEXT_MAX]; int64_t retry_after_s; };
/* False: it is no Status. */
bool kube_status_parse(const char *json, size_t len, struct kube_status *out);
/* The code of an HTTP status with a Status' reason ("" when there is none). */
int kube_status_code(int http, const char *reason);
/* Of an answer that is no success. retry_after: the header, may be NULL. secret: nothing that might quote the body. */
int kube_error_of(int http, const char *body, size_t len, const char *retry_after, bool secret, int64_t *wait_us, osmo_error_t *err);
/* The same of an ERROR event's object. */
int kube_error_of_event(const char *json, size_t len, int64_t *wait_us, osmo_error_t *err);

/* ---- kube_discovery.c ---- */

struct kube_group;
struct kube_discovery { pthread_mutex_t lock; pthread_cond_t told; map_t *groups; };
int kube_discovery_init(struct kube_discovery *d);
void kube_discovery_clear(struct kube_discovery *d);
/* What was remembered of it is doubted: the next look-up may ask again. */
void kube_discovery_doubt(struct kube_discovery *d, const char *api_version);

/* ---- kube_client.c: requests ---- */

struct osmo_kube {
    struct kube_pool pool;
    struct kube_discovery discovery;
    kube_config_t *config;
    char *user_agent;
    logger_t log;
    int64_t timeout_ms, retry_ms, idle_ms;
    _Atomic int64_t ready_us, trouble_us; /* monotonic: when the server last said that it is ready, and was last not well; 0 = never */
};
struct kube_call {
    const char *method, *path;    /* path: with its query */
    const char *content_type;
    const void *body;
    size_t len;
    size_t max;                   /* of the answer; 0 = KUBE_OBJECT_MAX */
    bool secret;                  /* bodies, both ways */
    bool repeatable;              /* may be sent again when nobody knows whether it was carried out */
    bool watch;                   /* one try, on a connection of its own */
    bool discovery;               /* its 404 counts only from a server that is ready */
    int64_t total_ms, idle_ms;    /* 0 = the client's; total -1 = none */
    bool (*on_data)(void *ctx, http_client_t *http, const char *data, size_t len); /* of successful answers; false ends it */
    void *ctx;
};
/* *answer (may be NULL) is begun anew for each try, and the caller frees it. */
int kube_request(osmo_kube_t *k, const struct kube_call *call, buf_t *answer, osmo_error_t *err);

/* ---- kube_target.c: URLs ---- */

enum kube_form { KUBE_ONE, KUBE_ALL, KUBE_NEW }; /* an object; a collection; the collection that an object is made in */
/* Path without a query. */
int kube_target_path(osmo_kube_t *k, const osmo_kube_target_t *what, enum kube_form form, buf_t *out, osmo_error_t *err);
/* KEY=VALUE behind '?' or '&', escaped; nothing when value is NULL. */
void kube_query(buf_t *url, const char *key, const char *value);
void kube_query_selectors(buf_t *url, const osmo_kube_target_t *what);
bool kube_target_secret(const osmo_kube_target_t *what);
int kube_url_failed(const buf_t *url, osmo_error_t *err); /* 0, or why it could not be built */

/* ---- kube_list.c ---- */

struct kube_page { char version[OSMO_KUBE_VERSION_MAX]; buf_t next; bool stopped; };
/* Hands out the items of one page. OSMO_EIO when it is no list. */
int kube_page_read(const char *json, size_t len, osmo_kube_object_fn fn, void *ctx, struct kube_page *out, osmo_error_t *err);

/* ---- kube_watch.c ---- */

struct kube_stream {
    osmo_kube_change_fn fn;
    void *ctx;
    buf_t rest;                   /* of a frame that is not whole yet */
    size_t searched;              /* of it, for the end of the line */
    bool stopped, bookmarks;
    int64_t wait_us;              /* the server asked for it, in an ERROR */
    int code;                     /* of the first error, which ends the stream */
    osmo_error_t err;
};
void kube_stream_init(struct kube_stream *s, bool secret, osmo_kube_change_fn fn, void *ctx);
void kube_stream_clear(struct kube_stream *s);
/* false: it has ended, by fn or by an error. */
bool kube_stream_feed(struct kube_stream *s, const char *data, size_t len);
/* The connection ended. 0 or the error. */
int kube_stream_end(struct kube_stream *s, osmo_error_t *err);
#endif
