/**
 * @file osmo/spec.h
 * @brief Workflow specifications without a service: parse, list the tasks, write the normalised form.
 *
 * The text is what a user submits: sections, template variables and all. Pure computation: nothing is read or written, and
 * different specifications may be used from different threads.
 */
#ifndef OSMO_SPEC_H
#define OSMO_SPEC_H
#include <stddef.h>
#include <osmo/error.h>
#ifdef __cplusplus
extern "C" {
#endif

/** A parsed workflow specification. Immutable. */
typedef struct osmo_spec osmo_spec_t;

/**
 * Render and parse a workflow.
 * @param text the YAML text, UTF-8
 * @param len its length in bytes
 * @param set NULL, or "name=value" template variables ending with NULL (as `--set`)
 * @param[out] out the specification; untouched on failure. Free with osmo_spec_free()
 * @param err every finding with its path, line and column (of the rendered workflow section)
 * @return 0, ::OSMO_EUSAGE, ::OSMO_EUSER, ::OSMO_ERESOURCE, ::OSMO_ESUBMISSION, ::OSMO_ELIMIT or ::OSMO_ENOMEM
 */
OSMO_API int osmo_spec_parse(const char *text, size_t len, const char *const *set, osmo_spec_t **out, osmo_error_t *err);
/** Free a specification. NULL is fine. */
OSMO_API void osmo_spec_free(osmo_spec_t *spec);
/** Name of the workflow. Borrowed. */
OSMO_API const char *osmo_spec_get_name(const osmo_spec_t *spec);
/** Number of tasks over all groups. */
OSMO_API size_t osmo_spec_get_task_count(const osmo_spec_t *spec);
/** Name of task @p index in document order, or NULL past the end. Borrowed. */
OSMO_API const char *osmo_spec_get_task_name(const osmo_spec_t *spec, size_t index);
/** Group of task @p index, or NULL past the end. Borrowed. */
OSMO_API const char *osmo_spec_get_task_group(const osmo_spec_t *spec, size_t index);
/** Image of task @p index, or NULL past the end. Borrowed. */
OSMO_API const char *osmo_spec_get_task_image(const osmo_spec_t *spec, size_t index);
/**
 * The normalised form as YAML: tasks turned into groups, defaults left out, keys sorted.
 * @param spec the specification
 * @param[out] yaml NUL-terminated text, freed by the caller with free(); untouched on failure
 * @param err receives the text on failure; may be NULL
 * @return 0 or ::OSMO_ENOMEM
 */
OSMO_API int osmo_spec_write_yaml(const osmo_spec_t *spec, char **yaml, osmo_error_t *err);

#ifdef __cplusplus
}
#endif
#endif
