/* Fuzz entry: any bytes as a workflow document. Nothing may crash, leak or hang; what parses must have a normalised
 * form whose groups read back. */
#include <stdint.h>
#include <stdlib.h>

#include "base/cleanup.h"
#include "model/spec.h"

#define MAX_GROUPS 20

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void use_groups(const struct spec *s) {
    for (size_t i = 0; i < s->ngroups && i < MAX_GROUPS; i++) {
        osmo_error_t err = OSMO_ERROR_INIT;
        _cleanup_json_ json_t *group = spec_group_to_json(s, i);
        _cleanup_(spec_freep) struct spec *back = NULL;
        if (spec_group_from_json(group, &back, &err) < 0)
            abort();
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
    spec_resolve(s, settings, settings_pool(settings, "default"), &err);
    use_groups(s);
    return 0;
}
