/* The list of workflows with its filters (filter grammar of the API: different filters and together, values of
 * one filter or together, labels and together). Part of repo.h. */
#include <string.h>
#include "base/buf.h"
#include "store/repo.h"
#include "store/workflow_cols.h"

#define LIST_ARGS_MAX 1024
#define FILTER_VALUES_MAX 200
#define LIMIT_DEFAULT 1000
#define LIMIT_MAX 100000

struct query { buf_t sql; struct db_arg args[LIST_ARGS_MAX]; size_t n; };

static void add(struct query *q, const char *sql, struct db_arg a) {
    buf_puts(&q->sql, sql);
    if (q->n < LIST_ARGS_MAX)
        q->args[q->n++] = a;
}

static int too_many(const char *what, osmo_error_t *err) {
    return osmo_error_set(err, OSMO_ELIMIT, "more than %d values for filter %s: ask for fewer",
                          FILTER_VALUES_MAX, what);
}

static int any_of(struct query *q, const char *column, const strlist_t *values, osmo_error_t *err) {
    if (values->len > FILTER_VALUES_MAX)
        return too_many(column, err);
    for (size_t i = 0; i < values->len; i++) {
        if (i == 0)
            buf_printf(&q->sql, " AND t.%s IN (", column);
        add(q, i ? ", ?" : "?", DB_T(values->items[i]));
    }
    if (values->len)
        buf_putc(&q->sql, ')');
    return 0;
}

static int of_statuses(struct query *q, const strlist_t *names, osmo_error_t *err) {
    if (names->len > FILTER_VALUES_MAX)
        return too_many("statuses", err);
    if (!names->len)
        add(q, " AND t.status <> ?", DB_I(STATUS_FAILED_SUBMISSION));
    for (size_t i = 0; i < names->len; i++) {
        enum status s = status_parse(names->items[i]);
        if (s == STATUS_NONE)
            return osmo_error_set(err, OSMO_EUSER, "unknown workflow status %s", names->items[i]);
        add(q, i ? ", ?" : " AND t.status IN (?", DB_I(s));
    }
    if (names->len)
        buf_putc(&q->sql, ')');
    return 0;
}

static int with_labels(struct query *q, const strlist_t *labels, osmo_error_t *err) {
    if (labels->len > FILTER_VALUES_MAX)
        return too_many("label", err);
    for (size_t i = 0; i < labels->len; i++) {
        const char *equals = strchr(labels->items[i], '=');
        if (!equals)
            return osmo_error_set(err, OSMO_EUSER, "label filter %s: write key=value", labels->items[i]);
        struct db_arg key = { .type = DB_TEXT, .p = labels->items[i], .len = (size_t)(equals - labels->items[i]) };
        add(q, " AND EXISTS (SELECT 1 FROM workflow_labels l WHERE l.workflow_uuid = t.uuid AND l.label_key = ?", key);
        add(q, " AND l.label_value = ?)", DB_T(equals + 1));
    }
    return 0;
}

static int build(db_t *db, struct query *q, const struct workflow_filter *f, osmo_error_t *err) {
    buf_puts(&q->sql, "SELECT " WORKFLOW_SELECT " FROM workflows t WHERE 1 = 1");
    int rc = of_statuses(q, &f->statuses, err);
    if (rc == 0 && !f->all_users)
        rc = any_of(q, "user_name", &f->users, err);
    if (rc == 0 && !f->all_pools)
        rc = any_of(q, "pool", &f->pools, err);
    if (rc == 0)
        rc = any_of(q, "priority", &f->priorities, err);
    if (rc == 0)
        rc = with_labels(q, &f->labels, err);
    if (rc < 0)
        return rc;
    if (f->name_contains && f->name_contains[0])
        add(q, db_is_pgsql(db) ? " AND strpos(t.id, ?) > 0" : " AND instr(t.id, ?) > 0", DB_T(f->name_contains));
    if (f->submitted_after_us)
        add(q, " AND t.submit_us >= ?", DB_I(f->submitted_after_us));
    if (f->submitted_before_us)
        add(q, " AND t.submit_us < ?", DB_I(f->submitted_before_us));
    buf_puts(&q->sql, f->ascending ? " ORDER BY t.submit_us, t.id" : " ORDER BY t.submit_us DESC, t.id DESC");
    int64_t limit = f->limit <= 0 ? LIMIT_DEFAULT : f->limit > LIMIT_MAX ? LIMIT_MAX : f->limit;
    add(q, " LIMIT ?", DB_I(limit));
    add(q, " OFFSET ?", DB_I(f->offset > 0 ? f->offset : 0));
    return buf_failed(&q->sql) ? osmo_error_set(err, OSMO_ENOMEM, "out of memory") : 0;
}

int repo_workflow_list(db_t *db, const struct workflow_filter *f, struct workflow_row **out, size_t *n,
                       osmo_error_t *err) {
    struct query q = { .sql = BUF_INIT(1u << 16) };
    void *list = NULL;
    *n = 0;
    int rc = build(db, &q, f, err);
    if (rc == 0)
        rc = rows_select(db, &workflow_type, buf_cstr(&q.sql), q.args, q.n, &list, n, err);
    buf_free(&q.sql);
    *out = list;
    return rc;
}

int repo_user_ongoing(db_t *db, const char *user, int64_t *workflows, int64_t *tasks, osmo_error_t *err) {
    const struct db_arg args[] = { DB_T(user), DB_I(STATUS_PENDING), DB_I(STATUS_RUNNING), DB_I(STATUS_WAITING),
                                   DB_I(STATUS_COMPLETED) };
    int rc = int_select(db, "SELECT COUNT(*) FROM workflows WHERE user_name = ? AND status IN (?, ?, ?)", args, 4, 0,
                        workflows, err);
    if (rc >= 0) /* statuses before COMPLETED are those of tasks that still go on */
        rc = int_select(db, "SELECT COUNT(*) FROM workflows w JOIN tasks t ON t.workflow_uuid = w.uuid"
                            " WHERE w.user_name = ? AND w.status IN (?, ?, ?) AND t.status < ?", args, 5, 0, tasks,
                        err);
    return rc;
}
