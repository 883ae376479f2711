/* Transfers against a storage server in this process, with the faults that real ones have. */
#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdatomic.h>
#include <stdlib.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "base/str.h"
#include "check.h"
#include "data/transfer.h"
#include "storage_server.h"

#define MIB (1u << 20)

static char root[64];
static storage_server_t *server;
static data_credentials_t *credentials;
static strlist_t left_out;

static char *path_of(const char *name) { return str_printf("%s/%s", root, name); }

static char *token(void *ctx) {
    (void)ctx;
    return strdup(STORAGE_TOKEN);
}

static void note_left_out(void *ctx, const char *path, const char *why) {
    (void)ctx;
    char *line = str_printf("%s: %s", path, why);
    strlist_add(&left_out, line);
    free(line);
}

static void read_credentials(int port) {
    osmo_error_t err = OSMO_ERROR_INIT;
    char *yaml = str_printf(
        "auth: {data: {'s3://bucket': &a {access_key_id: " STORAGE_KEY_ID ", access_key: " STORAGE_KEY ", override_url: 'http://127.0.0.1:%d'},\n"
        " 's3://readonly': *a, 's3://nobucket': *a, 'gs://bucket': *a, 'tos://127.0.0.1:%d/bucket': *a,\n"
        " 's3://wrongid': {access_key_id: other, access_key: x, override_url: 'http://127.0.0.1:%d'},\n"
        " 's3://wrongkey': {access_key_id: " STORAGE_KEY_ID ", access_key: sEcReT, override_url: 'http://127.0.0.1:%d'},\n"
        " 's3://public': {override_url: 'http://127.0.0.1:%d'}, 's3://closed': {override_url: 'http://127.0.0.1:%d'},\n"
        " 'swift://h/AUTH_other': *a,\n"
        " 'azure://account': {access_key: 'BlobEndpoint=http://127.0.0.1:%d/account;AccountName=account;AccountKey=a2V5'},\n"
        " 'azure://shared': {access_key: 'BlobEndpoint=http://127.0.0.1:%d/account;SharedAccessSignature=sv=1&sig=ok%%2B%%2F%%3D'}}}\n",
        port, port, port, port, port, port, port, port);
    if (data_credentials_parse(yaml, strlen(yaml), &credentials, &err) < 0) {
        fprintf(stderr, "%s\n", err.text);
        abort();
    }
    free(yaml);
}

static void begin(void) {
    snprintf(root, sizeof root, "/tmp/osmo-transfer-XXXXXX");
    if (!mkdtemp(root))
        abort();
    server = storage_server_start();
    read_credentials(storage_server_port(server));
}

static void end(void) {
    storage_server_stop(server);
    data_credentials_free(credentials);
    strlist_free(&left_out);
    dir_remove_tree(root, NULL);
}

static struct data_options options(void) {
    return (struct data_options){ .credentials = credentials, .connections = 4, .part_size = 5 * MIB, .multipart_from = 8 * MIB, .retry_for_ms = 20000,
                                  .stall_ms = 10000, .authorization = token, .left_out = note_left_out };
}

static data_session_t *session(void) {
    osmo_error_t err = OSMO_ERROR_INIT;
    struct data_options o = options();
    data_session_t *s = NULL;
    CHECK_OK(data_session_new(&o, &s, &err), &err);
    return s;
}

static void fill(char *data, size_t len, unsigned seed) {
    for (size_t i = 0; i < len; i++) {
        seed = seed * 1103515245u + 12345u;
        data[i] = (char)(seed >> 16);
    }
}

static char *make(size_t len, unsigned seed) {
    char *data = malloc(len + 1);
    fill(data, len, seed);
    return data;
}

static void write_file(const char *name, const void *data, size_t len) {
    char *path = path_of(name), *slash = strrchr(path, '/');
    *slash = '\0';
    CHECK_INT(dir_make(path, 0755, NULL), 0);
    *slash = '/';
    CHECK_INT(file_write_atomic(path, data, len, 0640, false, NULL), 0);
    free(path);
}

static bool file_is(const char *name, const void *data, size_t len) {
    buf_t b = BUF_INIT(64 * MIB);
    char *path = path_of(name);
    bool same = file_read(path, &b, NULL) == 0 && b.len == len && (!len || !memcmp(b.data, data, len));
    free(path);
    buf_free(&b);
    return same;
}

