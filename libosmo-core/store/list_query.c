/* Conditions of the list filters, and the choice of the index (filter grammar of the API: different filters and
 * together, values of one filter or together, labels and together). See list_query.h. */
#include "store/list_query.h"

#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"

#define SQL_MAX (1u << 20)

void list_query_init(struct list_query *q, const db_t *db) {
    memset(q, 0, sizeof *q);
    buf_init(&q->sql, SQL_MAX);
    q->pgsql = db_is_pgsql(db);
}

void list_query_clear(struct list_query *q) {
    buf_free(&q->sql);
    free(q->args);
    strlist_free(&q->texts);
    memset(q, 0, sizeof *q);
}

void list_sql(struct list_query *q, const char *sql) { buf_puts(&q->sql, sql); }

void list_add(struct list_query *q, const char *sql, struct db_arg a) {
    buf_puts(&q->sql, sql);
    if (q->n == LIST_ARGS_MAX)
        q->code = q->code ? q->code : OSMO_ELIMIT;
    if (q->n == q->cap && !q->code) {
        size_t cap = q->cap ? q->cap * 2 : 64;
        struct db_arg *grown = realloc(q->args, cap * sizeof *grown);
        if (!grown) {
            q->code = OSMO_ENOMEM;
            return;
        }
        q->args = grown;
        q->cap = cap;
    }
    if (!q->code)
        q->args[q->n++] = a;
}

int list_query_check(const struct list_query *q, osmo_error_t *err) {
    int code = q->code ? q->code : q->sql.code;
    if (code == OSMO_ELIMIT)
        return osmo_error_set(err, code, "the filters have too many values together: ask for fewer");
    return code ? osmo_error_set(err, code, "out of memory") : 0;
}

static bool seen_before(const strlist_t *l, size_t i) {
    for (size_t k = 0; k < i; k++) {
        if (strcmp(l->items[k], l->items[i]) == 0)
            return true;
    }
    return false;
}

void list_any_of(struct list_query *q, const char *column, const strlist_t *values) {
    size_t n = 0;
    for (size_t i = 0; i < values->len; i++) {
        if (seen_before(values, i))
            continue;
        if (n == 0)
            buf_printf(&q->sql, " AND %s IN (", column);
        list_add(q, n++ ? ", ?" : "?", DB_T(values->items[i]));
    }
    if (n)
        buf_putc(&q->sql, ')');
}

void list_any_status(struct list_query *q, const char *column, const enum status *s, size_t n) {
    buf_printf(&q->sql, " AND %s IN (", column);
    for (size_t i = 0; i < n; i++)
        list_add(q, i ? ", ?" : "?", DB_I(s[i]));
    buf_putc(&q->sql, ')');
}

size_t list_statuses(const struct workflow_filter *f, enum status out[STATUS_COUNT]) {
    size_t n = 0;
    for (int s = STATUS_NONE + 1; s < STATUS_COUNT; s++) {
        bool of_tasks = s == STATUS_SUBMITTING || (s >= STATUS_PROCESSING && s <= STATUS_INITIALIZING) ||
            s == STATUS_RESCHEDULED;
        if (f->statuses.len ? strlist_has(&f->statuses, status_name((enum status)s))
                            : !of_tasks && s != STATUS_FAILED_SUBMISSION)
            out[n++] = (enum status)s;
    }
    return n;
}

static int check_count(const char *name, const strlist_t *l, osmo_error_t *err) {
    return l->len <= FILTER_VALUES_MAX ? 0 : osmo_error_set(err, OSMO_ELIMIT, "more than %d values for filter %s: ask for "
                                                            "fewer", FILTER_VALUES_MAX, name);
}

