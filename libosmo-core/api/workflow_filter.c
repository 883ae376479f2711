/* The filters that the workflow list and the task list share, and looking up one workflow or task by name. */
#include <stdlib.h>
#include <string.h>

#include "api/handlers.h"
#include "base/cleanup.h"
#include "model/label_selector.h"


int call_workflow(struct call *c, const char *id, struct workflow_row *out, osmo_error_t *err) {
    db_t *db;
    int rc = store_reader(c->engine->store, &db, err);
    if (rc >= 0)
        rc = repo_workflow_get(db, id, out, err);
    if (rc == OSMO_ENOTFOUND)
        return osmo_error_set(err, OSMO_EDATABASE, "Workflow %s not found; osmo workflow list shows yours", id);
    return rc;
}

int call_task(struct call *c, const struct workflow_row *w, const char *task, int64_t retry_id, struct task_row *out,
              osmo_error_t *err) {
    db_t *db;
    int rc = store_reader(c->engine->store, &db, err);
    if (rc >= 0)
        rc = repo_task_by_name(db, w->uuid, task, retry_id, out, err);
    if (rc == OSMO_ENOTFOUND && retry_id >= 0)
        return osmo_error_set(err, OSMO_EDATABASE, "Task %s of workflow %s has no attempt %lld", task, w->id,
                              (long long)retry_id);
    if (rc == OSMO_ENOTFOUND)
        return osmo_error_set(err, OSMO_EDATABASE, "Workflow %s has no task %s", w->id, task);
    return rc;
}

static int copy_list(struct call *c, const char *name, strlist_t *out) {
    const strlist_t *from = query_all(c, name);
    for (size_t i = 0; from && i < from->len; i++) {
        if (strlist_add(out, from->items[i]) < 0)
            return OSMO_ENOMEM;
    }
    return 0;
}

static int invalid(struct call *c, const char *field, const char *message) {
    int rc = answer_unprocessable(c, "query", field, "enum", message);
    return rc < 0 ? rc : OSMO_EINVAL;
}

static int read_enums(struct call *c, struct workflow_filter *f) {
    const char *order = query_get(c, "order");
    int rc = copy_list(c, "statuses", &f->statuses);
    if (rc >= 0)
        rc = copy_list(c, "priority", &f->priorities);
    for (size_t i = 0; rc >= 0 && i < f->statuses.len; i++) {
        if (status_parse(f->statuses.items[i]) == STATUS_NONE)
            rc = invalid(c, "statuses", "Input should be a status such as RUNNING or COMPLETED");
    }
    for (size_t i = 0; rc >= 0 && i < f->priorities.len; i++) {
        const char *p = f->priorities.items[i];
        if (!str_eq(p, "HIGH") && !str_eq(p, "NORMAL") && !str_eq(p, "LOW"))
            rc = invalid(c, "priority", "Input should be 'HIGH', 'NORMAL' or 'LOW'");
    }
    if (rc >= 0 && order && !str_eq(order, "ASC") && !str_eq(order, "DESC"))
        rc = invalid(c, "order", "Input should be 'ASC' or 'DESC'");
    f->ascending = !str_eq(order, "DESC");
    return rc;
}

static int read_page(struct call *c, struct workflow_filter *f, osmo_error_t *err) {
    int rc = query_int(c, "offset", 0, &f->offset, err);
    if (rc >= 0)
        rc = query_int(c, "limit", 20, &f->limit, err);
    if (rc >= 0 && (f->offset < 0 || f->limit < 0)) {
        rc = answer_unprocessable(c, "query", f->offset < 0 ? "offset" : "limit", "greater_than_equal",
                                  "Input should be 0 or more");
        rc = rc < 0 ? rc : OSMO_EINVAL;
    }
    return rc;
}

