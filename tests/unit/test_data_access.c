/* Lists, removals, checks of access, links, files that others open, watching and ending: against a storage server in this process. */
#include <fcntl.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <unistd.h>

#include "base/buf.h"
#include "check.h"
#include "transfer_fixture.h"

#define ARRAY_SIZE(a) (sizeof(a) / sizeof((a)[0]))

static int collect(void *ctx, const struct data_object *o) {
    buf_printf(ctx, "%s%s%llu ", o->relative, o->is_prefix ? "" : ":", (unsigned long long)o->size);
    return 0;
}

static int stop_at_once(void *ctx, const struct data_object *o) {
    (void)o;
    ++*(int *)ctx;
    return OSMO_EBUSY;
}

static void lists(void) {
    static const struct { const char *uri, *regex; bool deep; const char *want; } cases[] = {
        { "s3://bucket", NULL, false, "a:1 d/0 " },
        { "s3://bucket", NULL, true, "a:1 d/b:2 d/e/c:3 d/e/f:4 " },
        { "s3://bucket/d", NULL, false, "b:2 e/0 " },
        { "s3://bucket/d", "e/f", true, "e/f:4 " },
        { "s3://bucket/d/b", NULL, false, "b:2 " },
        { "s3://bucket/d/b", NULL, true, "b:2 " },
        { "s3://bucket/none", NULL, true, "" },
        { "azure://account/cont", NULL, true, "x:1 " },
    };
    begin();
    storage_server_page(server, 2);
    data_session_t *s = session();
    storage_server_put(server, "bucket/a", "1", 1);
    storage_server_put(server, "bucket/d/b", "12", 2);
    storage_server_put(server, "bucket/d/e/c", "123", 3);
    storage_server_put(server, "bucket/d/e/f", "1234", 4);
    storage_server_put(server, "account/cont/x", "1", 1);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        osmo_error_t err = OSMO_ERROR_INIT;
        buf_t got = BUF_INIT(4096);
        CHECK_OK(data_list(s, cases[i].uri, cases[i].regex, cases[i].deep, collect, &got, &err), &err);
        CHECK_STR(buf_cstr(&got), cases[i].want);
        buf_free(&got);
    }
    osmo_error_t err = OSMO_ERROR_INIT;
    int told = 0;
    CHECK_INT(data_list(s, "s3://bucket", NULL, true, stop_at_once, &told, &err), OSMO_EBUSY);
    CHECK_INT(told, 1);
    CHECK_INT(data_list(s, "s3://nobucket", NULL, true, collect, NULL, &err), OSMO_ENOTFOUND);
    data_session_free(s);
    end();
}

static void removals(void) {
    osmo_error_t err = OSMO_ERROR_INIT;
    struct data_totals t = { 0 };
    begin();
    data_session_t *s = session();
    for (int i = 0; i < 2100; i++) {
        char path[64];
        snprintf(path, sizeof path, "bucket/many/%04d", i);
        storage_server_put(server, path, "x", 1);
    }
    storage_server_put(server, "bucket/many-more", "x", 1);
    CHECK_OK(data_delete(s, "s3://bucket/many", "00", &t, &err), &err);
    CHECK_INT(t.files, 100);
    CHECK_OK(data_delete(s, "s3://bucket/many", NULL, &t, &err), &err);
    CHECK_INT(t.files, 2000);
    CHECK_INT(storage_server_objects(server, "bucket/"), 1);
    CHECK(storage_server_count(server, "POST", "delete=") <= 4);
    storage_server_no_batch(server); /* Google's has none */
    storage_server_put(server, "bucket/g/1", "x", 1);
    storage_server_put(server, "bucket/g/2", "x", 1);
    CHECK_OK(data_delete(s, "gs://bucket/g", NULL, &t, &err), &err);
    CHECK_INT(t.files, 2);
    storage_server_put(server, "account/cont/x", "1", 1);
    CHECK_OK(data_delete(s, "azure://account/cont", NULL, &t, &err), &err);
    CHECK_INT(t.files, 1);
    char *uri = str_printf("http://127.0.0.1:%d/api/storage/wf-1/task", storage_server_port(server));
    storage_server_put(server, "wf-1/task/x", "1", 1);
    CHECK_INT(data_delete(s, uri, NULL, &t, &err), OSMO_EDENIED);
    free(uri);
    data_session_free(s);
    end();
}

