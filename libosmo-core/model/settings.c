/* Configuration: the built-in defaults, and the file that replaces them section by section. Sections are read by
 * settings_sections.c (service, workflow), settings_backends.c (backends and their tests) and settings_pools.c. Pure. */
#include "model/settings.h"

#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/crypto.h"
#include "model/settings_internal.h"

/* What an installation without a file runs with, in the very form of the file. osmo-ctrl asks for little, so that a
 * small machine runs many tasks; a task gets what it asked for, as request and as limit. */
static const char builtin_parts[] =
    "pod_templates:\n"
    "  default_ctrl:\n"
    "    spec:\n"
    "      containers:\n"
    "      - name: osmo-ctrl\n"
    "        resources:\n"
    "          requests: {cpu: 50m, memory: 32Mi, ephemeral-storage: 64Mi}\n"
    "  default_user:\n"
    "    spec:\n"
    "      containers:\n"
    "      - name: '{{USER_CONTAINER_NAME}}'\n"
    "        resources:\n"
    "          limits: &user\n"
    "            cpu: '{{USER_CPU}}'\n"
    "            memory: '{{USER_MEMORY}}'\n"
    "            nvidia.com/gpu: '{{USER_GPU}}'\n"
    "            ephemeral-storage: '{{USER_STORAGE}}'\n"
    "          requests: *user\n"
    "resource_validations:\n"
    "  default_cpu:\n"
    "  - {operator: LE, left_operand: '{{USER_CPU}}', right_operand: '{{K8_CPU}}',\n"
    "     assert_message: 'cpu {{USER_CPU}} is more than the {{K8_CPU}} of the node'}\n"
    "  - {operator: GT, left_operand: '{{USER_CPU}}', right_operand: '0', assert_message: 'cpu must be more than 0'}\n"
    "  default_memory:\n"
    "  - {operator: LE, left_operand: '{{USER_MEMORY}}', right_operand: '{{K8_MEMORY}}',\n"
    "     assert_message: 'memory {{USER_MEMORY}} is more than the {{K8_MEMORY}} of the node'}\n"
    "  - {operator: GT, left_operand: '{{USER_MEMORY}}', right_operand: '0', assert_message: 'memory must be more "
        "than 0'}\n"
    "  default_storage:\n"
    "  - {operator: LT, left_operand: '{{USER_STORAGE}}', right_operand: '{{K8_STORAGE}}',\n"
    "     assert_message: 'storage {{USER_STORAGE}} is not less than the {{K8_STORAGE}} of the node'}\n"
    "  - {operator: GT, left_operand: '{{USER_STORAGE}}', right_operand: '0', assert_message: 'storage must be "
        "more than 0'}\n";

static const char builtin_pools[] =
    "backends:\n"
    "  default: {description: Built-in backend}\n"
    "pools:\n"
    "  default:\n"
    "    description: Built-in pool\n"
    "    backend: default\n"
    "    default_platform: default\n"
    "    common_default_variables: {USER_CPU: 1, USER_GPU: 0, USER_MEMORY: 1Gi, USER_STORAGE: 1Gi}\n"
    "    common_resource_validations: [default_cpu, default_memory, default_storage]\n"
    "    common_pod_template: [default_ctrl, default_user]\n"
    "    platforms:\n"
    "      default: {description: Built-in platform}\n";

static void free_logins(struct settings *s)
{
    char *texts[] = { s->data_login.access_key_id, s->data_login.access_key, s->data_login.region, s->data_login.override_url,
                      s->data_login.addressing_style, s->archive_login.access_key_id, s->archive_login.access_key, s->archive_login.region,
                      s->archive_login.override_url, s->archive_login.addressing_style, s->image_login.registry, s->image_login.username,
                      s->image_login.auth };
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        if (texts[i])
            crypto_wipe(texts[i], strlen(texts[i]));
        free(texts[i]);
    }
}

