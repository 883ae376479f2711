/* The deep merge of pod templates; used by settings at load time and by the pod builder. */
#include <string.h>
#include "base/str.h"
#include "model/pods.h"

static json_t *find_named(const json_t *list, const char *name)
{
    for (size_t i = 0; name && i < json_len(list); i++)
        if (str_eq(json_get_str(json_at(list, i), "name"), name))
            return json_at(list, i);
    return NULL;
}

/* Maps with an equal `name` merge in place, everything else is appended; nothing is removed. */
static int merge_lists(json_t *target, const json_t *overlay)
{
    for (size_t i = 0; i < json_len(overlay); i++) {
        json_t *item = json_at(overlay, i);
        json_t *same = json_kind(item) == JSON_OBJECT ? find_named(target, json_get_str(item, "name")) : NULL;
        int rc = same ? pods_merge(same, item) : 0;
        if (rc == 0 && !same) {
            json_t *copy = json_copy(item);
            rc = item && !copy ? OSMO_ENOMEM : json_add(target, copy);
        }
        if (rc < 0)
            return rc;
    }
    return 0;
}

/* Depth is bounded by what the JSON and YAML readers let through. */
int pods_merge(json_t *target, const json_t *overlay)
{
    for (json_iter_t it = json_iter(overlay); json_iter_next(&it);) {
        json_t *mine = json_get(target, it.key);
        enum json_kind kind = json_kind(it.value), own = json_kind(mine);
        int rc = 0;

        if (kind == JSON_OBJECT && own == JSON_OBJECT) {
            rc = pods_merge(mine, it.value);
        } else if (kind == JSON_ARRAY && own == JSON_ARRAY) {
            rc = merge_lists(mine, it.value);
        } else {
            json_t *copy = json_copy(it.value);
            rc = it.value && !copy ? OSMO_ENOMEM : json_set(target, it.key, copy);
        }
        if (rc < 0)
            return rc;
    }
    return 0;
}
