/* From the submitted text to the `workflow` YAML text: section split, variables, special tokens, template. Pure. */
#ifndef MODEL_SUBMISSION_H
#define MODEL_SUBMISSION_H
#include "base/buf.h"
#include "base/str.h"
#include "model/template.h"
#include "osmo/error.h"

struct sections {
    const char *workflow, *defaults;
    size_t workflow_len, defaults_len;
    int workflow_line, defaults_line;
};
/* Column-0 `word:` lines split the text; unknown, repeated or missing sections are OSMO_EUSER. Borrowed pointers. */
int submission_split(const char *text, size_t len, struct sections *out, osmo_error_t *err);
/* Largest text that is looked at, and largest section it may render to. */
#define SUBMISSION_TEXT_MAX (64u << 20)
/* Where a submission failed: what is kept for the record and answered as its id depends on it. */
enum submission_stage {
    SUBMISSION_SECTIONS,  /* size, section split */
    SUBMISSION_DEFAULTS,  /* default-values is no YAML */
    SUBMISSION_VARIABLES, /* default-values is no mapping, an item without '=' */
    SUBMISSION_TEMPLATE   /* compiling or rendering */
};
/* The whole of it: split, default-values, set_variables, set_string_variables, token protection, render. `out`
 * receives the rendered workflow section ("workflow:\n  name: …"), behind as many empty lines as it stands lower in
 * the text, so that lines in messages are those of the user's file wherever the template adds and removes none.
 * OSMO_EUSER, OSMO_EUSAGE, OSMO_ELIMIT. On failure *stage (may be NULL) tells where. */
int submission_render_staged(const char *text, size_t len, const strlist_t *set_variables,
                             const strlist_t *set_string_variables, const struct template_limits *limits, buf_t *out,
                             enum submission_stage *stage, osmo_error_t *err);
int submission_render(const char *text, size_t len, const strlist_t *set_variables,
                      const strlist_t *set_string_variables,
                      const struct template_limits *limits, buf_t *out, osmo_error_t *err);
#endif
