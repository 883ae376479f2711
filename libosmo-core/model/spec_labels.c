/* Labels of a workflow: their grammar, the overlay of a request, and the policies of the configuration. Called by
 * spec.c and by submission. Pure. */
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "model/spec_internal.h"

#define LABELS_MAX 16
#define LABEL_LENGTH_MAX 63
#define LABEL_LENGTH_RULE "'%.100s' has %zu characters, at most %d are allowed"
#define LABEL_KEY_RULE                                                                                                 \
    "'%.300s' is no valid label key: [prefix/]name, the name of 1 to 63 letters, digits, '-', '_', '.', beginning and "  \
    "ending with a letter or digit, the prefix a DNS name in lower case"
#define LABEL_VALUE_RULE                                                                                               \
    "'%.100s' is no valid label value: 1 to 63 letters, digits, '-', '_', '.', beginning and ending with a letter or digit"

static bool is_letter(char c)
{
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z');
}

static bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

static bool label_name_valid(const char *p, size_t len)
{
    if (len == 0 || len > 63)
        return false;
    for (size_t i = 0; i < len; i++) {
        bool plain = is_letter(p[i]) || is_digit(p[i]);
        if (!plain && (i == 0 || i + 1 == len || !strchr("-_.", p[i])))
            return false;
    }
    return true;
}

static bool label_prefix_valid(const char *p, size_t len)
{
    if (len == 0 || len > 253)
        return false;
    for (size_t start = 0; start <= len;) {
        size_t end = start;
        while (end < len && p[end] != '.')
            end++;
        if (end == start || end - start > 63 || p[start] == '-' || p[end - 1] == '-')
            return false;
        for (size_t i = start; i < end; i++)
            if (!is_digit(p[i]) && !(p[i] >= 'a' && p[i] <= 'z') && p[i] != '-')
                return false;
        start = end + 1;
    }
    return true;
}

bool spec_label_key_valid(const char *key)
{
    const char *slash = strrchr(key, '/');
    if (!slash)
        return label_name_valid(key, strlen(key));
    return label_prefix_valid(key, (size_t)(slash - key)) && label_name_valid(slash + 1, strlen(slash + 1));
}

bool spec_label_value_valid(const char *value)
{
    return label_name_valid(value, strlen(value));
}

static void read_label(struct reader *r, const yaml_node_t *key, const yaml_node_t *value, const struct read_path *at,
                       json_t *labels)
{
    _cleanup_free_ char *name = NULL;
    _cleanup_free_ char *text = NULL;

    if (key->kind != YAML_STRING) {
        read_report(r, at, key, "a label key must be text, not %s", yaml_kind_name(key));
        return;
    }
    name = read_key(r, key, at);
    if (!name)
        return;
    struct read_path member = { at, name, 0 };
    if (!spec_label_key_valid(name))
        read_report(r, &member, key, LABEL_KEY_RULE, name);
    if (!read_text(r, value, &member, false, &text))
        return;
    if (strlen(text) > LABEL_LENGTH_MAX)
        read_report(r, &member, value, LABEL_LENGTH_RULE, text, strlen(text), LABEL_LENGTH_MAX);
    else if (!spec_label_value_valid(text))
        read_report(r, &member, value, LABEL_VALUE_RULE, text);
    else
        r->oom |= json_set_str(labels, name, text) < 0;
}

void spec_read_labels(struct reader *r, const yaml_node_t *n, const struct read_path *at, json_t **labels)
{
    if (n->kind != YAML_MAP) {
        read_report(r, at, n, "must be a mapping, not %s", yaml_kind_name(n));
        return;
    }
    if (n->len > LABELS_MAX)
        read_report(r, at, n, "has %zu labels, at most %d are allowed", (size_t)n->len, LABELS_MAX);
    json_free(*labels);
    *labels = json_object();
    if (!*labels)
        r->oom = true;
    for (size_t i = 0; i < n->len && *labels; i++)
        read_label(r, n->keys[i], n->values[i], at, *labels);
}

/* ---- the overlay of a request ---- */

