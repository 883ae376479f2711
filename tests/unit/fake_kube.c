/* See fake_kube.h. One lock; objects are texts, and trees live only while the lock is held. */
#include "fake_kube.h"
#include <pthread.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json.h"
#include "base/str.h"

struct osmo_kube { bool stop; };

struct object { char *kind, *ns, *name, *text; unsigned long version; bool done; };
struct change { unsigned long version; char *kind, *before, *after; bool bookmark; };
struct fault { char call[16], text[200]; int code, times; };

static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;
static pthread_cond_t cond = PTHREAD_COND_INITIALIZER;
static struct object *objects;
static size_t nobjects, cap_objects;
static struct change *history;
static size_t nhistory, cap_history;
static struct fault faults[8];
static struct { char call[16]; int n; } calls[16];
static unsigned long version_now, compacted, serial, cuts;
static bool with_kai, expire_list;
static char without[64];

/* ---- texts ---- */

static json_t *parse(const char *text) {
    json_t *v = NULL;
    json_parse(text, strlen(text), &v, NULL);
    return v;
}

static void free_object(struct object *o) { free(o->kind), free(o->ns), free(o->name), free(o->text); }

static struct object *find(const char *kind, const char *name) {
    for (size_t i = 0; i < nobjects; i++)
        if (str_eq(objects[i].kind, kind) && str_eq(objects[i].name, name))
            return &objects[i];
    return NULL;
}

static void remember(const char *kind, const char *before, const char *after, bool bookmark) {
    if (nhistory == cap_history)
        history = realloc(history, (cap_history = cap_history ? 2 * cap_history : 256) * sizeof *history);
    history[nhistory++] = (struct change){ version_now, str_dup(kind), str_dup(before), str_dup(after), bookmark };
    pthread_cond_broadcast(&cond);
}

static char *versioned(json_t *v) {
    char number[24];
    snprintf(number, sizeof number, "%lu", ++version_now);
    json_set_str(json_get(v, "metadata"), "resourceVersion", number);
    return json_to_text(v);
}

static void change(struct object *o, json_t *v, bool quiet) {
    char *before = o->text;
    o->text = versioned(v);
    o->version = version_now;
    if (!quiet)
        remember(o->kind, before, o->text, false);
    free(before);
}

static void drop(struct object *o, bool quiet) {
    json_t *v = parse(o->text);
    char *last = versioned(v);
    if (!quiet)
        remember(o->kind, last, NULL, false);
    free(last);
    json_free(v);
    free_object(o);
    *o = objects[--nobjects];
}

static struct object *add(json_t *v) {
    char uid[40], now[TIME_TEXT_MAX];
    json_t *meta = json_get(v, "metadata");
    if (nobjects == cap_objects)
        objects = realloc(objects, (cap_objects = cap_objects ? 2 * cap_objects : 256) * sizeof *objects);
    snprintf(uid, sizeof uid, "00000000-0000-4000-8000-%012lx", ++serial);
    json_set_str(meta, "uid", uid);
    if (!json_has(meta, "creationTimestamp"))
        json_set_str(meta, "creationTimestamp", time_rfc3339(clock_now_us(), now));
    if (str_eq(json_get_str(v, "kind"), "Pod") && !json_has(v, "status"))
        json_set(v, "status", parse("{\"phase\":\"Pending\"}"));
    struct object *o = &objects[nobjects++];
    *o = (struct object){ .kind = str_dup(json_get_str(v, "kind")), .ns = str_dup(json_get_str(meta, "namespace")),
                          .name = str_dup(json_get_str(meta, "name")) };
    o->text = versioned(v);
    o->version = version_now;
    remember(o->kind, NULL, o->text, false);
    return o;
}

/* ---- deletion ---- */

static bool is_ended(const json_t *v) {
    const char *phase = json_get_str(json_get(v, "status"), "phase");
    return str_eq(phase, "Succeeded") || str_eq(phase, "Failed");
}

