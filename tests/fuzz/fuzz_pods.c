/* Fuzz entry: a configuration in ConfigMap form, a line `---`, and a workflow as a user submits it: the workflow is rendered, resolved
 * against the pools of the configuration, and its groups become Kubernetes objects. Every object has a kind and a name, and its JSON reads
 * back equal. Without that line the configuration is the built-in one. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "model/pods.h"
#include "model/submission.h"

#define MAX_GROUPS 20
#define MAX_TASKS 8
#define MAX_POOLS 8
static const char uuid[] = "0123456789abcdef0123456789abcdef";

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void check_object(const json_t *object) {
    const char *kind = json_get_str(object, "kind");
    _cleanup_free_ char *text = json_to_text(object);
    _cleanup_json_ json_t *back = NULL;
    if (!kind || !json_get_str(json_get(object, "metadata"), "name"))
        abort();
    if (text && (json_parse(text, strlen(text), &back, NULL) < 0 || !json_equal(object, back)))
        abort();
}

static const struct pod_pair login[] = { { "user", "u" }, { "pass", "p\n\"" } }, registry[] = { { "username", "r" }, { "auth", "a" } },
                             data[] = { { "access_key_id", "k" }, { "access_key", "s" }, { "endpoint", "s3://b" } };
static const struct pod_credential credentials[] = { { "api", POD_CREDENTIAL_GENERIC, NULL, login, 2 },
                                                     { "reg", POD_CREDENTIAL_REGISTRY, "nvcr.io", registry, 2 },
                                                     { "store", POD_CREDENTIAL_DATA, "s3://b", data, 3 } };

static void build(const struct settings *settings, const struct pool *pool, const struct spec *group) {
    struct pod_task_ids ids[MAX_TASKS];
    osmo_error_t err = OSMO_ERROR_INIT;
    _cleanup_json_ json_t *objects = NULL;
    size_t n = group->groups[0].ntasks;
    if (n > MAX_TASKS)
        return;
    for (size_t i = 0; i < n; i++)
        ids[i] = (struct pod_task_ids){ group->groups[0].tasks[i].name, uuid, (int64_t)i, "token", "" };
    struct pod_context c = { .workflow_id = "w-1",
                             .workflow_uuid = uuid,
                             .group_uuid = uuid,
                             .user = "u",
                             .priority = "NORMAL",
                             .tasks = ids,
                             .ntasks = n,
                             .settings = settings,
                             .pool = pool,
                             .backend_namespace = "ns",
                             .scheduler_name = "s",
                             .service_base_url = "http://127.0.0.1:1",
                             .data_endpoint = "http://127.0.0.1:1/api/storage",
                             .credentials = credentials,
                             .ncredentials = 3,
                             .image_credential = &credentials[1] };
    if (pods_build_group(&c, group, &objects, &err) >= 0)
        for (size_t i = 0; i < json_len(objects); i++)
            check_object(json_at(objects, i));
}

static void build_groups(const struct settings *settings, const struct pool *pool, const struct spec *s) {
    for (size_t i = 0; i < s->ngroups && i < MAX_GROUPS; i++) {
        osmo_error_t err = OSMO_ERROR_INIT;
        _cleanup_json_ json_t *group = spec_group_to_json(s, i);
        _cleanup_(spec_freep) struct spec *back = NULL;
        if (group && spec_group_from_json(group, &back, &err) < 0 && err.code != OSMO_ENOMEM)
            abort();
        if (back)
            build(settings, pool, back);
    }
}

static void submit(const struct settings *settings, const char *text, size_t len) {
    static const struct template_limits template_limits = {
        .max_steps = 20000, .max_depth = 30, .max_output = 1u << 16, .max_values = 1u << 20
    };
    const yaml_limits_t limits = { .max_bytes = 1u << 20, .max_depth = 40, .max_nodes = 100000 };
    osmo_error_t err = OSMO_ERROR_INIT;
    _cleanup_yaml_ yaml_node_t *doc = NULL;
    _cleanup_buf_ buf_t rendered = BUF_INIT(1u << 20);
    if (submission_render(text, len, NULL, NULL, &template_limits, &rendered, &err) < 0 ||
        yaml_parse(buf_cstr(&rendered), rendered.len, &limits, &doc, &err) < 0 || doc->kind != YAML_MAP || !yaml_get(doc, "workflow"))
        return;
    for (size_t i = 0; i < settings->npools && i < MAX_POOLS; i++) {
        _cleanup_(spec_freep) struct spec *s = NULL;
        if (spec_parse(yaml_get(doc, "workflow"), settings, &s, &err) >= 0 && spec_resolve(s, settings, &settings->pools[i], &err) >= 0)
            build_groups(settings, &settings->pools[i], s);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *input, size_t size) {
    static struct settings *built_in;
    osmo_error_t err = OSMO_ERROR_INIT;
    const char *text = (const char *)input, *cut = memmem(input, size, "\n---\n", 5);
    if (!built_in && settings_default(&built_in, &err) < 0)
        abort();
    if (!cut) {
        submit(built_in, text, size);
        return 0;
    }
    struct settings *own = NULL;
    size_t config = (size_t)(cut + 1 - text);
    if (settings_parse(text, config, "fuzz", &own, &err) >= 0)
        submit(own, text + config + 4, size - config - 4);
    settings_free(own);
    return 0;
}
