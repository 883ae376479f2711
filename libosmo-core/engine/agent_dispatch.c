/* The dispatcher: one thread that claims the items of backends whose worker is connected, builds
 * their frames outside the network threads and sends them, and beats the workers' hearts. Woken by new work, by
 * answers and by new sessions. */
#include <string.h>

#include "base/clock.h"
#include "engine/queues.h"
#include "engine/reconcile.h"
#include "engine/replicas.h"
#include "store/repo_backend_end.h"
#include "store/repo_replica.h"

/* Short, so that items of a session that is lost come back soon; renewed while the job is with its worker. */
#define LEASE_US (60LL * 1000 * 1000)
#define RENEW_US (LEASE_US / 3)

/* ---- sessions, seen from this thread ---- */

static void hold_locked(struct agents *a, struct agent_session *s) {
    pthread_mutex_lock(&s->lock);
    s->refs++;
    pthread_mutex_unlock(&s->lock);
    a->pending++;
}

static void held_add(struct agents *a, struct held *h, struct agent_session *s) {
    if (h->n == h->cap) {
        size_t cap = h->cap ? h->cap * 2 : 16;
        struct agent_session **bigger = realloc(h->s, cap * sizeof *bigger);
        if (!bigger)
            return; /* served at the next turn */
        h->s = bigger;
        h->cap = cap;
    }
    hold_locked(a, s);
    h->s[h->n++] = s;
}

struct held agents_hold(struct agents *a, bool workers_only) {
    struct held h = { 0 };
    pthread_mutex_lock(&a->lock);
    for (struct agent_session *s = a->sessions; s; s = s->next)
        if (s->kind == AGENT_WORKER || !workers_only)
            held_add(a, &h, s);
    pthread_mutex_unlock(&a->lock);
    return h;
}

void agents_drop(struct held *h) {
    for (size_t i = 0; i < h->n; i++)
        session_unref(h->s[i]);
    free(h->s);
}

/* How many more jobs the session takes; 0 for all but the newest ready session of its backend. */
static size_t capacity(const struct held *h, struct agent_session *s) {
    for (size_t i = 0; i < h->n; i++) {
        struct agent_session *other = h->s[i];
        if (other == s || other->serial < s->serial || !str_eq(other->backend, s->backend))
            continue;
        pthread_mutex_lock(&other->lock);
        bool ready = other->ready && !other->failed && !other->closed;
        pthread_mutex_unlock(&other->lock);
        if (ready)
            return 0;
    }
    pthread_mutex_lock(&s->lock);
    size_t limit = s->jobs_extension ? JOBS_MAX : 1;
    size_t n = s->ready && !s->failed && !s->closed && s->njobs < limit ? limit - s->njobs : 0;
    pthread_mutex_unlock(&s->lock);
    return n;
}

size_t agent_job_limit(engine_t *e, const char *backend) {
    struct agents *a = e->agents;
    size_t limit = JOB_TOTAL_MAX;
    uint64_t newest = 0;
    if (!a)
        return limit;
    pthread_mutex_lock(&a->lock);
    for (struct agent_session *s = a->sessions; s; s = s->next)
        if (s->kind == AGENT_WORKER && s->serial > newest && str_eq(s->backend, backend)) {
            newest = s->serial;
            limit = s->parts_extension ? JOB_TOTAL_MAX : JOB_FRAME_MAX;
        }
    pthread_mutex_unlock(&a->lock);
    return limit;
}

/* Is the item with some worker already? */
static bool in_flight(const struct held *h, int64_t work_id) {
    bool found = false;
    for (size_t i = 0; i < h->n && !found; i++) {
        struct agent_session *s = h->s[i];
        pthread_mutex_lock(&s->lock);
        for (size_t k = 0; k < s->njobs && !s->closed; k++)
            found |= s->jobs[k]->work_id == work_id;
        pthread_mutex_unlock(&s->lock);
    }
    return found;
}

/* At one backend: its pools before what runs in them; of one group, its create before any retry, both before its cleanup. */
static bool goes_first(const struct job *other, const struct job *j) {
    if (other->kind == JOB_QUEUES)
        return j->kind == JOB_CREATE;
    bool precedes = other->kind == JOB_CREATE ? j->kind == JOB_RESCHEDULE || j->kind == JOB_CLEANUP
                                              : other->kind == JOB_RESCHEDULE && j->kind == JOB_CLEANUP;
    return precedes && str_eq(other->group_uuid, j->group_uuid);
}

