/**
 * @file osmo/template.h
 * @brief Templates without a service: compile once, render with variables, within limits.
 *
 * The language is Jinja as workflow files use it: a sandbox, strict about undefined names, without a loader for other
 * templates, output without escaping. Pure computation: nothing is read, written or timed. A compiled template is immutable
 * and may be rendered by several threads at once.
 */
#ifndef OSMO_TEMPLATE_H
#define OSMO_TEMPLATE_H
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>
#include <osmo/error.h>
#ifdef __cplusplus
extern "C" {
#endif

/** A compiled template. Immutable. */
typedef struct osmo_template osmo_template_t;
/** What one rendering may use. */
typedef struct osmo_template_limits osmo_template_limits_t;

/**
 * Compile a template.
 * @param text the template, UTF-8
 * @param len its length in bytes
 * @param[out] out the template; untouched on failure. Free with osmo_template_free()
 * @param err "line N: reason" on failure; may be NULL
 * @return 0, ::OSMO_EUSAGE or ::OSMO_ENOMEM
 */
OSMO_API int osmo_template_compile(const char *text, size_t len, osmo_template_t **out, osmo_error_t *err);
/** Free a template. NULL is fine. */
OSMO_API void osmo_template_free(osmo_template_t *t);

/**
 * Render with variables given as JSON.
 * @param t the template
 * @param variables a JSON object, NUL-terminated; NULL for none
 * @param limits NULL for the defaults
 * @param[out] text the result, NUL-terminated behind its length, freed by the caller with free(); untouched on failure
 * @param[out] len its length in bytes (a result may hold NUL bytes); may be NULL
 * @param err "line N: reason" on failure; may be NULL
 * @return 0, ::OSMO_EUSAGE (the template fails, or exceeds a limit), ::OSMO_EINVAL (the variables are no JSON object) or
 * ::OSMO_ENOMEM
 */
OSMO_API int osmo_template_render(const osmo_template_t *t, const char *variables, const osmo_template_limits_t *limits,
                                  char **text, size_t *len, osmo_error_t *err);
/**
 * Render with variables that are texts.
 * @param t the template
 * @param pairs NULL, or name, value, name, value … ending with NULL in the place of a name
 * @param limits NULL for the defaults
 * @param[out] text as osmo_template_render()
 * @param[out] len as osmo_template_render()
 * @param err as osmo_template_render()
 * @return as osmo_template_render(); ::OSMO_EINVAL when a name has no value
 */
OSMO_API int osmo_template_render_pairs(const osmo_template_t *t, const char *const *pairs,
                                        const osmo_template_limits_t *limits, char **text, size_t *len, osmo_error_t *err);

/**
 * Limits that begin as the defaults.
 * @param[out] out the limits; untouched on failure. Free with osmo_template_limits_free()
 * @return 0 or ::OSMO_ENOMEM
 */
OSMO_API int osmo_template_limits_new(osmo_template_limits_t **out);
/** Free limits. NULL is fine. */
OSMO_API void osmo_template_limits_free(osmo_template_limits_t *limits);
/** Steps (about one per expression, statement and item) of a rendering. */
OSMO_API void osmo_template_limits_set_steps(osmo_template_limits_t *limits, uint64_t steps);
/** How deep values may nest and macros and recursive loops may call each other. */
OSMO_API void osmo_template_limits_set_depth(osmo_template_limits_t *limits, int depth);
/** Bytes of the result and of any text made on the way; four times as much memory may be used. */
OSMO_API void osmo_template_limits_set_output(osmo_template_limits_t *limits, size_t bytes);
/** Items of lists and dictionaries made on the way. */
OSMO_API void osmo_template_limits_set_values(osmo_template_limits_t *limits, size_t values);
/**
 * A question asked every few thousand steps: true ends the rendering. This is how a caller with a clock limits the time.
 * @param limits the limits
 * @param expired NULL for none
 * @param arg given to @p expired
 */
OSMO_API void osmo_template_limits_set_expired(osmo_template_limits_t *limits, bool (*expired)(void *arg), void *arg);

#ifdef __cplusplus
}
#endif
#endif
