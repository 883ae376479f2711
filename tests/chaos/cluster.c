/* The cluster of the chaos test: a driver in place of the shipped ones, linked with osmo-backend's own main(). Its objects
 * are a journal in the state directory, and what a pod does is a function of the time since it was made, so that killing
 * the operator does not touch them: as a cluster goes on when its operator dies. Every pod ever made leaves a line in
 * `starts`, by which an attempt that was begun twice is seen. What a pod does stands in the variable CHAOS of its
 * container, one part for each attempt: "milliseconds exit-code [event]; ...", the last one counts for all later attempts.
 * With a file `wiped` in the directory at its start the cluster has forgotten everything. */
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/map.h"
#include "base/str.h"
#include "cluster/scripted/script.h"
#include "osmo/backend/cluster.h"

#define JOURNAL_MAX (1u << 30)
#define INITIALIZING_US 2000
#define RUNNING_US 5000

struct object { json_t *json; struct script_rule rule; enum pod_phase phase; int64_t born_us; bool pod; };
struct report { struct report *next; bool node; osmo_change_t change; size_t len; char text[]; };
struct chaos {
    osmo_cluster_sink_t sink;
    char *journal, *starts;
    char uid[40];
    int journal_fd, starts_fd;
    pthread_mutex_t lock;
    pthread_cond_t cond;
    pthread_t thread;
    bool stop;
    map_t *objects; /* kind/name → struct object */
    struct report *first, **last;
};

static void object_free(void *p) {
    struct object *o = p;
    json_free(o->json);
    free(o->rule.message);
    free(o);
}

/* ---- what pods do ---- */

static const char *marks_of(const json_t *pod) {
    const json_t *list = json_path(pod, "spec", "containers", NULL);
    for (size_t i = 0; i < json_len(list); i++) {
        const json_t *env = json_get(json_at(list, i), "env");
        for (size_t k = 0; k < json_len(env); k++)
            if (str_eq(json_get_str(json_at(env, k), "name"), "CHAOS"))
                return json_get_str(json_at(env, k), "value");
    }
    return NULL;
}

static enum script_event event_of(const char *name) {
    static const struct { const char *name; enum script_event event; } names[] = {
        { "evict", EVENT_EVICT }, { "preempt", EVENT_PREEMPT }, { "oom", EVENT_OOM }, { "delete", EVENT_DELETE },
        { "start_error", EVENT_START_ERROR }, { "image", EVENT_IMAGE_PULL_ERROR }, { "queue", EVENT_UNSCHEDULABLE },
    };
    for (size_t i = 0; i < ARRAY_SIZE(names); i++)
        if (strcmp(name, names[i].name) == 0)
            return names[i].event;
    return EVENT_NONE;
}

static void rule_read(struct object *o) {
    const char *p = marks_of(o->json);
    const char *text = json_get_str(json_path(o->json, "metadata", "labels", NULL), "osmo.retry_id");
    for (long retry = text ? strtol(text, NULL, 10) : 0; p && retry > 0 && strchr(p, ';'); retry--)
        p = strchr(p, ';') + 1;
    long ms = 0;
    int code = 0;
    char event[32] = "";
    if (p)
        sscanf(p, "%ld %d %31[a-z_]", &ms, &code, event);
    o->rule = (struct script_rule){ .duration_ms = ms, .exit_code = code, .event = event_of(event), .retry = -1 };
}

static enum pod_phase phase_at(const struct object *o, int64_t now) {
    int64_t age = now - o->born_us;
    if (age < INITIALIZING_US || o->rule.event == EVENT_UNSCHEDULABLE)
        return POD_PENDING;
    if (age < RUNNING_US || o->rule.event == EVENT_IMAGE_PULL_ERROR)
        return POD_INITIALIZING;
    return age < RUNNING_US + o->rule.duration_ms * 1000 ? POD_RUNNING : POD_ENDED;
}

