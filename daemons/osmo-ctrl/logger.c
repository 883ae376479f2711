/* The connection to the logger. The loop thread owns the websocket; a connector thread fetches tokens (which may block)
 * and asks the loop to dial; the main thread waits for what it needs: connected, barrier released, everything
 * confirmed. With the "logs" extension lines travel in acknowledged batches and survive reconnects and restarts of
 * either side's connection; without it each line is one frame as OSMO 6.4 sends it and counts as delivered when it is
 * handed to the socket. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/eventfd.h>
#include <time.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/cond.h"
#include "base/crypto.h"
#include "ctrl.h"
#include "model/messages.h"

#define BATCH_BYTES (64u << 10)
#define WINDOW_BYTES (1u << 20)
#define FRAME_MAX (4u << 20)
#define LOG_DONE_REPEAT_MS 5000
#define BARRIER_REPEAT_MS 300000
#define BACKOFF_MIN_MS 100
#define BACKOFF_MAX_MS 8000
#define METRICS_MAX 4096
#define REFUSALS_MAX 3

struct logger_link {
    const struct options *o;
    struct token *token;
    struct spool *spool;
    struct actions *actions;
    ws_loop_t *loop;
    pthread_t loop_thread, connector;
    char *url, *bearer_header;      /* bearer_header: handed from the connector to the loop */
    /* loop thread only */
    uint64_t conn;
    bool ready, acknowledged, confirms, numbers_actions, log_done_sent;
    char restart_id[24]; /* of the last one that was confirmed */
    /* under lock */
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool dial, token_wanted, ever_connected, barrier_wanted, barrier_asked, finish_wanted, log_done, closing;
    int failed;                     /* ctrl_exit code that ends every wait */
    int attempts, refusals; /* in a row: dials without success; closes by a logger that does not know this task */
    int64_t lost_at_us;
    char barrier[128];
    strlist_t metrics;              /* JSON texts not yet sent */
    int restart;                    /* eventfd: the command has to begin again */
};

static void fail(struct logger_link *l, int code) {
    pthread_mutex_lock(&l->lock);
    if (!l->failed)
        l->failed = code;
    pthread_cond_broadcast(&l->changed);
    pthread_mutex_unlock(&l->lock);
    spool_abandon(l->spool);
}

static const char *stamp(int64_t ns, char out[64]) {
    char text[TIME_TEXT_MAX];
    time_iso(ns / 1000000000 * 1000000, text);
    snprintf(out, 64, "%.40s.%09uZ", text, (unsigned)((uint64_t)ns % 1000000000u));
    return out;
}

static int64_t now_ns(void) {
    struct timespec ts;
    clock_gettime(CLOCK_REALTIME, &ts);
    return (int64_t)ts.tv_sec * 1000000000 + ts.tv_nsec;
}

/* ---- loop thread: sending ---- */

/* A JSON string whose content is the object: how OSMO's runtime frames what it tells the logger. What cannot be put into
 * a frame never could be: the task ends with `unable`. */
static bool send_wrapped(struct logger_link *l, json_t *object, int unable) {
    buf_t frame = BUF_INIT(FRAME_MAX);
    _cleanup_free_ char *inner = json_to_text(object);
    json_t *outer = inner ? json_string(inner) : NULL;
    int rc = outer ? json_print(outer, 0, &frame) : OSMO_ENOMEM;
    if (rc)
        fail(l, unable);
    else
        rc = ws_conn_send(l->loop, l->conn, frame.data, frame.len, false);
    json_free(outer);
    json_free(object);
    buf_free(&frame);
    return rc == 0;
}

static json_t *envelope(struct logger_link *l, enum io_type type, int64_t time_ns) {
    char when[64];
    json_t *o = json_object();
    json_set_str(o, "Source", l->o->log_source);
    json_set_str(o, "Time", stamp(time_ns, when));
    json_set_str(o, "IOType", io_type_name(type));
    return o;
}

