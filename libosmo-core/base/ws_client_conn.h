/* What the parts of the websocket client share: ws_client.c (the loop and its threads), ws_client_conn.c (one
 * connection), ws_client_watch.c (descriptors) and ws_pump.c. Nobody else includes this. */
#ifndef BASE_WS_CLIENT_CONN_H
#define BASE_WS_CLIENT_CONN_H
#include <netinet/in.h>
#include <pthread.h>
#include "base/str.h"
#include "base/tls.h"
#include "base/ws_client.h"
#include "base/ws_client_wire.h"

#define REASON_MAX 124
#define READ_SIZE (128u << 10)
#define MAX_WAKES 256
#define MAX_TIMERS 8192
#define MAX_CONNS 4096           /* a power of two: ids are made with it */
#define MAX_ADDRESSES 8

enum conn_state {
    CONN_CONNECTING,             /* the socket */
    CONN_TLS, CONN_REQUEST,      /* handshakes */
    CONN_OPEN, CONN_CLOSING,     /* CLOSING: our goodbye is (being) said */
    CONN_FAILED                  /* to be reported */
};

struct ws_out {
    struct ws_out *next;
    size_t len, sent;            /* sent: what has become frames */
    unsigned op;
    unsigned char data[];        /* WIRE_HEAD_MAX bytes of room, then the payload */
};

struct address { int family; socklen_t len; union { struct sockaddr any; struct sockaddr_in v4; struct sockaddr_in6 v6; } at; };

/* What is of no use once it is open. */
struct dialling {
    strlist_t headers;
    char *extensions, *path;
    void *ssl_ctx;
    struct address addresses[MAX_ADDRESSES];
    size_t naddresses, next_address;
    char key[WIRE_KEY_TEXT];
    buf_t text;                  /* the request, then the answer */
    size_t sent;
    bool asked;
};

/* Fields above the line belong to the loop thread; those below are guarded by the loop's lock. */
struct ws_conn {
    uint64_t id;
    struct ws_loop *loop;
    struct ws_conn *next, **link;
    ws_handlers_t handlers;
    void *ctx;
    enum conn_state state;
    int fd, watched;             /* watched: which events */
    tls_stream_t *tls;
    struct dialling *dial;       /* NULL once it is open */
    char *host, *name;           /* for texts; whose certificate is expected */
    size_t max_queue;
    int64_t ping_interval_ms, since_ms, last_rx_ms, last_ping_ms;
    bool deaf;                   /* ws_conn_read(off) */
    bool tls_reads, tls_writes;  /* TLS wants the other thing first */
    bool later;                  /* is on the loop's list of those to look at after the events */
    bool told_writable, bye_sent, bye_seen;
    bool garbled;                /* what comes cannot be understood any more */
    struct ws_conn *later_next;
    struct wire wire;
    struct ws_out *control, **control_tail;       /* pings, pongs, goodbye: before the next frame */
    struct ws_out *writing;      /* whose frame is being written: the head of either list */
    unsigned char *from, *to;    /* what of it is left */
    int code, http_status;
    char reason[REASON_MAX];
    /* ---- */
    struct ws_conn *kicked;      /* the next on the loop's list */
    bool kick, was_full, close_wanted;
    struct ws_out *head, *tail;
    size_t queued;
    int close_code;
    char close_reason[REASON_MAX];
};

struct ws_timer { struct ws_timer *next; uint64_t id; int64_t due_ms; void (*fn)(void *ctx); void *ctx; };
struct ws_wake { void (*fn)(void *ctx); void *ctx; };
struct ws_watch { int events; bool always; void (*fn)(void *ctx, int fd, int events); void *ctx; };
struct ws_pump;

struct ws_loop {
    int epoll_fd, wake_fd;
    struct ws_watch *watches;    /* by descriptor */
    int nwatches, always;        /* always: how many are ready at any time (plain files) */
    struct ws_pump *pumps;       /* what ws_pump.c has in this loop */
    struct ws_conn *conns, *later;
    char *ca_file;
    void *tls_trust;             /* SSL_CTX, when the first wss URL was used */
    struct tls_peers peers;
    struct ws_timer *timers;
    size_t timer_count;
    uint64_t next_timer;
    int64_t next_sweep_ms;
    unsigned char masks[256];    /* random bytes in store */
    size_t masks_left;
    bool freed;                  /* no new watches any more */
    pthread_t thread;
    char *input;                 /* READ_SIZE + 1 */
    pthread_mutex_t lock;        /* guards everything below and the marked fields of connections */
    bool running;
    struct ws_conn *slots[MAX_CONNS];
    size_t conn_count;
    uint64_t next_conn;
    struct ws_conn *kicked;
    struct ws_wake wakes[MAX_WAKES];
    size_t wake_count;
    bool stop, signalled;
};

/* ---- ws_client_conn.c ---- */
void conn_start(struct ws_conn *c, int port); /* its socket; a failure is reported later */
void conn_finish(struct ws_conn *c);         /* report `closed` and free */
void conn_sweep(struct ws_conn *c, int64_t now_ms);
void conn_look(struct ws_conn *c);           /* somebody sent, closed, or changed what is read; calls its user */
void conn_flush(struct ws_conn *c);          /* writes only: from within calls of its user, too */
void conn_free(struct ws_conn *c);
void conn_fail(struct ws_conn *c, int code, const char *why); /* to be finished by the loop */
/* ---- ws_client.c ---- */
void loop_later(struct ws_conn *c);
bool loop_is_here(const struct ws_loop *l);  /* does the calling thread run it? */
void loop_signal(struct ws_loop *l);         /* with the lock held */
int64_t loop_now_ms(void);
/* ---- ws_client_watch.c ---- */
int watches_wait(struct ws_loop *l, int timeout_ms); /* calls whoever watches what is ready */
/* ---- ws_pump.c ---- */
void pumps_end(struct ws_loop *l);           /* the loop is being freed and nothing will be written any more */
#endif
