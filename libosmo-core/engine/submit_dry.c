/* A dry run's answer: the rendered workflow as block YAML with sorted keys. It is written from the YAML tree itself and
 * not by way of JSON, which has no dates and no large integers: what clients send back must mean the same. Called by
 * submit.c. */
#include <string.h>

#include "engine/submit_internal.h"

#define SHOWN_MAX (64u << 20)

struct member {
    const char *key; /* as text */
    char *owned;     /* the key, unless it is text in the tree */
    const yaml_node_t *name, *value;
};

static void put(const yaml_node_t *n, int indent, bool in_list, const json_t *labels, buf_t *out);

static void spaces(int n, buf_t *out) {
    while (n-- > 0)
        buf_putc(out, ' ');
}

/* Text that is written as it is: most of it, so that the others may take their time. */
static bool put_simple(const char *s, size_t len, buf_t *out) {
    yaml_node_t n = { 0 };
    for (size_t i = 0; i < len; i++) {
        bool letter = (s[i] | 0x20) >= 'a' && (s[i] | 0x20) <= 'z', digit = s[i] >= '0' && s[i] <= '9';
        if (!letter && (i == 0 || !(digit || s[i] == '_' || s[i] == '-' || s[i] == '/' || s[i] == '.')))
            return false;
    }
    if (!len || len > 100)
        return false;
    yaml_resolve(&n, s, len);
    if (n.kind != YAML_STRING)
        return false;
    buf_append(out, s, len);
    return true;
}

/* What yaml_emit writes for a value, its lines but the first moved to the right. */
static void put_json(json_t *v, int indent, buf_t *out) {
    _cleanup_json_ json_t *owned = v;
    _cleanup_buf_ buf_t text = BUF_INIT(SHOWN_MAX);
    if (yaml_emit(owned, &text) < 0) {
        out->code = text.code;
        return;
    }
    const char *p = buf_cstr(&text), *end = p + text.len;
    for (bool first = true; p < end; first = false) {
        const char *nl = memchr(p, '\n', (size_t)(end - p)), *next = nl ? nl + 1 : end;
        if (!first && *p != '\n')
            spaces(indent, out);
        buf_append(out, p, (size_t)(next - p));
        p = next;
    }
}

/* With its newline. */
static void put_scalar(const yaml_node_t *n, int indent, buf_t *out) {
    _cleanup_free_ char *text = NULL;
    switch (n->kind) {
    case YAML_STRING:
        if (put_simple(n->text, n->text_len, out))
            buf_putc(out, '\n');
        else
            put_json(json_string_n(n->text, n->text_len), indent, out);
        return;
    case YAML_FLOAT: put_json(json_double(n->number), indent, out); return;
    case YAML_BOOL: buf_puts(out, n->boolean ? "true\n" : "false\n"); return;
    case YAML_INT:
    case YAML_DATE:
        text = yaml_scalar_text(n);
        if (!text)
            out->code = OSMO_ENOMEM;
        buf_printf(out, "%s\n", text ? text : "");
        return;
    default: buf_puts(out, n->kind == YAML_LIST ? "[]\n" : n->kind == YAML_MAP ? "{}\n" : "null\n");
    }
}

/* "key:" as yaml_emit writes the key of a mapping; a key that is no text is written as its value is. */
static void put_key(const struct member *m, int indent, buf_t *out) {
    size_t begin = out->len;
    if ((!m->name || m->name->kind == YAML_STRING) && put_simple(m->key, strlen(m->key), out)) {
        buf_putc(out, ':');
        return;
    }
    if (m->name && m->name->kind != YAML_STRING) {
        put_scalar(m->name, indent, out);
        buf_truncate(out, out->len > begin ? out->len - 1 : begin);
        buf_putc(out, ':');
        return;
    }
    json_t *o = json_object();
    if (!o || json_set(o, m->key, NULL) < 0)
        out->code = OSMO_ENOMEM;
    put_json(o, indent, out);
    static const char tail[] = " null\n";
    if (out->len - begin > strlen(tail))
        buf_truncate(out, out->len - strlen(tail));
}

static int by_key(const void *a, const void *b) {
    return strcmp(((const struct member *)a)->key, ((const struct member *)b)->key);
}

static bool is_block(const yaml_node_t *n) { return n && (n->kind == YAML_LIST || n->kind == YAML_MAP) && n->len; }

static void put_member(const struct member *m, int indent, const json_t *labels, buf_t *out) {
    put_key(m, indent, out);
    if (!m->value) { /* the merged labels */
        buf_putc(out, json_len(labels) ? '\n' : ' ');
        spaces(json_len(labels) ? indent + 2 : 0, out);
        put_json(json_ref((json_t *)labels), indent + 2, out);
    } else if (is_block(m->value)) {
        buf_putc(out, '\n');
        put(m->value, m->value->kind == YAML_LIST ? indent : indent + 2, false, NULL, out);
    } else {
        buf_putc(out, ' ');
        put_scalar(m->value, indent, out);
    }
}

static bool read_member(const yaml_node_t *name, const yaml_node_t *value, struct member *m) {
    *m = (struct member){ .name = name, .value = value };
    if (name->kind != YAML_STRING)
        m->owned = yaml_scalar_text(name);
    m->key = m->owned ? m->owned : name->kind == YAML_STRING ? name->text : NULL;
    return m->key;
}

/* `labels` stand in the place of the mapping's own. */
static void put_map(const yaml_node_t *n, int indent, bool in_list, const json_t *labels, buf_t *out) {
    struct member *members = calloc(n->len + 1, sizeof *members);
    size_t count = 0;
    if (!members) {
        out->code = OSMO_ENOMEM;
        return;
    }
    for (size_t i = 0; i < n->len; i++) {
        if (!read_member(n->keys[i], n->values[i], &members[count]))
            out->code = OSMO_ENOMEM;
        else if (!labels || strcmp(members[count].key, "labels") != 0)
            count++;
        else
            free(members[count].owned);
    }
    if (labels)
        members[count++] = (struct member){ .key = "labels" };
    qsort(members, count, sizeof *members, by_key);
    for (size_t i = 0; i < count; i++) {
        spaces(i == 0 && in_list ? 0 : indent, out);
        put_member(&members[i], indent, labels, out);
        free(members[i].owned);
    }
    free(members);
}

static void put(const yaml_node_t *n, int indent, bool in_list, const json_t *labels, buf_t *out) {
    if (!is_block(n)) {
        put_scalar(n, indent - 2, out);
        return;
    }
    if (n->kind == YAML_MAP) {
        put_map(n, indent, in_list, labels, out);
        return;
    }
    for (size_t i = 0; i < n->len && !out->code; i++) {
        spaces(i == 0 && in_list ? 0 : indent, out);
        buf_puts(out, "- ");
        put(n->values[i], indent + 2, true, NULL, out);
    }
}

int submission_show(const struct submission *s, char **out, osmo_error_t *err) {
    _cleanup_buf_ buf_t text = BUF_INIT(SHOWN_MAX);
    _cleanup_json_ json_t *labels = NULL;
    if (s->labels && json_sort_keys(s->labels, &labels) < 0)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    buf_puts(&text, "workflow:\n");
    put_map(yaml_get(s->document, "workflow"), 2, false, labels, &text);
    if (text.code == OSMO_ELIMIT)
        return osmo_error_set(err, OSMO_ELIMIT, "the rendered workflow is larger than %u MiB", SHOWN_MAX >> 20);
    *out = buf_steal(&text, NULL);
    return *out ? 0 : osmo_error_set(err, OSMO_ENOMEM, "out of memory");
}
