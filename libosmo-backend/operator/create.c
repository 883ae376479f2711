/* The job that creates the objects of a group (or of one retry of a task): kind after kind in the order given, those of a kind side by
 * side. What is there already may be what an earlier delivery of the job made, and is compared with what was to be made. Called by jobs.c
 * on executor threads. */
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/crypto.h"
#include "base/map.h"
#include "base/str.h"
#include "operator/jobs.h"

#define PATIENCE_DEFAULT_S 60
#define PATIENCE_MAX_S 3600

/* One job. The lock guards what the threads of a run share. */
struct creation {
    const struct job_env *env;
    const json_t *objects;
    const char *installation;
    size_t first;               /* of the run */
    int64_t patience_us;
    pthread_mutex_t lock;
    int64_t moved_us;           /* when an object could be created last */
    map_t *present;             /* name → retry_id + 1 of those objects of the run's kind that are the group's */
    bool existed;
    int code;                   /* of the first that cannot be created; its index and why */
    size_t failed_at, failures;
    osmo_error_t err;
    char *older_name;           /* of one that an earlier attempt left */
};

/* ---- one object ---- */

/* Several installations may share a namespace: what is created for one carries its mark. */
static int mark_object(json_t *meta, const char *installation) {
    json_t *labels = json_get(meta, "labels");
    if (!installation)
        return 0;
    if (json_kind(labels) != JSON_OBJECT) {
        if (json_set(meta, "labels", json_object()) < 0)
            return OSMO_ENOMEM;
        labels = json_get(meta, "labels");
    }
    return json_set_str(labels, "osmo.installation", installation);
}

static char *object_text(const struct job_env *env, const json_t *object, const char *installation) {
    _cleanup_json_secret_ json_t *copy = json_copy(object);
    json_t *meta = json_get(copy, "metadata");
    if (json_kind(meta) != JSON_OBJECT) {
        if (json_set(copy, "metadata", json_object()) < 0)
            return NULL;
        meta = json_get(copy, "metadata");
    }
    int rc = json_set_str(meta, "namespace", env->namespace_);
    if (rc >= 0)
        rc = mark_object(meta, installation);
    return rc < 0 ? NULL : json_to_text(copy);
}

/* It may be that of a secret. */
static void wipe_text(char **text) {
    if (*text)
        crypto_wipe(*text, strlen(*text));
    free(*text);
}

/* Another writer of a quota, a connection that was cut, a server that is overloaded or starts again: all that passes. It is not counted
 * how often, but for how long nothing of the job could be created. */
static bool is_worth_waiting(struct creation *c, int rc, int64_t delay_ms) {
    if (!job_error_may_pass(rc))
        return false;
    pthread_mutex_lock(&c->lock);
    bool left = !c->code && clock_mono_us() + delay_ms * 1000 - c->moved_us <= c->patience_us;
    pthread_mutex_unlock(&c->lock);
    return left;
}

static void note_progress(struct creation *c) {
    pthread_mutex_lock(&c->lock);
    c->moved_us = clock_mono_us();
    pthread_mutex_unlock(&c->lock);
}

static int create_one(struct creation *c, const char *text, osmo_error_t *err) {
    const struct job_env *env = c->env;
    for (int attempt = 1;; attempt++) {
        osmo_error_t now = OSMO_ERROR_INIT;
        if (!job_may_act(env)) /* what is made now would be nobody's */
            return osmo_error_set(err, OSMO_EUNAVAIL, JOB_NO_LEASE);
        int rc = env->driver->create(env->impl, text, strlen(text), &now);
        int64_t delay = job_retry_pause(attempt);
        bool broken = rc == OSMO_EIO && job_retry_delay(attempt) < 0; /* a full disk, a server that is none: not for long */
        if (rc >= 0 || rc == OSMO_EEXISTS)
            note_progress(c);
        if (rc >= 0 || broken || !is_worth_waiting(c, rc, delay) || !env->wait(env->ctx, delay)) {
            if (rc < 0 && err)
                *err = now;
            return rc;
        }
    }
}