/* Is something with some worker that must be answered before the job is sent? */
static bool must_wait(const struct held *h, const char *backend, const struct job *j) {
    bool found = false;
    for (size_t i = 0; i < h->n && !found; i++) {
        struct agent_session *s = h->s[i];
        pthread_mutex_lock(&s->lock);
        for (size_t k = 0; k < s->njobs && !s->closed; k++)
            found |= str_eq(s->backend, backend) && goes_first(s->jobs[k], j);
        pthread_mutex_unlock(&s->lock);
    }
    return found;
}

static void send_bytes(struct agent_session *s, const void *data, size_t len, bool binary) {
    const osmo_transport_t *t = s->e->transport;
    int rc = t && t->ws_send ? t->ws_send(t->impl, s->conn, data, len, binary) : OSMO_ENOTFOUND;
    if (rc == OSMO_ELIMIT)
        session_close(s, 1013, "the connection is too slow");
}

/* A job as one frame, or in parts where it is too large for one and the worker knows them. */
static void send_job(struct agent_session *s, const buf_t *frame) {
    if (frame->len <= JOB_FRAME_MAX) {
        send_bytes(s, frame->data, frame->len, true);
        return;
    }
    _cleanup_buf_ buf_t part = BUF_INIT(JOB_PART_MAX + 4096);
    for (size_t at = 0; at < frame->len; at += JOB_PART_MAX) {
        buf_reset(&part);
        if (job_part_write(frame, at, &part) < 0) {
            session_close(s, 1013, "out of memory");
            return;
        }
        send_bytes(s, part.data, part.len, true);
    }
}

/* Would the connection hold back more than it can? Jobs that were answered have left it. */
static bool has_room(struct agent_session *s, size_t size) {
    size_t bytes = 0;
    pthread_mutex_lock(&s->lock);
    for (size_t i = 0; i < s->njobs; i++)
        bytes += s->jobs[i]->sent ? s->jobs[i]->size : 0;
    pthread_mutex_unlock(&s->lock);
    return !bytes || bytes + size <= JOB_BYTES_MAX;
}

static int64_t send_heartbeats(const struct held *h) {
    static const char beat[] = "{\"type\":\"heartbeat\"}";
    int64_t now = clock_mono_us(), next = now + JOB_HEARTBEAT_US;
    for (size_t i = 0; i < h->n; i++) {
        struct agent_session *s = h->s[i];
        pthread_mutex_lock(&s->lock);
        bool due = s->opened && !s->closed && s->next_heartbeat <= now;
        if (due)
            s->next_heartbeat = now + JOB_HEARTBEAT_US;
        if (s->opened && s->next_heartbeat < next)
            next = s->next_heartbeat;
        pthread_mutex_unlock(&s->lock);
        if (due)
            send_bytes(s, beat, sizeof beat - 1, false);
    }
    return next;
}

/* ---- leases ---- */

static int renew_run(db_t *db, void *ctx, osmo_error_t *err) {
    struct agent_session *s = ctx;
    return repo_work_renew(db, s->owner, engine_now(s->e) + LEASE_US, err);
}

/* Returns the time of the next renewal, at most `next`. */
static int64_t renew_leases(const struct held *h, int64_t next) {
    int64_t now = clock_mono_us();
    for (size_t i = 0; i < h->n; i++) {
        struct agent_session *s = h->s[i];
        osmo_error_t err = OSMO_ERROR_INIT;
        pthread_mutex_lock(&s->lock);
        bool busy = s->njobs > 0 && !s->closed, due = busy && s->next_renewal <= now;
        if (due)
            s->next_renewal = now + RENEW_US;
        if (busy && s->next_renewal < next)
            next = s->next_renewal;
        pthread_mutex_unlock(&s->lock);
        if (due && store_write(s->e->store, NULL, renew_run, s, &err) < 0)
            log_warning(&s->e->log, "the leases of jobs at backend %s were not renewed: %s", s->backend, err.text);
    }
    return next;
}

/* ---- claiming ---- */

struct claim {
    struct agent_session *s;
    size_t limit;
    struct work_row *rows;
    size_t n;
};

