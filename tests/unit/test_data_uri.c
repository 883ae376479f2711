/* Storage addresses and the credentials that are found for them. */
#include <stdlib.h>

#include "base/cleanup.h"
#include "check.h"
#include "data/data_credentials.h"

static void good_addresses(void) {
    static const struct {
        const char *in;
        enum data_scheme scheme;
        const char *text, *host, *namespace_, *bucket, *path, *profile;
    } cases[] = {
        { "s3://bucket", DATA_S3, "s3://bucket", "", "", "bucket", "", "s3://bucket" },
        { "s3://bucket///", DATA_S3, "s3://bucket", "", "", "bucket", "", "s3://bucket" },
        { "s3://bucket//a///b/c.txt/", DATA_S3, "s3://bucket/a/b/c.txt", "", "", "bucket", "a/b/c.txt", "s3://bucket" },
        { "gs://my.bucket_1/ä b", DATA_GS, "gs://my.bucket_1/ä b", "", "", "my.bucket_1", "ä b", "gs://my.bucket_1" },
        { "azure://acc/cont/x/y", DATA_AZURE, "azure://acc/cont/x/y", "acc", "", "cont", "x/y", "azure://acc" },
        { "swift://h.example:8080/AUTH_me/c/p", DATA_SWIFT, "swift://h.example:8080/AUTH_me/c/p", "h.example:8080", "AUTH_me", "c", "p",
          "swift://h.example:8080/AUTH_me" },
        { "tos://tos-s3-cn-x.volces.com/b", DATA_TOS, "tos://tos-s3-cn-x.volces.com/b", "tos-s3-cn-x.volces.com", "", "b", "",
          "tos://tos-s3-cn-x.volces.com/b" },
        { "file:///", DATA_FILE, "file:///", "", "", "", "/", "file://" },
        { "file:///a/./b//c,d*/", DATA_FILE, "file:///a/b/c,d*", "", "", "", "/a/b/c,d*", "file://" },
        { "https://h:8443/api/storage/w/t/", DATA_SERVICE, "https://h:8443/api/storage/w/t", "", "", "", "https://h:8443/api/storage/w/t",
          "https://h:8443" },
        { "http://[::1]:9", DATA_SERVICE, "http://[::1]:9", "", "", "", "http://[::1]:9", "http://[::1]:9" },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        osmo_error_t err = OSMO_ERROR_INIT;
        struct data_uri u;
        CHECK_OK(data_uri_parse(cases[i].in, &u, &err), &err);
        CHECK_INT(u.scheme, cases[i].scheme);
        CHECK_STR(u.text, cases[i].text);
        CHECK_STR(u.host, cases[i].host);
        CHECK_STR(u.namespace_, cases[i].namespace_);
        CHECK_STR(u.bucket, cases[i].bucket);
        CHECK_STR(u.path, cases[i].path);
        CHECK_STR(u.profile, cases[i].profile);
        data_uri_clear(&u);
        CHECK(!u.text);
    }
}

static void bad_addresses(void) {
    static const struct { const char *in, *part; } cases[] = {
        { "", "no storage address" },
        { "bucket/path", "begins with s3://" },
        { "hdfs://x/y", "hdfs://x/y: it is no storage address" },
        { "S3://b", "no storage address" },
        { "s3://", "write s3://BUCKET" },
        { "s3:///x", "first part is missing" },
        { "s3://b*d/x", "asterisks" },
        { "s3://b/x,y", "commas" },
        { "s3://b@host/x", "letters, digits" },
        { "s3://b?x", "letters, digits" },
        { "s3://b/a/../c", "'..'" },
        { "s3://../c", "letters, digits" },
        { "azure://acc", "write azure://ACCOUNT/CONTAINER" },
        { "swift://h/n", "write swift://HOST/NAMESPACE/CONTAINER" },
        { "tos://h", "write tos://HOST/BUCKET" },
        { "file://relative/x", "must be absolute" },
        { "file:///a/../b", "'..'" },
        { "s3://b/\x01", "control characters" },
        { "s3://b/\xff", "UTF-8" },
        { "https://", "host and port" },
        { "https://user:secret@h/x", "host and port" },
        { "https://h/x?token=secret", "query" },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        osmo_error_t err = OSMO_ERROR_INIT;
        struct data_uri u;
        CHECK_INT(data_uri_parse(cases[i].in, &u, &err), OSMO_EUSER);
        CHECK_CONTAINS(err.text, cases[i].part);
        CHECK(!u.text);
    }
}

static void safe_names(void) {
    static const struct { const char *name; bool safe; } cases[] = {
        { "a", true }, { "a/b.c", true }, { "..a/b..", true }, { "a/.b", true }, { "", false }, { "/a", false }, { "a/", false },
        { "a//b", false }, { "..", false }, { "a/../b", false }, { "a/..", false }, { ".", false }, { "a/./b", false },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++)
        CHECK_INT(data_relative_is_safe(cases[i].name), cases[i].safe);
}

static const char sample[] = "auth:\n"
                             "  token: {ignored: true}\n"
                             "  data:\n"
                             "    s3://bucket: {access_key_id: wide, access_key: k1, region: eu-west-1}\n"
                             "    s3://bucket/deep/: {access_key_id: 0123, access_key: 5e3, addressing_style: path, session_token: t}\n"
                             "    s3://bare: {}\n"
                             "    azure://acc: {access_key: \"AccountName=acc;AccountKey=a2V5\"}\n"
                             "    'gs://g': {access_key_id: g, access_key: k, override_url: 'http://127.0.0.1:9', endpoint: 'gs://g'}\n"
                             "    file:// : {}\n";