int list_filter_check(const struct workflow_filter *f, osmo_error_t *err) {
    const struct { const char *name; const strlist_t *values; } lists[] = {
        { "users", &f->users }, { "pools", &f->pools }, { "statuses", &f->statuses }, { "priority", &f->priorities },
        { "label", &f->labels }, { "no_label", &f->no_labels }, { "tags", &f->tags },
    };
    int rc = 0;
    for (size_t i = 0; rc == 0 && i < ARRAY_SIZE(lists); i++)
        rc = check_count(lists[i].name, lists[i].values, err);
    for (size_t i = 0; rc == 0 && i < f->statuses.len; i++) {
        if (status_parse(f->statuses.items[i]) == STATUS_NONE)
            rc = osmo_error_set(err, OSMO_EUSER, "unknown workflow status %s", f->statuses.items[i]);
    }
    for (size_t i = 0; rc == 0 && i < f->labels.len; i++) {
        if (!strchr(f->labels.items[i], '='))
            rc = osmo_error_set(err, OSMO_EUSER, "label filter %s: write key=value", f->labels.items[i]);
    }
    return rc;
}

/* ---- conditions ---- */

static void times(struct list_query *q, const struct workflow_filter *f, const char *after, const char *before) {
    if (f->submitted_after_us)
        list_add(q, after, DB_I(f->submitted_after_us));
    if (f->submitted_before_us)
        list_add(q, before, DB_I(f->submitted_before_us));
}

/* The wildcard of a selector in the database's own. A value holds nothing that GLOB would take for more than itself. */
static void add_pattern(struct list_query *q, const char *value) {
    _cleanup_buf_ buf_t text = BUF_INIT(1u << 14);
    for (const char *p = value; *p; p++) {
        if (q->pgsql && (*p == '_' || *p == '%' || *p == '\\'))
            buf_putc(&text, '\\');
        buf_putc(&text, q->pgsql && *p == '*' ? '%' : *p);
    }
    if (buf_failed(&text) || strlist_add(&q->texts, buf_cstr(&text)) < 0) {
        q->code = q->code ? q->code : OSMO_ENOMEM;
        return;
    }
    list_add(q, q->pgsql ? "l.label_value LIKE ?" : "l.label_value GLOB ?", DB_T(q->texts.items[q->texts.len - 1]));
}

void list_label(struct list_query *q, const char *selector) {
    const char *equals = strchr(selector, '=');
    strlist_t values = { 0 };
    struct db_arg key = { .type = DB_TEXT, .p = selector, .len = (size_t)(equals - selector) };
    list_add(q, "l.label_key = ?", key);
    if (strcmp(equals + 1, "*") == 0)
        return;
    if (strlist_split(&values, equals + 1, '|') < 0)
        q->code = OSMO_ENOMEM;
    list_sql(q, " AND (");
    for (size_t i = 0; i < values.len && !q->code; i++) {
        list_sql(q, i ? " OR " : "");
        if (strchr(values.items[i], '*'))
            add_pattern(q, values.items[i]);
        else if (strlist_add(&q->texts, values.items[i]) == 0)
            list_add(q, "l.label_value = ?", DB_T(q->texts.items[q->texts.len - 1]));
        else
            q->code = OSMO_ENOMEM;
    }
    list_sql(q, ")");
    strlist_free(&values);
}

#define OF_WORKFLOW "EXISTS (SELECT 1 FROM workflow_labels l WHERE l.workflow_uuid = t.uuid AND "

static void where_labels(struct list_query *q, const struct workflow_filter *f, unsigned done, size_t label) {
    for (size_t i = 0; i < f->labels.len; i++) {
        if ((done & DONE_LABEL) && i == label)
            continue;
        list_sql(q, " AND " OF_WORKFLOW);
        list_label(q, f->labels.items[i]);
        list_sql(q, ")");
    }
    for (size_t i = 0; i < f->no_labels.len; i++)
        list_add(q, " AND NOT " OF_WORKFLOW "l.label_key = ?)", DB_T(f->no_labels.items[i]));
}

