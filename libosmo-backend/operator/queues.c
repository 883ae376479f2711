/* The job that brings Queues and Topologies in line with the pools: what is missing is made, what differs is replaced, what no pool
 * stands for is removed. A cluster that places pods itself takes the limits of the pools from them. Called by jobs.c. */
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/map.h"
#include "base/str.h"
#include "operator/jobs.h"

/* Objects by "kind/name", as the groups of their APIs do not count. */
struct sync {
    const struct job_env *env;
    struct job_result *result;
    const json_t *targets, *immutable;
    map_t *wanted, *found, *unknown; /* of json_t, borrowed; the last by kind: those the cluster does not have */
    json_t *list;                    /* owns what was found */
    bool oom;
};

static const char *kind_of(const json_t *object) { return json_get_str(object, "kind"); }
static const char *name_of(const json_t *object) { return json_get_str(json_get(object, "metadata"), "name"); }

static void remember(struct sync *s, map_t *map, const json_t *object) {
    _cleanup_free_ char *key = str_printf("%s/%s", kind_of(object), name_of(object));
    s->oom |= !key || map_set(map, key, (void *)(uintptr_t)object) < 0;
}

static const json_t *look_up(struct sync *s, const map_t *map, const json_t *object) {
    _cleanup_free_ char *key = str_printf("%s/%s", kind_of(object), name_of(object));
    s->oom |= !key;
    return key ? map_get(map, key) : NULL;
}

/* What is busy, or was changed by another one meanwhile, is tried again here. */
static bool tries_again(const struct sync *s, int rc, int *attempt) {
    int64_t delay = job_error_may_pass(rc) ? job_retry_delay(++*attempt) : -1;
    return rc < 0 && delay >= 0 && s->env->wait(s->env->ctx, delay);
}

/* Any failure may pass: the control plane decides how often it is tried. */
static enum job_outcome trouble(struct sync *s, const char *what, const json_t *object, int rc, const osmo_error_t *err) {
    if (rc >= 0)
        return JOB_SUCCESS;
    const char *kind = kind_of(object), *name = name_of(object);
    return job_fail(s->result, JOB_FAILED_RETRY, "%s %s %s: %s", what, kind ? kind : "an object", name ? name : "",
                    *err->text ? err->text : osmo_error_name(rc));
}

/* ---- what is there ---- */

static int take_object(void *ctx, const char *text, size_t len) {
    struct sync *s = ctx;
    json_t *object = NULL;
    if (json_parse(text, len, &object, NULL) < 0 || !kind_of(object) || !name_of(object)) {
        json_free(object);
        return 0;
    }
    s->oom |= json_add(s->list, object) < 0;
    if (!s->oom)
        remember(s, s->found, object);
    return s->oom;
}

static enum job_outcome list_spec(struct sync *s, const json_t *spec) {
    char version[128];
    const char *kind;
    job_spec_kind(spec, version, &kind);
    _cleanup_free_ char *selector = job_selector(json_get(spec, "labels"));
    if (!kind || !selector)
        return job_fail(s->result, JOB_FAILED_NO_RETRY, "a cleanup spec needs a kind and labels");
    if (!job_kind_stays(kind))
        return job_fail(s->result, JOB_FAILED_NO_RETRY, "cleanup spec %s " JOB_KIND_STRAYS, kind);
    osmo_error_t err = OSMO_ERROR_INIT;
    int rc, attempt = 0;
    do {
        rc = s->env->driver->list ? s->env->driver->list(s->env->impl, version, kind, selector, take_object, s, &err) : 0;
    } while (tries_again(s, rc, &attempt));
    if (rc == OSMO_ENOTFOUND) {
        log_warning(s->env->log, "the cluster has no kind %s of %s: pools go without", kind, version);
        s->oom |= map_set(s->unknown, kind, (void *)(uintptr_t)spec) < 0;
        return JOB_SUCCESS;
    }
    if (rc >= 0)
        return JOB_SUCCESS;
    return job_fail(s->result, JOB_FAILED_RETRY, "listing %s objects: %s", kind, *err.text ? err.text : osmo_error_name(rc));
}

static enum job_outcome list_all(struct sync *s, const json_t *specs) {
    if (json_kind(specs) == JSON_OBJECT)
        return list_spec(s, specs);
    enum job_outcome o = JOB_SUCCESS;
    for (size_t i = 0; i < json_len(specs) && o == JOB_SUCCESS; i++)
        o = list_spec(s, json_at(specs, i));
    return o;
}

/* ---- what ought to be ---- */

static bool is_number(const json_t *v) { return json_kind(v) == JSON_INT || json_kind(v) == JSON_DOUBLE; }

/* Is all there that is wanted? The server adds defaults of its own, and others may add labels. */
static bool covers(const json_t *object, const json_t *wanted) {
    if (is_number(object) && is_number(wanted))
        return !(json_as_double(object, 0) < json_as_double(wanted, 0)) && !(json_as_double(object, 0) > json_as_double(wanted, 0));
    if (json_kind(wanted) == JSON_NULL || json_kind(object) != json_kind(wanted))
        return json_kind(wanted) == JSON_NULL && json_kind(object) == JSON_NULL;
    if (json_kind(wanted) == JSON_OBJECT) {
        for (json_iter_t it = json_iter(wanted); json_iter_next(&it);)
            if (!covers(json_get(object, it.key), it.value))
                return false;
        return true;
    }
    if (json_kind(wanted) != JSON_ARRAY)
        return json_equal(object, wanted);
    bool same = json_len(object) == json_len(wanted);
    for (size_t i = 0; same && i < json_len(wanted); i++)
        same = covers(json_at(object, i), json_at(wanted, i));
    return same;
}

