/* The roles section of a configuration file: name → role document (model/policy.h), kept as JSON texts. Pure. */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "model/policy.h"
#include "model/settings_internal.h"

/* The name is that of the key; a description may be missing. */
static int complete(json_t *document, const char *name) {
    int rc = json_set_str(document, "name", name);
    return rc < 0 || json_has(document, "description") ? rc : json_set_str(document, "description", "");
}

static void read_role(struct reader *r, const yaml_node_t *n, const struct read_path *at, const char *name, struct settings *s) {
    _cleanup_json_ json_t *document = NULL;
    osmo_error_t why = OSMO_ERROR_INIT;
    struct role role;
    if (n->kind != YAML_MAP) {
        read_report(r, at, n, "must be a mapping, not %s", yaml_kind_name(n));
        return;
    }
    int rc = yaml_to_json(n, &document, &why);
    if (rc >= 0)
        rc = complete(document, name);
    if (rc >= 0)
        rc = role_read(document, &role, &why);
    if (rc < 0) {
        r->oom |= rc == OSMO_ENOMEM;
        read_report(r, at, n, "%s", why.text);
        return;
    }
    _cleanup_json_ json_t *canonical = role_json(&role);
    _cleanup_free_ char *text = canonical ? json_to_text(canonical) : NULL;
    r->oom |= !text || strlist_add(&s->roles, text) < 0;
    role_clear(&role);
}

void settings_read_roles(struct reader *r, const yaml_node_t *n, const struct read_path *at, struct settings *s) {
    if (n->kind != YAML_MAP || n->len > ROLES_MAX) {
        read_report(r, at, n, n->kind == YAML_MAP ? "must be at most 4096 roles" : "must be a mapping of roles");
        return;
    }
    s->has_roles = true;
    for (size_t i = 0; i < n->len; i++) {
        _cleanup_free_ char *name = read_key(r, n->keys[i], at);
        struct read_path member = { at, name, 0 };
        if (name)
            read_role(r, n->values[i], &member, name, s);
    }
}
