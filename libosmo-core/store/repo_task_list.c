/* The list of tasks and their sums. Part of repo.h.
 *
 * Tasks come SCHEDULING first, then INITIALIZING, RUNNING, all others; the last started first, those that never started at
 * the end, newest workflow first. That is read in three parts, each by an index of its own, and a later part only when
 * the earlier ones have not filled the page:
 *   live      the first three statuses: tasks of workflows that are not finished
 *   started   the others by the time of their start
 *   waiting   the others that have none, by the time of submission */
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "store/list_query.h"

#define SUMS_MAX 100000
#define C(kind, column, field) COL_ENTRY(task_item, kind, column, field)
#define S(kind, column, field) COL_ENTRY(task_sum, kind, column, field)
#define ITEM_LIST(F, N) \
    F(TEXT, t.id, workflow_id) N(UUID, t.uuid, workflow_uuid) N(TEXT, t.user_name, user) N(TEXT, t.pool, pool) \
    N(TEXT, t.priority, priority) N(TEXT, x.name, name) N(I64, x.retry_id, retry_id) N(ENUM, x.status, status) \
    N(TEXT, x.node_name, node_name) N(I64, x.start_us, start_us) N(I64, x.end_us, end_us) N(REAL, x.cpu, cpu) \
    N(REAL, x.gpu, gpu) N(REAL, x.memory_gib, memory_gib) N(REAL, x.storage_gib, storage_gib)
#define NAME_F(kind, column, field) #column
#define NAME_N(kind, column, field) ", " #column
#define ITEM_SELECT "SELECT " ITEM_LIST(NAME_F, NAME_N)
static const struct col item_cols[] = { ITEM_LIST(C, C) };
static const struct row_type item_type = { "tasks", sizeof(struct task_item), item_cols, ARRAY_SIZE(item_cols),
                                           ARRAY_SIZE(item_cols) };
static const struct col sum_cols[] = { S(TEXT, user, user) S(TEXT, pool, pool) S(TEXT, priority, priority)
    S(REAL, cpu, cpu) S(REAL, gpu, gpu) S(REAL, memory, memory_gib) S(REAL, storage, storage_gib)
    S(TEXT, workflow, workflow_id) };
static const struct row_type sum_type = { "tasks", sizeof(struct task_sum), sum_cols, ARRAY_SIZE(sum_cols),
                                          ARRAY_SIZE(sum_cols) };

void task_items_free(struct task_item *r, size_t n) { row_list_free(&item_type, r, n); }
void task_sums_free(struct task_sum *r, size_t n) { row_list_free(&sum_type, r, n); }

enum part { PART_LIVE, PART_STARTED, PART_WAITING, PARTS };
struct statuses { enum status s[STATUS_COUNT]; size_t n; };

static bool in_part(enum status s, enum part part) {
    bool live = s >= STATUS_SCHEDULING && s <= STATUS_RUNNING;
    return part == PARTS || live == (part == PART_LIVE);
}

static struct statuses statuses_of(const struct task_filter *f, enum part part) {
    struct statuses out = { .n = 0 };
    for (int s = STATUS_SUBMITTING; s <= STATUS_FAILED_PREEMPTED; s++) {
        if (in_part((enum status)s, part) && (!f->statuses.len || strlist_has(&f->statuses, status_name((enum status)s))))
            out.s[out.n++] = (enum status)s;
    }
    return out;
}

static bool all_behind(const struct statuses *s, enum status limit) { return s->n && s->s[0] > limit; }
static bool all_unfinished(const struct statuses *s) { return s->n && s->s[s->n - 1] < STATUS_COMPLETED; }

/* ---- conditions ---- */

static void where_task(struct list_query *q, const struct task_filter *f, enum part part) {
    list_any_of(q, "x.node_name", &f->nodes);
    if (part == PART_STARTED)
        list_sql(q, " AND x.start_us > 0");
    else if (part == PART_WAITING)
        list_sql(q, " AND x.start_us = 0");
    if (f->started_after_us)
        list_add(q, " AND (x.start_us = 0 OR x.start_us >= ?)", DB_I(f->started_after_us));
    if (f->before_set)
        list_add(q, " AND x.start_us > 0 AND x.start_us < ?", DB_I(f->started_before_us));
}

/* Unfinished tasks are those of unfinished workflows, which are few among all. */
static void where_workflow(struct list_query *q, const struct workflow_filter *w, bool live) {
    static const enum status alive[] = { STATUS_WAITING, STATUS_RUNNING, STATUS_PENDING };
    if (live)
        list_any_status(q, "t.status", alive, ARRAY_SIZE(alive));
    list_where(q, w, live ? DONE_STATUSES : 0, 0);
}