/* Deleted, without finalizers, and nothing that runs. */
static bool may_go(const struct object *o, const json_t *v) {
    const json_t *meta = json_get(v, "metadata");
    return json_has(meta, "deletionTimestamp") && !json_len(json_get(meta, "finalizers")) &&
           (!str_eq(o->kind, "Pod") || o->done || is_ended(v) || !json_get_str(json_get(v, "spec"), "nodeName") ||
            json_get_int(meta, "deletionGracePeriodSeconds", -1) == 0);
}

static void settle(struct object *o, json_t *v, bool quiet) {
    change(o, v, quiet);
    if (may_go(o, v))
        drop(o, quiet);
}

static void delete_object(struct object *o, int64_t grace) {
    json_t *v = parse(o->text), *meta = json_get(v, "metadata");
    char now[TIME_TEXT_MAX];
    json_set_str(meta, "deletionTimestamp", time_rfc3339(clock_now_us(), now));
    json_set_int(meta, "deletionGracePeriodSeconds", grace < 0 ? 30 : grace);
    settle(o, v, false);
    json_free(v);
}

/* ---- patches ---- */

static void merge(json_t *to, const json_t *patch);

static void merge_conditions(json_t *to, const json_t *list) {
    json_t *have = json_get(to, "conditions"), *fresh = json_array();
    for (size_t i = 0; i < json_len(have); i++) {
        bool replaced = false;
        for (size_t j = 0; j < json_len(list); j++)
            replaced |= str_eq(json_get_str(json_at(have, i), "type"), json_get_str(json_at(list, j), "type"));
        if (!replaced)
            json_add(fresh, json_copy(json_at(have, i)));
    }
    for (size_t j = 0; j < json_len(list); j++)
        json_add(fresh, json_copy(json_at(list, j)));
    json_set(to, "conditions", fresh);
}

static void delete_primitive(json_t *to, const json_t *gone) {
    json_t *left = json_array(), *have = json_get(to, "finalizers");
    for (size_t i = 0; i < json_len(have); i++)
        if (!str_eq(json_str(json_at(have, i)), json_str(json_at(gone, 0))))
            json_add_str(left, json_str(json_at(have, i)));
    json_set(to, "finalizers", left);
}

static void merge(json_t *to, const json_t *patch) {
    json_iter_t it = json_iter(patch);
    while (json_iter_next(&it)) {
        json_t *old = json_get(to, it.key);
        if (str_eq(it.key, "conditions"))
            merge_conditions(to, it.value);
        else if (str_eq(it.key, "$deleteFromPrimitiveList/finalizers"))
            delete_primitive(to, it.value);
        else if (json_kind(it.value) == JSON_OBJECT && json_kind(old) == JSON_OBJECT)
            merge(old, it.value);
        else if (json_kind(it.value) == JSON_NULL)
            json_del(to, it.key);
        else
            json_set(to, it.key, json_copy(it.value));
    }
}

/* ---- selectors ---- */

static bool term_holds(const json_t *labels, char *term) {
    char *eq = strchr(term, '=');
    if (*term == '!')
        return !json_has(labels, term + 1);
    if (!eq)
        return json_has(labels, term);
    *eq = '\0';
    return str_eq(json_get_str(labels, term), eq + 1);
}

static bool field_holds(const json_t *v, char *term) {
    char *eq = strchr(term, '=');
    bool differs = eq && eq > term && eq[-1] == '!';
    if (!eq)
        return false;
    eq[differs ? -1 : 0] = '\0';
    char *dot = strchr(term, '.');
    if (!dot)
        return false;
    *dot = '\0';
    const char *is = json_get_str(json_get(v, term), dot + 1);
    return str_eq(is ? is : "", eq + 1) != differs;
}

static bool matches(const osmo_kube_target_t *t, const char *text) {
    _cleanup_json_ json_t *v = text ? parse(text) : NULL;
    strlist_t labels = { 0 }, fields = { 0 };
    bool all = v != NULL;
    if (all && t->namespace_)
        all = str_eq(json_get_str(json_get(v, "metadata"), "namespace"), t->namespace_);
    if (t->label_selector && *t->label_selector)
        strlist_split(&labels, t->label_selector, ',');
    if (t->field_selector)
        strlist_split(&fields, t->field_selector, ',');
    for (size_t i = 0; all && i < labels.len; i++)
        all = term_holds(json_path(v, "metadata", "labels", NULL), labels.items[i]);
    for (size_t i = 0; all && i < fields.len; i++)
        all = field_holds(v, fields.items[i]);
    strlist_free(&labels);
    strlist_free(&fields);
    return all;
}

