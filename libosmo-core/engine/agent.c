/* Sessions of backend operators: the INIT gate, the order of acknowledgements, and nothing acknowledged before the
 * commit of what it caused. Entered by api/ws routes; messages of one session come one after another, commits report
 * from writer threads. */
#include <string.h>

#include "base/cleanup.h"
#include "base/crypto.h"
#include "base/http.h"
#include "engine/reconcile.h"
#include "store/repo_reconcile.h"
#include "engine/replicas.h"
#include "store/repo_replica.h"

/* ---- life of a session ---- */

void session_ref(struct agent_session *s) {
    pthread_mutex_lock(&s->lock);
    s->refs++;
    pthread_mutex_unlock(&s->lock);
    struct agents *a = s->e->agents;
    pthread_mutex_lock(&a->lock);
    a->pending++;
    pthread_mutex_unlock(&a->lock);
}

static void session_free(struct agent_session *s) {
    for (size_t i = 0; i < s->njobs; i++)
        job_free(s->jobs[i]);
    pod_set_clear(&s->found.set);
    pthread_cond_destroy(&s->room);
    pthread_mutex_destroy(&s->lock);
    free(s->backend);
    free(s->rules);
    free(s->k8s_uid);
    free(s);
}

static void session_drop(struct agent_session *s) {
    pthread_mutex_lock(&s->lock);
    bool last = --s->refs == 0;
    pthread_mutex_unlock(&s->lock);
    if (last)
        session_free(s);
}

void session_unref(struct agent_session *s) {
    struct agents *a = s->e->agents;
    session_drop(s);
    pthread_mutex_lock(&a->lock);
    if (--a->pending == 0)
        pthread_cond_broadcast(&a->idle);
    pthread_mutex_unlock(&a->lock);
}

void session_close(struct agent_session *s, int code, const char *reason) {
    const osmo_transport_t *t = s->e->transport;
    pthread_mutex_lock(&s->lock);
    bool open = !s->closed;
    s->failed = true;
    pthread_cond_broadcast(&s->room);
    pthread_mutex_unlock(&s->lock);
    if (open && t && t->ws_close)
        t->ws_close(t->impl, s->conn, code, reason);
}

/* Lock held. A peer that takes nothing any more has to begin again: what it did not hear is owed. */
static void session_send(struct agent_session *s, const void *data, size_t len, bool binary) {
    const osmo_transport_t *t = s->e->transport;
    int rc = t && t->ws_send ? t->ws_send(t->impl, s->conn, data, len, binary) : OSMO_ENOTFOUND;
    if (rc != OSMO_ELIMIT)
        return;
    s->failed = true;
    pthread_cond_broadcast(&s->room);
    if (t->ws_close)
        t->ws_close(t->impl, s->conn, CLOSE_AGAIN, "the connection is too slow");
}

static bool reports_pods(const struct agent_session *s) { return s->kind == AGENT_POD || s->kind == AGENT_MESSAGE; }

int agent_open(engine_t *e, enum agent_socket kind, const char *backend, uint64_t conn,
               const char *offered_extensions, agent_session_t **out, const char **accepted_extensions,
               osmo_error_t *err) {
    struct agents *a = e->agents;
    *accepted_extensions = NULL;
    if (!a)
        return osmo_error_set(err, OSMO_EUNAVAIL, "this process does not have the role agent");
    struct agent_session *s = calloc(1, sizeof *s);
    if (s)
        s->backend = str_dup(backend);
    if (!s || !s->backend) {
        free(s);
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    }
    s->e = e;
    s->kind = kind;
    s->conn = conn;
    s->refs = 1;
    s->jobs_extension = kind == AGENT_WORKER && offered_extensions && extension_offered(offered_extensions, "jobs");
    s->parts_extension = s->jobs_extension && extension_offered(offered_extensions, "job-parts");
    s->snapshot_extension = reports_pods(s) && offered_extensions && extension_offered(offered_extensions, "snapshot");
    s->status_extension = (kind == AGENT_HEARTBEAT || kind == AGENT_MESSAGE) && offered_extensions &&
                          extension_offered(offered_extensions, "status");
    s->pulls_images = !offered_extensions || !extension_offered(offered_extensions, "own-images");
    if (s->jobs_extension)
        *accepted_extensions = s->parts_extension ? "jobs, job-parts" : "jobs";
    else if (s->snapshot_extension)
        *accepted_extensions = s->status_extension ? "snapshot, status" : "snapshot";
    else if (s->status_extension)
        *accepted_extensions = "status";
    pthread_mutex_init(&s->lock, NULL);
    pthread_cond_init(&s->room, NULL);
    pthread_mutex_lock(&a->lock);
    s->serial = ++a->serial;
    snprintf(s->owner, sizeof s->owner, "%s/agent-%llu", replicas_id(e), (unsigned long long)s->serial);
    s->next = a->sessions;
    a->sessions = s;
    pthread_mutex_unlock(&a->lock);
    *out = s;
    return 0;
}

