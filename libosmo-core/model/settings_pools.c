/* Pools and platforms of the configuration, with the templates they name merged once at load time.
 * Called by settings.c. */
#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "model/pods.h"
#include "model/settings_internal.h"

static void platform_clear(struct platform *p)
{
    char *texts[] = { p->name, p->description, p->variables_json, p->pod_template_json, p->labels_json,
        p->tolerations_json,
                      p->validations_json };
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
        free(texts[i]);
    strlist_free(&p->allowed_mounts);
    strlist_free(&p->default_mounts);
}

void settings_pool_clear(struct pool *p)
{
    char *texts[] = { p->name, p->description, p->backend, p->default_platform, p->download_type,
        p->default_exit_actions_json,
                      p->resources_json, p->topology_keys_json, p->group_templates_json, p->pod_template_json,
                      p->validations_json, p->document_json };
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
        free(texts[i]);
    for (size_t i = 0; i < p->nplatforms; i++)
        platform_clear(&p->platforms[i]);
    free(p->platforms);
}

/* What a pool or platform says before its references are followed. */
struct raw_platform {
    struct platform *p;
    char *description, *variables;
    bool host_network, privileged;
    strlist_t mounts, validations, templates;
};
struct raw_pool {
    struct pool pool;
    char *variables;
    strlist_t validations, templates, group_templates;
    const yaml_node_t *platforms;
};

/* "" inherits, as in upstream's files. */
static void read_pool_duration(struct reader *r, const yaml_node_t *n, const struct read_path *at, int64_t *us)
{
    if (n->kind == YAML_NULL || (n->kind == YAML_STRING && n->text_len == 0))
        return;
    read_duration(r, n, at, false, us);
}

static void read_default_exec(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object)
{
    read_pool_duration(r, n, at, &((struct raw_pool *)object)->pool.default_exec_timeout_us);
}

static void read_default_queue(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object)
{
    read_pool_duration(r, n, at, &((struct raw_pool *)object)->pool.default_queue_timeout_us);
}

static void read_max_exec(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object)
{
    read_pool_duration(r, n, at, &((struct raw_pool *)object)->pool.max_exec_timeout_us);
}

static void read_max_queue(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object)
{
    read_pool_duration(r, n, at, &((struct raw_pool *)object)->pool.max_queue_timeout_us);
}

static const struct read_field gpu_fields[] = {
    { "guarantee", READ_INT, 0, offsetof(struct pool, gpu_guarantee), NULL },
    { "maximum", READ_INT, 0, offsetof(struct pool, gpu_maximum), NULL },
};
static const struct read_table gpu_table = READ_TABLE(gpu_fields, true);

static void read_gpu_share(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object)
{
    read_mapping(r, n, at, &gpu_table, object);
}

static const struct read_field share_fields[] = {
    { "gpu", READ_CUSTOM, READ_NULLABLE, 0, read_gpu_share },
};
static const struct read_table share_table = READ_TABLE(share_fields, true);

static void read_shares(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object)
{
    struct raw_pool *raw = object;
    _cleanup_json_ json_t *v = NULL;
    read_mapping(r, n, at, &share_table, &raw->pool);
    if (yaml_to_json(n, &v, NULL) == 0)
        raw->pool.resources_json = json_to_text(v);
    r->oom |= !raw->pool.resources_json;
}

static const struct read_field topology_fields[] = {
    { "key", READ_IGNORE, READ_REQUIRED, 0, NULL },
    { "label", READ_IGNORE, READ_REQUIRED, 0, NULL },
};
static const struct read_table topology_table = READ_TABLE(topology_fields, false);

static void read_topology_keys(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object)
{
    struct raw_pool *raw = object;
    _cleanup_json_ json_t *v = NULL;
    for (size_t i = 0; n->kind == YAML_LIST && i < n->len; i++) {
        struct read_path item = { at, NULL, i };
        read_mapping(r, n->values[i], &item, &topology_table, raw);
    }
    if (n->kind != YAML_LIST || yaml_to_json(n, &v, NULL) < 0) {
        read_report(r, at, n, "must be a list of {key, label}");
        return;
    }
    raw->pool.topology_keys_json = json_to_text(v);
    r->oom |= !raw->pool.topology_keys_json;
}

