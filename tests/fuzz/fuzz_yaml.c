/* Fuzz entry: any bytes as YAML. What parses becomes JSON, and the YAML that is written from it reads back equal. */
#include <math.h>
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/yaml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

/* Infinity and NaN have no JSON form and NaN equals nothing. */
static bool has_odd_number(const yaml_node_t *n, unsigned depth) {
    if (n->kind == YAML_FLOAT && !isfinite(n->number))
        return true;
    if (depth > 200)
        return true;
    for (size_t i = 0; i < n->len; i++)
        if (has_odd_number(n->values[i], depth + 1))
            return true;
    return false;
}

static void read_back(const json_t *v) {
    buf_t text = BUF_INIT(16u << 20);
    yaml_node_t *doc = NULL;
    json_t *back = NULL;
    if (yaml_emit(v, &text) >= 0) {
        if (yaml_parse(buf_cstr(&text), text.len, NULL, &doc, NULL) < 0 || yaml_to_json(doc, &back, NULL) < 0 ||
            !json_equal(v, back))
            abort();
    }
    json_free(back);
    yaml_free(doc);
    buf_free(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    yaml_limits_t limits = { .max_bytes = 1u << 20, .max_depth = 60, .max_nodes = 20000 };
    yaml_node_t *doc = NULL;
    json_t *v = NULL;
    if (yaml_parse((const char *)data, size, &limits, &doc, NULL) < 0)
        return 0;
    if (yaml_to_json(doc, &v, NULL) >= 0 && !has_odd_number(doc, 0))
        read_back(v);
    json_free(v);
    yaml_free(doc);
    return 0;
}