/* When something happens to it next; 0: never again. */
static int64_t next_of(const struct object *o) {
    switch (o->phase) {
    case POD_PENDING: return o->rule.event == EVENT_UNSCHEDULABLE ? 0 : o->born_us + INITIALIZING_US;
    case POD_INITIALIZING: return o->rule.event == EVENT_IMAGE_PULL_ERROR ? 0 : o->born_us + RUNNING_US;
    case POD_RUNNING: return o->born_us + RUNNING_US + o->rule.duration_ms * 1000;
    default: return 0;
    }
}

/* ---- the journal ---- */

static int write_line(int fd, char op, int64_t at_us, const char *key, const char *text) {
    _cleanup_free_ char *line = str_printf("%c %lld %s %s\n", op, (long long)at_us, key, text ? text : "");
    return line ? fd_write_all(fd, line, strlen(line)) : OSMO_ENOMEM;
}

static int journal_put(struct chaos *c, const char *key, const struct object *o) {
    _cleanup_free_ char *text = json_to_text(o->json);
    return text ? write_line(c->journal_fd, '+', o->born_us, key, text) : OSMO_ENOMEM;
}

static struct object *object_new(struct chaos *c, const char *key, json_t *json, int64_t born_us) {
    struct object *o = calloc(1, sizeof *o);
    if (!o)
        abort();
    *o = (struct object){ .json = json, .born_us = born_us, .pod = strncmp(key, "Pod/", 4) == 0 };
    if (o->pod)
        rule_read(o);
    map_set(c->objects, key, o);
    return o;
}

static void replay_line(struct chaos *c, char *line) {
    char op = line[0], *end;
    int64_t at = strtoll(line + 1, &end, 10);
    char *key = end + 1, *text = strchr(key, ' ');
    json_t *json = NULL;
    if (!text)
        return;
    *text++ = '\0';
    if (op == '-')
        map_remove(c->objects, key);
    else if (json_parse(text, strlen(text), &json, NULL) == 0)
        object_new(c, key, json, at);
}

/* A line of `starts`: what begins, and what vanishes by itself ("gone"): its attempt may begin again where nobody had heard of
 * it yet. malloc'ed. */
static char *start_line(const char *word, const json_t *pod) {
    const json_t *meta = json_get(pod, "metadata"), *labels = json_get(meta, "labels");
    const char *workflow = json_get_str(labels, "osmo.workflow_uuid"), *task = json_get_str(labels, "osmo.task_name");
    const char *retry = json_get_str(labels, "osmo.retry_id");
    return str_printf("%s%s %s %s\n", word, workflow ? workflow : "-", task ? task : "-", retry ? retry : "0");
}

static int note(struct chaos *c, const char *word, const json_t *pod) {
    _cleanup_free_ char *line = start_line(word, pod);
    return line ? fd_write_all(c->starts_fd, line, strlen(line)) : OSMO_ENOMEM;
}

/* A pod is in the journal first: one that has no line was made when its process was killed. */
static int note_missing(struct chaos *c, osmo_error_t *err) {
    _cleanup_buf_ buf_t text = BUF_INIT(JOURNAL_MAX);
    size_t it = 0;
    const char *key;
    void *o;
    int rc = file_exists(c->starts) ? file_read(c->starts, &text, err) : 0;
    while (rc >= 0 && map_next(c->objects, &it, &key, &o)) {
        const struct object *pod = o;
        _cleanup_free_ char *line = pod->pod ? start_line("", pod->json) : NULL;
        if (line && !(text.len && strstr(buf_cstr(&text), line)))
            rc = note(c, "", pod->json);
    }
    return rc;
}