static void keep_platforms(struct reader *r, const yaml_node_t *n, const struct read_path *at, void *object)
{
    if (n->kind == YAML_MAP)
        ((struct raw_pool *)object)->platforms = n;
    else
        read_report(r, at, n, "must be a mapping, not %s", yaml_kind_name(n));
}

#define AT(member) offsetof(struct raw_pool, member)
static const struct read_field pool_fields[] = {
    { "description", READ_TEXT, 0, AT(pool.description), NULL },
    { "download_type", READ_TEXT, READ_NULLABLE, AT(pool.download_type), NULL },
    { "enable_maintenance", READ_BOOL, 0, AT(pool.enable_maintenance), NULL },
    { "backend", READ_TEXT, READ_REQUIRED, AT(pool.backend), NULL },
    { "default_platform", READ_TEXT, READ_NULLABLE, AT(pool.default_platform), NULL },
    { "default_exec_timeout", READ_CUSTOM, 0, 0, read_default_exec },
    { "default_queue_timeout", READ_CUSTOM, 0, 0, read_default_queue },
    { "max_exec_timeout", READ_CUSTOM, 0, 0, read_max_exec },
    { "max_queue_timeout", READ_CUSTOM, 0, 0, read_max_queue },
    { "default_exit_actions", READ_OBJECT, READ_NULLABLE, AT(pool.default_exit_actions_json), NULL },
    { "resources", READ_CUSTOM, READ_NULLABLE, 0, read_shares },
    { "topology_keys", READ_CUSTOM, READ_NULLABLE, 0, read_topology_keys },
    { "common_default_variables", READ_OBJECT, READ_NULLABLE, AT(variables), NULL },
    { "common_resource_validations", READ_TEXTS, READ_NULLABLE, AT(validations), NULL },
    { "common_pod_template", READ_TEXTS, READ_NULLABLE, AT(templates), NULL },
    { "common_group_templates", READ_TEXTS, READ_NULLABLE, AT(group_templates), NULL },
    { "platforms", READ_CUSTOM, READ_NULLABLE, 0, keep_platforms },
};
static const struct read_table pool_table = READ_TABLE(pool_fields, true);
#undef AT
#define AT(member) offsetof(struct raw_platform, member)
static const struct read_field platform_fields[] = {
    { "description", READ_TEXT, 0, AT(description), NULL },
    { "host_network_allowed", READ_BOOL, 0, AT(host_network), NULL },
    { "privileged_allowed", READ_BOOL, 0, AT(privileged), NULL },
    { "allowed_mounts", READ_TEXTS, READ_NULLABLE, AT(mounts), NULL },
    { "default_variables", READ_OBJECT, READ_NULLABLE, AT(variables), NULL },
    { "resource_validations", READ_TEXTS, READ_NULLABLE, AT(validations), NULL },
    { "override_pod_template", READ_TEXTS, READ_NULLABLE, AT(templates), NULL },
};
static const struct read_table platform_table = READ_TABLE(platform_fields, true);
#undef AT

/* ---- merging ---- */

struct context {
    struct reader *r;
    const struct settings_parts *parts;
    const yaml_node_t *place;
    const struct read_path *at;
};

/* Named templates, in order, over `target`. */
static void merge_named(struct context *c, json_t *target, const char *key, const strlist_t *names, const json_t *known)
{
    struct read_path member = { c->at, key, 0 };
    for (size_t i = 0; i < names->len; i++) {
        const json_t *t = json_get(known, names->items[i]);
        const yaml_node_t *n = yaml_get(c->place, key);
        if (!t)
            read_report(c->r, &member, n ? n : c->place, "refers to '%.80s', which is not defined", names->items[i]);
        else if (pods_merge(target, t) < 0)
            c->r->oom = true;
    }
}

void settings_merge_templates(struct reader *r, const yaml_node_t *place, const struct read_path *at, json_t *target, const char *key,
                              const strlist_t *names, const json_t *known)
{
    struct context c = { r, NULL, place, at };
    merge_named(&c, target, key, names, known);
}

