/* A group of tasks becomes Kubernetes objects: their order and names. The engine calls pods_build_group(); the parts are
 * in pods_credential.c, pods_labels.c, pods_pod.c, pods_secret.c, pods_template.c, pods_topology.c and pods_vars.c.
 * Pure. */
#include "model/pods.h"

#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
#include "base/crypto.h"
#include "model/pods_internal.h"
#include "model/template.h"

/* ---- construction ---- */

json_t *pods_object(struct pod_build *b)
{
    json_t *v = json_object();
    b->oom |= !v;
    return v;
}

json_t *pods_array(struct pod_build *b)
{
    json_t *v = json_array();
    b->oom |= !v;
    return v;
}

void pods_put(struct pod_build *b, json_t *object, const char *key, json_t *v)
{
    if (object && v) {
        b->oom |= json_set(object, key, v) < 0;
        return;
    }
    json_free(v);
    b->oom = true;
}

void pods_put_text(struct pod_build *b, json_t *object, const char *key, const char *text)
{
    pods_put(b, object, key, text ? json_string(text) : NULL);
}

void pods_add(struct pod_build *b, json_t *array, json_t *v)
{
    if (array && v) {
        b->oom |= json_add(array, v) < 0;
        return;
    }
    json_free(v);
    b->oom = true;
}

void pods_add_text(struct pod_build *b, json_t *array, const char *text)
{
    pods_add(b, array, text ? json_string(text) : NULL);
}

json_t *pods_manifest(struct pod_build *b, const char *api, const char *kind, const char *name)
{
    json_t *v = pods_object(b), *metadata = pods_object(b);
    pods_put_text(b, metadata, "name", name);
    pods_put(b, metadata, "labels", json_copy(b->labels));
    pods_put_text(b, v, "apiVersion", api);
    pods_put_text(b, v, "kind", kind);
    pods_put(b, v, "metadata", metadata);
    return v;
}

void pod_name(const char *workflow_uuid, const char *task_uuid, char out[40])
{
    snprintf(out, 40, "%.16s-%.16s", workflow_uuid, task_uuid);
}

const char *pods_base_name(const char *path)
{
    const char *slash = strrchr(path, '/');
    return slash ? slash + 1 : path;
}

/* ---- the group ---- */

/* http(s)://host[:port]; IPv6 addresses stand in brackets. */
static int split_base_url(struct pod_build *b)
{
    const char *url = b->c->service_base_url ? b->c->service_base_url : "", *p = strstr(url, "://");
    size_t len;
    int64_t port = 0;

    b->tls = str_starts(url, "https://");
    if (!p || (!b->tls && !str_starts(url, "http://")))
        return osmo_error_set(b->err, OSMO_EINVAL, "the service's base URL '%.200s' must begin with http:// or "
            "https://", url);
    p += 3;
    len = *p == '[' ? strcspn(p, "]") + 1 : strcspn(p, ":/");
    b->host = *p == '[' ? strndup(p + 1, len > 2 ? len - 2 : 0) : strndup(p, len);
    b->port = b->tls ? 443 : 80;
    if (strlen(p) > len && p[len] == ':') {
        char digits[8] = "";
        snprintf(digits, sizeof(digits), "%.*s", (int)strspn(p + len + 1, "0123456789"), p + len + 1);
        if (!str_to_i64(digits, &port) || port < 1 || port > 65535)
            return osmo_error_set(b->err, OSMO_EINVAL, "the service's base URL '%.200s' has no valid port", url);
        b->port = (int)port;
    }
    b->oom |= !b->host;
    return 0;
}

static void free_platform(void *platform)
{
    struct pod_platform *p = platform;
    if (!p)
        return;
    pod_template_free(p->template);
    json_free(p->variables);
    json_free(p->labels);
    free(p);
}