static void access_checks(void) {
    static const struct { const char *uri; enum data_access access; int code; } cases[] = {
        { "s3://bucket/x", DATA_READ, 0 },          { "s3://bucket/x", DATA_WRITE, 0 },           { "s3://bucket/x", DATA_DELETE, 0 },
        { "s3://readonly/x", DATA_READ, 0 },        { "s3://readonly/x", DATA_WRITE, OSMO_EDENIED },
            { "s3://readonly/x", DATA_DELETE, OSMO_EDENIED },
        { "s3://wrongid/x", DATA_READ, OSMO_EDENIED }, { "s3://wrongkey/x", DATA_READ, OSMO_EDENIED },
            { "s3://nobucket/x", DATA_DELETE, OSMO_ENOTFOUND },
        { "gs://unknown/x", DATA_READ, OSMO_EDENIED }, { "azure://account/c/x", DATA_READ, 0 },
            { "azure://account/c/x", DATA_WRITE, 0 },
        { "azure://account/c/x", DATA_DELETE, 0 },  { "nonsense", DATA_READ, OSMO_EUSER },
    };
    begin();
    data_session_t *s = session();
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        osmo_error_t err = OSMO_ERROR_INIT;
        CHECK_INT(data_check(s, cases[i].uri, cases[i].access, &err), cases[i].code);
        CHECK(!strstr(err.text, "sEcReT"));
    }
    CHECK_INT(storage_server_objects(server, ""), 0); /* nothing is left that anybody sees */
    char *uri = str_printf("http://127.0.0.1:%d/api/storage/wf-1/task", storage_server_port(server));
    osmo_error_t err = OSMO_ERROR_INIT;
    CHECK_OK(data_check(s, uri, DATA_READ, &err), &err);
    CHECK_OK(data_check(s, uri, DATA_WRITE, &err), &err);
    CHECK_INT(storage_server_objects(server, "wf-1"), 0);
    free(uri);
    data_session_free(s);
    end();
}

static void links(void) {
    osmo_error_t err = OSMO_ERROR_INIT;
    struct data_totals t = { 0 };
    begin();
    struct data_options o = options();
    data_session_t *s = NULL;
    char *inside = path_of("tree"), *loose = path_of("tree/loop"), *secret = path_of("outside/secret"), *link = path_of("tree/out");
    char *good = path_of("tree/good"), *target = path_of("tree/sub/file"), *nowhere = path_of("tree/nowhere"), *fifo = path_of("tree/fifo");
    const char *roots[] = { inside, NULL };
    write_file("outside/secret", "secret", 6);
    write_file("tree/sub/file", "data", 4);
    write_file("tree/.osmo-part-0123", "half", 4);
    CHECK(symlink(inside, loose) == 0 && symlink(secret, link) == 0 && symlink(target, good) == 0 && symlink("missing", nowhere) == 0 &&
          mkfifo(fifo, 0600) == 0);
    o.link_roots = roots;
    CHECK_OK(data_session_new(&o, &s, &err), &err);
    CHECK_OK(upload(s, "s3://bucket/l", "tree/*", NULL, &t, &err), &err);
    CHECK_INT(t.files, 2);
    CHECK(object_is("bucket/l/good", "data", 4) && object_is("bucket/l/sub/file", "data", 4));
    CHECK_INT(storage_server_objects(server, "bucket/l/"), 2);
    CHECK_INT(left_out.len, 4);
    for (size_t i = 0; i < left_out.len; i++)
        CHECK(str_starts(left_out.items[i], "out: it is a link that leads outside") ||
              str_starts(left_out.items[i], "nowhere: it is a link that leads no") ||
              str_starts(left_out.items[i], "fifo: it is no regular") || str_starts(left_out.items[i], "loop: it is a link"));
    data_session_free(s);
    char *all[] = { inside, loose, secret, link, good, target, nowhere, fifo };
    for (size_t i = 0; i < ARRAY_SIZE(all); i++)
        free(all[i]);
    end();
}

static int open_given(void *ctx, size_t i) {
    const char *const *paths = ctx;
    return paths[i] ? open(paths[i], O_RDONLY | O_CLOEXEC) : OSMO_ENOTFOUND;
}