static bool send_plain(void *ctx, const struct spool_entry *e) {
    struct logger_link *l = ctx;
    json_t *o = envelope(l, e->type, e->time_ns);
    json_set(o, "Text", json_string_n(e->text, e->len));
    return send_wrapped(l, o, CTRL_MESSAGE);
}

struct batch { buf_t frame; uint64_t last; int64_t second; char when[40]; };

/* A JSON string. Lines are UTF-8 already. */
static void put_quoted(buf_t *out, const char *text, size_t len) {
    static const char digits[] = "0123456789abcdef";
    if (buf_reserve(out, len * 6 + 2) < 0)
        return;
    char *p = out->data + out->len;
    *p++ = '"';
    for (size_t i = 0; i < len; i++) {
        unsigned char c = (unsigned char)text[i];
        if (c >= 0x20 && c != '"' && c != '\\') {
            *p++ = (char)c;
        } else if (c >= 0x20) {
            *p++ = '\\';
            *p++ = (char)c;
        } else {
            memcpy(p, "\\u00", 4);
            p[4] = digits[c >> 4];
            p[5] = digits[c & 15];
            p += 6;
        }
    }
    *p++ = '"';
    *p = '\0';
    out->len = (size_t)(p - out->data);
}

static bool add_to_batch(void *ctx, const struct spool_entry *e) {
    struct batch *b = ctx;
    if (!b->last || e->time_ns / 1000000000 != b->second) { /* most lines of a batch are of one second */
        b->second = e->time_ns / 1000000000;
        char text[TIME_TEXT_MAX];
        snprintf(b->when, sizeof b->when, "%.38s", time_iso(b->second * 1000000, text));
    }
    buf_printf(&b->frame, "%s{\"seq\":%llu,\"Time\":\"%s.%09uZ\",\"IOType\":\"%s\",\"Text\":", b->last ? "," : "",
               (unsigned long long)e->seq, b->when, (unsigned)((uint64_t)e->time_ns % 1000000000u), io_type_name(e->type));
    put_quoted(&b->frame, e->text, e->len);
    b->last = e->seq;
    return buf_putc(&b->frame, '}') == 0;
}

static void send_batches(struct logger_link *l) {
    while (spool_in_flight(l->spool) < WINDOW_BYTES && ws_conn_queued(l->loop, l->conn) < WINDOW_BYTES) {
        struct batch b = { .frame = BUF_INIT(FRAME_MAX) };
        buf_puts(&b.frame, "{\"IOType\":\"LOG_BATCH\",\"entries\":[");
        size_t n = spool_send(l->spool, BATCH_BYTES, add_to_batch, &b);
        buf_puts(&b.frame, "]}");
        if (n && buf_failed(&b.frame))
            fail(l, CTRL_MESSAGE);
        bool sent = n && !buf_failed(&b.frame) && ws_conn_send(l->loop, l->conn, b.frame.data, b.frame.len, false) == 0;
        buf_free(&b.frame);
        if (n && !sent)
            spool_rewind(l->spool); /* the logger skips what it already has */
        if (!sent)
            return;
    }
}

static void send_plain_lines(struct logger_link *l) {
    while (ws_conn_queued(l->loop, l->conn) < WINDOW_BYTES) {
        if (!spool_send(l->spool, BATCH_BYTES, send_plain, l))
            return;
        spool_confirm(l->spool, UINT64_MAX);
    }
}

static void send_controls(struct logger_link *l) {
    pthread_mutex_lock(&l->lock);
    bool ask = l->barrier_wanted && !l->barrier_asked;
    l->barrier_asked = l->barrier_asked || ask;
    strlist_t metrics = l->metrics;
    l->metrics = (strlist_t){ 0 };
    pthread_mutex_unlock(&l->lock);
    if (ask) {
        json_t *o = envelope(l, IO_BARRIER, now_ns());
        json_set_str(o, "Name", l->barrier);
        json_set_int(o, "Count", -1);
        send_wrapped(l, o, CTRL_BARRIER);
    }
    for (size_t i = 0; i < metrics.len; i++) {
        json_t *o = NULL;
        if (!json_parse(metrics.items[i], strlen(metrics.items[i]), &o, NULL))
            send_wrapped(l, o, CTRL_METRIC);
    }
    strlist_free(&metrics);
}

