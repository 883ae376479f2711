/* How the operator is, for probes: /healthz (its loop turns), /readyz (it works for the service, or stands by for the one that does) and
 * /metrics. The probe's thread asks; what only the loop knows the loop writes down, when it is asked and every few seconds. Called by
 * operator.c. */
#include <string.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/cond.h"
#include "operator/internal.h"

#define TURN_MS 5000
#define DEAD_US (60 * INT64_C(1000000)) /* a loop that did not turn for so long hangs */
#define ASK_MS 1000

/* ---- the loop's side ---- */

static void note_ready(struct osmo_operator *op, struct health *h) {
    const char *missing = session_missing(op);
    h->ready = !missing && !op->pods_first;
    if (missing)
        snprintf(h->why, sizeof h->why, "not connected to %s: %s", op->url, missing);
    else
        snprintf(h->why, sizeof h->why, "%s", h->ready ? "connected" : "the pods there are have not been told yet");
}

static void look(void *ctx) {
    struct osmo_operator *op = ctx;
    struct health *h = &op->health;
    char cluster[HEALTH_TEXT_MAX];
    operator_describe(op, cluster);
    pthread_mutex_lock(&h->lock);
    h->turned_us = clock_mono_us();
    note_ready(op, h);
    memcpy(h->cluster, cluster, sizeof h->cluster);
    for (int i = 0; i < STREAM_COUNT; i++) {
        const outbox_t *o = op->sessions[i].out;
        h->unacked[i] = o ? outbox_in_flight(o) : 0;
        h->waiting[i] = o ? outbox_len(o) - h->unacked[i] : 0;
    }
    h->looks++;
    pthread_cond_broadcast(&h->looked);
    pthread_mutex_unlock(&h->lock);
}

static void turn(void *ctx) {
    struct osmo_operator *op = ctx;
    look(op);
    op->health.timer = ws_loop_after(op->loop, TURN_MS, turn, op);
}

void health_running(struct osmo_operator *op, bool runs) {
    struct health *h = &op->health;
    if (!h->probe)
        return;
    pthread_mutex_lock(&h->lock);
    h->running = runs;
    h->turned_us = clock_mono_us();
    pthread_mutex_unlock(&h->lock);
    if (runs)
        turn(op);
}

/* ---- the probe's side ---- */

/* Fresh words of the loop, or the last ones when it has no time. With the lock held. */
static void ask(struct osmo_operator *op) {
    struct health *h = &op->health;
    if (!h->running)
        return;
    uint64_t seen = h->looks;
    int64_t until = clock_mono_us() + ASK_MS * 1000;
    ws_loop_wake(op->loop, look, op);
    while (h->looks == seen && h->running && cond_wait_until(&h->looked, &h->lock, until))
        ;
}

static int say_live(struct health *h, buf_t *out) {
    int64_t still = h->running ? clock_mono_us() - h->turned_us : 0;
    if (still <= DEAD_US)
        return buf_puts(out, "ok\n"), 200;
    buf_printf(out, "the loop has not turned for %lld seconds\n", (long long)(still / 1000000));
    return 503;
}

static int say_ready(struct osmo_operator *op, buf_t *out) {
    struct health *h = &op->health;
    char holder[HEALTH_TEXT_MAX] = "";
    if (!h->running && op->lease)
        lease_describe(op->lease, holder, sizeof holder);
    if (!h->running) {
        buf_printf(out, "%s\n", *holder ? holder : "starting");
        return *holder ? 200 : 503;
    }
    buf_printf(out, "%s\n", h->why);
    if (*h->cluster)
        buf_printf(out, "cluster: %s\n", h->cluster);
    return h->ready ? 200 : 503;
}

static void print_gauge(buf_t *out, const char *type, const char *namespace_, size_t value) {
    buf_puts(out, "backend_listener_queue_length{");
    metrics_print_label(out, "queue_type", type);
    buf_putc(out, ',');
    metrics_print_label(out, "namespace", namespace_);
    buf_printf(out, "} %zu\n", value);
}

static void say_metrics(struct osmo_operator *op, buf_t *out) {
    struct health *h = &op->health;
    char type[64];
    buf_puts(out, "# HELP backend_listener_queue_length Messages that wait for the service.\n# TYPE backend_listener_queue_length gauge\n");
    for (int i = 0; i < STREAM_COUNT; i++) {
        if (!op->sessions[i].out)
            continue;
        snprintf(type, sizeof type, "%s_send_queue", session_name((enum stream)i));
        print_gauge(out, type, op->namespace_, h->waiting[i]);
        snprintf(type, sizeof type, "unack_%s_messages", session_name((enum stream)i));
        print_gauge(out, type, op->namespace_, h->unacked[i]);
    }
    buf_puts(out, "# HELP osmo_backend_ready Whether this replica works for the service.\n# TYPE osmo_backend_ready gauge\n");
    buf_printf(out, "osmo_backend_ready %d\n", h->running && h->ready);
    metrics_print(&op->metrics, op->namespace_, out);
}

static int answer(void *ctx, const char *path, const char **type, buf_t *out) {
    struct osmo_operator *op = ctx;
    struct health *h = &op->health;
    int status = 404;
    pthread_mutex_lock(&h->lock);
    if (strcmp(path, "/healthz") == 0) {
        status = say_live(h, out);
    } else if (strcmp(path, "/readyz") == 0) {
        ask(op);
        status = say_ready(op, out);
    } else if (strcmp(path, "/metrics") == 0) {
        ask(op);
        say_metrics(op, out);
        *type = "text/plain; version=0.0.4; charset=utf-8";
        status = 200;
    } else {
        buf_puts(out, "there are /healthz, /readyz and /metrics\n");
    }
    pthread_mutex_unlock(&h->lock);
    return status;
}

int health_open(struct osmo_operator *op, const char *listen, osmo_error_t *err) {
    struct health *h = &op->health;
    if (!listen)
        return OSMO_OK;
    pthread_mutex_init(&h->lock, NULL);
    cond_init(&h->looked);
    h->opened = true;
    return probe_open(listen, answer, op, &h->probe, err);
}

void health_close(struct osmo_operator *op) {
    struct health *h = &op->health;
    if (!h->opened)
        return;
    probe_close(h->probe);
    h->probe = NULL;
    pthread_cond_destroy(&h->looked);
    pthread_mutex_destroy(&h->lock);
    h->opened = false;
}