/* Reads it and begins a new one with what is left; the last line may have been cut off. */
static int journal_open(struct chaos *c, osmo_error_t *err) {
    buf_t text = BUF_INIT(JOURNAL_MAX);
    int rc = file_exists(c->journal) ? file_read(c->journal, &text, err) : 0;
    for (char *line = text.data, *end; rc == 0 && line && (end = strchr(line, '\n')); line = end + 1) {
        *end = '\0';
        replay_line(c, line);
    }
    buf_free(&text);
    _cleanup_free_ char *fresh = str_printf("%s.new", c->journal);
    if (rc < 0 || !fresh)
        return rc < 0 ? rc : OSMO_ENOMEM;
    c->journal_fd = open(fresh, O_WRONLY | O_CREAT | O_TRUNC | O_APPEND | O_CLOEXEC, 0600);
    c->starts_fd = open(c->starts, O_WRONLY | O_CREAT | O_APPEND | O_CLOEXEC, 0600);
    size_t it = 0;
    const char *key;
    void *o;
    while (c->journal_fd >= 0 && rc == 0 && map_next(c->objects, &it, &key, &o))
        rc = journal_put(c, key, o);
    if (rc == 0 && c->starts_fd >= 0)
        rc = note_missing(c, err);
    if (c->journal_fd < 0 || c->starts_fd < 0 || rc < 0 || rename(fresh, c->journal) < 0)
        return osmo_error_set(err, OSMO_EIO, "cannot write %s", c->journal);
    return 0;
}

/* ---- reports (lock held) ---- */

static void report(struct chaos *c, bool node, osmo_change_t change, const json_t *json) {
    _cleanup_free_ char *text = json_to_text(json);
    size_t len = text ? strlen(text) : 0;
    struct report *r = text ? malloc(sizeof *r + len + 1) : NULL;
    if (!r)
        abort();
    *r = (struct report){ .node = node, .change = change, .len = len };
    memcpy(r->text, text, len + 1);
    *c->last = r;
    c->last = &r->next;
    pthread_cond_signal(&c->cond);
}

static void set_status(struct object *o, enum pod_phase phase) {
    char now[TIME_TEXT_MAX];
    o->phase = phase;
    script_pod_status(o->json, &o->rule, phase, time_rfc3339(clock_now_us(), now));
}

static void remove_object(struct chaos *c, const char *key, struct object *o) {
    write_line(c->journal_fd, '-', 0, key, "");
    if (o->pod)
        report(c, false, OSMO_CHANGE_DELETED, o->json);
    map_remove(c->objects, key);
}

/* Moves all pods on to where they are now; returns when the next one moves, 0: none. */
static int64_t advance(struct chaos *c, int64_t now) {
    int64_t next = 0;
    size_t it = 0;
    const char *key;
    void *value;
    while (map_next(c->objects, &it, &key, &value)) {
        struct object *o = value;
        if (!o->pod)
            continue;
        while (o->phase < phase_at(o, now)) { /* one state after the other, as a watch shows them */
            if (o->phase == POD_RUNNING && o->rule.event == EVENT_DELETE)
                break;
            set_status(o, o->phase + 1);
            report(c, false, OSMO_CHANGE_MODIFIED, o->json);
        }
        int64_t at = next_of(o);
        if (o->rule.event == EVENT_DELETE && phase_at(o, now) == POD_ENDED) {
            note(c, "gone ", o->json);
            remove_object(c, key, o);
            continue;
        }
        if (at && (!next || at < next))
            next = at;
    }
    return next;
}

static void deliver(struct chaos *c, struct report *r) {
    if (r->node)
        c->sink.node(c->sink.ctx, r->change, r->text, r->len);
    else
        c->sink.pod(c->sink.ctx, r->change, r->text, r->len);
    free(r);
}

static void *chaos_main(void *arg) {
    struct chaos *c = arg;
    pthread_mutex_lock(&c->lock);
    while (!c->stop) {
        int64_t next = advance(c, clock_now_us());
        struct report *r = c->first;
        if (r) {
            c->first = r->next;
            if (!c->first)
                c->last = &c->first;
            pthread_mutex_unlock(&c->lock);
            deliver(c, r);
            pthread_mutex_lock(&c->lock);
        } else if (next) {
            struct timespec at = { .tv_sec = next / 1000000, .tv_nsec = next % 1000000 * 1000 };
            pthread_cond_timedwait(&c->cond, &c->lock, &at);
        } else {
            pthread_cond_wait(&c->cond, &c->lock);
        }
    }
    pthread_mutex_unlock(&c->lock);
    return NULL;
}

/* ---- driver ---- */

