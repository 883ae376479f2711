/* The six sockets of an operator: login, connect, INIT first, hold messages until they are acknowledged, replay them in order
 * after a reconnect, back off with jitter. Everything here runs in the loop thread. */
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/crypto.h"
#include "base/str.h"
#include "operator/internal.h"
#include "osmo/version.h"

#define BACKOFF_FIRST_MS 100
#define BACKOFF_MAX_MS 24000 /* up to a quarter more, by chance */
#define STABLE_US (5 * INT64_C(1000000))  /* a connection that lived this long was a good one */
#define HEARTBEAT_MS 20000
#define LISTENER_MESSAGE_MAX (1u << 20)

static const struct { const char *path, *name; bool acks; } streams[STREAM_COUNT] = {
    [STREAM_CONTROL] = {"listener/control", "control", false},
    [STREAM_POD] = {"listener/pod", "pod", true},
    [STREAM_NODE] = {"listener/node", "node", true},
    [STREAM_EVENT] = {"listener/event", "event", true},
    [STREAM_HEARTBEAT] = {"listener/heartbeat", "heartbeat", true},
    [STREAM_WORKER] = {"worker", "worker", false},
};

static void begin(struct session *s);

const char *session_name(enum stream kind) { return streams[kind].name; }

const char *session_missing(const struct osmo_operator *op) {
    for (int i = 0; i < STREAM_COUNT; i++)
        if (op->sessions[i].state != SESSION_OPEN)
            return streams[i].name;
    return NULL;
}

/* ---- waiting ---- */

static int64_t jitter(int64_t ms) {
    uint32_t r = 0;
    crypto_random(&r, sizeof r);
    return ms * 3 / 4 + (int64_t)(r % (uint32_t)(ms / 2 + 1));
}

static void on_retry(void *ctx) {
    struct session *s = ctx;
    s->timer = 0;
    begin(s);
}

static void wait_and_retry(struct session *s) {
    s->state = SESSION_WAITING;
    s->conn = 0;
    if (s->op->stopping)
        return;
    s->timer = ws_loop_after(s->op->loop, jitter(s->backoff_ms), on_retry, s);
    s->backoff_ms = s->backoff_ms * 2 < BACKOFF_MAX_MS ? s->backoff_ms * 2 : BACKOFF_MAX_MS;
}

/* One socket got through, so the service is there: the others need not sit out a long wait. */
static void hurry_others(const struct session *lucky) {
    struct osmo_operator *op = lucky->op;
    for (int i = 0; i < STREAM_COUNT; i++) {
        struct session *s = &op->sessions[i];
        if (s == lucky || s->state != SESSION_WAITING || !s->timer || s->backoff_ms <= 8 * BACKOFF_FIRST_MS)
            continue;
        ws_loop_cancel(op->loop, s->timer);
        s->timer = ws_loop_after(op->loop, jitter(BACKOFF_FIRST_MS), on_retry, s);
    }
}

/* ---- sending ---- */

static bool send_message(struct session *s, enum message_type type, json_t *body) {
    _cleanup_buf_ buf_t text = BUF_INIT(65536);
    char uuid[33];
    if (crypto_random_hex32(uuid) < 0) {
        json_free(body);
        return false;
    }
    return message_build(type, uuid, body, &text) == 0 && ws_conn_send(s->op->loop, s->conn, text.data, text.len, false) == 0;
}

static bool send_init(struct session *s) {
    json_t *body = json_object();
    if (!body)
        return false;
    int rc = json_set_str(body, "k8s_uid", s->op->driver->uid(s->op->impl));
    rc |= json_set_str(body, "k8s_namespace", s->op->namespace_);
    rc |= json_set_str(body, "version", OSMO_WIRE_VERSION);
    rc |= json_set_str(body, "node_condition_prefix", s->op->condition_prefix);
    if (rc) {
        json_free(body);
        return false;
    }
    return send_message(s, MSG_INIT, body);
}

