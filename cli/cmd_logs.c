/* workflow logs, workflow events. */
#include <stdio.h>
#include <string.h>

#include "base/cleanup.h"
#include "cli.h"

/* What both of them understand. */
struct asked { const char *id, *task, *retry, *last, *since, *from_line, *grep, *stream; bool error, follow, no_follow; };

static int print(const struct asked *q, const char *what, const char *title) {
    struct api a;
    int code = api_open(&a, false);
    _cleanup_free_ char *base = workflow_path(q->id, what);
    buf_t path = BUF_INIT(1u << 16);
    const struct { const char *key, *value; } filters[] = {
        { "task_name", q->task }, { "retry_id", q->retry }, { "since", q->since }, { "grep", q->grep }, { "stream", q->stream },
        { "follow", q->no_follow ? "False" : NULL },
    };
    buf_puts(&path, base ? base : "");
    for (size_t i = 0; i < ARRAY_SIZE(filters); i++)
        if (filters[i].value)
            query_add(&path, filters[i].key, filters[i].value);
    if (!code) {
        printf("Workflow %s has %s:\n", q->id, title);
        fflush(stdout);
        struct lines_request r = { .path = buf_cstr(&path), .from_line = q->from_line, .last_n = q->last };
        code = lines_print(&a, &r);
    }
    buf_free(&path);
    api_close(&a);
    return code;
}

#define FOLLOWING(q) \
    { "--since", OPT_VALUE, &(q).since, "TIME|AGE", "only lines from then on: 2026-03-01T09:30:00Z, 10m, 2h30m", NULL }, \
    { "--from-line", OPT_VALUE, &(q).from_line, "N", "begin at line N of those that --task, --retry-id and --stream select", NULL }, \
    { "--grep", OPT_VALUE, &(q).grep, "REGEX", "only lines that match", NULL }, \
    { "--follow -f", OPT_FLAG, &(q).follow, NULL, "follow a running workflow to its end (the default)", NULL }, \
    { "--no-follow", OPT_FLAG, &(q).no_follow, NULL, "end with what there is now", NULL }

static int check(const struct usage *u, const struct asked *q) {
    if (q->follow && q->no_follow)
        return opt_error(u, "argument --follow: not allowed with argument --no-follow");
    if (q->from_line && q->last)
        return opt_error(u, "argument --from-line: not allowed with argument --last-n-lines");
    return -1;
}

int cmd_logs(int argc, char **argv) {
    struct asked q = { 0 };
    const struct opt opts[] = { { "--task -t", OPT_VALUE, &q.task, "TASK", "only this task", NULL },
                                { "--retry-id -r", OPT_VALUE, &q.retry, "N", "only this attempt", NULL },
                                { "--error", OPT_FLAG, &q.error, NULL, "error logs of failed containers", NULL },
                                { "-n --last-n-lines", OPT_VALUE, &q.last, "N", "only the last N lines", NULL },
                                { "--stream", OPT_CHOICE, &q.stream, "STREAM", "only what was written to it", "stdout stderr osmo" },
                                FOLLOWING(q) };
    const struct arg args[] = { { "ID", "workflow id", &q.id, NULL, false } };
    const struct usage u = {
        "workflow logs", "Print the log of a workflow; a running one is followed to its end.", opts, ARRAY_SIZE(opts), args, 1
    };
    int code = opt_parse(&u, argc, argv);
    if (code < 0)
        code = check(&u, &q);
    if (code < 0 && q.error && q.stream)
        code = opt_error(&u, "argument --stream: not allowed with argument --error");
    return code >= 0 ? code : print(&q, q.error ? "/error_logs" : "/logs", q.error ? "error logs" : "logs");
}

int cmd_events(int argc, char **argv) {
    struct asked q = { 0 };
    const struct opt opts[] = { { "--task -t", OPT_VALUE, &q.task, "TASK", "only this task", NULL },
                                { "--retry-id -r", OPT_VALUE, &q.retry, "N", "only this attempt", NULL },
                                FOLLOWING(q) };
    const struct arg args[] = { { "ID", "workflow id", &q.id, NULL, false } };
    const struct usage u = {
        "workflow events", "Print the events of a workflow; a running one is followed to its end.", opts, ARRAY_SIZE(opts), args, 1
    };
    int code = opt_parse(&u, argc, argv);
    if (code < 0)
        code = check(&u, &q);
    return code >= 0 ? code : print(&q, "/events", "events");
}
