/* The way of a change from the driver's thread into the loop: read where it comes from into what is wanted of it, then
 * through a bounded queue whose writer waits when the loop cannot keep up (a service that is away for long fills the
 * outboxes, these fill the queue, and the driver stops reading). */
#include <stdlib.h>
#include <string.h>
#include "base/clock.h"
#include "operator/internal.h"

#define CHANGES_MAX 65536u
#define CHANGES_BYTES_MAX (64u << 20)
#define BATCH 256
#define USAGE_DELAY_MS 250
enum { WHAT_POD, WHAT_NODE, WHAT_EVENT, WHAT_NODES_TOLD }; /* pod_facts_t, json_t, event_facts_t, nothing */
static const char *const names[] = { [WHAT_POD] = "pod", [WHAT_NODE] = "node", [WHAT_EVENT] = "event",
                                     [WHAT_NODES_TOLD] = "node" }; /* for the metrics */

int changes_open(struct osmo_operator *op) {
    struct changes *q = &op->changes;
    q->last = &q->first;
    if (pthread_mutex_init(&q->lock, NULL) != 0)
        return OSMO_ENOMEM;
    q->opened = pthread_cond_init(&q->room, NULL) == 0;
    return q->opened ? OSMO_OK : OSMO_ENOMEM;
}

static void free_object(int what, void *object) {
    if (what == WHAT_POD)
        pod_facts_free(object);
    else if (what == WHAT_NODE)
        json_free(object);
    else
        free(object); /* NULL of what has none */
}

/* Takes the object. */
static void push(struct osmo_operator *op, int what, osmo_change_t change, void *object, size_t size) {
    struct changes *q = &op->changes;
    struct change *c = malloc(sizeof *c);
    if (!c) {
        log_error(&op->log, "out of memory: a change of the cluster is lost");
        free_object(what, object);
        return;
    }
    *c = (struct change){ .what = what, .change = change, .size = size, .object = object };
    pthread_mutex_lock(&q->lock);
    while (!q->closed && (q->count >= CHANGES_MAX || (q->count && q->bytes + size > CHANGES_BYTES_MAX)))
        pthread_cond_wait(&q->room, &q->lock);
    bool closed = q->closed, first = !closed && !q->count;
    if (!closed) {
        *q->last = c;
        q->last = &c->next;
        q->count++;
        q->bytes += size;
    }
    pthread_mutex_unlock(&q->lock);
    if (closed) {
        free_object(what, object);
        free(c);
    }
    if (first)
        ws_loop_wake(op->loop, changes_process, op);
}

static void on_pod(void *ctx, osmo_change_t change, const char *json, size_t len) {
    struct osmo_operator *op = ctx;
    osmo_error_t err = OSMO_ERROR_INIT;
    pod_facts_t *pod = NULL;
    if (pod_facts_read(json, len, &pod, &err) < 0)
        log_warning(&op->log, "a change of the cluster cannot be read: %s", err.text);
    else
        push(op, WHAT_POD, change, pod, pod->size);
}

static void on_node(void *ctx, osmo_change_t change, const char *json, size_t len) {
    struct osmo_operator *op = ctx;
    osmo_error_t err = OSMO_ERROR_INIT;
    json_t *node = NULL;
    if (json_parse(json, len, &node, &err) < 0)
        log_warning(&op->log, "a change of the cluster cannot be read: %s", err.text);
    else
        push(op, WHAT_NODE, change, node, len * 4); /* about what a tree takes */
}

static void on_event(void *ctx, const char *json, size_t len) {
    event_facts_t *event = events_read(json, len);
    if (event)
        push(ctx, WHAT_EVENT, OSMO_CHANGE_ADDED, event, events_size(event));
}

/* Behind the nodes themselves. */
static void on_nodes_told(void *ctx) { push(ctx, WHAT_NODES_TOLD, OSMO_CHANGE_ADDED, NULL, 0); }

static void on_log(void *ctx, int level, const char *text) {
    struct osmo_operator *op = ctx;
    log_write(&op->log, level, "%s", text);
}

osmo_cluster_sink_t changes_sink(struct osmo_operator *op) {
    return (osmo_cluster_sink_t){ .size = sizeof(osmo_cluster_sink_t), .ctx = op, .pod = on_pod, .node = on_node,
                                  .event = on_event, .log = on_log, .nodes_told = on_nodes_told };
}

