/* From what is meant to a URL. A name that would make a request mean something else, an empty one above all, is refused here. Called by the
 * verbs of the client. */
#include <string.h>
#include "base/error.h"
#include "cluster/kubernetes/kube_int.h"

/* As one segment of a path: what the API server takes for a name, and nothing that a proxy could take for a path. */
static bool is_segment(const char *s) { return *s && strcmp(s, ".") && strcmp(s, "..") && !strpbrk(s, "/%"); }

bool kube_target_secret(const osmo_kube_target_t *what) { return what->kind && !strcmp(what->kind, "Secret"); }

int kube_url_failed(const buf_t *url, osmo_error_t *err) {
    if (!buf_failed(url))
        return 0;
    return url->code == OSMO_ENOMEM ? no_memory(err) : osmo_error_set(err, url->code, "the names and selectors are too long for a URL");
}

void kube_query(buf_t *url, const char *key, const char *value) {
    if (!value)
        return;
    buf_printf(url, "%c%s=", strchr(buf_cstr(url), '?') ? '&' : '?', key);
    url_encode(value, url);
}

void kube_query_selectors(buf_t *url, const osmo_kube_target_t *what) {
    kube_query(url, "labelSelector", what->label_selector && *what->label_selector ? what->label_selector : NULL);
    kube_query(url, "fieldSelector", what->field_selector && *what->field_selector ? what->field_selector : NULL);
}

static int check(const osmo_kube_target_t *what, enum kube_form form, osmo_error_t *err) {
    if (!what || !what->api_version || !what->kind)
        return osmo_error_set(err, OSMO_EINVAL, "apiVersion and kind of the object are needed");
    if (what->name && !is_segment(what->name))
        return osmo_error_set(err, OSMO_EINVAL, "\"%s\" cannot be the name of a %s", what->name, what->kind);
    if (what->namespace_ && *what->namespace_ && !is_segment(what->namespace_))
        return osmo_error_set(err, OSMO_EINVAL, "\"%s\" cannot be the name of a namespace", what->namespace_);
    if (what->subresource && !is_segment(what->subresource))
        return osmo_error_set(err, OSMO_EINVAL, "\"%s\" cannot be a subresource of a %s", what->subresource, what->kind);
    if (!what->name && (form == KUBE_ONE || what->subresource))
        return osmo_error_set(err, OSMO_EINVAL, "the name of the %s is needed", what->kind);
    return 0;
}

int kube_target_path(osmo_kube_t *k, const osmo_kube_target_t *given, enum kube_form form, buf_t *out, osmo_error_t *err) {
    osmo_kube_target_t w = {0};
    osmo_kube_resource_t resource;
    if (given)
        memcpy(&w, given, given->size < sizeof w ? given->size : sizeof w);
    int rc = check(&w, form, err);
    if (rc == 0)
        rc = osmo_kube_discover(k, w.api_version, w.kind, &resource, err);
    if (rc < 0)
        return rc;
    bool within = resource.namespaced && w.namespace_ && *w.namespace_;
    if (resource.namespaced && !within && (form != KUBE_ALL || w.name))
        return osmo_error_set(err, OSMO_EINVAL, "the namespace of the %s is needed", w.kind);
    buf_puts(out, resource.path);
    if (within) {
        buf_puts(out, "/namespaces/");
        url_encode(w.namespace_, out);
    }
    buf_printf(out, "/%s", resource.plural);
    if (w.name && (form == KUBE_ONE || w.subresource)) {
        buf_putc(out, '/');
        url_encode(w.name, out);
    }
    if (w.subresource)
        buf_printf(out, "/%s", w.subresource);
    return kube_url_failed(out, err);
}