static bool object_is(const char *path, const void *data, size_t len) {
    size_t n = 0;
    char *got = storage_server_get(server, path, &n);
    bool same = got && n == len && !memcmp(got, data, len);
    free(got);
    return same;
}

/* Files in a directory, those with a dot in front as well. */
static size_t entries(const char *name) {
    char *path = path_of(name);
    DIR *d = opendir(path);
    struct dirent *e;
    size_t n = 0;
    while (d && (e = readdir(d)))
        n += strcmp(e->d_name, ".") != 0 && strcmp(e->d_name, "..") != 0;
    if (d)
        closedir(d);
    free(path);
    return n;
}

static int upload(data_session_t *s, const char *uri, const char *name, const char *regex, struct data_totals *t, osmo_error_t *err) {
    char *path = path_of(name);
    const char *paths[] = { path };
    int rc = data_upload(s, uri, paths, 1, regex, t, err);
    free(path);
    return rc;
}

static int download(data_session_t *s, const char *uri, const char *regex, const char *folder, bool resume, struct data_totals *t, osmo_error_t *err) {
    char *path = path_of(folder);
    int rc = data_download(s, uri, regex, path, resume, t, err);
    free(path);
    return rc;
}

/* ---- the ordinary ---- */

static void there_and_back_at(const char *uri, const char *place) {
    osmo_error_t err = OSMO_ERROR_INIT;
    struct data_totals t = { 0 };
    data_session_t *s = session();
    char *big = make(13 * MIB + 7, 1), *at = str_printf("%s/big", place);
    write_file("tree/a.txt", "alpha", 5);
    write_file("tree/sub dir/b+c%d.txt", "beta", 4);
    write_file("tree/sub dir/\xc3\xa4", "", 0);
    write_file("tree/big", big, 13 * MIB + 7);
    CHECK_OK(upload(s, uri, "tree/*", NULL, &t, &err), &err);
    CHECK_INT(t.files, 4);
    CHECK_INT(t.bytes, 13 * MIB + 7 + 9);
    CHECK(object_is(at, big, 13 * MIB + 7));
    CHECK_OK(download(s, uri, "", "back", false, &t, &err), &err);
    CHECK_INT(t.files, 4);
    CHECK(file_is("back/a.txt", "alpha", 5) && file_is("back/sub dir/b+c%d.txt", "beta", 4) && file_is("back/sub dir/\xc3\xa4", "", 0));
    CHECK(file_is("back/big", big, 13 * MIB + 7));
    CHECK_INT(entries("back"), 3);
    CHECK_OK(download(s, uri, "sub", "some", false, &t, &err), &err);
    CHECK_INT(t.files, 2);
    CHECK_INT(entries("some"), 1);
    CHECK_INT(storage_server_uploads(server), 0);
    data_session_free(s);
    free(big);
    free(at);
}

static void there_and_back_s3(void) {
    begin();
    storage_server_page(server, 2);
    there_and_back_at("s3://bucket/some/where", "bucket/some/where");
    CHECK(storage_server_count(server, "PUT", "partNumber=3") == 1);
    CHECK(storage_server_count(server, "GET", "continuation-token") >= 1);
    end();
}

static void there_and_back_gs(void) {
    begin();
    there_and_back_at("gs://bucket/x", "bucket/x");
    end();
}

static void there_and_back_azure(void) {
    begin();
    storage_server_page(server, 3);
    there_and_back_at("azure://account/cont/x", "account/cont/x");
    CHECK(storage_server_count(server, "PUT", "blockid=") == 3);
    end();
}

static void there_and_back_sas(void) {
    begin();
    there_and_back_at("azure://shared/cont/x", "account/cont/x");
    end();
}

static void there_and_back_service(void) {
    begin();
    char *uri = str_printf("http://127.0.0.1:%d/api/storage/wf-1/task", storage_server_port(server));
    storage_server_put(server, "wf-1/task/old", "old", 3);
    there_and_back_at(uri, "wf-1/task");
    CHECK_INT(storage_server_objects(server, "wf-1/task/"), 4); /* what was there before is gone, all of it */
    CHECK_INT(storage_server_objects(server, "staged/"), 0);
    struct stat st;
    char *path = path_of("back/a.txt");
    CHECK(stat(path, &st) == 0 && (st.st_mode & 0777) == 0644);
    free(path);
    free(uri);
    end();
}

