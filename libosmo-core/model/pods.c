/* A group of tasks becomes Kubernetes objects: the order, names and labels. The engine calls pods_build_group(); the
 * parts are in pods_secret.c, pods_pod.c, pods_vars.c and pods_topology.c. Pure. */
#include "model/pods.h"

#include <stdlib.h>
#include <string.h>
#include "base/cleanup.h"
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

/* ---- labels ---- */

/* Kubernetes takes 63 characters and no separator at the end. */
static void put_label(struct pod_build *b, json_t *labels, const char *key, const char *value)
{
    char text[64];
    size_t len = strnlen(value, 63);
    while (len > 0 && (value[len - 1] == '-' || value[len - 1] == '_'))
        len--;
    memcpy(text, value, len);
    text[len] = '\0';
    pods_put_text(b, labels, key, text);
}

/* ^[a-zA-Z0-9][A-Za-z0-9-_.]{0,61}[a-zA-Z0-9]$ */
static bool submitter_valid(const char *p, size_t len)
{
    static const char plain[] = "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789";
    if (len < 2 || len > 63 || !strchr(plain, p[0]) || !strchr(plain, p[len - 1]))
        return false;
    for (size_t i = 0; i < len; i++)
        if (!strchr(plain, p[i]) && !strchr("-_.", p[i]))
            return false;
    return true;
}

static void put_submitter(struct pod_build *b)
{
    const char *user = b->c->user ? b->c->user : "", *at = strchr(user, '@');
    size_t len = strlen(user);
    char text[64];

    if (!submitter_valid(user, len))
        len = at ? (size_t)(at - user) : 0;
    if (!submitter_valid(user, len))
        return;
    memcpy(text, user, len);
    text[len] = '\0';
    pods_put_text(b, b->labels, "osmo.submitted_by", text);
}

static void system_labels(struct pod_build *b)
{
    b->labels = pods_object(b);
    put_label(b, b->labels, "osmo.workflow_id", b->c->workflow_id);
    put_label(b, b->labels, "osmo.workflow_uuid", b->c->workflow_uuid);
    put_label(b, b->labels, "osmo.group_name", b->group->name);
    put_label(b, b->labels, "osmo.group_uuid", b->c->group_uuid);
    put_submitter(b);
}

static const char *priority_word(const struct pod_build *b)
{
    return str_eq(b->c->priority, "HIGH") ? "high" : str_eq(b->c->priority, "LOW") ? "low" : "normal";
}

static void queue_labels(struct pod_build *b, json_t *labels)
{
    pods_put_text(b, labels, "kai.scheduler/queue", b->queue);
    pods_put_text(b, labels, "runai/queue", b->queue);
}

/* What the workflow asked for lies below everything else. */
static void workflow_labels(struct pod_build *b, json_t *labels)
{
    const char *prefix = b->c->settings->pod_label_prefix;
    for (json_iter_t it = json_iter(b->c->workflow_labels); json_iter_next(&it);) {
        _cleanup_free_ char *key = str_printf("%s%s", prefix ? prefix : "", it.key);
        if (key && json_str(it.value))
            pods_put_text(b, labels, key, json_str(it.value));
        else
            b->oom |= !key;
    }
}