/* ---- faults ---- */

static int fails(osmo_kube_t *k, const char *call, osmo_error_t *err) {
    size_t i = 0;
    if (k->stop)
        return osmo_error_set(err, OSMO_ECONFLICT, "stopped");
    while (*calls[i].call && !str_eq(calls[i].call, call))
        i++;
    snprintf(calls[i].call, sizeof calls[i].call, "%s", call);
    calls[i].n++;
    for (size_t f = 0; f < ARRAY_SIZE(faults); f++)
        if (faults[f].times && str_eq(faults[f].call, call)) {
            faults[f].times--;
            return osmo_error_set(err, faults[f].code, "%s", faults[f].text);
        }
    return 0;
}

static int not_found(const osmo_kube_target_t *t, osmo_error_t *err) {
    return osmo_error_set(err, OSMO_ENOTFOUND, "%s \"%s\" not found", t->kind, t->name ? t->name : "");
}

/* ---- the functions of kube.h ---- */

int osmo_kube_open(const osmo_kube_options_t *options, osmo_kube_t **out, osmo_error_t *err) {
    (void)options, (void)err;
    *out = fake_kube_client();
    return 0;
}

void osmo_kube_stop(osmo_kube_t *k) {
    pthread_mutex_lock(&lock);
    k->stop = true;
    pthread_cond_broadcast(&cond);
    pthread_mutex_unlock(&lock);
}

void osmo_kube_free(osmo_kube_t *k) { free(k); }

const char *osmo_kube_get_namespace(const osmo_kube_t *k) {
    (void)k;
    return NULL;
}

const char *osmo_kube_get_server(const osmo_kube_t *k) {
    (void)k;
    return "https://fake";
}

int osmo_kube_discover(osmo_kube_t *k, const char *api_version, const char *kind, osmo_kube_resource_t *out, osmo_error_t *err) {
    (void)k;
    bool kai = strstr(api_version, "run.ai") || strstr(api_version, "kai.");
    if ((kai && !with_kai) || str_eq(kind, "Unheard") || str_eq(kind, without))
        return osmo_error_set(err, OSMO_ENOTFOUND, "the cluster has no kind %s of %s", kind, api_version);
    *out = (osmo_kube_resource_t){ .namespaced = !str_eq(kind, "Node") && !str_eq(kind, "Namespace") && !str_eq(kind, "Queue") };
    return 0;
}

int osmo_kube_list(osmo_kube_t *k, const osmo_kube_target_t *what, int page_size, char version[OSMO_KUBE_VERSION_MAX],
                   osmo_kube_object_fn fn, void *ctx, osmo_error_t *err) {
    strlist_t found = { 0 };
    (void)page_size;
    pthread_mutex_lock(&lock);
    int rc = fails(k, "list", err);
    if (rc == 0 && str_eq(what->kind, without))
        rc = not_found(what, err);
    for (size_t i = 0; rc == 0 && i < nobjects; i++)
        if (str_eq(objects[i].kind, what->kind) && matches(what, objects[i].text))
            strlist_add(&found, objects[i].text);
    snprintf(version, OSMO_KUBE_VERSION_MAX, "%lu", version_now);
    size_t n = found.len;
    bool expires = rc == 0 && expire_list;
    if (expires) {
        expire_list = false;
        n /= 2;
    }
    pthread_mutex_unlock(&lock);
    for (size_t i = 0; i < n; i++)
        if (fn(ctx, found.items[i], strlen(found.items[i])))
            break;
    strlist_free(&found);
    return expires ? osmo_error_set(err, OSMO_EGONE, "the list expired") : rc;
}

/* What a change is for a watch with these selectors; 0 = nothing. */
static int kind_of_change(const osmo_kube_target_t *what, const struct change *c) {
    if (!str_eq(c->kind, what->kind) && !c->bookmark)
        return 0;
    if (c->bookmark)
        return OSMO_KUBE_BOOKMARK;
    bool was = matches(what, c->before), is = matches(what, c->after);
    return is ? (was ? OSMO_KUBE_MODIFIED : OSMO_KUBE_ADDED) : was ? OSMO_KUBE_DELETED : 0;
}