static int claim_run(db_t *db, void *ctx, osmo_error_t *err) {
    struct claim *c = ctx;
    work_rows_free(c->rows, c->n);
    c->rows = NULL;
    c->n = 0;
    bool accepts = false;
    int rc = repo_backend_accepts(db, c->s->backend, &accepts, err); /* nothing begins at one that is being deleted */
    if (rc < 0 || !accepts)
        return rc;
    return repo_work_claim(db, c->s->backend, c->s->owner, engine_now(c->s->e), LEASE_US, c->limit, &c->rows, &c->n, err);
}

/* Handing out of a batch: every item is its own transaction under its workflow, posted together so that one commit
 * carries them. */
struct parcel {
    struct handout h;
    struct job *job;
    struct counter *counter;
    int rc;
};
struct counter {
    pthread_mutex_t lock;
    pthread_cond_t cond;
    size_t open;
};

static void parcel_done(void *ctx, int rc, const osmo_error_t *err) {
    (void)err; /* logged by the reactor */
    struct parcel *p = ctx;
    struct counter *c = p->counter;
    p->rc = rc;
    pthread_mutex_lock(&c->lock);
    if (--c->open == 0)
        pthread_cond_signal(&c->cond);
    pthread_mutex_unlock(&c->lock);
}

static struct job *job_new(const struct work_row *row) {
    struct job *j = calloc(1, sizeof *j);
    if (!j)
        return NULL;
    j->work_id = row->id;
    j->attempts = row->attempts;
    j->kind = job_kind_of(row->kind);
    j->force = row->payload_json && strstr(row->payload_json, "\"force\":true");
    const char *next = row->payload_json ? strstr(row->payload_json, "\"" WORK_NEXT "\":") : NULL;
    j->next_after = next ? strtoll(next + strlen("\"" WORK_NEXT "\":"), NULL, 10) : -1;
    memcpy(j->workflow_uuid, row->workflow_uuid, sizeof j->workflow_uuid);
    snprintf(j->owner, sizeof j->owner, "%s", row->owner ? row->owner : "");
    if (j->kind != JOB_LABEL && !job_tells(j))
        snprintf(j->group_uuid, sizeof j->group_uuid, "%.32s", row->key);
    j->payload = str_dup(row->payload_json);
    if (row->payload_json && !j->payload) {
        free(j);
        return NULL;
    }
    return j;
}

static void hand_out(engine_t *e, struct parcel *parcels, size_t n) {
    struct counter c = { .open = n };
    pthread_mutex_init(&c.lock, NULL);
    pthread_cond_init(&c.cond, NULL);
    for (size_t i = 0; i < n; i++) {
        struct parcel *p = &parcels[i];
        p->counter = &c;
        p->h.work_id = p->job->work_id;
        p->h.kind = p->job->kind;
        p->h.payload = p->job->payload;
        p->h.next_after = p->job->next_after;
        p->h.settings = engine_settings(e);
        memcpy(p->h.group_uuid, p->job->group_uuid, sizeof p->h.group_uuid);
        /* what nobody knows has no workflow to ask */
        int rc = job_is_loose(p->job)
                     ? 1
                     : reactor_post(e, p->job->workflow_uuid, handout_decide, &p->h, NULL, parcel_done, p);
        if (rc)
            parcel_done(p, rc < 0 ? rc : 0, NULL);
    }
    pthread_mutex_lock(&c.lock);
    while (c.open)
        pthread_cond_wait(&c.cond, &c.lock);
    pthread_mutex_unlock(&c.lock);
    pthread_cond_destroy(&c.cond);
    pthread_mutex_destroy(&c.lock);
}

/* Gives the job to the session, unless that is over. */
static bool attach(struct agent_session *s, struct job *j, bool sent) {
    pthread_mutex_lock(&s->lock);
    bool open = !s->closed && !s->failed && s->njobs < JOBS_MAX;
    if (open) {
        j->sent = sent;
        j->sent_us = clock_mono_us();
        if (s->njobs == 0)
            s->next_renewal = clock_mono_us() + RENEW_US;
        s->jobs[s->njobs++] = j;
    }
    pthread_mutex_unlock(&s->lock);
    return open;
}