static bool is_as_wanted(const json_t *object, const json_t *target) {
    const json_t *labels = json_path(target, "metadata", "labels", NULL);
    return str_eq(json_get_str(object, "apiVersion"), json_get_str(target, "apiVersion")) &&
           covers(json_get(object, "spec"), json_get(target, "spec")) &&
           (!labels || covers(json_path(object, "metadata", "labels", NULL), labels));
}

static bool is_immutable(const struct sync *s, const json_t *target) {
    for (size_t i = 0; i < json_len(s->immutable); i++)
        if (str_eq(json_str(json_at(s->immutable, i)), kind_of(target)))
            return true;
    return false;
}

static enum job_outcome erase(struct sync *s, const json_t *object) {
    const osmo_cluster_driver_t *d = s->env->driver;
    osmo_error_t err = OSMO_ERROR_INIT;
    const char *version = json_get_str(object, "apiVersion");
    int rc, attempt = 0;
    do {
        rc = d->erase ? d->erase(s->env->impl, version ? version : "", kind_of(object), name_of(object), &err) : 0;
    } while (tries_again(s, rc, &attempt));
    return rc == OSMO_ENOTFOUND ? JOB_SUCCESS : trouble(s, "removing", object, rc, &err);
}

/* One that exists without the labels it is looked for by is found here. */
static enum job_outcome make(struct sync *s, const json_t *target, bool exists) {
    const osmo_cluster_driver_t *d = s->env->driver;
    _cleanup_free_ char *text = json_to_text(target);
    osmo_error_t err = OSMO_ERROR_INIT;
    int rc = text ? OSMO_EEXISTS : OSMO_ENOMEM, attempt = 0;
    if (text && !exists)
        rc = d->create ? job_create_object(s->env, text, &err)
                       : osmo_error_set(&err, OSMO_EINVAL, "the %s cluster cannot create objects", d->name);
    if (rc == OSMO_EEXISTS) {
        do {
            err = (osmo_error_t)OSMO_ERROR_INIT;
            rc = d->replace ? d->replace(s->env->impl, text, strlen(text), &err) : 0;
        } while (tries_again(s, rc, &attempt));
    }
    return trouble(s, exists ? "replacing" : "creating", target, rc, &err);
}

static enum job_outcome bring_in_line(struct sync *s, const json_t *target) {
    const json_t *object = look_up(s, s->found, target);
    if (map_has(s->unknown, kind_of(target)) || (object && is_as_wanted(object, target)))
        return JOB_SUCCESS;
    if (!object || !is_immutable(s, target))
        return make(s, target, object != NULL);
    enum job_outcome o = erase(s, object);
    return o == JOB_SUCCESS ? make(s, target, false) : o;
}

/* One that fails does not keep the others back. */
static enum job_outcome bring_all(struct sync *s) {
    enum job_outcome worst = JOB_SUCCESS;
    for (size_t i = 0; i < json_len(s->targets) && !s->oom; i++) {
        if (!job_may_act(s->env))
            return job_fail(s->result, JOB_FAILED_RETRY, JOB_NO_LEASE);
        enum job_outcome o = bring_in_line(s, json_at(s->targets, i));
        worst = o > worst ? o : worst;
    }
    for (size_t i = 0; i < json_len(s->list) && !s->oom; i++) {
        if (!job_may_act(s->env))
            return job_fail(s->result, JOB_FAILED_RETRY, JOB_NO_LEASE);
        const json_t *object = json_at(s->list, i);
        enum job_outcome o = look_up(s, s->wanted, object) ? JOB_SUCCESS : erase(s, object);
        worst = o > worst ? o : worst;
    }
    return worst;
}

static enum job_outcome check_targets(struct sync *s) {
    if (json_kind(s->targets) != JSON_ARRAY || json_len(s->targets) > JOB_OBJECTS_MAX)
        return job_fail(s->result, JOB_FAILED_NO_RETRY, "k8s_resources must be an array of at most %u objects", JOB_OBJECTS_MAX);
    for (size_t i = 0; i < json_len(s->targets); i++) {
        const json_t *target = json_at(s->targets, i);
        if (!kind_of(target) || !name_of(target))
            return job_fail(s->result, JOB_FAILED_NO_RETRY, "k8s_resources[%zu] needs a kind and a metadata.name", i);
        const char *ns = json_get_str(json_get(target, "metadata"), "namespace");
        if (!job_kind_stays(kind_of(target)) || (ns && s->env->namespace_ && !str_eq(ns, s->env->namespace_)))
            return job_fail(s->result, JOB_FAILED_NO_RETRY, "k8s_resources[%zu] is of another namespace: jobs stay in that of the operator",
                            i);
        remember(s, s->wanted, target);
    }
    return JOB_SUCCESS;
}

enum job_outcome job_queues(const struct job_env *env, const json_t *job, struct job_result *result) {
    struct sync s = { .env = env, .result = result, .targets = json_get(job, "k8s_resources"),
                      .immutable = json_get(job, "immutable_kinds"), .wanted = map_new(NULL), .found = map_new(NULL),
                      .unknown = map_new(NULL), .list = json_array() };
    enum job_outcome o = JOB_FAILED_RETRY;
    s.oom = !s.wanted || !s.found || !s.unknown || !s.list;
    if (!s.oom)
        o = check_targets(&s);
    if (!s.oom && o == JOB_SUCCESS)
        o = list_all(&s, json_get(job, "cleanup_specs"));
    if (!s.oom && o == JOB_SUCCESS)
        o = bring_all(&s);
    if (s.oom)
        o = job_fail(result, JOB_FAILED_RETRY, "out of memory");
    map_free(s.wanted);
    map_free(s.found);
    map_free(s.unknown);
    json_free(s.list);
    return o;
}
