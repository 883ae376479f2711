/* See server_fixture.h. */
#include "server_fixture.h"
#include <arpa/inet.h>
#include <signal.h>
#include <stdlib.h>
#include <sys/socket.h>
#include <sys/stat.h>
#include <unistd.h>

/* ---- the service ---- */
struct osmo_stream { uint64_t id; int pieces; };
struct osmo_ws { struct osmo_service *service; uint64_t conn; int count; bool slow, held, pairs, patient; char name[64], peer[64]; };

osmo_server_t *server;
struct osmo_service service;
char base[64];
static char spool[64];
atomic_int streams_closed, ws_opened_count, ws_closed_count, handled;
static pthread_mutex_t gate_lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t gate_cond = PTHREAD_COND_INITIALIZER;
static bool gate_open;
atomic_int stream_budget;
_Atomic uint64_t last_stream, last_ws;
const char *tls_cert, *tls_key, *tls_ca;

static char *dup_n(const char *s, size_t n) {
    char *p = malloc(n + 1);
    memcpy(p, s, n);
    p[n] = '\0';
    return p;
}

static void text(osmo_response_t *r, int status, const char *body) {
    r->status = status;
    r->content_type = strdup("text/plain");
    r->body = strdup(body);
    r->body_len = strlen(body);
}

static const char *find_header(const osmo_request_t *rq, const char *name) {
    for (size_t i = 0; rq->headers[i]; i += 2) {
        if (!strcmp(rq->headers[i], name))
            return rq->headers[i + 1];
    }
    return "-";
}

static void wait_gate(void) {
    pthread_mutex_lock(&gate_lock);
    while (!gate_open)
        pthread_cond_wait(&gate_cond, &gate_lock);
    pthread_mutex_unlock(&gate_lock);
}

void set_gate(bool open) {
    pthread_mutex_lock(&gate_lock);
    gate_open = open;
    pthread_cond_broadcast(&gate_cond);
    pthread_mutex_unlock(&gate_lock);
}

static void file_answer(const osmo_request_t *rq, osmo_response_t *r) {
    struct stat st;
    char line[600];
    snprintf(line, sizeof line, "%s size=%lld", rq->body_file ? "file" : "memory",
             rq->body_file && stat(rq->body_file, &st) == 0 ? (long long)st.st_size : (long long)rq->body_len);
    text(r, 200, line);
}

void osmo_service_handle(osmo_service_t *s, const osmo_request_t *rq, osmo_response_t *r) {
    (void)s;
    handled++;
    r->body_fd = -1;
    if (!strcmp(rq->path, "/echo")) {
        r->status = 200;
        r->content_type = strdup("application/octet-stream");
        r->body = dup_n(rq->body ? rq->body : "", rq->body_len);
        r->body_len = rq->body_len;
    } else if (!strcmp(rq->path, "/line")) {
        char line[1024];
        snprintf(line, sizeof line, "%s %s ?%s user=%s type=%s len=%zu", rq->method, rq->path, rq->query,
                 find_header(rq, "x-osmo-user"), find_header(rq, "content-type"), rq->body_len);
        text(r, 200, line);
    } else if (!strcmp(rq->path, "/big")) {
        r->status = 200;
        r->content_type = strdup("application/octet-stream");
        r->body_len = 3u << 20;
        r->body = malloc(r->body_len);
        for (size_t i = 0; i < r->body_len; i++)
            r->body[i] = (char)(i * 7 % 251);
    } else if (!strcmp(rq->path, "/fd")) {
        char path[] = "/tmp/test_server_fd_XXXXXX";
        r->status = 200;
        r->content_type = strdup("application/octet-stream");
        r->body_fd = mkstemp(path);
        unlink(path);
        for (int i = 0; i < 100000; i++)
            dprintf(r->body_fd, "%09d\n", i);
        r->body_fd_offset = 10;
        r->body_fd_len = 999980;
    } else if (!strcmp(rq->path, "/upload")) {
        file_answer(rq, r);
    } else if (!strcmp(rq->path, "/gate")) {
        wait_gate();
        text(r, 200, "late");
    } else if (!strcmp(rq->path, "/stream")) {
        r->status = 200;
        r->content_type = strdup("text/plain");
        r->stream = calloc(1, sizeof *r->stream);
        r->stream->id = rq->id;
        last_stream = rq->id;
    } else {
        text(r, 404, "{\"detail\":\"Not Found\"}");
    }
}

