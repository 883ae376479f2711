/* Kinds of objects that templates of the pool make for a group. They are kept with the group when its objects are made, so that
 * a template that is taken out of the pool meanwhile leaves nothing in the cluster. Called when a job is handed out. */
#include <string.h>

#include "engine/agent_internal.h"
#include "model/pods.h"
#include "store/repo_archive.h"

static bool has_kind(const json_t *list, const json_t *kind) {
    for (size_t i = 0; i < json_len(list); i++)
        if (json_equal(json_at(list, i), kind))
            return true;
    return false;
}

/* Adds those of `more` that the list lacks; 1 when there were any. */
static int add_kinds(json_t *list, const json_t *more) {
    int added = 0;
    for (size_t i = 0; i < json_len(more); i++) {
        if (has_kind(list, json_at(more, i)))
            continue;
        if (json_add(list, json_ref(json_at(more, i))) < 0)
            return OSMO_ENOMEM;
        added = 1;
    }
    return added;
}

/* What is kept, as a list; empty when nothing is. */
static int kept_kinds(const char *text, json_t **out, osmo_error_t *err) {
    *out = NULL;
    if (text && *text)
        return json_parse(text, strlen(text), out, err);
    *out = json_array();
    return *out ? 0 : osmo_error_set(err, OSMO_ENOMEM, "out of memory");
}

int kinds_remember(struct txn *x, struct handout *h) {
    const struct pool *pool = h->settings ? settings_pool(h->settings, x->wf.pool) : NULL;
    if (!pool || !pool->group_templates_json)
        return 0;
    _cleanup_json_ json_t *made = pods_template_kinds(pool), *kept = NULL;
    _cleanup_free_ char *text = NULL;
    int rc = made ? repo_group_kinds_get(x->db, h->group_uuid, &text, x->err) : OSMO_ENOMEM;
    if (rc >= 0)
        rc = kept_kinds(text, &kept, x->err);
    if (rc >= 0)
        rc = add_kinds(kept, made);
    if (rc <= 0)
        return rc;
    _cleanup_free_ char *all = json_to_text(kept);
    return all ? repo_group_kinds_set(x->db, h->group_uuid, all, x->err)
               : osmo_error_set(x->err, OSMO_ENOMEM, "out of memory");
}

json_t *kinds_to_clean(const struct handout *h) {
    _cleanup_json_ json_t *now = pods_template_kinds(h->settings ? settings_pool(h->settings, h->wf.pool) : NULL);
    json_t *all = NULL;
    if (!now || kept_kinds(h->kinds_json, &all, NULL) < 0 || add_kinds(all, now) < 0) {
        json_free(all);
        return NULL;
    }
    return all;
}
