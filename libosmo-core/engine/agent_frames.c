/* The job frames sent to a backend worker: built when they are sent, so that tokens are fresh and a cancelled group
 * never leaves. Called by agent_dispatch.c on the dispatcher thread. */
#include <string.h>

#include "base/clock.h"
#include "base/crypto.h"
#include "base/error.h"
#include "engine/credentials.h"
#include "engine/queues.h"
#include "engine/reconcile.h"
#include "model/pods.h"

/* job_id and job_uuid of the wire. A retry's two parts have ids too; its answer names the whole. */
static char *job_id(enum job_kind kind, const struct job *j, const struct handout *h, const char *random) {
    const char *workflow = h->wf.uuid, *group = h->group.name;
    switch (kind) {
    case JOB_CREATE: return str_printf("%s-%s-submit", workflow, group);
    case JOB_CLEANUP:
        return str_printf("%s-%s-%.6s-%sbackend-cleanup", workflow, group, random, j->force ? "force-" : "");
    case JOB_RESCHEDULE:
        return str_printf("%s-%s-%lld-reschedule", workflow, h->retry->name, (long long)h->retry->sm.retry_id);
    case JOB_LABEL:
    case JOB_ORPHAN:
    case JOB_QUEUES:
    case JOB_TESTS: return str_dup(random);
    }
    return NULL;
}

static int job_name(struct job *j, const struct handout *h, osmo_error_t *err) {
    char hex[33], other[33];
    if (crypto_random_hex32(hex) < 0 || crypto_random_hex32(other) < 0)
        return osmo_error_set(err, OSMO_EIO, "no randomness for ids");
    snprintf(j->uuid, sizeof j->uuid, "%.8s-%.4s-%.4s-%.4s-%.12s", hex, hex + 8, hex + 12, hex + 16, hex + 20);
    j->id = job_id(j->kind, j, h, other);
    return j->id ? 0 : no_memory(err);
}

static json_t *job_envelope(enum job_kind kind, const char *id, const char *backend, const struct handout *h,
                            const struct job *j) {
    static const struct {
        const char *super, *type;
    } names[] = {
        [JOB_CREATE] = { "frontend", "CreateGroup" },
        [JOB_CLEANUP] = { "frontend", "CleanupGroup" },
        [JOB_RESCHEDULE] = { "frontend", "RescheduleTask" },
        [JOB_LABEL] = { "backend", "LabelNode" },
        [JOB_ORPHAN] = { "frontend", "CleanupGroup" },
    };
    json_t *o = json_object();
    int rc = o && id ? 0 : OSMO_ENOMEM;
    const char *const fields[][2] = {
        { "super_type", names[kind].super },
        { "job_type", names[kind].type },
        { "job_id", id },
        { "job_uuid", j->uuid },
        { "backend", backend },
        { "workflow_id", h->wf.id },
        { "workflow_uuid", h->wf.uuid },
        { "user", h->wf.user },
        { "group_name", kind == JOB_LABEL ? NULL : h->group.name },
    };
    for (size_t i = 0; rc >= 0 && i < ARRAY_SIZE(fields); i++)
        if (fields[i][1])
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
        s->ids[i] = (struct pod_task_ids){ t->name, t->uuid, t->sm.retry_id, NULL, NULL };
        if (h->retry && h->retry != t) /* its pod is not made again */
            continue;
        int rc = auth_task_refresh_token(e, t->uuid, t->sm.retry_id, s->refresh[i], err);
        if (rc >= 0)
            rc = auth_task_jwt(e, h->wf.user, h->wf.id, h->group.name, t->name, t->sm.retry_id, &s->jwt[i], err);
        if (rc < 0)
            return rc;
        s->ids[i].refresh_token = s->refresh[i];
        s->ids[i].login_jwt = s->jwt[i];
    }
    return 0;
}

static int group_spec(const struct handout *h, struct spec **out, osmo_error_t *err) {
    _cleanup_json_ json_t *json = NULL;
    int rc = json_parse(h->group.spec_json, strlen(h->group.spec_json), &json, err);
    return rc < 0 ? rc : spec_group_from_json(json, out, err);
}

/* What the service itself logs in with, where it is configured to. */
struct own_logins {
    struct pod_pair data_pairs[5], image_pairs[2];
    char *scope;
    struct pod_credential data, image;
};

static void own_logins_clear(struct own_logins *l) { free(l->scope); }