void osmo_response_clear(osmo_response_t *r) {
    free(r->content_type);
    free(r->body);
    if (r->body_fd >= 0)
        close(r->body_fd);
    if (r->stream) {
        free(r->stream);
        streams_closed++;
    }
    memset(r, 0, sizeof *r);
    r->body_fd = -1;
}

uint64_t osmo_service_body_limit(osmo_service_t *s, const char *method, const char *path, int *to_file) {
    (void)s, (void)method;
    *to_file = !strcmp(path, "/upload");
    return *to_file ? 64u << 20 : 4u << 20;
}

/* Pieces "piece N\n" while the budget lasts; 1000 and more ends the stream. */
ssize_t osmo_stream_read(osmo_stream_t *st, char *data, size_t max) {
    if (st->pieces >= 1000)
        return OSMO_EGONE;
    if (st->pieces >= stream_budget)
        return 0;
    return snprintf(data, max, "piece %d\n", st->pieces++);
}

/* ---- sessions that are held ---- */
enum { HELD_MAX = 8192 };
static pthread_mutex_t held_lock = PTHREAD_MUTEX_INITIALIZER;
static struct { char name[64]; uint64_t conn; bool open, paired; } held[HELD_MAX];
static int held_count;
char elsewhere_host[64] = "127.0.0.1";
atomic_int elsewhere_port;

static osmo_ws_t *hold(osmo_service_t *s, uint64_t conn, bool pairs, const char *name, size_t len) {
    osmo_ws_t *ws = calloc(1, sizeof *ws);
    *ws = (struct osmo_ws){ .service = s, .conn = conn, .held = true, .pairs = pairs };
    snprintf(ws->name, sizeof ws->name, "%.*s", (int)len, name);
    return ws;
}

static void held_opened(osmo_ws_t *ws) {
    uint64_t other = 0;
    pthread_mutex_lock(&held_lock);
    for (int i = 0; i < held_count && ws->pairs && !other; i++) {
        if (held[i].open && !held[i].paired && strcmp(held[i].name, ws->name) == 0) {
            held[i].paired = true;
            other = held[i].conn;
        }
    }
    if (held_count < HELD_MAX) {
        held[held_count].conn = ws->conn;
        held[held_count].open = true;
        held[held_count].paired = other != 0;
        strcpy(held[held_count++].name, ws->name);
    }
    pthread_mutex_unlock(&held_lock);
    const osmo_transport_t *t = ws->service->transport;
    if (other && t->join(t->impl, other, ws->conn) < 0)
        t->ws_close(t->impl, ws->conn, 1001, "the other has just left"); /* as the service does: nobody else comes */
}

static void held_closed(const osmo_ws_t *ws) {
    pthread_mutex_lock(&held_lock);
    for (int i = 0; i < held_count; i++) {
        if (held[i].conn == ws->conn)
            held[i].open = false;
    }
    pthread_mutex_unlock(&held_lock);
}

uint64_t held_session(const char *name, int nth) {
    for (int tries = 0; tries < 1000; tries++, usleep(10000)) {
        uint64_t found = 0;
        pthread_mutex_lock(&held_lock);
        for (int i = 0, n = 0; i < held_count && !found; i++) {
            if (strcmp(held[i].name, name) == 0 && n++ == nth)
                found = held[i].conn;
        }
        pthread_mutex_unlock(&held_lock);
        if (found)
            return found;
    }
    return 0;
}

int join_held(const char *name) {
    uint64_t a = held_session(name, 0), b = held_session(name, 1);
    return service.transport->join(service.transport->impl, a, b);
}

osmo_place_t osmo_service_place(osmo_service_t *s, const osmo_request_t *rq, osmo_elsewhere_t *where) {
    const char *host = find_header(rq, "host");
    (void)s;
    if (strncmp(host, "webserver-pair-", 15) == 0 || strncmp(host, "webserver-held-", 15) == 0 || strncmp(host, "webserver-none", 14) == 0)
        return OSMO_PLACE_TUNNEL;
    if ((strncmp(host, "webserver-else", 14) != 0 && strcmp(rq->path, "/else") != 0) || *find_header(rq, "x-osmo-carried") == 'y')
        return OSMO_PLACE_HERE;
    strcpy(where->host, elsewhere_host);
    where->port = elsewhere_port;
    strcpy(where->header, "X-Osmo-Carried: yes");
    return OSMO_PLACE_ELSEWHERE;
}