static void group_names(struct pod_build *b)
{
    size_t len = strlen(b->c->data_endpoint);
    while (len > 0 && b->c->data_endpoint[len - 1] == '/')
        len--;
    b->endpoint = strndup(b->c->data_endpoint, len);
    b->queue = str_printf("osmo-pool-%s-%s", b->c->backend_namespace, b->c->pool->name);
    b->topology_name = str_printf("osmo-pool-%s-%s-topology", b->c->backend_namespace, b->c->pool->name);
    b->secrets = map_new(NULL);
    b->subgroups = map_new(free);
    b->ids = map_new(NULL);
    b->resources = map_new(NULL);
    b->platforms = map_new(free_platform);
    b->tasks = calloc(b->group->ntasks, sizeof(*b->tasks));
    b->oom |= !b->endpoint || !b->queue || !b->topology_name || !b->secrets || !b->subgroups || !b->ids || !b->tasks ||
              !b->resources || !b->platforms;
    for (size_t i = 0; i < b->c->ntasks && !b->oom; i++)
        b->oom |= map_set(b->ids, b->c->tasks[i].name, (void *)(uintptr_t)&b->c->tasks[i]) < 0;
    for (size_t i = 0; i < b->spec->nresources && !b->oom; i++)
        b->oom |= map_set(b->resources, b->spec->resources[i].name, &b->spec->resources[i]) < 0;
}

/* Tokens every task of the group shares. */
static void group_tokens(struct pod_build *b)
{
    b->tokens = pods_object(b);
    pods_put_text(b, b->tokens, "workflow_id", b->c->workflow_id);
    pods_put_text(b, b->tokens, "output", "/osmo/data/output");
    for (size_t i = 0; i < b->c->ntasks; i++) {
        _cleanup_free_ char *key = str_printf("host:%s", b->c->tasks[i].name);
        _cleanup_free_ char *host = str_printf("%s.osmo-%s.%s.svc.cluster.local", b->c->tasks[i].uuid, b->c->group_uuid,
                                               b->c->backend_namespace);
        if (key)
            pods_put_text(b, b->tokens, key, host);
        else
            b->oom = true;
    }
}

/* Sets or removes the tokens of one task's inputs. */
static void input_tokens(struct pod_build *b, const struct spec_task *t, bool set)
{
    for (size_t i = 0; i < t->ninputs; i++) {
        char key[48], dir[64];
        _cleanup_free_ char *named = t->inputs[i].task ? str_printf("input:%s", t->inputs[i].task) : NULL;
        snprintf(key, sizeof(key), "input:%zu", i);
        snprintf(dir, sizeof(dir), "/osmo/data/input/%zu", i);
        if (set) {
            pods_put_text(b, b->tokens, key, dir);
            if (named)
                pods_put_text(b, b->tokens, named, dir);
        } else {
            json_del(b->tokens, key);
            if (named)
                json_del(b->tokens, named);
        }
    }
}

/* A tree without "{{" in any of its strings and keys has no token either. */
static bool has_token(const json_t *v)
{
    if (json_kind(v) == JSON_STRING) {
        size_t len;
        const char *s = json_bytes(v, &len);
        return memmem(s, len, "{{", 2) != NULL;
    }
    if (json_kind(v) == JSON_OBJECT) {
        for (json_iter_t it = json_iter(v); json_iter_next(&it);)
            if (strstr(it.key, "{{") || has_token(it.value))
                return true;
        return false;
    }
    for (size_t i = 0; i < json_len(v); i++)
        if (has_token(json_at(v, i)))
            return true;
    return false;
}

static int replace_tokens(struct pod_build *b, const struct spec_task *in, struct pod_task *t)
{
    _cleanup_json_ json_t *plain = spec_task_to_json(in);
    _cleanup_json_ json_t *replaced = NULL;

    if (!plain)
        return OSMO_ENOMEM;
    if (!has_token(plain)) {
        t->spec = *in;
        t->spec_borrowed = true;
        return 0;
    }
    input_tokens(b, in, true);
    int rc = b->oom ? OSMO_ENOMEM : template_replace_tokens_json(plain, b->tokens, &replaced);
    input_tokens(b, in, false);
    if (rc == 0)
        rc = spec_task_from_json(replaced, &t->spec, b->err);
    if (rc == 0)
        t->spec.lead = in->lead;
    return rc;
}