void agent_opened(agent_session_t *s) {
    pthread_mutex_lock(&s->lock);
    s->opened = true;
    pthread_mutex_unlock(&s->lock);
    if (s->kind == AGENT_CONTROL) { /* which conditions make a node usable */
        agent_send_rules(s);
        agents_look(s->e);
    }
    if (s->kind == AGENT_CONTROL || s->kind == AGENT_WORKER)
        agents_wake(s->e); /* of a worker: the first heartbeat */
}

static int release_run(db_t *db, void *ctx, osmo_error_t *err) {
    struct agent_session *s = ctx;
    int rc = repo_worker_ended(db, s->owner, err);
    return rc < 0 ? rc : repo_work_release(db, s->owner, &s->leases_left, err);
}

static int release_one_run(db_t *db, void *ctx, osmo_error_t *err) {
    struct agent_session *s = ctx;
    return repo_work_release_one(db, s->owner, &s->leases_left, err);
}

static void release_done(void *ctx, int rc, const osmo_error_t *err) {
    struct agent_session *s = ctx;
    if (rc < 0)
        log_warning(&s->e->log, "jobs of a lost session of backend %s stay leased until their lease ends: %s",
                    s->backend, err->text);
    engine_wake(s->e, WAKE_WORK); /* its backend may be connected elsewhere by now */
    if (rc < 0 || !s->leases_left || store_post(s->e->store, NULL, release_one_run, release_done, s) < 0)
        session_unref(s);
}

/* The operator is gone; its jobs become free at once. The operator may still finish what it had begun: jobs are
 * idempotent. */
void agent_closed(agent_session_t *s) {
    struct agents *a = s->e->agents;
    pthread_mutex_lock(&a->lock);
    for (struct agent_session **p = &a->sessions; *p; p = &(*p)->next)
        if (*p == s) {
            *p = s->next;
            break;
        }
    pthread_mutex_unlock(&a->lock);
    pthread_mutex_lock(&s->lock);
    s->closed = true;
    pthread_cond_broadcast(&s->room);
    pthread_mutex_unlock(&s->lock);
    if (s->kind == AGENT_WORKER) {
        jobs_keep_logs(s);
        strays_expect(s);
        session_ref(s);
        if (store_post(s->e->store, s->backend, release_run, release_done, s) < 0) /* behind its INIT */
            session_unref(s);
    }
    session_drop(s);
}

/* ---- acknowledgements ---- */

/* Only names the message: counted, as randomness for each would cost the writer more than the rest of it. */
static void send_ack(struct agent_session *s, const char *acked) {
    char uuid[33];
    _cleanup_buf_ buf_t out = BUF_INIT(4096);
    snprintf(uuid, sizeof uuid, "%.12s%06llx%014llx", replicas_id(s->e), (unsigned long long)s->serial & 0xffffff,
             (unsigned long long)s->first_ack & 0xffffffffffffff);
    if (*acked && message_build_ack(acked, uuid, &out) >= 0)
        session_send(s, out.data, out.len, false);
}

/* Under the lock, so that two writer threads cannot swap acknowledgements. */
static void flush_acks(struct agent_session *s) {
    while (s->first_ack < s->next_ack && s->acks[s->first_ack % ACKS_MAX].done && !s->failed) {
        if (!s->closed)
            send_ack(s, s->acks[s->first_ack % ACKS_MAX].uuid);
        s->first_ack++;
        pthread_cond_signal(&s->room);
    }
}

struct ticket *ticket_new(struct agent_session *s, const char *uuid) {
    struct ticket *t = calloc(1, sizeof *t);
    if (!t)
        return NULL;
    t->s = s;
    t->silent = uuid == NULL;
    session_ref(s);
    if (t->silent)
        return t;
    pthread_mutex_lock(&s->lock);
    while (s->next_ack - s->first_ack >= ACKS_MAX && !s->closed && !s->failed)
        pthread_cond_wait(&s->room, &s->lock);
    bool full = s->next_ack - s->first_ack >= ACKS_MAX;
    if (!full) {
        t->number = s->next_ack++;
        struct ack *ack = &s->acks[t->number % ACKS_MAX];
        snprintf(ack->uuid, sizeof ack->uuid, "%s", uuid);
        ack->done = false;
    }
    pthread_mutex_unlock(&s->lock);
    if (full) { /* only when the session is over */
        session_unref(s);
        free(t);
        return NULL;
    }
    return t;
}

