/* Fuzz entry: any bytes as a configuration file. What loads has pools whose trees are JSON. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/json.h"
#include "model/settings.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must_be_json(const char *text) {
    json_t *v = NULL;
    if (text && json_parse(text, strlen(text), &v, NULL) < 0)
        abort();
    json_free(v);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    osmo_error_t err = OSMO_ERROR_INIT;
    struct settings *s = NULL;
    if (settings_parse((const char *)data, size, "input", &s, &err) < 0) {
        if (!err.text[0] || s)
            abort();
        return 0;
    }
    for (size_t i = 0; i < s->npools; i++) {
        const struct pool *p = &s->pools[i];
        must_be_json(p->default_exit_actions_json);
        must_be_json(p->resources_json);
        must_be_json(p->topology_keys_json);
        must_be_json(p->group_templates_json);
        for (size_t k = 0; k < p->nplatforms; k++) {
            must_be_json(p->platforms[k].pod_template_json);
            must_be_json(p->platforms[k].variables_json);
            must_be_json(p->platforms[k].validations_json);
        }
    }
    settings_free(s);
    return 0;
}