static void chaos_free(struct chaos *c) {
    for (struct report *r = c->first, *next; r; r = next) {
        next = r->next;
        free(r);
    }
    map_free(c->objects);
    free(c->journal);
    free(c->starts);
    if (c->journal_fd >= 0)
        close(c->journal_fd);
    if (c->starts_fd >= 0)
        close(c->starts_fd);
    pthread_cond_destroy(&c->cond);
    pthread_mutex_destroy(&c->lock);
    free(c);
}

/* What was there before the watch began: in the state it has by now. */
static void report_all(struct chaos *c) {
    int64_t now = clock_now_us();
    json_t *node = script_node(SCRIPT_NODE);
    size_t it = 0;
    const char *key;
    void *value;
    if (!node)
        abort();
    struct object *o = object_new(c, "Node/" SCRIPT_NODE, node, now);
    report(c, true, OSMO_CHANGE_ADDED, o->json);
    while (map_next(c->objects, &it, &key, &value)) {
        o = value;
        if (!o->pod)
            continue;
        enum pod_phase phase = phase_at(o, now);
        if (o->rule.event == EVENT_DELETE && phase == POD_ENDED) {
            note(c, "gone ", o->json);
            write_line(c->journal_fd, '-', 0, key, "");
            map_remove(c->objects, key);
            continue;
        }
        set_status(o, phase);
        report(c, false, OSMO_CHANGE_ADDED, o->json);
    }
}

static int chaos_open(const osmo_cluster_options_t *o, const osmo_cluster_sink_t *sink, void **impl, osmo_error_t *err) {
    struct chaos *c = calloc(1, sizeof *c);
    if (!c)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    _cleanup_free_ char *wiped = str_printf("%s/wiped", o->state_dir);
    c->journal = str_printf("%s/journal", o->state_dir);
    c->starts = str_printf("%s/starts", o->state_dir);
    c->objects = map_new(object_free);
    c->journal_fd = c->starts_fd = -1;
    c->sink = *sink;
    c->last = &c->first;
    snprintf(c->uid, sizeof c->uid, "c4a05c4a-05c4-4a05-84a0-5c4a05c4a05c");
    pthread_mutex_init(&c->lock, NULL);
    pthread_cond_init(&c->cond, NULL);
    bool empty = wiped && unlink(wiped) == 0;
    if (empty)
        unlink(c->journal);
    int rc = journal_open(c, err);
    if (rc == 0 && empty && fd_write_all(c->starts_fd, "wiped\n", 6) < 0)
        rc = osmo_error_set(err, OSMO_EIO, "cannot write %s", c->starts);
    if (rc == 0) {
        report_all(c);
        rc = pthread_create(&c->thread, NULL, chaos_main, c) ? osmo_error_set(err, OSMO_ENOMEM, "no thread") : 0;
    }
    if (rc < 0)
        chaos_free(c);
    else
        *impl = c;
    return rc;
}

static const char *chaos_uid(void *impl) { return ((struct chaos *)impl)->uid; }

static int chaos_create(void *impl, const char *text, size_t len, osmo_error_t *err) {
    struct chaos *c = impl;
    _cleanup_json_ json_t *json = NULL;
    int rc = json_parse(text, len, &json, err);
    const char *kind = rc < 0 ? NULL : json_get_str(json, "kind");
    const char *name = rc < 0 ? NULL : json_get_str(json_get(json, "metadata"), "name");
    _cleanup_free_ char *key = kind && name ? str_printf("%s/%s", kind, name) : NULL;
    if (!key)
        return rc < 0 ? rc : osmo_error_set(err, OSMO_EINVAL, "an object needs kind and metadata.name");
    pthread_mutex_lock(&c->lock);
    if (map_has(c->objects, key)) {
        rc = osmo_error_set(err, OSMO_EEXISTS, "%s exists already", key);
    } else {
        bool pod = strcmp(kind, "Pod") == 0;
        char now[TIME_TEXT_MAX];
        int64_t born = clock_now_us();
        json_set_str(json_get(json, "metadata"), "creationTimestamp", time_rfc3339(born, now));
        struct object *o = object_new(c, key, STEAL(json), born);
        journal_put(c, key, o);
        if (pod) {
            note(c, "", o->json);
            set_status(o, POD_PENDING);
            report(c, false, OSMO_CHANGE_ADDED, o->json);
        }
    }
    pthread_mutex_unlock(&c->lock);
    return rc;
}