static void pump(struct session *s) {
    if (s->state != SESSION_OPEN || !s->out || (s->kind == STREAM_NODE && s->op->pods_first))
        return;
    const buf_t *text;
    while ((text = outbox_next(s->out))) {
        if (ws_conn_send(s->op->loop, s->conn, text->data, text->len, false) != 0)
            return; /* `writable` or `closed` follows */
        outbox_sent(s->out);
        metrics_count(&s->op->metrics, METRIC_SENT, streams[s->kind].name);
    }
}

/* A node that becomes free makes the service think of new work; what became of the old work goes first. */
static void open_node_gate(struct osmo_operator *op) {
    struct session *pod = &op->sessions[STREAM_POD];
    if (op->pods_first && pod->state == SESSION_OPEN && outbox_len(pod->out) == 0) {
        op->pods_first = false;
        pump(&op->sessions[STREAM_NODE]);
    }
}

int session_queue(struct osmo_operator *op, enum stream kind, enum message_type type, const char *key, json_t *body) {
    struct session *s = &op->sessions[kind];
    uint64_t dropped = outbox_dropped(s->out);
    int rc = outbox_add(s->out, type, key, body, kind == STREAM_EVENT);
    metrics_count(&op->metrics, METRIC_QUEUED, streams[kind].name);
    if (outbox_dropped(s->out) != dropped && (dropped & (dropped + 1)) == 0)
        log_warning(&op->log, "the %s queue is full: messages are left out until the service takes some", streams[kind].name);
    pump(s);
    return rc;
}

bool session_has_room(const struct osmo_operator *op, enum stream kind) {
    /* One change of the cluster makes a few messages at most. */
    return outbox_len(op->sessions[kind].out) + 16 <= OUTBOX_MAX;
}

/* ---- heartbeats ---- */

static json_t *heartbeat_body(struct osmo_operator *op) {
    char now[TIME_TEXT_MAX];
    json_t *body = json_object();
    int rc = body ? json_set_str(body, "time", time_iso(clock_now_us(), now)) : OSMO_ENOMEM;
    if (rc == 0 && op->sessions[STREAM_HEARTBEAT].status) {
        operator_describe(op, op->told_status);
        rc = json_set_str(body, "status", op->told_status);
    }
    if (rc == 0)
        return body;
    json_free(body);
    return NULL;
}

static void on_heartbeat(void *ctx) {
    struct osmo_operator *op = ctx;
    op->heartbeat_timer = ws_loop_after(op->loop, HEARTBEAT_MS, on_heartbeat, op);
    json_t *body = heartbeat_body(op);
    if (body)
        session_queue(op, STREAM_HEARTBEAT, MSG_HEARTBEAT, "heartbeat", body);
}

static void heartbeat_now(struct osmo_operator *op) {
    if (op->heartbeat_timer)
        ws_loop_cancel(op->loop, op->heartbeat_timer);
    on_heartbeat(op);
}

void session_status_changed(void *ctx) {
    struct osmo_operator *op = ctx;
    char status[HEALTH_TEXT_MAX];
    operator_describe(op, status);
    if (strcmp(status, op->mode) != 0 && strcmp(status, op->seen_status) != 0)
        metrics_count(&op->metrics, METRIC_WATCH_ERRORS, "cluster");
    memcpy(op->seen_status, status, sizeof op->seen_status);
    const struct session *s = &op->sessions[STREAM_HEARTBEAT];
    if (s->state == SESSION_OPEN && s->status && strcmp(status, op->told_status) != 0)
        heartbeat_now(op);
}

/* ---- receiving ---- */

static void on_rules(struct session *s, const json_t *body) {
    osmo_error_t err = OSMO_ERROR_INIT;
    if (nodes_set_rules(s->op->nodes, json_get(body, "rules"), &err) < 0)
        log_warning(&s->op->log, "node condition rules of the service are refused, the old ones stay: %s", err.text);
}

static void on_ack(struct session *s, const char *uuid) {
    if (!s->out || !uuid || !outbox_ack(s->out, uuid)) {
        log_debug(&s->op->log, "%s: acknowledgement of an unknown message", streams[s->kind].name);
        return;
    }
    pump(s);
    if (s->kind == STREAM_POD)
        open_node_gate(s->op);
    if (s->kind == STREAM_POD)
        snapshot_flush(s->op);
    if (s->kind == STREAM_POD || s->kind == STREAM_NODE)
        ws_loop_wake(s->op->loop, changes_process, s->op);
}