void settings_free(struct settings *s)
{
    if (!s)
        return;
    char *texts[] = { s->service_base_url, s->latest_client_version, s->min_client_version, s->issuer, s->audience,
                      s->init_image, s->client_image, s->data_endpoint, s->data_base_url, s->pod_label_prefix, s->archive_endpoint };
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
        free(texts[i]);
    free_logins(s);
    strlist_free(&s->ctrl_roles);
    strlist_free(&s->workflow_tags);
    strlist_free(&s->roles);
    strlist_free(&s->unchecked_registries);
    strlist_free(&s->unchecked_schemes);
    settings_labels_clear(s);
    settings_interactive_clear(s);
    settings_auth_clear(s);
    for (size_t i = 0; i < s->npools; i++)
        settings_pool_clear(&s->pools[i]);
    free(s->pools);
    settings_backends_clear(s);
    free(s);
}

const struct pool *settings_pool(const struct settings *s, const char *name)
{
    for (size_t i = 0; i < s->npools; i++)
        if (str_eq(s->pools[i].name, name))
            return &s->pools[i];
    return NULL;
}

const struct platform *pool_platform(const struct pool *p, const char *name)
{
    for (size_t i = 0; i < p->nplatforms; i++)
        if (str_eq(p->platforms[i].name, name))
            return &p->platforms[i];
    return NULL;
}

const struct backend_settings *settings_backend(const struct settings *s, const char *name)
{
    for (size_t i = 0; i < s->nbackends; i++)
        if (str_eq(s->backends[i].name, name))
            return &s->backends[i];
    return NULL;
}

const struct backend_test *settings_test(const struct settings *s, const char *name)
{
    for (size_t i = 0; i < s->ntests; i++)
        if (str_eq(s->tests[i].name, name))
            return &s->tests[i];
    return NULL;
}

struct offline_policy settings_offline(const struct settings *s, const char *backend)
{
    const struct backend_settings *b = settings_backend(s, backend);
    struct offline_policy p = s->offline;
    if (b && b->offline.action != OFFLINE_INHERIT)
        p.action = b->offline.action;
    if (b && b->offline.after_us)
        p.after_us = b->offline.after_us;
    return p;
}

int64_t settings_job_timeout(const struct settings *s, const char *backend)
{
    const struct backend_settings *b = settings_backend(s, backend);
    return b && b->job_timeout_us ? b->job_timeout_us : s->job_timeout_us;
}

/* ---- building ---- */

struct build {
    struct reader r;
    struct settings *s;
    struct settings_parts parts;
};

/* Named objects or lists of a section laid over what is known by those names. */
static void read_parts(struct reader *r, const yaml_node_t *doc, const char *section, enum yaml_kind kind,
    json_t *known)
{
    const yaml_node_t *n = yaml_get(doc, section);
    struct read_path at = { NULL, section, 0 };
    osmo_error_t why = OSMO_ERROR_INIT;

    if (!n || n->kind == YAML_NULL)
        return;
    if (n->kind != YAML_MAP) {
        read_report(r, &at, n, "must be a mapping, not %s", yaml_kind_name(n));
        return;
    }
    for (size_t i = 0; i < n->len; i++) {
        _cleanup_free_ char *name = read_key(r, n->keys[i], &at);
        struct read_path member = { &at, name, 0 };
        json_t *v = NULL;
        int rc = 0;
        if (!name)
            continue;
        if (n->values[i]->kind != kind)
            read_report(r, &member, n->values[i], "must be a %s, not %s", kind == YAML_MAP ? "mapping" : "list",
                        yaml_kind_name(n->values[i]));
        else if ((rc = yaml_to_json(n->values[i], &v, &why)) < 0)
            read_report(r, &member, n->values[i], "%s", why.text);
        else
            rc = json_set(known, name, v);
        r->oom |= rc == OSMO_ENOMEM;
    }
}

static void check_group_templates(struct reader *r, const yaml_node_t *doc, const json_t *templates)
{
    const yaml_node_t *section = yaml_get(doc, "group_templates");
    struct read_path at = { NULL, "group_templates", 0 };

    for (json_iter_t it = json_iter(templates); section && json_iter_next(&it);) {
        struct read_path member = { &at, it.key, 0 };
        const json_t *metadata = json_get(it.value, "metadata");
        if (!json_get_str(it.value, "apiVersion") || !json_get_str(it.value, "kind") || !json_get_str(metadata, "name"))
            read_report(r, &member, yaml_get(section, it.key), "needs apiVersion, kind and metadata.name");
        else if (json_has(metadata, "namespace"))
            read_report(r, &member, yaml_get(section, it.key), "must not set metadata.namespace: the backend "
                "decides it");
    }
}