/* Workflows first, by the index for their conditions or in the order of time, then their tasks. */
static void from_workflows(struct list_query *q, const struct task_filter *f, const struct statuses *s, enum part part,
                           const struct list_path *path) {
    const struct workflow_filter *w = f->workflows;
    list_from(q, path);
    list_sql(q, " CROSS JOIN tasks x");
    list_from_where(q, w, path);
    list_sql(q, " AND x.workflow_uuid = t.uuid");
    if (path->kind == PATH_LABEL) {
        list_sql(q, " AND ");
        list_label(q, w->labels.items[path->label]);
    }
    where_workflow(q, w, all_unfinished(s));
    list_any_status(q, "x.status", s->s, s->n);
    where_task(q, f, part);
}

/* Tasks first, by an index in the order of their start; one status of the failures, or all. */
static void from_tasks(struct list_query *q, const struct task_filter *f, const struct statuses *s, enum status one) {
    list_sql(q, " FROM tasks x");
    if (!q->pgsql)
        list_sql(q, one ? " INDEXED BY tasks_by_failure" : " INDEXED BY tasks_by_start");
    list_sql(q, " CROSS JOIN workflows t WHERE t.uuid = x.workflow_uuid");
    if (one) { /* the constant says that the partial index holds all */
        list_sql(q, " AND x.status > 7");
        list_add(q, " AND x.status = ?", DB_I(one));
    } else {
        list_any_status(q, "x.status", s->s, s->n);
    }
    where_workflow(q, f->workflows, false);
    where_task(q, f, PART_STARTED);
}

/* ---- parts ---- */

#define LATEST_START " ORDER BY x.start_us DESC, t.submit_us DESC, x.name DESC, x.retry_id DESC"
#define LIVE_ORDER " ORDER BY CASE x.status WHEN 4 THEN 0 WHEN 5 THEN 1 ELSE 2 END, x.start_us DESC, t.submit_us DESC," \
    " x.name DESC, x.retry_id DESC"
#define NEWEST " ORDER BY t.submit_us DESC, x.name DESC, x.retry_id DESC"

_Static_assert(STATUS_SCHEDULING == 4 && STATUS_INITIALIZING == 5, "the order of live tasks names them by number");

struct span { int64_t limit, offset; };

/* How many rows the conditions of a part leave is not known; how many workflows, is soon found out. */
struct way { bool workflows_first, failures; struct list_path path; /* names are borrowed */ };

static struct way way_of(const struct task_filter *f, const struct statuses *s, enum part part,
                         const struct list_path *path) {
    struct way w = { .workflows_first = part != PART_STARTED || path->small || all_unfinished(s) };
    w.failures = !w.workflows_first && all_behind(s, STATUS_COMPLETED);
    bool in_order = part == PART_WAITING && !path->small && !all_unfinished(s);
    w.path = path->small ? *path : in_order ? (struct list_path){ .kind = PATH_TIME } : list_plain_path(f->workflows);
    return w;
}

/* One branch for each kind of failure: together they are in no order. */
static void failures(struct list_query *q, const struct task_filter *f, const struct statuses *s, struct span span) {
    list_sql(q, "SELECT * FROM (");
    for (size_t i = 0; i < s->n; i++) {
        list_sql(q, i ? " UNION ALL SELECT * FROM (" : "SELECT * FROM (");
        list_sql(q, ITEM_SELECT ", t.submit_us AS submitted, x.name AS task, x.retry_id AS retry, x.start_us AS started");
        from_tasks(q, f, s, s->s[i]);
        list_add(q, LATEST_START " LIMIT ?", DB_I(span.limit + span.offset));
        buf_printf(&q->sql, ") AS b%zu", i);
    }
    list_sql(q, ") AS u ORDER BY started DESC, submitted DESC, task DESC, retry DESC");
}

static void part_sql(struct list_query *q, const struct task_filter *f, enum part part, const struct list_path *path,
                     const struct span *span) {
    struct statuses s = statuses_of(f, part);
    struct way way = way_of(f, &s, part, path);
    if (span && way.failures) {
        failures(q, f, &s, *span);
    } else {
        list_sql(q, span ? ITEM_SELECT : "SELECT 1 AS one");
        if (way.workflows_first)
            from_workflows(q, f, &s, part, &way.path);
        else
            from_tasks(q, f, &s, STATUS_NONE);
        if (span)
            list_sql(q, part == PART_LIVE ? LIVE_ORDER : part == PART_STARTED ? LATEST_START : NEWEST);
    }
    if (span) {
        list_add(q, " LIMIT ?", DB_I(span->limit));
        list_add(q, " OFFSET ?", DB_I(span->offset));
    }
}

static int read_part(db_t *db, const struct task_filter *f, enum part part, const struct list_path *path, const struct span *span,
                     void **rows, size_t *n, osmo_error_t *err) {
    struct list_query q;
    list_query_init(&q, db);
    part_sql(&q, f, part, path, span);
    int rc = list_query_check(&q, err);
    if (rc == 0)
        rc = rows_select(db, &item_type, buf_cstr(&q.sql), q.args, q.n, rows, n, err);
    list_query_clear(&q);
    return rc;
}

