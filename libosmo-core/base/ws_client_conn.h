/* What the two halves of the websocket client share: ws_client.c (the loop and its threads) and ws_client_conn.c (one
 * connection and its callbacks). Nobody else includes this. */
#ifndef BASE_WS_CLIENT_CONN_H
#define BASE_WS_CLIENT_CONN_H
#include <pthread.h>
#include "base/buf.h"
#include "base/str.h"
#include "base/tls.h"
#include "base/ws_client.h"
#include "base/ws_client_loop.h"

#define REASON_MAX 124

enum conn_state { CONN_CONNECTING, CONN_OPEN, CONN_CLOSING, CONN_FAILED };

struct ws_out {
    struct ws_out *next;
    size_t len, sent;
    bool binary;
    unsigned char data[]; /* LWS_PRE bytes of room, then the payload */
};

/* Fields above the line belong to the loop thread; those below are guarded by the loop's lock. */
struct ws_conn {
    uint64_t id;
    struct ws_loop *loop;
    struct lws *wsi;
    ws_handlers_t handlers;
    void *ctx;
    enum conn_state state;
    bool inside_connect;
    strlist_t headers;
    char *extensions, *host, *path;
    char *name;                      /* host without port and brackets: whose certificate is expected */
    char answer_extensions[512];
    size_t max_message, max_queue;
    int64_t ping_interval_ms, since_ms, last_rx_ms, last_ping_ms;
    bool ping_due, in_binary, deaf;  /* deaf: ws_conn_read(off) */
    unsigned char bye[LWS_PRE + 2 + REASON_MAX]; /* the close frame that is still to be written: bye_len bytes of it */
    size_t bye_len;
    buf_t in;
    int code, http_status;
    char reason[REASON_MAX];
    /* ---- */
    struct ws_conn *next;
    struct ws_out *head, *tail;
    size_t queued;
    bool kick, was_full, close_wanted;
    int close_code;
    char close_reason[REASON_MAX];
};

struct ws_timer { struct ws_timer *next; uint64_t id; int64_t due_ms; void (*fn)(void *ctx); void *ctx; };
struct ws_wake { void (*fn)(void *ctx); void *ctx; };
#define MAX_WAKES 256
#define MAX_TIMERS 1024
#define MAX_CONNS 1024

struct watches;
struct ws_pump;

struct ws_loop {
    lwsloop_t base;
    struct watches *watches;         /* of descriptors of others; NULL until the first */
    struct ws_pump *pumps;           /* what ws_pump.c has in this loop */
    bool freed;                      /* no new watches any more */
    struct lws_context *plain, *tls;
    char *ca_file;
    void *tls_trust;                 /* SSL_CTX of the tls context */
    struct tls_peers peers;
    struct ws_timer *timers;
    size_t timer_count;
    uint64_t next_timer;
    int64_t next_sweep_ms;
    bool failures; /* connections that ended outside a callback wait for the sweep */
    pthread_t thread;
    bool running;
    pthread_mutex_t lock; /* guards everything below and the marked fields of connections */
    struct ws_conn *conns;
    size_t conn_count;
    uint64_t next_conn;
    struct ws_wake wakes[MAX_WAKES];
    size_t wake_count;
    bool stop, signalled;
};

int conn_callback(struct lws *wsi, enum lws_callback_reasons reason, void *user, void *in, size_t len);
void conn_drop(struct ws_conn *c);      /* cut now; `closed` is called before this returns or at the next sweep */
void conn_finish(struct ws_conn *c);    /* report `closed` and free */
void conn_sweep(struct ws_conn *c, int64_t now_ms);
void conn_free(struct ws_conn *c);
void watches_ready(struct ws_loop *l);
void watches_free(struct ws_loop *l);
void pumps_end(struct ws_loop *l);      /* the loop is being freed and nothing will be written any more */
void loop_process(struct ws_loop *l);   /* what other threads asked for */
int64_t loop_now_ms(void);
const char *conn_expected_host(void *loop, int fd);
void conn_not_believed(void *loop, int fd, const char *why);
#endif
