/* Opening, locking, migrating; values in and out of both databases; readers per thread. */
#include <pthread.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>
#include "base/str.h"
#include "pgsql_fixture.h"
#include "check.h"
#include "store/driver.h"

static int exec_sql(db_t *db, void *ctx, osmo_error_t *err) { return db_exec(db, ctx, NULL, 0, NULL, err); }

static int open_rc(const char *url, osmo_error_t *err) {
    store_t *s = NULL;
    struct store_options o = { .url = url };
    int rc = store_open(&o, &s, err);
    store_close(s);
    return rc;
}

static void one_owner(void) {
    char *url = sqlite_fixture_url(), want[64];
    store_t *s = NULL;
    osmo_error_t err = OSMO_ERROR_INIT;
    struct store_options o = { .url = url };
    CHECK_OK(store_open(&o, &s, &err), &err);
    CHECK_INT(open_rc(url, &err), OSMO_EBUSY);
    snprintf(want, sizeof(want), "(pid %d): stop it", (int)getpid());
    CHECK_CONTAINS(err.text, want);
    CHECK_CONTAINS(err.text, url + strlen("sqlite:"));
    pid_t pid = fork();
    if (pid == 0)
        _exit(open_rc(url, &err) == OSMO_EBUSY ? 0 : 1);
    int status = -1;
    waitpid(pid, &status, 0);
    CHECK_INT(status, 0);
    struct stat st;
    CHECK(stat(url + strlen("sqlite:"), &st) == 0 && (st.st_mode & 0777) == 0600);
    store_close(s);
    CHECK_INT(open_rc(url, &err), 0);
    free(url);
}

static void bad_urls(void) {
    char *missing = str_printf("sqlite:%s/no/such/dir/db", fixture_dir()), *garbage = str_printf("%s/garbage",
        fixture_dir());
    FILE *f = fopen(garbage, "w");
    REQUIRE(f);
    for (int i = 0; i < 2000; i++)
        fputs("this is no database ", f);
    fclose(f);
    char *not_db = str_printf("sqlite:%s", garbage);
    const struct { const char *url; int rc; const char *text; } cases[] = {
        { "mysql://x", OSMO_EINVAL, "sqlite:PATH or postgresql://" }, { NULL, OSMO_EINVAL, "sqlite:" },
        { "sqlite:", OSMO_EINVAL, "sqlite:" },
        { missing, OSMO_EIO, "no/such/dir" }, { not_db, OSMO_EIO, "not an SQLite database" },
        { "postgresql://u:sesame@127.0.0.1:1/x", OSMO_EUNAVAIL, "127.0.0.1:1/x" },
        { "postgresql://u:sesame@[::1/x", OSMO_EINVAL, "malformed" },
    };
    for (size_t i = 0; i < sizeof(cases) / sizeof(cases[0]); i++) {
        osmo_error_t err = OSMO_ERROR_INIT;
        int rc = open_rc(cases[i].url, &err);
        CHECK_INT(rc, cases[i].rc);
        CHECK_CONTAINS(err.text, cases[i].text);
        CHECK(!strstr(err.text, "sesame"));
    }
    free(missing);
    free(garbage);
    free(not_db);
}

static void newer_body(store_t *s, const char *url) {
    osmo_error_t err = OSMO_ERROR_INIT;
    CHECK_OK(store_write(s, NULL, exec_sql, "INSERT INTO schema_version (version, applied_us) VALUES (999, 0)",
                         &err), &err);
    (void)url;
}

static void newer_schema(void) {
    for (int pass = 0; pass < 2; pass++) {
        char *url = pass ? pgsql_fixture_url() : sqlite_fixture_url();
        osmo_error_t err = OSMO_ERROR_INIT;
        store_t *s = NULL;
        if (!url)
            continue;
        struct store_options o = { .url = url };
        CHECK_OK(store_open(&o, &s, &err), &err);
        newer_body(s, url);
        store_close(s);
        CHECK_INT(open_rc(url, &err), OSMO_ECONFLICT);
        CHECK_CONTAINS(err.text, "999");
        free(url);
    }
}

