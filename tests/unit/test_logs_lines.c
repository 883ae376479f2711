/* Lines without a number where each append waits for a commit, which is on PostgreSQL: they queue up, and nothing of them is
 * lost or overtaken. What is about the result alone is also tried on SQLite, where nothing is queued. */
#include "logs_fixture.h"

#include <stdatomic.h>
#include <unistd.h>

#include "base/cleanup.h"

/* Somebody else's transaction that has locked a table and takes its time. */
struct holder {
    store_t *store;
    const char *sql;
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    bool held, release;
};

static int hold_fn(db_t *db, void *ctx, osmo_error_t *err) {
    struct holder *h = ctx;
    _cleanup_rows_ db_rows_t *rows = NULL;
    int rc = db_exec(db, h->sql, NULL, 0, NULL, err);
    if (rc >= 0) /* statements are sent ahead: once this one is answered, the one before it has been carried out */
        rc = db_query(db, "SELECT 1", NULL, 0, &rows, err);
    if (rc >= 0)
        rc = db_next(rows, err);
    pthread_mutex_lock(&h->lock);
    h->held = true;
    pthread_cond_broadcast(&h->changed);
    while (rc >= 0 && !h->release)
        pthread_cond_wait(&h->changed, &h->lock);
    pthread_mutex_unlock(&h->lock);
    return rc;
}

static void *hold_main(void *arg) {
    osmo_error_t err = OSMO_ERROR_INIT;
    CHECK_OK(store_write(((struct holder *)arg)->store, NULL, hold_fn, arg, &err), &err);
    return NULL;
}

static bool hold(struct holder *h, const struct fixture *f, const char *sql) {
    struct store_options o = { .url = f->options.database, .writers = 1 };
    osmo_error_t err = OSMO_ERROR_INIT;
    *h = (struct holder){ .sql = sql, .lock = PTHREAD_MUTEX_INITIALIZER, .changed = PTHREAD_COND_INITIALIZER };
    int rc = store_open(&o, &h->store, &err);
    CHECK_OK(rc, &err);
    if (rc < 0 || pthread_create(&h->thread, NULL, hold_main, h))
        return false;
    pthread_mutex_lock(&h->lock);
    while (!h->held)
        pthread_cond_wait(&h->changed, &h->lock);
    pthread_mutex_unlock(&h->lock);
    return true;
}

static void let_go(struct holder *h) {
    pthread_mutex_lock(&h->lock);
    h->release = true;
    pthread_cond_broadcast(&h->changed);
    pthread_mutex_unlock(&h->lock);
    pthread_join(h->thread, NULL);
    store_close(h->store);
}

#define HOLD_LOGS "LOCK TABLE log_state IN ACCESS EXCLUSIVE MODE"
#define HOLD_WORKFLOWS "LOCK TABLE workflows IN ACCESS EXCLUSIVE MODE"

struct talker { osmo_ws_t *ws; int lines; atomic_int sent; bool say_done; };

static void *talk(void *arg) {
    struct talker *t = arg;
    for (int i = 0; i < t->lines; i++) {
        _cleanup_free_ char *frame = str_printf(LINE("STDOUT", "%100d"), i);
        send_double(t->ws, frame);
        t->sent++;
    }
    if (t->say_done)
        send_double(t->ws, LINE("LOG_DONE", ""));
    return NULL;
}

/* The task's log is the lines of a talker, each once, in order. What follows the last, or NULL. */
static const char *talked(const char *text, const char *task, int lines) {
    for (int i = 0; text && i < lines; i++) {
        _cleanup_free_ char *line = str_printf("2026/03/01 09:31:12 [%s] %100d\n", task, i);
        text = str_starts(text, line) ? text + strlen(line) : NULL;
    }
    return text;
}

static void *ask_done(void *ws) {
    send_single(ws, LINE("LOG_DONE", ""));
    return NULL;
}

/* A frame does not wait for its commit, the answer to LOG_DONE does. */
static void lines_do_not_wait(void) {
    struct fixture f;
    struct seed s;
    struct holder h;
    pthread_t thread;
    bool ended;
    REQUIRE(open_fixture(&f, OSMO_AUTH_DEV, NULL));
    CHECK(seed_workflow(&f, "wf", "testuser", 1, &s));
    struct talker t = { .ws = plain(&f, &s, "t0", 7), .lines = 1000 };
    REQUIRE(t.ws && hold(&h, &f, HOLD_LOGS));
    talk(&t);
    REQUIRE(pthread_create(&thread, NULL, ask_done, t.ws) == 0);
    usleep(50000); /* a chance to answer too early */
    CHECK_INT(fixture_count(&f, 7, DONE, 0), 0);
    let_go(&h);
    pthread_join(thread, NULL);
    CHECK_INT(fixture_count(&f, 7, DONE, 0), 1);
    _cleanup_free_ char *text = logs_of(&f, &s, "", &ended);
    const char *rest = talked(text, "t0", t.lines);
    CHECK(rest && !*rest);
    CHECK_INT(fixture_nsent(&f), 1);
    osmo_ws_closed(t.ws);
    fixture_close(&f);
}