/* Rows of a part that the offset has gone beyond. */
static int count_part(db_t *db, const struct task_filter *f, enum part part, const struct list_path *path, int64_t *count,
                      osmo_error_t *err) {
    struct list_query q;
    list_query_init(&q, db);
    list_sql(&q, "SELECT COUNT(*) FROM (");
    part_sql(&q, f, part, path, NULL);
    list_sql(&q, ") AS c");
    int rc = list_query_check(&q, err);
    if (rc == 0)
        rc = int_select(db, buf_cstr(&q.sql), q.args, q.n, 0, count, err);
    list_query_clear(&q);
    return rc;
}

static int append(struct task_item **list, size_t *len, struct task_item *more, size_t n, osmo_error_t *err) {
    struct task_item *grown = n ? realloc(*list, (*len + n) * sizeof *grown) : *list;
    if (n && !grown) {
        task_items_free(more, n);
        return osmo_error_set(err, OSMO_ENOMEM, "out of memory");
    }
    if (n)
        memcpy(grown + *len, more, n * sizeof *grown);
    *list = grown;
    *len += n;
    free(more);
    return 0;
}

static bool part_is_empty(const struct task_filter *f, enum part part) {
    struct statuses s = statuses_of(f, part);
    return !s.n || (part == PART_WAITING && f->before_set);
}

static int check(const struct task_filter *f, osmo_error_t *err) {
    if (f->nodes.len > FILTER_VALUES_MAX || f->statuses.len > FILTER_VALUES_MAX)
        return osmo_error_set(err, OSMO_ELIMIT, "more than %d values for filter %s: ask for fewer", FILTER_VALUES_MAX,
                              f->nodes.len > FILTER_VALUES_MAX ? "nodes" : "statuses");
    return list_filter_check(f->workflows, err);
}

int repo_task_list(db_t *db, const struct task_filter *f, struct task_item **out, size_t *n, osmo_error_t *err) {
    struct list_path path = { .kind = PATH_TIME };
    struct span span = { f->limit, f->offset > 0 ? f->offset : 0 };
    *out = NULL;
    *n = 0;
    int rc = check(f, err);
    if (rc == 0)
        rc = list_choose(db, f->workflows, TASKS_SMALL_SET, true, &path, err);
    for (enum part part = PART_LIVE; rc == 0 && part < PARTS && span.limit > 0; part++) {
        void *rows = NULL;
        size_t got = 0;
        int64_t count = 0;
        if (part_is_empty(f, part))
            continue;
        rc = read_part(db, f, part, &path, &span, &rows, &got, err);
        if (rc == 0 && !got && span.offset && part + 1 < PARTS)
            rc = count_part(db, f, part, &path, &count, err);
        span.offset = got ? 0 : span.offset - count;
        span.limit -= (int64_t)got;
        if (rc == 0)
            rc = append(out, n, rows, got, err);
    }
    list_path_clear(&path);
    if (rc < 0) {
        task_items_free(*out, *n);
        *out = NULL;
        *n = 0;
    }
    return rc;
}

/* ---- sums ---- */

int repo_task_sums(db_t *db, const struct task_filter *f, bool by_workflow, struct task_sum **out, size_t *n,
                   osmo_error_t *err) {
    struct statuses s = statuses_of(f, PARTS);
    struct list_query q;
    void *list = NULL;
    *n = 0;
    *out = NULL;
    struct list_path path = { .kind = PATH_TIME };
    int rc = check(f, err);
    if (rc < 0 || !s.n)
        return rc;
    rc = list_choose(db, f->workflows, TASKS_SMALL_SET, true, &path, err);
    if (rc < 0)
        return rc;
    list_query_init(&q, db);
    list_sql(&q, "SELECT t.user_name, t.pool, t.priority, SUM(x.cpu), SUM(x.gpu), SUM(x.memory_gib), SUM(x.storage_gib), ");
    list_sql(&q, by_workflow ? "t.id" : "NULL");
    struct way way = way_of(f, &s, PARTS, &path);
    from_workflows(&q, f, &s, PARTS, &way.path);
    list_sql(&q, " GROUP BY t.user_name, t.pool, t.priority");
    list_sql(&q, by_workflow ? ", t.id" : "");
    list_sql(&q, " ORDER BY t.user_name, COALESCE(t.pool, ''), COALESCE(t.priority, '')");
    list_sql(&q, by_workflow ? ", t.id" : "");
    list_add(&q, " LIMIT ?", DB_I(SUMS_MAX + 1));
    rc = list_query_check(&q, err);
    if (rc == 0)
        rc = rows_select(db, &sum_type, buf_cstr(&q.sql), q.args, q.n, &list, n, err);
    list_query_clear(&q);
    list_path_clear(&path);
    *out = list;
    if (rc == 0 && *n > SUMS_MAX) {
        task_sums_free(*out, *n);
        *out = NULL;
        *n = 0;
        rc = osmo_error_set(err, OSMO_ELIMIT, "more than %d sums: narrow the filter", SUMS_MAX);
    }
    return rc;
}