void list_where(struct list_query *q, const struct workflow_filter *f, unsigned done, size_t label) {
    enum status s[STATUS_COUNT];
    if (!(done & DONE_USERS) && !f->all_users)
        list_any_of(q, "t.user_name", &f->users);
    if (!(done & DONE_STATUSES) && f->statuses.len)
        list_any_status(q, "t.status", s, list_statuses(f, s));
    else if (!(done & DONE_STATUSES))
        list_add(q, " AND t.status <> ?", DB_I(STATUS_FAILED_SUBMISSION));
    if (!(done & DONE_POOLS) && !f->all_pools)
        list_any_of(q, "t.pool", &f->pools);
    list_any_of(q, "t.priority", &f->priorities);
    if (!(done & DONE_TAGS) && f->tags.len) {
        list_sql(q, " AND EXISTS (SELECT 1 FROM workflow_tags g WHERE g.workflow_uuid = t.uuid");
        list_any_of(q, "g.tag", &f->tags);
        list_sql(q, ")");
    }
    if (f->name_contains && f->name_contains[0])
        list_add(q, q->pgsql ? " AND strpos(t.id, ?) > 0" : " AND instr(t.id, ?) > 0", DB_T(f->name_contains));
    times(q, f, " AND t.submit_us >= ?", " AND t.submit_us < ?");
    where_labels(q, f, done, label);
}

/* ---- paths ---- */

static bool by_users(const struct workflow_filter *f) { return !f->all_users && f->users.len; }
static bool by_pools(const struct workflow_filter *f) { return !f->all_pools && f->pools.len; }

struct list_path list_plain_path(const struct workflow_filter *f) {
    return (struct list_path){ .kind = by_users(f) ? PATH_USER : by_pools(f) ? PATH_POOL : PATH_STATUS };
}

/* A server's planner knows how many rows there are of each value; the embedded one is told. */
void list_from(struct list_query *q, const struct list_path *p) {
    static const char *const indexes[] = {
        [PATH_TIME] = "workflows_by_time", [PATH_STATUS] = "workflows_by_status", [PATH_USER] = "workflows_by_user",
        [PATH_POOL] = "workflows_by_pool", [PATH_NAME] = "sqlite_autoindex_workflows_3", /* UNIQUE (name, job_id) */
    };
    if (p->kind == PATH_LABEL)
        list_sql(q, " FROM workflow_labels l CROSS JOIN workflows t");
    else if (p->kind == PATH_TAG)
        list_sql(q, " FROM workflow_tags l CROSS JOIN workflows t");
    else if (q->pgsql)
        list_sql(q, " FROM workflows t");
    else
        buf_printf(&q->sql, " FROM workflows t INDEXED BY %s", indexes[p->kind]);
}

void list_from_where(struct list_query *q, const struct workflow_filter *f, const struct list_path *p) {
    bool beside = p->kind == PATH_LABEL || p->kind == PATH_TAG;
    list_sql(q, beside ? " WHERE t.uuid = l.workflow_uuid" : " WHERE 1 = 1");
    if (beside)
        times(q, f, " AND l.submit_us >= ?", " AND l.submit_us < ?");
    if (p->kind == PATH_NAME && p->names.len)
        list_any_of(q, "t.name", &p->names);
    else if (p->kind == PATH_NAME)
        list_sql(q, " AND t.name = ''"); /* there is none */
}

/* Rows of the path, up to `most`. */
static int measure(db_t *db, const struct workflow_filter *f, const struct list_path *p, int64_t most, int64_t *size,
                   osmo_error_t *err) {
    struct list_query q;
    enum status s[STATUS_COUNT];
    list_query_init(&q, db);
    list_sql(&q, "SELECT COUNT(*) FROM (SELECT 1 AS one");
    if (p->kind == PATH_LABEL) {
        list_sql(&q, " FROM workflow_labels l WHERE ");
        list_label(&q, f->labels.items[p->label]);
        times(&q, f, " AND l.submit_us >= ?", " AND l.submit_us < ?");
    } else if (p->kind == PATH_TAG) {
        list_sql(&q, " FROM workflow_tags l WHERE 1 = 1");
        list_any_of(&q, "l.tag", &f->tags);
        times(&q, f, " AND l.submit_us >= ?", " AND l.submit_us < ?");
    } else {
        list_from(&q, p);
        list_from_where(&q, f, p);
        if (p->kind == PATH_USER)
            list_any_of(&q, "t.user_name", &f->users);
        else if (p->kind == PATH_POOL)
            list_any_of(&q, "t.pool", &f->pools);
        if (p->kind != PATH_NAME) {
            list_any_status(&q, "t.status", s, list_statuses(f, s));
            times(&q, f, " AND t.submit_us >= ?", " AND t.submit_us < ?");
        }
    }
    list_add(&q, " LIMIT ?) AS found", DB_I(most));
    int rc = list_query_check(&q, err);
    if (rc == 0)
        rc = int_select(db, buf_cstr(&q.sql), q.args, q.n, 0, size, err);
    list_query_clear(&q);
    return rc;
}

