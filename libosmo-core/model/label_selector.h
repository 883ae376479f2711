/* Selectors of the list filters `label` and `no_label`. Called by api/workflow_filter.c. Pure. */
#ifndef MODEL_LABEL_SELECTOR_H
#define MODEL_LABEL_SELECTOR_H
#include "base/str.h"
#include "osmo/error.h"

#define LABEL_SELECTOR_MAX 4096   /* bytes */
#define LABEL_PATTERNS_MAX 32     /* values that the groups of one selector expand to */

/* "key=value", where the value may hold '*' for any text and "(a|b)" for one of several, as "key=pattern|pattern|…": each
 * pattern once, with nothing but the characters of a label value and '*'. Appended to `out`. OSMO_EUSAGE with the reason. */
int label_selector_expand(const char *selector, strlist_t *out, osmo_error_t *err);
/* A label key alone. */
int label_selector_key(const char *key, osmo_error_t *err);
#endif
