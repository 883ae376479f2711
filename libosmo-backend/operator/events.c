/* Event filter; see events.h. Kubernetes repeats an event object for every count, and a watch replays all live ones, so the
 * time last told per (type, reason, pod) is remembered, for a bounded number of them. */
#include "operator/events.h"
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/map.h"
#include "base/str.h"

#define REMEMBERED_MAX 4096u

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

static const char *event_time(const json_t *event, int64_t now_us, char buffer[TIME_TEXT_MAX]) {
    static const char *const keys[] = {"lastTimestamp", "eventTime", "firstTimestamp"};
    for (size_t i = 0; i < ARRAY_SIZE(keys); i++) {
        const char *t = json_get_str(event, keys[i]);
        int64_t us;
        if (t && time_parse(t, &us))
            return t;
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

/* The gang scheduler tells of a preemption on the group, with the pod's name in "Pod <namespace>/<name> was preempted". */
static char *preempted_pod(const json_t *event, const char *message) {
    const char *component = json_get_str(event, "reportingComponent");
    const char *p = strstr(message, "Pod ");
    const char *slash = p ? strchr(p, '/') : NULL;
    const char *end = slash ? strstr(slash, " was preempted") : NULL;
    if (!str_eq(component, "kai-scheduler") || !end || memchr(p + 4, ' ', (size_t)(end - p - 4)))
        return NULL;
    return strndup(slash + 1, (size_t)(end - slash - 1));
}

json_t *events_apply(events_t *e, const json_t *event, int64_t now_us) {
    const json_t *about = json_get(event, "involvedObject");
    const char *kind = json_get_str(about, "kind"), *name = json_get_str(about, "name");
    const char *ns = json_get_str(about, "namespace");
    const char *reason = json_get_str(event, "reason"), *message = json_get_str(event, "message");
    const char *type = json_get_str(event, "type");
    if (!kind || !name || (ns && strcmp(ns, e->namespace_) != 0))
        return NULL;
    reason = reason ? reason : "";
    message = message ? message : "";
    char buffer[TIME_TEXT_MAX];
    const char *time = event_time(event, now_us, buffer);
    if (strcmp(kind, "PodGroup") == 0 && strcmp(reason, "Evict") == 0) {
        _cleanup_free_ char *pod = preempted_pod(event, message);
        return pod ? make_body(pod, reason, message, time) : NULL;
    }
    int64_t us = now_us;
    time_parse(time, &us);
    if (strcmp(kind, "Pod") != 0 || !is_news(e, type ? type : "", reason, name, us))
        return NULL;
    return make_body(name, reason, message, time);
}