static struct change *pop(struct changes *q) {
    pthread_mutex_lock(&q->lock);
    struct change *c = q->first;
    if (c) {
        q->first = c->next;
        if (!q->first)
            q->last = &q->first;
        q->count--;
        q->bytes -= c->size;
        pthread_cond_broadcast(&q->room);
    }
    pthread_mutex_unlock(&q->lock);
    return c;
}

static void recheck(void *ctx);

/* The timer of the pods that are to be looked at again, at the earliest of their times. */
static void set_recheck(struct osmo_operator *op, int64_t now) {
    int64_t next = pods_next_recheck(op->pods);
    if (!next || (op->recheck_timer && op->changes.recheck_us <= next))
        return;
    if (op->recheck_timer)
        ws_loop_cancel(op->loop, op->recheck_timer);
    op->changes.recheck_us = next;
    op->recheck_timer = ws_loop_after(op->loop, next > now ? (next - now) / 1000 + 1 : 1, recheck, op);
}

static void recheck(void *ctx) {
    struct osmo_operator *op = ctx;
    int64_t now = clock_now_us();
    op->recheck_timer = 0;
    pods_recheck(op->pods, now);
    set_recheck(op, now);
}

static void apply_pod(struct osmo_operator *op, osmo_change_t change, pod_facts_t *pod) {
    int64_t now = clock_now_us();
    if (change == OSMO_CHANGE_DELETED) {
        nodes_remove_pod(op->nodes, pod);
        pods_remove(op->pods, pod, now);
        worker_pods_deleted(op);
    } else {
        nodes_apply_pod(op->nodes, pod);
        pods_apply(op->pods, pod, now);
        set_recheck(op, now);
    }
}

static void apply(struct osmo_operator *op, const struct change *c) {
    if (c->what == WHAT_POD) {
        apply_pod(op, c->change, c->object);
    } else if (c->what == WHAT_NODE) {
        if (c->change == OSMO_CHANGE_DELETED)
            nodes_remove(op->nodes, c->object);
        else
            nodes_apply(op->nodes, c->object);
    } else if (c->what == WHAT_NODES_TOLD) {
        if (nodes_are_all(op->nodes) && op->sessions[STREAM_NODE].state == SESSION_OPEN)
            nodes_resend(op->nodes); /* with the node_hash that had to wait */
    } else {
        json_t *body = events_apply(op->events, c->object, clock_now_us());
        if (body)
            session_queue(op, STREAM_EVENT, MSG_POD_EVENT, NULL, body);
    }
}

static void free_change(struct change *c) {
    free_object(c->what, c->object);
    free(c);
}

static void flush_usage(void *ctx) {
    struct osmo_operator *op = ctx;
    op->usage_timer = 0;
    nodes_flush_usage(op->nodes);
}

void changes_process(void *ctx) {
    struct osmo_operator *op = ctx;
    for (int i = 0; i < BATCH; i++) {
        if (!session_has_room(op, STREAM_POD) || !session_has_room(op, STREAM_NODE))
            return; /* an acknowledgement brings us back */
        struct change *c = pop(&op->changes);
        if (!c)
            break;
        int64_t begun_us = clock_mono_us();
        apply(op, c);
        metrics_time(&op->metrics, METRIC_EVENT_TIME, names[c->what], clock_mono_us() - begun_us);
        free_change(c);
        if (i == BATCH - 1)
            ws_loop_wake(op->loop, changes_process, op); /* the sockets first, then more */
    }
    if (nodes_is_dirty(op->nodes) && !op->usage_timer && op->loop_runs)
        op->usage_timer = ws_loop_after(op->loop, USAGE_DELAY_MS, flush_usage, op);
}

void changes_apply_node(struct osmo_operator *op, const char *json, size_t len) {
    json_t *v = NULL;
    if (json_parse(json, len, &v, NULL) == 0)
        nodes_apply(op->nodes, v);
    json_free(v);
}

void changes_close(struct osmo_operator *op) {
    pthread_mutex_lock(&op->changes.lock);
    op->changes.closed = true;
    pthread_cond_broadcast(&op->changes.room);
    pthread_mutex_unlock(&op->changes.lock);
}

void changes_free(struct osmo_operator *op) {
    for (struct change *c = op->changes.first, *next; c; c = next) {
        next = c->next;
        free_change(c);
    }
    pthread_cond_destroy(&op->changes.room);
    pthread_mutex_destroy(&op->changes.lock);
}