/* ---- names ---- */

void list_path_clear(struct list_path *p) { strlist_free(&p->names); }

/* An id is NAME-NUMBER. What is looked for lies in the name and its '-', or reaches into the number: "-12" of "train-12".
 * Digits alone may lie in any number, and an end of any name says nothing. */
static bool names_query(struct list_query *q, const char *part) {
    size_t len = strlen(part), digits = 0;
    while (digits < len && part[len - 1 - digits] >= '0' && part[len - 1 - digits] <= '9')
        digits++;
    if (digits == len)
        return false;
    bool number = digits && part[len - 1 - digits] == '-';
    if (number && digits + 1 == len)
        return false;
    const char *find = q->pgsql ? "strpos(name || '-', ?) > 0" : "instr(name || '-', ?) > 0";
    list_sql(q, "SELECT name FROM workflow_names WHERE ");
    list_add(q, find, DB_T(part));
    if (number) {
        struct db_arg end = { .type = DB_TEXT, .p = part, .len = len - digits };
        list_sql(q, " OR ");
        list_add(q, find, end);
    }
    list_add(q, " LIMIT ?", DB_I(FILTER_VALUES_MAX + 1));
    return true;
}

/* Few workflows of few names: they are the best way. */
static int choose_names(db_t *db, const struct workflow_filter *f, int64_t small_set, struct list_path *out,
                        osmo_error_t *err) {
    struct list_query q;
    int64_t size = 0;
    int rc = 0;
    list_query_init(&q, db);
    bool possible = names_query(&q, f->name_contains);
    if (possible && (rc = list_query_check(&q, err)) == 0)
        rc = strings_select(db, buf_cstr(&q.sql), q.args, q.n, 1, &out->names, err);
    list_query_clear(&q);
    if (rc < 0 || !possible || out->names.len > FILTER_VALUES_MAX)
        return rc;
    if (out->names.len)
        rc = measure(db, f, out, small_set, &size, err);
    out->small = size < small_set;
    return rc;
}

static bool is_exact(const char *selector) { return !strchr(strchr(selector, '='), '*'); }

#define CANDIDATES_MAX 7

int list_choose(db_t *db, const struct workflow_filter *f, int64_t small_set, bool always_measure,
                struct list_path *out, osmo_error_t *err) {
    struct list_path c[CANDIDATES_MAX];
    int64_t least = small_set;
    size_t n = 0, best = 0;
    int rc = 0;
    *out = (struct list_path){ .kind = PATH_NAME };
    if (f->name_contains && f->name_contains[0]) {
        rc = choose_names(db, f, small_set, out, err);
        if (rc < 0 || out->small)
            return rc;
        list_path_clear(out);
    }
    if (by_users(f))
        c[n++] = (struct list_path){ .kind = PATH_USER };
    if (by_pools(f))
        c[n++] = (struct list_path){ .kind = PATH_POOL };
    if (f->tags.len)
        c[n++] = (struct list_path){ .kind = PATH_TAG };
    for (size_t i = 0; i < f->labels.len && n < CANDIDATES_MAX; i++) {
        if (is_exact(f->labels.items[i]))
            c[n++] = (struct list_path){ .kind = PATH_LABEL, .label = i };
    }
    for (size_t i = 0; rc == 0 && i < n && (n > 1 || always_measure); i++) {
        int64_t size = 0;
        rc = measure(db, f, &c[i], small_set, &size, err);
        if (rc < 0 || size >= least)
            continue;
        least = size;
        best = i;
        c[i].small = true;
    }
    *out = n ? c[best]
             : (struct list_path){ .kind = f->statuses.len || f->priorities.len ? PATH_STATUS : PATH_TIME };
    return rc;
}
