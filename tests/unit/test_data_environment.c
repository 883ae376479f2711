/* data/data_environment: what is taken from where. */
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "check.h"
#include "base/cleanup.h"
#include "base/file.h"
#include "base/str.h"
#include "data/data_environment.h"

static const char *const *variables; /* name, value, …, NULL */

static char *variable(const char *name) {
    for (size_t i = 0; variables[i]; i += 2)
        if (strcmp(variables[i], name) == 0)
            return (char *)variables[i + 1];
    return NULL;
}

static char directory[] = "/tmp/osmo-environment.XXXXXX";

static char *write_file(const char *name, const char *text) {
    osmo_error_t err = OSMO_ERROR_INIT;
    char *path = str_printf("%s/%s", directory, name);
    CHECK(path && file_write_atomic(path, text, strlen(text), 0600, false, &err) >= 0);
    return path;
}

static void expect(const struct data_environment *e, const struct data_environment *wanted) {
    CHECK(str_eq(e->aws_access_key_id, wanted->aws_access_key_id));
    CHECK(str_eq(e->aws_secret_access_key, wanted->aws_secret_access_key));
    CHECK(str_eq(e->aws_session_token, wanted->aws_session_token));
    CHECK(str_eq(e->aws_region, wanted->aws_region));
    CHECK(str_eq(e->aws_endpoint_url, wanted->aws_endpoint_url));
    CHECK(str_eq(e->azure_connection_string, wanted->azure_connection_string));
    CHECK_INT(e->addressing, wanted->addressing);
}

static void test_nothing(void) {
    static const char *const none[] = { NULL };
    struct data_surroundings s;
    osmo_error_t err = OSMO_ERROR_INIT;
    variables = none;
    CHECK_INT(data_surroundings_read("/nonexistent/config.yaml", false, variable, &s, &err), OSMO_ENOTFOUND);
    CHECK(!s.credentials);
    REQUIRE(data_surroundings_read("/nonexistent/config.yaml", true, variable, &s, &err) >= 0);
    CHECK(s.credentials != NULL);
    expect(&s.environment, &(struct data_environment){ 0 });
    data_surroundings_clear(&s);
}

static void test_variables(void) {
    static const char *const set[] = { "AWS_ACCESS_KEY_ID", "id", "AWS_SECRET_ACCESS_KEY", "key", "AWS_SESSION_TOKEN", "token",
                                       "AWS_DEFAULT_REGION", "eu-9", "AWS_ENDPOINT_URL", "http://127.0.0.1:1",
                                       "AWS_ENDPOINT_URL_S3", "http://127.0.0.1:2",
                                       "AWS_S3_FORCE_PATH_STYLE", "true", "AZURE_STORAGE_CONNECTION_STRING", "AccountKey=x", NULL };
    _cleanup_free_ char *path = write_file("config.yaml", "auth: {data: {'s3://own': {access_key_id: 0123, access_key: secret}}}\n");
    struct data_surroundings s;
    struct data_uri u;
    osmo_error_t err = OSMO_ERROR_INIT;
    variables = set;
    REQUIRE(data_surroundings_read(path, false, variable, &s, &err) >= 0);
    expect(&s.environment,
           &(struct data_environment){ "id", "key", "token", "eu-9", "http://127.0.0.1:2", "AccountKey=x", DATA_ADDRESS_PATH });
    REQUIRE(data_uri_parse("s3://own/x", &u, NULL) >= 0);
    const struct data_credential *own = data_credentials_find(s.credentials, &u);
    CHECK(own && str_eq(own->access_key_id, "0123"));
    data_uri_clear(&u);
    data_surroundings_clear(&s);
}

static void test_style(void) {
    static const char *const set[] = { "OSMO_S3_ADDRESSING_STYLE", "virtual", "AWS_S3_FORCE_PATH_STYLE", "1", NULL };
    static const char *const wrong[] = { "OSMO_S3_ADDRESSING_STYLE", "sideways", NULL };
    struct data_surroundings s;
    osmo_error_t err = OSMO_ERROR_INIT;
    variables = set;
    REQUIRE(data_surroundings_read(NULL, true, variable, &s, &err) >= 0);
    CHECK_INT(s.environment.addressing, DATA_ADDRESS_VIRTUAL);
    data_surroundings_clear(&s);
    variables = wrong;
    CHECK_INT(data_surroundings_read(NULL, true, variable, &s, &err), OSMO_EUSER);
}

static void test_shared_file(void) {
    static const char text[] = "; a comment\n[other]\naws_access_key_id = no\naws_secret_access_key = no\n"
                               "[ mine ]\r\n aws_access_key_id\t= id \r\naws_secret_access_key=k=ey/+\n\nregion = x\n[last]\n";
    _cleanup_free_ char *path = write_file("credentials", text);
    const char *const set[] = { "AWS_SHARED_CREDENTIALS_FILE", path, "AWS_PROFILE", "mine", "AWS_REGION", "eu-3", NULL };
    struct data_surroundings s;
    osmo_error_t err = OSMO_ERROR_INIT;
    variables = set;
    REQUIRE(data_surroundings_read(NULL, true, variable, &s, &err) >= 0);
    expect(&s.environment,
           &(struct data_environment){ .aws_access_key_id = "id", .aws_secret_access_key = "k=ey/+", .aws_region = "eu-3" });
    data_surroundings_clear(&s);
}

static void test_halves(void) {
    static const char *const half[] = { "AWS_ACCESS_KEY_ID", "the-id", NULL };
    struct data_surroundings s;
    osmo_error_t err = OSMO_ERROR_INIT;
    variables = half;
    CHECK_INT(data_surroundings_read(NULL, true, variable, &s, &err), OSMO_ECREDENTIAL);
    CHECK(strstr(err.text, "AWS_SECRET_ACCESS_KEY") && !strstr(err.text, "the-id"));
    _cleanup_free_ char *path = write_file("credentials", "[default]\naws_access_key_id = the-id\n");
    const char *const file[] = { "AWS_SHARED_CREDENTIALS_FILE", path, NULL };
    variables = file;
    CHECK_INT(data_surroundings_read(NULL, true, variable, &s, &err), OSMO_ECREDENTIAL);
    CHECK(!strstr(err.text, "the-id"));
}

/* First and last, so that nothing stays behind. */
static void test_make_directory(void) { REQUIRE(mkdtemp(directory)); }
static void test_remove_directory(void) {
    static const char *const names[] = { "config.yaml", "credentials" };
    for (size_t i = 0; i < sizeof names / sizeof names[0]; i++) {
        _cleanup_free_ char *path = str_printf("%s/%s", directory, names[i]);
        unlink(path);
    }
    CHECK_INT(rmdir(directory), 0);
}

static const struct check_test tests[] = {
    { "make a directory", test_make_directory }, { "nothing is set", test_nothing },
    { "variables", test_variables },             { "addressing", test_style },
    { "the file of the AWS tools", test_shared_file }, { "half a key pair", test_halves },
    { "remove the directory", test_remove_directory },
};
TEST_MAIN("data_environment", tests)