/* Labels nothing may override: the system's, the task's, the platform's, the scheduler's. */
static void final_labels(struct pod_build *b, const struct pod_task *t, json_t *labels)
{
    char retry[24];
    json_t *platform = NULL;

    b->oom |= pods_merge(labels, b->labels) < 0;
    put_label(b, labels, "osmo.task_name", t->spec.name);
    put_label(b, labels, "osmo.task_uuid", t->ids->uuid);
    snprintf(retry, sizeof(retry), "%lld", (long long)t->ids->retry_id);
    pods_put_text(b, labels, "osmo.retry_id", retry);
    if (t->spec.lead)
        pods_put_text(b, labels, "osmo.lead_container", "true");
    put_label(b, labels, "osmo.pool", b->c->pool->name);
    put_label(b, labels, "osmo.platform", t->platform ? t->platform->name : "");
    pods_put_text(b, labels, "osmo.priority", priority_word(b));
    if (t->platform && t->platform->labels_json)
        b->oom |= json_parse(t->platform->labels_json, strlen(t->platform->labels_json), &platform, NULL) < 0 ||
                  pods_merge(labels, platform) < 0;
    json_free(platform);
    queue_labels(b, labels);
    if (t->subgroup)
        pods_put_text(b, labels, "kai.scheduler/subgroup-name", t->subgroup);
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
    b->tasks = calloc(b->group->ntasks, sizeof(*b->tasks));
    b->oom |= !b->endpoint || !b->queue || !b->topology_name || !b->secrets || !b->subgroups || !b->ids || !b->tasks;
    for (size_t i = 0; i < b->c->ntasks && !b->oom; i++)
        b->oom |= map_set(b->ids, b->c->tasks[i].name, (void *)(uintptr_t)&b->c->tasks[i]) < 0;
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

static int replace_tokens(struct pod_build *b, const struct spec_task *in, struct spec_task *out)
{
    _cleanup_json_ json_t *plain = spec_task_to_json(in);
    _cleanup_json_ json_t *replaced = NULL;

    input_tokens(b, in, true);
    int rc = plain && !b->oom ? template_replace_tokens_json(plain, b->tokens, &replaced) : OSMO_ENOMEM;
    input_tokens(b, in, false);
    if (rc == 0)
        rc = spec_task_from_json(replaced, out, b->err);
    if (rc == 0)
        out->lead = in->lead;
    return rc;
}

static int prepare_task(struct pod_build *b, size_t i)
{
    const struct spec_task *in = &b->group->tasks[i];
    struct pod_task *t = &b->tasks[i];

    t->ids = map_get(b->ids, in->name);
    if (!t->ids)
        return osmo_error_set(b->err, OSMO_EINTERNAL, "no ids were given for task '%.80s'", in->name);
    if (in->credentials && json_len(in->credentials) > 0)
        return osmo_error_set(b->err, OSMO_ECREDENTIAL, "task '%.80s' names credentials, which this service does "
            "not hold yet: remove "
                              "credentials from the task", in->name);
    t->resource = spec_find_resource(b->spec, in->resource);
    t->platform = t->resource && t->resource->platform ? pool_platform(b->c->pool, t->resource->platform) : NULL;
    t->data_url = str_printf("%s/%s/%s", b->endpoint, b->c->workflow_id, in->name);
    b->oom |= !t->data_url;
    int rc = replace_tokens(b, in, &t->spec);
    return rc < 0 ? rc : pods_task_secrets(b, t);
}

static int add_group_templates(struct pod_build *b)
{
    const char *text = b->c->pool->group_templates_json;
    struct template_limits limits = TEMPLATE_LIMITS_DEFAULT;
    _cleanup_json_ json_t *list = NULL;
    _cleanup_json_ json_t *vars = pods_group_variables(b);
    int rc = text ? json_parse(text, strlen(text), &list, b->err) : 0;

    for (size_t i = 0; i < json_len(list) && rc == 0; i++) {
        json_t *v = NULL, *labels = pods_object(b);
        rc = template_render_json(json_at(list, i), vars, &limits, &v, b->err);
        if (rc < 0) {
            json_free(labels);
            break;
        }
        json_t *metadata = json_get(v, "metadata");
        json_del(metadata, "namespace");
        workflow_labels(b, labels);
        if (json_get(metadata, "labels"))
            b->oom |= pods_merge(labels, json_get(metadata, "labels")) < 0;
        b->oom |= pods_merge(labels, b->labels) < 0;
        pods_put(b, metadata, "labels", labels);
        pods_add(b, b->objects, v);
    }
    return rc;
}

static int add_podgroup(struct pod_build *b)
{
    json_t *v = pods_manifest(b, "scheduling.run.ai/v2alpha2", "PodGroup", b->c->group_uuid), *spec = pods_object(b);
    char priority[32];

    snprintf(priority, sizeof(priority), "osmo-%s", priority_word(b));
    queue_labels(b, json_path(v, "metadata", "labels", NULL));
    pods_put_text(b, spec, "queue", b->queue);
    pods_put_text(b, spec, "priorityClassName", priority);
    int rc = b->oom ? OSMO_ENOMEM : pods_topology(b, spec);
    pods_put(b, v, "spec", spec);
    pods_add(b, b->objects, v);
    return rc;
}

static int apply_template(struct pod_build *b, const struct pod_task *t, json_t *pod)
{
    const char *text = t->platform ? t->platform->pod_template_json : NULL;
    struct template_limits limits = TEMPLATE_LIMITS_DEFAULT;
    _cleanup_json_ json_t *template = NULL;
    _cleanup_json_ json_t *rendered = NULL;
    _cleanup_json_ json_t *vars = pods_task_variables(b, t);

    if (!text)
        return 0;
    int rc = json_parse(text, strlen(text), &template, b->err);
    if (rc == 0 && !b->oom)
        rc = template_render_json(template, vars, &limits, &rendered, b->err);
    if (rc < 0)
        osmo_error_prefix(b->err, "pod template of platform '%.80s'", t->platform->name);
    return rc < 0 ? rc : pods_merge(pod, rendered);
}

static int add_pod(struct pod_build *b, struct pod_task *t)
{
    json_t *pod = pods_object(b), *metadata = pods_object(b), *labels = pods_object(b);
    json_t *annotations = pods_object(b), *finalizers = pods_array(b);
    char name[40];

    pod_name(b->c->workflow_uuid, t->ids->uuid, name);
    workflow_labels(b, labels);
    final_labels(b, t, labels);
    pods_put_text(b, annotations, "pod-group-name", b->c->group_uuid);
    pods_add_text(b, finalizers, "osmo.nvidia.com/cleanup");
    pods_put_text(b, metadata, "name", name);
    pods_put(b, metadata, "labels", labels);
    pods_put(b, metadata, "annotations", annotations);
    pods_put(b, metadata, "finalizers", finalizers);
    pods_put_text(b, pod, "apiVersion", "v1");
    pods_put_text(b, pod, "kind", "Pod");
    pods_put(b, pod, "metadata", metadata);
    pods_put(b, pod, "spec", pods_pod(b, t));
    int rc = b->oom ? OSMO_ENOMEM : apply_template(b, t, pod);
    if (rc == 0 && json_kind(json_path(pod, "metadata", "labels", NULL)) == JSON_OBJECT)
        final_labels(b, t, json_path(pod, "metadata", "labels", NULL));
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
    int rc;

    b->objects = pods_array(b);
    group_names(b);
    rc = split_base_url(b);
    if (rc < 0)
        return rc;
    system_labels(b);
    group_tokens(b);
    rc = b->oom ? OSMO_ENOMEM : add_group_templates(b);
    for (size_t i = 0; i < b->group->ntasks && rc == 0; i++)
        rc = prepare_task(b, i);
    if (rc == 0) {
        pods_group_secrets(b);
        rc = add_podgroup(b);
    }
    for (size_t i = 0; i < b->group->ntasks && rc == 0; i++)
        rc = add_pod(b, &b->tasks[i]);
    if (rc == 0 && b->group->ntasks >= 2)
        add_service(b);
    return rc;
}

static void build_clear(struct pod_build *b)
{
    for (size_t i = 0; b->tasks && i < b->group->ntasks; i++) {
        struct pod_task *t = &b->tasks[i];
        spec_task_clear(&t->spec);
        strlist_free(&t->user_files);
        free(t->data_url);
        for (size_t k = 0; k < FILE_COUNT; k++)
            free(t->files[k]);
    }
    free(b->tasks);
    json_free(b->objects);
    json_free(b->labels);
    json_free(b->tokens);
    map_free(b->ids);
    map_free(b->secrets);
    map_free(b->subgroups);
    free(b->endpoint);
    free(b->queue);
    free(b->topology_name);
    free(b->host);
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

json_t *pods_cleanup_specs(const char *workflow_uuid, const char *group_uuid)
{
    static const struct { const char *api, *kind; } kinds[] = {
        { "v1", "Secret" }, { "v1", "Service" }, { "v1", "Pod" }, { "scheduling.run.ai/v2alpha2", "PodGroup" },
    };
    struct pod_build b = { 0 };
    json_t *list = pods_array(&b);

    for (size_t i = 0; i < ARRAY_SIZE(kinds); i++) {
        json_t *item = pods_object(&b), *labels = pods_object(&b), *api = pods_object(&b);
        pods_put_text(&b, labels, "osmo.workflow_uuid", workflow_uuid);
        pods_put_text(&b, labels, "osmo.group_uuid", group_uuid);
        pods_put_text(&b, api, "api_version", kinds[i].api);
        pods_put_text(&b, api, "kind", kinds[i].kind);
        pods_put(&b, item, "labels", labels);
        pods_put(&b, item, "generic_api", api);
        pods_add(&b, list, item);
    }
    if (!b.oom)
        return list;
    json_free(list);
    return NULL;
}