int osmo_kube_watch(osmo_kube_t *k, const osmo_kube_target_t *what, const char *version, int seconds, osmo_kube_change_fn fn, void *ctx,
                    osmo_error_t *err) {
    unsigned long seen = strtoul(version, NULL, 10);
    struct timespec until;
    clock_gettime(CLOCK_REALTIME, &until);
    until.tv_sec += seconds;
    pthread_mutex_lock(&lock);
    unsigned long cut = cuts;
    int rc = fails(k, "watch", err), done = 0;
    if (rc == 0 && seen < compacted)
        rc = osmo_error_set(err, OSMO_EGONE, "too old resource version");
    size_t at = 0;
    while (rc == 0 && !done && !k->stop && cut == cuts) {
        if (at >= nhistory) {
            if (pthread_cond_timedwait(&cond, &lock, &until) != 0)
                break;
            continue;
        }
        struct change *c = &history[at++];
        int what_kind = c->version > seen || (c->bookmark && c->version == seen) || (c->bookmark && c->after) ? kind_of_change(what, c) : 0;
        if (!what_kind)
            continue;
        char *text = str_dup(c->after ? c->after : c->before);
        pthread_mutex_unlock(&lock);
        done = fn(ctx, (osmo_kube_change_t)what_kind, text, strlen(text));
        free(text);
        pthread_mutex_lock(&lock);
    }
    if (rc == 0 && !done && k->stop)
        rc = osmo_error_set(err, OSMO_ECONFLICT, "stopped");
    pthread_mutex_unlock(&lock);
    return rc;
}

int osmo_kube_get(osmo_kube_t *k, const osmo_kube_target_t *what, char **json, size_t *len, osmo_error_t *err) {
    pthread_mutex_lock(&lock);
    int rc = fails(k, "get", err);
    struct object *o = find(what->kind, what->name);
    if (rc == 0 && !o)
        rc = not_found(what, err);
    if (rc == 0) {
        *json = str_dup(o->text);
        *len = strlen(*json);
    }
    pthread_mutex_unlock(&lock);
    return rc;
}

static int bind_pod(struct object *o, const json_t *binding, osmo_error_t *err) {
    _cleanup_json_ json_t *v = parse(o->text);
    if (!str_eq(json_get_str(json_get(binding, "metadata"), "uid"), json_get_str(json_get(v, "metadata"), "uid")) ||
        json_get_str(json_get(v, "spec"), "nodeName") || json_has(json_get(v, "metadata"), "deletionTimestamp"))
        return osmo_error_set(err, OSMO_ECONFLICT, "pod %s is already assigned to a node, or another", o->name);
    json_set_str(json_get(v, "spec"), "nodeName", json_get_str(json_get(binding, "target"), "name"));
    change(o, v, false);
    return 0;
}

int osmo_kube_create(osmo_kube_t *k, const osmo_kube_target_t *what, const char *json, size_t len, char **out_json, osmo_error_t *err) {
    json_t *v = NULL;
    pthread_mutex_lock(&lock);
    int rc = fails(k, str_eq(what->subresource, "binding") ? "bind" : "create", err);
    if (rc == 0)
        rc = json_parse(json, len, &v, err);
    if (rc == 0 && what->subresource) {
        struct object *o = find(what->kind, what->name);
        rc = o ? bind_pod(o, v, err) : not_found(what, err);
    } else if (rc == 0) {
        if (what->namespace_)
            json_set_str(json_get(v, "metadata"), "namespace", what->namespace_);
        const char *name = json_get_str(json_get(v, "metadata"), "name");
        if (str_eq(what->namespace_, "missing"))
            rc = osmo_error_set(err, OSMO_ENOTFOUND, "namespaces \"missing\" not found");
        else if (find(what->kind, name))
            rc = osmo_error_set(err, OSMO_EEXISTS, "%s \"%s\" already exists", what->kind, name);
        else
            add(v);
    }
    if (out_json)
        *out_json = rc == 0 ? json_to_text(v) : NULL;
    pthread_mutex_unlock(&lock);
    json_free(v);
    return rc;
}