/* The platform with its template compiled, made for the first task on it. */
static int shared_platform(struct pod_build *b, const struct platform *p, const struct pod_platform **out)
{
    struct pod_platform *s = map_get(b->platforms, p->name);
    _cleanup_json_ json_t *template = NULL;
    int rc = 0;

    *out = s;
    if (s)
        return 0;
    s = calloc(1, sizeof(*s));
    if (!s || map_set(b->platforms, p->name, s) < 0)
        return OSMO_ENOMEM;
    s->platform = p;
    if (p->pod_template_json)
        rc = json_parse(p->pod_template_json, strlen(p->pod_template_json), &template, b->err);
    if (rc == 0 && json_len(template) > 0)
        rc = pod_template_compile(template, &s->template, b->err);
    if (rc < 0) {
        osmo_error_prefix(b->err, "pod template of platform '%.80s'", p->name);
        return rc;
    }
    if (p->variables_json)
        rc = json_parse(p->variables_json, strlen(p->variables_json), &s->variables, b->err);
    else
        b->oom |= !(s->variables = json_object());
    if (rc == 0 && p->labels_json)
        rc = json_parse(p->labels_json, strlen(p->labels_json), &s->labels, b->err);
    *out = s;
    return rc;
}

/* The pool may have changed since the task was accepted. */
static int check_allowed(struct pod_build *b, const struct pod_task *t)
{
    const struct platform *p = t->platform;
    if (t->spec.privileged && !p->privileged_allowed)
        return osmo_error_set(b->err, OSMO_ERESOURCE, "task '%.80s': platform '%.80s' does not allow privileged "
            "containers", t->spec.name, p->name);
    if (t->spec.host_network && !p->host_network_allowed)
        return osmo_error_set(b->err, OSMO_ERESOURCE, "task '%.80s': platform '%.80s' does not allow the host's "
            "network", t->spec.name, p->name);
    for (size_t i = 0; i < t->spec.volume_mounts.len; i++) {
        const char *mount = t->spec.volume_mounts.items[i];
        _cleanup_free_ char *src = strndup(mount, strcspn(mount, ":"));
        if (!src)
            return OSMO_ENOMEM;
        if (!strlist_has(&p->allowed_mounts, src))
            return osmo_error_set(b->err, OSMO_ERESOURCE, "task '%.80s': platform '%.80s' does not allow mounting "
                "'%.200s'", t->spec.name, p->name, src);
    }
    return 0;
}

static int place_task(struct pod_build *b, const struct spec_task *in, struct pod_task *t)
{
    const char *platform;

    t->ids = map_get(b->ids, in->name);
    if (!t->ids)
        return osmo_error_set(b->err, OSMO_EINTERNAL, "no ids were given for task '%.80s'", in->name);
    t->resource = map_get(b->resources, in->resource);
    platform = t->resource ? t->resource->platform : NULL;
    t->platform = platform ? pool_platform(b->c->pool, platform) : NULL;
    if (!t->platform)
        return osmo_error_set(b->err, OSMO_ERESOURCE, "task '%.80s': pool '%.80s' has no platform '%.80s'", in->name,
            b->c->pool->name, platform ? platform : "");
    return shared_platform(b, t->platform, &t->shared);
}

static int prepare_task(struct pod_build *b, size_t i)
{
    const struct spec_task *in = &b->group->tasks[i];
    struct pod_task *t = &b->tasks[i];
    int rc = place_task(b, in, t);

    if (rc < 0 || !pods_wanted(b, i))
        return rc;
    t->data_url = str_printf("%s/%s/%s", b->endpoint, b->c->workflow_id, in->name);
    b->oom |= !t->data_url;
    rc = b->oom ? OSMO_ENOMEM : replace_tokens(b, in, t);
    if (rc == 0)
        rc = check_allowed(b, t);
    if (rc == 0)
        rc = pods_task_credentials(b, t);
    return rc < 0 ? rc : pods_task_secrets(b, t);
}