static void append_rules(struct context *c, json_t *rules, const char *key, const strlist_t *names)
{
    struct read_path member = { c->at, key, 0 };
    for (size_t i = 0; i < names->len; i++) {
        const json_t *list = json_get(c->parts->validations, names->items[i]);
        if (!list)
            read_report(c->r, &member, c->place, "refers to '%.80s', which is not defined", names->items[i]);
        for (size_t k = 0; k < json_len(list); k++) {
            const json_t *rule = json_at(list, k);
            json_t *copy = json_copy(rule);
            c->r->oom |= (rule && !copy) || json_add(rules, copy) < 0;
        }
    }
}

/* Mount paths of every container but osmo-ctrl. */
static void find_default_mounts(struct context *c, const json_t *template, strlist_t *mounts)
{
    const json_t *containers = json_path(template, "spec", "containers", NULL);
    for (size_t i = 0; i < json_len(containers); i++) {
        const json_t *container = json_at(containers, i);
        const json_t *list = json_get(container, "volumeMounts");
        if (str_eq(json_get_str(container, "name"), "osmo-ctrl"))
            continue;
        for (size_t k = 0; k < json_len(list); k++) {
            const char *path = json_get_str(json_at(list, k), "mountPath");
            c->r->oom |= path && strlist_add(mounts, path) < 0;
        }
    }
}

static char *text_of(struct context *c, const json_t *v, const char *fallback)
{
    char *text = v ? json_to_text(v) : str_dup(fallback);
    c->r->oom |= !text;
    return text;
}

static json_t *object_of(const char *text)
{
    json_t *v = NULL;
    if (!text)
        return json_object();
    return json_parse(text, strlen(text), &v, NULL) == 0 ? v : NULL;
}

/* Everything derived of one platform, from the pool's parts and its own. */
static void merge_platform(struct context *c, struct platform *p, const struct raw_pool *pool,
    const struct raw_platform *raw,
                           const json_t *pool_template, const json_t *pool_rules)
{
    _cleanup_json_ json_t *template = json_copy(pool_template);
    _cleanup_json_ json_t *rules = json_copy(pool_rules);
    _cleanup_json_ json_t *variables = object_of(pool->variables);
    _cleanup_json_ json_t *own = object_of(raw->variables);

    if (!template || !rules || !variables || !own || pods_merge(variables, own) < 0) {
        c->r->oom = true;
        return;
    }
    merge_named(c, template, "override_pod_template", &raw->templates, c->parts->pod_templates);
    append_rules(c, rules, "resource_validations", &raw->validations);
    find_default_mounts(c, template, &p->default_mounts);
    p->variables_json = text_of(c, variables, "{}");
    p->pod_template_json = text_of(c, template, "{}");
    p->labels_json = text_of(c, json_path(template, "spec", "nodeSelector", NULL), "{}");
    p->tolerations_json = text_of(c, json_path(template, "spec", "tolerations", NULL), "[]");
    p->validations_json = text_of(c, rules, "[]");
}

/* Manifests with the same (apiVersion, kind, name) are one. */
static void merge_group_templates(struct context *c, struct raw_pool *raw)
{
    struct read_path member = { c->at, "common_group_templates", 0 };
    _cleanup_json_ json_t *merged = json_array();

    for (size_t i = 0; i < raw->group_templates.len && merged; i++) {
        const json_t *t = json_get(c->parts->group_templates, raw->group_templates.items[i]);
        bool found = false;
        if (!t) {
            read_report(c->r, &member, c->place, "refers to '%.80s', which is not defined",
                raw->group_templates.items[i]);
            continue;
        }
        for (size_t k = 0; k < json_len(merged) && !found; k++) {
            json_t *other = json_at(merged, k);
            found = str_eq(json_get_str(other, "apiVersion"), json_get_str(t, "apiVersion")) &&
                    str_eq(json_get_str(other, "kind"), json_get_str(t, "kind")) &&
                    str_eq(json_get_str(json_get(other, "metadata"), "name"), json_get_str(json_get(t, "metadata"),
                        "name"));
            if (found)
                c->r->oom |= pods_merge(other, t) < 0;
        }
        if (!found) {
            json_t *copy = json_copy(t);
            c->r->oom |= !copy || json_add(merged, copy) < 0;
        }
    }
    c->r->oom |= !merged;
    raw->pool.group_templates_json = text_of(c, merged, "[]");
}

