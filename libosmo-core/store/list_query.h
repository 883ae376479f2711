/* Building the queries of the lists: conditions on workflows, and which index to read them by. Used by repo_list.c,
 * repo_task_list.c and repo_auth_users.c only. */
#ifndef STORE_LIST_QUERY_H
#define STORE_LIST_QUERY_H
#include "base/buf.h"
#include "store/repo.h"
#include "store/rows.h"

#define LIST_ARGS_MAX 16384
#define FILTER_VALUES_MAX 200
/* A set of fewer workflows than this is read and sorted as a whole. Each one costs more where their tasks are read. */
#define LIST_SMALL_SET 2000
#define TASKS_SMALL_SET 1000

struct list_query {
    buf_t sql;
    struct db_arg *args;
    size_t n, cap;
    strlist_t texts;  /* arguments that are made here */
    bool pgsql;
    int code;         /* the first failure */
};
void list_query_init(struct list_query *q, const db_t *db);
void list_query_clear(struct list_query *q);
void list_add(struct list_query *q, const char *sql, struct db_arg a);
void list_sql(struct list_query *q, const char *sql);
/* " AND column IN (?, …)"; nothing for an empty list. */
void list_any_of(struct list_query *q, const char *column, const strlist_t *values);
void list_any_status(struct list_query *q, const char *column, const enum status *s, size_t n);
/* 0, or the failure in words. */
int list_query_check(const struct list_query *q, osmo_error_t *err);
/* Too many values, unknown statuses: before anything is built. */
int list_filter_check(const struct workflow_filter *f, osmo_error_t *err);

/* Which conditions the path has already applied. */
enum list_done { DONE_USERS = 1, DONE_STATUSES = 2, DONE_POOLS = 4, DONE_LABEL = 8, DONE_TAGS = 16 };
/* All conditions of the filter on `workflows t` but those done; `label` is the one that DONE_LABEL means. */
void list_where(struct list_query *q, const struct workflow_filter *f, unsigned done, size_t label);
/* The condition of one label on `workflow_labels l`. */
void list_label(struct list_query *q, const char *selector);

/* A path to the rows that match: one index, or the whole table in its order. `small`: its own condition was found to leave
 * a small set. */
enum list_path_kind { PATH_TIME, PATH_STATUS, PATH_USER, PATH_POOL, PATH_LABEL, PATH_TAG, PATH_NAME };
struct list_path {
    enum list_path_kind kind; size_t label; bool small;
    strlist_t names;  /* PATH_NAME, which is always a small set: the names that it may be; none: there is no row */
};
void list_path_clear(struct list_path *p);
int list_choose(db_t *db, const struct workflow_filter *f, int64_t small_set, bool always_measure,
                struct list_path *out, osmo_error_t *err);
/* The first condition whose index serves, unmeasured. */
struct list_path list_plain_path(const struct workflow_filter *f);
/* " FROM workflows t" by the path's index, or by way of the labels or tags, as `l`; other tables may be joined behind it. Then " WHERE"
 * with what makes the path, which is not done in list_where() but for the label or the tags. */
void list_from(struct list_query *q, const struct list_path *p);
void list_from_where(struct list_query *q, const struct workflow_filter *f, const struct list_path *p);
/* The statuses that the filter asks for, as numbers. */
size_t list_statuses(const struct workflow_filter *f, enum status out[STATUS_COUNT]);
#endif
