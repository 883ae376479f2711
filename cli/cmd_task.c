/* task list: tasks of many workflows as rows, or what they ask for together. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "cli.h"

#define STATUS_WORDS                                                                                                   \
    "WAITING PROCESSING SCHEDULING INITIALIZING RUNNING COMPLETED FAILED FAILED_EXEC_TIMEOUT FAILED_START_ERROR "      \
    "FAILED_START_TIMEOUT FAILED_SERVER_ERROR FAILED_BACKEND_ERROR FAILED_QUEUE_TIMEOUT FAILED_IMAGE_PULL "            \
    "FAILED_UPSTREAM FAILED_EVICTED FAILED_PREEMPTED FAILED_CANCELED RESCHEDULED SUBMITTING"

struct listing {
    const char *workflow, *order, *format, *after, *before;
    strlist_t statuses, users, pools, nodes, priorities;
    int64_t count, offset;
    bool all_users, verbose, summary, by_workflow;
};

static int list_path(const void *listing, int64_t limit, int64_t offset, char **out) {
    const struct listing *l = listing;
    buf_t b = BUF_INIT(1u << 20);
    char number[32];
    buf_puts(&b, "/api/task");
    snprintf(number, sizeof number, "%lld", (long long)limit);
    query_add(&b, "limit", number);
    snprintf(number, sizeof number, "%lld", (long long)offset);
    query_add(&b, "offset", number);
    query_add(&b, "order", "DESC");
    if (l->all_users)
        query_add(&b, "all_users", "True");
    query_add_all(&b, "users", &l->users);
    query_add_all(&b, "statuses", &l->statuses);
    query_add_all(&b, "pools", &l->pools);
    if (!l->pools.len)
        query_add(&b, "all_pools", "True");
    query_add_all(&b, "nodes", &l->nodes);
    query_add_all(&b, "priority", &l->priorities);
    if (l->workflow)
        query_add(&b, "workflow_id", l->workflow);
    if (l->by_workflow)
        query_add(&b, "aggregate_by_workflow", "True");
    else if (l->summary)
        query_add(&b, "summary", "True");
    int code = query_add_utc(&b, "started_after", l->after);
    if (!code)
        code = query_add_utc(&b, "started_before", l->before);
    *out = buf_steal(&b, NULL);
    buf_free(&b);
    return code;
}

/* Pages come in the order of their choice; asc turns all of them round, as the service does with one. */
static json_t *turned(const json_t *rows) {
    json_t *out = json_array();
    for (size_t i = json_len(rows); i > 0; i--)
        json_add(out, json_ref(json_at(rows, i - 1)));
    return out;
}

/* ---- tables ---- */

static const char *const amounts[] = { "storage", "cpu", "memory", "gpu" };
static const char *const amount_heads[] = { "Storage [Gi]", "CPU [#]", "Memory [Gi]", "GPU [#]" };

static void add_amounts(struct table *t, const json_t *row, double sums[4]) {
    for (size_t i = 0; i < 4; i++) {
        char text[64];
        double v = json_get_double(row, amounts[i], 0);
        sums[i] += v;
        snprintf(text, sizeof text, "%.10g", v);
        table_add(t, text);
    }
}

/* The last row: what all of them ask for. */
static void add_totals(struct table *t, const double sums[4]) {
    for (size_t i = 4; i < t->columns; i++)
        table_add(t, i == 4 ? "Total" : "");
    for (size_t i = 0; i < 4; i++) {
        char text[64];
        snprintf(text, sizeof text, "%.10g", sums[i]);
        table_add(t, text);
    }
    t->summary_rows = 1;
}

static void add_heads(struct table *t, const char *const *heads, size_t n, bool with_amounts) {
    t->columns = n + (with_amounts ? 4 : 0);
    for (size_t i = 0; i < n; i++)
        table_add(t, heads[i]);
    for (size_t i = 0; with_amounts && i < 4; i++)
        table_add(t, amount_heads[i]);
}

static void show_rows(const json_t *rows, bool verbose) {
    static const char *const heads[] = { "User", "Workflow ID", "Task", "Status", "Pool", "Priority", "Node", "Start Time" };
    static const char *const members[] = { "user", "workflow_id", "task_name", "status", "pool", "priority", "node" };
    struct table t = { .columns = 0 };
    double sums[4] = { 0 };
    add_heads(&t, heads, ARRAY_SIZE(heads), verbose);
    for (size_t i = 0; i < json_len(rows); i++) {
        const json_t *row = json_at(rows, i);
        char when[48];
        for (size_t k = 0; k < ARRAY_SIZE(members); k++)
            table_add(&t, json_get_str(row, members[k]));
        table_add(&t, local_time(json_get_str(row, "start_time"), when));
        if (verbose)
            add_amounts(&t, row, sums);
    }
    if (verbose)
        add_totals(&t, sums);
    table_print(&t, 1);
}

static void show_sums(const json_t *rows, bool by_workflow) {
    static const char *const heads[] = { "User", "Pool", "Priority", "Workflow ID" };
    static const char *const members[] = { "user", "pool", "priority", "workflow_id" };
    struct table t = { .columns = 0 };
    double sums[4] = { 0 };
    size_t names = by_workflow ? 4 : 3;
    add_heads(&t, heads, names, true);
    for (size_t i = 0; i < json_len(rows); i++) {
        const json_t *row = json_at(rows, i);
        for (size_t k = 0; k < names; k++)
            table_add(&t, json_get_str(row, members[k]));
        add_amounts(&t, row, sums);
    }
    add_totals(&t, sums);
    table_print(&t, 1);
}

