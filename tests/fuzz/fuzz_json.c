/* Fuzz entry: any bytes as JSON. What parses prints and reads back equal, as JSON in both forms and as YAML. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "base/yaml.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void must_equal(const json_t *v, const json_t *back, int rc) {
    if (rc < 0 || !json_equal(v, back))
        abort();
}

static void through_json(const json_t *v, int indent) {
    buf_t text = BUF_INIT(16u << 20);
    json_t *back = NULL;
    if (json_print(v, indent, &text) < 0)
        abort();
    int rc = json_parse(buf_cstr(&text), text.len, &back, NULL);
    must_equal(v, back, rc);
    json_free(back);
    buf_free(&text);
}

static void through_yaml(const json_t *v) {
    buf_t text = BUF_INIT(16u << 20);
    yaml_node_t *doc = NULL;
    json_t *back = NULL;
    if (yaml_emit(v, &text) >= 0) {
        int rc = yaml_parse(buf_cstr(&text), text.len, NULL, &doc, NULL);
        if (rc >= 0)
            rc = yaml_to_json(doc, &back, NULL);
        must_equal(v, back, rc);
    }
    json_free(back);
    yaml_free(doc);
    buf_free(&text);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    json_t *v = NULL, *copy, *sorted = NULL;
    if (json_parse((const char *)data, size, &v, NULL) < 0)
        return 0;
    through_json(v, 0);
    through_json(v, 2);
    if (!memmem(data, size, "\\u0000", 6)) /* which YAML text is not allowed to hold */
        through_yaml(v);
    copy = json_copy(v);
    must_equal(v, copy, 0);
    int rc = json_sort_keys(v, &sorted);
    must_equal(v, sorted, rc);
    json_free(sorted);
    json_free(copy);
    json_free(v);
    return 0;
}