/* Jobs that waited for others of their group, or for room. */
static void send_waiting(const struct held *all, struct agent_session *s) {
    for (;;) {
        struct job *next = NULL;
        buf_t frame = { 0 };
        pthread_mutex_lock(&s->lock);
        struct job *waiting[JOBS_MAX];
        size_t n = 0;
        for (size_t i = 0; i < s->njobs; i++)
            if (!s->jobs[i]->sent)
                waiting[n++] = s->jobs[i];
        pthread_mutex_unlock(&s->lock);
        /* unsent jobs are removed by this thread or at the end of the session only */
        for (size_t i = 0; i < n && !next; i++)
            if (!must_wait(all, s->backend, waiting[i]) && has_room(s, waiting[i]->size))
                next = waiting[i];
        if (!next)
            return;
        pthread_mutex_lock(&s->lock);
        next->sent = true;
        next->sent_us = clock_mono_us();
        frame = next->frame;
        next->frame = (buf_t){ 0 };
        pthread_mutex_unlock(&s->lock);
        send_job(s, &frame);
        buf_free(&frame);
    }
}

/* true when the item stays leased without being with the session: its lease has to be returned. */
static bool deliver(const struct held *all, struct agent_session *s, struct parcel *p) {
    struct job *j = STEAL(p->job);
    osmo_error_t err = OSMO_ERROR_INIT;
    if (p->rc < 0) { /* the store was busy or down */
        job_finish(s->e, j, JOB_RETRY, "the group could not be read");
        return false;
    }
    if (p->h.drop) {
        job_free(j);
        return false;
    }
    /* the workflow is gone; or our own lease ran out while the worker works */
    if ((!p->h.wf.id && !job_is_loose(j)) || in_flight(all, j->work_id)) {
        job_free(j);
        return false;
    }
    j->plain = !s->jobs_extension;
    int rc = job_frame(s->e, s->backend, &p->h, s->parts_extension ? JOB_TOTAL_MAX : JOB_FRAME_MAX, j, &err);
    if (rc < 0) {
        log_error(&s->e->log, "job for group %s of workflow %s cannot be built: %s",
                  p->h.group.name ? p->h.group.name : "-", p->h.wf.id ? p->h.wf.id : "-", err.text);
        job_finish(s->e, j, rc == OSMO_ENOMEM || rc == OSMO_EUNAVAIL ? JOB_RETRY : JOB_FAILED, err.text);
        return false;
    }
    bool waits = must_wait(all, s->backend, j);
    if (!waits)
        send_waiting(all, s); /* what came before it need not wait any longer either */
    /* sent when what goes first is answered, or others have left room */
    if (waits || !has_room(s, j->size)) {
        if (attach(s, j, false))
            return false;
        job_free(j);
        return true;
    }
    buf_t frame = j->frame;
    j->frame = (buf_t){ 0 };
    bool attached = attach(s, j, true);
    if (attached)
        send_job(s, &frame);
    else
        job_free(j);
    buf_free(&frame);
    return !attached;
}

/* Where others may bring work without a word, this thread looks every second, mostly for nothing: no reason to write. */
static bool is_due(struct agent_session *s) {
    db_t *db = NULL;
    bool due = true;
    if (replicas_shared(s->e) && store_reader(s->e->store, &db, NULL) >= 0)
        repo_work_is_due(db, s->backend, engine_now(s->e), &due, NULL);
    return due;
}

/* Returns the number of items claimed. */
static size_t serve(const struct held *all, struct agent_session *s, size_t limit) {
    osmo_error_t err = OSMO_ERROR_INIT;
    struct claim c = { .s = s, .limit = limit };
    if (!is_due(s))
        return 0;
    if (store_write(s->e->store, NULL, claim_run, &c, &err) < 0) {
        log_error(&s->e->log, "work for backend %s cannot be claimed: %s", s->backend, err.text);
        return 0;
    }
    struct parcel parcels[JOBS_MAX] = { 0 };
    size_t n = 0, claimed = c.n;
    bool release = false;
    for (size_t i = 0; i < c.n && n < JOBS_MAX; i++)
        if ((parcels[n].job = job_new(&c.rows[i])))
            n++;
        else
            release = true;
    work_rows_free(c.rows, c.n);
    if (n)
        hand_out(s->e, parcels, n);
    for (size_t i = 0; i < n; i++) {
        release |= deliver(all, s, &parcels[i]);
        handout_clear(&parcels[i].h);
        engine_settings_put(parcels[i].h.settings);
    }
    if (release) {
        pthread_mutex_lock(&s->lock);
        bool over = s->closed;
        pthread_mutex_unlock(&s->lock);
        if (over && work_give_back(s->e, s->owner, &err) < 0)
            log_warning(&s->e->log, "jobs of backend %s stay leased until their lease ends: %s", s->backend,
                        err.text);
    }
    return claimed;
}