/* Labels of a rendered manifest: the workflow's, its own, the system's. */
static int label_manifest(struct pod_build *b, json_t *manifest)
{
    json_t *metadata = json_get(manifest, "metadata"), *own = json_get(metadata, "labels");
    if (!json_get_str(manifest, "apiVersion") || !json_get_str(manifest, "kind") || !json_get_str(metadata, "name"))
        return osmo_error_set(b->err, OSMO_EINVAL, "apiVersion, kind and metadata.name must be texts");
    if (own && json_kind(own) != JSON_OBJECT)
        return osmo_error_set(b->err, OSMO_EINVAL, "metadata.labels must be a mapping");
    json_t *labels = json_copy(b->workflow_labels);
    b->oom |= !labels || pods_merge(labels, own) < 0 || pods_merge(labels, b->labels) < 0;
    json_del(metadata, "namespace");
    pods_put(b, metadata, "labels", labels);
    return 0;
}

static int add_group_templates(struct pod_build *b)
{
    const char *text = b->c->pool->group_templates_json;
    _cleanup_json_ json_t *list = NULL;
    _cleanup_json_ json_t *vars = pods_group_variables(b);
    int rc = text ? json_parse(text, strlen(text), &list, b->err) : 0;

    for (size_t i = 0; i < json_len(list) && rc == 0; i++) {
        struct pod_template *t = NULL;
        json_t *v = NULL;
        rc = pod_template_compile(json_at(list, i), &t, b->err);
        if (rc == 0)
            rc = pod_template_render(t, vars, &v, b->err);
        pod_template_free(t);
        if (rc == 0)
            rc = label_manifest(b, v);
        if (rc < 0) {
            json_free(v);
            osmo_error_prefix(b->err, "group template %.60s of pool '%.80s'",
                json_get_str(json_at(list, i), "kind") ? json_get_str(json_at(list, i), "kind") : "", b->c->pool->name);
            break;
        }
        pods_add(b, b->objects, v);
    }
    return rc;
}

/* The tree is needed for the subgroup of a retried pod too. */
static int add_podgroup(struct pod_build *b, bool whole)
{
    json_t *v = pods_manifest(b, "scheduling.run.ai/v2alpha2", "PodGroup", b->c->group_uuid), *spec = pods_object(b);
    char priority[32];

    snprintf(priority, sizeof(priority), "osmo-%s", pods_priority(b));
    pods_queue_labels(b, json_path(v, "metadata", "labels", NULL));
    pods_put_text(b, spec, "queue", b->queue);
    pods_put_text(b, spec, "priorityClassName", priority);
    int rc = b->oom ? OSMO_ENOMEM : pods_topology(b, spec);
    pods_put(b, v, "spec", spec);
    if (whole)
        pods_add(b, b->objects, v);
    else
        json_free(v);
    return rc;
}

static int apply_template(struct pod_build *b, const struct pod_task *t, json_t *pod)
{
    static const char *const mappings[] = { "metadata", "spec" };
    _cleanup_json_ json_t *rendered = NULL;
    _cleanup_json_ json_t *vars = NULL;
    json_t *labels;

    if (!t->shared->template)
        return 0;
    vars = pods_task_variables(b, t);
    int rc = b->oom ? OSMO_ENOMEM : pod_template_render(t->shared->template, vars, &rendered, b->err);
    if (rc < 0) {
        osmo_error_prefix(b->err, "pod template of platform '%.80s'", t->platform->name);
        return rc;
    }
    rc = pods_merge(pod, rendered);
    for (size_t i = 0; i < ARRAY_SIZE(mappings) && rc == 0; i++)
        if (json_kind(json_get(pod, mappings[i])) != JSON_OBJECT)
            rc = osmo_error_set(b->err, OSMO_EINVAL, "pod template of platform '%.80s': %s must be a mapping",
                t->platform->name, mappings[i]);
    labels = json_path(pod, "metadata", "labels", NULL);
    if (rc == 0 && json_kind(labels) != JSON_OBJECT)
        rc = osmo_error_set(b->err, OSMO_EINVAL, "pod template of platform '%.80s': metadata.labels must be a mapping",
            t->platform->name);
    if (rc == 0)
        pods_final_labels(b, t, labels);
    return rc;
}