static void pump(void *ctx);

static void repeat_log_done(void *ctx) {
    struct logger_link *l = ctx;
    l->log_done_sent = false;
    pump(l);
}

static void pump(void *ctx) {
    struct logger_link *l = ctx;
    if (!l->ready)
        return;
    send_controls(l);
    if (l->acknowledged)
        send_batches(l);
    else
        send_plain_lines(l);
    pthread_mutex_lock(&l->lock);
    bool finish = l->finish_wanted && !l->log_done;
    pthread_mutex_unlock(&l->lock);
    if (finish && !l->log_done_sent && !spool_unconfirmed(l->spool)) {
        json_t *o = envelope(l, IO_LOG_DONE, now_ns());
        json_set_str(o, "Text", "");
        l->log_done_sent = send_wrapped(l, o, CTRL_MESSAGE);
        ws_loop_after(l->loop, LOG_DONE_REPEAT_MS, repeat_log_done, l);
    }
}

/* ---- loop thread: events ---- */

static void on_opened(void *ctx, uint64_t conn, const char *extensions) {
    struct logger_link *l = ctx;
    l->conn = conn;
    l->acknowledged = extension_offered(extensions, "logs");
    l->confirms = extension_offered(extensions, "restarts");
    l->numbers_actions = extension_offered(extensions, "actions");
    l->log_done_sent = false;
    l->ready = !l->acknowledged; /* with acknowledgements the logger first says what it has */
    spool_rewind(l->spool);
    pthread_mutex_lock(&l->lock);
    l->ever_connected = true;
    l->barrier_asked = false;
    if (!l->acknowledged)
        l->attempts = 0, l->lost_at_us = 0; /* nothing better will tell that we are welcome */
    pthread_cond_broadcast(&l->changed);
    pthread_mutex_unlock(&l->lock);
    pump(l);
}

/* A refusal comes after the handshake, so only the logger's first word shows that it accepts us. */
static void welcomed(struct logger_link *l) {
    pthread_mutex_lock(&l->lock);
    l->attempts = l->refusals = 0;
    l->lost_at_us = 0;
    pthread_mutex_unlock(&l->lock);
}

/* The group begins again, and its barriers are empty: who waits at one asks again, others stop what they do. */
static void restart_wanted(struct logger_link *l) {
    pthread_mutex_lock(&l->lock);
    bool waiting = l->barrier_wanted;
    l->barrier_asked = false;
    if (!waiting)
        (void)eventfd_write(l->restart, 1);
    pthread_mutex_unlock(&l->lock);
    if (waiting)
        pump(l);
}

/* It is told until it is confirmed, and each number is one restart. */
static void on_restart(struct logger_link *l, const char *id) {
    char answer[96];
    bool numbered = l->confirms && id && strlen(id) < sizeof l->restart_id && strspn(id, "0123456789") == strlen(id);
    if (numbered && strcmp(id, l->restart_id) == 0)
        fprintf(stderr, "osmo_ctrl: restart %s is under way already\n", id);
    else
        restart_wanted(l);
    if (!numbered)
        return;
    snprintf(l->restart_id, sizeof l->restart_id, "%s", id);
    int len = snprintf(answer, sizeof answer, "{\"IOType\":\"RESTARTED\",\"id\":\"%s\"}", id);
    (void)ws_conn_send(l->loop, l->conn, answer, (size_t)len, false); /* lost: it is told again */
}

/* It is told again on every connection until it is confirmed. */
static void on_action(struct logger_link *l, const json_t *o) {
    const char *id = json_get_str(o, "id");
    actions_take(l->actions, l, o);
    if (!l->numbers_actions || !id)
        return;
    json_t *answer = json_object();
    json_set_str(answer, "IOType", "ACTION_DONE");
    json_set_str(answer, "Id", id);
    _cleanup_free_ char *text = json_to_text(answer);
    json_free(answer);
    if (text)
        (void)ws_conn_send(l->loop, l->conn, text, strlen(text), false);
}