void agents_disconnect(engine_t *e) {
    if (!e->agents)
        return;
    struct held all = agents_hold(e->agents, true);
    for (size_t i = 0; i < all.n; i++)
        session_close(all.s[i], 1013, "the service was cut off from its database, connect again");
    agents_drop(&all);
}

/* ---- the thread ---- */

/* next: heartbeat or renewal, whichever comes first; since: when items were looked for last */
static int64_t until_next(struct agents *a, int64_t next, int64_t since) {
    int64_t wait = replicas_longest_wait(a->e, next - clock_mono_us()), due = 0;
    db_t *db;
    if (store_reader(a->e->store, &db, NULL) >= 0 && repo_work_next_due(db, since, &due, NULL) >= 0 && due) {
        int64_t left = due - engine_now(a->e);
        wait = left < wait ? left : wait;
    }
    return wait > 0 ? wait : 0;
}

static void *dispatch_main(void *arg) {
    struct agents *a = arg;
    while (!waker_stopped(&a->waker)) {
        agents_follow(a);
        queues_follow(a);
        struct held all = agents_hold(a, true);
        int64_t since = engine_now(a->e); /* what becomes due from here on may be missed by this turn */
        int64_t next = renew_leases(&all, send_heartbeats(&all));
        size_t claimed = 0;
        for (size_t i = 0; i < all.n && !waker_stopped(&a->waker); i++) {
            next = strays_wait(all.s[i], jobs_overdue(all.s[i], next));
            send_waiting(&all, all.s[i]);
            size_t room = strays_quiet(all.s[i]) ? 0 : capacity(&all, all.s[i]);
            if (room && queues_introduced(all.s[i]))
                claimed += serve(&all, all.s[i], room);
        }
        agents_drop(&all);
        if (!claimed)
            waker_wait(&a->waker, until_next(a, next, since));
    }
    return NULL;
}

int agents_open(engine_t *e, osmo_error_t *err) {
    struct agents *a = calloc(1, sizeof *a);
    if (!a)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    a->e = e;
    pthread_mutex_init(&a->lock, NULL);
    pthread_cond_init(&a->idle, NULL);
    waker_init(&a->waker);
    e->agents = a;
    a->heartbeats = map_new(free);
    a->strays = map_new(NULL);
    if (!a->heartbeats || !a->strays)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    return reconcile_open(e, err);
}

int agents_start(engine_t *e, osmo_error_t *err) {
    struct agents *a = e->agents;
    a->started = pthread_create(&a->thread, NULL, dispatch_main, a) == 0;
    return a->started ? 0
                      : osmo_error_set(err, OSMO_EUNAVAIL, "cannot start the dispatcher thread: too many threads");
}

/* Every session was closed before; what is left are commits that still report to them. */
void agents_stop(engine_t *e) {
    struct agents *a = e->agents;
    if (!a)
        return;
    waker_stop(&a->waker);
    if (a->started)
        pthread_join(a->thread, NULL);
    a->started = false;
    pthread_mutex_lock(&a->lock);
    while (a->pending)
        pthread_cond_wait(&a->idle, &a->lock);
    pthread_mutex_unlock(&a->lock);
}

void agents_close(engine_t *e) {
    struct agents *a = e->agents;
    if (!a)
        return;
    agents_stop(e);
    e->agents = NULL;
    map_free(a->heartbeats);
    map_free(a->strays);
    engine_settings_put(a->queues_of);
    engine_settings_put(a->followed);
    waker_destroy(&a->waker);
    pthread_cond_destroy(&a->idle);
    pthread_mutex_destroy(&a->lock);
    free(a);
}

void agents_wake(engine_t *e) {
    if (e->agents)
        waker_wake(&e->agents->waker);
}
