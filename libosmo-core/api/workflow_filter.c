/* The filters that the workflow list and the task list share, and looking up one workflow or task by name. */
#include <stdlib.h>
#include <string.h>

#include "api/handlers.h"
#include "base/cleanup.h"

#define MAX_LIMIT 1000
#define USAGE_PATTERN "label selector %s: only exact values (key=value) are supported"

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
    if (f->limit > MAX_LIMIT)
        f->limit = MAX_LIMIT;
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

static int read_scope(struct call *c, struct workflow_filter *f, osmo_error_t *err) {
    int rc = query_bool(c, "all_users", false, &f->all_users, err);
    if (rc >= 0)
        rc = query_bool(c, "all_pools", false, &f->all_pools, err);
    if (rc >= 0)
        rc = copy_list(c, "users", &f->users);
    if (rc >= 0)
        rc = copy_list(c, "pools", &f->pools);
    if (rc >= 0 && f->users.len)
        f->all_users = false;
    else if (rc >= 0 && !f->all_users)
        rc = strlist_add(&f->users, c->user);
    if (rc >= 0 && f->pools.len)
        f->all_pools = false;
    else if (rc >= 0 && !f->all_pools)
        rc = default_pool(c, f, err);
    return rc;
}

static int read_labels(struct call *c, struct workflow_filter *f, osmo_error_t *err) {
    int rc = copy_list(c, "label", &f->labels);
    for (size_t i = 0; rc >= 0 && i < f->labels.len; i++) {
        if (!strchr(f->labels.items[i], '='))
            rc = osmo_error_set(err, OSMO_EUSAGE, "label selector %s has no '='; write key=value", f->labels.items[i]);
        else if (strpbrk(f->labels.items[i], "*()|"))
            rc = osmo_error_set(err, OSMO_EUSAGE, USAGE_PATTERN, f->labels.items[i]);
    }
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
}