/* What is queued has a limit; behind it the ctrl waits. Nothing of it is lost when the connection ends. */
static void a_full_queue_waits(void) {
    struct fixture f;
    struct seed s;
    struct holder h;
    pthread_t thread;
    bool ended;
    REQUIRE(open_fixture(&f, OSMO_AUTH_DEV, NULL));
    CHECK(seed_workflow(&f, "wf", "testuser", 1, &s));
    struct talker t = { .ws = plain(&f, &s, "t0", 7), .lines = 20000 };
    REQUIRE(t.ws && hold(&h, &f, HOLD_LOGS));
    REQUIRE(pthread_create(&thread, NULL, talk, &t) == 0);
    for (int i = 0; i < 1000 && t.sent < 1000; i++)
        usleep(10000); /* ends as soon as they are */
    CHECK(t.sent >= 1000);
    CHECK(t.sent < t.lines);
    let_go(&h);
    pthread_join(thread, NULL);
    osmo_ws_closed(t.ws);
    _cleanup_free_ char *text = logs_of(&f, &s, "", &ended);
    const char *rest = talked(text, "t0", t.lines);
    CHECK(rest && !*rest);
    CHECK_INT(fixture_nsent(&f), 0);
    fixture_close(&f);
}

static void many_talk(void) {
    enum { TALKERS = 8 };
    struct fixture f;
    struct seed s;
    struct talker t[TALKERS];
    pthread_t threads[TALKERS];
    bool ended;
    REQUIRE(open_fixture(&f, OSMO_AUTH_DEV, NULL));
    CHECK(seed_workflow(&f, "wf", "testuser", TALKERS, &s));
    for (int i = 0; i < TALKERS; i++) {
        char task[8];
        snprintf(task, sizeof task, "t%d", i);
        t[i] = (struct talker){ .ws = plain(&f, &s, task, 1 + (uint64_t)i), .lines = 500, .say_done = true };
        REQUIRE(t[i].ws && pthread_create(&threads[i], NULL, talk, &t[i]) == 0);
    }
    for (int i = 0; i < TALKERS; i++) {
        char query[24], task[8];
        pthread_join(threads[i], NULL);
        snprintf(task, sizeof task, "t%d", i);
        snprintf(query, sizeof query, "task_name=t%d", i);
        CHECK_INT(fixture_count(&f, 1 + (uint64_t)i, DONE, 0), 1);
        _cleanup_free_ char *text = logs_of(&f, &s, query, &ended);
        const char *rest = talked(text, task, t[i].lines);
        CHECK(rest && !*rest);
        osmo_ws_closed(t[i].ws);
    }
    fixture_close(&f);
}

static void *close_ws(void *ws) {
    osmo_ws_closed(ws);
    return NULL;
}

struct finisher { engine_t *e; const char *uuid; };

static void *finish(void *arg) {
    const struct finisher *fin = arg;
    osmo_error_t err = OSMO_ERROR_INIT;
    CHECK_OK(logs_finish_workflow(fin->e, fin->uuid, &err), &err);
    return NULL;
}

/* The end of the log comes after what was queued: it waits for a session that is closing, and one that stays open is flushed. */
static void the_end_comes_last(void) {
    struct fixture f;
    struct seed s, other;
    struct holder h;
    pthread_t thread;
    bool ended;
    osmo_error_t err = OSMO_ERROR_INIT;
    REQUIRE(open_fixture(&f, OSMO_AUTH_DEV, NULL));
    CHECK(seed_workflow(&f, "wf", "testuser", 1, &s) && seed_workflow(&f, "wf", "testuser", 1, &other));
    struct talker t = { .ws = plain(&f, &s, "t0", 1), .lines = 50 }, u = { .ws = plain(&f, &other, "t0", 2), .lines = 50 };
    REQUIRE(t.ws && u.ws && hold(&h, &f, HOLD_LOGS));
    talk(&t);
    talk(&u);
    REQUIRE(pthread_create(&thread, NULL, close_ws, t.ws) == 0);
    CHECK_OK(store_write(f.engine->store, NULL, end_now, s.uuid, &err), &err);
    CHECK_INT(logs_finish_workflow(f.engine, s.uuid, &err), OSMO_EBUSY);
    let_go(&h);
    pthread_join(thread, NULL);
    CHECK_OK(logs_finish_workflow(f.engine, s.uuid, &err), &err);
    _cleanup_free_ char *closed = logs_of(&f, &s, "", &ended);
    const char *rest = talked(closed, "t0", t.lines);
    CHECK(ended && rest && !*rest);
    CHECK(seed_workflow_status(&f, &other, STATUS_FAILED, "exit code 3"));
    REQUIRE(hold(&h, &f, HOLD_LOGS));
    talk(&u);
    struct finisher fin = { f.engine, other.uuid };
    REQUIRE(pthread_create(&thread, NULL, finish, &fin) == 0);
    usleep(50000); /* a chance to be too early */
    let_go(&h);
    pthread_join(thread, NULL);
    _cleanup_free_ char *open = logs_of(&f, &other, "", &ended);
    rest = talked(talked(open, "t0", u.lines), "t0", u.lines);
    CHECK(ended && rest && str_starts(rest, "-----"));
    osmo_ws_closed(u.ws);
    fixture_close(&f);
}