static const struct data_credential *find(const data_credentials_t *c, const char *uri) {
    struct data_uri u;
    if (data_uri_parse(uri, &u, NULL) < 0)
        return NULL;
    const struct data_credential *found = data_credentials_find(c, &u);
    data_uri_clear(&u);
    return found;
}

static void longest_prefix(void) {
    static const struct { const char *uri, *id; } cases[] = {
        { "s3://bucket", "wide" }, { "s3://bucket/x/y", "wide" }, { "s3://bucket/deep", "0123" }, { "s3://bucket/deep/er", "0123" },
        { "s3://bucket/deeper", "wide" }, { "gs://g/x", "g" },
    };
    osmo_error_t err = OSMO_ERROR_INIT;
    data_credentials_t *c = NULL;
    CHECK_OK(data_credentials_parse(sample, sizeof sample - 1, &c, &err), &err);
    REQUIRE(c != NULL);
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        const struct data_credential *e = find(c, cases[i].uri);
        CHECK_STR(e ? e->access_key_id : NULL, cases[i].id);
    }
    CHECK(!find(c, "s3://bucket2/x"));
    CHECK(!find(c, "gs://bucket/x"));
    const struct data_credential *e = find(c, "s3://bucket/deep/x");
    CHECK(e && e->addressing == DATA_ADDRESS_PATH && !e->keyless);
    CHECK_STR(e ? e->access_key : NULL, "5e3");
    CHECK_STR(e ? e->session_token : NULL, "t");
    e = find(c, "s3://bare/x");
    CHECK(e && e->keyless && !e->access_key);
    e = find(c, "azure://acc/c/x");
    CHECK(e && !e->keyless && !e->access_key_id);
    CHECK(find(c, "file:///tmp/x") != NULL);
    data_credentials_free(c);
}

static void empty_files(void) {
    static const char *const cases[] = { "", "{}", "auth:", "auth: {}", "auth: {data: }", "auth: {data: {}}", "other: 1" };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        osmo_error_t err = OSMO_ERROR_INIT;
        data_credentials_t *c = NULL;
        CHECK_OK(data_credentials_parse(cases[i], strlen(cases[i]), &c, &err), &err);
        CHECK(!find(c, "s3://b/x"));
        data_credentials_free(c);
    }
}

static void bad_files(void) {
    static const struct { const char *yaml, *part; } cases[] = {
        { "auth: {data: {'s3://b': {access_key_id: sEcReT, access_key: [sEcReT]}}}", "access_key that is no text" },
        { "auth: {data: {'s3://b': {access_key_id: sEcReT}}}", "without an access_key" },
        { "auth: {data: {'s3://b': {access_key: sEcReT}}}", "without an access_key_id" },
        { "auth: {data: {'s3://b': sEcReT}}", "no mapping" },
        { "auth: {data: [sEcReT]}", "must be a mapping" },
        { "sEcReT", "must be a mapping" },
        { "auth: {data: {1: {}}}", "no storage address" },
        { "auth: {data: {'s3://b': {access_key_id: \"x\\nsEcReT\", access_key: y}}}", "line breaks" },
        { "auth: {data: {'s3://b': {addressing_style: sEcReT}}}", "addressing_style" },
        { "auth: {data: {'s3://b': {override_url: 'sEcReT'}}}", "override_url" },
        { "auth: {data: {'s3://b': {access_key: sEcReT", "no usable YAML" },
    };
    for (size_t i = 0; i < ARRAY_SIZE(cases); i++) {
        osmo_error_t err = OSMO_ERROR_INIT;
        data_credentials_t *c = NULL;
        CHECK_INT(data_credentials_parse(cases[i].yaml, strlen(cases[i].yaml), &c, &err), OSMO_ECREDENTIAL);
        CHECK_CONTAINS(err.text, cases[i].part);
        CHECK(!strstr(err.text, "sEcReT"));
        CHECK(!c);
    }
    osmo_error_t err = OSMO_ERROR_INIT;
    data_credentials_t *c = NULL;
    CHECK_INT(data_credentials_load("/nonexistent/config.yaml", &c, &err), OSMO_ENOTFOUND);
}

static void added_and_copied(void) {
    osmo_error_t err = OSMO_ERROR_INIT;
    data_credentials_t *c = NULL, *copy = NULL;
    CHECK_OK(data_credentials_copy(NULL, &c, &err), &err);
    REQUIRE(c != NULL);
    for (int i = 0; i < 20; i++) {
        char prefix[32];
        snprintf(prefix, sizeof prefix, "s3://bucket%d", i);
        struct data_credential *e = data_credentials_add(c, prefix);
        REQUIRE(e != NULL);
        CHECK(e->keyless && !e->access_key);
        e->access_key_id = strdup(prefix);
        e->access_key = strdup("key");
        e->keyless = false;
    }
    CHECK_OK(data_credentials_copy(c, &copy, &err), &err);
    data_credentials_free(c);
    const struct data_credential *e = find(copy, "s3://bucket17/x");
    CHECK_STR(e ? e->access_key_id : NULL, "s3://bucket17");
    CHECK_STR(e ? e->access_key : NULL, "key");
    CHECK(e && !e->keyless && !e->region);
    CHECK(!find(copy, "s3://bucket20/x"));
    data_credentials_free(copy);
}

static const struct check_test tests[] = {
    { "addresses of every scheme are taken apart", good_addresses },
    { "what is no address says what to write", bad_addresses },
    { "names that may become paths", safe_names },
    { "the longest prefix has the credential", longest_prefix },
    { "files without credentials are fine", empty_files },
    { "entries are added and copied", added_and_copied },
    { "faults name the entry and never its secrets", bad_files },
};
TEST_MAIN("data_uri", tests)