/* ---- what is there already ---- */

static int note_present(void *ctx, const char *json, size_t len) {
    struct creation *c = ctx;
    _cleanup_json_ json_t *object = NULL;
    if (json_parse(json, len, &object, NULL) < 0)
        return 0;
    const json_t *meta = json_get(object, "metadata");
    const char *name = json_get_str(meta, "name"), *retry = json_get_str(json_get(meta, "labels"), "osmo.retry_id");
    int64_t id = 0;
    if (!retry || !str_to_i64(retry, &id) || id < 0)
        id = 0;
    return name && map_set(c->present, name, (void *)(uintptr_t)(id + 1)) < 0;
}

/* With the lock held. */
static int list_present(struct creation *c, const json_t *object, const char *group, osmo_error_t *err) {
    const char *version = json_get_str(object, "apiVersion"), *kind = json_get_str(object, "kind");
    _cleanup_free_ char *selector = str_printf("osmo.group_uuid=%s", group);
    map_free(c->present);
    c->present = map_new(NULL);
    if (!selector || !c->present)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    for (int attempt = 1;; attempt++) {
        int rc = c->env->driver->list(c->env->impl, version ? version : "", kind ? kind : "", selector, note_present, c, err);
        int64_t delay = job_error_may_pass(rc) ? job_retry_delay(attempt) : -1;
        if (rc >= 0 || delay < 0 || !c->env->wait(c->env->ctx, delay))
            return rc;
    }
}

/* The name is taken. By one of this group: the job came twice, and what it wanted is there. Asked again for a name that was not listed:
 * it may have been made since, by a request whose answer was lost. */
static int compare(struct creation *c, const json_t *object, osmo_error_t *err) {
    const json_t *meta = json_get(object, "metadata"), *labels = json_get(meta, "labels");
    const char *group = json_get_str(labels, "osmo.group_uuid"), *name = json_get_str(meta, "name");
    const char *retry = json_get_str(labels, "osmo.retry_id");
    int64_t wanted = 0;
    pthread_mutex_lock(&c->lock);
    c->existed = true;
    if (!group || !name || !c->env->driver->list) {
        pthread_mutex_unlock(&c->lock);
        return 0;
    }
    int rc = c->present && map_has(c->present, name) ? 0 : list_present(c, object, group, err);
    int64_t found = rc >= 0 ? (int64_t)(uintptr_t)map_get(c->present, name) - 1 : 0;
    if (rc == OSMO_EDENIED || rc == OSMO_ENOTFOUND || rc == OSMO_EINVAL) {
        log_warning(c->env->log, "%s is there already; whose it is cannot be asked: %s", name, err ? err->text : "");
        rc = 0;
    } else if (rc >= 0 && found < 0) {
        rc = osmo_error_set(err, OSMO_EEXISTS, "there is another one of this name in the namespace, which does not belong to the group: "
                            "remove it and submit the workflow again");
    } else if (rc >= 0 && retry && str_to_i64(retry, &wanted) && found < wanted && !c->older_name) {
        c->older_name = str_dup(name);
    }
    pthread_mutex_unlock(&c->lock);
    return rc < 0 ? rc : 0;
}

/* ---- a run ---- */

static bool note_failure(struct creation *c, size_t index, int rc, const osmo_error_t *err) {
    pthread_mutex_lock(&c->lock);
    if (!c->code || index < c->failed_at) {
        c->code = rc;
        c->failed_at = index;
        c->err = *err;
    }
    c->failures++;
    pthread_mutex_unlock(&c->lock);
    return false;
}

