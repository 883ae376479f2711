/* Queues of the pools in the clusters, and the tests of nodes that backends run. The item of a backend carries the objects themselves, so
 * that whichever service has the backend's operator sends them as they were wanted last, and it stays until the operator has confirmed
 * just these; the digest of what was confirmed last is kept, so that an operator that connects again hears nothing it knows. */
#include "engine/queues.h"

#include <string.h>

#include "model/backend_config.h"
#include "model/pods_queues.h"
#include "store/repo_backend_end.h"
#include "store/repo_queues.h"

/* ---- what is wanted ---- */

/* What a backend is told of, one item each: the kind of the item, the job, the word in its ids, what it is called, and the job's own
 * members; *empty says that there is nothing to tell. */
struct told {
    enum job_kind kind;
    const char *work, *job_type, *word, *name;
    int (*make)(const struct settings *s, const struct backend_row *row, json_t **objects, bool *empty, osmo_error_t *err);
};

static int make_queues(const struct settings *s, const struct backend_row *row, json_t **objects, bool *empty, osmo_error_t *err) {
    *empty = false;
    return pods_queues(s, row->name, row->k8s_namespace, objects, err);
}

static int make_tests(const struct settings *s, const struct backend_row *row, json_t **objects, bool *empty, osmo_error_t *err) {
    int rc = backend_tests_objects(s, row->name, row->node_prefix, objects, err);
    *empty = rc >= 0 && !json_len(json_get(*objects, "test_configs"));
    return rc;
}

static const struct told all_told[] = {
    { JOB_QUEUES, WORK_QUEUES, "BackendSynchronizeQueues", "modify-queues", "pools", make_queues },
    { JOB_TESTS, WORK_TESTS, "BackendSynchronizeBackendTest", "sync-tests", "tests", make_tests },
};

static const struct told *told_by(enum job_kind kind) {
    for (size_t i = 0; i < ARRAY_SIZE(all_told); i++)
        if (all_told[i].kind == kind)
            return &all_told[i];
    return &all_told[0];
}

/* {backend, digest, objects} */
static int make_payload(const struct told *t, const struct settings *s, const struct backend_row *row, char digest[65], bool *empty,
                        char **out, osmo_error_t *err) {
    json_t *objects = NULL;
    int rc = t->make(s, row, &objects, empty, err);
    if (rc < 0)
        return rc;
    _cleanup_json_ json_t *payload = json_object();
    _cleanup_free_ char *text = json_to_text(objects);
    rc = payload ? json_set(payload, "objects", objects) : (json_free(objects), OSMO_ENOMEM);
    if (rc >= 0 && text) {
        pods_queues_digest(row->k8s_uid, text, digest);
        rc = json_set_str(payload, "digest", digest);
    }
    if (rc >= 0)
        rc = json_set_str(payload, "backend", row->name);
    *out = rc >= 0 && text ? json_to_text(payload) : NULL;
    return *out ? 0 : osmo_error_set(err, OSMO_ENOMEM, "out of memory");
}

struct want {
    engine_t *e;
    const char *backend;
    bool queued; /* out */
};

static int want_one(db_t *db, struct want *w, const struct told *t, const struct settings *s, const struct backend_row *row,
                    osmo_error_t *err) {
    _cleanup_free_ char *payload = NULL;
    char digest[65];
    bool queued = false, empty = false;
    int rc = make_payload(t, s, row, digest, &empty, &payload, err);
    if (rc >= 0)
        rc = repo_queues_want(db, t->work, w->backend, digest, payload, engine_now(w->e), empty, &queued, err);
    w->queued |= queued;
    return rc;
}

