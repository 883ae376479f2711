/* What is done to single objects, deleting collections, and logs. Called by the driver, the operator's jobs and embedders. */
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/error.h"
#include "base/json_reader.h"
#include "cluster/kubernetes/kube_int.h"

static int object_path(osmo_kube_t *k, const osmo_kube_target_t *what, enum kube_form form, buf_t *url, osmo_error_t *err) {
    if (!k || !what)
        return osmo_error_set(err, OSMO_EINVAL, "a client and a target are needed");
    return kube_target_path(k, what, form, url, err);
}

/* Sends it, and gives away the answer's text. */
static int send_call(osmo_kube_t *k, struct kube_call *call, const osmo_kube_target_t *what, char **json, size_t *len, osmo_error_t *err) {
    buf_t answer = {0};
    call->secret = kube_target_secret(what);
    int rc = kube_request(k, call, &answer, err);
    if (rc == 0 && json && (!answer.len || answer.data[0] != '{'))
        rc = osmo_error_set(err, OSMO_EIO, "the Kubernetes API server's answer is no object: is something else at its address?");
    else if (rc == 0 && json && !(*json = buf_steal(&answer, len)))
        rc = no_memory(err);
    buf_free(&answer);
    return rc;
}

int osmo_kube_get(osmo_kube_t *k, const osmo_kube_target_t *what, char **json, size_t *len, osmo_error_t *err) {
    _cleanup_buf_ buf_t url = BUF_INIT(64u << 10);
    int rc = object_path(k, what, KUBE_ONE, &url, err);
    if (rc < 0)
        return rc;
    struct kube_call call = {.method = "GET", .path = url.data, .repeatable = true};
    return send_call(k, &call, what, json, len, err);
}

/* Has it a name? Without one the server makes one, and sending it again makes another object. */
static bool has_name(const char *json, size_t len) {
    json_reader_t r;
    json_slice_t key, text;
    bool found = false;
    json_reader_init(&r, json, len);
    if (!json_reader_object(&r))
        return false;
    while (json_reader_key(&r, &key)) {
        if (!json_slice_is(&key, "metadata") || !json_reader_object(&r)) {
            json_reader_skip(&r, NULL);
            continue;
        }
        while (json_reader_key(&r, &key)) {
            if (json_slice_is(&key, "name"))
                found = json_reader_string(&r, &text) && text.len;
            else
                json_reader_skip(&r, NULL);
        }
    }
    return found;
}

int osmo_kube_create(osmo_kube_t *k, const osmo_kube_target_t *what, const char *json, size_t len, char **out_json, osmo_error_t *err) {
    _cleanup_buf_ buf_t url = BUF_INIT(64u << 10);
    int rc = object_path(k, what, KUBE_NEW, &url, err);
    if (rc < 0)
        return rc;
    struct kube_call call = {.method = "POST", .path = url.data, .content_type = "application/json", .body = json, .len = len,
                             .repeatable = what->subresource || has_name(json, len)};
    rc = send_call(k, &call, what, out_json, NULL, err);
    if (rc == OSMO_ENOTFOUND)
        kube_discovery_doubt(&k->discovery, what->api_version);
    return rc;
}

int osmo_kube_replace(osmo_kube_t *k, const osmo_kube_target_t *what, const char *json, size_t len, char **out_json, osmo_error_t *err) {
    _cleanup_buf_ buf_t url = BUF_INIT(64u << 10);
    int rc = object_path(k, what, KUBE_ONE, &url, err);
    if (rc < 0)
        return rc;
    struct kube_call call = {.method = "PUT", .path = url.data, .content_type = "application/json", .body = json, .len = len,
                             .repeatable = true};
    return send_call(k, &call, what, out_json, NULL, err);
}

int osmo_kube_patch(osmo_kube_t *k, const osmo_kube_target_t *what, osmo_kube_patch_t type, const char *json, size_t len,
                    const char *field_manager, osmo_error_t *err) {
    static const char *const types[] = {[OSMO_KUBE_PATCH_MERGE] = "application/merge-patch+json",
                                        [OSMO_KUBE_PATCH_STRATEGIC] = "application/strategic-merge-patch+json",
                                        [OSMO_KUBE_PATCH_JSON] = "application/json-patch+json"};
    _cleanup_buf_ buf_t url = BUF_INIT(64u << 10);
    if (type < OSMO_KUBE_PATCH_MERGE || type > OSMO_KUBE_PATCH_JSON)
        return osmo_error_set(err, OSMO_EINVAL, "%d is no kind of patch", (int)type);
    int rc = object_path(k, what, KUBE_ONE, &url, err);
    kube_query(&url, "fieldManager", field_manager);
    if (rc < 0 || (rc = kube_url_failed(&url, err)) < 0)
        return rc;
    struct kube_call call = {.method = "PATCH", .path = url.data, .content_type = types[type], .body = json, .len = len,
                             .repeatable = type != OSMO_KUBE_PATCH_JSON}; /* a JSON patch may add to a list each time */
    return send_call(k, &call, what, NULL, NULL, err);
}