/* One rule of a resource validation has exactly these keys, all text. */
static void check_validations(struct reader *r, const yaml_node_t *doc, const json_t *validations)
{
    static const char *const keys[] = { "operator", "left_operand", "right_operand", "assert_message" };
    static const char *const operators[] = { "GT", "GE", "LT", "LE", "EQ" };
    const yaml_node_t *section = yaml_get(doc, "resource_validations");
    struct read_path at = { NULL, "resource_validations", 0 };

    for (json_iter_t it = json_iter(validations); section && json_iter_next(&it);) {
        struct read_path list = { &at, it.key, 0 };
        for (size_t i = 0; i < json_len(it.value); i++) {
            struct read_path item = { &list, NULL, i };
            const json_t *rule = json_at(it.value, i);
            bool good = json_len(rule) == ARRAY_SIZE(keys), known = false;
            for (size_t k = 0; k < ARRAY_SIZE(keys); k++)
                good = good && json_get_str(rule, keys[k]);
            for (size_t k = 0; k < ARRAY_SIZE(operators) && good; k++)
                known |= str_eq(json_get_str(rule, "operator"), operators[k]);
            if (!good)
                read_report(r, &item, yaml_get(section, it.key), "must have exactly operator, left_operand, "
                    "right_operand and "
                            "assert_message, all text");
            else if (!known)
                read_report(r, &item, yaml_get(section, it.key), "operator must be GT, GE, LT, LE or EQ");
        }
    }
}

static void read_document(struct build *b, const yaml_node_t *doc)
{
    static const struct { const char *key; read_fn fn; } sections[] = {
        { "service", settings_read_service }, { "workflow", settings_read_workflow },
    };

    for (size_t i = 0; i < ARRAY_SIZE(sections); i++) {
        const yaml_node_t *n = yaml_get(doc, sections[i].key);
        struct read_path at = { NULL, sections[i].key, 0 };
        if (n && n->kind != YAML_NULL)
            sections[i].fn(&b->r, n, &at, b->s);
    }
    read_parts(&b->r, doc, "pod_templates", YAML_MAP, b->parts.pod_templates);
    read_parts(&b->r, doc, "group_templates", YAML_MAP, b->parts.group_templates);
    read_parts(&b->r, doc, "resource_validations", YAML_LIST, b->parts.validations);
    check_group_templates(&b->r, doc, b->parts.group_templates);
    check_validations(&b->r, doc, b->parts.validations);
}

/* Pools and backends of a document; false when it has no such section. */
static bool read_pools(struct build *b, const yaml_node_t *doc)
{
    const yaml_node_t *n = yaml_get(doc, "pools");
    struct read_path at = { NULL, "pools", 0 };
    if (!n || n->kind == YAML_NULL)
        return false;
    settings_read_pools(&b->r, n, &at, b->s, &b->parts);
    return true;
}

static bool read_backends(struct build *b, const yaml_node_t *doc)
{
    const yaml_node_t *n = yaml_get(doc, "backends");
    struct read_path at = { NULL, "backends", 0 };
    if (!n || n->kind == YAML_NULL)
        return false;
    settings_read_backends(&b->r, n, &at, b->s);
    return true;
}

static void read_roles(struct build *b, const yaml_node_t *doc)
{
    const yaml_node_t *n = yaml_get(doc, "roles");
    struct read_path at = { NULL, "roles", 0 };
    if (n && n->kind != YAML_NULL)
        settings_read_roles(&b->r, n, &at, b->s);
}

static void read_tests(struct build *b, const yaml_node_t *doc)
{
    const yaml_node_t *n = yaml_get(doc, "backend_tests");
    struct read_path at = { NULL, "backend_tests", 0 };
    if (n && n->kind != YAML_NULL)
        settings_read_tests(&b->r, n, &at, b->s, &b->parts);
}

