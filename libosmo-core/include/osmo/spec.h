/**
 * @file osmo/spec.h
 * @brief Workflow specifications without a service: render, parse, validate, list what is in them, write the normalised form.
 *
 * The text is what a user submits: sections, template variables and all. Pure computation: nothing is read or written, and
 * different specifications may be used from different threads.
 *
 * @code
 * osmo_spec_options_t options = OSMO_SPEC_OPTIONS_INIT;
 * osmo_spec_findings_t *findings = NULL;
 * osmo_error_t err = OSMO_ERROR_INIT;
 * if (osmo_spec_validate(text, len, &options, NULL, &findings, &err) < 0)
 *     for (size_t i = 0; i < osmo_spec_findings_get_count(findings); i++)
 *         printf("%d:%d: %s\n", osmo_spec_findings_get_line(findings, i), osmo_spec_findings_get_column(findings, i),
 *                osmo_spec_findings_get_text(findings, i));
 * osmo_spec_findings_free(findings);
 * @endcode
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

/** Everything that is wrong with a specification, and what is only worth a warning. Immutable. */
typedef struct osmo_spec_findings osmo_spec_findings_t;

/**
 * What a submission adds to the text. Initialise with ::OSMO_SPEC_OPTIONS_INIT; members that are NULL mean nothing is added.
 * Lists end with NULL. New members are only ever added at the end.
 */
typedef struct osmo_spec_options {
    size_t size;                    /**< sizeof(osmo_spec_options_t) */
    const char *const *set;         /**< template variables "name=value" as `--set`: numbers where they read as numbers */
    const char *const *set_string;  /**< the same as `--set-string`: always text; wins over @c set */
    const char *const *env;         /**< "NAME=value" laid over the environment of every task */
    const char *const *labels;      /**< "key=value" laid over the labels */
    const char *settings;           /**< configuration of the service, YAML with the keys of its ConfigMap; NULL: built in */
    size_t settings_len;            /**< its length in bytes */
    const char *pool;               /**< pool of that configuration; NULL: `default`, or the only one */
    const char *priority;           /**< HIGH, NORMAL or LOW; NULL: NORMAL */
} osmo_spec_options_t;

/** Initialiser of osmo_spec_options_t: no additions, the built-in configuration. */
#define OSMO_SPEC_OPTIONS_INIT { sizeof(osmo_spec_options_t), NULL, NULL, NULL, NULL, NULL, 0, NULL, NULL }

/**
 * Render only: sections, default-values, variables, template.
 * @param text the text, UTF-8
 * @param len its length in bytes
 * @param options additions, or NULL; only the variables are used
 * @param[out] rendered the `workflow` section as NUL-terminated YAML text, freed by the caller with free(); it stands on the
 *             line that it has in @p text, so it may begin with empty lines. Untouched on failure
 * @param err receives the text on failure; may be NULL
 * @return 0, ::OSMO_EUSAGE, ::OSMO_EUSER, ::OSMO_ELIMIT, ::OSMO_EINVAL or ::OSMO_ENOMEM
 */
OSMO_API int osmo_spec_render(const char *text, size_t len, const osmo_spec_options_t *options, char **rendered,
                              osmo_error_t *err);

/**
 * Every check of a submission that needs no service: template, YAML, schema, names, dependencies, labels and their policies,
 * the number of tasks, platforms and permissions of the pool, its resource rules that need no nodes, GPU quota, images and
 * addresses. As in a submission a stage is only looked at when those before it found nothing.
 * @param text the text, UTF-8
 * @param len its length in bytes
 * @param options additions, or NULL for none
 * @param[out] out the resolved specification when nothing was found; may be NULL. Free with osmo_spec_free()
 * @param[out] findings what was found and all warnings, also on success; may be NULL. NULL only when the text could not be
 *             looked at (bad options or configuration, no memory). Free with osmo_spec_findings_free()
 * @param err the number of findings and as many as fit; may be NULL
 * @return 0 when a service would go on to look at credentials, nodes and registries; else ::OSMO_EUSAGE, ::OSMO_EUSER,
 *         ::OSMO_ERESOURCE, ::OSMO_ESUBMISSION, ::OSMO_ELIMIT, ::OSMO_EINVAL or ::OSMO_ENOMEM
 */
OSMO_API int osmo_spec_validate(const char *text, size_t len, const osmo_spec_options_t *options, osmo_spec_t **out,
                                osmo_spec_findings_t **findings, osmo_error_t *err);

