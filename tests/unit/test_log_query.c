/* What can be asked of logs, events and error logs beyond OSMO's own parameters: numbers of lines, times, expressions, streams, the
 * formats, following and not following, and what is refused with which words. Old requests are answered as before: test_logs. */
#include "logs_fixture.h"

#include "base/cleanup.h"
#include "base/clock.h"
#include "engine/logs_internal.h"

static struct fixture f;
static struct seed s;

static osmo_ws_t *open_all(void) {
    static const char batch[] = "{\"IOType\":\"LOG_BATCH\",\"entries\":["
        "{\"seq\":1,\"Time\":\"2026-03-01T09:00:00.9Z\",\"IOType\":\"STDOUT\",\"Text\":\"one\"},"
        "{\"seq\":2,\"Time\":\"2026-03-01T09:00:01Z\",\"IOType\":\"STDERR\",\"Text\":\"two\\nof \\u00e4\\rlines\"},"
        "{\"seq\":3,\"Time\":\"2026-03-01T09:00:01Z\",\"IOType\":\"OSMO_CTRL\",\"Text\":\"\"},"
        "{\"seq\":4,\"Time\":\"2026-03-01T09:00:02.5Z\",\"IOType\":\"UPLOAD\",\"Text\":\"three\"},"
        "{\"seq\":5,\"Time\":\"2026-03-01T09:00:00Z\",\"IOType\":\"STDOUT\",\"Text\":\"four: late\"}]}";
    const char *extensions;
    int status;
    CHECK(open_fixture(&f, OSMO_AUTH_DEV, NULL));
    CHECK(seed_workflow(&f, "wf", "testuser", 2, &s));
    osmo_ws_t *ws = connect_ctrl(&f, s.id, "t0", 0, 1, "logs", &extensions, &status);
    CHECK(ws != NULL);
    if (ws)
        send_single(ws, batch);
    return ws;
}

static char *get(const char *what, const char *query, const char *const *headers, const char *type, bool *ended) {
    _cleanup_free_ char *path = str_printf("/api/workflow/%s/%s", s.id, what);
    struct answer a = ask(&f, "GET", path, query, NULL, headers);
    CHECK_INT(a.status, 200);
    CHECK_STR(a.rs.content_type, type);
    *ended = true;
    char *text = a.rs.stream ? drain(&a, ended) : str_dup(a.body ? a.body : "");
    answer_free(&a);
    return text;
}

#define TEXT "text/plain; charset=us-ascii"
#define SSE "text/event-stream; charset=utf-8"
#define JSON "application/x-ndjson"
#define ONE "2026/03/01 09:00:00 [t0] one\n"
#define TWO "2026/03/01 09:00:01 [t0] two\nof \xc3\xa4\rlines\n"
#define THREE "2026/03/01 09:00:02 [t0][osmo] three\n"
#define FOUR "2026/03/01 09:00:00 [t0] four: late\n"
#define SSE1 "id: 1\ndata: 2026/03/01 09:00:00 [t0] one\n\n"
#define SSE2 "id: 2\ndata: 2026/03/01 09:00:01 [t0] two\ndata: of \xc3\xa4\ndata: lines\n\n"
#define SSE3 "id: 3\ndata: 2026/03/01 09:00:02 [t0][osmo] three\n\n"
#define SSE4 "id: 4\ndata: 2026/03/01 09:00:00 [t0] four: late\n\n"
#define END "event: end\ndata: \n\n"

