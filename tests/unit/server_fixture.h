/* A server on a loopback port over a small service of its own, which echoes, sleeps and streams; clients for it, raw
 * and of base/. For test_server.c, test_server_limits.c, test_server_tls.c. */
#ifndef TESTS_SERVER_FIXTURE_H
#define TESTS_SERVER_FIXTURE_H
#include <pthread.h>
#include <stdatomic.h>
#include "base/http.h"
#include "base/ws_client.h"
#include "check.h"
#include "osmo/server.h"

struct osmo_service { const osmo_transport_t *transport; };

extern osmo_server_t *server;
extern struct osmo_service service;
extern char base[64]; /* URL */
extern atomic_int streams_closed, ws_opened_count, ws_closed_count, handled;
extern atomic_int stream_budget; /* pieces a stream may give before it says "nothing now" */
extern _Atomic uint64_t last_stream, last_ws;
/* Before start_with: PEM files of a server that speaks TLS, and the authority that its clients believe in; NULL:
 * plain. */
extern const char *tls_cert, *tls_key, *tls_ca;

bool start_with(int workers, size_t max_queue);
void stop(void);
void set_gate(bool open); /* for /gate and /ws/slow */
void wait_for(atomic_int *value, int want);

/* A connection, over TLS when the server speaks it. */
int dial(void);
/* Read until `mark` was seen or the peer closes. */
char *read_until(int fd, const char *mark);
char *talk(int fd, const char *request, const char *mark);

int get(http_client_t *c, const char *path, const char *method, const void *body, size_t len, http_response_t *rs);

/* Sessions that are held: websockets of /held/NAME, which wait for join_held() (with their goodbye, as /held/patient…), and of
 * /pair/NAME, of which two are joined as soon as both are there; connections for the Host webserver-pair-NAME are tunnels that are
 * joined with a websocket of /pair/NAME, those for webserver-held-NAME wait as NAME. webserver-else… and websockets of /else
 * belong to the service at elsewhere_port, except when it was that one which sent them. */
extern char elsewhere_host[64];
extern atomic_int elsewhere_port;
uint64_t held_session(const char *name, int nth); /* waits until it is there */
int join_held(const char *name); /* the first two of that name */

/* A websocket client with a thread of its own. */
struct client {
    ws_loop_t *loop;
    pthread_t thread;
    pthread_mutex_t lock;
    uint64_t conn;
    char extensions[64], last[64];
    int opened, closed, code, http_status;
    atomic_int messages;
    size_t last_len;
    bool last_binary, in_order;
    char reason[200];
};
bool client_start(struct client *c, const char *path, const char *extensions);
void client_end(struct client *c); /* waits for its end */
#endif
