/* The group-commit writer: isolation of functions, order of reports, retries, durability. */
#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/str.h"
#include "pgsql_fixture.h"
#include "check.h"

static int make_table(db_t *db, void *ctx, osmo_error_t *err) {
    (void)ctx;
    return db_exec(db, "CREATE TABLE probe (n BIGINT NOT NULL PRIMARY KEY)", NULL, 0, NULL, err);
}

static int add_n(db_t *db, int64_t n, osmo_error_t *err) {
    return db_exec(db, "INSERT INTO probe (n) VALUES (?)", DB_ARGS(DB_I(n)), NULL, err);
}

static int64_t ask(store_t *s, const char *sql) {
    db_t *db = NULL;
    db_rows_t *rows = NULL;
    osmo_error_t err = OSMO_ERROR_INIT;
    int64_t n = -1;
    CHECK_OK(store_reader(s, &db, &err), &err);
    if (db && db_query(db, sql, NULL, 0, &rows, &err) == 0 && db_next(rows, &err) == 1)
        n = db_int(rows, 0);
    db_rows_free(rows);
    return n;
}

/* Holds the writer until told, so that what is posted meanwhile becomes one batch. */
struct gate { pthread_mutex_t m; pthread_cond_t c; bool inside, open; };
static struct gate gate = { PTHREAD_MUTEX_INITIALIZER, PTHREAD_COND_INITIALIZER, false, false };

static int wait_at_gate(db_t *db, void *ctx, osmo_error_t *err) {
    struct gate *g = ctx;
    (void)db;
    (void)err;
    pthread_mutex_lock(&g->m);
    g->inside = true;
    pthread_cond_broadcast(&g->c);
    while (!g->open)
        pthread_cond_wait(&g->c, &g->m);
    pthread_mutex_unlock(&g->m);
    return 0;
}

static void enter_gate(store_t *s) {
    gate.inside = gate.open = false;
    CHECK_INT(store_post(s, "key", wait_at_gate, NULL, &gate), 0);
    pthread_mutex_lock(&gate.m);
    while (!gate.inside)
        pthread_cond_wait(&gate.c, &gate.m);
    pthread_mutex_unlock(&gate.m);
}

static void open_gate(void) {
    pthread_mutex_lock(&gate.m);
    gate.open = true;
    pthread_cond_broadcast(&gate.c);
    pthread_mutex_unlock(&gate.m);
}

struct job { int64_t n; int fail; int rc, seen_at, runs; char text[200]; };
static atomic_int order;

static int run_job(db_t *db, void *ctx, osmo_error_t *err) {
    struct job *j = ctx;
    j->runs++;
    int rc = add_n(db, j->n, err);
    if (rc == 0 && j->fail)
        rc = osmo_error_set(err, j->fail, "told to fail %d", (int)j->n);
    return rc;
}

static void job_done(void *ctx, int rc, const osmo_error_t *err) {
    struct job *j = ctx;
    j->rc = rc;
    snprintf(j->text, sizeof(j->text), "%.190s", err->text);
    j->seen_at = ++order;
}

static int nothing(db_t *db, void *ctx, osmo_error_t *err) {
    (void)db;
    (void)ctx;
    (void)err;
    return 0;
}

