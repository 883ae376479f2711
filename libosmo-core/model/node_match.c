/* See node_match.h. Used by submission checks and by the lists of resources. */
#include "model/node_match.h"

#include <stdlib.h>
#include <string.h>

#include "base/str.h"
#include "model/spec.h"

bool node_labels_match(const json_t *labels, const json_t *selector)
{
    json_iter_t it = json_iter(selector);
    while (json_iter_next(&it)) {
        const char *value = json_get_str(labels, it.key);
        if (!value || !str_eq(value, json_str(it.value)))
            return false;
    }
    return true;
}

static bool tolerates(const json_t *toleration, const json_t *taint)
{
    const char *key = json_get_str(toleration, "key"), *effect = json_get_str(toleration, "effect");
    if (key && *key && !str_eq(key, json_get_str(taint, "key")))
        return false;
    if (effect && *effect && !str_eq(effect, json_get_str(taint, "effect")))
        return false;
    if (str_eq(json_get_str(toleration, "operator"), "Exists"))
        return true;
    const char *a = json_get_str(toleration, "value"), *b = json_get_str(taint, "value");
    return !strcmp(a ? a : "", b ? b : "");
}

bool node_taints_tolerated(const json_t *taints, const json_t *tolerations)
{
    for (size_t i = 0; i < json_len(taints); i++) {
        const json_t *taint = json_at(taints, i);
        bool covered = str_eq(json_get_str(taint, "effect"), "PreferNoSchedule");
        for (size_t j = 0; !covered && j < json_len(tolerations); j++)
            covered = tolerates(json_at(tolerations, j), taint);
        if (!covered)
            return false;
    }
    return true;
}

double node_quantity(const json_t *resources, const char *name)
{
    const json_t *v = json_get(resources, name);
    const char *text = json_str(v);
    char *end;
    double n = 0;
    if (!text)
        return json_as_double(v, 0);
    if (!strcmp(name, "cpu")) {
        n = strtod(text, &end);
        return *end == 'm' ? n / 1000 : n;
    }
    return quantity_bytes(text, &n) ? n : 0;
}