static void on_message(void *ctx, uint64_t conn, const char *data, size_t len, bool binary) {
    struct logger_link *l = ctx;
    json_t *m = NULL;
    (void)conn;
    (void)binary; /* the action names itself; the opcode tells nothing more */
    if (json_parse(data, len, &m, NULL))
        return;
    const char *action = json_get_str(m, "action");
    if (action && strcmp(action, "log_ack") == 0) {
        if (!l->ready)
            welcomed(l);
        spool_confirm(l->spool, (uint64_t)json_get_int(m, "seq", 0));
        l->ready = true;
        pump(l);
    } else if (action && strcmp(action, "restart") == 0) {
        on_restart(l, json_get_str(m, "id"));
    } else if (action && (strcmp(action, "log_done") == 0 || strcmp(action, "barrier") == 0)) {
        pthread_mutex_lock(&l->lock);
        if (action[0] == 'l')
            l->log_done = true;
        else
            l->barrier_wanted = false;
        pthread_cond_broadcast(&l->changed);
        pthread_mutex_unlock(&l->lock);
    } else if (action) {
        on_action(l, m);
    }
    json_free(m);
}

/* The connection ended or could not be made: dial again later, or give up. Any thread. */
static void lost(struct logger_link *l, int code, int http_status, const char *reason) {
    pthread_mutex_lock(&l->lock);
    if (!l->lost_at_us)
        l->lost_at_us = clock_mono_us();
    l->attempts++;
    l->dial = true;
    l->refusals = code == 4000 ? l->refusals + 1 : 0;
    if (l->refusals > l->attempts)
        l->attempts = l->refusals; /* a plain logger refuses after the handshake: back off all the same */
    bool unknown = l->refusals > REFUSALS_MAX; /* the logger does not know this task: no use in asking for ever */
    bool expired = clock_mono_us() - l->lost_at_us > l->o->timeout_min * 60 * 1000000;
    pthread_cond_broadcast(&l->changed);
    pthread_mutex_unlock(&l->lock);
    fprintf(stderr, "osmo_ctrl: logger connection closed: code %d, HTTP %d, %s\n", code, http_status,
            reason && *reason ? reason : "no reason");
    if (unknown || expired)
        fail(l, CTRL_LOGGER);
}

static void on_closed(void *ctx, uint64_t conn, int code, int http_status, const char *reason) {
    struct logger_link *l = ctx;
    (void)conn;
    l->conn = 0;
    l->ready = false;
    lost(l, code, http_status, reason);
}

static void on_writable(void *ctx, uint64_t conn) {
    (void)conn;
    pump(ctx);
}

static void dial(void *ctx) {
    struct logger_link *l = ctx;
    static const ws_handlers_t handlers = {
        .opened = on_opened, .message = on_message, .closed = on_closed, .writable = on_writable
    };
    pthread_mutex_lock(&l->lock);
    char *header = STEAL(l->bearer_header);
    pthread_mutex_unlock(&l->lock);
    const char *headers[] = { header, NULL };
    ws_options_t o = { .url = l->url, .headers = header ? headers : NULL, .extensions = "logs, restarts, actions" };
    osmo_error_t err = OSMO_ERROR_INIT;
    uint64_t conn;
    int rc = ws_connect(l->loop, &o, &handlers, l, &conn, &err);
    free(header);
    if (rc)
        lost(l, 1006, 0, err.text);
}

/* ---- connector thread ---- */

static void tell_token(void *ctx) { actions_token_ready(((struct logger_link *)ctx)->actions); }