void ticket_done(void *ctx, int rc, const osmo_error_t *err) {
    struct ticket *t = ctx;
    struct agent_session *s = t->s;
    if (rc < 0) {
        /* Not acknowledged: the operator sends it again after it has reconnected. */
        log_error(&s->e->log, "a message of backend %s was not stored: %s", s->backend, err ? err->text : "");
        session_close(s, CLOSE_AGAIN, "the message could not be stored, connect again");
    } else if (!t->silent) {
        pthread_mutex_lock(&s->lock);
        s->acks[t->number % ACKS_MAX].done = true;
        flush_acks(s);
        pthread_mutex_unlock(&s->lock);
    }
    session_unref(s);
    free(t);
}

/* ---- INIT ---- */

struct init {
    struct ticket *ticket;
    struct backend_row row;
    int64_t snapshot; /* out: number of the one that begins now */
    int64_t born_us;  /* out: tells the backend from those before and after it of its name */
    bool returned;    /* out: the backend was lost */
};

static int init_run(db_t *db, void *ctx, osmo_error_t *err) {
    struct init *i = ctx;
    i->snapshot = 0;
    struct backend_row now = { 0 };
    int rc = repo_backend_upsert(db, &i->row, err);
    if (rc >= 0)
        rc = repo_backend_get(db, i->row.name, &now, err);
    i->born_us = now.created_us;
    backend_row_clear(&now);
    if (rc >= 0 && i->ticket->s->kind == AGENT_WORKER)
        rc = repo_worker_set(db, i->row.name, i->ticket->s->owner, err);
    if (rc >= 0)
        rc = repo_backend_returned(db, i->row.name, &i->returned, err);
    if (rc >= 0 && reports_pods(i->ticket->s))
        rc = repo_snapshot_begin(db, i->row.name, &i->snapshot, err);
    return rc;
}

/* Pods of another machine get addresses and names of images that mean something there, or none of their tasks begins. */
static void warn_of_names(const struct agent_session *s) {
    const struct settings *settings = engine_settings(s->e);
    _cleanup_free_ char *base = engine_base_url(s->e);
    url_parts_t url;
    if (base && url_parse(base, &url, NULL) == 0 && host_is_loopback(url.host, strlen(url.host)))
        log_warning(&s->e->log, "tasks of backend %s will look for this service at %s, which is their own machine: name its address with "
                    "service.service_base_url or --base-url", s->backend, base);
    if (str_starts(settings->init_image, "localhost/") || str_starts(settings->client_image, "localhost/"))
        log_warning(&s->e->log, "tasks of backend %s need the image %s on its nodes, no registry is asked for it: name one that they can "
                    "pull with workflow.backend_images", s->backend, settings->init_image);
    engine_settings_put(settings);
}

static void init_done(void *ctx, int rc, const osmo_error_t *err) {
    struct init *i = ctx;
    struct agent_session *s = i->ticket->s;
    osmo_error_t taken = OSMO_ERROR_INIT;
    if (rc == OSMO_ECONFLICT) {
        log_error(&s->e->log, "backend %s was refused: %s", s->backend, err->text);
        session_close(s, CLOSE_REFUSED, err->text);
        rc = 0;
        err = &taken;
    } else if (rc >= 0) {
        agent_belongs(s, i->row.k8s_uid, i->born_us);
        pthread_mutex_lock(&s->lock);
        s->ready = true;
        pthread_mutex_unlock(&s->lock);
        agents_look(s->e); /* it may have been deleted right behind this */
        if (s->kind == AGENT_WORKER && s->pulls_images)
            warn_of_names(s);
        if (i->snapshot)
            reconcile_ask(s, i->snapshot, i->row.heartbeat_us);
        if (i->returned)
            offline_returned(s);
        engine_wake(s->e, WAKE_WORK);
    }
    ticket_done(i->ticket, rc, err);
    backend_row_clear(&i->row);
    free(i);
}