static void isolation_body(store_t *s, const char *url) {
    (void)url;
    struct job jobs[50];
    osmo_error_t err = OSMO_ERROR_INIT;
    CHECK_OK(store_write(s, NULL, make_table, NULL, &err), &err);
    order = 0;
    enter_gate(s);
    for (int i = 0; i < 50; i++) { /* every fifth says no, number 7 violates the key */
        jobs[i] = (struct job){ .n = i == 7 ? 6 : i, .fail = i % 5 == 4 ? OSMO_ECONFLICT : 0 };
        CHECK_INT(store_post(s, "key", run_job, job_done, &jobs[i]), 0);
    }
    open_gate();
    CHECK_OK(store_write(s, "key", nothing, NULL, &err), &err);
    for (int i = 0; i < 50; i++) {
        CHECK_INT(jobs[i].seen_at, i + 1);
        CHECK_INT(jobs[i].runs, !store_is_pgsql(s) && i < 5 ? 2 : 1); /* the first failure had written something */
        CHECK_INT(jobs[i].rc, i == 7 ? OSMO_EDATABASE : jobs[i].fail);
        if (jobs[i].fail)
            CHECK_CONTAINS(jobs[i].text, "told to fail");
    }
    CHECK_INT(ask(s, "SELECT COUNT(*) FROM probe"), 39);
    CHECK_INT(ask(s, "SELECT COUNT(*) FROM probe WHERE n % 5 = 4"), 0);
}
static void isolation(void) { fixture_each(isolation_body); }

static int swallow(db_t *db, void *ctx, osmo_error_t *err) {
    (void)ctx;
    (void)err;
    add_n(db, 1, NULL);
    add_n(db, 1, NULL); /* fails, and nobody looks */
    return 0;
}

static void swallowed_body(store_t *s, const char *url) {
    (void)url;
    osmo_error_t err = OSMO_ERROR_INIT;
    CHECK_OK(store_write(s, NULL, make_table, NULL, &err), &err);
    CHECK_INT(store_write(s, NULL, swallow, NULL, &err), OSMO_EDATABASE);
    CHECK_INT(ask(s, "SELECT COUNT(*) FROM probe"), 0);
}
static void swallowed(void) { fixture_each(swallowed_body); }

static int make_deferred(db_t *db, void *ctx, osmo_error_t *err) {
    (void)ctx;
    return db_exec(db, "CREATE TABLE child (n BIGINT REFERENCES probe (n) DEFERRABLE INITIALLY DEFERRED)",
                   NULL, 0, NULL, err);
}
static int orphan(db_t *db, void *ctx, osmo_error_t *err) {
    (void)ctx;
    return db_exec(db, "INSERT INTO child (n) VALUES (77)", NULL, 0, NULL, err);
}

static void commit_fails_body(store_t *s, const char *url) {
    (void)url;
    struct job a = { .n = 1 }, b = { .n = 2 }, c = { .n = 3 };
    osmo_error_t err = OSMO_ERROR_INIT;
    CHECK_OK(store_write(s, NULL, make_table, NULL, &err), &err);
    CHECK_OK(store_write(s, NULL, make_deferred, NULL, &err), &err);
    enter_gate(s);
    CHECK_INT(store_post(s, "key", run_job, job_done, &a), 0);
    CHECK_INT(store_post(s, "key", orphan, NULL, NULL), 0);
    CHECK_INT(store_post(s, "key", run_job, job_done, &b), 0);
    open_gate();
    store_write(s, "key", nothing, NULL, &err); /* after or inside of the failing batch */
    CHECK_INT(a.rc, OSMO_EDATABASE);
    CHECK_INT(b.rc, OSMO_EDATABASE);
    CHECK_INT(ask(s, "SELECT COUNT(*) FROM probe"), 0);
    CHECK_OK(store_write(s, "key", run_job, &c, &err), &err);
    CHECK_INT(ask(s, "SELECT COUNT(*) FROM probe"), 1);
}
static void commit_fails(void) { fixture_each(commit_fails_body); }

static void closing_body(store_t *s, const char *url) {
    osmo_error_t err = OSMO_ERROR_INIT;
    static struct job jobs[1000];
    CHECK_OK(store_write(s, NULL, make_table, NULL, &err), &err);
    struct store_options o = { .url = url };
    store_t *second = NULL;
    if (store_is_pgsql(s)) {
        CHECK_OK(store_open(&o, &second, &err), &err);
    } else {
        second = s;
    }
    for (int i = 0; i < 1000; i++) {
        jobs[i] = (struct job){ .n = i, .rc = 1 };
        CHECK_INT(store_post(second, i % 3 ? "a" : NULL, run_job, job_done, &jobs[i]), 0);
    }
    if (second != s)
        store_close(second);
    else
        CHECK_OK(store_write(s, NULL, nothing, NULL, &err), &err);
    for (int i = 0; i < 1000; i++)
        CHECK_INT(jobs[i].rc, 0);
    CHECK_INT(ask(s, "SELECT COUNT(*) FROM probe"), 1000);
}
static void closing(void) { fixture_each(closing_body); }

