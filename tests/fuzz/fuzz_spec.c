/* Fuzz entry: any bytes as a workflow document. Nothing may crash, leak or hang, and what parses must have a normalised form
 * whose groups read back. Build with -fsanitize=fuzzer, or call it from a driver that feeds files. */
#include <stddef.h>
#include <stdint.h>
#include "model/spec.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size)
{
    static struct settings *settings;
    yaml_limits_t limits = { .max_bytes = 1u << 20, .max_depth = 40, .max_nodes = 100000 };
    osmo_error_t err = OSMO_ERROR_INIT;
    yaml_node_t *doc = NULL;
    struct spec *s = NULL;

    if (!settings && settings_default(&settings, &err) < 0)
        __builtin_trap();
    if (yaml_parse((const char *)data, size, &limits, &doc, &err) < 0)
        return 0;
    const yaml_node_t *workflow = doc->kind == YAML_MAP ? yaml_get(doc, "workflow") : NULL;
    if (spec_parse(workflow ? workflow : doc, settings, &s, &err) == 0) {
        json_t *v = spec_to_json(s);
        for (size_t i = 0; i < s->ngroups && i < 100; i++) {
            json_t *group = spec_group_to_json(s, i);
            struct spec *back = NULL;
            if (spec_group_from_json(group, &back, &err) < 0)
                __builtin_trap();
            spec_free(back);
            json_free(group);
        }
        spec_resolve(s, settings, settings_pool(settings, "default"), &err);
        json_free(v);
    }
    spec_free(s);
    yaml_free(doc);
    return 0;
}
