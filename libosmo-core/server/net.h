/* What the parts of the network front share: server.c (life), net.c (loop and callbacks), net_http.c, net_request.c, net_ws.c,
 * workers.c. Nobody outside server/ includes this.
 *
 * One network thread owns the loop, every wsi and every struct conn. Workers own a request while they answer it. They meet in
 * struct exchange and struct session, whose shared fields are guarded by the server's lock; `conn` in them belongs to the
 * network thread, which clears it when the client leaves. */
#ifndef SERVER_NET_H
#define SERVER_NET_H
#include <pthread.h>
#include <stdatomic.h>
#include <time.h>
#include "base/buf.h"
#include "base/log.h"
#include "base/str.h"
#include "base/tls.h"
#include "base/ws_client_loop.h"
#include "osmo/server.h"
#include "server/net_frame.h"
#include "server/net_head.h"

#define NET_BUCKETS 4096
#define NET_PIECE (64u << 10)           /* bytes per write */
#define NET_STREAM_BUFFER (128u << 10)  /* a stream is read on while less than this waits for its client */
#define NET_MAX_MESSAGE (16u << 20)
#define NET_MAX_OUT (64u << 20)
#define NET_MAX_IN_BYTES (32u << 20)
#define NET_MAX_IN_COUNT 1024
#define NET_MAX_BODIES (UINT64_C(1) << 30) /* all bodies in memory together */

struct osmo_server;
struct conn;

struct job { struct job *next; void (*run)(struct osmo_server *s, struct job *job); bool counted; };

/* A request and its answer. */
struct exchange {
    struct job job; /* first */
    uint64_t id;
    struct conn *conn;             /* network thread */
    struct head head;
    char peer[64];
    buf_t body;
    char *body_file;
    int body_fd;
    uint64_t body_len, body_got;
    osmo_response_t response;
    /* ---- guarded by the server's lock ---- */
    struct exchange *bucket_next, *ready_next;
    bool busy, ready, gone;        /* a worker has it or will; on the ready list; its client left */
    bool answered, is_stream, wake, eof, failed;
    buf_t pending;                 /* read from the stream, not yet taken by the network thread */
};

struct message { struct message *next; size_t len, sent; bool binary; unsigned char data[]; /* LWS_PRE, payload */ };

/* A websocket session. */
struct session {
    struct job job; /* first */
    uint64_t id;
    struct conn *conn;             /* network thread */
    osmo_ws_t *ws;
    const char *extensions;
    /* ---- guarded by the server's lock ---- */
    struct session *bucket_next, *kick_next;
    struct message *in_head, *in_tail, *out_head, *out_tail;
    size_t in_count, in_bytes, out_bytes;
    bool scheduled, opened, gone, kicked, rx_stopped, close_wanted;
    int close_code;
    char close_reason[124];
    bool held, tunnel;             /* its messages wait for another session, or are bytes of a connection that do */
    bool patient;                  /* and so does its goodbye */
    uint64_t join_with;            /* 0, or which: to be done by the network thread, or done */
    /* ---- any thread ---- */
    _Atomic uint64_t traffic_in, traffic_out;
    _Atomic int64_t traffic_us;
};

/* A connection; network thread only. */
struct conn {
    struct conn *prev, *next;
    struct lws *wsi;
    char peer[64];
    struct exchange *ex;           /* being collected or answered */
    buf_t in;                      /* what came and was not looked at yet */
    size_t scanned;                /* how much of it was searched for the end of a head */
    bool dispatched, wants_write, reading, head_sent, keep_alive, http10, is_head;
    bool idle;                     /* between requests, or before the first one */
    bool spoilt;                   /* its client is to see that something is missing */
    bool untimed;                  /* the library's own time for it is taken away */
    bool lingers;                  /* all is said: what still comes is dropped */
    uint64_t sent;                 /* bytes of the body written */
    int64_t kill_ms;               /* 0, or when the sweep cuts it */
    int64_t body_since_ms;         /* 0, or since when a body has been coming */
    struct session *session;
    struct carry *carry;           /* its bytes are carried to another connection: net_carry.h */
    struct dial *dial;             /* that one is being connected to, or is this one */
    struct frames frames;          /* being received */
    bool closing;                  /* we have said goodbye */
    int64_t last_rx_ms, last_ping_ms;
    bool ping_due, pong_due;
    int choked;                    /* pings for which there was no room until the next was due */
    unsigned char pong[FRAME_CONTROL_MAX];
    size_t pong_len;
};

struct osmo_server {
    lwsloop_t loop;
    struct lws_context *context;
    struct lws *listener;
    int listen_fd, port;
    tls_server_t *tls;             /* NULL: plain */
    char host[128];
    char *spool_dir;
    logger_t log;
    osmo_transport_t transport;
    osmo_service_t *service;
    size_t max_queue;
    int worker_count;              /* at most */
    pthread_t net_thread;
    bool started, accept_paused, draining;
    struct conn *conns;
    unsigned char *scratch;        /* LWS_PRE + head room + NET_PIECE */
    uint64_t body_bytes;
    unsigned char *relay;          /* CARRY_ROOM + CARRY_READ and some more */
    size_t carried, carried_bytes; /* connections, and what waits for them */
    time_t date_of;                /* what `date` says */
    char date[64];
    int64_t drain_deadline_ms;
    pthread_mutex_t lock;          /* everything below */
    pthread_cond_t work;
    struct job *job_head, *job_tail;
    struct worker *workers;        /* worker_count of them */
    int workers_running;
    size_t workers_idle, queued_jobs, queued_requests;
    bool stopping_workers, signalled, stop, net_gone; /* net_gone: the context is being destroyed, wake it no more */
    int64_t stop_deadline_ms;
    uint64_t next_id;
    struct exchange *exchanges[NET_BUCKETS], *ready_head, *ready_tail;
    struct session *sessions[NET_BUCKETS], *kick_head;
    struct dial *dials;            /* whose names were looked up */
};