static int own_logins_fill(struct own_logins *l, struct pod_context *c, osmo_error_t *err) {
    const struct data_login *d = &c->settings->data_login;
    const struct image_login *im = &c->settings->image_login;
    const struct pod_pair data[] = { { "access_key_id", d->access_key_id }, { "access_key", d->access_key }, { "region", d->region },
                                     { "override_url", d->override_url }, { "addressing_style", d->addressing_style } };
    const struct pod_pair image[] = { { "username", im->username }, { "auth", im->auth } };
    memcpy(l->data_pairs, data, sizeof data);
    memcpy(l->image_pairs, image, sizeof image);
    /* The storage of the service itself is reached by a token. Without keys the entry still says where the storage is; then osmo_ctrl has
     * what its pod is given. */
    if (c->settings->data_endpoint && *c->settings->data_endpoint) {
        l->data = (struct pod_credential){ NULL, POD_CREDENTIAL_DATA, c->settings->data_endpoint, l->data_pairs, ARRAY_SIZE(data) };
        c->data_credential = &l->data;
    }
    if (!im->auth || !*im->auth || !im->registry)
        return 0;
    l->scope = registry_scope(im->registry);
    l->image = (struct pod_credential){ NULL, POD_CREDENTIAL_REGISTRY, l->scope, l->image_pairs, ARRAY_SIZE(image) };
    c->image_credential = &l->image;
    return l->scope ? 0 : no_memory(err);
}

/* Credentials are opened for this alone, and nothing of them is kept but in the objects. */
static int build_with(engine_t *e, struct pod_context *c, const struct handout *h, const struct spec *spec, json_t **objects,
                      osmo_error_t *err) {
    _cleanup_(credentials_wipe) struct credentials stored = { 0 };
    _cleanup_(own_logins_clear) struct own_logins own = { 0 };
    db_t *db;
    int rc = store_reader(e->store, &db, err);
    if (rc >= 0 && h->wf.user)
        rc = credentials_of_group(e, db, h->wf.user, spec, &stored, err);
    if (rc >= 0)
        rc = own_logins_fill(&own, c, err);
    c->credentials = stored.list;
    c->ncredentials = stored.n;
    if (rc >= 0)
        rc = pods_build_group(c, spec, objects, err);
    c->credentials = NULL;
    c->data_credential = c->image_credential = NULL;
    c->ncredentials = 0;
    return rc;
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
        rc = build_with(e, c, h, spec, objects, err);
    spec_free(spec);
    secrets_clear(&secrets);
    return rc;
}

/* What the workflow was submitted with; where and how fast is as it is now. */
static int rsync_fill(const struct handout *h, struct pod_rsync *out, struct pod_rsync_path **paths, osmo_error_t *err) {
    const struct rsync_settings *s = &h->settings->rsync;
    *paths = calloc(s->npaths + 1, sizeof **paths);
    if (!*paths)
        return no_memory(err);
    for (size_t i = 0; i < s->npaths; i++)
        (*paths)[i] = (struct pod_rsync_path){ s->paths[i].name, s->paths[i].path, s->paths[i].writable };
    *out = (struct pod_rsync){ s->read_limit, s->write_limit, *paths, s->npaths };
    return 0;
}

static int create_objects(engine_t *e, const char *backend, const struct handout *h, json_t **objects,
                          osmo_error_t *err) {
    const struct settings *settings = h->settings; /* what the kinds of its objects were kept from */
    const struct backend_settings *bs = settings_backend(settings, backend);
    struct backend_row row = { 0 };
    struct pod_rsync rsync;
    _cleanup_free_ struct pod_rsync_path *paths = NULL;
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
        .only_task = h->retry ? h->retry->name : NULL,
    };
    db_t *db;
    int rc = base && data ? store_reader(e->store, &db, err) : no_memory(err);
    if (rc >= 0 && !c.pool)
        rc = osmo_error_set(err, OSMO_EUSER, "pool %s does not exist any more", h->wf.pool);
    if (rc >= 0)
        rc = repo_backend_get(db, backend, &row, err);
    if (rc == OSMO_ENOTFOUND) /* it is just being deleted, and its groups end otherwise */
        rc = OSMO_EUNAVAIL;
    if (rc >= 0 && h->wf.labels_json)
        rc = json_parse(h->wf.labels_json, strlen(h->wf.labels_json), &labels, err);
    if (rc >= 0 && h->wf.rsync)
        rc = rsync_fill(h, &rsync, &paths, err);
    if (rc >= 0) {
        c.rsync = h->wf.rsync ? &rsync : NULL;
        c.backend_namespace = row.k8s_namespace;
        c.workflow_labels = labels;
        rc = build_objects(e, &c, h, objects, err);
    }
    backend_row_clear(&row);
    return rc;
}