static void there_and_back_file(void) {
    begin();
    osmo_error_t err = OSMO_ERROR_INIT;
    struct data_totals t = { 0 };
    data_session_t *s = session();
    char *big = make(9 * MIB, 3), *uri = str_printf("file://%s/store", root);
    write_file("tree/sub/a", "alpha", 5);
    write_file("tree/big", big, 9 * MIB);
    CHECK_OK(upload(s, uri, "tree", NULL, &t, &err), &err);
    CHECK_INT(t.files, 2);
    CHECK(file_is("store/tree/sub/a", "alpha", 5) && file_is("store/tree/big", big, 9 * MIB));
    CHECK_OK(download(s, uri, NULL, "back", false, &t, &err), &err);
    CHECK(file_is("back/tree/sub/a", "alpha", 5) && file_is("back/tree/big", big, 9 * MIB));
    for (int a = DATA_READ; a <= DATA_DELETE; a++)
        CHECK_OK(data_check(s, uri, (enum data_access)a, &err), &err);
    CHECK_OK(data_delete(s, uri, "tree/sub", &t, &err), &err);
    CHECK_INT(t.files, 1);
    CHECK_INT(entries("store/tree"), 1);
    data_session_free(s);
    free(big);
    free(uri);
    end();
}

static void what_a_uri_names(void) {
    osmo_error_t err = OSMO_ERROR_INIT;
    struct data_totals t = { 0 };
    begin();
    data_session_t *s = session();
    storage_server_put(server, "bucket/dir/one", "1", 1);
    storage_server_put(server, "bucket/dir/two/", "", 0); /* a marker of a folder */
    storage_server_put(server, "bucket/dir-other/x", "x", 1);
    storage_server_put(server, "bucket/object", "obj", 3);
    storage_server_put(server, "bucket/object/below", "no", 2);
    CHECK_OK(download(s, "s3://bucket/dir", NULL, "a", false, &t, &err), &err);
    CHECK_INT(t.files, 1);
    CHECK(file_is("a/one", "1", 1));
    CHECK_OK(download(s, "s3://bucket/object", NULL, "b", false, &t, &err), &err);
    CHECK_INT(t.files, 1);
    CHECK(file_is("b/object", "obj", 3));
    CHECK_OK(download(s, "s3://bucket/nothing", NULL, "c", false, &t, &err), &err);
    CHECK_INT(t.files, 0);
    write_file("solo.txt", "solo", 4);
    CHECK_OK(upload(s, "s3://bucket/up", "solo.txt", NULL, &t, &err), &err);
    CHECK(object_is("bucket/up/solo.txt", "solo", 4));
    write_file("dir/in/solo.txt", "solo", 4);
    CHECK_OK(upload(s, "s3://bucket", "dir", "dir/in", &t, &err), &err);
    CHECK(object_is("bucket/dir/in/solo.txt", "solo", 4));
    CHECK_INT(upload(s, "s3://bucket", "missing", NULL, &t, &err), OSMO_ENOTFOUND);
    CHECK_CONTAINS(err.text, "missing");
    CHECK_INT(upload(s, "s3://bucket", "dir", "[", &t, &err), OSMO_EUSAGE);
    data_session_free(s);
    end();
}

static void names_that_would_escape(void) {
    static const char *const names[] = { "bucket/d/../../evil", "bucket/d//evil", "bucket/d/./evil", "bucket/d/sub/.." };
    osmo_error_t err = OSMO_ERROR_INIT;
    begin();
    data_session_t *s = session();
    for (size_t i = 0; i < ARRAY_SIZE(names); i++) {
        storage_server_put(server, names[i], "x", 1);
        CHECK_INT(download(s, "s3://bucket/d", NULL, "deep/folder", false, NULL, &err), OSMO_EUSER);
        CHECK_CONTAINS(err.text, "leave the folder");
        CHECK_OK(data_delete(s, "s3://bucket/d", NULL, NULL, &err), &err);
        CHECK_INT(storage_server_objects(server, "bucket/d"), 0);
    }
    CHECK_INT(entries("deep/folder"), 0);
    CHECK_INT(entries("deep"), 0);
    data_session_free(s);
    end();
}