struct nested { store_t *s; int rc; };
static void nested_done(void *ctx, int rc, const osmo_error_t *err) {
    struct nested *n = ctx;
    osmo_error_t mine = OSMO_ERROR_INIT;
    (void)rc;
    (void)err;
    n->rc = store_write(n->s, NULL, nothing, NULL, &mine);
}
static void nested_body(store_t *s, const char *url) {
    (void)url;
    struct nested n = { s, 0 };
    osmo_error_t err = OSMO_ERROR_INIT;
    CHECK_INT(store_post(s, "key", nothing, nested_done, &n), 0);
    CHECK_OK(store_write(s, "key", nothing, NULL, &err), &err);
    CHECK_INT(n.rc, OSMO_EINTERNAL);
}
static void nested_write(void) { fixture_each(nested_body); }

/* ---- a server that goes away ---- */

static int kill_own_session(db_t *db, void *ctx, osmo_error_t *err) {
    struct job *j = ctx;
    db_rows_t *rows = NULL;
    int rc = add_n(db, j->n, err);
    if (rc == 0 && j->runs++ == 0)
        rc = db_query(db, "SELECT pg_terminate_backend(pg_backend_pid())", NULL, 0, &rows, err);
    db_rows_free(rows);
    return rc;
}

static int kill_others(db_t *db, void *ctx, osmo_error_t *err) {
    (void)ctx;
    return db_exec(db, "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid <> pg_backend_pid() "
                       "AND application_name = 'osmo-service'",
                   NULL, 0, NULL, err);
}

static void lost_connection(void) {
    char *url = pgsql_fixture_url();
    store_t *s = NULL;
    osmo_error_t err = OSMO_ERROR_INIT;
    if (!url)
        return;
    struct store_options o = { .url = url };
    CHECK_OK(store_open(&o, &s, &err), &err);
    REQUIRE(s);
    CHECK_OK(store_write(s, "a", make_table, NULL, &err), &err);
    struct job j = { .n = 5 };
    CHECK_OK(store_write(s, "a", kill_own_session, &j, &err), &err);
    CHECK_INT(j.runs, 2);
    CHECK_INT(ask(s, "SELECT COUNT(*) FROM probe"), 1);
    CHECK_OK(store_write(s, "a", kill_others, NULL, &err), &err); /* idle readers and writers */
    CHECK_INT(ask(s, "SELECT COUNT(*) FROM probe"), 1);
    for (int i = 10; i < 18; i++) {
        struct job k = { .n = i };
        CHECK_OK(store_write(s, NULL, run_job, &k, &err), &err);
    }
    CHECK_INT(ask(s, "SELECT COUNT(*) FROM probe"), 9);
    store_close(s);
    free(url);
}

/* Two transactions that lock two rows in opposite order: one of them is run again. */
struct cross { int64_t first, second; pthread_barrier_t *met; int runs; };
static int lock_both(db_t *db, void *ctx, osmo_error_t *err) {
    struct cross *c = ctx;
    int64_t changed; /* asked for, so that the lock is there when the other one is told */
    int rc = db_exec(db, "UPDATE probe SET n = n WHERE n = ?", DB_ARGS(DB_I(c->first)), &changed, err);
    if (rc == 0 && c->runs++ == 0)
        pthread_barrier_wait(c->met);
    return rc < 0 ? rc : db_exec(db, "UPDATE probe SET n = n WHERE n = ?", DB_ARGS(DB_I(c->second)), NULL, err);
}