/* workers.c */
int workers_start(struct osmo_server *s, osmo_error_t *err);
void workers_stop(struct osmo_server *s);           /* runs what is queued, then joins */
void workers_submit(struct osmo_server *s, struct job *job); /* lock held */

/* net.c */
/* How long a client may take: to say something at first, for a head from its first byte, for a body (and a millisecond a byte more),
 * between requests; and to take something of what is sent to it. Tests have less patience. */
struct net_patience { int64_t first_ms, head_ms, body_ms, idle_ms, stall_ms; };
extern struct net_patience net_patience;
int64_t net_now_ms(void);
int net_open(struct osmo_server *s, osmo_error_t *err);
void *net_main(void *server);
void net_signal(struct osmo_server *s);             /* lock held */
void net_close(struct osmo_server *s);

void net_read(struct conn *c, bool on); /* what comes while it is off waits in the socket */
int net_write(struct osmo_server *s, struct conn *c, unsigned char *data, size_t len); /* LWS_PRE bytes of room before */
/* All is said. Reads on for a moment, so that a client which is still sending gets to see it. Always 0. */
int net_linger(struct osmo_server *s, struct conn *c);
void net_shut(struct osmo_server *s, struct conn *c); /* we say no more */
void net_kill(struct osmo_server *s, struct conn *c); /* at once; not from within its own callback */
int net_reset(struct conn *c);                        /* ends it so that something is seen to be missing. Always -1 */
void net_adopted(struct osmo_server *s, int fd, struct conn **out); /* a connection of our own making; NULL: it could not be */

/* net_request.c: from a head to a struct exchange, and its body */
struct exchange *exchange_new(struct osmo_server *s, struct conn *c);
void request_view(const struct exchange *ex, osmo_request_t *out);
int request_body_open(struct osmo_server *s, struct exchange *ex, uint64_t len, bool to_file);
int request_body_add(struct osmo_server *s, struct exchange *ex, const void *data, size_t len);

/* net_http.c */
int http_received(struct osmo_server *s, struct conn *c); /* there is something in c->in */
int http_writable(struct osmo_server *s, struct conn *c);
int http_timeout(struct osmo_server *s, struct conn *c); /* a request that comes too slowly */
void http_left(struct osmo_server *s, struct conn *c);   /* the connection is gone */
void http_ready(struct osmo_server *s);                 /* answers and stream pieces from workers */
bool http_stream_idles(struct osmo_server *s, struct conn *c); /* all there is of a stream has been sent, and there may be more */
void http_stream_wake(struct osmo_server *s, uint64_t request);
int http_deny(struct osmo_server *s, struct conn *c, int status, const char *detail); /* one of the server's own; c->ex ends */
void http_take(struct conn *c, size_t n);               /* off the front of what came */
int http_refuse(struct osmo_server *s, struct conn *c, const osmo_response_t *r); /* write a whole answer that closes */
void exchange_free(struct exchange *ex);

/* net_ws.c */
int ws_upgrade(struct osmo_server *s, struct conn *c); /* c->ex asks for it */
int ws_received(struct osmo_server *s, struct conn *c);
int ws_writable(struct osmo_server *s, struct conn *c);
void ws_left(struct osmo_server *s, struct conn *c);
void ws_kicked(struct osmo_server *s);
void ws_sweep(struct osmo_server *s, struct conn *c, int64_t now_ms);
int ws_send_to(struct osmo_server *s, uint64_t id, const void *data, size_t len, bool binary);
void ws_close_to(struct osmo_server *s, uint64_t id, int code, const char *reason);

/* net_ws_carry.c: sessions that are held and joined */
int ws_join(struct osmo_server *s, uint64_t a, uint64_t b); /* any thread */
int ws_traffic(struct osmo_server *s, uint64_t id, osmo_traffic_t *out); /* any thread */
void ws_join_due(struct osmo_server *s, struct conn *c);    /* what was asked for and not done yet */
void ws_hold(struct osmo_server *s, struct conn *c);
void ws_count_in(struct session *w, size_t payload);
void ws_count_out(struct session *w, size_t payload);
struct line;
void ws_queued(struct osmo_server *s, struct conn *c, struct line *to); /* what the service has sent goes to the line */
void ws_pinged(struct osmo_server *s, struct conn *c);
int ws_say_goodbye(struct osmo_server *s, struct conn *c);  /* as its carry says */
int ws_carried_closes(struct osmo_server *s, struct conn *c); /* 1: it is for net_ws.c to do */
/* net_ws.c, for those */
struct session *ws_find(struct osmo_server *s, uint64_t id); /* lock held */
void ws_kick(struct osmo_server *s, struct session *w);     /* lock held */
void ws_begin(struct osmo_server *s, struct conn *c, struct session *w);
int ws_cut(struct osmo_server *s, struct conn *c, int code, const char *why); /* say goodbye and wait a moment for the answer */
int ws_control(struct osmo_server *s, struct conn *c, unsigned op, const void *data, size_t len);
int ws_controls(struct osmo_server *s, struct conn *c);     /* those that are due */
int ws_peer_closes(struct osmo_server *s, struct conn *c);
int ws_break_off(struct osmo_server *s, struct conn *c, int code, const char *why);
void ws_free_message(struct message *m);
#endif