int osmo_kube_replace(osmo_kube_t *k, const osmo_kube_target_t *what, const char *json, size_t len, char **out_json, osmo_error_t *err) {
    json_t *v = NULL;
    pthread_mutex_lock(&lock);
    int rc = fails(k, "replace", err);
    struct object *o = find(what->kind, what->name);
    if (rc == 0)
        rc = o ? json_parse(json, len, &v, err) : not_found(what, err);
    if (rc == 0) {
        json_t *meta = json_get(v, "metadata"), *was = parse(o->text);
        const char *expected = json_get_str(meta, "resourceVersion");
        if (expected && strtoul(expected, NULL, 10) != o->version)
            rc = osmo_error_set(err, OSMO_ECONFLICT, "the object has been modified");
        json_set_str(meta, "uid", json_get_str(json_get(was, "metadata"), "uid"));
        if (what->namespace_)
            json_set_str(meta, "namespace", what->namespace_);
        if (rc == 0)
            settle(o, v, false);
        json_free(was);
    }
    if (out_json)
        *out_json = rc == 0 ? json_to_text(v) : NULL;
    pthread_mutex_unlock(&lock);
    json_free(v);
    return rc;
}

int osmo_kube_patch(osmo_kube_t *k, const osmo_kube_target_t *what, osmo_kube_patch_t type, const char *json, size_t len,
                    const char *field_manager, osmo_error_t *err) {
    json_t *patch = NULL, *v = NULL;
    (void)type, (void)field_manager;
    pthread_mutex_lock(&lock);
    int rc = fails(k, "patch", err);
    struct object *o = find(what->kind, what->name);
    if (rc == 0)
        rc = o ? json_parse(json, len, &patch, err) : not_found(what, err);
    if (rc == 0) {
        v = parse(o->text);
        const char *uid = json_get_str(json_get(patch, "metadata"), "uid");
        if (uid && !str_eq(uid, json_get_str(json_get(v, "metadata"), "uid")))
            rc = osmo_error_set(err, OSMO_ECONFLICT, "Precondition failed: UID in precondition");
    }
    if (rc == 0) {
        merge(v, patch);
        settle(o, v, false);
    }
    pthread_mutex_unlock(&lock);
    json_free(patch);
    json_free(v);
    return rc;
}

int osmo_kube_remove(osmo_kube_t *k, const osmo_kube_target_t *what, const osmo_kube_delete_t *how, osmo_error_t *err) {
    pthread_mutex_lock(&lock);
    int rc = fails(k, "remove", err);
    struct object *o = find(what->kind, what->name);
    if (rc == 0 && !o)
        rc = not_found(what, err);
    if (rc == 0) {
        _cleanup_json_ json_t *v = parse(o->text);
        if (how && how->uid && !str_eq(how->uid, json_get_str(json_get(v, "metadata"), "uid")))
            rc = osmo_error_set(err, OSMO_ECONFLICT, "the UID in the precondition does not match");
        else
            delete_object(o, how ? how->grace_s : -1);
    }
    pthread_mutex_unlock(&lock);
    return rc;
}

int osmo_kube_logs(osmo_kube_t *k, const char *namespace_, const char *pod, const char *container, int tail, osmo_kube_object_fn fn,
                   void *ctx, osmo_error_t *err) {
    (void)k, (void)namespace_, (void)container, (void)tail;
    if (!find("Pod", pod))
        return osmo_error_set(err, OSMO_ENOTFOUND, "pods \"%s\" not found", pod);
    fn(ctx, "said\n", 5);
    return 0;
}

/* ---- the other side ---- */

osmo_kube_t *fake_kube_client(void) { return calloc(1, sizeof(osmo_kube_t)); }