static void deadlock_is_retried(void) {
    char *url = pgsql_fixture_url();
    store_t *s = NULL;
    osmo_error_t err = OSMO_ERROR_INIT;
    if (!url)
        return;
    struct store_options o = { .url = url, .writers = 2 };
    CHECK_OK(store_open(&o, &s, &err), &err);
    REQUIRE(s);
    struct job one = { .n = 1 }, two = { .n = 2 };
    CHECK_OK(store_write(s, NULL, make_table, NULL, &err), &err);
    CHECK_OK(store_write(s, NULL, run_job, &one, &err), &err);
    CHECK_OK(store_write(s, NULL, run_job, &two, &err), &err);
    pthread_barrier_t met;
    pthread_barrier_init(&met, NULL, 2);
    struct cross a = { 1, 2, &met, 0 }, b = { 2, 1, &met, 0 };
    CHECK_INT(store_post(s, NULL, lock_both, NULL, &a), 0); /* keyless items go round the threads */
    CHECK_OK(store_write(s, NULL, lock_both, &b, &err), &err);
    store_close(s);
    pthread_barrier_destroy(&met);
    CHECK_INT(a.runs + b.runs, 3);
    free(url);
}

/* ---- kill -9 ---- */

struct ack { int fd; int64_t n; };
static int ack_write(db_t *db, void *ctx, osmo_error_t *err) { return add_n(db, ((struct ack *)ctx)->n, err); }
static void ack_done(void *ctx, int rc, const osmo_error_t *err) {
    struct ack *a = ctx;
    (void)err;
    if (rc == 0 && write(a->fd, &a->n, sizeof(a->n)) != sizeof(a->n))
        _exit(3);
    free(a);
}

static void child_writes(const char *url, int fd) {
    store_t *s = NULL;
    osmo_error_t err = OSMO_ERROR_INIT;
    struct store_options o = { .url = url };
    if (store_open(&o, &s, &err) < 0)
        _exit(2);
    for (int64_t n = 0;; n++) {
        struct ack *a = malloc(sizeof(*a));
        *a = (struct ack){ fd, n };
        while (store_post(s, NULL, ack_write, ack_done, a) == OSMO_EBUSY)
            sched_yield();
    }
}

static void killed(void) {
    char *url = sqlite_fixture_url();
    store_t *s = NULL;
    osmo_error_t err = OSMO_ERROR_INIT;
    struct store_options o = { .url = url };
    CHECK_OK(store_open(&o, &s, &err), &err);
    CHECK_OK(store_write(s, NULL, make_table, NULL, &err), &err);
    store_close(s);
    int fds[2];
    REQUIRE(pipe(fds) == 0);
    pid_t pid = fork();
    if (pid == 0) {
        close(fds[0]);
        child_writes(url, fds[1]);
    }
    close(fds[1]);
    int64_t n, count = 0, highest = -1;
    while (read(fds[0], &n, sizeof(n)) == sizeof(n)) {
        highest = n > highest ? n : highest;
        if (++count == 2000)
            kill(pid, SIGKILL);
    }
    close(fds[0]);
    waitpid(pid, NULL, 0);
    CHECK(count >= 2000);
    CHECK_OK(store_open(&o, &s, &err), &err); /* the lock went with the process */
    REQUIRE(s);
    char sql[100];
    snprintf(sql, sizeof(sql), "SELECT COUNT(*) FROM probe WHERE n <= %lld", (long long)highest);
    CHECK_INT(ask(s, sql), highest + 1);
    CHECK(count == highest + 1);
    store_close(s);
    free(url);
}

static const struct check_test tests[] = {
    { "isolation and order", isolation }, { "a swallowed error rolls back", swallowed },
        { "a failing commit fails all", commit_fails },
    { "close drains", closing }, { "no write from a done function", nested_write }, { "lost connection",
        lost_connection },
    { "deadlock is retried", deadlock_is_retried }, { "kill -9", killed },
};
TEST_MAIN("writer", tests)
