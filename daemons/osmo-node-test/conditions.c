/* Conditions in the status of a node; see node_test.h. */
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/clock.h"
#include "base/str.h"
#include "node_test.h"

static osmo_kube_target_t target(const char *node, const char *subresource) {
    return (osmo_kube_target_t){ .size = sizeof(osmo_kube_target_t), .api_version = "v1", .kind = "Node", .name = node,
                                 .subresource = subresource };
}

int node_read(osmo_kube_t *k, const char *node, json_t **out, osmo_error_t *err) {
    osmo_kube_target_t t = target(node, NULL);
    _cleanup_free_ char *text = NULL;
    size_t len = 0;
    int rc = osmo_kube_get(k, &t, &text, &len, err);
    return rc < 0 ? rc : json_parse(text, len, out, err);
}

const json_t *condition_of(const json_t *node, const char *type) {
    const json_t *list = json_path(node, "status", "conditions", NULL);
    for (size_t i = 0; i < json_len(list); i++)
        if (str_eq(json_get_str(json_at(list, i), "type"), type))
            return json_at(list, i);
    return NULL;
}

void condition_say(struct condition *c, bool problem, const char *reason, const char *format, ...) {
    va_list args;
    char *message = NULL;
    va_start(args, format);
    if (vasprintf(&message, format, args) < 0)
        message = NULL;
    va_end(args);
    free(c->reason);
    free(c->message);
    c->status = problem ? "True" : "False";
    c->reason = str_dup(reason);
    c->message = message;
}

/* Kubernetes takes whole seconds there. */
static const char *now_text(char out[TIME_TEXT_MAX]) { return time_rfc3339(clock_now_us() / 1000000 * 1000000, out); }

static json_t *one(const json_t *node, const struct condition *c, const char *now) {
    const json_t *was = condition_of(node, c->type);
    const char *since = str_eq(json_get_str(was, "status"), c->status) ? json_get_str(was, "lastTransitionTime") : NULL;
    json_t *v = json_object();
    int rc = v ? json_set_str(v, "type", c->type) : OSMO_ENOMEM;
    if (rc == 0)
        rc = json_set_str(v, "status", c->status) | json_set_str(v, "reason", c->reason ? c->reason : "") |
             json_set_str(v, "message", c->message ? c->message : "") | json_set_str(v, "lastHeartbeatTime", now) |
             json_set_str(v, "lastTransitionTime", since ? since : now);
    if (rc == 0)
        return v;
    json_free(v);
    return NULL;
}

/* Strategic merge goes by the type: conditions of others stay. */
static char *make_patch(const json_t *node, const struct condition *c, size_t n) {
    char now[TIME_TEXT_MAX];
    _cleanup_json_ json_t *patch = json_object();
    json_t *status = json_object(), *list = json_array();
    now_text(now);
    int rc = list && status && patch ? 0 : OSMO_ENOMEM;
    for (size_t i = 0; i < n && rc == 0; i++) {
        json_t *v = one(node, &c[i], now);
        rc = v ? json_add(list, v) : OSMO_ENOMEM;
    }
    if (status)
        rc |= json_set(status, "conditions", list);
    if (patch)
        rc |= json_set(patch, "status", status);
    return rc ? NULL : json_to_text(patch);
}

int conditions_write(osmo_kube_t *k, const char *node, const char *manager, const struct condition *c, size_t n, osmo_error_t *err) {
    osmo_kube_target_t t = target(node, "status");
    _cleanup_json_ json_t *now = NULL;
    int rc = node_read(k, node, &now, err);
    if (rc < 0)
        return rc;
    _cleanup_free_ char *patch = make_patch(now, c, n);
    if (!patch)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    return osmo_kube_patch(k, &t, OSMO_KUBE_PATCH_STRATEGIC, patch, strlen(patch), manager, err);
}
