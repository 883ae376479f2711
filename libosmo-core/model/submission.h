/* From the submitted text to the `workflow` YAML text: section split, variables, special tokens, template. Pure. */
#ifndef MODEL_SUBMISSION_H
#define MODEL_SUBMISSION_H
#include "base/buf.h"
#include "base/str.h"
#include "model/template.h"
#include "osmo/error.h"

struct sections { const char *workflow, *defaults; size_t workflow_len, defaults_len; int workflow_line, defaults_line; };
/* Column-0 `word:` lines split the text; unknown, repeated or missing sections are OSMO_EUSER. Borrowed pointers. */
int submission_split(const char *text, size_t len, struct sections *out, osmo_error_t *err);
/* The whole of it: split, default-values, set_variables, set_string_variables, token protection, render.
 * `out` receives the rendered workflow section ("workflow:\n  name: …"). OSMO_EUSER, OSMO_EUSAGE. */
int submission_render(const char *text, size_t len, const strlist_t *set_variables, const strlist_t *set_string_variables,
                      const struct template_limits *limits, buf_t *out, osmo_error_t *err);
#endif