static int default_pool(struct call *c, struct workflow_filter *f, osmo_error_t *err) {
    struct profile_row p = { 0 };
    db_t *db;
    int rc = store_reader(c->engine->store, &db, err);
    if (rc >= 0)
        rc = repo_profile_get(db, c->user, &p, err);
    _cleanup_free_ char *pool = STEAL(p.pool);
    if (rc < 0)
        return rc;
    if (!pool || !*pool) {
        const struct settings *s = engine_settings(c->engine);
        free(pool);
        pool = s->npools == 1 ? str_dup(s->pools[0].name) : NULL;
        engine_settings_put(s);
    }
    if (!pool)
        return osmo_error_set(err, OSMO_EUSER,
                              "no pool was given and your profile has no default pool; name one, or set it with: "
                              "osmo profile set pool NAME");
    return strlist_add(&f->pools, pool);
}

/* A name as it is, or the part before the '@' of exactly one. */
static int read_users(struct call *c, struct workflow_filter *f, osmo_error_t *err) {
    const strlist_t *names = query_all(c, "users");
    db_t *db;
    int rc = names ? store_reader(c->engine->store, &db, err) : 0;
    for (size_t i = 0; rc >= 0 && names && i < names->len; i++) {
        strlist_t found = { 0 };
        rc = str_eq(names->items[i], c->user) ? strlist_add(&found, c->user)
                                              : repo_user_find(db, names->items[i], &found, err);
        if (rc >= 0 && found.len != 1)
            rc = osmo_error_set(err, OSMO_EUSER, found.len ? "User %s is not unique: write the whole name, such as %s"
                                                           : "User %s%.0s not found", names->items[i],
                                found.len ? found.items[0] : "");
        if (rc >= 0)
            rc = strlist_add(&f->users, found.items[0]);
        strlist_free(&found);
    }
    return rc;
}

/* The roles of a task are not its user's: it lists what is her own. */
static int limit_task(struct call *c, struct workflow_filter *f, osmo_error_t *err) {
    bool other = f->users.len && !strlist_has(&f->users, c->user);
    if (!c->who.workflow_id)
        return 0;
    strlist_free(&f->users);
    f->all_users = false;
    return strlist_add(&f->users, other ? "" : c->user) < 0 ? osmo_error_set(err, OSMO_ENOMEM, "out of memory") : 0;
}

static int read_scope(struct call *c, struct workflow_filter *f, osmo_error_t *err) {
    int rc = query_bool(c, "all_users", false, &f->all_users, err);
    if (rc >= 0)
        rc = query_bool(c, "all_pools", false, &f->all_pools, err);
    if (rc >= 0)
        rc = read_users(c, f, err);
    if (rc >= 0)
        rc = copy_list(c, "pools", &f->pools);
    if (rc >= 0 && f->users.len)
        f->all_users = false;
    else if (rc >= 0 && !f->all_users)
        rc = strlist_add(&f->users, c->user);
    if (rc >= 0)
        rc = limit_task(c, f, err);
    if (rc >= 0 && f->pools.len)
        f->all_pools = false;
    else if (rc >= 0 && !f->all_pools)
        rc = default_pool(c, f, err);
    if (rc >= 0)
        rc = call_pools(c, ACTION_WORKFLOW_LIST, &f->pools, err);
    if (f->pools.len)
        f->all_pools = false;
    return rc;
}

static int read_labels(struct call *c, struct workflow_filter *f, osmo_error_t *err) {
    const strlist_t *labels = query_all(c, "label");
    int rc = copy_list(c, "no_label", &f->no_labels);
    for (size_t i = 0; rc >= 0 && labels && i < labels->len; i++)
        rc = label_selector_expand(labels->items[i], &f->labels, err);
    for (size_t i = 0; rc >= 0 && i < f->no_labels.len; i++)
        rc = label_selector_key(f->no_labels.items[i], err);
    return rc;
}

int filter_read(struct call *c, struct workflow_filter *f, osmo_error_t *err) {
    memset(f, 0, sizeof *f);
    int rc = read_enums(c, f);
    if (rc >= 0)
        rc = read_page(c, f, err);
    if (rc >= 0)
        rc = read_scope(c, f, err);
    return rc >= 0 ? read_labels(c, f, err) : rc;
}

void filter_clear(struct workflow_filter *f) {
    strlist_free(&f->users);
    strlist_free(&f->statuses);
    strlist_free(&f->pools);
    strlist_free(&f->priorities);
    strlist_free(&f->labels);
    strlist_free(&f->no_labels);
    strlist_free(&f->tags);
}
