/* Workflow labels at submission: merging and their grammar, [prefix/]name and value as Kubernetes has them. Called by
 * submit.c. */
#include <ctype.h>
#include <string.h>

#include "engine/submit_internal.h"

#define LABELS_MAX 16

/* 1 to 63 letters, digits, '-', '_', '.', beginning and ending with a letter or digit. */
static bool name_ok(const char *p, size_t n) {
    if (n < 1 || n > 63 || !isalnum((unsigned char)p[0]) || !isalnum((unsigned char)p[n - 1]))
        return false;
    for (size_t i = 0; i < n; i++)
        if (!isalnum((unsigned char)p[i]) && !strchr("-_.", p[i]))
            return false;
    return true;
}

/* Dot-separated lower-case DNS labels. */
static bool prefix_ok(const char *p, size_t n) {
    size_t start = 0;
    if (n < 1 || n > 253)
        return false;
    for (size_t i = 0; i <= n; i++) {
        if (i < n && p[i] != '.') {
            if (isupper((unsigned char)p[i]) || p[i] == '_')
                return false;
            continue;
        }
        if (!name_ok(p + start, i - start))
            return false;
        start = i + 1;
    }
    return true;
}

static bool key_ok(const char *key, size_t n) {
    const char *slash = memchr(key, '/', n);
    if (!slash)
        return name_ok(key, n);
    size_t prefix = (size_t)(slash - key);
    return prefix_ok(key, prefix) && name_ok(slash + 1, n - prefix - 1);
}

static int add_override(json_t *labels, const char *item, osmo_error_t *err) {
    const char *equals = strchr(item, '=');
    if (!equals)
        return osmo_error_set(err, OSMO_EUSAGE, "label '%s' must have the form key=value", item);
    _cleanup_free_ char *key = strndup(item, (size_t)(equals - item));
    if (!key)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    if (!key_ok(key, strlen(key)))
        return osmo_error_set(err, OSMO_EUSAGE,
                              "label key '%s' is invalid: use [prefix/]name with letters, digits, '-', '_', '.'",
                              key);
    if (!name_ok(equals + 1, strlen(equals + 1)))
        return osmo_error_set(err, OSMO_EUSAGE,
                              "value '%s' of label '%s' is invalid: use 1 to 63 letters, digits, '-', '_', '.'",
                              equals + 1, key);
    return json_set_str(labels, key, equals + 1) < 0 ? osmo_error_set(err, OSMO_ENOMEM, "out of memory") : 0;
}

/* The document's own labels are text to text here; anything else is refused as the specification's reader would. */
static int check_document(const json_t *labels, osmo_error_t *err) {
    if (json_kind(labels) != JSON_OBJECT)
        return osmo_error_set(err, OSMO_EUSAGE, "workflow.labels must be a mapping of text to text");
    json_iter_t it = json_iter(labels);
    while (json_iter_next(&it)) {
        const char *value = json_str(it.value);
        if (!value)
            return osmo_error_set(err, OSMO_EUSAGE, "label '%s' must be text; quote its value", it.key);
        if (!key_ok(it.key, strlen(it.key)) || !name_ok(value, strlen(value)))
            return osmo_error_set(err, OSMO_EUSAGE, "label '%s: %s' is invalid: use letters, digits, '-', '_', '.'",
                                  it.key, value);
    }
    return 0;
}

int submission_labels(struct submission *s, osmo_error_t *err) {
    const yaml_node_t *workflow = yaml_get(s->document, "workflow");
    const yaml_node_t *own = workflow && workflow->kind == YAML_MAP ? yaml_get(workflow, "labels") : NULL;
    int rc = 0;
    if (!s->labels && own) {
        rc = yaml_to_json(own, &s->labels, err);
        if (rc >= 0)
            rc = check_document(s->labels, err);
    }
    if (rc >= 0 && !s->labels && s->rq->labels.len && !(s->labels = json_object()))
        rc = osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    for (size_t i = 0; rc >= 0 && i < s->rq->labels.len; i++)
        rc = add_override(s->labels, s->rq->labels.items[i], err);
    if (rc >= 0 && json_len(s->labels) > LABELS_MAX)
        rc = osmo_error_set(err, OSMO_EUSAGE, "the workflow has %zu labels, at most %d are allowed",
                            json_len(s->labels), LABELS_MAX);
    return rc;
}
