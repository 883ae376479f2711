/* The template engine: our own Jinja, compiled form and append buffer. One engine for workflow specs and for pod
 * templates. Pure; bounded by steps, depth and output bytes, so nothing can hang or fill the service. */
#ifndef MODEL_TEMPLATE_H
#define MODEL_TEMPLATE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include "base/buf.h"
#include "base/json.h"
#include "osmo/error.h"

struct template_limits {
    uint64_t max_steps;
    int max_depth; /* of values, macros and recursive loops */
    size_t max_output, max_values;
    bool (*expired)(void *arg); /* asked every few thousand steps: true ends the rendering; may be NULL */
    void *expired_arg;
};
#define TEMPLATE_LIMITS_DEFAULT                                                                                        \
    { .max_steps = 20u * 1000 * 1000, .max_depth = 100, .max_output = 64u << 20, .max_values = 20u * 1000 * 1000 }

typedef struct template template_t;
/* Compile. OSMO_EUSAGE with "line L: reason". */
int template_compile(const char *text, size_t len, template_t **out, osmo_error_t *err);
void template_free(template_t *t);
/* Render with `variables` (a JSON object). Strict undefined. OSMO_EUSAGE / OSMO_ELIMIT with line. */
int template_render(const template_t *t, const json_t *variables, const struct template_limits *limits, buf_t *out,
                    osmo_error_t *err);
/* Compile and render in one go; text without any delimiter is copied. */
int template_render_text(const char *text, size_t len, const json_t *variables, const struct template_limits *limits,
                         buf_t *out, osmo_error_t *err);
/* Render every string value of a JSON tree as pod templates are rendered: map values and list items; a result that is
 * exactly ARRAY:[a,b] becomes a list of strings. */
int template_render_json(const json_t *in, const json_t *variables, const struct template_limits *limits, json_t **out,
                         osmo_error_t *err);
/* Replace {{workflow_id}}, {{output}}, {{input:I}}, {{input:TASK}}, {{host:TASK}} in `text` by `tokens` (object: token
 * text such as "input:0" → value); blanks inside the braces are allowed, unknown tokens stay. */
int template_replace_tokens(const char *text, size_t len, const json_t *tokens, buf_t *out);
/* The same over every string (keys too) of a tree; strings under the keys named in `skip` (NULL-terminated) are left
 * alone. */
int template_replace_tokens_json(const json_t *in, const json_t *tokens, json_t **out);
#endif
