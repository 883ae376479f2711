/* Stores of objects over storage, as the archive uses them: against the storage server in this process. */
#include <stdlib.h>

#include "base/buf.h"
#include "base/str.h"
#include "check.h"
#include "data/object_store.h"
#include "storage_server.h"

#define MIB (1u << 20)

static storage_server_t *server;
static data_credentials_t *credentials;
static object_store_t *store;

static bool begin(const char *url) {
    osmo_error_t err = OSMO_ERROR_INIT;
    server = storage_server_start();
    int port = storage_server_port(server);
    char *yaml = str_printf("auth: {data: {'s3://bucket': &a {access_key_id: " STORAGE_KEY_ID ", access_key: " STORAGE_KEY
                            ", override_url: 'http://127.0.0.1:%d'}, 's3://readonly': *a, 'gs://bucket': *a, 's3://nobucket': *a,\n"
                            " 'azure://account': {access_key: "
                            "'BlobEndpoint=http://127.0.0.1:%d/account;AccountName=account;AccountKey=a2V5'}}}", port, port);
    CHECK_OK(data_credentials_parse(yaml, strlen(yaml), &credentials, &err), &err);
    free(yaml);
    struct object_options o = { .credentials = credentials, .retry_for_ms = 5000 };
    CHECK_OK(object_store_open(url, &o, &store, &err), &err);
    data_credentials_free(credentials); /* a copy was made */
    return store != NULL;
}

static void end(void) {
    object_store_close(store);
    store = NULL;
    storage_server_stop(server);
}

static int note(void *ctx, const char *name, uint64_t size, osmo_error_t *err) {
    (void)err;
    return buf_printf(ctx, "%s:%llu ", name, (unsigned long long)size);
}

static void check_list(const char *prefix, const char *want) {
    osmo_error_t err = OSMO_ERROR_INIT;
    buf_t got = BUF_INIT(4096);
    CHECK_OK(object_list(store, prefix, note, &got, &err), &err);
    CHECK_STR(buf_cstr(&got), want);
    buf_free(&got);
}

static void read_back(const char *name, const char *data, size_t len) {
    osmo_error_t err = OSMO_ERROR_INIT;
    object_reader_t *r = NULL;
    uint64_t size = 0;
    char *got = malloc(len + 10);
    CHECK_OK(object_get(store, name, &r, &size, &err), &err);
    REQUIRE(r != NULL);
    CHECK_INT(size, len);
    size_t at = 0;
    for (size_t step = 1; at < len; step = step * 3 + 1) {
        ssize_t n = object_read(r, at, got + at, step < len - at ? step : len - at, &err);
        CHECK_OK(n, &err);
        if (n <= 0)
            break;
        at += (size_t)n;
    }
    CHECK(at == len && !memcmp(got, data, len));
    CHECK_INT(object_read(r, len, got, 10, &err), 0);
    CHECK_INT(object_read(r, 0, got, 1, &err), 1); /* and back */
    CHECK(got[0] == data[0]);
    object_done(r);
    free(got);
}

static void whole_life(const char *url) {
    osmo_error_t err = OSMO_ERROR_INIT;
    REQUIRE(begin(url));
    size_t len = 19 * MIB + 3;
    char *big = malloc(len);
    for (size_t i = 0; i < len; i++)
        big[i] = (char)(i * 7 + i / 4096);
    check_list("wf-1", "");
    CHECK_OK(object_put_bytes(store, "wf-1/events", "some events", 11, &err), &err);
    CHECK_OK(object_put_bytes(store, "wf-1/empty", "", 0, &err), &err);
    CHECK_OK(object_put_bytes(store, "wf-1/sub/deep", "x", 1, &err), &err);
    CHECK_OK(object_put_bytes(store, "wf-10/other", "x", 1, &err), &err);
    object_writer_t *w = NULL;
    CHECK_OK(object_put(store, "wf-1/log", &w, &err), &err);
    REQUIRE(w != NULL);
    for (size_t at = 0; at < len; at += 1000 * 1000)
        CHECK_OK(object_write(w, big + at, len - at < 1000 * 1000 ? len - at : 1000 * 1000, &err), &err);
    check_list("wf-1", "wf-1/empty:0 wf-1/events:11 ");
    CHECK_OK(object_commit(w, &err), &err);
    check_list("wf-1", "wf-1/empty:0 wf-1/events:11 wf-1/log:19922947 ");
    read_back("wf-1/events", "some events", 11);
    read_back("wf-1/log", big, len);
    object_reader_t *r;
    uint64_t size;
    CHECK_INT(object_get(store, "wf-1/missing", &r, &size, &err), OSMO_ENOTFOUND);
    CHECK_OK(object_remove(store, "wf-1/log", &err), &err);
    CHECK_OK(object_remove(store, "wf-1/log", &err), &err);
    check_list("wf-1", "wf-1/empty:0 wf-1/events:11 ");
    CHECK_OK(object_put(store, "wf-1/half", &w, &err), &err);
    CHECK_OK(object_write(w, big, 10 * MIB, &err), &err);
    object_discard(w);
    check_list("wf-1", "wf-1/empty:0 wf-1/events:11 ");
    free(big);
}