static const struct { const char *query, *type, *want; } cases[] = {
    { "", TEXT, ONE TWO THREE FOUR },
    { "from_line=1", TEXT, ONE TWO THREE FOUR },
    { "from_line=3", TEXT, THREE FOUR },
    { "from_line=5", TEXT, "" },
    { "from_line=2&task_name=t0&retry_id=0&stream=stdout", TEXT, FOUR },
    { "stream=stdout", TEXT, ONE FOUR },
    { "stream=stderr", TEXT, TWO },
    { "stream=osmo", TEXT, THREE },
    { "stream=stderr&last_n_lines=5", TEXT, TWO },
    { "since=2026-03-01T09:00:01Z", TEXT, TWO THREE },
    { "since=2026-03-01T10:00:01%2B01:00", TEXT, TWO THREE },
    { "since=2026-03-01T09:00:00.95Z", TEXT, ONE TWO THREE FOUR }, /* times are served in seconds */
    { "since=1m", TEXT, "" },
    { "since=100000d", TEXT, ONE TWO THREE FOUR },
    { "grep=o%5Bnfu%5D", TEXT, ONE TWO FOUR },
    { "grep=lines$", TEXT, TWO },                 /* the entry as a whole */
    { "query=two$", TEXT, "2026/03/01 09:00:01 [t0] two\n" }, /* each of its lines */
    { "grep=lines&query=two$", TEXT, "2026/03/01 09:00:01 [t0] two\n" },
    { "format=text", TEXT, ONE TWO THREE FOUR },
    { "format=sse", SSE, SSE1 SSE2 SSE3 SSE4 },
    { "format=sse&from_line=4", SSE, SSE4 },
    { "format=sse&last_n_lines=1", SSE, SSE4 },
    { "format=sse&since=2026-03-01T09:00:02Z", SSE, SSE3 },
    { "format=sse&grep=late", SSE, SSE4 },
    { "format=sse&query=%5Eof", SSE, "id: 2\ndata: of \xc3\xa4\ndata: lines\n\n" },
    { "format=json&from_line=2&stream=stdout", JSON, "{\"line\":2,\"text\":\"2026/03/01 09:00:00 [t0] four: late\\n\"}\n" },
    { "format=json&stream=stderr", JSON, "{\"line\":1,\"text\":\"2026/03/01 09:00:01 [t0] two\\nof \xc3\xa4\\rlines\\n\"}\n" },
};

static void what_is_asked_for(void) {
    osmo_ws_t *ws = open_all();
    for (int live = 1; live >= 0; live--) {
        for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
            bool ended;
            _cleanup_free_ char *got = get("logs", cases[i].query, NULL, cases[i].type, &ended);
            _cleanup_free_ char *want = str_printf("%s%s", cases[i].want, !live && !strcmp(cases[i].type, SSE) ? END : "");
            CHECK_STR(got, want);
            CHECK_INT(ended, !live);
            if (!live)
                continue;
            _cleanup_free_ char *query = str_printf("%s&follow=false", cases[i].query);
            _cleanup_free_ char *now = get("logs", query, NULL, cases[i].type, &ended);
            _cleanup_free_ char *ending = str_printf("%s%s", cases[i].want, strcmp(cases[i].type, SSE) ? "" : END);
            CHECK_STR(now, ending);
            CHECK(ended);
        }
        osmo_error_t err = OSMO_ERROR_INIT;
        CHECK_OK(logstore_end(f.engine->logs, s.id, &err), &err);
    }
    osmo_ws_closed(ws);
    fixture_close(&f);
}

static void headers(void) {
    static const char *const sse[] = { "host", "127.0.0.1", "accept", "text/html, text/event-stream", NULL };
    static const char *const resumed[] = { "host", "127.0.0.1", "accept", "text/event-stream", "last-event-id", "3", NULL };
    osmo_ws_t *ws = open_all();
    bool ended;
    _cleanup_free_ char *all = get("logs", "from_line=3", sse, SSE, &ended);
    CHECK_STR(all, SSE3 SSE4);
    _cleanup_free_ char *rest = get("logs", "last_n_lines=4", resumed, SSE, &ended); /* the browser repeats its request */
    CHECK_STR(rest, SSE4);
    _cleanup_free_ char *text = get("logs", "format=text", sse, TEXT, &ended);
    CHECK_STR(text, ONE TWO THREE FOUR);
    osmo_ws_closed(ws);
    fixture_close(&f);
}

/* A line that is still to come is waited for; others are passed over on the way. */
static void beyond_the_end(void) {
    osmo_ws_t *ws = open_all();
    _cleanup_free_ char *path = str_printf("/api/workflow/%s/logs", s.id);
    struct answer a = ask(&f, "GET", path, "format=sse&from_line=6", NULL, NULL);
    bool ended;
    free(drain(&a, &ended));
    send_single(ws, "{\"IOType\":\"LOG_BATCH\",\"entries\":[{\"seq\":6,\"Time\":\"2026-03-01T09:00:05Z\",\"IOType\":\"STDOUT\","
                    "\"Text\":\"five\"},{\"seq\":7,\"Time\":\"2026-03-01T09:00:06Z\",\"IOType\":\"STDOUT\",\"Text\":\"six\"}]}");
    _cleanup_free_ char *text = drain(&a, &ended);
    CHECK_STR(text, "id: 6\ndata: 2026/03/01 09:00:06 [t0] six\n\n");
    answer_free(&a);
    osmo_ws_closed(ws);
    fixture_close(&f);
}

