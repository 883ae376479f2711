/* The job frames sent to a backend worker: built when they are sent, so that tokens are fresh and a cancelled group
 * never leaves. Called by agent_dispatch.c on the dispatcher thread. */
#include <string.h>

#include "base/crypto.h"
#include "engine/agent_internal.h"
#include "model/pods.h"

static int no_memory(osmo_error_t *err) { return osmo_error_set(err, OSMO_ENOMEM, "out of memory"); }

/* job_id and job_uuid of the wire. */
static int job_name(struct job *j, const struct handout *h, osmo_error_t *err) {
    char hex[33], six[33];
    if (crypto_random_hex32(hex) < 0 || crypto_random_hex32(six) < 0)
        return osmo_error_set(err, OSMO_EIO, "no randomness for ids");
    snprintf(j->uuid, sizeof j->uuid, "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12, hex + 16, hex + 20);
    j->id = j->cleanup
                ? str_printf("%s-%s-%.6s-%sbackend-cleanup", h->wf.uuid, h->group.name, six, j->force ? "force-" : "")
                : str_printf("%s-%s-submit", h->wf.uuid, h->group.name);
    return j->id ? 0 : no_memory(err);
}

static json_t *job_envelope(const char *backend, const struct handout *h, const struct job *j) {
    json_t *o = json_object();
    int rc = o ? 0 : OSMO_ENOMEM;
    const char *const fields[][2] = {
        { "super_type", "frontend" },
        { "job_type", j->cleanup ? "CleanupGroup" : "CreateGroup" },
        { "job_id", j->id },
        { "job_uuid", j->uuid },
        { "backend", backend },
        { "workflow_id", h->wf.id },
        { "workflow_uuid", h->wf.uuid },
        { "user", h->wf.user },
        { "group_name", h->group.name },
    };
    for (size_t i = 0; rc >= 0 && i < ARRAY_SIZE(fields); i++)
        rc = json_set_str(o, fields[i][0], fields[i][1]);
    if (rc >= 0)
        return o;
    json_free(o);
    return NULL;
}

/* ---- create ---- */

struct secrets {
    struct pod_task_ids *ids;
    char (*refresh)[44];
    char **jwt;
    size_t n;
};

static void secrets_clear(struct secrets *s) {
    for (size_t i = 0; i < s->n; i++) {
        if (s->jwt && s->jwt[i])
            crypto_wipe(s->jwt[i], strlen(s->jwt[i]));
        if (s->jwt)
            free(s->jwt[i]);
    }
    if (s->refresh)
        crypto_wipe(s->refresh, s->n * sizeof *s->refresh);
    free(s->ids);
    free(s->refresh);
    free(s->jwt);
}

static int secrets_make(engine_t *e, const struct handout *h, struct secrets *s, osmo_error_t *err) {
    s->n = h->ntasks;
    s->ids = calloc(s->n + 1, sizeof *s->ids);
    s->refresh = calloc(s->n + 1, sizeof *s->refresh);
    s->jwt = calloc(s->n + 1, sizeof *s->jwt);
    if (!s->ids || !s->refresh || !s->jwt)
        return no_memory(err);
    for (size_t i = 0; i < s->n; i++) {
        const struct task_row *t = &h->tasks[i];
        int rc = auth_task_refresh_token(e, t->uuid, t->sm.retry_id, s->refresh[i], err);
        if (rc >= 0)
            rc = auth_task_jwt(e, h->wf.user, h->wf.id, h->group.name, t->name, t->sm.retry_id, &s->jwt[i], err);
        if (rc < 0)
            return rc;
        s->ids[i] = (struct pod_task_ids){ t->name, t->uuid, t->sm.retry_id, s->refresh[i], s->jwt[i] };
    }
    return 0;
}

static int group_spec(const struct handout *h, struct spec **out, osmo_error_t *err) {
    _cleanup_json_ json_t *json = NULL;
    int rc = json_parse(h->group.spec_json, strlen(h->group.spec_json), &json, err);
    return rc < 0 ? rc : spec_group_from_json(json, out, err);
}

static int build_objects(engine_t *e, struct pod_context *c, const struct handout *h, json_t **objects,
                         osmo_error_t *err) {
    struct spec *spec = NULL;
    struct secrets secrets = { 0 };
    int rc = secrets_make(e, h, &secrets, err);
    c->tasks = secrets.ids;
    c->ntasks = secrets.n;
    if (rc >= 0)
        rc = group_spec(h, &spec, err);
    if (rc >= 0)
        rc = pods_build_group(c, spec, objects, err);
    spec_free(spec);
    secrets_clear(&secrets);
    return rc;
}

static int create_objects(engine_t *e, const char *backend, const struct handout *h, json_t **objects,
                          osmo_error_t *err) {
    const struct settings *settings = engine_settings(e);
    const struct backend_settings *bs = settings_backend(settings, backend);
    struct backend_row row = { 0 };
    _cleanup_json_ json_t *labels = NULL;
    _cleanup_free_ char *base = engine_base_url(e);
    _cleanup_free_ char *data = settings->data_endpoint && *settings->data_endpoint
                                    ? str_dup(settings->data_endpoint)
                                    : str_printf("%s/api/storage", base ? base : "");
    struct pod_context c = {
        .workflow_id = h->wf.id,
        .workflow_uuid = h->wf.uuid,
        .group_uuid = h->group.uuid,
        .user = h->wf.user,
        .priority = h->wf.priority,
        .settings = settings,
        .pool = settings_pool(settings, h->wf.pool),
        .scheduler_name = bs ? bs->scheduler_name : NULL,
        .service_base_url = base,
        .dev_login = e->auth_mode == OSMO_AUTH_DEV,
        .data_endpoint = data,
    };
    db_t *db;
    int rc = base && data ? store_reader(e->store, &db, err) : no_memory(err);
    if (rc >= 0 && !c.pool)
        rc = osmo_error_set(err, OSMO_EUSER, "pool %s does not exist any more", h->wf.pool);
    if (rc >= 0)
        rc = repo_backend_get(db, backend, &row, err);
    if (rc >= 0 && h->wf.labels_json)
        rc = json_parse(h->wf.labels_json, strlen(h->wf.labels_json), &labels, err);
    if (rc >= 0) {
        c.backend_namespace = row.k8s_namespace;
        c.workflow_labels = labels;
        rc = build_objects(e, &c, h, objects, err);
    }
    backend_row_clear(&row);
    engine_settings_put(settings);
    return rc;
}

static int create_body(engine_t *e, const char *backend, const struct handout *h, json_t *o, osmo_error_t *err) {
    json_t *objects = NULL;
    int rc = create_objects(e, backend, h, &objects, err);
    if (rc < 0) {
        json_free(objects);
        return rc;
    }
    rc = json_set(o, "k8s_resources", objects);
    if (rc >= 0)
        rc = json_set_int(o, "backend_k8s_timeout", 60);
    if (rc >= 0)
        rc = json_set(o, "scheduler_settings", json_object());
    return rc < 0 ? no_memory(err) : 0;
}

/* ---- cleanup ---- */

/* Failed pods' logs are worth reading only for failures that happened inside them. */
static bool wants_error_logs(const struct handout *h) {
    for (size_t i = 0; i < h->ntasks; i++)
        if (status_has_error_logs(h->tasks[i].sm.status))
            return true;
    return false;
}

static int error_log_spec(const struct handout *h, json_t *o) {
    if (!wants_error_logs(h))
        return json_set(o, "error_log_spec", NULL);
    json_t *spec = json_object(), *labels = json_object();
    int rc = spec && labels ? 0 : OSMO_ENOMEM;
    if (rc >= 0)
        rc = json_set_str(labels, "osmo.workflow_uuid", h->wf.uuid);
    if (rc >= 0)
        rc = json_set_str(labels, "osmo.group_uuid", h->group.uuid);
    if (rc >= 0)
        rc = json_set(spec, "labels", STEAL(labels));
    if (rc >= 0)
        rc = json_set_str(spec, "resource_type", "Pod");
    if (rc >= 0)
        rc = json_set(spec, "custom_api", NULL);
    if (rc >= 0)
        rc = json_set(spec, "generic_api", NULL);
    if (rc >= 0)
        return json_set(o, "error_log_spec", spec);
    json_free(labels);
    json_free(spec);
    return rc;
}

static int cleanup_body(engine_t *e, const struct handout *h, struct job *j, json_t *o, osmo_error_t *err) {
    const struct settings *s = engine_settings(e);
    int64_t lines = s->max_error_log_lines;
    _cleanup_json_ json_t *kinds = pods_template_kinds(settings_pool(s, h->wf.pool));
    engine_settings_put(s);
    json_t *specs = kinds ? pods_cleanup_specs(h->wf.uuid, h->group.uuid, kinds) : NULL;
    int rc = specs ? json_set(o, "cleanup_specs", specs) : OSMO_ENOMEM;
    if (rc >= 0)
        rc = error_log_spec(h, o);
    if (rc >= 0)
        rc = json_set_bool(o, "force_delete", j->force);
    if (rc >= 0)
        rc = json_set_int(o, "max_log_lines", lines);
    j->logs = calloc(h->ntasks + 1, sizeof *j->logs);
    if (rc < 0 || !j->logs)
        return no_memory(err);
    for (size_t i = 0; i < h->ntasks; i++) {
        struct job_log *l = &j->logs[j->nlogs++];
        memcpy(l->uuid, h->tasks[i].uuid, sizeof l->uuid);
        l->retry_id = h->tasks[i].sm.retry_id;
        buf_init(&l->text, ERROR_LOG_MAX + 256);
        l->task = str_dup(h->tasks[i].name);
        if (!l->task)
            return no_memory(err);
    }
    return 0;
}

int job_frame(engine_t *e, const char *backend, const struct handout *h, size_t max, struct job *j, osmo_error_t *err) {
    int rc = job_name(j, h, err);
    if (rc < 0)
        return rc;
    _cleanup_json_ json_t *o = job_envelope(backend, h, j);
    if (!o)
        return no_memory(err);
    rc = j->cleanup ? cleanup_body(e, h, j, o, err) : create_body(e, backend, h, o, err);
    if (rc < 0)
        return rc;
    buf_init(&j->frame, SIZE_MAX / 2); /* what compression may need at worst; the result is bounded */
    rc = job_pack(o, max, &j->frame, err);
    j->size = j->frame.len;
    return rc < 0 ? osmo_error_prefix(err, "the objects of the %zu tasks of group %s", h->ntasks, h->group.name) : 0;
}