void osmo_service_tunnel_open(osmo_service_t *s, const osmo_request_t *rq, uint64_t conn, osmo_ws_t **ws, osmo_response_t *r) {
    const char *host = find_header(rq, "host");
    *ws = NULL;
    if (strncmp(host, "webserver-none", 14) == 0)
        text(r, 404, "there is no such web server");
    else if (strlen(host) > 15)
        *ws = hold(s, conn, strncmp(host, "webserver-pair-", 15) == 0, host + 15, strcspn(host + 15, ".:"));
    const char *carried = find_header(rq, "x-osmo-replica-peer");
    if (*ws)
        snprintf((*ws)->peer, sizeof (*ws)->peer, "%s", strcmp(carried, "-") == 0 ? rq->peer : carried);
}

const char *osmo_ws_peer(const osmo_ws_t *ws) { return ws->peer; }

int osmo_ws_held(const osmo_ws_t *ws) { return ws->held + ws->patient; }

void osmo_service_ws_open(osmo_service_t *s, const osmo_request_t *rq, uint64_t conn, osmo_ws_t **ws,
                          const char **extensions, osmo_response_t *r) {
    bool slow = strcmp(rq->path, "/ws/slow") == 0;
    if (strncmp(rq->path, "/held/", 6) == 0 || strncmp(rq->path, "/pair/", 6) == 0) {
        *ws = hold(s, conn, rq->path[1] == 'p', rq->path + 6, strlen(rq->path + 6));
        (*ws)->patient = strncmp(rq->path, "/held/patient", 13) == 0;
        return;
    }
    if ((!slow && strcmp(rq->path, "/ws") != 0) || strcmp(find_header(rq, "x-osmo-user"), "alice") != 0) {
        text(r, 403, "{\"detail\":\"no\"}");
        return;
    }
    *ws = calloc(1, sizeof **ws);
    (*ws)->service = s;
    (*ws)->conn = conn;
    (*ws)->slow = slow;
    last_ws = conn;
    *extensions = strcmp(find_header(rq, "x-osmo-extensions"), "job-ids, acks") == 0 ? "job-ids" : NULL;
}

void osmo_ws_opened(osmo_ws_t *ws) {
    ws_opened_count++;
    if (ws->held) {
        held_opened(ws);
        return;
    }
    if (ws->slow) /* as one that asks a database */
        wait_gate();
    ws->service->transport->ws_send(ws->service->transport->impl, ws->conn, "hello", 5, 0);
}

void osmo_ws_message(osmo_ws_t *ws, const void *data, size_t len, int binary) {
    ws->count++;
    if (len == 5 && !memcmp(data, "close", 5))
        ws->service->transport->ws_close(ws->service->transport->impl, ws->conn, 4001, "as asked");
    else
        ws->service->transport->ws_send(ws->service->transport->impl, ws->conn, data, len, binary);
}

void osmo_ws_closed(osmo_ws_t *ws) {
    held_closed(ws);
    free(ws);
    ws_closed_count++;
}

/* ---- helpers ---- */
bool start_with(int workers, size_t max_queue) {
    osmo_error_t err = OSMO_ERROR_INIT;
    osmo_server_options_t o = { .size = sizeof o, .listen = "127.0.0.1:0", .workers = workers, .max_queue = max_queue,
                                .spool_dir = spool, .cert_file = tls_cert, .key_file = tls_key };
    strcpy(spool, "/tmp/test_server_XXXXXX");
    if (!mkdtemp(spool))
        return false;
    if (osmo_server_open(&o, &server, &err) < 0) {
        fprintf(stderr, "%s\n", err.text);
        return false;
    }
    service.transport = osmo_server_transport(server);
    streams_closed = ws_opened_count = ws_closed_count = handled = 0;
    stream_budget = held_count = 0;
    set_gate(false);
    snprintf(base, sizeof base, "%s://127.0.0.1:%d", tls_cert ? "https" : "http", osmo_server_port(server));
    return osmo_server_start(server, &service, &err) == 0;
}

void stop(void) {
    osmo_server_stop(server, 2000);
    osmo_server_free(server);
    server = NULL;
    CHECK(rmdir(spool) == 0); /* fails when a spooled body was left behind */
}