static int values_in(db_t *db, void *ctx, osmo_error_t *err) {
    (void)ctx;
    int rc = db_exec(db, db_is_pgsql(db) ? "CREATE TABLE v (n BIGINT, r DOUBLE PRECISION, s TEXT, b BYTEA)"
                                         : "CREATE TABLE v (n BIGINT, r REAL, s TEXT, b BLOB)", NULL, 0, NULL, err);
    if (rc == 0)
        rc = db_exec(db, "INSERT INTO v (n, r, s, b) VALUES (?, ?, ?, ?)",
                     DB_ARGS(DB_I(INT64_MIN), DB_D(0.1), DB_T("it's ? \xff here"), DB_B("\0\x01\xfe'\\", 5)),
                         NULL, err);
    if (rc == 0)
        rc = db_exec(db, "INSERT INTO v (n, r, s, b) VALUES (?, ?, ?, ?)", DB_ARGS(DB_I(1), DB_T(NULL),
            DB_T(NULL), DB_B("", 0)), NULL, err);
    return rc;
}

static void values_body(store_t *s, const char *url) {
    db_t *db;
    db_rows_t *rows = NULL;
    osmo_error_t err = OSMO_ERROR_INIT;
    size_t len = 0;
    (void)url;
    CHECK_OK(store_write(s, NULL, values_in, NULL, &err), &err);
    CHECK_OK(store_reader(s, &db, &err), &err);
    CHECK_OK(db_query(db, "SELECT n, r, s, b, '?' FROM v WHERE n < ? ORDER BY n", DB_ARGS(DB_I(100)), &rows,
                      &err), &err);
    REQUIRE(rows);
    CHECK_INT(db_next(rows, &err), 1);
    CHECK(db_int(rows, 0) == INT64_MIN && db_real(rows, 1) == 0.1);
    CHECK_STR(db_text(rows, 2), "it's ? \xef\xbf\xbd here");
    const void *blob = db_blob(rows, 3, &len);
    CHECK(len == 5 && memcmp(blob, "\0\x01\xfe'\\", 5) == 0);
    CHECK_STR(db_text(rows, 4), "?");
    CHECK_INT(db_next(rows, &err), 1);
    CHECK(db_is_null(rows, 1) && db_is_null(rows, 2) && !db_is_null(rows, 3));
    CHECK_STR(db_text(rows, 2), "");
    db_blob(rows, 3, &len);
    CHECK_INT(len, 0);
    CHECK_INT(db_next(rows, &err), 0);
    CHECK_INT(db_next(rows, &err), 0);
    db_rows_free(rows);
}
static void values(void) { fixture_each(values_body); }

static void reader_body(store_t *s, const char *url) {
    db_t *db, *again;
    db_rows_t *outer = NULL, *inner = NULL;
    osmo_error_t err = OSMO_ERROR_INIT;
    (void)url;
    CHECK_OK(store_reader(s, &db, &err), &err);
    CHECK_OK(store_reader(s, &again, &err), &err);
    CHECK(db == again);
    CHECK(db_exec(db, "INSERT INTO kv (name, content) VALUES ('a', 'b')", NULL, 0, NULL, &err) < 0);
    CHECK_OK(store_write(s, NULL, exec_sql, "INSERT INTO kv (name, content) VALUES ('a', '1'), ('b', '2')",
                         &err), &err);
    /* the same text open twice at a time */
    static const char sql[] = "SELECT name FROM kv ORDER BY name";
    CHECK_OK(db_query(db, sql, NULL, 0, &outer, &err), &err);
    CHECK_INT(db_next(outer, &err), 1);
    CHECK_OK(db_query(db, sql, NULL, 0, &inner, &err), &err);
    CHECK_INT(db_next(inner, &err), 1);
    CHECK_STR(db_text(inner, 0), "a");
    CHECK_INT(db_next(outer, &err), 1);
    CHECK_STR(db_text(outer, 0), "b");
    db_rows_free(inner);
    db_rows_free(outer);
    CHECK_INT(db_exec(db, "SELECT nonsense FROM nowhere", NULL, 0, NULL, &err), OSMO_EDATABASE);
    for (int i = 0; i < 500; i++) { /* more texts than the statement cache holds */
        char text[80];
        snprintf(text, sizeof(text), "SELECT %d FROM kv WHERE name = ?", i);
        CHECK_OK(db_query(db, text, DB_ARGS(DB_T("a")), &outer, &err), &err);
        CHECK(db_next(outer, &err) == 1 && db_int(outer, 0) == i);
        db_rows_free(outer);
    }
}
static void readers(void) { fixture_each(reader_body); }