/* What the pod is found by and what the scheduler reads: no template may change it. */
static void put_identity(struct pod_build *b, const struct pod_task *t, json_t *pod)
{
    json_t *metadata = json_get(pod, "metadata"), *annotations = json_get(metadata, "annotations");
    char name[40];

    pod_name(b->c->workflow_uuid, t->ids->uuid, name);
    pods_put_text(b, pod, "apiVersion", "v1");
    pods_put_text(b, pod, "kind", "Pod");
    pods_put_text(b, metadata, "name", name);

    if (json_kind(annotations) != JSON_OBJECT) {
        annotations = pods_object(b);
        pods_put(b, metadata, "annotations", annotations);
    }
    pods_put_text(b, annotations, "pod-group-name", b->c->group_uuid);
    pods_put_text(b, json_get(pod, "spec"), "schedulerName",
                  b->c->scheduler_name ? b->c->scheduler_name : "kai-scheduler");
}

static int add_pod(struct pod_build *b, struct pod_task *t)
{
    json_t *pod = pods_object(b), *metadata = pods_object(b), *finalizers = pods_array(b);

    pods_add_text(b, finalizers, "osmo.nvidia.com/cleanup");
    pods_put(b, metadata, "labels", pods_pod_labels(b, t));
    pods_put(b, metadata, "annotations", pods_object(b));
    pods_put(b, metadata, "finalizers", finalizers);
    pods_put(b, pod, "metadata", metadata);
    pods_put(b, pod, "spec", pods_pod(b, t));
    int rc = b->oom ? OSMO_ENOMEM : apply_template(b, t, pod);
    if (rc == 0)
        put_identity(b, t, pod);
    pods_add(b, b->objects, pod);
    return rc;
}

static void add_service(struct pod_build *b)
{
    _cleanup_free_ char *name = str_printf("osmo-%s", b->c->group_uuid);
    json_t *v = pods_manifest(b, "v1", "Service", name ? name : ""), *spec = pods_object(b);
    b->oom |= !name;
    pods_put_text(b, spec, "clusterIP", "None");
    pods_put(b, spec, "selector", json_copy(b->labels));
    pods_put(b, v, "spec", spec);
    pods_add(b, b->objects, v);
}

static int build(struct pod_build *b)
{
    bool whole = !b->c->only_task;
    int rc;

    b->objects = pods_array(b);
    group_names(b);
    rc = split_base_url(b);
    if (rc < 0)
        return rc;
    if (!whole && !b->oom && !map_has(b->ids, b->c->only_task))
        return osmo_error_set(b->err, OSMO_EINTERNAL, "group '%.80s' has no task '%.80s'", b->group->name,
            b->c->only_task);
    pods_system_labels(b);
    group_tokens(b);
    rc = b->oom ? OSMO_ENOMEM : pods_credentials_prepare(b);
    if (rc == 0 && whole)
        rc = add_group_templates(b);
    for (size_t i = 0; i < b->group->ntasks && rc == 0; i++)
        rc = prepare_task(b, i);
    if (rc == 0 && whole)
        pods_group_secrets(b);
    if (rc == 0)
        rc = add_podgroup(b, whole);
    for (size_t i = 0; i < b->group->ntasks && rc == 0; i++)
        if (pods_wanted(b, i))
            rc = add_pod(b, &b->tasks[i]);
    if (rc == 0 && whole && b->group->ntasks >= 2)
        add_service(b);
    return rc;
}

static void build_clear(struct pod_build *b)
{
    for (size_t i = 0; b->tasks && i < b->group->ntasks; i++) {
        struct pod_task *t = &b->tasks[i];
        if (!t->spec_borrowed)
            spec_task_clear(&t->spec);
        for (size_t k = 0; k < t->nfiles; k++) {
            free(t->files[k].own_path);
            free(t->files[k].secret);
        }
        free(t->files);
        free(t->data_url);
        for (size_t k = 0; k < FILE_COUNT; k++)
            free(t->own[k]);
    }
    free(b->tasks);
    json_free_secret(b->objects); /* of a build that failed */
    json_free(b->labels);
    json_free(b->workflow_labels);
    json_free(b->tokens);
    json_free(b->user_secrets);
    map_t *maps[] = { b->ids, b->secrets, b->subgroups, b->platforms, b->resources, b->credentials };
    for (size_t i = 0; i < ARRAY_SIZE(maps); i++)
        map_free(maps[i]);
    char *configs[] = { b->user_config, b->service_config };
    for (size_t i = 0; i < ARRAY_SIZE(configs); i++)
        if (configs[i])
            crypto_wipe(configs[i], strlen(configs[i]));
    char *texts[] = { b->user_config, b->service_config, b->user_secret, b->service_secret, b->endpoint, b->queue,
        b->topology_name, b->host };
    for (size_t i = 0; i < ARRAY_SIZE(texts); i++)
        free(texts[i]);
}