static void add_override(struct spec_findings *f, json_t *labels, const char *item)
{
    const char *equals = strchr(item, '=');
    if (!equals) {
        spec_findings_add(f, OSMO_EUSAGE, "label", 0, 0, "'%.300s' must be written KEY=VALUE", item);
        return;
    }
    _cleanup_free_ char *key = strndup(item, (size_t)(equals - item));
    f->oom |= !key;
    if (!key)
        return;
    if (!spec_label_key_valid(key))
        spec_findings_add(f, OSMO_EUSAGE, "label", 0, 0, LABEL_KEY_RULE, key);
    else if (strlen(equals + 1) > LABEL_LENGTH_MAX)
        spec_findings_add(f, OSMO_EUSAGE, "label", 0, 0, LABEL_LENGTH_RULE, equals + 1, strlen(equals + 1),
                          LABEL_LENGTH_MAX);
    else if (!spec_label_value_valid(equals + 1))
        spec_findings_add(f, OSMO_EUSAGE, "label", 0, 0, LABEL_VALUE_RULE, equals + 1);
    else
        f->oom |= json_set_str(labels, key, equals + 1) < 0;
}

int spec_labels_merge(const yaml_node_t *labels, const json_t *base, const strlist_t *overrides, json_t **out,
                      struct spec_findings *f)
{
    _cleanup_json_ json_t *merged = NULL;
    struct read_path top = { NULL, "workflow", 0 }, at = { &top, "labels", 0 };
    size_t noverrides = overrides ? overrides->len : 0;
    struct reader r;

    *out = NULL;
    reader_init_to(&r, OSMO_EUSAGE, f);
    if (labels)
        spec_read_labels(&r, labels, &at, &merged);
    else if (base)
        f->oom |= !(merged = json_copy(base));
    f->oom |= r.oom;
    if (!merged && noverrides > 0)
        f->oom |= !(merged = json_object());
    for (size_t i = 0; merged && i < noverrides; i++)
        add_override(f, merged, overrides->items[i]);
    if (json_len(merged) > LABELS_MAX && f->total == 0)
        spec_findings_add(f, OSMO_EUSAGE, "workflow.labels", 0, 0,
                          "has %zu labels together with those of the request, at most %d are allowed", json_len(merged),
                          LABELS_MAX);
    if (f->total == 0 && !f->oom)
        *out = STEAL(merged);
    return spec_findings_code(f);
}

/* ---- policies ---- */

/* What is wrong under one policy; NULL when nothing is. malloc'ed. */
static char *violation(const struct label_policy *p, const json_t *labels, bool *oom)
{
    const char *value = json_get_str(labels, p->key);
    _cleanup_buf_ buf_t words = BUF_INIT(1u << 16);

    if (value && (p->allowed.len == 0 || strlist_has(&p->allowed, value)))
        return NULL;
    if (value)
        buf_printf(&words, "label '%s' has the value '%s', allowed are: ", p->key, value);
    else
        buf_printf(&words, "label '%s' is missing%s", p->key, p->allowed.len ? ", allowed values are: " : "");
    for (size_t i = 0; i < p->allowed.len; i++)
        buf_printf(&words, "%s%s", i ? ", " : "", p->allowed.items[i]);
    if (p->message && *p->message)
        buf_printf(&words, " (%s)", p->message);
    char *text = buf_steal(&words, NULL);
    *oom |= !text;
    return text;
}

/* Pods carry the labels behind a prefix, which may make a good key a bad one. */
static void check_prefixed(struct spec_findings *f, const json_t *labels, const char *prefix)
{
    for (json_iter_t it = json_iter(labels); prefix && *prefix && json_iter_next(&it);) {
        _cleanup_free_ char *key = str_printf("%s%s", prefix, it.key);
        f->oom |= !key;
        if (key && !spec_label_key_valid(key))
            spec_findings_add(f, OSMO_EUSAGE, "workflow.labels", 0, 0, "label '%s' becomes '%.320s' on pods, which is no "
                              "valid label key: shorten it, or ask an administrator about pod_label_prefix", it.key, key);
    }
}

int spec_check_labels(const json_t *labels, const struct settings *settings, strlist_t *warnings,
                      struct spec_findings *f)
{
    for (size_t i = 0; i < settings->nlabel_policies; i++) {
        const struct label_policy *p = &settings->label_policies[i];
        if (p->enforcement == LABEL_OFF)
            continue;
        _cleanup_free_ char *words = violation(p, labels, &f->oom);
        if (words && p->enforcement == LABEL_ENFORCE)
            spec_findings_add(f, OSMO_EUSAGE, "workflow.labels", 0, 0, "%s", words);
        else if (words && warnings)
            f->oom |= strlist_add(warnings, words) < 0;
    }
    check_prefixed(f, labels, settings->pod_label_prefix);
    return spec_findings_code(f);
}