/* A ctrl may send lines with and without a number. */
static void batches_keep_their_place(void) {
    struct fixture f;
    struct seed s;
    const char *extensions;
    int status;
    bool ended;
    REQUIRE(open_fixture(&f, OSMO_AUTH_DEV, NULL));
    CHECK(seed_workflow(&f, "wf", "testuser", 1, &s));
    struct talker t = { .ws = connect_ctrl(&f, s.id, "t0", 0, 1, "logs", &extensions, &status), .lines = 100 };
    REQUIRE(t.ws != NULL);
    talk(&t);
    send_single(t.ws, "{\"IOType\":\"LOG_BATCH\",\"entries\":["
                      "{\"seq\":1,\"Time\":\"2026-03-01T09:00:00Z\",\"IOType\":\"STDOUT\",\"Text\":\"numbered\"}]}");
    CHECK_INT(fixture_count(&f, 1, "{\"action\":\"log_ack\",\"seq\":1}", 0), 1);
    _cleanup_free_ char *text = logs_of(&f, &s, "", &ended);
    const char *rest = talked(text, "t0", t.lines);
    CHECK_STR(rest ? rest : "", "2026/03/01 09:00:00 [t0] numbered\n");
    osmo_ws_closed(t.ws);
    fixture_close(&f);
}

/* The network thread waits for the opening of a session; nobody waits for the database there. */
static void opening_asks_no_database(void) {
    struct fixture f;
    struct seed s;
    struct holder h;
    const char *extensions;
    osmo_ws_t *ws;
    osmo_response_t rs;
    REQUIRE(open_fixture(&f, OSMO_AUTH_DEV, NULL));
    CHECK(seed_workflow(&f, "wf", "testuser", 1, &s));
    REQUIRE(hold(&h, &f, HOLD_WORKFLOWS));
    for (int i = 0; i < 2; i++) {
        const char *headers[] = { "host", "127.0.0.1:8000", NULL };
        osmo_request_t rq = { .size = sizeof rq, .method = "GET", .query = "", .headers = headers, .peer = "127.0.0.1",
                              .path = i ? "/api/agent/worker/backend/default"
                                        : "/api/logger/workflow/wf-1/osmo_ctrl/t0/retry_id/0" };
        osmo_service_ws_open(f.service, &rq, 1, &ws, &extensions, &rs);
        CHECK(ws != NULL);
        osmo_response_clear(&rs);
        if (ws)
            osmo_ws_closed(ws);
    }
    let_go(&h);
    fixture_close(&f);
}

static void run(void (*test)(void), bool pgsql) {
    _cleanup_free_ char *url = pgsql ? pgsql_fixture_url() : NULL;
    if (pgsql && !url)
        return;
    on_pgsql = pgsql;
    test();
}

static void test_do_not_wait(void) { run(lines_do_not_wait, true); }
static void test_full_queue(void) { run(a_full_queue_waits, true); }
static void test_many(void) { run(many_talk, false), run(many_talk, true); }
static void test_end(void) { run(the_end_comes_last, true); }
static void test_batches(void) { run(batches_keep_their_place, false), run(batches_keep_their_place, true); }
static void test_opening(void) { run(opening_asks_no_database, true); }

static const struct check_test tests[] = {
    { "lines do not wait for their commit", test_do_not_wait },
    { "a full queue waits", test_full_queue },
    { "many talk", test_many },
    { "the end comes last", test_end },
    { "batches keep their place", test_batches },
    { "opening asks no database", test_opening },
};
TEST_MAIN("logs_lines", tests)