static void on_message(void *ctx, uint64_t conn, const char *data, size_t len, bool binary) {
    struct session *s = ctx;
    if (conn != s->conn)
        return;
    s->backoff_ms = BACKOFF_FIRST_MS;
    if (s->kind == STREAM_WORKER) {
        worker_message(s->op, data, len, binary);
        return;
    }
    struct message m;
    osmo_error_t err = OSMO_ERROR_INIT;
    if (message_parse(data, len, &m, &err) < 0) {
        log_warning(&s->op->log, "%s: a message of the service is ignored: %s", streams[s->kind].name, err.text);
        return;
    }
    if (m.type == MSG_ACK)
        on_ack(s, json_get_str(m.body, "uuid"));
    else if (m.type == MSG_NODE_CONDITIONS)
        on_rules(s, m.body);
    else if (m.type == MSG_TASK_LIST && s->kind == STREAM_POD)
        snapshot_ask(s->op, json_get_int(m.body, "snapshot", 0));
    message_clear(&m);
}

/* ---- opening and closing ---- */

static void on_opened(void *ctx, uint64_t conn, const char *extensions) {
    struct session *s = ctx;
    if (conn != s->conn)
        return;
    s->state = SESSION_OPEN;
    s->opened_us = clock_mono_us();
    s->jobs = s->kind == STREAM_WORKER && extension_offered(extensions, "jobs");
    s->status = s->kind == STREAM_HEARTBEAT && extension_offered(extensions, "status");
    s->again = false;
    log_debug(&s->op->log, "%s: connected", streams[s->kind].name);
    if (s->kind == STREAM_WORKER)
        worker_connected(s->op, conn, s->jobs);
    if (!send_init(s)) {
        ws_conn_close(s->op->loop, conn, 1011, "cannot introduce itself");
        return;
    }
    if (s->out)
        outbox_rewind(s->out);
    if (s->kind == STREAM_HEARTBEAT) {
        outbox_clear(s->out); /* old ones tell nothing, and may say what this service does not know */
        heartbeat_now(s->op);
    }
    if (s->kind == STREAM_NODE)
        nodes_resend(s->op->nodes); /* a service that lost its memory learns the nodes again */
    pump(s);
    if (s->kind == STREAM_POD)
        open_node_gate(s->op);
    hurry_others(s);
}

static void on_closed(void *ctx, uint64_t conn, int code, int http_status, const char *reason) {
    struct session *s = ctx;
    if (conn != s->conn || s->op->stopping)
        return;
    if (s->kind == STREAM_WORKER)
        worker_disconnected(s->op);
    if (s->state == SESSION_OPEN && clock_mono_us() - s->opened_us >= STABLE_US)
        s->backoff_ms = BACKOFF_FIRST_MS;
    if (http_status)
        log_warning(&s->op->log, "%s: %s refused the connection with HTTP %d", streams[s->kind].name, s->op->url, http_status);
    else
        log_info(&s->op->log, "%s: connection to %s is closed (%d%s%s)", streams[s->kind].name, s->op->url, code,
                 reason && *reason ? ": " : "", reason && *reason ? reason : "");
    if (s->out)
        outbox_rewind(s->out);
    metrics_count(&s->op->metrics, METRIC_DISCONNECTS, streams[s->kind].name);
    if (http_status == 401 && !s->again && s->op->token_file) { /* the keys or the token may be new: once, read both again at once */
        s->again = true;
        begin(s);
    } else {
        wait_and_retry(s);
    }
}

static void on_writable(void *ctx, uint64_t conn) {
    struct session *s = ctx;
    if (conn != s->conn)
        return;
    if (s->kind == STREAM_WORKER)
        worker_writable(s->op);
    else
        pump(s);
}

static const ws_handlers_t handlers = { .opened = on_opened, .message = on_message, .closed = on_closed, .writable = on_writable };

