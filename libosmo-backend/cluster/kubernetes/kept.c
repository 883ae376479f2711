/* Objects of KAI as ConfigMaps and back; see kept.h. */
#include "cluster/kubernetes/kept.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/error.h"
#include "base/json_reader.h"
#include "base/str.h"

static const struct { const char *group, *kind; } kinds[] = {
    { "scheduling.run.ai/", "PodGroup" },
    { "scheduling.run.ai/", "Queue" },
    { "kai.scheduler/", "Topology" },
};

bool kept_is(const char *api_version, const char *kind) {
    for (size_t i = 0; api_version && i < ARRAY_SIZE(kinds); i++)
        if (str_eq(kind, kinds[i].kind) && str_starts(api_version, kinds[i].group))
            return true;
    return false;
}

bool kept_name(const char *kind, const char *name, char out[KEPT_NAME_MAX]) {
    char lower[32];
    size_t i = 0;
    for (; kind[i] && i < sizeof lower - 1; i++)
        lower[i] = (char)(kind[i] >= 'A' && kind[i] <= 'Z' ? kind[i] - 'A' + 'a' : kind[i]);
    lower[i] = '\0';
    return (size_t)snprintf(out, KEPT_NAME_MAX, "%s.%s", lower, name) < KEPT_NAME_MAX;
}

static json_t *wrap(const json_t *object, const char *name, const char *namespace_, const char *text) {
    const json_t *labels = json_path(object, "metadata", "labels", NULL);
    json_t *map = json_object(), *meta = json_object(), *data = json_object();
    json_t *marks = json_kind(labels) == JSON_OBJECT ? json_copy(labels) : json_object();
    int rc = map && meta && data && marks ? 0 : OSMO_ENOMEM;
    if (rc == 0) {
        rc |= json_set_str(map, "apiVersion", "v1");
        rc |= json_set_str(map, "kind", "ConfigMap");
        rc |= json_set_str(meta, "name", name);
        rc |= json_set_str(meta, "namespace", namespace_);
        rc |= json_set_str(marks, KEPT_LABEL, json_get_str(object, "kind"));
        rc |= json_set_str(data, "object", text);
        rc |= json_set(meta, "labels", json_ref(marks));
        rc |= json_set(map, "metadata", json_ref(meta));
        rc |= json_set(map, "data", json_ref(data));
    }
    json_free(meta), json_free(data), json_free(marks);
    if (rc == 0)
        return map;
    json_free(map);
    return NULL;
}

int kept_wrap(const char *json, size_t len, const char *namespace_, char **out, osmo_error_t *err) {
    _cleanup_json_ json_t *object = NULL, *map = NULL;
    char name[KEPT_NAME_MAX];
    int rc = json_parse(json, len, &object, err);
    if (rc < 0)
        return rc;
    const char *kind = json_get_str(object, "kind"), *its = json_get_str(json_get(object, "metadata"), "name");
    if (!kind || !its || !kept_name(kind, its, name))
        return osmo_error_set(err, OSMO_EINVAL, "an object needs a kind and a metadata.name, which together are not too long");
    _cleanup_free_ char *text = json_to_text(object);
    map = text ? wrap(object, name, namespace_, text) : NULL;
    *out = map ? json_to_text(map) : NULL;
    return *out ? 0 : no_memory(err);
}

int kept_unwrap(const char *json, size_t len, char **out) {
    json_reader_t r;
    json_slice_t key, text = { 0 };
    *out = NULL;
    json_reader_init(&r, json, len);
    if (!json_reader_object(&r))
        return 0;
    while (json_reader_key(&r, &key)) {
        if (!json_slice_is(&key, "data")) {
            json_reader_skip(&r, NULL);
            continue;
        }
        for (bool in = json_reader_object(&r); in && json_reader_key(&r, &key);) {
            if (json_slice_is(&key, "object"))
                json_reader_string(&r, &text);
            else
                json_reader_skip(&r, NULL);
        }
    }
    if (json_reader_failed(&r) || !text.len)
        return 0;
    if (!(*out = malloc(text.len + 1)))
        return OSMO_ENOMEM;
    json_slice_copy(&text, *out, text.len + 1);
    return 0;
}

char *kept_selector(const char *kind, const char *selector) {
    return str_printf("%s%s%s=%s", selector ? selector : "", selector && *selector ? "," : "", KEPT_LABEL, kind);
}
