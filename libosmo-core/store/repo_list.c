/* The list of workflows. Part of repo.h.
 *
 * An IN over several values cannot be read in the order of time, so a page comes from one branch for each combination
 * of values: every branch reads at most a page from its stretch of an index, newest (or oldest) first, and the page is
 * picked from what they give. Few matches are read as a whole instead. The branches read keys; the rows of the page alone
 * are read from the table. */
#include <stdlib.h>
#include <string.h>

#include "store/list_query.h"
#include "store/workflow_cols.h"

#define LIMIT_DEFAULT 1000
#define LIMIT_MAX 100000
#define BRANCHES_MAX 128 /* the databases take 500 */

struct page { const struct workflow_filter *f; struct list_path path; int64_t limit, offset; };

static void order(struct list_query *q, const struct page *p, const char *time, const char *id) {
    const char *way = p->f->ascending ? "" : " DESC";
    buf_printf(&q->sql, " ORDER BY %s%s, %s%s", time, way, id, way);
}

/* ---- branches ---- */

static void open_branch(struct list_query *q, size_t n) {
    list_sql(q, n ? " UNION ALL SELECT * FROM (" : "SELECT * FROM (");
}

static void close_branch(struct list_query *q, const struct page *p, size_t n, const char *time) {
    order(q, p, time, "t.id");
    list_add(q, " LIMIT ?", DB_I(p->limit + p->offset));
    buf_printf(&q->sql, ") AS b%zu", n);
}

/* One value of the column with one status. */
static void value_branch(struct list_query *q, const struct page *p, size_t n, const char *value, enum status s) {
    bool user = p->path.kind == PATH_USER, pool = p->path.kind == PATH_POOL;
    open_branch(q, n);
    list_sql(q, "SELECT t.id AS id, t.submit_us AS submit_us");
    list_from(q, &p->path);
    list_add(q, " WHERE t.status = ?", DB_I(s));
    if (user || pool)
        list_add(q, user ? " AND t.user_name = ?" : " AND t.pool = ?", DB_T(value));
    list_where(q, p->f, DONE_STATUSES | (user ? DONE_USERS : 0u) | (pool ? DONE_POOLS : 0u), 0);
    close_branch(q, p, n, "t.submit_us");
}

static void label_branch(struct list_query *q, const struct page *p, size_t n, struct db_arg key, const char *value) {
    open_branch(q, n);
    list_sql(q, "SELECT t.id AS id, t.submit_us AS submit_us");
    list_from(q, &p->path);
    list_from_where(q, p->f, &p->path);
    list_add(q, " AND l.label_key = ?", key);
    list_add(q, " AND l.label_value = ?", DB_T(value));
    list_where(q, p->f, DONE_LABEL, p->path.label);
    close_branch(q, p, n, "l.submit_us");
}

static void label_branches(struct list_query *q, const struct page *p) {
    const char *selector = p->f->labels.items[p->path.label], *equals = strchr(selector, '=');
    struct db_arg key = { .type = DB_TEXT, .p = selector, .len = (size_t)(equals - selector) };
    size_t from = q->texts.len;
    if (strlist_split(&q->texts, equals + 1, '|') < 0)
        q->code = OSMO_ENOMEM;
    size_t end = q->texts.len;
    for (size_t i = from; i < end; i++)
        label_branch(q, p, i - from, key, q->texts.items[i]);
}

static void tag_branch(struct list_query *q, const struct page *p, size_t n, const char *tag) {
    open_branch(q, n);
    list_sql(q, "SELECT t.id AS id, t.submit_us AS submit_us");
    list_from(q, &p->path);
    list_from_where(q, p->f, &p->path);
    list_add(q, " AND l.tag = ?", DB_T(tag));
    list_where(q, p->f, DONE_TAGS, 0);
    close_branch(q, p, n, "l.submit_us");
}

static bool repeated(const strlist_t *l, size_t i) {
    for (size_t k = 0; k < i; k++) {
        if (strcmp(l->items[k], l->items[i]) == 0)
            return true;
    }
    return false;
}

static void tag_branches(struct list_query *q, const struct page *p) {
    const strlist_t *tags = &p->f->tags;
    for (size_t i = 0, n = 0; i < tags->len; i++) {
        if (!repeated(tags, i))
            tag_branch(q, p, n++, tags->items[i]);
    }
}