/* ---- the command ---- */

static void show(const struct listing *l, const json_t *rows, bool sums) {
    if (!json_len(rows))
        puts("There are no tasks to view.");
    else if (sums)
        show_sums(rows, l->by_workflow);
    else
        show_rows(rows, l->verbose);
}

static int fetch_sums(struct api *a, const struct listing *l, json_t **rows) {
    _cleanup_free_ char *path = NULL;
    json_t *answer = NULL;
    int code = list_path(l, l->count > LIST_PAGE_MAX ? LIST_PAGE_MAX : l->count, l->offset, &path);
    if (!code)
        code = api_call(a, "GET", path, NULL, &answer);
    *rows = json_ref(json_get(answer, "summaries"));
    json_free(answer);
    return code;
}

static int run_list(const struct listing *l) {
    struct api a;
    json_t *rows = NULL;
    bool sums = l->summary || l->by_workflow, as_json = str_eq(l->format, "json");
    int code = api_open(&a, as_json);
    if (!code && sums) {
        code = fetch_sums(&a, l, &rows);
    } else if (!code) {
        json_t *pages = json_array();
        code = list_fetch(&a, &(struct list_source){ list_path, l, "tasks" }, l->count, l->offset, pages);
        rows = str_eq(l->order, "desc") ? json_ref(pages) : turned(pages);
        json_free(pages);
    }
    if (!code && as_json) {
        json_t *o = json_object();
        json_set(o, sums ? "summaries" : "tasks", json_ref(rows));
        print_json(o, 2);
        json_free(o);
    } else if (!code) {
        show(l, rows, sums);
    }
    json_free(rows);
    api_close(&a);
    return code;
}

static int check(const struct usage *u, const struct listing *l) {
    for (size_t i = 0; i < l->statuses.len; i++) {
        _cleanup_free_ char *word = str_printf(" %s ", l->statuses.items[i]);
        if (word && !strstr(" " STATUS_WORDS " ", word))
            return opt_error(u, "argument --status: invalid choice: '%s' (choose from %s)", l->statuses.items[i],
                             STATUS_WORDS);
    }
    if (l->all_users && l->users.len)
        return opt_error(u, "argument --all-users: not allowed with argument --user");
    if (l->pools.len && l->nodes.len)
        return opt_error(u, "argument --node: not allowed with argument --pool");
    if (l->verbose && l->summary)
        return opt_error(u, "argument --summary: not allowed with argument --verbose");
    if (l->count < 1 || l->offset < 0)
        return opt_error(u, "--count must be positive and --offset not negative");
    return -1;
}

/* What is going on, unless other statuses are asked for. */
static int default_statuses(strlist_t *l) {
    static const char *const going_on[] = { "PROCESSING", "SCHEDULING", "INITIALIZING", "RUNNING" };
    for (size_t i = 0; i < ARRAY_SIZE(going_on); i++) {
        if (strlist_add(l, going_on[i]) < 0)
            return EXIT_USER;
    }
    return -1;
}

static int cmd_list(int argc, char **argv) {
    struct listing l = { .order = "asc", .format = "text", .count = 20 };
    const struct opt opts[] = {
        { "--status -s", OPT_LIST, &l.statuses, "STATUS", "only these statuses; without it those that go on", NULL },
        { "--workflow-id -w", OPT_VALUE, &l.workflow, "WORKFLOW", "part of the workflow id", NULL },
        { "--user -u", OPT_LIST, &l.users, "USER", "submitted by", NULL },
        { "--all-users -a", OPT_FLAG, &l.all_users, NULL, "of every user", NULL },
        { "--pool -p", OPT_LIST, &l.pools, "POOL", "in these pools", NULL },
        { "--node -n", OPT_LIST, &l.nodes, "NODE", "on these nodes", NULL },
        { "--started-after", OPT_VALUE, &l.after, "DATE", "started at or after, or not yet", NULL },
        { "--started-before", OPT_VALUE, &l.before, "DATE", "started before", NULL },
        { "--count -c", OPT_INT, &l.count, "N", "number of tasks", NULL },
        { "--offset -f", OPT_INT, &l.offset, "N", "skip the first N", NULL },
        { "--order -o", OPT_CHOICE, &l.order, "ORDER", "desc: what is being scheduled and started last comes first",
          "asc desc" },
        { "--verbose -v", OPT_FLAG, &l.verbose, NULL, "with the resources", NULL },
        { "--summary -S", OPT_FLAG, &l.summary, NULL, "sums for each user, pool and priority", NULL },
        { "--aggregate-by-workflow -W", OPT_FLAG, &l.by_workflow, NULL, "sums for each workflow", NULL },
        { "--priority", OPT_LIST, &l.priorities, "PRIORITY", "HIGH, NORMAL or LOW", NULL },
        FORMAT_OPTION(&l.format),
    };
    const struct usage u = {
        "task list", "List tasks, of your own workflows unless told otherwise.", opts, ARRAY_SIZE(opts), NULL, 0
    };
    int code = opt_parse(&u, argc, argv);
    if (code < 0)
        code = check(&u, &l);
    if (code < 0 && !l.statuses.len)
        code = default_statuses(&l.statuses);
    if (code < 0)
        code = run_list(&l);
    strlist_t *lists[] = { &l.statuses, &l.users, &l.pools, &l.nodes, &l.priorities };
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
        strlist_free(lists[i]);
    return code;
}

const struct command task_commands[TASK_COMMANDS] = { { "list", "list tasks", cmd_list } };
