/* YAML nodes as Python text and as JSON trees; see yaml.h. */
#include "base/yaml.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

char *yaml_scalar_text(const yaml_node_t *n) {
    char text[40];
    switch (n->kind) {
    case YAML_NULL: return strdup("None");
    case YAML_BOOL: return strdup(n->boolean ? "True" : "False");
    case YAML_INT:
        if (n->flavour == YAML_BIG)
            return strdup(n->text);
        snprintf(text, sizeof text, "%lld", (long long)n->integer);
        return strdup(text);
    case YAML_FLOAT: return strdup(double_repr(n->number, text));
    case YAML_STRING: case YAML_DATE: return strdup(n->text);
    default: return NULL;
    }
}

const char *yaml_kind_name(const yaml_node_t *n) {
    static const char *const names[] = { "null", "a boolean", "an integer", "a float",
                                         "text", "a date",    "a list",     "a mapping" };
    return n ? names[n->kind] : "nothing";
}

static json_t *date_to_json(const yaml_node_t *n) {
    char text[64];
    if (n->flavour == YAML_ORDINARY || n->text_len >= sizeof text)
        return json_string_n(n->text, n->text_len);
    memcpy(text, n->text, n->text_len + 1);
    text[10] = 'T';
    return json_string_n(text, n->text_len);
}

static int map_to_json(const yaml_node_t *n, json_t *object, osmo_error_t *err) {
    for (size_t i = 0; i < n->len; i++) {
        const yaml_node_t *k = n->keys[i];
        _cleanup_free_ char *other = k->kind == YAML_STRING ? NULL : yaml_scalar_text(k);
        const char *key = k->kind == YAML_STRING ? k->text : other;
        json_t *v = NULL;
        int rc = key ? yaml_to_json(n->values[i], &v, err) : OSMO_ENOMEM;
        if (!rc)
            rc = json_set(object, key, v);
        if (rc)
            return rc;
    }
    return 0;
}

static int list_to_json(const yaml_node_t *n, json_t *array, osmo_error_t *err) {
    int rc = 0;
    for (size_t i = 0; !rc && i < n->len; i++) {
        json_t *item = NULL;
        rc = yaml_to_json(n->values[i], &item, err);
        if (!rc)
            rc = json_add(array, item);
    }
    return rc;
}

int yaml_to_json(const yaml_node_t *n, json_t **out, osmo_error_t *err) {
    int rc = 0;
    json_t *v = NULL;
    switch (n->kind) {
    case YAML_NULL: *out = NULL; return 0;
    case YAML_BOOL: v = json_bool_new(n->boolean); break;
    case YAML_INT:
        if (n->flavour == YAML_BIG)
            return osmo_error_set(err, OSMO_EUSAGE,
                                  "the integer %.40s%s does not fit 64 bits; quote it (line %d, column %d)", n->text,
                                  n->text_len > 40 ? "..." : "", n->line, n->column);
        v = json_int(n->integer);
        break;
    case YAML_FLOAT: v = json_double(n->number); break;
    case YAML_STRING: v = json_string_n(n->text, n->text_len); break;
    case YAML_DATE: v = date_to_json(n); break;
    case YAML_LIST:
        v = json_array();
        rc = v ? list_to_json(n, v, err) : 0;
        break;
    case YAML_MAP:
        v = json_object();
        rc = v ? map_to_json(n, v, err) : 0;
        break;
    }
    if (!v || rc) {
        json_free(v);
        return rc && rc != OSMO_ENOMEM ? rc : osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    }
    *out = v;
    return 0;
}