void fake_kube_reset(bool kai) {
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < nobjects; i++)
        free_object(&objects[i]);
    for (size_t i = 0; i < nhistory; i++)
        free(history[i].kind), free(history[i].before), free(history[i].after);
    free(objects), free(history);
    objects = NULL;
    history = NULL;
    nobjects = nhistory = cap_objects = cap_history = 0;
    memset(faults, 0, sizeof faults);
    memset(calls, 0, sizeof calls);
    version_now = compacted = 10;
    with_kai = kai;
    expire_list = false;
    *without = '\0';
    pthread_mutex_unlock(&lock);
    fake_kube_put("{\"apiVersion\":\"v1\",\"kind\":\"Namespace\",\"metadata\":{\"name\":\"kube-system\"}}");
}

void fake_kube_put(const char *json) {
    json_t *v = parse(json);
    pthread_mutex_lock(&lock);
    struct object *o = find(json_get_str(v, "kind"), json_get_str(json_get(v, "metadata"), "name"));
    if (o)
        drop(o, false);
    add(v);
    pthread_mutex_unlock(&lock);
    json_free(v);
}

void fake_kube_merge(const char *kind, const char *name, const char *patch) {
    json_t *p = parse(patch);
    pthread_mutex_lock(&lock);
    struct object *o = find(kind, name);
    if (o) {
        json_t *v = parse(o->text);
        merge(v, p);
        settle(o, v, false);
        json_free(v);
    }
    pthread_mutex_unlock(&lock);
    json_free(p);
}

void fake_kube_vanish(const char *kind, const char *name, bool quiet) {
    pthread_mutex_lock(&lock);
    struct object *o = find(kind, name);
    if (o)
        drop(o, quiet);
    pthread_mutex_unlock(&lock);
}

void fake_kube_end(const char *pod, const char *phase) {
    pthread_mutex_lock(&lock);
    struct object *o = find("Pod", pod);
    if (o) {
        json_t *v = parse(o->text);
        json_set_str(json_get(v, "status"), "phase", phase);
        o->done = true;
        settle(o, v, false);
        json_free(v);
    }
    pthread_mutex_unlock(&lock);
}

char *fake_kube_text(const char *kind, const char *name) {
    pthread_mutex_lock(&lock);
    struct object *o = find(kind, name);
    char *text = o ? str_dup(o->text) : NULL;
    pthread_mutex_unlock(&lock);
    return text;
}

size_t fake_kube_count(const char *kind) {
    size_t n = 0;
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < nobjects; i++)
        n += str_eq(objects[i].kind, kind);
    pthread_mutex_unlock(&lock);
    return n;
}

void fake_kube_fail(const char *call, int code, const char *text, int times) {
    size_t i = 0;
    pthread_mutex_lock(&lock);
    while (faults[i].times)
        i++;
    faults[i] = (struct fault){ .code = code, .times = times };
    snprintf(faults[i].call, sizeof faults[i].call, "%s", call);
    snprintf(faults[i].text, sizeof faults[i].text, "%s", text);
    pthread_mutex_unlock(&lock);
}

int fake_kube_calls(const char *call) {
    int n = 0;
    pthread_mutex_lock(&lock);
    for (size_t i = 0; i < ARRAY_SIZE(calls); i++)
        if (str_eq(calls[i].call, call))
            n = calls[i].n;
    pthread_mutex_unlock(&lock);
    return n;
}

void fake_kube_compact(void) {
    pthread_mutex_lock(&lock);
    compacted = version_now + 1;
    version_now++;
    pthread_mutex_unlock(&lock);
}

void fake_kube_cut(void) {
    pthread_mutex_lock(&lock);
    cuts++;
    pthread_cond_broadcast(&cond);
    pthread_mutex_unlock(&lock);
}

void fake_kube_bookmark(const char *version) {
    char text[128];
    pthread_mutex_lock(&lock);
    snprintf(text, sizeof text, "{\"metadata\":{\"resourceVersion\":\"%s\"}}", version);
    remember("", NULL, text, true);
    pthread_mutex_unlock(&lock);
}

void fake_kube_expire_list(void) {
    pthread_mutex_lock(&lock);
    expire_list = true;
    pthread_mutex_unlock(&lock);
}

void fake_kube_without(const char *kind) {
    pthread_mutex_lock(&lock);
    snprintf(without, sizeof without, "%s", kind);
    pthread_mutex_unlock(&lock);
}
