/* Fuzz entry: any bytes as a workflow document. Nothing may crash, leak or hang; what parses must have a normalised
 * form whose groups read back, and what fits the pool becomes Kubernetes objects. */
#include <stdint.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "model/pods.h"

#define MAX_GROUPS 20
#define MAX_TASKS 8

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void build_pods(const struct settings *settings, const struct spec *group) {
    static const char uuid[] = "0123456789abcdef0123456789abcdef";
    struct pod_task_ids ids[MAX_TASKS];
    osmo_error_t err = OSMO_ERROR_INIT;
    json_t *objects = NULL;
    size_t n = group->groups[0].ntasks;
    if (n > MAX_TASKS)
        return;
    for (size_t i = 0; i < n; i++)
        ids[i] = (struct pod_task_ids){ group->groups[0].tasks[i].name, uuid, 0, "token", "" };
    struct pod_context c = { .workflow_id = "w-1",
                             .workflow_uuid = uuid,
                             .group_uuid = uuid,
                             .user = "u",
                             .priority = "NORMAL",
                             .tasks = ids,
                             .ntasks = n,
                             .settings = settings,
                             .pool = settings_pool(settings, "default"),
                             .backend_namespace = "ns",
                             .scheduler_name = "s",
                             .service_base_url = "http://127.0.0.1:1",
                             .data_endpoint = "http://127.0.0.1:1/api/storage" };
    if (pods_build_group(&c, group, &objects, &err) >= 0)
        json_free(objects);
}

static void use_groups(const struct spec *s, const struct settings *settings, bool fits) {
    for (size_t i = 0; i < s->ngroups && i < MAX_GROUPS; i++) {
        osmo_error_t err = OSMO_ERROR_INIT;
        json_t *group = spec_group_to_json(s, i);
        struct spec *back = NULL;
        if (spec_group_from_json(group, &back, &err) < 0)
            abort();
        if (fits)
            build_pods(settings, back);
        spec_free(back);
        json_free(group);
    }
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    static struct settings *settings;
    yaml_limits_t limits = { .max_bytes = 1u << 20, .max_depth = 40, .max_nodes = 100000 };
    osmo_error_t err = OSMO_ERROR_INIT;
    _cleanup_yaml_ yaml_node_t *doc = NULL;
    _cleanup_(spec_freep) struct spec *s = NULL;

    if (!settings && settings_default(&settings, &err) < 0)
        abort();
    if (yaml_parse((const char *)data, size, &limits, &doc, &err) < 0)
        return 0;
    const yaml_node_t *workflow = doc->kind == YAML_MAP ? yaml_get(doc, "workflow") : NULL;
    if (spec_parse(workflow ? workflow : doc, settings, &s, &err) < 0)
        return 0;
    json_free(spec_to_json(s));
    use_groups(s, settings, spec_resolve(s, settings, settings_pool(settings, "default"), &err) == 0);
    return 0;
}
