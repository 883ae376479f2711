/* Event filter; see events.h. Kubernetes repeats an event object for every count, and a watch replays all live ones, so
 * the time last told per (type, reason, pod) is remembered, for a bounded number of them. */
#include "operator/events.h"
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/json_reader.h"
#include "base/map.h"
#include "base/str.h"

#define REMEMBERED_MAX 4096u
#define MESSAGE_MAX 4096u
#define ID_MAX 253u

enum { E_KIND, E_NAME, E_NAMESPACE, E_TYPE, E_REASON, E_MESSAGE, E_COMPONENT, E_SERIES, E_LAST, E_TIME, E_FIRST, E_COUNT };

struct event_facts { size_t size; const char *text[E_COUNT]; char room[]; }; /* NULL = not there */

/* ---- reading ---- */

static const struct event_field { const char *key; int index; } of_object[] = {
    {"kind", E_KIND}, {"name", E_NAME}, {"namespace", E_NAMESPACE},
}, of_series[] = {
    {"lastObservedTime", E_SERIES},
}, of_event[] = {
    {"type", E_TYPE}, {"reason", E_REASON}, {"message", E_MESSAGE}, {"reportingComponent", E_COMPONENT},
    {"lastTimestamp", E_LAST}, {"eventTime", E_TIME}, {"firstTimestamp", E_FIRST},
};

/* A member that is one of the fields; len 0 stays for what is no text. */
static bool read_one(json_reader_t *r, const json_slice_t *key, const struct event_field *fields, size_t n,
    json_slice_t *out) {
    for (size_t i = 0; i < n; i++) {
        if (json_slice_is(key, fields[i].key)) {
            if (!json_reader_string(r, &out[fields[i].index]))
                out[fields[i].index] = (json_slice_t){ 0 };
            return true;
        }
    }
    return false;
}

static void read_object(json_reader_t *r, const struct event_field *fields, size_t n, json_slice_t *out) {
    json_slice_t key;
    if (!json_reader_object(r))
        return;
    while (json_reader_key(r, &key)) {
        if (!read_one(r, &key, fields, n, out))
            json_reader_skip(r, NULL);
    }
}

static bool read_event(const char *json, size_t len, json_slice_t out[E_COUNT]) {
    json_reader_t r;
    json_slice_t key;
    json_reader_init(&r, json, len);
    if (!json_reader_object(&r))
        return false;
    while (json_reader_key(&r, &key)) {
        if (json_slice_is(&key, "involvedObject"))
            read_object(&r, of_object, ARRAY_SIZE(of_object), out);
        else if (json_slice_is(&key, "series"))
            read_object(&r, of_series, ARRAY_SIZE(of_series), out);
        else if (!read_one(&r, &key, of_event, ARRAY_SIZE(of_event), out))
            json_reader_skip(&r, NULL);
    }
    bool pod = json_slice_is(&out[E_KIND], "Pod");
    bool group = json_slice_is(&out[E_KIND], "PodGroup") && json_slice_is(&out[E_REASON], "Evict");
    return json_reader_at_end(&r) && (pod || group) && out[E_NAME].len && out[E_NAME].len <= ID_MAX;
}

event_facts_t *events_read(const char *json, size_t len) {
    json_slice_t texts[E_COUNT] = { 0 };
    size_t size = sizeof(event_facts_t);
    if (!read_event(json, len, texts))
        return NULL;
    for (int i = 0; i < E_COUNT; i++)
        size += texts[i].text ? (texts[i].len < MESSAGE_MAX ? texts[i].len : MESSAGE_MAX) + 1 : 0;
    event_facts_t *f = calloc(1, size);
    if (!f)
        return NULL;
    f->size = size;
    char *at = f->room;
    for (int i = 0; i < E_COUNT; i++) {
        if (!texts[i].text)
            continue;
        f->text[i] = at;
        at += json_slice_copy(&texts[i], at, (texts[i].len < MESSAGE_MAX ? texts[i].len : MESSAGE_MAX) + 1) + 1;
    }
    return f;
}