/* A cluster that lists no pods answers no snapshot; one that takes what is on its machine as images says so: "own-images". */
static void offer(const struct session *s, buf_t *out) {
    if (s->kind == STREAM_WORKER)
        buf_puts(out, "jobs, job-parts");
    else if (s->kind == STREAM_POD && s->op->driver->list)
        buf_puts(out, "snapshot");
    else if (s->kind == STREAM_HEARTBEAT)
        buf_puts(out, "status");
    if (s->op->own_images)
        buf_printf(out, "%sown-images", out->len ? ", " : "");
}

static void connect_with(struct session *s, const char *header) {
    struct osmo_operator *op = s->op;
    buf_t url = BUF_INIT(4096), extensions = BUF_INIT(256);
    osmo_error_t err = OSMO_ERROR_INIT;
    const char *headers[] = {header, NULL};
    buf_printf(&url, "%s/api/agent/%s/backend/", op->url, streams[s->kind].path);
    url_encode(op->backend, &url);
    offer(s, &extensions);
    ws_options_t o = { .url = buf_cstr(&url), .headers = headers, .extensions = extensions.len ? buf_cstr(&extensions) : NULL,
                       .max_message = s->kind == STREAM_WORKER ? JOB_FRAME_MAX : LISTENER_MESSAGE_MAX };
    s->state = SESSION_CONNECTING;
    int rc = buf_failed(&url) ? OSMO_ELIMIT : ws_connect(op->loop, &o, &handlers, s, &s->conn, &err);
    buf_free(&url);
    buf_free(&extensions);
    if (rc < 0) {
        log_warning(&op->log, "%s: cannot connect to %s: %s", streams[s->kind].name, op->url, err.text);
        wait_and_retry(s);
    }
}

static void begin(struct session *s) {
    struct osmo_operator *op = s->op;
    if (op->stopping)
        return;
    if (op->token_file || op->token) {
        s->state = SESSION_LOGIN;
        login_start(op);
        return;
    }
    _cleanup_free_ char *header = str_printf("x-osmo-user: %s", op->user);
    if (header)
        connect_with(s, header);
    else
        wait_and_retry(s);
}

void session_login_done(void *ctx) {
    struct osmo_operator *op = ctx;
    char *jwt = NULL, *header = NULL;
    osmo_error_t err = OSMO_ERROR_INIT;
    int rc = login_take(op, &jwt, &err);
    if (rc == OSMO_EBUSY && !*err.text)
        return; /* answered by an earlier wake already */
    if (rc >= 0)
        header = str_printf("Authorization: Bearer %s", jwt);
    else if (strcmp(err.text, op->login.told.text) != 0) /* six sockets retry: once per cause is enough */
        log_warning(&op->log, "login failed, trying again: %s", err.text);
    op->login.told = err;
    for (int i = 0; i < STREAM_COUNT; i++) {
        struct session *s = &op->sessions[i];
        if (s->state != SESSION_LOGIN)
            continue;
        if (header)
            connect_with(s, header);
        else
            wait_and_retry(s);
    }
    if (jwt)
        crypto_wipe(jwt, strlen(jwt));
    if (header)
        crypto_wipe(header, strlen(header));
    free(jwt);
    free(header);
}

int session_open_all(struct osmo_operator *op) {
    op->pods_first = true;
    for (int i = 0; i < STREAM_COUNT; i++) {
        struct session *s = &op->sessions[i];
        *s = (struct session){ .op = op, .kind = (enum stream)i, .backoff_ms = BACKOFF_FIRST_MS };
        if (streams[i].acks && !(s->out = outbox_new(UNACKED_MAX, OUTBOX_MAX)))
            return OSMO_ENOMEM;
    }
    return OSMO_OK;
}

void session_start_all(struct osmo_operator *op) {
    for (int i = 0; i < STREAM_COUNT; i++)
        begin(&op->sessions[i]);
}

void session_free_all(struct osmo_operator *op) {
    for (int i = 0; i < STREAM_COUNT; i++) {
        outbox_free(op->sessions[i].out);
        op->sessions[i].out = NULL;
    }
}