static bool create_piece(void *ctx, size_t at) {
    struct creation *c = ctx;
    size_t index = c->first + at;
    const json_t *object = json_at(c->objects, index);
    _cleanup_(wipe_text) char *text = json_kind(object) == JSON_OBJECT ? object_text(c->env, object, c->installation) : NULL;
    osmo_error_t err = OSMO_ERROR_INIT;
    int rc = !text ? osmo_error_set(&err, OSMO_EINVAL, "it is not an object")
             : job_kind_stays(json_get_str(object, "kind")) ? create_one(c, text, &err)
                                                            : osmo_error_set(&err, OSMO_EINVAL, "it " JOB_KIND_STRAYS);
    if (rc == OSMO_EEXISTS) {
        err = (osmo_error_t)OSMO_ERROR_INIT;
        rc = compare(c, object, &err);
    }
    return rc >= 0 || note_failure(c, index, rc, &err);
}

static bool same_kind(const json_t *a, const json_t *b) {
    return str_eq(json_get_str(a, "kind"), json_get_str(b, "kind")) &&
           str_eq(json_get_str(a, "apiVersion"), json_get_str(b, "apiVersion"));
}

static void create_run(struct creation *c, size_t n) {
    c->moved_us = clock_mono_us();
    crew_do(c->env->crew, n, create_piece, c);
    map_free(c->present);
    c->present = NULL;
}

static enum job_outcome tell_failure(const struct creation *c, struct job_result *r) {
    const json_t *object = json_at(c->objects, c->failed_at);
    const char *kind = json_get_str(object, "kind"), *name = json_get_str(json_get(object, "metadata"), "name");
    char others[64] = "";
    if (c->failures > 1)
        snprintf(others, sizeof others, " (and %zu more)", c->failures - 1);
    return job_fail(r, job_error_may_pass(c->code) || c->code == OSMO_ENOMEM ? JOB_FAILED_RETRY : JOB_FAILED_NO_RETRY,
                    "creating %s %s: %s%s", kind ? kind : "an object", name ? name : "",
                    *c->err.text ? c->err.text : osmo_error_name(c->code), others);
}

static enum job_outcome create_runs(struct creation *c, struct job_result *r) {
    size_t n = json_len(c->objects);
    while (c->first < n && !c->code) {
        size_t end = c->first + 1;
        while (end < n && same_kind(json_at(c->objects, c->first), json_at(c->objects, end)))
            end++;
        create_run(c, end - c->first);
        c->first = end;
    }
    return c->code ? tell_failure(c, r) : JOB_SUCCESS;
}

enum job_outcome job_create(const struct job_env *env, const json_t *job, struct job_result *r, bool *existed, bool *stale) {
    int64_t patience = json_get_int(job, "backend_k8s_timeout", PATIENCE_DEFAULT_S);
    struct creation c = { .env = env, .objects = json_get(job, "k8s_resources"), .installation = json_get_str(job, "installation"),
                          .patience_us = (patience < 1 ? 1 : patience > PATIENCE_MAX_S ? PATIENCE_MAX_S : patience) * 1000000 };
    *existed = *stale = false;
    if (json_kind(c.objects) != JSON_ARRAY || json_len(c.objects) > JOB_OBJECTS_MAX)
        return job_fail(r, JOB_FAILED_NO_RETRY, "k8s_resources must be an array of at most %u objects", JOB_OBJECTS_MAX);
    if (!env->driver->create)
        return job_fail(r, JOB_FAILED_NO_RETRY, "the %s cluster cannot create objects", env->driver->name);
    pthread_mutex_init(&c.lock, NULL);
    enum job_outcome o = create_runs(&c, r);
    pthread_mutex_destroy(&c.lock);
    *existed = c.existed;
    *stale = c.older_name != NULL;
    if (o == JOB_SUCCESS && c.existed)
        job_fail(r, JOB_SUCCESS, "AlreadyExists");
    if (o == JOB_SUCCESS && *stale)
        log_info(env->log, "%s is there from an earlier attempt", c.older_name);
    free(c.older_name);
    return o;
}