static int put_events(db_t *db, void *ctx, osmo_error_t *err) {
    static const char *const texts[] = { "2026-03-01 09:00:00 [t0] Scheduled: True", "2026-03-01 09:00:10 [t0] Started: yes" };
    int rc = 0;
    (void)ctx;
    for (size_t i = 0; rc >= 0 && i < 4; i++)
        rc = repo_event_add(db, s.uuid, i % 2 ? "t1" : "t0", 0, 1772355600000000 + (int64_t)i * 10000000, texts[i / 2], err);
    return rc;
}

static void events(void) {
    osmo_ws_t *ws = open_all();
    osmo_error_t err = OSMO_ERROR_INIT;
    CHECK_OK(store_write(f.engine->store, NULL, put_events, NULL, &err), &err);
    static const struct { const char *query, *type, *want; } asked[] = {
        { "from_line=4", TEXT, "2026-03-01 09:00:10 [t0] Started: yes\n" },
        { "since=2026-03-01T09:00:20Z&follow=false", TEXT,
          "2026-03-01 09:00:10 [t0] Started: yes\n2026-03-01 09:00:10 [t0] Started: yes\n" },
        { "task_name=t1&format=sse&grep=Started", SSE, "id: 2\ndata: 2026-03-01 09:00:10 [t0] Started: yes\n\n" },
        { "format=json&from_line=4", JSON, "{\"line\":4,\"text\":\"2026-03-01 09:00:10 [t0] Started: yes\\n\"}\n" },
    };
    for (size_t i = 0; i < ARRAY_SIZE(asked); i++) {
        bool ended;
        _cleanup_free_ char *got = get("events", asked[i].query, NULL, asked[i].type, &ended);
        CHECK_STR(got, asked[i].want);
    }
    osmo_ws_closed(ws);
    fixture_close(&f);
}

static int put_errors(db_t *db, void *ctx, osmo_error_t *err) {
    (void)ctx;
    return repo_file_put(db, s.uuid, "t0_error_logs.txt", "one\ntwo\nthree\n", 14, err);
}

static void error_logs(void) {
    osmo_ws_t *ws = open_all();
    osmo_error_t err = OSMO_ERROR_INIT;
    CHECK_OK(store_write(f.engine->store, NULL, put_errors, NULL, &err), &err);
    static const struct { const char *query, *type, *want; } asked[] = {
        { "task_name=t0&from_line=2", TEXT, "two\nthree\n" }, { "task_name=t0&grep=t", TEXT, "two\nthree\n" },
        { "task_name=t0&last_n_lines=2&query=h", TEXT, "three\n" },
        { "task_name=t0&format=sse&from_line=3", SSE, "id: 3\ndata: three\n\n" END },
        { "task_name=t0&format=json&grep=w", JSON, "{\"line\":2,\"text\":\"two\\n\"}\n" },
        { "task_name=t1", TEXT, "" },
    };
    for (size_t i = 0; i < ARRAY_SIZE(asked); i++) {
        bool ended;
        _cleanup_free_ char *got = get("error_logs", asked[i].query, NULL, asked[i].type, &ended);
        CHECK_STR(got, asked[i].want);
    }
    osmo_ws_closed(ws);
    fixture_close(&f);
}

static const struct { const char *what, *query, *say; int status; } refused[] = {
    { "logs", "from_line=0", "from 1 on", 400 },
    { "logs", "from_line=-3", "from 1 on", 400 },
    { "logs", "from_line=99999999999999999", "from 1 on", 400 },
    { "logs", "from_line=x", "from_line", 422 },
    { "logs", "from_line=2&last_n_lines=2", "exclude each other", 400 },
    { "logs", "since=yesterday", "10m, 2h30m, 1d", 400 },
    { "logs", "since=", "10m, 2h30m, 1d", 400 },
    { "logs", "since=-5m", "10m, 2h30m, 1d", 400 },
    { "logs", "grep=(", "invalid regular expression", 400 },
    { "logs", "query=(", "invalid regular expression", 400 },
    { "logs", "stream=both", "stdout, stderr or osmo", 400 },
    { "logs", "format=xml", "text, sse or json", 400 },
    { "logs", "follow=maybe", "follow", 422 },
    { "events", "stream=stdout", "events have no streams", 400 },
    { "events", "grep=%5B", "invalid regular expression", 400 },
    { "error_logs", "task_name=t0&since=1m", "have no times", 400 },
    { "error_logs", "task_name=t0&stream=stderr", "have no streams", 400 },
};