/* ---- faults ---- */

static void passing_faults(void) {
    static const struct { const char *method, *contains; enum storage_fault fault; int status; const char *code; } cases[] = {
        { "PUT", "/bucket/f/", FAULT_STATUS, 503, "SlowDown" },      { "PUT", "/bucket/f/", FAULT_STATUS, 500, "InternalError" },
        { "PUT", "/bucket/f/", FAULT_STATUS, 400, "RequestTimeout" }, { "PUT", "/bucket/f/", FAULT_STATUS, 429, "TooManyRequests" },
        { "PUT", "/bucket/f/", FAULT_DROP, 0, NULL },                { "PUT", "/bucket/f/", FAULT_LOST, 0, NULL },
        { "PUT", "/bucket/f/", FAULT_STATUS, 400, "BadDigest" },      { "PUT", "/bucket/f/", FAULT_SHORT, 0, NULL },
        { "PUT", "partNumber=2", FAULT_STATUS, 503, "SlowDown" },    { "PUT", "partNumber=1", FAULT_DROP, 0, NULL },
        { "POST", "uploads=", FAULT_STATUS, 503, "SlowDown" },       { "POST", "uploadId=", FAULT_INSIDE, 0, "InternalError" },
        { "POST", "uploadId=", FAULT_LOST, 0, NULL },                { "GET", "list-type", FAULT_STATUS, 503, "SlowDown" },
        { "GET", "list-type", FAULT_CUT, 0, NULL },                  { "GET", "/bucket/f/", FAULT_CUT, 0, NULL },
        { "GET", "/bucket/f/", FAULT_CORRUPT, 0, NULL },             { "GET", "/bucket/f/", FAULT_DROP, 0, NULL },
        { "GET", "/bucket/f/", FAULT_STATUS, 503, "SlowDown" },      { "HEAD", "", FAULT_STATUS, 503, "" },
        { "", "", FAULT_REGION, 0, "eu-central-7" },
    };
    char *big = make(9 * MIB + 1, 5);
    begin();
    write_file("tree/small", "some small thing", 16);
    write_file("tree/big", big, 9 * MIB + 1);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        osmo_error_t err = OSMO_ERROR_INIT;
        data_session_t *s = session();
        struct data_totals t = { 0 };
        storage_server_fault(server, cases[i].method, cases[i].contains, cases[i].fault, cases[i].fault == FAULT_REGION ? 100 : 1, cases[i].status,
                             cases[i].code);
        bool sends = !i || !*cases[i].method || cases[i].method[0] == 'P';
        if (sends)
            CHECK_OK(upload(s, "s3://bucket/f", "tree/*", NULL, &t, &err), &err);
        CHECK(object_is("bucket/f/small", "some small thing", 16) && object_is("bucket/f/big", big, 9 * MIB + 1));
        if (!sends || !*cases[i].method)
            CHECK_OK(download(s, "s3://bucket/f", NULL, "back", false, &t, &err), &err);
        CHECK_INT(t.files, 2);
        if (!sends)
            CHECK(file_is("back/small", "some small thing", 16) && file_is("back/big", big, 9 * MIB + 1) && entries("back") == 2);
        CHECK_INT(storage_server_uploads(server), 0);
        data_session_free(s);
    }
    free(big);
    end();
}

