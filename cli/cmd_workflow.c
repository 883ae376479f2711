/* workflow list, query, spec, cancel, wait. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "cli.h"

#define STATUS_WORDS                                                                                                   \
    "RUNNING FAILED COMPLETED PENDING WAITING FAILED_EXEC_TIMEOUT FAILED_SERVER_ERROR FAILED_QUEUE_TIMEOUT "           \
    "FAILED_SUBMISSION FAILED_CANCELED FAILED_BACKEND_ERROR FAILED_IMAGE_PULL FAILED_EVICTED FAILED_START_ERROR "      \
    "FAILED_START_TIMEOUT FAILED_PREEMPTED"

static char *labels_text(const json_t *labels) {
    buf_t b = BUF_INIT(1u << 16);
    for (json_iter_t it = json_iter(labels); json_iter_next(&it);)
        buf_printf(&b, "%s%s=%s", b.len ? ", " : "", it.key, json_str(it.value) ? json_str(it.value) : "");
    char *text = b.len ? buf_steal(&b, NULL) : strdup("-");
    buf_free(&b);
    return text;
}

/* ---- list ---- */

struct listing {
    const char *name, *order, *format, *after, *before, *app;
    strlist_t statuses, tags, priorities, labels, no_labels, users, pools;
    int64_t count, offset;
    bool all_users;
};

int query_add_utc(buf_t *path, const char *key, const char *value) {
    int64_t us;
    char text[TIME_TEXT_MAX];
    if (!value)
        return 0;
    if (!time_parse(value, &us))
        return api_fail(false, 0, "dates look like 2026-03-01 or 2026-03-01T09:30:00", EXIT_USER);
    query_add(path, key, time_iso(us, text));
    return 0;
}

static int list_path(const void *listing, int64_t limit, int64_t offset, char **out) {
    const struct listing *l = listing;
    buf_t b = BUF_INIT(1u << 20);
    char number[32];
    buf_puts(&b, "/api/workflow");
    snprintf(number, sizeof number, "%lld", (long long)limit);
    query_add(&b, "limit", number);
    snprintf(number, sizeof number, "%lld", (long long)offset);
    query_add(&b, "offset", number);
    query_add(&b, "order", "DESC");
    if (l->all_users)
        query_add(&b, "all_users", "True");
    query_add_all(&b, "users", &l->users);
    query_add_all(&b, "statuses", &l->statuses);
    if (l->pools.len)
        query_add_all(&b, "pools", &l->pools);
    else
        query_add(&b, "all_pools", "True");
    if (l->name)
        query_add(&b, "name", l->name);
    if (l->app)
        query_add(&b, "app", l->app);
    query_add_all(&b, "tags", &l->tags);
    query_add_all(&b, "priority", &l->priorities);
    query_add_all(&b, "label", &l->labels);
    query_add_all(&b, "no_label", &l->no_labels);
    int code = query_add_utc(&b, "submitted_after", l->after);
    if (!code)
        code = query_add_utc(&b, "submitted_before", l->before);
    *out = buf_steal(&b, NULL);
    buf_free(&b);
    return code;
}

static void show_list(const json_t *rows, bool ascending) {
    struct table t = { .columns = 7 };
    static const char *const heads[] = { "User",     "Workflow ID", "Submit Time", "Status",
                                         "Priority", "Labels",      "Overview" };
    for (size_t i = 0; i < 7; i++)
        table_add(&t, heads[i]);
    size_t n = json_len(rows);
    if (!n) {
        strlist_free(&t.cells);
        puts("There are no workflows to view.");
        return;
    }
    for (size_t i = 0; i < n; i++) {
        const json_t *w = json_at(rows, ascending ? n - 1 - i : i);
        char when[48];
        _cleanup_free_ char *labels = labels_text(json_get(w, "labels"));
        table_add(&t, json_get_str(w, "user"));
        table_add(&t, json_get_str(w, "name"));
        table_add(&t, local_time(json_get_str(w, "submit_time"), when));
        table_add(&t, json_get_str(w, "status"));
        table_add(&t, json_get_str(w, "priority"));
        table_add(&t, labels);
        table_add(&t, json_get_str(w, "overview"));
    }
    table_print(&t, 1);
}

static int run_list(struct listing *l) {
    struct api a;
    json_t *rows = json_array();
    int code = api_open(&a, str_eq(l->format, "json"));
    if (!code)
        code = list_fetch(&a, &(struct list_source){ list_path, l, "workflows" }, l->count, l->offset, rows);
    if (!code && str_eq(l->format, "json")) {
        json_t *o = json_object();
        json_set(o, "workflows", json_ref(rows));
        print_json(o, 2);
        json_free(o);
    } else if (!code) {
        show_list(rows, !str_eq(l->order, "desc"));
    }
    json_free(rows);
    api_close(&a);
    return code;
}