/* The settings are read in the transaction: of two that follow each other the later one knows the newer. */
static int want_run(db_t *db, void *ctx, osmo_error_t *err) {
    struct want *w = ctx;
    struct backend_row row = { 0 };
    const struct settings *s = engine_settings(w->e);
    bool accepts = false;
    w->queued = false;
    int rc = repo_backend_accepts(db, w->backend, &accepts, err);
    if (rc >= 0)
        rc = accepts ? repo_backend_get(db, w->backend, &row, err) : OSMO_ENOTFOUND;
    for (size_t i = 0; rc >= 0 && i < ARRAY_SIZE(all_told); i++)
        rc = want_one(db, w, &all_told[i], s, &row, err);
    engine_settings_put(s);
    backend_row_clear(&row);
    return gone_is_fine(rc);
}

/* The backend's operator may be connected elsewhere. */
static int want(engine_t *e, const char *backend) {
    osmo_error_t err = OSMO_ERROR_INIT;
    struct want w = { .e = e, .backend = backend };
    int rc = store_write(e->store, NULL, want_run, &w, &err);
    if (rc < 0)
        log_error(&e->log, "whether backend %s knows its pools and tests cannot be stored: %s", backend, err.text);
    else if (w.queued)
        engine_wake(e, WAKE_WORK);
    return rc;
}

static int want_all(engine_t *e) {
    osmo_error_t err = OSMO_ERROR_INIT;
    struct backend_row *rows = NULL;
    size_t n = 0;
    db_t *db;
    int rc = store_reader(e->store, &db, &err);
    if (rc >= 0)
        rc = repo_backend_list(db, &rows, &n, &err);
    if (rc < 0)
        log_error(&e->log, "the backends whose pools and tests may have changed cannot be read: %s", err.text);
    for (size_t i = 0; i < n; i++)
        if (want(e, rows[i].name) < 0)
            rc = OSMO_EUNAVAIL;
    backend_rows_free(rows, n);
    return rc;
}

void queues_follow(struct agents *a) {
    const struct settings *s = engine_settings(a->e);
    if (s == a->queues_of || want_all(a->e) < 0) {
        engine_settings_put(s);
        return;
    }
    engine_settings_put(a->queues_of);
    a->queues_of = s;
}

bool queues_introduced(struct agent_session *s) {
    if (!s->queues_wanted)
        s->queues_wanted = want(s->e, s->backend) >= 0;
    return s->queues_wanted;
}

/* ---- the job ---- */

static int read_payload(const struct job *j, json_t **out, osmo_error_t *err) {
    const char *text = j->payload ? j->payload : "{}";
    int rc = json_parse(text, strlen(text), out, err);
    if (rc < 0 || json_kind(json_get(*out, "objects")) != JSON_OBJECT || !json_get_str(*out, "digest") || !json_get_str(*out, "backend"))
        return osmo_error_set(err, OSMO_EINTERNAL, "a %s item names no objects", told_by(j->kind)->work);
    return 0;
}

int queues_body(const char *backend, struct job *j, json_t **out, osmo_error_t *err) {
    const struct told *t = told_by(j->kind);
    _cleanup_json_ json_t *payload = NULL, *o = json_object();
    char *id = str_printf("%s-%s-%.8s%.4s%.4s%.4s%.12s", backend, t->word, j->uuid, j->uuid + 9, j->uuid + 14, j->uuid + 19, j->uuid + 24);
    int rc = o && id ? read_payload(j, &payload, err) : osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    if (rc < 0) {
        free(id);
        return rc;
    }
    free(j->id);
    j->id = id;
    const char *const fields[][2] = { { "super_type", "backend" }, { "job_type", t->job_type }, { "job_id", j->id },
                                      { "job_uuid", j->uuid },     { "backend", backend } };
    for (size_t i = 0; rc >= 0 && i < ARRAY_SIZE(fields); i++)
        rc = json_set_str(o, fields[i][0], fields[i][1]);
    json_iter_t it = json_iter(json_get(payload, "objects"));
    while (rc >= 0 && json_iter_next(&it))
        rc = json_set(o, it.key, json_ref(it.value));
    if (rc < 0)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    *out = json_ref(o);
    return 0;
}

/* ---- the outcome ---- */

struct queues_end {
    engine_t *e;
    const struct told *told;
    int64_t work_id, attempts;
    int outcome;
    char *backend, *digest, *payload, *cause;
    char owner[64];
};