/* Sessions wait for a token. Called with the lock held. */
static void fetch_token(struct logger_link *l) {
    pthread_mutex_unlock(&l->lock);
    osmo_error_t err = OSMO_ERROR_INIT;
    free(token_bearer(l->token, NULL, &err));
    if (err.code)
        fprintf(stderr, "osmo_ctrl: %s\n", err.text);
    pthread_mutex_lock(&l->lock);
    l->token_wanted = false;
    ws_loop_wake(l->loop, tell_token, l);
}

static int64_t backoff_ms(int attempts) {
    if (attempts <= 0)
        return 0;
    int64_t limit = BACKOFF_MIN_MS << (attempts < 7 ? attempts - 1 : 7);
    if (limit > BACKOFF_MAX_MS)
        limit = BACKOFF_MAX_MS;
    uint32_t random = 0;
    crypto_random(&random, sizeof random);
    return limit / 2 + random % (limit / 2 + 1);
}

/* Wait for the next time to dial; false at the end. Called with the lock held. */
static bool wait_for_dial(struct logger_link *l) {
    while (!l->dial && !l->closing && !l->failed) {
        if (l->token_wanted)
            fetch_token(l);
        else
            pthread_cond_wait(&l->changed, &l->lock);
    }
    int64_t pause = backoff_ms(l->attempts);
    int64_t until = clock_mono_us() + pause * 1000;
    while (pause && !l->closing && !l->failed) {
        if (l->token_wanted)
            fetch_token(l);
        else if (!cond_wait_until(&l->changed, &l->lock, until))
            break;
    }
    l->dial = false;
    return !l->closing && !l->failed;
}

static void *connector_main(void *arg) {
    struct logger_link *l = arg;
    pthread_mutex_lock(&l->lock);
    while (wait_for_dial(l)) {
        pthread_mutex_unlock(&l->lock);
        osmo_error_t err = OSMO_ERROR_INIT;
        bool gone = false;
        char *bearer = token_bearer(l->token, &gone, &err);
        char *header = bearer ? str_printf("%s: %s", l->o->token_header, bearer) : NULL;
        free(bearer);
        if (gone) {
            fprintf(stderr, "osmo_ctrl: the service says this task is finished\n");
            fail(l, CTRL_LOGGER);
        } else if (!header && err.code == OSMO_EUNAVAIL) {
            lost(l, 1006, 0, err.text);
        } else { /* without a token the service decides */
            pthread_mutex_lock(&l->lock);
            free(l->bearer_header);
            l->bearer_header = STEAL(header);
            pthread_mutex_unlock(&l->lock);
            ws_loop_wake(l->loop, dial, l);
        }
        free(header);
        pthread_mutex_lock(&l->lock);
    }
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

static void *loop_main(void *arg) {
    ws_loop_run(((struct logger_link *)arg)->loop);
    return NULL;
}

/* ---- main thread ---- */

static char *logger_url(const struct options *o) {
    buf_t b = BUF_INIT(8192);
    buf_printf(&b, "%s://%s:%s/api/logger/workflow/", o->scheme, o->host, o->port);
    url_encode(o->workflow, &b);
    buf_puts(&b, "/osmo_ctrl/");
    url_encode(o->log_source, &b);
    buf_puts(&b, "/retry_id/");
    url_encode(o->retry_id, &b);
    char *url = buf_steal(&b, NULL);
    buf_free(&b);
    return url;
}

int logger_link_open(const struct options *o, struct token *t, struct spool *s, struct actions *a, struct logger_link **out,
                     osmo_error_t *err) {
    struct logger_link *l = calloc(1, sizeof *l);
    if (!l || !(l->url = logger_url(o))) {
        free(l);
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    }
    l->o = o;
    l->token = t;
    l->spool = s;
    l->actions = a;
    l->dial = true;
    pthread_mutex_init(&l->lock, NULL);
    cond_init(&l->changed);
    l->restart = eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK);
    int rc = l->restart < 0 ? osmo_error_set(err, OSMO_EIO, "cannot make an eventfd") : ws_loop_new(&l->loop, err);
    if (!rc && pthread_create(&l->loop_thread, NULL, loop_main, l))
        rc = osmo_error_set(err, OSMO_EIO, "cannot start a thread");
    if (!rc && pthread_create(&l->connector, NULL, connector_main, l))
        rc = osmo_error_set(err, OSMO_EIO, "cannot start a thread");
    if (rc)
        return rc; /* the process ends: nothing to unwind */
    *out = l;
    return 0;
}

