/* workflow explain, and work list and retry: the work items that ran out of attempts. */
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "cli.h"

/* ---- workflow explain ---- */

static void show_groups(const json_t *groups) {
    char when[48];
    for (size_t i = 0; i < json_len(groups); i++) {
        const json_t *g = json_at(groups, i), *reasons = json_get(g, "reasons");
        printf("\nGroup %s is %s since %s:\n", json_get_str(g, "name"), json_get_str(g, "status"),
               local_time(json_get_str(g, "since"), when));
        for (size_t k = 0; k < json_len(reasons); k++)
            printf("  %s: %s\n", json_get_str(json_at(reasons, k), "reason"),
                   json_get_str(json_at(reasons, k), "message"));
    }
}

static void show_failure(const json_t *f) {
    char when[48];
    const char *node = json_get_str(f, "node"), *logs = json_get_str(f, "logs");
    const json_t *events = json_get(f, "events");
    printf("\nFailed first, %s%s%s:\n  %s\n", local_time(json_get_str(f, "time"), when), node ? " on node " : "",
           node ? node : "", json_get_str(f, "summary"));
    for (size_t i = 0; i < json_len(events); i++)
        printf("  %s\n", json_str(json_at(events, i)));
    if (logs)
        printf("  Logs: %s\n", logs);
}

static void show_next(const json_t *steps) {
    char when[48];
    if (json_len(steps))
        puts("\nNext:");
    for (size_t i = 0; i < json_len(steps); i++) {
        const json_t *s = json_at(steps, i);
        const char *subject = json_get_str(s, "subject");
        printf("  %s  %s%s%s: %s\n", local_time(json_get_str(s, "time"), when), json_get_str(s, "what"),
               subject ? " of " : "", subject ? subject : "", json_get_str(s, "message"));
    }
}

static void show_explained(const json_t *x) {
    const json_t *groups = json_get(x, "groups"), *failure = json_get(x, "failed_first");
    int64_t left = json_get_int(x, "groups_unfinished", 0) - (int64_t)json_len(groups);
    printf("Workflow ID : %s\nStatus      : %s\nIn short    : %s\n", json_get_str(x, "name"), json_get_str(x, "status"),
           json_get_str(x, "summary"));
    show_groups(groups);
    if (left > 0)
        printf("\n%lld more groups are not finished.\n", (long long)left);
    if (failure)
        show_failure(failure);
    show_next(json_get(x, "next"));
}

int cmd_explain(int argc, char **argv) {
    const char *id = NULL, *format = "text";
    const struct opt opts[] = { FORMAT_OPTION(&format) };
    const struct arg args[] = { { "ID", "workflow id", &id, NULL, false } };
    const struct usage u = { "workflow explain",
                             "Say what each group of a workflow waits for, what failed first and what happens next.",
                             opts, 1, args, 1 };
    int code = opt_parse(&u, argc, argv);
    if (code >= 0)
        return code;
    struct api a;
    json_t *x = NULL;
    code = api_open(&a, str_eq(format, "json"));
    _cleanup_free_ char *path = workflow_path(id, "/explain");
    if (!code)
        code = api_call(&a, "GET", path, NULL, &x);
    if (!code && str_eq(format, "json"))
        print_json(x, 2);
    else if (!code)
        show_explained(x);
    json_free(x);
    api_close(&a);
    return code;
}

/* ---- work list, retry ---- */

#define PAGE 1000

static int fetch_dead(struct api *a, json_t *all) {
    for (int64_t after = 0;;) {
        json_t *page = NULL;
        _cleanup_free_ char *path = str_printf("/api/work/dead?limit=%d&after=%lld", PAGE, (long long)after);
        int code = api_call(a, "GET", path, NULL, &page);
        const json_t *items = json_get(page, "items");
        size_t n = json_len(items);
        for (size_t i = 0; !code && i < n; i++) {
            json_add(all, json_ref(json_at(items, i)));
            after = json_get_int(json_at(items, i), "id", after);
        }
        bool more = json_get_bool(page, "more_entries", false);
        json_free(page);
        if (code || !more || !n)
            return code;
    }
}

static void show_dead(const json_t *items) {
    static const char *const heads[] = { "ID", "Type", "Workflow ID", "Group", "Attempts", "Since", "Last Error" };
    struct table t = { .columns = ARRAY_SIZE(heads) };
    if (!json_len(items)) {
        puts("No work item ran out of attempts.");
        return;
    }
    for (size_t i = 0; i < ARRAY_SIZE(heads); i++)
        table_add(&t, heads[i]);
    for (size_t i = 0; i < json_len(items); i++) {
        const json_t *d = json_at(items, i);
        char number[32], when[48];
        snprintf(number, sizeof number, "%lld", (long long)json_get_int(d, "id", 0));
        table_add(&t, number);
        table_add(&t, json_get_str(d, "type"));
        table_add(&t, json_get_str(d, "workflow_id"));
        table_add(&t, json_get_str(d, "group"));
        snprintf(number, sizeof number, "%lld", (long long)json_get_int(d, "attempts", 0));
        table_add(&t, number);
        table_add(&t, local_time(json_get_str(d, "since"), when));
        table_add(&t, json_get_str(d, "last_error"));
    }
    table_print(&t, 1);
}

static int work_list(int argc, char **argv) {
    const char *format = "text";
    const struct opt opts[] = { FORMAT_OPTION(&format) };
    const struct usage u = { "work list", "List the work items that ran out of attempts (administrators).", opts, 1,
                             NULL, 0 };
    int code = opt_parse(&u, argc, argv);
    struct api a;
    if (code >= 0 || (code = api_open(&a, str_eq(format, "json"))))
        return code;
    json_t *items = json_array();
    code = fetch_dead(&a, items);
    if (!code && str_eq(format, "json")) {
        json_t *o = json_object();
        json_set(o, "items", json_ref(items));
        print_json(o, 2);
        json_free(o);
    } else if (!code) {
        show_dead(items);
    }
    json_free(items);
    api_close(&a);
    return code;
}

static int work_retry(int argc, char **argv) {
    const char *id = NULL, *format = "text";
    const struct opt opts[] = { FORMAT_OPTION(&format) };
    const struct arg args[] = { { "ID", "number of the work item, or all", &id, NULL, false } };
    const struct usage u = { "work retry", "Give a work item that ran out of attempts new ones (administrators).", opts,
                             1, args, 1 };
    int64_t number = 0;
    int code = opt_parse(&u, argc, argv);
    if (code >= 0)
        return code;
    if (!str_eq(id, "all") && (!str_to_i64(id, &number) || number <= 0))
        return opt_error(&u, "'%s' is neither the number of a work item nor 'all'", id);
    struct api a;
    json_t *answer = NULL;
    _cleanup_free_ char *path = str_printf("/api/work/dead/%s/retry", id);
    code = api_open(&a, str_eq(format, "json"));
    if (!code)
        code = api_call(&a, "POST", path, NULL, &answer);
    if (!code && str_eq(format, "json"))
        print_json(answer, 2);
    else if (!code)
        printf("%lld work items are tried again.\n", (long long)json_get_int(answer, "retried", 0));
    json_free(answer);
    api_close(&a);
    return code;
}

const struct command work_commands[WORK_COMMANDS] = {
    { "list", "list what ran out of attempts", work_list },
    { "retry", "try it again", work_retry },
};