static void end_free(struct queues_end *q) {
    free(q->backend);
    free(q->digest);
    free(q->payload);
    free(q->cause);
    free(q);
}

/* What was done is done, whoever has the item by now (the session may have ended right behind its answer); who has it tells of the rest
 * itself. What is wanted meanwhile goes at once. */
static int end_run(db_t *db, void *ctx, osmo_error_t *err) {
    const struct queues_end *q = ctx;
    const char *cause = q->cause ? q->cause : "";
    int64_t now = engine_now(q->e);
    bool mine = false, same = false;
    int rc = repo_work_is_mine(db, q->work_id, q->owner, &mine, err);
    if (rc < 0 || (!mine && q->outcome != JOB_DONE))
        return rc;
    rc = repo_queues_unchanged(db, q->work_id, q->payload, &same, err);
    if (rc < 0 || (!mine && !same))
        return rc;
    rc = q->outcome == JOB_DONE ? repo_queues_have(db, q->told->work, q->backend, q->digest, err) : 0;
    if (rc < 0)
        return rc;
    if (!same)
        return gone_is_fine(repo_work_postpone(db, q->work_id, now, err));
    if (q->outcome == JOB_DONE)
        return gone_is_fine(repo_work_done(db, q->work_id, err));
    if (q->outcome == JOB_FAILED)
        return gone_is_fine(repo_work_kill(db, q->work_id, cause, err));
    return gone_is_fine(repo_work_retry(db, q->work_id, now + retry_delay_us(q->attempts), cause, err));
}

static void end_done(void *ctx, int rc, const osmo_error_t *err) {
    struct queues_end *q = ctx;
    struct agents *a = q->e->agents;
    if (rc < 0)
        log_error(&q->e->log, "the outcome of a %s job was not stored, it is sent again when its lease ends: %s", q->told->work,
                  err ? err->text : "");
    else if (q->outcome == JOB_DONE)
        log_info(&q->e->log, "backend %s knows its %s", q->backend, q->told->name);
    else if (q->outcome == JOB_FAILED)
        log_error(&q->e->log, "backend %s was not told of its %s, `osmo work retry` tries again: %s", q->backend, q->told->name,
                  q->cause ? q->cause : "it gave no reason");
    end_free(q);
    waker_wake(&a->waker);
    pthread_mutex_lock(&a->lock);
    if (--a->pending == 0)
        pthread_cond_broadcast(&a->idle);
    pthread_mutex_unlock(&a->lock);
}

static struct queues_end *end_new(engine_t *e, const struct job *j, int outcome, const char *cause) {
    struct queues_end *q = calloc(1, sizeof *q);
    _cleanup_json_ json_t *payload = NULL;
    if (!q)
        return NULL;
    q->e = e;
    q->told = told_by(j->kind);
    q->work_id = j->work_id;
    q->attempts = j->attempts;
    memcpy(q->owner, j->owner, sizeof q->owner);
    q->outcome = outcome;
    if (read_payload(j, &payload, NULL) < 0 && outcome == JOB_DONE)
        q->outcome = JOB_FAILED; /* never sent */
    q->backend = str_dup(payload ? json_get_str(payload, "backend") : "");
    q->digest = str_dup(payload ? json_get_str(payload, "digest") : "");
    q->payload = str_dup(j->payload ? j->payload : "");
    q->cause = str_dup(cause);
    if (q->backend && q->digest && q->payload)
        return q;
    end_free(q);
    return NULL;
}

void queues_finish(engine_t *e, struct job *j, int outcome, const char *cause) {
    struct agents *a = e->agents;
    struct queues_end *q = end_new(e, j, outcome, cause);
    if (q) { /* else its lease ends */
        pthread_mutex_lock(&a->lock);
        a->pending++;
        pthread_mutex_unlock(&a->lock);
        int rc = store_post(e->store, q->backend, end_run, end_done, q);
        if (rc < 0)
            end_done(q, rc, NULL);
    }
    job_free(j);
}
