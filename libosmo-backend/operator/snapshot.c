/* The snapshot extension: asked by the service, the operator lists every pod of a workflow that the cluster has now, in parts, the
 * last of them marked. The list begins after the question, so that the service knows what must be in it. A thread of its own lists
 * and waits when the loop does not keep up; the loop hands the parts to the pod socket. Called by session.c and operator.c. */
#include <stdlib.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/cond.h"
#include "operator/internal.h"

#define PODS_PER_PART 200u
#define PARTS_WAITING 8u    /* made, and not yet with the outbox */
#define OUTBOX_WAITING 256u /* messages before parts wait */

struct part { struct part *next; int64_t number; json_t *body; };

/* One listing in progress. */
struct listing {
    struct osmo_operator *op;
    int64_t number;
    json_t *pods;
    bool over; /* no memory, or nobody wants it any more */
};

int snapshot_open(struct osmo_operator *op) {
    struct snapshot *s = &op->snapshot;
    s->last = &s->first;
    return pthread_mutex_init(&s->lock, NULL) == 0 ? cond_init(&s->change) : OSMO_ENOMEM;
}

static void free_part(struct part *p) {
    json_free(p->body);
    free(p);
}

/* ---- the way into the outbox; loop thread ---- */

static struct part *take_part(struct snapshot *s) {
    pthread_mutex_lock(&s->lock);
    struct part *p = s->first;
    if (p) {
        s->first = p->next;
        if (!s->first)
            s->last = &s->first;
        s->waiting--;
        pthread_cond_broadcast(&s->change);
    }
    pthread_mutex_unlock(&s->lock);
    return p;
}

void snapshot_flush(void *ctx) {
    struct osmo_operator *op = ctx;
    struct part *p;
    while (outbox_len(op->sessions[STREAM_POD].out) < OUTBOX_WAITING && (p = take_part(&op->snapshot))) {
        if (p->number == op->snapshot.asked)
            session_queue(op, STREAM_POD, MSG_TASK_LIST, NULL, STEAL(p->body));
        free_part(p);
    }
}

/* ---- listing ---- */

static bool is_over(struct snapshot *s, int64_t number) { return s->stop || s->asked != number; }

/* Takes body. Waits for room. */
static void hand_over(struct listing *l, json_t *body) {
    struct snapshot *s = &l->op->snapshot;
    struct part *p = calloc(1, sizeof *p);
    if (!p) {
        json_free(body);
        l->over = true;
        return;
    }
    *p = (struct part){ .number = l->number, .body = body };
    pthread_mutex_lock(&s->lock);
    while (s->waiting >= PARTS_WAITING && !is_over(s, l->number))
        pthread_cond_wait(&s->change, &s->lock);
    l->over = l->over || is_over(s, l->number);
    if (!l->over) {
        *s->last = p;
        s->last = &p->next;
        s->waiting++;
    }
    pthread_mutex_unlock(&s->lock);
    if (l->over)
        free_part(p);
    else
        ws_loop_wake(l->op->loop, snapshot_flush, l->op);
}

static void end_part(struct listing *l, bool last) {
    json_t *body = json_object();
    int rc = body ? json_set_int(body, "snapshot", l->number) : OSMO_ENOMEM;
    if (rc >= 0)
        rc = json_set_bool(body, "last", last);
    if (rc >= 0)
        rc = json_set(body, "pods", STEAL(l->pods));
    l->pods = json_array();
    if (rc < 0 || !l->pods) {
        json_free(body);
        l->over = true;
        return;
    }
    hand_over(l, body);
}

static int take_pod(void *ctx, const char *json, size_t len) {
    struct listing *l = ctx;
    _cleanup_facts_ pod_facts_t *pod = NULL;
    if (pod_facts_read(json, len, &pod, NULL) < 0)
        return 0;
    json_t *entry = NULL;
    int rc = pods_describe(l->op->namespace_, pod, clock_now_us(), &entry);
    if (rc >= 0 && entry)
        rc = json_add(l->pods, entry);
    l->over = l->over || rc < 0;
    if (!l->over && json_len(l->pods) >= PODS_PER_PART)
        end_part(l, false);
    return l->over;
}

/* False when it must be tried again. */
static bool list_all(struct osmo_operator *op, int64_t number) {
    struct listing l = { .op = op, .number = number, .pods = json_array() };
    osmo_error_t err = OSMO_ERROR_INIT;
    int rc = l.pods ? op->driver->list(op->impl, "v1", "Pod", "", take_pod, &l, &err) : OSMO_ENOMEM;
    if (rc >= 0 && !l.over)
        end_part(&l, true);
    json_free(l.pods);
    if (rc < 0)
        log_warning(&op->log, "the pods of the cluster cannot be listed, trying again: %s",
                    *err.text ? err.text : osmo_error_name(rc));
    return rc >= 0;
}

/* Between two tries; the lock is held. */
static void pause_a_while(struct snapshot *s, int64_t number, int attempt) {
    int64_t until = clock_mono_us() + (attempt < 6 ? INT64_C(1) << attempt : 60) * 1000000;
    while (!is_over(s, number) && cond_wait_until(&s->change, &s->lock, until))
        ;
}

static void *snapshot_main(void *ctx) {
    struct osmo_operator *op = ctx;
    struct snapshot *s = &op->snapshot;
    int64_t done = 0;
    int attempt = 0;
    pthread_mutex_lock(&s->lock);
    while (!s->stop) {
        int64_t number = s->asked;
        if (number == done) {
            pthread_cond_wait(&s->change, &s->lock);
            continue;
        }
        pthread_mutex_unlock(&s->lock);
        bool ended = list_all(op, number);
        pthread_mutex_lock(&s->lock);
        attempt = ended ? 0 : attempt + 1;
        if (ended)
            done = number;
        else
            pause_a_while(s, number, attempt);
    }
    pthread_mutex_unlock(&s->lock);
    return NULL;
}

void snapshot_ask(struct osmo_operator *op, int64_t number) {
    struct snapshot *s = &op->snapshot;
    if (number <= 0 || !op->driver->list)
        return;
    if (!s->started && pthread_create(&s->thread, NULL, snapshot_main, op) != 0) {
        log_error(&op->log, "a snapshot of the cluster cannot be made: too many threads");
        return;
    }
    s->started = true;
    pthread_mutex_lock(&s->lock);
    s->asked = number;
    pthread_cond_broadcast(&s->change);
    pthread_mutex_unlock(&s->lock);
}

void snapshot_close(struct osmo_operator *op) {
    struct snapshot *s = &op->snapshot;
    if (!s->last)
        return;
    pthread_mutex_lock(&s->lock);
    s->stop = true;
    pthread_cond_broadcast(&s->change);
    pthread_mutex_unlock(&s->lock);
    if (s->started)
        pthread_join(s->thread, NULL);
    for (struct part *p; (p = take_part(s));)
        free_part(p);
    pthread_cond_destroy(&s->change);
    pthread_mutex_destroy(&s->lock);
}