static void *read_once(void *arg) {
    db_t *db;
    osmo_error_t err = OSMO_ERROR_INIT;
    return (void *)(intptr_t)(store_reader(arg, &db, &err) == 0 && db_exec(db, "SELECT 1 FROM kv", NULL, 0,
        NULL, &err) == 0);
}
static void threads_body(store_t *s, const char *url) {
    (void)url;
    for (int round = 0; round < 20; round++) {
        pthread_t t[8];
        void *ok;
        for (int i = 0; i < 8; i++)
            REQUIRE(pthread_create(&t[i], NULL, read_once, s) == 0);
        for (int i = 0; i < 8; i++) {
            pthread_join(t[i], &ok);
            CHECK(ok != NULL);
        }
    }
}
static void threads(void) { fixture_each(threads_body); }

/* What became of a transaction whose COMMIT was never answered is asked of the server. */
static void commit_outcome(void) {
    char *url = pgsql_fixture_url();
    db_t *db = NULL;
    osmo_error_t err = OSMO_ERROR_INIT;
    if (!url)
        return;
    struct db_target t = { .url = url };
    CHECK_OK(db_pgsql.open(&t, true, &db, &err), &err);
    REQUIRE(db);
    CHECK_OK(db_pgsql.begin(db, &err), &err);
    CHECK_OK(db_exec(db, "CREATE TABLE a (n BIGINT)", NULL, 0, NULL, &err), &err);
    CHECK_OK(db_pgsql.commit(db, &err), &err);
    CHECK_INT(db_pgsql.outcome(db, &err), 1);
    CHECK_OK(db_pgsql.begin(db, &err), &err);
    CHECK_OK(db_exec(db, "INSERT INTO a (n) VALUES (1)", NULL, 0, NULL, &err), &err);
    int64_t changed; /* asked for, so that the answer is waited for */
    db_exec(db, "SELECT pg_terminate_backend(pg_backend_pid())", NULL, 0, &changed, &err);
    CHECK_INT(db->trouble, DB_LOST);
    CHECK_INT(db_pgsql.commit(db, &err), OSMO_EUNAVAIL);
    db_forget_failure(db);
    int rc;
    while ((rc = db_pgsql.outcome(db, &err)) < 0) /* the server may still be cleaning up behind the session */
        db_forget_failure(db);
    CHECK_INT(rc, 0);
    /* a transaction that a failed statement spoiled cannot be committed by accident */
    CHECK_OK(db_pgsql.begin(db, &err), &err);
    CHECK(db_exec(db, "SELECT nonsense", NULL, 0, NULL, &err) < 0);
    CHECK_INT(db_pgsql.commit(db, &err), OSMO_EDATABASE);
    db_pgsql.close(db);
    free(url);
}

static const struct check_test tests[] = {
    { "one owner", one_owner }, { "bad urls", bad_urls }, { "newer schema", newer_schema }, { "values", values },
    { "readers", readers }, { "threads", threads },
    { "commit outcome", commit_outcome },
};
TEST_MAIN("store", tests)
