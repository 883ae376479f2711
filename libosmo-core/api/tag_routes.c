/* Tags: which there are, and those of one workflow. */
#include "api/handlers.h"
#include "base/cleanup.h"
#include "store/repo_tags.h"

/* {"tags": […]} */
int get_tags(struct call *c, osmo_error_t *err) {
    (void)err;
    _cleanup_json_ json_t *o = json_object();
    const struct settings *s = engine_settings(c->engine);
    int rc = o ? json_set_strs(o, "tags", &s->workflow_tags) : OSMO_ENOMEM;
    engine_settings_put(s);
    return rc < 0 ? rc : answer_json(c, 200, STEAL(o));
}

/* Only tags that are configured are added; any can be removed, the list may have changed since. */
static int check_tags(struct call *c, const strlist_t *add, osmo_error_t *err) {
    const struct settings *s = engine_settings(c->engine);
    int rc = 0;
    for (size_t i = 0; rc >= 0 && i < add->len; i++) {
        if (!strlist_has(&s->workflow_tags, add->items[i]))
            rc = osmo_error_set(err, OSMO_EUSER, "Tag %.100s is not one of the tags of this installation; osmo workflow tag shows them",
                                add->items[i]);
    }
    engine_settings_put(s);
    return rc;
}

struct tagging {
    const char *workflow_uuid;
    const strlist_t *add, *remove;
};

static int change_run(db_t *db, void *ctx, osmo_error_t *err) {
    const struct tagging *t = ctx;
    return repo_tags_change(db, t->workflow_uuid, t->add, t->remove, err);
}

int post_tag(struct call *c, osmo_error_t *err) {
    static const strlist_t none = { 0 };
    const strlist_t *add = query_all(c, "add"), *remove = query_all(c, "remove");
    struct workflow_row w = { 0 };
    struct tagging t = { .add = add ? add : &none, .remove = remove ? remove : &none };
    int rc = call_workflow(c, c->params[0], &w, err);
    if (rc >= 0 && t.add->len + t.remove->len > 2 * WORKFLOW_TAGS_MAX)
        rc = osmo_error_set(err, OSMO_EUSER, "more than %d tags at once", 2 * WORKFLOW_TAGS_MAX);
    if (rc >= 0)
        rc = check_tags(c, t.add, err);
    t.workflow_uuid = w.uuid;
    if (rc >= 0)
        rc = store_write(c->engine->store, w.uuid, change_run, &t, err);
    workflow_row_clear(&w);
    return rc < 0 ? rc : answer_null(c);
}