static void in_s3(void) {
    whole_life("s3://bucket/archive");
    CHECK_INT(storage_server_uploads(server), 0);
    size_t n;
    char *data = storage_server_get(server, "bucket/archive/wf-1/events", &n);
    CHECK(data && n == 11);
    free(data);
    end();
}

static void in_gs(void) {
    whole_life("gs://bucket");
    end();
}

static void in_azure(void) {
    whole_life("azure://account/cont/archive");
    end();
}

static void tidies_up(void) {
    osmo_error_t err = OSMO_ERROR_INIT;
    object_writer_t *w = NULL;
    char *data = calloc(1, 10 * MIB);
    REQUIRE(begin("s3://bucket/archive"));
    CHECK_OK(object_put(store, "wf-1/half", &w, &err), &err);
    CHECK_OK(object_write(w, data, 10 * MIB, &err), &err);
    CHECK_INT(storage_server_uploads(server), 1);
    CHECK_OK(object_tidy(store, "wf-1", &err), &err); /* it may still be written */
    CHECK_INT(storage_server_uploads(server), 1);
    storage_server_old_uploads(server);
    CHECK_OK(object_tidy(store, "wf-1", &err), &err);
    CHECK_INT(storage_server_uploads(server), 0);
    CHECK_INT(object_commit(w, &err), OSMO_ENOTFOUND);
    free(data);
    end();
}

static void refusals(void) {
    osmo_error_t err = OSMO_ERROR_INIT;
    REQUIRE(begin("s3://readonly/x"));
    CHECK_INT(object_put_bytes(store, "a", "x", 1, &err), OSMO_EDENIED);
    CHECK_CONTAINS(err.text, "AccessDenied");
    CHECK_INT(object_put_bytes(store, "../a", "x", 1, &err), OSMO_EINVAL);
    end();
    REQUIRE(begin("s3://bucket/x"));
    storage_server_put(server, "bucket/x/a", "0123456789", 10);
    object_reader_t *r = NULL;
    uint64_t size;
    char byte;
    CHECK_OK(object_get(store, "a", &r, &size, &err), &err);
    storage_server_put(server, "bucket/x/a", "9876543210", 10);
    CHECK_INT(object_read(r, 0, &byte, 1, &err), OSMO_ECONFLICT); /* it became another object under the reader */
    object_done(r);
    storage_server_fault(server, "PUT", "", FAULT_STATUS, 2, 503, "SlowDown");
    CHECK_OK(object_put_bytes(store, "b", "x", 1, &err), &err);
    object_store_t *none = NULL;
    CHECK_INT(object_store_open("s3://", NULL, &none, &err), OSMO_EINVAL);
    CHECK_INT(object_store_open("gs://bucket", NULL, &none, &err), OSMO_ECREDENTIAL);
    CHECK(!none);
    end();
}

static const struct check_test tests[] = {
    { "objects in S3", in_s3 },
    { "objects in Google's storage", in_gs },
    { "objects in Azure", in_azure },
    { "what dead writers leave is removed", tidies_up },
    { "refusals", refusals },
};
TEST_MAIN("object_remote", tests)