/** Free findings. NULL is fine. */
OSMO_API void osmo_spec_findings_free(osmo_spec_findings_t *findings);
/** Number of findings that are kept, at most 100. */
OSMO_API size_t osmo_spec_findings_get_count(const osmo_spec_findings_t *findings);
/** Number of all findings. */
OSMO_API size_t osmo_spec_findings_get_total(const osmo_spec_findings_t *findings);
/** The ::osmo_code_t of finding @p index, or 0 past the end. */
OSMO_API int osmo_spec_findings_get_code(const osmo_spec_findings_t *findings, size_t index);
/** Where it is in the document, such as "workflow.tasks.0.command"; "" when unknown, NULL past the end. Borrowed. */
OSMO_API const char *osmo_spec_findings_get_path(const osmo_spec_findings_t *findings, size_t index);
/** Line of finding @p index, from 1, of the rendered text; 0 when unknown. */
OSMO_API int osmo_spec_findings_get_line(const osmo_spec_findings_t *findings, size_t index);
/** Column of finding @p index, from 1; 0 when unknown. */
OSMO_API int osmo_spec_findings_get_column(const osmo_spec_findings_t *findings, size_t index);
/** What is wrong and what to do about it, one line; NULL past the end. Borrowed. */
OSMO_API const char *osmo_spec_findings_get_text(const osmo_spec_findings_t *findings, size_t index);
/** Number of warnings. */
OSMO_API size_t osmo_spec_findings_get_warning_count(const osmo_spec_findings_t *findings);
/** Text of warning @p index, or NULL past the end. Borrowed. */
OSMO_API const char *osmo_spec_findings_get_warning(const osmo_spec_findings_t *findings, size_t index);

/**
 * Render and parse a workflow: schema, names and dependencies, with the built-in limits and without a pool.
 * @param text the YAML text, UTF-8
 * @param len its length in bytes
 * @param set NULL, or "name=value" template variables ending with NULL (as `--set`)
 * @param[out] out the specification; untouched on failure. Free with osmo_spec_free()
 * @param err the number of findings and as many as fit, each with its path, line and column of the rendered text
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
/** Platform that task @p index runs on; NULL past the end, or when the specification was not validated. Borrowed. */
OSMO_API const char *osmo_spec_get_task_platform(const osmo_spec_t *spec, size_t index);
/** Number of groups. */
OSMO_API size_t osmo_spec_get_group_count(const osmo_spec_t *spec);
/** Name of group @p group in document order, or NULL past the end. Borrowed. */
OSMO_API const char *osmo_spec_get_group_name(const osmo_spec_t *spec, size_t group);
/** Number of tasks of group @p group, or 0 past the end. */
OSMO_API size_t osmo_spec_get_group_task_count(const osmo_spec_t *spec, size_t group);
/** Number of groups that group @p group waits for, or 0 past the end. */
OSMO_API size_t osmo_spec_get_group_upstream_count(const osmo_spec_t *spec, size_t group);
/** Index of one of the groups that group @p group waits for, ascending; SIZE_MAX past the end. */
OSMO_API size_t osmo_spec_get_group_upstream(const osmo_spec_t *spec, size_t group, size_t index);
/** Number of inputs of task @p task, or 0 past the end. */
OSMO_API size_t osmo_spec_get_input_count(const osmo_spec_t *spec, size_t task);
/** Task that input @p index of task @p task takes data from; NULL when it is an address, or past the end. Borrowed. */
OSMO_API const char *osmo_spec_get_input_task(const osmo_spec_t *spec, size_t task, size_t index);
/** Earlier workflow that the task of input @p index belongs to; NULL when it is this one, or past the end. Borrowed. */
OSMO_API const char *osmo_spec_get_input_workflow(const osmo_spec_t *spec, size_t task, size_t index);
/** Address of input @p index of task @p task; NULL when it is a task, or past the end. Borrowed. */
OSMO_API const char *osmo_spec_get_input_url(const osmo_spec_t *spec, size_t task, size_t index);
/**
 * The normalised form as YAML: tasks turned into groups, defaults left out, keys sorted.
 * @param spec the specification
 * @param[out] yaml NUL-terminated text, freed by the caller with free(); untouched on failure
 * @param err receives the text on failure; may be NULL
 * @return 0, ::OSMO_ELIMIT or ::OSMO_ENOMEM
 */
OSMO_API int osmo_spec_write_yaml(const osmo_spec_t *spec, char **yaml, osmo_error_t *err);

#ifdef __cplusplus
}
#endif
#endif
