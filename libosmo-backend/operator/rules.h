/* Rules from the service that say which node conditions make a node unavailable. */
#ifndef OPERATOR_RULES_H
#define OPERATOR_RULES_H
#include <stdbool.h>
#include "base/json.h"
#include "osmo/error.h"
typedef struct rules rules_t;
/* rules may be NULL or {}: then ^Ready$ must be True. OSMO_EINVAL when a pattern that matches Ready allows anything but True. */
int rules_new(const json_t *rules, rules_t **out, osmo_error_t *err);
void rules_free(rules_t *r);
/* conditions: array of objects with type and status. */
bool rules_allow(const rules_t *r, const json_t *conditions);
#endif
