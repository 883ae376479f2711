/* Following a workflow to its end: its log, or its status. Both are streams of the service, so nothing is polled; a
 * stream that breaks (a service that restarts) is taken up again where it stopped. */
#include <poll.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "cli.h"

#define RECONNECT_MS 100
#define RECONNECT_FOR_MS 60000

struct watch { buf_t line; char status[64]; char *cause; bool announce; };

static void take_status(struct watch *w) {
    json_t *o = NULL;
    if (json_parse(buf_cstr(&w->line), w->line.len, &o, NULL) == 0) {
        const char *status = json_get_str(o, "status"), *cause = json_get_str(o, "failure_message");
        if (status && strcmp(status, w->status) != 0) {
            snprintf(w->status, sizeof w->status, "%s", status);
            if (w->announce)
                fprintf(stderr, "%s\n", status);
        }
        free(w->cause);
        w->cause = str_dup(cause);
    }
    json_free(o);
    buf_reset(&w->line);
}

static bool on_status(void *ctx, const char *data, size_t len) {
    struct watch *w = ctx;
    for (size_t i = 0; i < len; i++) {
        if (data[i] == '\n')
            take_status(w);
        else if (buf_putc(&w->line, data[i]))
            return false;
    }
    return true;
}

static bool is_finished(const char *status) {
    return strcmp(status, "COMPLETED") == 0 || strncmp(status, "FAILED", 6) == 0;
}

/* After a stream broke: the time for finding the service again starts with each loss of a stream that had worked. */
bool stream_may_retry(const struct api *a, int64_t *give_up) {
    int64_t now = clock_mono_us();
    if (a->answered || !*give_up)
        *give_up = now + RECONNECT_FOR_MS * 1000;
    return now <= *give_up;
}

int stream_lost(const struct api *a) {
    static const char text[] = "the service cannot be reached any more: the workflow goes on without us";
    return api_fail(a->json_errors, 0, text, EXIT_SERVER_DOWN);
}

/* Until finished; 0, EXIT_TIMED_OUT, or an exit code. until_us 0 = no limit. */
static int watch_status(struct api *a, const char *id, struct watch *w, int64_t until_us) {
    _cleanup_free_ char *path = workflow_path(id, "/watch");
    int64_t give_up = 0;
    while (path) {
        int64_t left = until_us ? (until_us - clock_mono_us()) / 1000 : 0;
        if (until_us && left <= 0)
            return EXIT_TIMED_OUT;
        bool timed_out = false;
        int code = api_stream(a, path, on_status, w, (long)left, true, &timed_out);
        if (is_finished(w->status))
            return 0;
        if (code && code != EXIT_SERVER_DOWN)
            return code;
        if (!timed_out && !until_us && !stream_may_retry(a, &give_up))
            return stream_lost(a);
        if (!timed_out)
            poll(NULL, 0, RECONNECT_MS);
    }
    return EXIT_USER;
}

/* The last line is one line: causes of several lines are joined. */
static int report(const struct watch *w) {
    bool completed = strcmp(w->status, "COMPLETED") == 0;
    printf("Status: %s", w->status);
    if (!completed && w->cause && *w->cause) {
        fputs(" (", stdout);
        for (const char *p = w->cause; *p; p += strspn(p, "\n")) {
            size_t n = strcspn(p, "\n");
            printf("%.*s%s", (int)n, p, p[n] && p[n + 1] ? "; " : "");
            p += n;
        }
        putchar(')');
    }
    putchar('\n');
    return completed ? 0 : EXIT_WORKFLOW_FAILED;
}

int follow_workflow(struct api *a, const char *id) {
    _cleanup_free_ char *path = workflow_path(id, "/logs");
    struct lines_request r = { .path = path ? path : "", .insist = true };
    int code = lines_print(a, &r);
    if (code)
        return code;
    struct watch w = { .line = BUF_INIT(1u << 20) };
    code = watch_status(a, id, &w, 0);
    if (!code)
        code = report(&w);
    buf_free(&w.line);
    free(w.cause);
    return code;
}

int wait_workflow(struct api *a, const char *id, int64_t timeout_ms, bool quiet, bool as_json) {
    struct watch w = { .line = BUF_INIT(1u << 20), .announce = !quiet };
    int code = watch_status(a, id, &w, timeout_ms ? clock_mono_us() + timeout_ms * 1000 : 0);
    if (code == EXIT_TIMED_OUT)
        fprintf(stderr, "Timed out: the workflow is %s\n", w.status[0] ? w.status : "of unknown status");
    else if (!code && as_json) {
        json_t *o = json_object();
        json_set_str(o, "name", id);
        json_set_str(o, "status", w.status);
        json_set_str(o, "failure_message", w.cause);
        print_json(o, 2);
        json_free(o);
        code = strcmp(w.status, "COMPLETED") == 0 ? 0 : EXIT_WORKFLOW_FAILED;
    } else if (!code)
        code = report(&w);
    buf_free(&w.line);
    free(w.cause);
    return code;
}