static void lasting_faults(void) {
    static const struct { const char *uri; int code; const char *words; } cases[] = {
        { "s3://wrongid/x", OSMO_ECREDENTIAL, "InvalidAccessKeyId: in the words of the server: check access_key_id" },
        { "s3://wrongkey/x", OSMO_ECREDENTIAL, "SignatureDoesNotMatch" },
        { "s3://nobucket/x", OSMO_ENOTFOUND, "NoSuchBucket: in the words of the server: make the bucket" },
        { "s3://readonly/x", OSMO_EDENIED, "AccessDenied: in the words of the server: check what its credential may do" },
        { "s3://closed/x", OSMO_EDENIED, "there is no credential for it" },
        { "gs://unknown/x", OSMO_ECREDENTIAL, "there is no credential for gs://unknown" },
        { "swift://h/AUTH_other/c", OSMO_ECREDENTIAL, "namespace" },
    };
    begin();
    data_session_t *s = session();
    write_file("tree/one", "1", 1);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        osmo_error_t err = OSMO_ERROR_INIT;
        CHECK_INT(upload(s, cases[i].uri, "tree", NULL, NULL, &err), cases[i].code);
        CHECK_CONTAINS(err.text, cases[i].words);
        CHECK(!strstr(err.text, "sEcReT"));
    }
    CHECK_INT(storage_server_count(server, "PUT", ""), 5); /* none was tried twice */
    osmo_error_t err = OSMO_ERROR_INIT;
    storage_server_put(server, "public/x/y", "open", 4);
    CHECK_OK(download(s, "s3://public/x", NULL, "open", false, NULL, &err), &err);
    CHECK(file_is("open/y", "open", 4));
    data_session_free(s);
    end();
}

static void impatience(void) {
    osmo_error_t err = OSMO_ERROR_INIT;
    begin();
    struct data_options o = options();
    data_session_t *s = NULL;
    o.retry_for_ms = 300;
    o.stall_ms = 200;
    CHECK_OK(data_session_new(&o, &s, &err), &err);
    write_file("tree/one", "1", 1);
    storage_server_fault(server, "PUT", "", FAULT_STATUS, 1000, 503, "SlowDown");
    CHECK_INT(upload(s, "s3://bucket/x", "tree", NULL, NULL, &err), OSMO_EUNAVAIL);
    CHECK_CONTAINS(err.text, "tree/one: s3://bucket answered 503 SlowDown");
    storage_server_put(server, "bucket/s/stalls", "0123456789", 10);
    storage_server_fault(server, "GET", "stalls", FAULT_STALL, 2, 0, NULL);
    CHECK_OK(download(s, "s3://bucket/s", NULL, "back", false, NULL, &err), &err); /* goes on behind what came */
    CHECK(file_is("back/stalls", "0123456789", 10));
    storage_server_fault(server, "GET", "stalls", FAULT_CORRUPT, 100, 0, NULL);
    CHECK_INT(download(s, "s3://bucket/s", NULL, "bad", false, NULL, &err), OSMO_EIO);
    CHECK_CONTAINS(err.text, "stalls: what arrived is not what the storage keeps");
    CHECK_INT(entries("bad"), 0);
    data_session_free(s);
    end();
}

static void wrong_clock(void) {
    osmo_error_t err = OSMO_ERROR_INIT;
    begin();
    data_session_t *s = session();
    storage_server_clock(server, 7200 * INT64_C(1000000));
    write_file("tree/one", "1", 1);
    write_file("tree/two", "2", 1);
    CHECK_OK(upload(s, "s3://bucket/x", "tree/*", NULL, NULL, &err), &err);
    CHECK(object_is("bucket/x/one", "1", 1) && object_is("bucket/x/two", "2", 1));
    data_session_free(s);
    end();
}

static void one_failure_fails_all(void) {
    osmo_error_t err = OSMO_ERROR_INIT;
    struct data_totals t = { 0 };
    begin();
    data_session_t *s = session();
    for (int i = 0; i < 60; i++) {
        char name[32];
        snprintf(name, sizeof name, "tree/%02d", i);
        write_file(name, name, strlen(name));
    }
    storage_server_fault(server, "PUT", "/tree/30", FAULT_STATUS, 10, 403, "AccessDenied");
    CHECK_INT(upload(s, "s3://bucket/x", "tree", NULL, &t, &err), OSMO_EDENIED);
    CHECK_CONTAINS(err.text, "tree/30: ");
    CHECK(t.files < 60);
    CHECK_OK(upload(s, "s3://bucket/x", "tree", "tree/(?!30)", &t, &err), &err); /* the session is of further use */
    CHECK_INT(t.files, 59);
    data_session_free(s);
    end();
}

/* ---- resume ---- */