void logger_link_close(struct logger_link *l) {
    if (!l)
        return;
    pthread_mutex_lock(&l->lock);
    l->closing = true;
    pthread_cond_broadcast(&l->changed);
    pthread_mutex_unlock(&l->lock);
    pthread_join(l->connector, NULL);
    ws_loop_stop(l->loop);
    pthread_join(l->loop_thread, NULL);
    ws_loop_free(l->loop);
    strlist_free(&l->metrics);
    free(l->bearer_header);
    free(l->url);
    pthread_cond_destroy(&l->changed);
    pthread_mutex_destroy(&l->lock);
    close(l->restart);
    free(l);
}

ws_loop_t *logger_link_loop(struct logger_link *l) { return l->loop; }

bool logger_link_bearer(struct logger_link *l, char **bearer, bool ask) {
    if (token_at_hand(l->token, bearer))
        return true;
    if (ask) {
        pthread_mutex_lock(&l->lock);
        l->token_wanted = true;
        pthread_cond_broadcast(&l->changed);
        pthread_mutex_unlock(&l->lock);
    }
    return false;
}

void logger_link_pump(struct logger_link *l) { ws_loop_wake(l->loop, pump, l); }

static int wait_for(struct logger_link *l, const bool *flag, bool want) {
    pthread_mutex_lock(&l->lock);
    while (*flag != want && !l->failed)
        pthread_cond_wait(&l->changed, &l->lock);
    int code = *flag == want ? CTRL_OK : l->failed;
    pthread_mutex_unlock(&l->lock);
    return code;
}

int logger_link_wait_connected(struct logger_link *l) { return wait_for(l, &l->ever_connected, true); }

static void ask_again(void *ctx) {
    struct logger_link *l = ctx;
    pthread_mutex_lock(&l->lock);
    bool waiting = l->barrier_wanted;
    l->barrier_asked = false;
    pthread_mutex_unlock(&l->lock);
    if (waiting) {
        pump(l);
        ws_loop_after(l->loop, BARRIER_REPEAT_MS, ask_again, l);
    }
}

int logger_link_restart_fd(const struct logger_link *l) { return l->restart; }

void logger_link_restart_clear(struct logger_link *l) {
    eventfd_t n;
    (void)eventfd_read(l->restart, &n);
}

int logger_link_barrier(struct logger_link *l, const char *name) {
    pthread_mutex_lock(&l->lock);
    snprintf(l->barrier, sizeof l->barrier, "%s", name);
    l->barrier_wanted = true;
    logger_link_restart_clear(l); /* nothing runs: what was wanted until now comes true by waiting here */
    pthread_mutex_unlock(&l->lock);
    ws_loop_wake(l->loop, ask_again, l);
    return wait_for(l, &l->barrier_wanted, false);
}

void logger_link_metric(struct logger_link *l, const char *metric_type, json_t *metric) {
    json_t *o = envelope(l, IO_METRICS, now_ns());
    json_set(o, "Metric", metric);
    json_set_str(o, "MetricType", metric_type);
    _cleanup_free_ char *text = json_to_text(o);
    json_free(o);
    pthread_mutex_lock(&l->lock);
    if (text && l->metrics.len < METRICS_MAX)
        strlist_add(&l->metrics, text);
    pthread_mutex_unlock(&l->lock);
    logger_link_pump(l);
}

int logger_link_finish(struct logger_link *l) {
    pthread_mutex_lock(&l->lock);
    l->finish_wanted = true;
    pthread_mutex_unlock(&l->lock);
    logger_link_pump(l);
    return wait_for(l, &l->log_done, true);
}

void logger_link_interrupt(struct logger_link *l) { fail(l, CTRL_TERMINATED); }