/* The same on a server, which plans the branch once and runs it for each combination. */
static void lateral(struct list_query *q, const struct page *p, const strlist_t *values, const enum status *s, size_t n) {
    bool user = p->path.kind == PATH_USER, pool = p->path.kind == PATH_POOL;
    for (size_t i = 0; i < n; i++)
        list_add(q, i ? "), (?" : "SELECT b0.id, b0.submit_us FROM (VALUES (CAST(? AS BIGINT)", DB_I(s[i]));
    list_sql(q, ")) AS s (v)");
    for (size_t i = 0; (user || pool) && i < values->len; i++) {
        if (!repeated(values, i))
            list_add(q, i ? "), (?" : " CROSS JOIN (VALUES (CAST(? AS TEXT)", DB_T(values->items[i]));
    }
    list_sql(q, user || pool ? ")) AS c (v)" : "");
    list_sql(q, " CROSS JOIN LATERAL (SELECT t.id AS id, t.submit_us AS submit_us FROM workflows t WHERE t.status = s.v");
    list_sql(q, user ? " AND t.user_name = c.v" : pool ? " AND t.pool = c.v" : "");
    list_where(q, p->f, DONE_STATUSES | (user ? DONE_USERS : 0u) | (pool ? DONE_POOLS : 0u), 0);
    close_branch(q, p, 0, "t.submit_us");
}

static void value_branches(struct list_query *q, const struct page *p) {
    static char any[] = "";
    char *one[] = { any };
    const strlist_t none = { .items = one, .len = 1 };
    const strlist_t *values = p->path.kind == PATH_USER ? &p->f->users : p->path.kind == PATH_POOL ? &p->f->pools : &none;
    enum status s[STATUS_COUNT];
    size_t statuses = list_statuses(p->f, s), n = 0;
    if (q->pgsql) {
        lateral(q, p, values, s, statuses);
        return;
    }
    for (size_t i = 0; i < values->len; i++) {
        for (size_t k = 0; k < statuses && !repeated(values, i); k++)
            value_branch(q, p, n++, values->items[i], s[k]);
    }
}

static size_t branches(const struct page *p) {
    enum status s[STATUS_COUNT];
    if (p->path.kind == PATH_TIME || p->path.kind == PATH_LABEL)
        return 1;
    if (p->path.kind == PATH_TAG)
        return p->f->tags.len;
    size_t values = p->path.kind == PATH_USER ? p->f->users.len : p->path.kind == PATH_POOL ? p->f->pools.len : 1;
    return values * list_statuses(p->f, s);
}

/* ---- the whole set at once ---- */

static void flat(struct list_query *q, const struct page *p) {
    bool tags = p->path.kind == PATH_TAG;
    list_sql(q, tags ? "SELECT DISTINCT t.id AS id, t.submit_us AS submit_us" : "SELECT t.id AS id, t.submit_us AS submit_us");
    list_from(q, &p->path);
    list_from_where(q, p->f, &p->path);
    if (p->path.kind == PATH_LABEL) {
        list_sql(q, " AND ");
        list_label(q, p->f->labels.items[p->path.label]);
    }
    if (tags)
        list_any_of(q, "l.tag", &p->f->tags);
    list_where(q, p->f, tags ? DONE_TAGS : p->path.kind == PATH_LABEL ? DONE_LABEL : 0, p->path.label);
}