static void refusals(void) {
    osmo_ws_t *ws = open_all();
    for (size_t i = 0; i < ARRAY_SIZE(refused); i++) {
        _cleanup_free_ char *path = str_printf("/api/workflow/%s/%s", s.id, refused[i].what);
        struct answer a = ask(&f, "GET", path, refused[i].query, NULL, NULL);
        CHECK_INT(a.status, refused[i].status);
        CHECK_CONTAINS(a.body ? a.body : "", refused[i].say);
        answer_free(&a);
    }
    char expression[1200];
    memset(expression, 'a', sizeof expression);
    memcpy(expression, "grep=", 5);
    expression[sizeof expression - 1] = '\0';
    _cleanup_free_ char *path = str_printf("/api/workflow/%s/logs", s.id);
    struct answer a = ask(&f, "GET", path, expression, NULL, NULL);
    CHECK_INT(a.status, 400);
    CHECK_CONTAINS(a.body ? a.body : "", "longer than 1000");
    answer_free(&a);
    static const char *const bad[] = { "host", "127.0.0.1", "accept", "text/event-stream", "last-event-id", "x", NULL };
    a = ask(&f, "GET", path, "", NULL, bad);
    CHECK_INT(a.status, 400);
    CHECK_CONTAINS(a.body ? a.body : "", "Last-Event-ID");
    answer_free(&a);
    osmo_ws_closed(ws);
    fixture_close(&f);
}

/* An expression that takes for ever matches nothing and holds nobody up. */
static void hopeless_expressions(void) {
    osmo_ws_t *ws = open_all();
    char line[300];
    snprintf(line, sizeof line, "{\"IOType\":\"LOG_BATCH\",\"entries\":[{\"seq\":6,\"Time\":\"2026-03-01T09:00:05Z\",\"IOType\":\"STDOUT\","
             "\"Text\":\"%.60s!\"}]}", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa");
    send_single(ws, line);
    bool ended;
    _cleanup_free_ char *got = get("logs", "grep=%28a%2B%29%2Bx%24&follow=false", NULL, TEXT, &ended);
    CHECK_STR(got, "");
    osmo_ws_closed(ws);
    fixture_close(&f);
}

/* A stream that has nothing to say is woken, and says that it is there. */
static void signs_of_life(void) {
    osmo_ws_t *ws = open_all();
    _cleanup_free_ char *path = str_printf("/api/workflow/%s/logs", s.id);
    f.engine->loggers->beat_us = 20000;
    static const struct { const char *query, *want; } asked[] = { { "format=sse&from_line=9", ": keep-alive\n\n" },
                                                                  { "format=json&from_line=9", "\n" } };
    for (size_t i = 0; i < ARRAY_SIZE(asked); i++) {
        struct answer a = ask(&f, "GET", path, asked[i].query, NULL, NULL);
        buf_t got = BUF_INIT(1u << 16);
        while (!got.len) {
            pthread_mutex_lock(&f.lock);
            int before = f.wakes;
            pthread_mutex_unlock(&f.lock);
            bool ended;
            _cleanup_free_ char *text = drain(&a, &ended);
            buf_puts(&got, text ? text : "");
            pthread_mutex_lock(&f.lock);
            while (!got.len && f.wakes == before)
                pthread_cond_wait(&f.changed, &f.lock);
            pthread_mutex_unlock(&f.lock);
        }
        CHECK_STR(buf_cstr(&got), asked[i].want);
        buf_free(&got);
        answer_free(&a);
    }
    osmo_ws_closed(ws);
    fixture_close(&f);
}

static const struct check_test tests[] = {
    { "signs of life", signs_of_life },
    { "what is asked for", what_is_asked_for }, { "headers", headers }, { "beyond the end", beyond_the_end }, { "events", events },
    { "error logs", error_logs }, { "refusals", refusals }, { "hopeless expressions", hopeless_expressions },
};
TEST_MAIN("log queries", tests)
