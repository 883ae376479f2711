/* Fuzz entry: variables as one line of JSON, then a template. Rendered within small limits, as text, as a tree of pod
 * template strings, and through the token replacement. Nothing may crash, leak or outlast its limits. */
#include <stdint.h>
#include <stdlib.h>
#include <string.h>

#include "model/template.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size);

static void render(const char *text, size_t len, const json_t *variables) {
    static const struct template_limits limits = {
        .max_steps = 20000, .max_depth = 30, .max_output = 1u << 16, .max_values = 20000
    };
    osmo_error_t err = OSMO_ERROR_INIT;
    buf_t out = BUF_INIT(1u << 20);
    json_t *tree = NULL, *in = json_array();
    template_t *t = NULL;
    if (template_compile(text, len, &t, &err) >= 0 && template_render(t, variables, &limits, &out, &err) >= 0 &&
        out.len > limits.max_output)
        abort();
    template_free(t);
    buf_free(&out);
    if (json_add(in, json_string_n(text, len)) >= 0)
        template_render_json(in, variables, &limits, &tree, &err);
    json_free(tree);
    json_free(in);
    template_replace_tokens(text, len, variables, &out);
    buf_free(&out);
}

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    const char *text = (const char *)data, *newline = memchr(text, '\n', size), *body = newline ? newline + 1 : text;
    json_t *variables = NULL;
    if (!newline || json_parse(text, (size_t)(newline - text), &variables, NULL) < 0 ||
        json_kind(variables) != JSON_OBJECT) {
        json_free(variables);
        variables = json_object();
    }
    if (variables)
        render(body, size - (size_t)(body - text), variables);
    json_free(variables);
    return 0;
}