static void sparing_downloads(void) {
    osmo_error_t err = OSMO_ERROR_INIT;
    struct data_totals t = { 0 };
    begin();
    data_session_t *s = session();
    char *big = make(12 * MIB, 7);
    write_file("tree/big", big, 12 * MIB);
    write_file("tree/mid", big, 3 * MIB);
    write_file("tree/small", "small", 5);
    CHECK_OK(upload(s, "s3://bucket/r", "tree/*", NULL, &t, &err), &err);
    CHECK_OK(download(s, "s3://bucket/r", NULL, "back", true, &t, &err), &err);
    CHECK_INT(t.files, 3);
    size_t gets = storage_server_count(server, "GET", "/bucket/r/");
    CHECK_OK(download(s, "s3://bucket/r", NULL, "back", true, &t, &err), &err);
    CHECK_INT(t.files, 0);
    CHECK_INT(t.skipped, 3);
    CHECK_INT(storage_server_count(server, "GET", "/bucket/r/"), gets);
    write_file("back/mid", big + 1, 3 * MIB); /* of the same size */
    write_file("back/small", "smal", 4);
    CHECK_OK(download(s, "s3://bucket/r", NULL, "back", true, &t, &err), &err);
    CHECK_INT(t.files, 2);
    CHECK(file_is("back/mid", big, 3 * MIB) && file_is("back/small", "small", 5));
    data_session_free(s);
    free(big);
    end();
}

/* Another process, that is killed while the server turns it away: this program, told where everything is. */
static void killed(const char *what, const char *method, const char *contains) {
    size_t before = storage_server_count(server, method, contains);
    char port[16];
    pid_t child;
    snprintf(port, sizeof port, "%d", storage_server_port(server));
    char *argv[] = { (char *)"test", (char *)"--child", (char *)what, root, port, NULL };
    REQUIRE(posix_spawn(&child, "/proc/self/exe", NULL, NULL, argv, environ) == 0);
    int64_t until = clock_mono_us() + 20 * INT64_C(1000000);
    while (storage_server_count(server, method, contains) == before && clock_mono_us() < until)
        poll(NULL, 0, 5); /* nothing signals it */
    kill(child, SIGKILL);
    waitpid(child, NULL, 0);
}

static int child_main(char **argv) {
    struct data_options o = options();
    data_session_t *s;
    osmo_error_t err = OSMO_ERROR_INIT;
    snprintf(root, sizeof root, "%s", argv[3]);
    read_credentials(atoi(argv[4]));
    char *state = path_of("state");
    o.credentials = credentials;
    o.state_dir = state;
    o.connections = 1;
    if (data_session_new(&o, &s, &err) < 0)
        return 1;
    return (strcmp(argv[2], "upload") ? download(s, "s3://bucket/k", NULL, "back", true, NULL, &err)
                                      : upload(s, "s3://bucket/k", "tree/*", NULL, NULL, &err)) < 0;
}

static void goes_on_after_kill(void) {
    osmo_error_t err = OSMO_ERROR_INIT;
    struct data_totals t = { 0 };
    begin();
    struct data_options o = options();
    data_session_t *s = NULL;
    char *big = make(31 * MIB, 9), *state = path_of("state");
    o.state_dir = state;
    write_file("tree/big", big, 31 * MIB);
    storage_server_fault(server, "PUT", "partNumber=5", FAULT_STATUS, 1000, 503, "SlowDown");
    killed("upload", "PUT", "partNumber=5");
    CHECK_INT(storage_server_uploads(server), 1);
    CHECK(entries("state") > 0);
    storage_server_heal(server);
    CHECK_OK(data_session_new(&o, &s, &err), &err);
    CHECK_OK(upload(s, "s3://bucket/k", "tree/*", NULL, &t, &err), &err);
    CHECK(object_is("bucket/k/big", big, 31 * MIB));
    for (int i = 1; i <= 4; i++) {
        char part[32];
        snprintf(part, sizeof part, "partNumber=%d&", i);
        CHECK_INT(storage_server_count(server, "PUT", part), 1);
    }
    CHECK_INT(storage_server_uploads(server), 0);
    CHECK_INT(entries("state"), 0);

    storage_server_fault(server, "GET", "/bucket/k/big", FAULT_CUT, 1000, 0, NULL);
    killed("download", "GET", "/bucket/k/big");
    storage_server_heal(server);
    CHECK_INT(entries("back"), 2);
    CHECK_OK(download(s, "s3://bucket/k", NULL, "back", true, &t, &err), &err);
    CHECK(file_is("back/big", big, 31 * MIB));
    CHECK_INT(entries("back"), 1);
    data_session_free(s);
    free(big);
    free(state);
    end();
}

