/* Transfers against a storage server in this process, with the faults that real ones have. */
#include <dirent.h>
#include <fcntl.h>
#include <poll.h>
#include <signal.h>
#include <spawn.h>
#include <stdlib.h>
#include <sys/file.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include "base/cleanup.h"
#include "base/clock.h"
#include "base/file.h"
#include "check.h"
#include "transfer_fixture.h"

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

/* Whoever else carries the same object to the same place is not disturbed. */
static void two_at_once(void) {
    osmo_error_t err = OSMO_ERROR_INIT;
    begin();
    data_session_t *s = session();
    char *dir = path_of("back");
    struct dirent *e;
    storage_server_put(server, "bucket/t/one", "1", 1);
    storage_server_fault(server, "GET", "/bucket/t/one", FAULT_STATUS, 1, 403, "AccessDenied");
    CHECK_INT(dir_make(dir, 0755, NULL), 0);
    CHECK_INT(download(s, "s3://bucket/t", NULL, "back", false, NULL, &err), OSMO_EDENIED);
    CHECK_INT(entries("back"), 0);
    /* the name of the file aside is the same for the same object: take it from a download that fails later */
    char *big = make(9 * MIB, 2);
    storage_server_put(server, "bucket/t/one", big, 9 * MIB);
    storage_server_fault(server, "GET", "/bucket/t/one", FAULT_STATUS, 10, 403, "AccessDenied");
    CHECK_INT(download(s, "s3://bucket/t", NULL, "back", false, NULL, &err), OSMO_EDENIED);
    storage_server_heal(server);
    DIR *d = opendir(dir);
    REQUIRE(d != NULL);
    int fd = -1;
    while (fd < 0 && (e = readdir(d)))
        if (str_starts(e->d_name, ".osmo-part-"))
            fd = openat(dirfd(d), e->d_name, O_RDWR | O_CLOEXEC);
    closedir(d);
    CHECK(fd >= 0 && flock(fd, LOCK_EX | LOCK_NB) == 0);
    CHECK_INT(download(s, "s3://bucket/t", NULL, "back", false, NULL, &err), OSMO_ECONFLICT);
    CHECK_CONTAINS(err.text, "one: another process is fetching it");
    close(fd);
    CHECK_OK(download(s, "s3://bucket/t", NULL, "back", false, NULL, &err), &err);
    CHECK(file_is("back/one", big, 9 * MIB));
    CHECK_INT(entries("back"), 1);
    data_session_free(s);
    free(big);
    free(dir);
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
        storage_server_fault(server, cases[i].method, cases[i].contains, cases[i].fault, cases[i].fault ==
                             FAULT_REGION ? 100 : 1, cases[i].status,
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
    char self[4096] = "";
    REQUIRE(readlink("/proc/self/exe", self, sizeof self - 1) > 0); /* by name: under valgrind the link itself is valgrind */
    REQUIRE(posix_spawn(&child, self, NULL, NULL, argv, environ) == 0);
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

static const struct check_test tests[] = {
    { "to S3 and back", there_and_back_s3 },
    { "to Google's storage and back", there_and_back_gs },
    { "to Azure and back", there_and_back_azure },
    { "to Azure with a shared access signature", there_and_back_sas },
    { "to the service's storage and back", there_and_back_service },
    { "to a directory and back", there_and_back_file },
    { "an object or what is below a prefix", what_a_uri_names },
    { "no name leaves the folder", names_that_would_escape },
    { "two at once to the same place", two_at_once },
    { "faults that pass are waited for", passing_faults },
    { "faults that last are told at once", lasting_faults },
    { "patience ends", impatience },
    { "a wrong clock is corrected", wrong_clock },
    { "one failure fails all and is named", one_failure_fails_all },
    { "what is there whole is left", sparing_downloads },
    { "killed transfers go on", goes_on_after_kill },
    { "what was begun is not trusted blindly", distrusts_what_was_begun },
};

int main(int argc, char **argv) {
    if (argc == 5 && !strcmp(argv[1], "--child"))
        return child_main(argv);
    return check_main("data_transfer", tests, ARRAY_SIZE(tests), argc, argv);
}