int pods_build_group(const struct pod_context *c, const struct spec *group, json_t **objects, osmo_error_t *err)
{
    if (group->ngroups != 1)
        return osmo_error_set(err, OSMO_EINTERNAL, "pods are built for exactly one group, not %zu", group->ngroups);
    if (!c->data_endpoint || !*c->data_endpoint)
        return osmo_error_set(err, OSMO_EINVAL, "no storage for task data is configured: set "
            "workflow.workflow_data.credential.endpoint");
    struct pod_build b = { .c = c, .spec = group, .group = &group->groups[0], .err = err };
    int rc = build(&b);
    if (b.oom || rc == OSMO_ENOMEM)
        rc = osmo_error_set(err, OSMO_ENOMEM, "out of memory while building the objects of group '%.80s'",
            group->groups[0].name);
    if (rc == 0)
        *objects = STEAL(b.objects);
    build_clear(&b);
    return rc;
}

static void add_cleanup(struct pod_build *b, json_t *list, const char *labels[2], const char *api, const char *kind)
{
    json_t *item = pods_object(b), *selector = pods_object(b), *generic = pods_object(b);
    pods_put_text(b, selector, "osmo.workflow_uuid", labels[0]);
    pods_put_text(b, selector, "osmo.group_uuid", labels[1]);
    pods_put_text(b, generic, "api_version", api);
    pods_put_text(b, generic, "kind", kind);
    pods_put(b, item, "labels", selector);
    pods_put(b, item, "generic_api", generic);
    pods_add(b, list, item);
}

json_t *pods_cleanup_specs(const char *workflow_uuid, const char *group_uuid, const json_t *template_kinds)
{
    static const struct { const char *api, *kind; } kinds[] = {
        { "v1", "Secret" }, { "v1", "Service" }, { "v1", "Pod" }, { "scheduling.run.ai/v2alpha2", "PodGroup" },
    };
    const char *labels[2] = { workflow_uuid, group_uuid };
    struct pod_build b = { 0 };
    json_t *list = pods_array(&b);

    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++)
        add_cleanup(&b, list, labels, kinds[i].api, kinds[i].kind);
    for (size_t i = 0; i < json_len(template_kinds); i++)
        add_cleanup(&b, list, labels, json_get_str(json_at(template_kinds, i), "apiVersion"),
                    json_get_str(json_at(template_kinds, i), "kind"));
    if (!b.oom)
        return list;
    json_free(list);
    return NULL;
}

json_t *pods_template_kinds(const struct pool *pool)
{
    struct pod_build b = { 0 };
    const char *text = pool ? pool->group_templates_json : NULL;
    _cleanup_json_ json_t *templates = NULL;
    json_t *list = pods_array(&b);
    map_t *seen = map_new(NULL);

    b.oom |= !seen || (text && json_parse(text, strlen(text), &templates, NULL) < 0);
    for (size_t i = 0; i < json_len(templates) && !b.oom; i++) {
        const char *api = json_get_str(json_at(templates, i), "apiVersion");
        const char *kind = json_get_str(json_at(templates, i), "kind");
        _cleanup_free_ char *key = str_printf("%s %s", api ? api : "", kind ? kind : "");
        if (!api || !kind || (key && map_has(seen, key)))
            continue;
        json_t *item = pods_object(&b);
        b.oom |= !key || map_set(seen, key, NULL) < 0;
        pods_put_text(&b, item, "apiVersion", api);
        pods_put_text(&b, item, "kind", kind);
        pods_add(&b, list, item);
    }
    map_free(seen);
    if (!b.oom)
        return list;
    json_free(list);
    return NULL;
}