/* ---- deleting ---- */

static int delete_options(const osmo_kube_delete_t *how, char **out, osmo_error_t *err) {
    _cleanup_json_ json_t *v = json_object();
    int rc = json_set_str(v, "kind", "DeleteOptions") | json_set_str(v, "apiVersion", "v1");
    if (how->grace_s >= 0)
        rc |= json_set_int(v, "gracePeriodSeconds", how->grace_s);
    if (how->propagation)
        rc |= json_set_str(v, "propagationPolicy", how->propagation);
    if (how->uid) {
        json_t *only = json_object();
        rc |= json_set_str(only, "uid", how->uid);
        rc |= json_set(v, "preconditions", only);
    }
    *out = rc == 0 ? json_to_text(v) : NULL;
    return *out ? 0 : no_memory(err);
}

/* Everything of a kind in the whole cluster is never meant. */
static int check_selection(const osmo_kube_target_t *what, const osmo_kube_delete_t *how, osmo_error_t *err) {
    bool selects = (what->label_selector && *what->label_selector) || (what->field_selector && *what->field_selector);
    if (!what->name && !selects && (!what->namespace_ || !*what->namespace_))
        return osmo_error_set(err, OSMO_EINVAL, "deleting every %s needs a namespace or a selector", what->kind ? what->kind : "object");
    if (!what->name && how->uid)
        return osmo_error_set(err, OSMO_EINVAL, "a uid is that of one object: its name is needed");
    return 0;
}

int osmo_kube_remove(osmo_kube_t *k, const osmo_kube_target_t *given, const osmo_kube_delete_t *how_given, osmo_error_t *err) {
    _cleanup_buf_ buf_t url = BUF_INIT(1u << 20);
    _cleanup_free_ char *body = NULL;
    osmo_kube_target_t what = {0};
    osmo_kube_delete_t how = {.grace_s = -1};
    if (!k || !given)
        return osmo_error_set(err, OSMO_EINVAL, "a client and a target are needed");
    memcpy(&what, given, given->size < sizeof what ? given->size : sizeof what);
    if (how_given)
        memcpy(&how, how_given, how_given->size < sizeof how ? how_given->size : sizeof how);
    int rc = check_selection(&what, &how, err);
    if (rc == 0)
        rc = kube_target_path(k, &what, what.name ? KUBE_ONE : KUBE_ALL, &url, err);
    if (rc == 0)
        rc = delete_options(&how, &body, err);
    if (!what.name)
        kube_query_selectors(&url, &what);
    if (rc < 0 || (rc = kube_url_failed(&url, err)) < 0)
        return rc;
    struct kube_call call = {.method = "DELETE", .path = url.data, .content_type = "application/json", .body = body, .len = strlen(body),
                             .repeatable = true, .max = what.name ? 0 : KUBE_PAGE_MAX};
    return send_call(k, &call, &what, NULL, NULL, err);
}

/* ---- logs ---- */

struct log_reader { osmo_kube_object_fn fn; void *ctx; };

static bool on_log(void *ctx, http_client_t *http, const char *data, size_t len) {
    struct log_reader *r = ctx;
    (void)http;
    return r->fn(r->ctx, data, len) == 0;
}

int osmo_kube_logs(osmo_kube_t *k, const char *namespace_, const char *pod, const char *container, int tail, osmo_kube_object_fn fn,
                   void *ctx, osmo_error_t *err) {
    _cleanup_buf_ buf_t url = BUF_INIT(64u << 10);
    const osmo_kube_target_t what = {.size = sizeof what, .api_version = "v1", .kind = "Pod", .namespace_ = namespace_, .name = pod,
                                     .subresource = "log"};
    struct log_reader reader = {.fn = fn, .ctx = ctx};
    char lines[16];
    if (!k || !fn || tail < 0)
        return osmo_error_set(err, OSMO_EINVAL, "osmo_kube_logs needs a client, a function, and not less than 0 lines");
    int rc = kube_target_path(k, &what, KUBE_ONE, &url, err);
    snprintf(lines, sizeof lines, "%d", tail);
    kube_query(&url, "container", container);
    kube_query(&url, "tailLines", tail ? lines : NULL);
    if (rc < 0 || (rc = kube_url_failed(&url, err)) < 0)
        return rc;
    const struct kube_call call = {.method = "GET", .path = url.data, .repeatable = true, .total_ms = -1, .on_data = on_log,
                                   .ctx = &reader};
    return kube_request(k, &call, NULL, err);
}