static int handle_init(struct agent_session *s, const json_t *body, struct ticket *t, osmo_error_t *err) {
    const char *uid = body_text(body, "k8s_uid", err), *ns = uid ? body_text(body, "k8s_namespace", err) : NULL;
    const char *version = ns ? body_text(body, "version", err) : NULL;
    const char *prefix = version ? body_text(body, "node_condition_prefix", err) : NULL;
    struct init *i = prefix ? calloc(1, sizeof *i) : NULL;
    if (!i) {
        session_close(s, CLOSE_PROTOCOL, "init is incomplete");
        ticket_done(t, 0, NULL);
        return prefix ? OSMO_ENOMEM : OSMO_EINVAL;
    }
    int64_t now = engine_now(s->e);
    i->ticket = t;
    i->row = (struct backend_row){ .name = str_dup(s->backend),
                                   .k8s_uid = str_dup(uid),
                                   .k8s_namespace = str_dup(ns),
                                   .version = str_dup(version),
                                   .node_prefix = str_dup(prefix),
                                   .heartbeat_us = now,
                                   .created_us = now,
                                   .pulls_images = s->pulls_images };
    s->inited = true;
    strays_begin(s);
    bool whole = i->row.name && i->row.k8s_uid && i->row.k8s_namespace && i->row.version && i->row.node_prefix;
    int rc = whole ? store_post(s->e->store, s->backend, init_run, init_done, i) : OSMO_ENOMEM;
    if (rc < 0) {
        osmo_error_t busy = OSMO_ERROR_INIT;
        osmo_error_set(&busy, rc, "the store does not accept more work");
        init_done(i, rc, &busy);
    }
    return 0;
}

/* ---- messages ---- */

static void handle_worker(struct agent_session *s, const struct message *m) {
    if (m->type == MSG_JOB_STATUS)
        agent_job_status(s, m->body);
    else if (m->type == MSG_POD_LOG)
        agent_pod_log(s, m->body);
    else
        log_warning(&s->e->log, "backend %s sent %s on its worker socket: ignored", s->backend,
                    message_type_name(m->type));
}

static void handle(struct agent_session *s, const struct message *m) {
    osmo_error_t err = OSMO_ERROR_INIT;
    bool acks = s->inited && s->kind != AGENT_WORKER;
    if (m->type == MSG_LOGGING)
        agent_logging(s, m->body);
    else if (s->kind == AGENT_WORKER && m->type != MSG_INIT) {
        handle_worker(s, m);
        return;
    }
    if (s->kind == AGENT_WORKER && m->type == MSG_LOGGING)
        return;
    struct ticket *t = ticket_new(s, acks ? m->uuid : NULL);
    if (!t)
        return;
    message_fn fn = m->type == MSG_INIT ? handle_init : m->type == MSG_LOGGING ? NULL : agent_handler(m->type);
    if (!fn) {
        ticket_done(t, 0, NULL); /* log lines, and types without a meaning here */
        return;
    }
    if (fn(s, m->body, t, &err) < 0)
        log_warning(&s->e->log, "backend %s sent a bad %s message, ignored: %s", s->backend,
                    message_type_name(m->type), err.text);
}

/* A message that is not one at all would be sent again for ever if it were not acknowledged. */
static void handle_garbage(struct agent_session *s, const void *data, size_t len, const osmo_error_t *why) {
    _cleanup_json_ json_t *root = NULL;
    log_warning(&s->e->log, "backend %s sent something that is not a message: %s", s->backend, why->text);
    const char *uuid = json_parse(data, len, &root, NULL) >= 0 ? json_get_str(root, "uuid") : NULL;
    struct ticket *t =
        s->inited && uuid && strlen(uuid) <= 32 && s->kind != AGENT_WORKER ? ticket_new(s, uuid) : NULL;
    if (t)
        ticket_done(t, 0, NULL);
    else
        session_close(s, CLOSE_PROTOCOL, "not a message of the operator protocol");
}

void agent_message(agent_session_t *s, const void *data, size_t len, bool binary) {
    struct message m = { 0 };
    osmo_error_t err = OSMO_ERROR_INIT;
    pthread_mutex_lock(&s->lock);
    bool over = s->closed || s->failed;
    pthread_mutex_unlock(&s->lock);
    if (over || s->kind == AGENT_CONTROL) /* what a listener says on the control socket has no reader */
        return;
    int rc = binary ? osmo_error_set(&err, OSMO_EINVAL, "a binary frame") : message_parse(data, len, &m, &err);
    if (rc < 0)
        handle_garbage(s, data, len, &err);
    else if (!s->inited && m.type != MSG_INIT && m.type != MSG_LOGGING)
        session_close(s, CLOSE_PROTOCOL, "init must come first");
    else
        handle(s, &m);
    message_clear(&m);
}