static int cmd_list(int argc, char **argv) {
    struct listing l = { .order = "asc", .format = "text", .count = 20 };
    const struct opt opts[] = {
        { "--count -c", OPT_INT, &l.count, "N", "number of workflows", NULL },
        { "--offset -f", OPT_INT, &l.offset, "N", "skip the newest N", NULL },
        { "--name -n", OPT_VALUE, &l.name, "NAME", "part of the workflow id", NULL },
        { "--order -o", OPT_CHOICE, &l.order, "ORDER", "order by submit time", "asc desc" },
        { "--status -s", OPT_LIST, &l.statuses, "STATUS", "only these statuses", NULL },
        FORMAT_OPTION(&l.format),
        { "--submitted-after", OPT_VALUE, &l.after, "DATE", "submitted at or after", NULL },
        { "--submitted-before", OPT_VALUE, &l.before, "DATE", "submitted before", NULL },
        { "--tags", OPT_LIST, &l.tags, "TAG", "with any of these tags", NULL },
        { "--priority", OPT_LIST, &l.priorities, "PRIORITY", "HIGH, NORMAL or LOW", NULL },
        { "--label", OPT_LIST, &l.labels, "KEY=SELECTOR", "with these labels", NULL },
        { "--no-label", OPT_LIST, &l.no_labels, "KEY", "without this label", NULL },
        { "--user -u", OPT_LIST, &l.users, "USER", "submitted by", NULL },
        { "--all-users -a", OPT_FLAG, &l.all_users, NULL, "of every user", NULL },
        { "--pool -p", OPT_LIST, &l.pools, "POOL", "in these pools", NULL },
        { "--app -P", OPT_VALUE, &l.app, "APP[:VERSION]", "submitted from this app", NULL },
    };
    const struct usage u = {
        "workflow list", "List workflows, your own unless told otherwise.", opts, ARRAY_SIZE(opts), NULL, 0
    };
    int code = opt_parse(&u, argc, argv);
    for (size_t i = 0; code < 0 && i < l.statuses.len; i++) {
        char padded[1024];
        snprintf(padded, sizeof padded, " %s ", STATUS_WORDS);
        _cleanup_free_ char *word = str_printf(" %s ", l.statuses.items[i]);
        if (word && !strstr(padded, word))
            code = opt_error(&u, "argument --status: invalid choice: '%s' (choose from %s)", l.statuses.items[i],
                             STATUS_WORDS);
    }
    if (code < 0 && l.all_users && l.users.len)
        code = opt_error(&u, "argument --all-users: not allowed with argument --user");
    if (code < 0 && (l.count < 1 || l.offset < 0))
        code = opt_error(&u, "--count must be positive and --offset not negative");
    if (code < 0)
        code = run_list(&l);
    strlist_t *lists[] = { &l.statuses, &l.tags, &l.priorities, &l.labels, &l.no_labels, &l.users, &l.pools };
    for (size_t i = 0; i < ARRAY_SIZE(lists); i++)
        strlist_free(lists[i]);
    return code;
}

/* ---- query ---- */

static void show_task_rows(struct table *t, const json_t *groups, bool verbose) {
    for (size_t i = 0; i < json_len(groups); i++) {
        const json_t *tasks = json_get(json_at(groups, i), "tasks");
        for (size_t j = 0; j < json_len(tasks); j++) {
            const json_t *task = json_at(tasks, j);
            char when[48], retry[32];
            table_add(t, json_get_str(task, "name"));
            if (verbose) {
                snprintf(retry, sizeof retry, "%lld", (long long)json_get_int(task, "retry_id", 0));
                table_add(t, retry);
            }
            table_add(t, local_time(json_get_str(task, "start_time"), when));
            table_add(t, json_get_str(task, "status"));
        }
    }
}

static void show_workflow(const json_t *w, bool verbose) {
    char when[48];
    printf("Workflow ID : %s\nStatus      : %s\nUser        : %s\nSubmit Time : %s\n", json_get_str(w, "name"),
           json_get_str(w, "status"), json_get_str(w, "submitted_by"),
           local_time(json_get_str(w, "submit_time"), when));
    if (json_len(json_get(w, "labels"))) {
        _cleanup_free_ char *labels = labels_text(json_get(w, "labels"));
        printf("Labels      : %s\n", labels);
    }
    const char *cause = json_get_str(w, "failure_message");
    if (cause && *cause)
        printf("Cause       : %s\n", cause);
    printf("Overview    : %s\n----------------------------------------\n", json_get_str(w, "overview"));
    struct table t = { .columns = verbose ? 4 : 3 };
    table_add(&t, "Task Name");
    if (verbose)
        table_add(&t, "Retry ID");
    table_add(&t, "Start Time");
    table_add(&t, "Status");
    show_task_rows(&t, json_get(w, "groups"), verbose);
    table_print(&t, 1);
}

static int cmd_query(int argc, char **argv) {
    const char *id = NULL, *format = "text";
    bool verbose = false;
    const struct opt opts[] = { { "--verbose -v", OPT_FLAG, &verbose, NULL, "every attempt of every task", NULL },
                                FORMAT_OPTION(&format) };
    const struct arg args[] = { { "ID", "workflow id or uuid", &id, NULL, false } };
    const struct usage u = { "workflow query", "Show a workflow and its tasks.", opts, 2, args, 1 };
    int code = opt_parse(&u, argc, argv);
    if (code >= 0)
        return code;
    struct api a;
    json_t *w = NULL;
    code = api_open(&a, str_eq(format, "json"));
    _cleanup_free_ char *path = workflow_path(id, verbose ? "?verbose=True" : "?verbose=False");
    if (!code)
        code = api_call(&a, "GET", path, NULL, &w);
    if (!code && str_eq(format, "json"))
        print_json(w, 2);
    else if (!code)
        show_workflow(w, verbose);
    json_free(w);
    api_close(&a);
    return code;
}