size_t events_size(const event_facts_t *f) { return f->size; }

/* ---- telling ---- */

struct events { char *namespace_; map_t *told; /* key → int64_t time */ };

events_t *events_new(const char *namespace_) {
    events_t *e = calloc(1, sizeof *e);
    if (!e)
        return NULL;
    e->namespace_ = str_dup(namespace_);
    e->told = map_new(free);
    if (!e->namespace_ || !e->told) {
        events_free(e);
        return NULL;
    }
    return e;
}

void events_free(events_t *e) {
    if (!e)
        return;
    map_free(e->told);
    free(e->namespace_);
    free(e);
}

static const char *event_time(const event_facts_t *event, int64_t now_us, char buffer[TIME_TEXT_MAX]) {
    for (int i = E_SERIES; i <= E_FIRST; i++) {
        int64_t us;
        if (event->text[i] && time_parse(event->text[i], &us))
            return event->text[i];
    }
    return time_rfc3339(now_us, buffer);
}

static bool is_news(events_t *e, const char *type, const char *reason, const char *pod, int64_t us) {
    _cleanup_free_ char *key = str_printf("%s\n%s\n%s", type, reason, pod);
    int64_t *known = key ? map_get(e->told, key) : NULL;
    if (known && *known >= us)
        return false;
    if (known) {
        *known = us;
        return true;
    }
    if (map_len(e->told) >= REMEMBERED_MAX) {
        size_t it = 0;
        const char *oldest;
        if (map_next(e->told, &it, &oldest, NULL))
            map_remove(e->told, oldest);
    }
    known = key ? malloc(sizeof *known) : NULL;
    if (known) {
        *known = us;
        map_set(e->told, key, known);
    }
    return true;
}

static json_t *make_body(const char *pod, const char *reason, const char *message, const char *time) {
    json_t *body = json_object();
    if (!body)
        return NULL;
    int rc = json_set_str(body, "pod_name", pod);
    rc |= json_set_str(body, "reason", reason);
    rc |= json_set_str(body, "message", message);
    rc |= json_set_str(body, "timestamp", time);
    if (rc) {
        json_free(body);
        return NULL;
    }
    return body;
}

/* The gang scheduler tells of a preemption on the group, with the pod's name in "Pod <namespace>/<name> was preempted".
 * */
static char *preempted_pod(const event_facts_t *event, const char *message) {
    const char *p = strstr(message, "Pod ");
    const char *slash = p ? strchr(p, '/') : NULL;
    const char *end = slash ? strstr(slash, " was preempted") : NULL;
    if (!str_eq(event->text[E_COMPONENT], "kai-scheduler") || !end || memchr(p + 4, ' ', (size_t)(end - p - 4)))
        return NULL;
    return strndup(slash + 1, (size_t)(end - slash - 1));
}

static const char *or_empty(const char *s) { return s ? s : ""; }

json_t *events_apply(events_t *e, const event_facts_t *event, int64_t now_us) {
    const char *ns = event->text[E_NAMESPACE], *name = event->text[E_NAME];
    const char *reason = or_empty(event->text[E_REASON]), *message = or_empty(event->text[E_MESSAGE]);
    if (ns && strcmp(ns, e->namespace_) != 0)
        return NULL;
    char buffer[TIME_TEXT_MAX];
    const char *time = event_time(event, now_us, buffer);
    if (strcmp(event->text[E_KIND], "PodGroup") == 0) {
        _cleanup_free_ char *pod = preempted_pod(event, message);
        return pod ? make_body(pod, reason, message, time) : NULL;
    }
    int64_t us = now_us;
    time_parse(time, &us);
    return is_news(e, or_empty(event->text[E_TYPE]), reason, name, us) ? make_body(name, reason, message, time) : NULL;
}