static void read_platform(struct reader *r, const struct settings_parts *parts, const yaml_node_t *n,
    const struct read_path *at,
                          struct raw_pool *pool, const json_t *template, const json_t *rules)
{
    struct platform *p = &pool->pool.platforms[pool->pool.nplatforms++];
    struct raw_platform raw = { 0 };
    struct context c = { r, parts, n, at };

    p->name = str_dup(at->key);
    read_mapping(r, n, at, &platform_table, &raw);
    if (n->kind == YAML_MAP)
        merge_platform(&c, p, pool, &raw, template, rules);
    p->description = raw.description ? raw.description : str_dup("");
    p->host_network_allowed = raw.host_network;
    p->privileged_allowed = raw.privileged;
    p->allowed_mounts = raw.mounts;
    r->oom |= !p->name || !p->description;
    free(raw.variables);
    strlist_free(&raw.validations);
    strlist_free(&raw.templates);
}

static void read_platforms(struct context *c, struct raw_pool *raw)
{
    const yaml_node_t *n = raw->platforms;
    _cleanup_json_ json_t *template = json_object();
    _cleanup_json_ json_t *rules = json_array();
    struct read_path list = { c->at, "platforms", 0 };

    if (!template || !rules) {
        c->r->oom = true;
        return;
    }
    merge_named(c, template, "common_pod_template", &raw->templates, c->parts->pod_templates);
    append_rules(c, rules, "common_resource_validations", &raw->validations);
    raw->pool.platforms = n && n->len ? calloc(n->len, sizeof(*raw->pool.platforms)) : NULL;
    c->r->oom |= n && n->len && !raw->pool.platforms;
    for (size_t i = 0; n && raw->pool.platforms && i < n->len; i++) {
        _cleanup_free_ char *name = read_key(c->r, n->keys[i], &list);
        struct read_path member = { &list, name, 0 };
        if (name)
            read_platform(c->r, c->parts, n->values[i], &member, raw, template, rules);
    }
    raw->pool.pod_template_json = text_of(c, template, "{}");
    raw->pool.validations_json = text_of(c, rules, "[]");
}

static void keep_document(struct context *c, const yaml_node_t *n, struct pool *p)
{
    _cleanup_json_ json_t *v = NULL;
    osmo_error_t why = OSMO_ERROR_INIT;
    if (yaml_to_json(n, &v, &why) < 0)
        read_report(c->r, c->at, n, "%s", why.text);
    else
        p->document_json = text_of(c, v, "{}");
}

/* Takes name. */
static void read_pool(struct reader *r, const yaml_node_t *n, const struct read_path *at, struct pool *out, char *name,
                      const struct settings_parts *parts)
{
    struct raw_pool raw = { .pool = { .name = name, .gpu_guarantee = -1, .gpu_maximum = -1 } };
    struct context c = { r, parts, n, at };

    read_mapping(r, n, at, &pool_table, &raw);
    if (!raw.pool.description)
        raw.pool.description = str_dup("");
    r->oom |= !raw.pool.description;
    if (n->kind == YAML_MAP) {
        read_platforms(&c, &raw);
        merge_group_templates(&c, &raw);
        keep_document(&c, n, &raw.pool);
    }
    if (raw.pool.default_platform && !pool_platform(&raw.pool, raw.pool.default_platform)) {
        struct read_path member = { at, "default_platform", 0 };
        read_report(r, &member, n->kind == YAML_MAP ? yaml_get(n, "default_platform") : n,
                    "'%.80s' is not among the platforms of the pool", raw.pool.default_platform);
    }
    free(raw.variables);
    strlist_free(&raw.validations);
    strlist_free(&raw.templates);
    strlist_free(&raw.group_templates);
    *out = raw.pool;
}

void settings_read_pools(struct reader *r, const yaml_node_t *n, const struct read_path *at, struct settings *s,
                         const struct settings_parts *parts)
{
    if (n->kind != YAML_MAP) {
        read_report(r, at, n, "must be a mapping, not %s", yaml_kind_name(n));
        return;
    }
    s->pools = n->len ? calloc(n->len, sizeof(*s->pools)) : NULL;
    r->oom |= n->len && !s->pools;
    for (size_t i = 0; i < n->len && s->pools; i++) {
        char *name = read_key(r, n->keys[i], at);
        struct read_path member = { at, name, 0 };
        if (name)
            read_pool(r, n->values[i], &member, &s->pools[s->npools++], name, parts);
    }
}