static int create_body(engine_t *e, const char *backend, const struct handout *h, json_t *o, osmo_error_t *err) {
    json_t *objects = NULL;
    int rc = create_objects(e, backend, h, &objects, err);
    if (rc < 0) {
        json_free_secret(objects);
        return rc;
    }
    rc = json_set(o, "k8s_resources", objects);
    if (rc >= 0)
        rc = json_set_str(o, "installation", e->agents ? e->agents->installation : NULL); /* NULL: only its size is asked for */
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

/* What selects the objects of the group; of a retry, the pod of the attempt before it. */
static json_t *cleanup_labels(const struct handout *h) {
    json_t *labels = json_object();
    int rc = labels ? 0 : OSMO_ENOMEM;
    if (rc >= 0)
        rc = json_set_str(labels, "osmo.workflow_uuid", h->wf.uuid);
    if (rc >= 0)
        rc = json_set_str(labels, "osmo.group_uuid", h->group.uuid);
    if (rc >= 0 && h->retry) {
        char retry[24];
        snprintf(retry, sizeof retry, "%lld", (long long)h->retry->sm.retry_id - 1);
        rc = json_set_str(labels, "osmo.task_uuid", h->retry->uuid);
        if (rc >= 0)
            rc = json_set_str(labels, "osmo.retry_id", retry);
    }
    if (rc >= 0)
        return labels;
    json_free(labels);
    return NULL;
}

/* {labels, resource_type: "Pod", …} */
static json_t *pod_spec(const struct handout *h) {
    json_t *spec = json_object();
    int rc = spec ? json_set(spec, "labels", cleanup_labels(h)) : OSMO_ENOMEM;
    if (rc >= 0)
        rc = json_set_str(spec, "resource_type", "Pod");
    if (rc >= 0)
        rc = json_set(spec, "custom_api", NULL);
    if (rc >= 0)
        rc = json_set(spec, "generic_api", NULL);
    if (rc >= 0 && json_kind(json_get(spec, "labels")) == JSON_OBJECT)
        return spec;
    json_free(spec);
    return NULL;
}

static int error_log_spec(const struct handout *h, json_t *o) {
    if (!h->retry && !wants_error_logs(h))
        return json_set(o, "error_log_spec", NULL);
    json_t *spec = pod_spec(h);
    return spec ? json_set(o, "error_log_spec", spec) : OSMO_ENOMEM;
}

static json_t *cleanup_specs(const struct handout *h) {
    if (h->retry) {
        json_t *list = json_array(), *spec = pod_spec(h);
        if (list && spec && json_add(list, spec) >= 0)
            return list;
        json_free(list);
        return NULL;
    }
    _cleanup_json_ json_t *kinds = kinds_to_clean(h);
    return kinds ? pods_cleanup_specs(h->wf.uuid, h->group.uuid, kinds) : NULL;
}

static int expect_log(struct job *j, const struct task_row *t, int64_t retry_id) {
    struct job_log *l = &j->logs[j->nlogs++];
    memcpy(l->uuid, t->uuid, sizeof l->uuid);
    l->retry_id = retry_id;
    buf_init(&l->text, ERROR_LOG_MAX + 256);
    l->task = str_dup(t->name);
    return l->task ? 0 : OSMO_ENOMEM;
}

static int cleanup_body(engine_t *e, const struct handout *h, struct job *j, json_t *o, osmo_error_t *err) {
    const struct settings *s = engine_settings(e);
    int64_t lines = s->max_error_log_lines;
    engine_settings_put(s);
    json_t *specs = cleanup_specs(h);
    int rc = specs ? json_set(o, "cleanup_specs", specs) : OSMO_ENOMEM;
    if (rc >= 0)
        rc = error_log_spec(h, o);
    if (rc >= 0)
        rc = json_set_bool(o, "force_delete", j->force);
    if (rc >= 0)
        rc = json_set_int(o, "max_log_lines", lines);
    j->logs = calloc(h->retry ? 1 : h->ntasks + 1, sizeof *j->logs);
    if (rc < 0 || !j->logs)
        return no_memory(err);
    if (h->retry)
        rc = expect_log(j, h->retry, h->retry->sm.retry_id - 1);
    for (size_t i = 0; rc >= 0 && !h->retry && i < h->ntasks; i++)
        rc = expect_log(j, &h->tasks[i], h->tasks[i].sm.retry_id);
    return rc < 0 ? no_memory(err) : 0;
}

/* ---- retry and node ---- */

static int reschedule_part(engine_t *e, const char *backend, const struct handout *h, enum job_kind kind, struct job *j,
                           const char *name, json_t *o, osmo_error_t *err) {
    char random[33];
    if (crypto_random_hex32(random) < 0)
        return osmo_error_set(err, OSMO_EIO, "no randomness for ids");
    _cleanup_free_ char *id = job_id(kind, j, h, random);
    json_t *part = job_envelope(kind, id, backend, h, j);
    if (!part || json_set(o, name, part) < 0)
        return no_memory(err);
    return kind == JOB_CREATE ? create_body(e, backend, h, part, err) : cleanup_body(e, h, j, part, err);
}

static int reschedule_body(engine_t *e, const char *backend, const struct handout *h, struct job *j, json_t *o,
                           osmo_error_t *err) {
    int rc = json_set_int(o, "retry_id", h->retry->sm.retry_id);
    if (rc >= 0)
        rc = json_set_str(o, "task_name", h->retry->name);
    if (rc >= 0)
        rc = json_set_bool(o, "lead_task", h->retry->sm.lead);
    if (rc < 0)
        return no_memory(err);
    rc = reschedule_part(e, backend, h, JOB_CLEANUP, j, "cleanup_job", o, err);
    return rc < 0 ? rc : reschedule_part(e, backend, h, JOB_CREATE, j, "create_job", o, err);
}

/* A node that failed a preflight test is not verified any more. */
static int label_body(const struct handout *h, json_t *o, osmo_error_t *err) {
    _cleanup_json_ json_t *payload = NULL;
    const char *text = h->payload ? h->payload : "{}";
    char day[TIME_TEXT_MAX];
    time_iso(clock_now_us(), day);
    day[strlen("2000-01-01")] = '\0';
    const char *const labels[][2] = {
        { "osmo.verified", "False" },
        { "osmo.reason", "PreflightTestFailed" },
        { "osmo.reserved", "preflight" },
        { "osmo.last-labeled", day },
    };
    int rc = json_parse(text, strlen(text), &payload, err);
    const char *node = json_get_str(payload, "node");
    if (rc < 0 || !node)
        return osmo_error_set(err, OSMO_EINTERNAL, "a %s item names no node", WORK_LABEL);
    json_t *list = json_object();
    rc = list ? json_set(o, "labels", list) : OSMO_ENOMEM;
    for (size_t i = 0; rc >= 0 && i < ARRAY_SIZE(labels); i++)
        rc = json_set_str(list, labels[i][0], labels[i][1]);
    if (rc >= 0)
        rc = json_set_str(o, "node_name", node);
    return rc < 0 ? no_memory(err) : 0;
}

static int job_body(engine_t *e, const char *backend, const struct handout *h, struct job *j, json_t *o,
                    osmo_error_t *err) {
    switch (j->kind) {
    case JOB_CREATE: return create_body(e, backend, h, o, err);
    case JOB_CLEANUP: return cleanup_body(e, h, j, o, err);
    case JOB_RESCHEDULE: return reschedule_body(e, backend, h, j, o, err);
    case JOB_LABEL: return label_body(h, o, err);
    case JOB_ORPHAN: break; /* orphan_body() makes the whole of it */
    case JOB_QUEUES:
    case JOB_TESTS: break; /* so does queues_body() */
    }
    return OSMO_EINTERNAL;
}

/* What only our own operators know. */
static void make_plain(enum job_kind kind, json_t *o) {
    json_del(o, "installation");
    json_del(json_get(o, "create_job"), "installation");
    if (kind == JOB_RESCHEDULE)
        json_del(o, "group_name");
    if (kind == JOB_LABEL)
        json_del(o, "workflow_id");
}

int job_frame(engine_t *e, const char *backend, const struct handout *h, size_t max, struct job *j, osmo_error_t *err) {
    int rc = job_name(j, h, err);
    if (rc < 0)
        return rc;
    _cleanup_json_secret_ json_t *o = NULL;
    if (j->kind == JOB_ORPHAN) {
        rc = orphan_body(e, backend, j, &o, err);
    } else if (job_tells(j)) {
        rc = queues_body(backend, j, &o, err);
    } else {
        o = job_envelope(j->kind, j->id, backend, h, j);
        rc = o ? job_body(e, backend, h, j, o, err) : no_memory(err);
    }
    if (rc < 0)
        return rc;
    if (j->plain)
        make_plain(j->kind, o);
    buf_init(&j->frame, SIZE_MAX / 2); /* what compression may need at worst; the result is bounded */
    j->frame.secret = true;            /* tokens and credentials are in it */
    rc = job_pack(o, max, &j->frame, err);
    j->size = j->frame.len;
    if (rc < 0 && job_tells(j))
        return osmo_error_prefix(err, "the %s of backend %s", j->kind == JOB_TESTS ? "tests" : "queues", backend);
    return rc >= 0 ? 0
                   : osmo_error_prefix(err, "the objects of the %zu tasks of group %s", h->ntasks,
                                       h->group.name ? h->group.name : "-");
}