/* What was begun is of use only as far as it is what it is taken for. */
static void distrusts_what_was_begun(void) {
    osmo_error_t err = OSMO_ERROR_INIT;
    begin();
    data_session_t *s = session();
    char *big = make(16 * MIB, 11), *other = make(16 * MIB, 12);
    storage_server_put(server, "bucket/k/big", big, 16 * MIB);
    storage_server_fault(server, "GET", "/bucket/k/big", FAULT_STATUS, 1, 200, "");
    storage_server_heal(server);
    storage_server_fault(server, "GET", "/bucket/k/big", FAULT_STATUS, 3, 403, "AccessDenied");
    CHECK_INT(download(s, "s3://bucket/k", NULL, "back", true, NULL, &err), OSMO_EDENIED);
    storage_server_heal(server);
    char *dir = path_of("back");
    DIR *d = opendir(dir);
    REQUIRE(d != NULL);
    for (struct dirent *e; (e = readdir(d));) { /* all parts are said to be there, with sums that do not fit */
        int fd = str_starts(e->d_name, ".osmo-state-") ? openat(dirfd(d), e->d_name, O_WRONLY | O_APPEND) : -1;
        for (int i = 0; fd >= 0 && i < 4; i++)
            CHECK(write(fd, "deadbeef                                  +\n", 44) == 44);
        if (fd >= 0)
            close(fd);
    }
    closedir(d);
    CHECK_OK(download(s, "s3://bucket/k", NULL, "back", true, NULL, &err), &err);
    CHECK(file_is("back/big", big, 16 * MIB));
    storage_server_put(server, "bucket/k/big", other, 16 * MIB); /* another object of the same size */
    CHECK_OK(download(s, "s3://bucket/k", NULL, "back", true, NULL, &err), &err);
    CHECK(file_is("back/big", other, 16 * MIB));
    data_session_free(s);
    free(dir);
    free(big);
    free(other);
    end();
}

/* ---- more of what is asked ---- */

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
        { "s3://readonly/x", DATA_READ, 0 },        { "s3://readonly/x", DATA_WRITE, OSMO_EDENIED }, { "s3://readonly/x", DATA_DELETE, OSMO_EDENIED },
        { "s3://wrongid/x", DATA_READ, OSMO_EDENIED }, { "s3://wrongkey/x", DATA_READ, OSMO_EDENIED }, { "s3://nobucket/x", DATA_DELETE, OSMO_ENOTFOUND },
        { "gs://unknown/x", DATA_READ, OSMO_EDENIED }, { "azure://account/c/x", DATA_READ, 0 },      { "azure://account/c/x", DATA_WRITE, 0 },
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
        CHECK(str_starts(left_out.items[i], "out: it is a link that leads outside") || str_starts(left_out.items[i], "nowhere: it is a link that leads no") ||
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
    { "to S3 and back", there_and_back_s3 },
    { "to Google's storage and back", there_and_back_gs },
    { "to Azure and back", there_and_back_azure },
    { "to Azure with a shared access signature", there_and_back_sas },
    { "to the service's storage and back", there_and_back_service },
    { "to a directory and back", there_and_back_file },
    { "an object or what is below a prefix", what_a_uri_names },
    { "no name leaves the folder", names_that_would_escape },
    { "faults that pass are waited for", passing_faults },
    { "faults that last are told at once", lasting_faults },
    { "patience ends", impatience },
    { "a wrong clock is corrected", wrong_clock },
    { "one failure fails all and is named", one_failure_fails_all },
    { "what is there whole is left", sparing_downloads },
    { "killed transfers go on", goes_on_after_kill },
    { "what was begun is not trusted blindly", distrusts_what_was_begun },
    { "lists", lists },
    { "removals", removals },
    { "access is found out without a trace", access_checks },
    { "links lead to data only", links },
    { "files that the caller opens", given_files },
    { "progress and cancellation", cancelled_and_watched },
    { "tokens of the service", a_token_that_is_refused },
};

int main(int argc, char **argv) {
    if (argc == 5 && !strcmp(argv[1], "--child"))
        return child_main(argv);
    return check_main("data_transfer", tests, ARRAY_SIZE(tests), argc, argv);
}