/* ---- specification ---- */

static int cmd_spec(int argc, char **argv) {
    const char *id = NULL;
    bool template = false;
    const struct opt opts[] = { { "--template", OPT_FLAG, &template, NULL, "the text as it was uploaded", NULL } };
    const struct arg args[] = { { "ID", "workflow id", &id, NULL, false } };
    const struct usage u = { "workflow spec", "Print the specification of a workflow.", opts, 1, args, 1 };
    int code = opt_parse(&u, argc, argv);
    if (code >= 0)
        return code;
    struct api a;
    _cleanup_free_ char *path = workflow_path(id, template ? "/spec?use_template=True" : "/spec?use_template=False");
    code = api_open(&a, false);
    if (!code)
        code = path ? api_stream(&a, path, print_data, NULL, 0, false, NULL) : EXIT_USER;
    api_close(&a);
    return code;
}

/* ---- cancel, wait ---- */

static int cmd_cancel(int argc, char **argv) {
    const char *message = NULL, *format = "text";
    bool force = false;
    strlist_t ids = { 0 };
    const struct opt opts[] = { { "--message -m", OPT_VALUE, &message, "TEXT", "why", NULL },
                                { "--force -f", OPT_FLAG, &force, NULL, "do not wait for the tasks to stop", NULL },
                                FORMAT_OPTION(&format) };
    const struct arg args[] = { { "ID", "workflow ids", NULL, &ids, false } };
    const struct usage u = { "workflow cancel", "Cancel workflows.", opts, 3, args, 1 };
    int code = opt_parse(&u, argc, argv);
    struct api a;
    if (code < 0 && !(code = api_open(&a, str_eq(format, "json")))) {
        for (size_t i = 0; i < ids.len; i++) { /* a refused one does not keep the others from being cancelled */
            _cleanup_free_ char *base = workflow_path(ids.items[i], "/cancel");
            buf_t path = BUF_INIT(1u << 16);
            json_t *answer = NULL;
            buf_puts(&path, base ? base : "");
            query_add(&path, "force", force ? "True" : "False");
            if (message)
                query_add(&path, "message", message);
            if (api_call(&a, "POST", buf_cstr(&path), NULL, &answer) == 0) {
                if (str_eq(format, "json"))
                    print_json(answer, 2);
                else
                    printf("Cancel job for workflow %s is submitted!\n", json_get_str(answer, "name"));
            }
            json_free(answer);
            buf_free(&path);
        }
        api_close(&a);
    }
    strlist_free(&ids);
    return code;
}

static int cmd_wait(int argc, char **argv) {
    const char *id = NULL, *format = "text";
    int64_t timeout = 0;
    bool quiet = false;
    const struct opt opts[] = {
        { "--timeout", OPT_INT, &timeout, "SECONDS", "give up after this long, with exit code 124", NULL },
        { "--quiet -q", OPT_FLAG, &quiet, NULL, "do not tell each change of status on stderr", NULL },
        FORMAT_OPTION(&format)
    };
    const struct arg args[] = { { "ID", "workflow id", &id, NULL, false } };
    static const char summary[] =
        "Wait until a workflow is finished: exit 0 when it COMPLETED, 20 when it failed, 124 on --timeout.";
    const struct usage u = { "workflow wait", summary, opts, 3, args, 1 };
    int code = opt_parse(&u, argc, argv);
    if (code < 0 && timeout < 0)
        return opt_error(&u, "--timeout must not be negative");
    struct api a;
    if (code < 0 && !(code = api_open(&a, str_eq(format, "json")))) {
        code = wait_workflow(&a, id, timeout * 1000, quiet, str_eq(format, "json"));
        api_close(&a);
    }
    return code;
}

const struct command workflow_commands[WORKFLOW_COMMANDS] = {
    { "submit", "submit a workflow", cmd_submit },   { "validate", "check a workflow file", cmd_validate },
    { "list", "list workflows", cmd_list },          { "query", "show a workflow", cmd_query },
    { "logs", "print the log", cmd_logs },           { "events", "print the events", cmd_events },
    { "spec", "print the specification", cmd_spec }, { "cancel", "cancel workflows", cmd_cancel },
    { "wait", "wait for the end", cmd_wait },         { "restart", "run again what failed", cmd_restart },
    { "explain", "why it waits or failed", cmd_explain }, { "tag", "show, add and remove tags", cmd_tag },
    { "exec", "run a command in a task", cmd_exec }, { "port-forward", "reach ports of a task", cmd_port_forward },
    { "webserver", "open a task's web server to browsers", cmd_webserver },
    { "rsync", "copy files into and out of tasks", cmd_rsync },
};