static int build_settings(const yaml_node_t *file, struct build *b, osmo_error_t *err)
{
    _cleanup_yaml_ yaml_node_t *parts = NULL;
    _cleanup_yaml_ yaml_node_t *pools = NULL;
    yaml_limits_t limits = YAML_LIMITS_DEFAULT;
    int rc = yaml_parse(builtin_parts, sizeof(builtin_parts) - 1, &limits, &parts, err);

    if (rc == 0)
        rc = yaml_parse(builtin_pools, sizeof(builtin_pools) - 1, &limits, &pools, err);
    if (rc < 0)
        return rc;
    read_document(b, parts);
    if (file && file->kind != YAML_NULL) {
        read_document(b, file);
        read_tests(b, file);
        read_roles(b, file);
    }
    if (!file || file->kind != YAML_MAP || !read_backends(b, file))
        read_backends(b, pools);
    if (!file || file->kind != YAML_MAP || !read_pools(b, file))
        read_pools(b, pools);
    return 0;
}

static int settings_build(const yaml_node_t *file, const char *what, bool from_file, struct settings **out,
    osmo_error_t *err)
{
    struct build b = { .s = settings_new(), .parts = { json_object(), json_object(), json_object() } };
    int rc = 0;

    reader_init(&b.r, OSMO_EUSAGE);
    if (!b.s || !b.parts.pod_templates || !b.parts.group_templates || !b.parts.validations)
        rc = osmo_error_set(err, OSMO_ENOMEM, "out of memory while reading %s", what);
    if (rc == 0)
        rc = build_settings(file, &b, err);
    if (rc == 0)
        rc = reader_result(&b.r, what, err);
    reader_clear(&b.r);
    json_free(b.parts.pod_templates);
    json_free(b.parts.group_templates);
    json_free(b.parts.validations);
    if (rc < 0) {
        settings_free(b.s);
        return rc;
    }
    b.s->from_file = from_file;
    *out = b.s;
    return 0;
}

int settings_default(struct settings **out, osmo_error_t *err)
{
    return settings_build(NULL, "the built-in configuration", false, out, err);
}

int settings_parse(const char *yaml, size_t len, const char *source_name, struct settings **out, osmo_error_t *err)
{
    _cleanup_yaml_ yaml_node_t *doc = NULL;
    yaml_limits_t limits = YAML_LIMITS_DEFAULT;
    char what[220];

    snprintf(what, sizeof(what), "configuration %.200s", source_name ? source_name : "text");
    int rc = yaml_parse(yaml, len, &limits, &doc, err);
    if (rc < 0) {
        osmo_error_prefix(err, "%s", what);
        return rc;
    }
    if (doc->kind != YAML_MAP && doc->kind != YAML_NULL)
        return osmo_error_set(err, OSMO_EUSAGE, "%s must be a mapping with keys such as service, workflow and "
            "pools, not %s", what,
                              yaml_kind_name(doc));
    return settings_build(doc, what, true, out, err);
}

int settings_from_json(const json_t *document, const char *source_name, struct settings **out, osmo_error_t *err)
{
    yaml_node_t *doc __attribute__((cleanup(yaml_from_json_freep))) = NULL;
    if (json_kind(document) != JSON_OBJECT)
        return osmo_error_set(err, OSMO_EUSAGE, "%s must be an object", source_name);
    if (yaml_from_json(document, &doc) < 0)
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory while reading %s", source_name);
    return settings_build(doc, source_name, false, out, err);
}

int settings_builtin(const char *section, json_t **out, osmo_error_t *err)
{
    static const struct { const char *text; size_t len; } texts[] = { { builtin_parts, sizeof(builtin_parts) - 1 },
                                                                      { builtin_pools, sizeof(builtin_pools) - 1 } };
    yaml_limits_t limits = YAML_LIMITS_DEFAULT;
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++) {
        _cleanup_yaml_ yaml_node_t *doc = NULL;
        int rc = yaml_parse(texts[i].text, texts[i].len, &limits, &doc, err);
        const yaml_node_t *n = rc < 0 ? NULL : yaml_get(doc, section);
        if (rc < 0 || n)
            return rc < 0 ? rc : yaml_to_json(n, out, err);
    }
    *out = json_object();
    return *out ? 0 : osmo_error_set(err, OSMO_ENOMEM, "out of memory");
}