static void given_files(void) {
    osmo_error_t err = OSMO_ERROR_INIT;
    struct data_totals t = { 0 };
    begin();
    data_session_t *s = session();
    char *big = make(11 * MIB, 4), *one = path_of("one"), *two = path_of("two");
    const char *paths[] = { one, two };
    struct data_file files[] = { { "sub/first", 4 }, { "second", 11 * MIB } };
    write_file("one", "data", 4);
    write_file("two", big, 11 * MIB);
    CHECK_OK(data_upload_files(s, "s3://bucket/ck", files, 2, open_given, paths, &t, &err), &err);
    CHECK_INT(t.files, 2);
    CHECK(object_is("bucket/ck/sub/first", "data", 4) && object_is("bucket/ck/second", big, 11 * MIB));
    paths[1] = NULL;
    CHECK_INT(data_upload_files(s, "s3://bucket/ck", files, 2, open_given, paths, &t, &err), OSMO_ENOTFOUND);
    CHECK_CONTAINS(err.text, "second");
    files[0].relative = "../escape";
    CHECK_INT(data_upload_files(s, "s3://bucket/ck", files, 1, open_given, paths, &t, &err), OSMO_EUSER);
    data_session_free(s);
    free(big), free(one), free(two);
    end();
}

static atomic_int asked;

static bool cancel_soon(void *ctx) {
    (void)ctx;
    return atomic_fetch_add(&asked, 1) >= 1;
}

static void count_progress(void *ctx, const struct data_progress *p) {
    struct data_progress *last = ctx;
    CHECK(p->files_done <= p->files_total && p->current != NULL);
    *last = *p;
}

static void cancelled_and_watched(void) {
    osmo_error_t err = OSMO_ERROR_INIT;
    struct data_progress last = { 0 };
    begin();
    struct data_options o = options();
    data_session_t *s = NULL;
    o.progress = count_progress;
    o.ctx = &last;
    CHECK_OK(data_session_new(&o, &s, &err), &err);
    write_file("tree/one", "1234", 4);
    CHECK_OK(upload(s, "s3://bucket/x", "tree", NULL, NULL, &err), &err);
    CHECK(last.files_done == 1 && last.files_total == 1 && last.bytes_done == 4 && last.bytes_total == 4 && !last.listing);
    data_session_free(s);
    o.cancelled = cancel_soon;
    CHECK_OK(data_session_new(&o, &s, &err), &err);
    storage_server_fault(server, "PUT", "", FAULT_STATUS, 1000, 503, "SlowDown");
    CHECK_INT(upload(s, "s3://bucket/x", "tree", NULL, NULL, &err), OSMO_ECONFLICT);
    CHECK_CONTAINS(err.text, "cancelled");
    data_session_free(s);
    end();
}

static void a_token_that_is_refused(void) {
    osmo_error_t err = OSMO_ERROR_INIT;
    begin();
    struct data_options o = options();
    data_session_t *s = NULL;
    o.authorization = NULL;
    CHECK_OK(data_session_new(&o, &s, &err), &err);
    char *uri = str_printf("http://127.0.0.1:%d/api/storage/wf-1/task", storage_server_port(server));
    CHECK_INT(download(s, uri, NULL, "back", false, NULL, &err), OSMO_ECREDENTIAL);
    CHECK_CONTAINS(err.text, "401: no token");
    data_session_free(s);
    s = session();
    storage_server_put(server, "wf-1/task/deep/x", "12", 2);
    storage_server_put(server, "wf-1/task/y", "1", 1);
    char *below = str_printf("%s/deep", uri);
    struct data_totals t;
    CHECK_OK(download(s, below, NULL, "back", false, &t, &err), &err);
    CHECK_INT(t.files, 1);
    CHECK(file_is("back/x", "12", 2));
    storage_server_fault(server, "GET", "/task/y", FAULT_CUT, 1, 0, NULL);
    CHECK_OK(download(s, uri, "y", "back", false, &t, &err), &err);
    CHECK(file_is("back/y", "1", 1));
    free(below);
    free(uri);
    data_session_free(s);
    end();
}

static const struct check_test tests[] = {
    { "lists", lists },
    { "removals", removals },
    { "access is found out without a trace", access_checks },
    { "links lead to data only", links },
    { "files that the caller opens", given_files },
    { "progress and cancellation", cancelled_and_watched },
    { "tokens of the service", a_token_that_is_refused },
};
TEST_MAIN("data_access", tests)