static bool matches(const char *key, const char *kind, const json_t *object, const char *selector) {
    size_t len = strlen(kind);
    strlist_t terms = { 0 };
    bool all = strncmp(key, kind, len) == 0 && key[len] == '/' && strlist_split(&terms, selector ? selector : "", ',') == 0;
    const json_t *labels = json_path(object, "metadata", "labels", NULL);
    for (size_t i = 0; all && i < terms.len; i++) {
        char *eq = strchr(terms.items[i], '=');
        if (eq)
            *eq = '\0';
        all = eq ? str_eq(json_get_str(labels, terms.items[i]), eq + 1)
                 : !*terms.items[i] || json_has(labels, terms.items[i]);
    }
    strlist_free(&terms);
    return all;
}

static int chaos_remove(void *impl, const char *api_version, const char *kind, const char *selector, int force,
                        osmo_error_t *err) {
    struct chaos *c = impl;
    (void)api_version, (void)force, (void)err;
    int removed = 0;
    size_t it = 0;
    const char *key;
    void *value;
    pthread_mutex_lock(&c->lock);
    while (map_next(c->objects, &it, &key, &value)) {
        if (!matches(key, kind, ((struct object *)value)->json, selector))
            continue;
        remove_object(c, key, value);
        removed++;
    }
    pthread_mutex_unlock(&c->lock);
    return removed;
}

static int chaos_list(void *impl, const char *api_version, const char *kind, const char *selector, osmo_cluster_object_fn fn,
                      void *ctx, osmo_error_t *err) {
    struct chaos *c = impl;
    (void)api_version;
    strlist_t found = { 0 };
    size_t it = 0;
    const char *key;
    void *value;
    int rc = 0;
    pthread_mutex_lock(&c->lock);
    while (rc == 0 && map_next(c->objects, &it, &key, &value)) {
        if (!matches(key, kind, ((struct object *)value)->json, selector))
            continue;
        _cleanup_free_ char *text = json_to_text(((struct object *)value)->json);
        rc = text ? strlist_add(&found, text) : osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    }
    pthread_mutex_unlock(&c->lock);
    for (size_t i = 0; rc == 0 && i < found.len; i++)
        if (fn(ctx, found.items[i], strlen(found.items[i])) != 0)
            break;
    strlist_free(&found);
    return rc;
}

static int chaos_logs(void *impl, const char *pod, const char *container, int tail, osmo_cluster_object_fn fn, void *ctx,
                      osmo_error_t *err) {
    (void)impl, (void)container, (void)tail, (void)err;
    _cleanup_free_ char *text = str_printf("output of %s\n", pod);
    if (text)
        fn(ctx, text, strlen(text));
    return OSMO_OK;
}

/* Labels of nodes are nothing that this test looks at. */
static int chaos_patch(void *impl, const char *api_version, const char *kind, const char *name, const char *text, size_t len,
                       osmo_error_t *err) {
    (void)impl, (void)api_version, (void)kind, (void)name, (void)text, (void)len, (void)err;
    return OSMO_OK;
}

static void chaos_close(void *impl) {
    struct chaos *c = impl;
    pthread_mutex_lock(&c->lock);
    c->stop = true;
    pthread_cond_signal(&c->cond);
    pthread_mutex_unlock(&c->lock);
    pthread_join(c->thread, NULL);
    chaos_free(c);
}

static const osmo_cluster_driver_t chaos_driver = {
    .size = sizeof(osmo_cluster_driver_t), .name = "chaos", .open = chaos_open, .uid = chaos_uid, .create = chaos_create,
    .remove = chaos_remove, .list = chaos_list, .logs = chaos_logs, .patch = chaos_patch, .close = chaos_close,
};

/* Instead of the table of the shipped drivers. */
const osmo_cluster_driver_t *osmo_cluster_driver_find(const char *name) {
    return str_eq(name, chaos_driver.name) ? &chaos_driver : NULL;
}