/* s_client between us and the server: what is written to the returned socket goes through it. */
static int dial_tls(void) {
    int fds[2];
    char where[32];
    snprintf(where, sizeof where, "127.0.0.1:%d", osmo_server_port(server));
    if (socketpair(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0, fds) != 0)
        return -1;
    signal(SIGCHLD, SIG_IGN);
    pid_t pid = fork();
    if (pid == 0) {
        dup2(fds[1], 0);
        dup2(fds[1], 1);
        execlp("openssl", "openssl", "s_client", "-quiet", "-no_ign_eof", "-noservername", "-verify_quiet", "-verify_return_error",
               "-nocommands", "-CAfile", tls_ca, "-connect", where, (char *)NULL);
        _exit(127);
    }
    close(fds[1]);
    return fds[0];
}

int dial(void) {
    struct sockaddr_in a = { .sin_family = AF_INET, .sin_port = htons((uint16_t)osmo_server_port(server)),
                             .sin_addr.s_addr = htonl(INADDR_LOOPBACK) };
    if (tls_cert)
        return dial_tls();
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    return connect(fd, (struct sockaddr *)&a, sizeof a) == 0 ? fd : -1;
}

char *read_until(int fd, const char *mark) {
    static char got[65536];
    size_t len = 0;
    for (;;) {
        ssize_t n = read(fd, got + len, sizeof got - 1 - len);
        if (n > 0)
            len += (size_t)n;
        got[len] = '\0';
        if (n <= 0 || (mark && strstr(got, mark)))
            return got;
    }
}

char *talk(int fd, const char *request, const char *mark) {
    CHECK_INT(send(fd, request, strlen(request), MSG_NOSIGNAL), strlen(request));
    return read_until(fd, mark);
}

void wait_for(atomic_int *value, int want) {
    for (int i = 0; i < 1000 && *value < want; i++)
        usleep(10000);
    CHECK_INT(*value, want);
}

int get(http_client_t *c, const char *path, const char *method, const void *body, size_t len,
               http_response_t *rs) {
    char url[256];
    osmo_error_t err = OSMO_ERROR_INIT;
    static const char *const headers[] = { "X-Osmo-User: alice", "Content-Type: application/json", NULL };
    snprintf(url, sizeof url, "%s%s", base, path);
    http_request_t rq = {
        .method = method, .url = url, .headers = headers, .body = body, .body_len = len, .timeout_ms = 20000
    };
    int rc = http_perform(c, &rq, rs, &err);
    CHECK_OK(rc, &err);
    return rc < 0 ? rc : rs->status;
}

/* ---- websockets ---- */
static void on_opened(void *ctx, uint64_t conn, const char *extensions) {
    struct client *c = ctx;
    c->opened++;
    CHECK_INT(conn, c->conn);
    snprintf(c->extensions, sizeof c->extensions, "%s", extensions);
}

static void on_message(void *ctx, uint64_t conn, const char *data, size_t len, bool binary) {
    struct client *c = ctx;
    (void)conn;
    char want[32];
    snprintf(want, sizeof want, "n%d", c->messages - 1);
    if (c->messages > 0 && strcmp(want, data) != 0)
        c->in_order = false;
    snprintf(c->last, sizeof c->last, "%.60s", data);
    c->last_len = len;
    c->last_binary = binary;
    c->messages++;
}

static void on_closed(void *ctx, uint64_t conn, int code, int http_status, const char *reason) {
    struct client *c = ctx;
    (void)conn;
    c->closed++;
    c->code = code;
    c->http_status = http_status;
    snprintf(c->reason, sizeof c->reason, "%s", reason);
    ws_loop_stop(c->loop);
}

static void *client_main(void *ctx) {
    ws_loop_run(((struct client *)ctx)->loop);
    return NULL;
}

bool client_start(struct client *c, const char *path, const char *extensions) {
    static const ws_handlers_t handlers = { .opened = on_opened, .message = on_message, .closed = on_closed };
    static const char *const headers[] = { "X-Osmo-User: alice", "Authorization: Bearer t", NULL };
    osmo_error_t err = OSMO_ERROR_INIT;
    char url[128];
    memset(c, 0, sizeof *c);
    c->in_order = true;
    snprintf(url, sizeof url, "%s%s", base, path);
    if (ws_loop_new(&c->loop, &err) < 0)
        return false;
    ws_options_t o = { .url = url, .headers = headers, .extensions = extensions };
    if (ws_connect(c->loop, &o, &handlers, c, &c->conn, &err) < 0)
        return false;
    return pthread_create(&c->thread, NULL, client_main, c) == 0;
}

void client_end(struct client *c) {
    pthread_join(c->thread, NULL);
    ws_loop_free(c->loop);
    CHECK_INT(c->closed, 1);
}