/* Fills the query; the names of the path are borrowed by it. */
static int build(db_t *db, struct list_query *q, const struct workflow_filter *f, struct list_path *path,
                 osmo_error_t *err) {
    struct page p = { .f = f, .offset = f->offset > 0 ? f->offset : 0,
                      .limit = f->limit <= 0 ? LIMIT_DEFAULT : f->limit > LIMIT_MAX ? LIMIT_MAX : f->limit };
    bool many = f->users.len > 4 || f->pools.len > 4;
    int rc = list_choose(db, f, LIST_SMALL_SET, many, path, err);
    if (rc < 0)
        return rc;
    p.path = *path;
    if (!p.path.small && branches(&p) > BRANCHES_MAX)
        p.path.kind = PATH_TIME; /* so many values match often */
    list_sql(q, "SELECT " WORKFLOW_SELECT " FROM (");
    if (p.path.kind == PATH_TIME || p.path.small) {
        flat(q, &p);
        order(q, &p, "t.submit_us", "t.id");
    } else {
        /* a workflow with two of the tags comes from two branches */
        list_sql(q, p.path.kind == PATH_TAG ? "SELECT DISTINCT id, submit_us FROM (" : "SELECT id, submit_us FROM (");
        if (p.path.kind == PATH_LABEL)
            label_branches(q, &p);
        else if (p.path.kind == PATH_TAG)
            tag_branches(q, &p);
        else
            value_branches(q, &p);
        list_sql(q, ") AS u");
        order(q, &p, "submit_us", "id");
    }
    list_add(q, " LIMIT ?", DB_I(p.limit));
    list_add(q, " OFFSET ?", DB_I(p.offset));
    list_sql(q, ") AS k CROSS JOIN workflows t WHERE t.id = k.id");
    order(q, &p, "k.submit_us", "k.id");
    return list_query_check(q, err);
}

static int prepare(db_t *db, struct list_query *q, const struct workflow_filter *f, struct list_path *path,
                   osmo_error_t *err) {
    int rc = list_filter_check(f, err);
    return rc < 0 ? rc : build(db, q, f, path, err);
}

int repo_workflow_list(db_t *db, const struct workflow_filter *f, struct workflow_row **out, size_t *n,
                       osmo_error_t *err) {
    struct list_query q;
    struct list_path path = { .kind = PATH_TIME };
    void *list = NULL;
    *n = 0;
    list_query_init(&q, db);
    int rc = prepare(db, &q, f, &path, err);
    if (rc == 0)
        rc = rows_select(db, &workflow_type, buf_cstr(&q.sql), q.args, q.n, &list, n, err);
    list_query_clear(&q);
    list_path_clear(&path);
    *out = list;
    return rc;
}

int repo_workflow_list_explain(db_t *db, const struct workflow_filter *f, strlist_t *steps, osmo_error_t *err) {
    struct list_query q;
    struct list_path path = { .kind = PATH_TIME };
    _cleanup_rows_ db_rows_t *rows = NULL;
    list_query_init(&q, db);
    list_sql(&q, q.pgsql ? "EXPLAIN " : "EXPLAIN QUERY PLAN ");
    int rc = prepare(db, &q, f, &path, err);
    if (rc == 0)
        rc = db_query(db, buf_cstr(&q.sql), q.args, q.n, &rows, err);
    while (rc >= 0 && (rc = db_next(rows, err)) == 1)
        rc = strlist_add(steps, db_text(rows, q.pgsql ? 0 : 3));
    db_rows_free(rows);
    rows = NULL;
    list_query_clear(&q);
    list_path_clear(&path);
    return rc < 0 ? rc : 0;
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

/* ---- who has ever submitted ---- */

int repo_submitters(db_t *db, strlist_t *users, osmo_error_t *err) {
    return strings_select(db, "SELECT user_name FROM submitters ORDER BY user_name", NULL, 0, 1, users, err);
}

/* Whole names, or what stands before the '@' of one: a range, since 'A' follows '@'. */
int repo_user_find(db_t *db, const char *name, strlist_t *found, osmo_error_t *err) {
    _cleanup_buf_ buf_t from = BUF_INIT(1u << 16), to = BUF_INIT(1u << 16);
    buf_printf(&from, "%s@", name);
    buf_printf(&to, "%sA", name);
    if (buf_failed(&from) || buf_failed(&to))
        return osmo_error_set(err, OSMO_ELIMIT, "a user name is too long");
    int rc = strings_select(db, "SELECT name FROM users WHERE name = ? UNION SELECT user_name FROM submitters"
                                " WHERE user_name = ?", DB_ARGS(DB_T(name), DB_T(name)), 1, found, err);
    if (rc < 0 || found->len)
        return rc;
    return strings_select(db, "SELECT name FROM users WHERE name >= ? AND name < ? UNION SELECT user_name FROM submitters"
                              " WHERE user_name >= ? AND user_name < ? LIMIT 3",
                          DB_ARGS(DB_T(buf_cstr(&from)), DB_T(buf_cstr(&to)), DB_T(buf_cstr(&from)),
                                  DB_T(buf_cstr(&to))), 1, found, err);
}
